//! SQLite behind [`Store`]: opening, locking, and who may use which connection.
//!
//! One connection writes, behind a mutex; a small pool of others reads committed snapshots beside it (WAL). In memory
//! there is one connection for everything, because every other would see a database of its own.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel::{Connection as _, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use schema::bill::LineResult;
use schema::ids::{
    ActionId, BillId, BindingId, ChannelId, ChannelUserId, EventId, InstitutionCode, OrderId, ProcessId, RefundId,
    TenantId,
};
use schema::seal::{Lookup, Sealed};
use schema::sign::PublicKey;

use super::conn::{CommitUnknown, Conn, Tx};
use super::{
    BillLine, BillRow, BindingRow, CallerKey, ChannelRow, ChannelUserRow, Commit, Decide, DeskStore, DueAction,
    FirstAnswer, InstitutionRow, InsuranceRow, LedgerSums, PrepayRow, Store, StoreError, Story, TenantRow, Unpublished,
    VisitCardRow, Want, actions, answers, bills, cash, desk, institutions, ledger, legs, orders, people, records,
    refunds, settlements, tenants,
};
use crate::domain::order::Order;
use crate::domain::refund::Refund;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// What the store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To serve: holds `<file>.lock` until dropped; a second one is refused and told who holds it.
    Serve,
    /// To set something up in short transactions, also beside a process that serves.
    Admin,
    /// To look. Nothing is created or migrated.
    ReadOnly,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves on this file.
    #[error("{} is held by process {holder}: one server per file / 已有另一个服务进程（{holder}）占用该数据库", lock.display())]
    Held {
        /// The lock file.
        lock: PathBuf,
        /// The holder's process id as it wrote it; `?` if it wrote none.
        holder: String,
    },
    /// There is no such file, and only writers create one.
    #[error("{}: no such database / 数据库文件不存在", .0.display())]
    Missing(PathBuf),
    /// The file was made by an older version and only writers migrate.
    #[error("{}: the tables are older than this program; serve once to migrate / 表结构版本过旧", .0.display())]
    Older(PathBuf),
    /// The lock file cannot be used.
    #[error("{}: {error} / 无法使用锁文件", lock.display())]
    Lock {
        /// The lock file.
        lock: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The engine refuses.
    #[error("the database cannot be opened: {0} / 无法打开数据库")]
    Engine(String),
}

/// SQLite.
pub struct SqliteStore {
    writer: Mutex<SqliteConnection>,
    readers: Option<Pool<ConnectionManager<SqliteConnection>>>,
    access: Access,
    /// Held, never read: the lock ends with the file handle.
    _lock: Option<File>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("access", &self.access).finish_non_exhaustive()
    }
}

/// How long a connection waits for another process's write lock: set-up commands beside a server, in milliseconds.
const BUSY_MS: u32 = 5_000;
const READERS: u32 = 4;

/// For every connection. Foreign keys are off by default in SQLite; savepoints keep their journal in memory.
fn tuned(conn: &mut SqliteConnection, cache_kib: u32) -> diesel::QueryResult<()> {
    conn.batch_execute(&format!(
        "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; \
         PRAGMA mmap_size = 268435456; PRAGMA cache_size = -{cache_kib};"
    ))
}

