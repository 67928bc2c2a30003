//! A [`Store`] on SQL, whichever engine is behind it: who may use which connection, and for how long.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::r2d2::{ManageConnection, Pool, PooledConnection};
use schema::bill::LineResult;
use schema::ids::{
    ActionId, BillId, BindingId, ChannelId, ChannelUserId, EventId, InstitutionCode, OrderId, ProcessId, RefundId,
    TenantId,
};
use schema::seal::{Lookup, Sealed};
use schema::sign::PublicKey;

use super::conn::{Conn, NotCommitted, NotWritten, Tx};
use super::{
    BalanceRow, BillLine, BillRow, BindingRow, CallerKey, ChannelRow, ChannelUserRow, Commit, Decide, DeskStore,
    DueAction, FirstAnswer, InstitutionRow, InsuranceRow, LedgerSums, LoginAnswer, PrepayRow, Recorded, Store,
    StoreError, Story, TenantRow, Unpublished, VisitCardRow, Want, actions, answers, balances, bills, cash, desk,
    duties, institutions, ledger, legs, orders, people, postgres, records, refunds, settlements, sqlite, tenants,
};
use crate::domain::order::Order;
use crate::domain::refund::Refund;

/// What the store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To serve. SQLite: holds `<file>.lock` until dropped; a second one is refused and told who holds it.
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
    /// The tables were made by an older version, and opening them like this does not migrate.
    #[error("the tables are older than this program / 表结构版本过旧: {0}")]
    Older(String),
    /// The tables were made by a newer version.
    #[error("the tables are newer than this program ({0}): use the newer program / 表结构比本程序新，请使用新版本程序")]
    Newer(String),
    /// The lock file cannot be used.
    #[error("{}: {error} / 无法使用锁文件", lock.display())]
    Lock {
        /// The lock file.
        lock: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The URL names no engine.
    #[error("must be sqlite:PATH, sqlite::memory: or postgres://… / 须为 sqlite:路径、sqlite::memory: 或 postgres://…")]
    Url,
    /// The engine refuses.
    #[error("the database cannot be opened: {0} / 无法打开数据库")]
    Engine(String),
}

pub(super) fn engine(error: impl std::fmt::Display) -> OpenError {
    OpenError::Engine(error.to_string())
}

/// A URL as it may be shown.
pub fn shown(url: &str) -> String {
    if url.starts_with("sqlite:") { url.to_owned() } else { postgres::shown(url) }
}

/// Where a store is.
pub(super) enum Place<'a> {
    Server,
    File(&'a str),
}

/// Which engine a URL names. Refuses one that names none.
pub(super) fn place(url: &str) -> Result<Place<'_>, OpenError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Place::Server);
    }
    url.strip_prefix("sqlite:").filter(|path| !path.is_empty()).map(Place::File).ok_or(OpenError::Url)
}

/// Makes connections.
pub(super) trait Connect: Send + Sync + 'static {
    fn connect(&self) -> Result<Conn, String>;
}

/// A connection of the pool, thrown away once it has failed.
struct Lent {
    conn: Conn,
    /// The server process behind it, where there is one.
    backend: Option<Backend>,
    failed: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CannotConnect(String);

struct Manager(Box<dyn Connect>);

impl ManageConnection for Manager {
    type Connection = Lent;
    type Error = CannotConnect;

    fn connect(&self) -> Result<Lent, CannotConnect> {
        let mut conn = self.0.connect().map_err(CannotConnect)?;
        let backend = match &mut conn {
            Conn::Sqlite(_) => None,
            Conn::Postgres(conn) => Some(postgres::backend(conn).map_err(|error| CannotConnect(error.to_string()))?),
        };
        Ok(Lent { conn, backend, failed: false })
    }

    fn is_valid(&self, _: &mut Lent) -> Result<(), CannotConnect> {
        Ok(())
    }

