//! The connection that queries borrow, and transactions on it.
//!
//! Queries are written once, in diesel's DSL, inside [`on!`]: every body is type-checked against every engine. Whatever
//! writes many rows stands in a [`batched!`](super::batch) statement, one text for both. What only one engine can say
//! stands here, in `sqlite.rs` or in `postgres.rs`, and where rows are taken from under another process's hands
//! (`actions.rs`).

use std::ops::{Deref, DerefMut};

use diesel::PgConnection;
use diesel::connection::SimpleConnection as _;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sqlite::SqliteConnection;

use super::StoreError;

/// A connection to whichever engine is behind the store.
pub(super) enum Conn {
    Sqlite(SqliteConnection),
    Postgres(Box<PgConnection>),
}

/// Runs one DSL body on whichever engine the connection is.
macro_rules! on {
    ($conn:expr, $c:ident => $body:expr) => {{
        let conn: &mut $crate::store::conn::Conn = $conn;
        match conn {
            $crate::store::conn::Conn::Sqlite($c) => $body,
            $crate::store::conn::Conn::Postgres(boxed) => {
                let $c: &mut diesel::PgConnection = boxed;
                $body
            }
        }
    }};
}
pub(super) use on;

impl Conn {
    /// The store's clock: the server's, by which every process is dead or alive alike; where there is no server, the one
    /// process that serves reads its own (`own_us`).
    pub(super) fn clock_us(&mut self, own_us: i64) -> diesel::QueryResult<i64> {
        match self {
            Conn::Sqlite(_) => Ok(own_us),
            Conn::Postgres(conn) => super::postgres::clock_us(conn),
        }
    }

    /// Plain statements without parameters, in one round trip.
    pub(super) fn run(&mut self, sql: &str) -> diesel::QueryResult<()> {
        on!(self, c => c.batch_execute(sql))
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        match error {
            Error::DeserializationError(error) | Error::SerializationError(error) => {
                StoreError::Damaged(error.to_string())
            }
            Error::DatabaseError(DatabaseErrorKind::CheckViolation | DatabaseErrorKind::NotNullViolation, info) => {
                StoreError::Damaged(format!("a row would not be sound: {}", info.message()))
            }
            Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, info) => {
                StoreError::Damaged(format!("a row refers to one that is not there: {}", info.message()))
            }
            // PostgreSQL's texts have no U+0000, which it calls by its byte in whatever language it speaks: one row is
            // wrong, not the server.
            Error::DatabaseError(DatabaseErrorKind::Unknown, info) if info.message().contains("0x00") => {
                StoreError::Damaged(format!("a text holds U+0000: {}", info.message()))
            }
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}

/// A transaction. Dropped without [`Tx::commit`] (an error, a panic) it leaves nothing behind.
pub(super) struct Tx<'a> {
    conn: &'a mut Conn,
    /// Begun, and not ended.
    open: bool,
}

fn begin(conn: &Conn) -> &'static str {
    match conn {
        Conn::Sqlite(_) => "BEGIN IMMEDIATE",
        Conn::Postgres(_) => "BEGIN",
    }
}

/// How a commit failed.
pub(super) enum NotCommitted {
    /// Nothing of it is there.
    Refused(StoreError),
    /// It may or may not be durable.
    Unknown(StoreError),
}

impl From<NotCommitted> for StoreError {
    fn from(not: NotCommitted) -> StoreError {
        match not {
            NotCommitted::Refused(error) | NotCommitted::Unknown(error) => error,
        }
    }
}

