//! SQLite behind [`SqlStore`]: opening, locking, and who may use which connection.
//!
//! One connection writes, behind a mutex; a small pool of others reads committed snapshots beside it (WAL). In memory
//! there is one connection for everything, because every other would see a database of its own.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::sqlite::Sqlite;
use diesel::{Connection as _, RunQueryDsl as _, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use super::conn::Conn;
use super::migrations::{Migrations, applied, compare};
use super::sql::{Access, Connect, OpenError, SqlStore, engine};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// How long a connection waits for another process's write lock: set-up commands beside a server, in milliseconds.
const BUSY_MS: u32 = 5_000;
const READERS: u32 = 4;
const WRITER_CACHE_KIB: u32 = 64 * 1024;
const READER_CACHE_KIB: u32 = 8 * 1024;

/// For every connection. Foreign keys are off by default in SQLite; savepoints keep their journal in memory. The file is
/// not mapped into memory: it grows with every checkpoint, and each growth would map it, and fault its pages in, anew.
fn tuned(name: &str, cache_kib: u32) -> Result<SqliteConnection, String> {
    let mut conn = SqliteConnection::establish(name).map_err(|error| error.to_string())?;
    conn.batch_execute(&format!(
        "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; \
         PRAGMA cache_size = -{cache_kib};"
    ))
    .map_err(|error| error.to_string())?;
    Ok(conn)
}

/// Connections that only read.
struct Readers {
    name: String,
}

impl Connect for Readers {
    fn connect(&self) -> Result<Conn, String> {
        let mut conn = tuned(&self.name, READER_CACHE_KIB)?;
        conn.batch_execute("PRAGMA query_only = ON").map_err(|error| error.to_string())?;
        Ok(Conn::Sqlite(conn))
    }
}

/// A database in memory: one connection, gone when dropped.
pub fn memory() -> Result<SqlStore, OpenError> {
    let mut conn = tuned(":memory:", WRITER_CACHE_KIB).map_err(engine)?;
    apply(&mut conn)?;
    Ok(SqlStore::one_writer(Conn::Sqlite(conn), Access::Serve))
}

/// Opens a file; writers create and migrate it.
pub fn open(path: impl AsRef<Path>, access: Access) -> Result<SqlStore, OpenError> {
    let path = path.as_ref();
    let lock = if access == Access::Serve { Some(lock(path)?) } else { None };
    if access == Access::ReadOnly && !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let name = path.to_str().ok_or_else(|| engine("the path is not UTF-8"))?;
    let mut conn = tuned(name, WRITER_CACHE_KIB).map_err(engine)?;
    if access == Access::ReadOnly {
        migrations(&mut conn)?.exact("serve once to migrate / 启动一次服务即可升级")?;
        conn.batch_execute("PRAGMA query_only = ON").map_err(engine)?;
    } else {
        // FULL: a commit is on the disk before anyone hears of it. Checkpoints are rare, because hot pages are
        // written again and again and only their last version has to reach the file.
        conn.batch_execute(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8000; \
             PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(engine)?;
        apply(&mut conn)?;
    }
    let store = SqlStore::one_writer(Conn::Sqlite(conn), access);
    Ok(store.with_readers(READERS, Readers { name: name.to_owned() }).holding(lock))
}

fn migrations(conn: &mut SqliteConnection) -> Result<Migrations, OpenError> {
    compare::<Sqlite>(MIGRATIONS, || {
        // Looking must not make the table.
        let there: i64 = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(
            "(SELECT count(*) FROM sqlite_master WHERE name = '__diesel_schema_migrations')",
        ))
        .get_result(conn)
        .map_err(engine)?;
        if there == 0 { Ok(Vec::new()) } else { applied::<Sqlite>(conn) }
    })
}

/// Migrates in one transaction, so that two programs that start together do not both try.
fn apply(conn: &mut SqliteConnection) -> Result<Vec<String>, OpenError> {
    let wrapped = |error: OpenError| diesel::result::Error::QueryBuilderError(error.to_string().into());
    conn.immediate_transaction(|conn| {
        let found = migrations(conn).map_err(wrapped)?;
        if !found.unknown.is_empty() {
            return Err(wrapped(OpenError::Newer(found.unknown.join(", "))));
        }
        conn.run_pending_migrations(MIGRATIONS)
            .map_err(|error| diesel::result::Error::QueryBuilderError(error.to_string().into()))?;
        Ok(found.pending)
    })
    .map_err(|error: diesel::result::Error| engine(error))
}

/// See [`super::migrations::status`].
pub(super) fn status(path: &str) -> Result<Migrations, OpenError> {
    if path != ":memory:" && !Path::new(path).exists() {
        return compare::<Sqlite>(MIGRATIONS, || Ok(Vec::new()));
    }
    migrations(&mut tuned(path, READER_CACHE_KIB).map_err(engine)?)
}

/// See [`super::migrations::migrate`].
pub(super) fn migrate(path: &str) -> Result<Vec<String>, OpenError> {
    apply(&mut tuned(path, READER_CACHE_KIB).map_err(engine)?)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = PathBuf::from(name);
    let fail = |error| OpenError::Lock { lock: lock.clone(), error };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&lock).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(fail)?;
            let holder = if holder.trim().is_empty() { "?".to_owned() } else { holder.trim().to_owned() };
            return Err(OpenError::Held { lock, holder });
        }
        Err(TryLockError::Error(error)) => return Err(fail(error)),
    }
    file.set_len(0).map_err(fail)?;
    writeln!(file, "{}", std::process::id()).map_err(fail)?;
    Ok(file)
}
