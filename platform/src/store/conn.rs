//! The connection that queries borrow, transactions on it, and statements that stay prepared.
//!
//! Queries are written once, in diesel's DSL, inside [`on!`]. A second engine makes [`Conn`] an enum of connections and
//! `on!` a `match` with one arm each: every body is then type-checked against every engine. What only one engine can
//! say stands in this file or in `sqlite.rs`, nowhere else.

use std::ops::{Deref, DerefMut};

use diesel::connection::SimpleConnection as _;
use diesel::result::{DatabaseErrorKind, Error};

use super::StoreError;

/// The connection of whichever engine is behind the store.
pub(super) type Conn = diesel::sqlite::SqliteConnection;

/// Runs one DSL body on whichever engine the connection is.
macro_rules! on {
    ($conn:expr, $c:ident => $body:expr) => {{
        let $c: &mut $crate::store::conn::Conn = $conn;
        $body
    }};
}
pub(super) use on;

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
            other => StoreError::Unavailable(other.to_string()),
        }
    }
}

/// A write transaction. Dropped without [`Tx::commit`] (an error, a panic) it leaves nothing behind.
pub(super) struct Tx<'a> {
    conn: &'a mut Conn,
    open: bool,
}

/// How a commit failed.
pub(super) struct CommitUnknown(pub(super) StoreError);

impl<'a> Tx<'a> {
    /// Begins. SQLite: takes the write lock at once, so that nothing read inside can change before the commit.
    pub(super) fn begin(conn: &'a mut Conn) -> Result<Tx<'a>, StoreError> {
        conn.batch_execute("BEGIN IMMEDIATE")?;
        Ok(Tx { conn, open: true })
    }

    /// Makes it durable. After an error it may or may not be.
    pub(super) fn commit(mut self) -> Result<(), CommitUnknown> {
        match self.conn.batch_execute("COMMIT") {
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            // Drop rolls back whatever is still open, so that the connection can be used again.
            Err(error) => Err(CommitUnknown(error.into())),
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.open {
            // An engine that already rolled back by itself refuses this, and nothing is lost by that.
            let _ = self.conn.batch_execute("ROLLBACK");
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
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => NotWritten::Moved,
            other => NotWritten::Failed(other.into()),
        }
    }
}

/// Refuses a change whose guarded statement touched no row.
pub(super) fn moved_unless(touched: usize) -> Result<(), NotWritten> {
    if touched == 0 { Err(NotWritten::Moved) } else { Ok(()) }
}

/// An `UPDATE` that stays prepared. Diesel prepares every DSL update anew (they are never safe to cache for it); on the
/// hot path that costs more than the update itself. The text is plain SQL that every engine here speaks.
macro_rules! statement {
    (
        $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? { $($text:literal $field:ident: $rust:ty as $sql:ty;)* }
    ) => {
        $(#[$doc])*
        pub(super) struct $name $(<$life>)? {
            $(pub(super) $field: $rust,)*
        }

        const _: () = {
            use diesel::query_builder::{AstPass, QueryFragment, QueryId};

            pub(super) struct Marker;

            impl $(<$life>)? QueryId for $name $(<$life>)? {
                type QueryId = Marker;
                const HAS_STATIC_QUERY_ID: bool = true;
            }

            impl<$($life,)? DB> QueryFragment<DB> for $name $(<$life>)?
            where
                DB: diesel::backend::Backend,
                $(DB: diesel::sql_types::HasSqlType<$sql>, $rust: diesel::serialize::ToSql<$sql, DB>,)*
            {
                fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> diesel::QueryResult<()> {
                    $(
                        out.push_sql($text);
                        out.push_bind_param::<$sql, _>(&self.$field)?;
                    )*
                    Ok(())
                }
            }

            impl<$($life,)? C> diesel::RunQueryDsl<C> for $name $(<$life>)? {}
        };
    };
}
pub(super) use statement;
