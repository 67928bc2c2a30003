//! PostgreSQL behind [`SqlStore`]: connecting, what a server must be, and migrations.
//!
//! Every connection may read and write; the pool hands them out. Nothing is decided by a session: no LISTEN, no
//! session lock, no sequence. But no pooler of transactions may stand between: settings and prepared statements are a
//! session's, and whether a commit landed is known by its server process being gone.

use diesel::connection::SimpleConnection as _;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::conn::Conn;
use super::migrations::{Migrations, applied, compare};
use super::sql::{Access, BATCHES_AT_ONCE, Backend, Connect, OpenError, READINGS_AT_ONCE, SqlStore, engine};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The oldest server that is known to do all of this: row locks that skip, `IS NOT DISTINCT FROM` in joins, `unnest` of
/// many arrays, and the idle-in-transaction limit all are older.
const OLDEST: i64 = 140_000;
/// Connections of one process: for readings, for the desk's batches, and for the errands that nothing may keep waiting.
const CONNECTIONS: u32 = (READINGS_AT_ONCE + BATCHES_AT_ONCE) as u32 + 4;
/// A process that stops in the middle of a transaction holds nobody's rows for longer than it counts as living.
const IDLE_IN_TRANSACTION_MS: u32 = 4_000;
/// No statement of ours takes longer on a sound server; verification of the books is read page by page.
const STATEMENT_MS: u32 = 30_000;
const LOCK_MS: u32 = 5_000;
/// Any number of ours: whoever migrates this database holds it for one transaction.
const MIGRATION_LOCK: i64 = 0x746f_6e67_6675;

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct Process {
    #[diesel(sql_type = BigInt)]
    pid: i64,
    #[diesel(sql_type = BigInt)]
    since_us: i64,
}

/// A server by its URL.
struct Server {
    url: String,
}

impl Connect for Server {
    fn connect(&self) -> Result<Conn, String> {
        connection(&self.url).map(|conn| Conn::Postgres(Box::new(conn)))
    }
}

fn connection(url: &str) -> Result<PgConnection, String> {
    // A URL may say otherwise; a server that does not answer must not hold a start or a request for ever, and Kerberos'
    // library ends a program by force that ends while it is being asked.
    let mut whole = url.to_owned();
    for (name, value) in [("connect_timeout", "5"), ("gssencmode", "disable")] {
        if !url.contains(name) {
            whole = format!("{whole}{}{name}={value}", if whole.contains('?') { '&' } else { '?' });
        }
    }
    let mut conn = PgConnection::establish(&whole).map_err(|error| without_password(url, &error.to_string()))?;
    // Plans are made once a connection, perhaps before there are rows or statistics. Every query of ours goes by a key, so
    // none may ever read a whole table because that table was small once, nor join by anything but keys; and none runs long
    // enough to be compiled.
    conn.batch_execute(&format!(
        "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
         SET client_min_messages = warning; SET timezone = 'UTC'; SET statement_timeout = {STATEMENT_MS}; \
         SET lock_timeout = {LOCK_MS}; SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}; \
         SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan"
    ))
    .map_err(|error| error.to_string())?;
    Ok(conn)
}

/// Nobody answers there, or lets us in.
fn away(error: String) -> OpenError {
    engine(format!("{error}; check the address, the user and that the server runs / 请检查地址、用户及服务是否运行"))
}

/// A URL as it may be shown: its password is a secret.
pub(super) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "postgres:…".into() };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}@{host}/{path}")
        }
        None => format!("{scheme}://{authority}/{path}"),
    }
}

fn without_password(url: &str, message: &str) -> String {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let password = authority.split_once('@').and_then(|(user, _)| user.split_once(':')).map_or("", |(_, word)| word);
    if password.is_empty() { message.to_owned() } else { message.replace(password, "…") }
}

/// Opens a database. Nobody migrates it by opening it: `platform migrate` does.
pub fn open(url: &str, access: Access) -> Result<SqlStore, OpenError> {
    let mut conn = connection(url).map_err(away)?;
    sound(&mut conn)?;
    migrations(&mut conn)?.exact("run `platform migrate` / 请先运行 platform migrate")?;
    Ok(SqlStore::pooled(CONNECTIONS, Server { url: url.to_owned() }, access))
}

fn setting(conn: &mut PgConnection, name: &str) -> Result<String, OpenError> {
    let row: Setting = diesel::sql_query("SELECT current_setting($1) AS value")
        .bind::<Text, _>(name)
        .get_result(conn)
        .map_err(engine)?;
    Ok(row.value)
}

const fn is_too_old(version: i64) -> bool {
    version < OLDEST
}