#[derive(Debug)]
struct Reader;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for Reader {
    fn on_acquire(&self, conn: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        tuned(conn, 8 * 1024)
            .and_then(|()| conn.batch_execute("PRAGMA query_only = ON"))
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

fn engine(error: impl std::fmt::Display) -> OpenError {
    OpenError::Engine(error.to_string())
}

impl SqliteStore {
    /// Opens by URL: `sqlite:/path/to/tongfu.db`, or `sqlite::memory:`.
    pub fn open_url(url: &str, access: Access) -> Result<SqliteStore, OpenError> {
        match url.strip_prefix("sqlite:") {
            Some(":memory:") => SqliteStore::memory(),
            Some(path) if !path.is_empty() => SqliteStore::open(path, access),
            _ => Err(engine(format!("{url} is not sqlite:PATH or sqlite::memory:"))),
        }
    }

    /// A database in memory: one connection, gone when dropped.
    pub fn memory() -> Result<SqliteStore, OpenError> {
        let mut conn = SqliteConnection::establish(":memory:").map_err(engine)?;
        tuned(&mut conn, 64 * 1024).map_err(engine)?;
        migrate(&mut conn)?;
        Ok(SqliteStore { writer: Mutex::new(conn), readers: None, access: Access::Serve, _lock: None })
    }

    /// Opens a file; writers create and migrate it.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<SqliteStore, OpenError> {
        let path = path.as_ref();
        let lock = if access == Access::Serve { Some(lock(path)?) } else { None };
        if access == Access::ReadOnly && !path.exists() {
            return Err(OpenError::Missing(path.to_owned()));
        }
        let name = path.to_str().ok_or_else(|| engine("the path is not UTF-8"))?;
        let mut conn = SqliteConnection::establish(name).map_err(engine)?;
        tuned(&mut conn, 64 * 1024).map_err(engine)?;
        if access == Access::ReadOnly {
            if conn.has_pending_migration(MIGRATIONS).map_err(engine)? {
                return Err(OpenError::Older(path.to_owned()));
            }
            conn.batch_execute("PRAGMA query_only = ON").map_err(engine)?;
        } else {
            // FULL: a commit is on the disk before anyone hears of it. Checkpoints are rare, because hot pages are
            // written again and again and only their last version has to reach the file.
            conn.batch_execute(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8000; \
                 PRAGMA journal_size_limit = 67108864;",
            )
            .map_err(engine)?;
            migrate(&mut conn)?;
        }
        let readers = Pool::builder()
            .max_size(READERS)
            .min_idle(Some(1))
            .test_on_check_out(false)
            .connection_timeout(Duration::from_millis(u64::from(BUSY_MS)))
            .connection_customizer(Box::new(Reader))
            .build(ConnectionManager::new(name))
            .map_err(engine)?;
        Ok(SqliteStore { writer: Mutex::new(conn), readers: Some(readers), access, _lock: lock })
    }

    /// Nothing of a transaction outlives a panic inside it, so a poisoned lock is as good as any.
    fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, query: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.readers {
            Some(pool) => {
                let mut conn = pool.get().map_err(|error| StoreError::Unavailable(error.to_string()))?;
                query(&mut conn)
            }
            None => query(&mut self.writer()),
        }
    }

    /// Several reads of one snapshot.
    fn snapshot<T>(&self, query: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.read(|conn| conn.transaction(query))
    }

    fn may_write(&self) -> Result<(), StoreError> {
        match self.access {
            Access::ReadOnly => Err(StoreError::Unavailable("it was opened to look only".into())),
            Access::Serve | Access::Admin => Ok(()),
        }
    }

    fn write<T>(&self, query: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.write_if(|tx| Ok((true, query(tx)?)))
    }