    fn has_broken(&self, lent: &mut Lent) -> bool {
        lent.failed
    }
}

/// Batches that a server takes at a time: while one waits for its flush, another is worked on.
pub(super) const BATCHES_AT_ONCE: usize = 2;
/// Readings that a server takes at a time.
pub(super) const READINGS_AT_ONCE: usize = 10;
/// The same where one connection writes: many may wait for that one, and must not stand before those who look.
const READINGS_AT_ONCE_BESIDE_A_WRITER: usize = 64;
/// How long is waited for a connection.
const WAIT: Duration = Duration::from_secs(2);
/// A read that failed is tried again this often, each time on another connection: after a restart of the server the
/// pool is full of dead ones.
const READS: usize = 4;
/// A small write that lost against another is tried again this often.
const WRITES: usize = 4;

type Doubtful = Mutex<Vec<(TenantId, ActionId)>>;

/// A store on SQL.
pub struct SqlStore {
    /// The one connection that writes, where there can be only one.
    writer: Option<Mutex<Conn>>,
    pool: Option<Pool<Manager>>,
    access: Access,
    /// Server processes that were committing when their connection was lost.
    in_doubt: Mutex<Vec<Backend>>,
    /// Due actions of which nobody knows whether they were taken.
    taken: Doubtful,
    /// Actions of the dead of which nobody knows whether they were adopted. Apart from the others, because these are
    /// asked about and never sent.
    adopted: Doubtful,
    /// Held, never read: the lock ends with the file handle.
    _lock: Option<File>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore").field("access", &self.access).finish_non_exhaustive()
    }
}

/// Whoever opens a store has connected once already. A pool to serve from fills itself beside whatever comes next; one
/// for a command connects when it is asked, because a program must not end while libpq connects on another thread.
fn pool(size: u32, connect: impl Connect, access: Access) -> Pool<Manager> {
    Pool::builder()
        .max_size(size)
        .min_idle(Some(u32::from(access == Access::Serve)))
        .test_on_check_out(false)
        .connection_timeout(WAIT)
        .build_unchecked(Manager(Box::new(connect)))
}

impl SqlStore {
    /// Opens by URL: `sqlite:/path/to/tongfu.db`, `sqlite::memory:` or `postgres://user@host/database`.
    pub fn open_url(url: &str, access: Access) -> Result<SqlStore, OpenError> {
        match place(url)? {
            Place::Server => postgres::open(url, access),
            Place::File(":memory:") => sqlite::memory(),
            Place::File(path) => sqlite::open(path, access),
        }
    }

    /// A store of which one connection writes, and reads as well.
    pub(super) fn one_writer(conn: Conn, access: Access) -> SqlStore {
        SqlStore {
            writer: Some(Mutex::new(conn)),
            pool: None,
            access,
            in_doubt: Mutex::default(),
            taken: Mutex::default(),
            adopted: Mutex::default(),
            _lock: None,
        }
    }

    /// The same with connections beside it that read.
    pub(super) fn with_readers(self, size: u32, connect: impl Connect) -> SqlStore {
        SqlStore { pool: Some(pool(size, connect, self.access)), ..self }
    }

    /// The same, holding a lock while it lives.
    pub(super) fn holding(self, lock: Option<File>) -> SqlStore {
        SqlStore { _lock: lock, ..self }
    }

    /// A store on connections that all read and write.
    pub(super) fn pooled(size: u32, connect: impl Connect, access: Access) -> SqlStore {
        let pool = Some(pool(size, connect, access));
        let (in_doubt, taken, adopted) = (Mutex::default(), Mutex::default(), Mutex::default());
        SqlStore { writer: None, pool, access, in_doubt, taken, adopted, _lock: None }
    }

    /// Whether several processes may serve on it: then nobody is dead because this one lives.
    pub fn is_shared(&self) -> bool {
        self.writer.is_none()
    }

    /// How many batches it can take at a time.
    pub fn batches_at_once(&self) -> usize {
        if self.is_shared() { BATCHES_AT_ONCE } else { 1 }
    }

    /// How many readings may be under way at a time, so that none waits long for a connection.
    pub fn readings_at_once(&self) -> usize {
        if self.is_shared() { READINGS_AT_ONCE } else { READINGS_AT_ONCE_BESIDE_A_WRITER }
    }

    /// The store's clock: microseconds UTC; `own_us` where it has none.
    pub fn clock_us(&self, own_us: i64) -> Result<i64, StoreError> {
        self.read(|conn| Ok(conn.clock_us(own_us)?))
    }

    fn lend(pool: &Pool<Manager>) -> Result<PooledConnection<Manager>, StoreError> {
        pool.get().map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    fn read<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Some(pool) = &self.pool else { return query(&mut self.writer()) };
        let mut tries = 0;
        loop {
            tries += 1;
            let mut lent = Self::lend(pool)?;
            match query(&mut lent.conn) {
                Err(StoreError::Unavailable(error)) => {
                    lent.failed = true;
                    if tries == READS {
                        return Err(StoreError::Unavailable(error));
                    }
                }
                result => return result,
            }
        }
    }