fn too_old(found: &str) -> OpenError {
    engine(format!("PostgreSQL {found} is older than 14, upgrade the server / 版本低于14，请升级数据库"))
}

/// A server on which a commit that was acknowledged is a commit.
fn sound(conn: &mut PgConnection) -> Result<(), OpenError> {
    let version = setting(conn, "server_version_num")?.parse::<i64>().map_err(engine)?;
    if is_too_old(version) {
        return Err(too_old(&setting(conn, "server_version")?));
    }
    for (name, wrong) in [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")] {
        if setting(conn, name)? == wrong {
            return Err(engine(format!(
                "{name} is {wrong}: a payment that was acknowledged could be lost in a crash; set it on / \
                 {name}为{wrong}，断电可能丢失已确认的支付，请改为on"
            )));
        }
    }
    Ok(())
}

fn migrations(conn: &mut PgConnection) -> Result<Migrations, OpenError> {
    compare::<Pg>(MIGRATIONS, || {
        // Looking must not make the table.
        let table: Setting =
            diesel::sql_query("SELECT coalesce(to_regclass('__diesel_schema_migrations')::text, '') AS value")
                .get_result(conn)
                .map_err(engine)?;
        if table.value.is_empty() { Ok(Vec::new()) } else { applied::<Pg>(conn) }
    })
}

/// See [`super::migrations::status`].
pub(super) fn status(url: &str) -> Result<Migrations, OpenError> {
    let mut conn = connection(url).map_err(away)?;
    sound(&mut conn)?;
    migrations(&mut conn)
}

/// See [`super::migrations::migrate`].
pub(super) fn migrate(url: &str) -> Result<Vec<String>, OpenError> {
    let mut conn = connection(url).map_err(away)?;
    sound(&mut conn)?;
    // Making an index on a large table may take long, and so may waiting for who is at it; and checking a new reference
    // reads both tables whole.
    conn.batch_execute(
        "SET statement_timeout = 0; SET lock_timeout = 0; RESET enable_seqscan; RESET enable_hashjoin; RESET enable_mergejoin",
    )
    .map_err(engine)?;
    let wrapped = |error: OpenError| diesel::result::Error::QueryBuilderError(error.to_string().into());
    conn.transaction(|conn| {
        diesel::sql_query(format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).execute(conn)?;
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

/// Which server process serves a connection, and since when: process ids come again.
pub(super) fn backend(conn: &mut PgConnection) -> QueryResult<Backend> {
    let process: Process = diesel::sql_query(
        "SELECT pid::int8 AS pid, (extract(epoch FROM backend_start) * 1000000)::int8 AS since_us \
         FROM pg_stat_activity WHERE pid = pg_backend_pid()",
    )
    .get_result(conn)?;
    Ok((process.pid, process.since_us))
}

/// Ends a server process of ours, if it lives; `true` once it is gone, and with it whatever it was committing.
pub(super) fn gone(conn: &mut PgConnection, (pid, since_us): Backend) -> QueryResult<bool> {
    // Looked for first and ended then: in one statement the server may try every process before it compares.
    let living: Vec<Process> = diesel::sql_query(
        "SELECT pid::int8 AS pid, $2 AS since_us FROM pg_stat_activity WHERE pid = $1::int4 \
         AND (extract(epoch FROM backend_start) * 1000000)::int8 = $2",
    )
    .bind::<BigInt, _>(pid)
    .bind::<BigInt, _>(since_us)
    .load(conn)?;
    if living.is_empty() {
        return Ok(true);
    }
    diesel::sql_query("SELECT pg_terminate_backend($1::int4)").bind::<BigInt, _>(pid).execute(conn)?;
    Ok(false)
}

#[derive(QueryableByName)]
struct Now {
    #[diesel(sql_type = BigInt)]
    now_us: i64,
}

/// The server's clock: microseconds UTC.
pub(super) fn clock_us(conn: &mut PgConnection) -> QueryResult<i64> {
    let now: Now = diesel::sql_query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now_us")
        .get_result(conn)?;
    Ok(now.now_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_older_than_fourteen_is_refused_and_told_what_to_do() {
        for (version, refused) in [(90_624, true), (130_023, true), (140_000, false), (150_020, false)] {
            assert_eq!(is_too_old(version), refused, "{version}");
        }
        let said = too_old("13.23").to_string();
        assert!(said.contains("13.23") && said.contains("upgrade") && said.contains("请升级"), "{said}");
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        assert_eq!(shown("postgres://tongfu:secret@db:5432/city?sslmode=require"), "postgres://tongfu@db:5432/city");
        assert_eq!(shown("postgres://db/city"), "postgres://db/city");
        assert_eq!(without_password("postgres://tongfu:secret@db/city", "secret is wrong"), "… is wrong");
    }
}