impl<'a> Tx<'a> {
    /// Begins to write.
    ///
    /// SQLite: takes the write lock at once, so that nothing read inside can change before the commit. PostgreSQL: READ
    /// COMMITTED, where every write is guarded by what it was decided upon.
    pub(super) fn begin(conn: &'a mut Conn) -> Result<Tx<'a>, StoreError> {
        conn.run(begin(conn))?;
        Ok(Tx { conn, open: true })
    }

    /// Begins to read what is to be decided upon.
    ///
    /// SQLite: as [`Tx::begin`]. PostgreSQL: every statement is a transaction by itself until [`Tx::write`], because
    /// nothing that is read here is held.
    pub(super) fn deciding(conn: &'a mut Conn) -> Result<Tx<'a>, StoreError> {
        match conn {
            Conn::Sqlite(_) => Tx::begin(conn),
            Conn::Postgres(_) => Ok(Tx { conn, open: false }),
        }
    }

    /// Begins to write what was decided.
    pub(super) fn write(mut self) -> Result<Tx<'a>, StoreError> {
        if !self.open {
            self.conn.run(begin(self.conn))?;
            self.open = true;
        }
        Ok(self)
    }

    /// Begins to read one snapshot.
    pub(super) fn snapshot(conn: &'a mut Conn) -> Result<Tx<'a>, StoreError> {
        let begin = match conn {
            Conn::Sqlite(_) => "BEGIN",
            Conn::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        conn.run(begin)?;
        Ok(Tx { conn, open: true })
    }

    /// Makes it durable.
    pub(super) fn commit(self) -> Result<(), NotCommitted> {
        self.commit_by("COMMIT")
    }

    /// Runs `work` and makes everything durable. If the work has moved, nothing of it is there, and a transaction as it
    /// was when it began comes back.
    pub(super) fn commit_after(
        self,
        work: impl FnOnce(&mut Conn) -> Result<(), NotWritten>,
    ) -> Result<Result<(), Tx<'a>>, NotCommitted> {
        match work(self.conn) {
            Ok(()) => self.commit().map(Ok),
            Err(NotWritten::Moved) => self.again().map_err(NotCommitted::Refused).map(Err),
            Err(NotWritten::Failed(error)) => Err(NotCommitted::Refused(error)),
        }
    }

    fn again(self) -> Result<Tx<'a>, StoreError> {
        let again = format!("ROLLBACK; {}", begin(self.conn));
        self.conn.run(&again)?;
        Ok(self)
    }

    /// Runs `work` under a savepoint: `false` if it moved, and then nothing of it is there.
    pub(super) fn piece(&mut self, work: impl FnOnce(&mut Conn) -> Result<(), NotWritten>) -> Result<bool, StoreError> {
        self.conn.run("SAVEPOINT piece")?;
        match work(self.conn) {
            Ok(()) => self.conn.run("RELEASE piece").map(|()| true).map_err(StoreError::from),
            Err(NotWritten::Moved) => {
                self.conn.run("ROLLBACK TO piece; RELEASE piece")?;
                Ok(false)
            }
            Err(NotWritten::Failed(error)) => Err(error),
        }
    }

    fn commit_by(mut self, sql: &str) -> Result<(), NotCommitted> {
        match self.conn.run(sql) {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            // The server says itself that it rolled back.
            Err(
                error @ Error::DatabaseError(
                    DatabaseErrorKind::SerializationFailure
                    | DatabaseErrorKind::CheckViolation
                    | DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::UniqueViolation,
                    _,
                ),
            ) => Err(NotCommitted::Refused(error.into())),
            // Drop rolls back whatever is still open, so that the connection can be used again.
            Err(error) => Err(NotCommitted::Unknown(error.into())),
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.open {
            // An engine that already rolled back by itself refuses this, and nothing is lost by that.
            let _ = self.conn.run("ROLLBACK");
        }
    }
}

impl Deref for Tx<'_> {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        self.conn
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn
    }
}

/// Why one change of a batch was not written.
#[derive(Debug)]
pub(super) enum NotWritten {
    /// It lost against another: it is decided again.
    Moved,
    /// The store failed: the whole batch is given up.
    Failed(StoreError),
}

impl From<StoreError> for NotWritten {
    fn from(error: StoreError) -> NotWritten {
        NotWritten::Failed(error)
    }
}

impl From<Error> for NotWritten {
    fn from(error: Error) -> NotWritten {
        match error {
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::SerializationFailure, _) => {
                NotWritten::Moved
            }
            other => NotWritten::Failed(other.into()),
        }
    }
}