    /// The one connection that writes. Nothing of a transaction outlives a panic inside it, so a poisoned lock is as good
    /// as any. Only asked for where there is one.
    fn writer(&self) -> MutexGuard<'_, Conn> {
        let writer = self.writer.as_ref().expect("a store without a pool has a writer");
        writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Several reads of one snapshot.
    fn snapshot<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.read(|conn| {
            let mut tx = Tx::snapshot(conn)?;
            query(&mut tx)
        })
    }

    fn may_write(&self) -> Result<(), StoreError> {
        match self.access {
            Access::ReadOnly => Err(StoreError::Unavailable("it was opened to look only".into())),
            Access::Serve | Access::Admin => Ok(()),
        }
    }

    fn write<T>(&self, query: impl Fn(&mut Tx<'_>) -> Result<T, NotWritten>) -> Result<T, StoreError> {
        self.write_if(|tx| Ok((true, query(tx)?)))
    }

    /// Commits only if the query says so. One that lost against another begins again: it reads what the other wrote.
    fn write_if<T>(&self, query: impl Fn(&mut Tx<'_>) -> Result<(bool, T), NotWritten>) -> Result<T, StoreError> {
        self.may_write()?;
        let mut tries = 0;
        loop {
            tries += 1;
            let (failed, last) = match self.try_write(&query) {
                Ok(value) => return Ok(value),
                Err(NotWritten::Moved) => (StoreError::Unavailable("its rows kept moving".into()), WRITES),
                // Before the commit nothing has happened: another connection may live.
                Err(NotWritten::Failed(error @ StoreError::Unavailable(_))) if self.is_shared() => (error, WRITES),
                Err(NotWritten::Failed(error)) => (error, 1),
            };
            if tries >= last {
                return Err(failed);
            }
        }
    }

    fn try_write<T>(&self, query: impl Fn(&mut Tx<'_>) -> Result<(bool, T), NotWritten>) -> Result<T, NotWritten> {
        let work = |conn: &mut Conn| {
            let mut tx = Tx::begin(conn)?;
            let (keep, value) = query(&mut tx)?;
            if keep {
                tx.commit().map_err(StoreError::from)?;
            }
            Ok(value)
        };
        match (&self.writer, &self.pool) {
            (None, Some(pool)) => {
                let mut lent = Self::lend(pool)?;
                let written = work(&mut lent.conn);
                lent.failed = matches!(written, Err(NotWritten::Failed(StoreError::Unavailable(_))));
                written
            }
            _ => work(&mut self.writer()),
        }
    }

    fn in_doubt(&self) -> MutexGuard<'_, Vec<Backend>> {
        lock(&self.in_doubt)
    }
}

/// Nothing in these lists is half-changed, so a poisoned one is as good as any.
fn lock<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a store knows of a connection's server process: enough to tell that it is gone.
pub(super) type Backend = (i64, i64);

impl DeskStore for SqlStore {
    fn transact(&self, wants: &[Want], decide: Decide<'_>) -> Commit {
        if let Err(error) = self.may_write() {
            return Commit::Refused(error);
        }
        let (None, Some(pool)) = (&self.writer, &self.pool) else {
            return desk::transact(&mut self.writer(), wants, decide);
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let mut lent = match Self::lend(pool) {
                Ok(lent) => lent,
                Err(error) => return Commit::Refused(error),
            };
            let commit = desk::transact(&mut lent.conn, wants, decide);
            lent.failed = matches!(commit, Commit::Refused(StoreError::Unavailable(_)) | Commit::Unknown(_));
            if matches!(commit, Commit::Unknown(_))
                && let Some(backend) = lent.backend
            {
                self.in_doubt().push(backend);
            }
            // Nothing was written where it was refused (a dead connection, a deadlock): it is decided anew on another.
            if !lent.failed || matches!(commit, Commit::Unknown(_)) || tries == READS {
                return commit;
            }
        }
    }

    fn landed(&self, tenant: TenantId, events: &[EventId]) -> Result<bool, StoreError> {
        let Some(pool) = self.pool.as_ref().filter(|_| self.is_shared()) else {
            // Through the writer: it alone certainly sees what its own commit of unknown outcome left.
            return records::landed(&mut self.writer(), tenant, events);
        };
        self.settle_doubts(pool)?;
        self.read(|conn| records::landed(conn, tenant, events))
    }
}

impl SqlStore {
    /// Only once the server process that was committing is gone is it certain what it has left.
    fn settle_doubts(&self, pool: &Pool<Manager>) -> Result<(), StoreError> {
        if self.in_doubt().is_empty() {
            return Ok(());
        }
        let mut lent = Self::lend(pool)?;
        let Conn::Postgres(conn) = &mut lent.conn else { return Ok(()) };
        let doubts = std::mem::take(&mut *self.in_doubt());
        let mut failed = None;
        for backend in doubts {
            match postgres::gone(conn, backend) {
                Ok(true) => {}
                Ok(false) => self.in_doubt().push(backend),
                Err(error) => {
                    self.in_doubt().push(backend);
                    failed = Some(StoreError::from(error));
                }
            }
        }
        lent.failed = failed.is_some();
        match failed {
            Some(error) => Err(error),
            None if self.in_doubt().is_empty() => Ok(()),
            None => Err(StoreError::Unavailable("a commit is still under way".into())),
        }
    }

    /// Takes actions for a process. Those of which nobody knows whether they were taken are kept in `doubts` and looked
    /// for at the next call: they would be this process's, and no other would ever start them.
    fn take(
        &self,
        doubts: &Doubtful,
        me: ProcessId,
        query: impl Fn(&mut Tx<'_>) -> Result<Vec<DueAction>, NotWritten>,
    ) -> Result<Vec<DueAction>, StoreError> {
        self.may_write()?;
        let doubtful = std::mem::take(&mut *lock(doubts));
        if !doubtful.is_empty() {
            let found = match &self.pool {
                Some(pool) if self.is_shared() => self.settle_doubts(pool),
                _ => Ok(()),
            }
            .and_then(|()| self.read(|conn| actions::started(conn, me, &doubtful)));
            return found.inspect_err(|_| lock(doubts).extend(doubtful));
        }
        let mut taken = Vec::new();
        let work = |conn: &mut Conn, taken: &mut Vec<DueAction>| -> Result<Option<StoreError>, NotWritten> {
            let mut tx = Tx::begin(conn)?;
            *taken = query(&mut tx)?;
            if taken.is_empty() {
                return Ok(None);
            }
            match tx.commit() {
                Ok(()) => Ok(None),
                Err(NotCommitted::Refused(error)) => Err(error.into()),
                Err(NotCommitted::Unknown(error)) => Ok(Some(error)),
            }
        };
        let done = match (&self.writer, &self.pool) {
            (None, Some(pool)) => {
                let mut lent = Self::lend(pool)?;
                let done = work(&mut lent.conn, &mut taken);
                lent.failed = matches!(done, Ok(Some(_)) | Err(NotWritten::Failed(StoreError::Unavailable(_))));
                if let (Ok(Some(_)), Some(backend)) = (&done, lent.backend) {
                    self.in_doubt().push(backend);
                }
                done
            }
            _ => work(&mut self.writer(), &mut taken),
        };
        match done {
            Ok(None) => Ok(taken),
            Ok(Some(error)) => {
                lock(doubts).extend(taken.iter().map(|due| (due.tenant, due.action.id)));
                Err(error)
            }
            Err(NotWritten::Moved) => Ok(Vec::new()),
            Err(NotWritten::Failed(error)) => Err(error),
        }
    }
}

impl Store for SqlStore {
    fn renew_lease(&self, me: ProcessId, now_us: i64) -> Result<(), StoreError> {
        self.write(|tx| {
            let now_us = tx.clock_us(now_us)?;
            Ok(actions::renew_lease(tx, me, now_us)?)
        })
    }

    fn take_due(&self, me: ProcessId, now_us: i64, most: u32) -> Result<Vec<DueAction>, StoreError> {
        self.take(&self.taken, me, |tx| actions::take_due(tx, me, now_us, most))
    }

    fn adopt(&self, me: ProcessId, now_us: i64, dead_after_ms: i64, most: u32) -> Result<Vec<DueAction>, StoreError> {
        self.take(&self.adopted, me, |tx| {
            let now_us = tx.clock_us(now_us)?;
            actions::adopt(tx, me, now_us - dead_after_ms * 1000, most)
        })
    }

    fn started_by(&self, tenant: TenantId, action: ActionId) -> Result<Option<ProcessId>, StoreError> {
        self.read(|conn| actions::started_by(conn, tenant, action))
    }

    fn past_deadline(&self, now_us: i64, most: u32) -> Result<Vec<(TenantId, OrderId)>, StoreError> {
        let (late, is_early) =
            self.read(|conn| Ok((orders::past_deadline(conn, now_us, most)?, orders::is_early(conn, now_us)?)))?;
        // It only spares looking in vain: whoever is late must not wait for it.
        if is_early && let Err(error) = self.write(|tx| orders::look_later(tx, now_us, most)) {
            tracing::warn!(%error, "orders are looked at again although their deadline moved away");
        }
        Ok(late)
    }

    fn next_due(&self) -> Result<Option<i64>, StoreError> {
        let next = self.read(actions::next_due)?;
        // Those of which nobody knows whether they were taken are due, whatever their rows say.
        Ok(if lock(&self.taken).is_empty() { next } else { Some(i64::MIN) })
    }

    fn unpublished(&self, most: u32) -> Result<Vec<Unpublished>, StoreError> {
        self.read(|conn| records::unpublished(conn, most))
    }

    fn mark_published(&self, published: &[(TenantId, OrderId, i64)]) -> Result<(), StoreError> {
        self.write(|tx| records::mark_published(tx, published))
    }

    fn records_waiting(&self) -> Result<i64, StoreError> {
        self.read(records::waiting)
    }

    fn records(&self, tenant: TenantId, after: Option<(OrderId, i64)>, most: u32) -> Result<Vec<Recorded>, StoreError> {
        self.read(|conn| records::after(conn, tenant, after, most))
    }

    fn hold_duty(&self, name: &str, me: ProcessId, now_us: i64, dead_after_ms: i64) -> Result<bool, StoreError> {
        self.write_if(|tx| {
            let now_us = tx.clock_us(now_us)?;
            let held = duties::hold(tx, name, me, now_us, now_us - dead_after_ms * 1000)?;
            Ok((held, held))
        })
    }

    fn roll_up(&self, most: u32) -> Result<usize, StoreError> {
        // Mostly there is nothing to do: that must not wait for the writer.
        if self.read(balances::nothing_left)? {
            return Ok(0);
        }
        self.write(|tx| balances::roll_up(tx, most))
    }

    fn balances(&self, tenant: TenantId) -> Result<Vec<BalanceRow>, StoreError> {
        self.snapshot(|conn| balances::of_tenant(conn, tenant))
    }

    fn add_tenant(&self, row: &TenantRow) -> Result<(), StoreError> {
        self.write(|tx| Ok(tenants::add(tx, row)?))
    }

    fn tenants(&self) -> Result<Vec<TenantRow>, StoreError> {
        self.read(tenants::all)
    }

    fn add_channel(&self, row: &ChannelRow) -> Result<(), StoreError> {
        self.write(|tx| Ok(tenants::add_channel(tx, row)?))
    }

    fn channels(&self, tenant: TenantId) -> Result<Vec<ChannelRow>, StoreError> {
        self.read(|conn| tenants::channels(conn, tenant))
    }

    fn revoke_channel(&self, tenant: TenantId, id: ChannelId) -> Result<bool, StoreError> {
        self.write(|tx| Ok(tenants::revoke_channel(tx, tenant, id)?))
    }

    fn channel(&self, key_hash: &[u8; 32]) -> Result<Option<ChannelRow>, StoreError> {
        self.read(|conn| tenants::channel_by_key(conn, key_hash))
    }

    fn put_institution(&self, row: &InstitutionRow) -> Result<(), StoreError> {
        self.write(|tx| Ok(institutions::put(tx, row)?))
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

    fn channel_user(
        &self,
        row: &ChannelUserRow,
        answer: Option<(&CallerKey, LoginAnswer<'_>)>,
    ) -> Result<Option<ChannelUserRow>, StoreError> {
        self.write_if(|tx| {
            let login = people::channel_user(tx, row, answer)?;
            Ok((login.is_some(), login))
        })
    }

    fn channel_user_by_id(&self, tenant: TenantId, id: ChannelUserId) -> Result<Option<ChannelUserRow>, StoreError> {
        self.read(|conn| people::channel_user_by_id(conn, tenant, id))
    }

    fn add_binding(&self, row: &BindingRow, answer: Option<(&CallerKey, &[u8])>) -> Result<bool, StoreError> {
        self.write_if(|tx| {
            let added = people::add_binding(tx, row, answer)?;
            Ok((added, added))
        })
    }

    fn put_binding(
        &self,
        before_epoch: i64,
        row: &BindingRow,
        answer: Option<(&CallerKey, &[u8])>,
    ) -> Result<bool, StoreError> {
        self.write_if(|tx| {
            let put = people::put_binding(tx, before_epoch, row, answer)?;
            Ok((put, put))
        })
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

    fn put_visit_card(&self, row: &VisitCardRow, answer: Option<(&CallerKey, &[u8])>) -> Result<bool, StoreError> {
        self.write_if(|tx| {
            let put = people::put_visit_card(tx, row, answer)?;
            Ok((put, put))
        })
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
        self.write(|tx| Ok(answers::keep(tx, tenant, key, response)?))
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

    fn orders_in(&self, tenant: Option<TenantId>, state: Option<&str>, most: u32) -> Result<Vec<Order>, StoreError> {
        self.read(|conn| orders::in_state(conn, tenant, state, most))
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