    /// Commits only if the query says so.
    fn write_if<T>(&self, query: impl FnOnce(&mut Tx<'_>) -> Result<(bool, T), StoreError>) -> Result<T, StoreError> {
        self.may_write()?;
        let mut conn = self.writer();
        let mut tx = Tx::begin(&mut conn)?;
        let (keep, value) = query(&mut tx)?;
        if keep {
            tx.commit().map_err(|CommitUnknown(error)| error)?;
        }
        Ok(value)
    }
}

/// Migrates in one transaction, so that two programs that start together do not both try.
fn migrate(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    conn.immediate_transaction(|conn| {
        conn.run_pending_migrations(MIGRATIONS)
            .map(|_| ())
            .map_err(|error| diesel::result::Error::QueryBuilderError(error.to_string().into()))
    })
    .map_err(engine)
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

impl DeskStore for SqliteStore {
    fn transact(&self, wants: &[Want], decide: Decide<'_>) -> Commit {
        match self.may_write() {
            Ok(()) => desk::transact(&mut self.writer(), wants, decide),
            Err(error) => Commit::Refused(error),
        }
    }

    fn landed(&self, tenant: TenantId, events: &[EventId]) -> Result<bool, StoreError> {
        // Through the writer: it alone certainly sees what its own commit of unknown outcome left.
        records::landed(&mut self.writer(), tenant, events)
    }
}

impl Store for SqliteStore {
    fn renew_lease(&self, me: ProcessId, now_us: i64) -> Result<(), StoreError> {
        self.write(|tx| actions::renew_lease(tx, me, now_us))
    }

    fn take_due(&self, me: ProcessId, now_us: i64, most: u32) -> Result<Vec<DueAction>, StoreError> {
        // Asked many times a second and mostly with nothing to do: that must not wait for the writer.
        if self.read(actions::next_due)?.is_none_or(|due_at_us| due_at_us > now_us) {
            return Ok(Vec::new());
        }
        self.write_if(|tx| actions::take_due(tx, me, now_us, most).map(|taken| (!taken.is_empty(), taken)))
    }

    fn adopt(&self, me: ProcessId, dead_before_us: i64, most: u32) -> Result<Vec<DueAction>, StoreError> {
        self.write_if(|tx| actions::adopt(tx, me, dead_before_us, most).map(|taken| (!taken.is_empty(), taken)))
    }

    fn started_by(&self, tenant: TenantId, action: ActionId) -> Result<Option<ProcessId>, StoreError> {
        self.read(|conn| actions::started_by(conn, tenant, action))
    }

    fn past_deadline(&self, now_us: i64, most: u32) -> Result<Vec<(TenantId, OrderId)>, StoreError> {
        self.read(|conn| orders::past_deadline(conn, now_us, most))
    }

    fn next_due(&self) -> Result<Option<i64>, StoreError> {
        self.snapshot(|conn| {
            let action = actions::next_due(conn)?;
            let deadline = orders::next_deadline(conn)?;
            Ok([action, deadline].into_iter().flatten().min())
        })
    }

    fn unpublished(&self, most: u32) -> Result<Vec<Unpublished>, StoreError> {
        self.read(|conn| records::unpublished(conn, most))
    }

    fn mark_published(&self, published: &[(TenantId, OrderId, i64)]) -> Result<(), StoreError> {
        self.write(|tx| records::mark_published(tx, published))
    }

    fn add_tenant(&self, row: &TenantRow) -> Result<(), StoreError> {
        self.write(|tx| tenants::add(tx, row))
    }

    fn tenants(&self) -> Result<Vec<TenantRow>, StoreError> {
        self.read(tenants::all)
    }

    fn add_channel(&self, row: &ChannelRow) -> Result<(), StoreError> {
        self.write(|tx| tenants::add_channel(tx, row))
    }

    fn channels(&self, tenant: TenantId) -> Result<Vec<ChannelRow>, StoreError> {
        self.read(|conn| tenants::channels(conn, tenant))
    }

    fn revoke_channel(&self, tenant: TenantId, id: ChannelId) -> Result<bool, StoreError> {
        self.write(|tx| tenants::revoke_channel(tx, tenant, id))
    }

    fn channel(&self, key_hash: &[u8; 32]) -> Result<Option<ChannelRow>, StoreError> {
        self.read(|conn| tenants::channel_by_key(conn, key_hash))
    }

    fn put_institution(&self, row: &InstitutionRow) -> Result<(), StoreError> {
        self.write(|tx| institutions::put(tx, row))
    }

    fn institution(&self, tenant: TenantId, code: &InstitutionCode) -> Result<Option<InstitutionRow>, StoreError> {
        self.read(|conn| institutions::one(conn, tenant, code))
    }

    fn institutions_by_key(&self, key: &PublicKey) -> Result<Vec<InstitutionRow>, StoreError> {
        self.read(|conn| institutions::by_key(conn, key))
    }

    fn institutions(&self, tenant: TenantId) -> Result<Vec<InstitutionRow>, StoreError> {
        self.read(|conn| institutions::of_tenant(conn, tenant))
    }

    fn channel_user(&self, row: &ChannelUserRow) -> Result<ChannelUserRow, StoreError> {
        self.write(|tx| people::channel_user(tx, row))
    }

    fn channel_user_by_id(&self, tenant: TenantId, id: ChannelUserId) -> Result<Option<ChannelUserRow>, StoreError> {
        self.read(|conn| people::channel_user_by_id(conn, tenant, id))
    }

    fn add_binding(&self, row: &BindingRow, answer: Option<(&CallerKey, &[u8])>) -> Result<bool, StoreError> {
        self.write_if(|tx| people::add_binding(tx, row, answer).map(|added| (added, added)))
    }

    fn put_binding(
        &self,
        before_epoch: i64,
        row: &BindingRow,
        answer: Option<(&CallerKey, &[u8])>,
    ) -> Result<bool, StoreError> {
        self.write_if(|tx| people::put_binding(tx, before_epoch, row, answer).map(|put| (put, put)))
    }

    fn binding(&self, tenant: TenantId, id: BindingId) -> Result<Option<BindingRow>, StoreError> {
        self.read(|conn| people::binding(conn, tenant, id))
    }

    fn bindings_of(&self, tenant: TenantId, user: ChannelUserId) -> Result<Vec<BindingRow>, StoreError> {
        self.read(|conn| people::bindings_of(conn, tenant, user))
    }

    fn binding_by_bind_no(&self, tenant: TenantId, bind_no: &str) -> Result<Option<BindingRow>, StoreError> {
        self.read(|conn| people::binding_by_bind_no(conn, tenant, bind_no))
    }

    fn bindings_of_person(&self, tenant: TenantId, person: &Lookup) -> Result<Vec<BindingRow>, StoreError> {
        self.read(|conn| people::bindings_of_person(conn, tenant, person))
    }

    fn insurances(&self, tenant: TenantId, certno: &Lookup) -> Result<Vec<InsuranceRow>, StoreError> {
        self.read(|conn| people::insurances(conn, tenant, certno))
    }

    fn bindings_of_document(&self, tenant: TenantId, certno: &Lookup) -> Result<Vec<BindingRow>, StoreError> {
        self.read(|conn| people::bindings_of_document(conn, tenant, certno))
    }

    fn watchers(&self, tenant: TenantId, certno: &Lookup) -> Result<Vec<ChannelUserId>, StoreError> {
        self.read(|conn| people::watchers(conn, tenant, certno))
    }

    fn put_visit_card(&self, row: &VisitCardRow) -> Result<(), StoreError> {
        self.write(|tx| people::put_visit_card(tx, row))
    }

    fn visit_card(
        &self,
        tenant: TenantId,
        institution: &InstitutionCode,
        visit_card: &Lookup,
    ) -> Result<Option<VisitCardRow>, StoreError> {
        self.read(|conn| people::visit_card(conn, tenant, institution, visit_card))
    }

    fn first_answer(&self, tenant: TenantId, key: &CallerKey) -> Result<Option<FirstAnswer>, StoreError> {
        self.read(|conn| answers::one(conn, tenant, key))
    }

    fn keep_answer(&self, tenant: TenantId, key: &CallerKey, response: &[u8]) -> Result<bool, StoreError> {
        self.write(|tx| Ok(answers::keep(tx, tenant, key, None, response)?))
    }

    fn bills_of(&self, tenant: TenantId, patients: &[Lookup], most: u32) -> Result<Vec<BillRow>, StoreError> {
        self.read(|conn| bills::of_patients(conn, tenant, patients, most))
    }

    fn bill(&self, tenant: TenantId, id: BillId) -> Result<Option<BillRow>, StoreError> {
        self.read(|conn| bills::one(conn, tenant, id))
    }

    fn bill_by_no(
        &self,
        tenant: TenantId,
        institution: &InstitutionCode,
        bill_no: &str,
    ) -> Result<Option<BillRow>, StoreError> {
        self.read(|conn| bills::by_no(conn, tenant, institution, bill_no))
    }

    fn bill_lines(&self, tenant: TenantId, id: BillId) -> Result<Vec<BillLine>, StoreError> {
        self.read(|conn| bills::lines(conn, tenant, id))
    }

    fn order(&self, tenant: TenantId, id: OrderId) -> Result<Option<Order>, StoreError> {
        self.read(|conn| orders::one(conn, tenant, id))
    }

    fn orders_of(&self, tenant: TenantId, payer: ChannelUserId, most: u32) -> Result<Vec<Order>, StoreError> {
        self.read(|conn| orders::of_payer(conn, tenant, payer, most))
    }

    fn orders_between(
        &self,
        tenant: TenantId,
        institution: &InstitutionCode,
        from_us: i64,
        to_us: i64,
        most: u32,
    ) -> Result<Vec<Order>, StoreError> {
        self.read(|conn| orders::between(conn, tenant, institution, from_us, to_us, most))
    }

    fn orders_in(&self, state: Option<&str>, most: u32) -> Result<Vec<Order>, StoreError> {
        self.read(|conn| orders::in_state(conn, state, most))
    }

    fn priced_of_person(&self, tenant: TenantId, person: &Lookup) -> Result<Vec<OrderId>, StoreError> {
        self.read(|conn| orders::priced_of_person(conn, tenant, person))
    }

    fn open_under_binding(&self, tenant: TenantId, binding: BindingId) -> Result<Vec<OrderId>, StoreError> {
        self.read(|conn| orders::open_under_binding(conn, tenant, binding))
    }

    fn price_lines(&self, tenant: TenantId, order: OrderId, number: u32) -> Result<Vec<LineResult>, StoreError> {
        self.read(|conn| legs::price_lines(conn, tenant, order, number))
    }

    fn prepay(&self, tenant: TenantId, order: OrderId) -> Result<Option<PrepayRow>, StoreError> {
        self.read(|conn| cash::prepay(conn, tenant, order))
    }

    fn settlement_reply(&self, tenant: TenantId, setl_id: &str) -> Result<Option<Sealed>, StoreError> {
        self.read(|conn| settlements::reply(conn, tenant, setl_id))
    }

    fn refund(&self, tenant: TenantId, id: RefundId) -> Result<Option<Refund>, StoreError> {
        self.read(|conn| refunds::one(conn, tenant, id))
    }

    fn refund_by_no(
        &self,
        tenant: TenantId,
        institution: &InstitutionCode,
        refund_no: &str,
    ) -> Result<Option<Refund>, StoreError> {
        self.read(|conn| refunds::by_no(conn, tenant, institution, refund_no))
    }

    fn refunds_in(&self, state: Option<&str>, most: u32) -> Result<Vec<(TenantId, Refund)>, StoreError> {
        self.read(|conn| refunds::in_state(conn, state, most))
    }

    fn story(&self, id: OrderId) -> Result<Option<Story>, StoreError> {
        self.snapshot(|conn| {
            let Some((order, trace_id)) = orders::anywhere(conn, id)? else { return Ok(None) };
            let tenant = order.tenant;
            Ok(Some(Story {
                history: records::history(conn, tenant, id)?,
                postings: ledger::of_order(conn, tenant, id)?,
                actions: actions::story(conn, tenant, id)?,
                refunds: refunds::of_order(conn, tenant, id)?,
                inputs: settlements::inputs_of(conn, tenant, id)?,
                settlements: settlements::of_order(conn, tenant, id)?,
                prepay: cash::prepay(conn, tenant, id)?,
                cash: cash::of_order(conn, tenant, id)?,
                order,
                trace_id,
            }))
        })
    }

    fn verify(&self, tenant: TenantId) -> Result<LedgerSums, StoreError> {
        self.snapshot(|conn| ledger::verify(conn, tenant))
    }
}
