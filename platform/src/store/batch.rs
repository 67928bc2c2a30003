//! Statements that write many rows at once and stay prepared.
//!
//! Diesel prepares inserts of several rows, and every update, anew each time; on the hot path that costs more than the
//! statement itself. So each is one text over a source of rows `c`: one row of parameters on SQLite, where a call costs
//! nothing and the statement runs once a row; one array a column (`unnest`) on PostgreSQL.
//!
//! On PostgreSQL a round trip costs as much as the rows. So what a [`Writer`] is given is kept, and goes to the server as
//! one statement with a `WITH` part for each table that has rows. Where none has more than one, as while the machine has
//! time, the source is a row of parameters there too: to take a dozen arrays apart costs more than to write the row. Each
//! text is another plan, once a connection: of a statement of seven parts, four of them now and then, there are a few dozen
//! at most, which is why a part has not a text of its own for one row beside others with several.
//!
//! The parts share one snapshot: none sees what another writes, and no two of them may write the same row. The server
//! checks what refers to what at the statement's end.
//!
//! What one event brings, as while the machine has time, can go as one statement that is its own transaction ([`alone`]):
//! a round trip where there would be five. There each part has its text by its own rows. An event of one kind brings nearly
//! the same ones every time: a hundred texts perhaps, for as long as the pool keeps a connection, half an hour.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};
use diesel::{PgConnection, QueryResult, RunQueryDsl, SqliteConnection};

use super::conn::{Conn, NotCommitted, NotWritten};

/// How PostgreSQL is told what a parameter of this SQL type is.
pub(super) trait PgCast {
    /// The cast of one value.
    const ONE: &'static str;
    /// The cast of an array.
    const ARRAY: &'static str;
}

macro_rules! casts {
    ($($sql:ty => $cast:literal),*) => {$(
        impl PgCast for $sql {
            const ONE: &'static str = $cast;
            const ARRAY: &'static str = concat!($cast, "[]");
        }
        impl PgCast for Nullable<$sql> {
            const ONE: &'static str = <$sql as PgCast>::ONE;
            const ARRAY: &'static str = <$sql as PgCast>::ARRAY;
        }
    )*};
}

casts!(
    Binary => "::bytea",
    Text => "::text",
    BigInt => "::int8",
    Integer => "::int4",
    SmallInt => "::int2",
    Bool => "::bool"
);

/// Rows of one statement.
pub(super) trait Rows: Sized {
    /// Runs the statement once a row; how many rows of the table it touched.
    fn each(rows: &[Self], conn: &mut SqliteConnection) -> QueryResult<usize>;
    /// All rows, sorted by their columns as declared: whatever names a row comes first, so that every process locks rows
    /// in one order.
    fn together<'r>(rows: &'r [Self]) -> Box<dyn Statement + 'r>;
}

/// A statement and its rows.
pub(super) trait Statement {
    /// The statement over all rows.
    fn over_all<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
    /// The statement over its one row.
    fn over_one<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

/// Where rows are written.
pub(super) enum Writer<'c, 'r> {
    /// Now, one by one.
    Each(&'c mut SqliteConnection),
    /// All together, once everything is there.
    Together(Together<'r>),
}

/// Parts of one statement, in the order in which they are run; each has rows.
#[derive(Default)]
pub(super) struct Together<'r> {
    parts: Vec<Part<'r>>,
}

struct Part<'r> {
    statement: Box<dyn Statement + 'r>,
    rows: usize,
    /// How many rows of the table it must touch.
    must_touch: Option<i64>,
}

/// Writes whatever `work` gives to its writer; moved if a row was not touched that must be. `work` names the same tables
/// in the same order every time.
pub(super) fn write<'r>(
    conn: &mut Conn,
    work: impl FnOnce(&mut Writer<'_, 'r>) -> Result<(), NotWritten>,
) -> Result<(), NotWritten> {
    match conn {
        Conn::Sqlite(conn) => work(&mut Writer::Each(conn)),
        Conn::Postgres(conn) => {
            let mut writer = Writer::Together(Together::default());
            work(&mut writer)?;
            match writer {
                Writer::Together(together) => together.run(conn),
                Writer::Each(_) => Ok(()),
            }
        }
    }
}

impl Writer<'_, '_> {
    fn give<'r, R: Rows>(to: &mut Writer<'_, 'r>, rows: &'r [R], must_touch: Option<usize>) -> Result<(), NotWritten> {
        match to {
            _ if rows.is_empty() => Ok(()),
            Writer::Each(conn) => {
                let touched = R::each(rows, conn)?;
                if must_touch.is_none_or(|must| must == touched) { Ok(()) } else { Err(NotWritten::Moved) }
            }
            Writer::Together(together) => {
                let must_touch = must_touch.and_then(|must| must.try_into().ok());
                together.parts.push(Part { statement: R::together(rows), rows: rows.len(), must_touch });
                Ok(())
            }
        }
    }
}

/// Runs the statement for every row, and says moved if any row was not touched.
pub(super) fn all<'r, R: Rows>(rows: &'r [R], to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
    Writer::give(to, rows, Some(rows.len()))
}

/// Runs the statement for every row; rows that are known, or gone, stay as they are.
pub(super) fn any<'r, R: Rows>(rows: &'r [R], to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
    Writer::give(to, rows, None)
}

/// Writes whatever `work` gives as one statement that is its own transaction; `false` if it has moved, and then nothing of
/// it is there.
pub(super) fn alone<'r>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut Writer<'_, 'r>) -> Result<(), NotWritten>,
) -> Result<bool, NotCommitted> {
    let mut writer = Writer::Together(Together::default());
    match (work(&mut writer), writer) {
        (Ok(()), Writer::Together(together)) => Alone(together).run(conn),
        (Err(NotWritten::Failed(error)), _) => Err(NotCommitted::Refused(error)),
        _ => Ok(false),
    }
}

impl Together<'_> {
    fn run(self, conn: &mut PgConnection) -> Result<(), NotWritten> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let must_touch: Vec<Option<i64>> = self.parts.iter().map(|part| part.must_touch).collect();
        let touched: Vec<i64> = self.get_result(conn)?;
        let as_wanted =
            must_touch.into_iter().zip(touched).all(|(must, touched)| must.is_none_or(|must| must == touched));
        if as_wanted { Ok(()) } else { Err(NotWritten::Moved) }
    }

    /// The parts, each over its one row where `is_one` says so.
    fn parts<'b>(&'b self, is_one: impl Fn(&Part<'_>) -> bool, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut before = "WITH w";
        for (at, part) in self.parts.iter().enumerate() {
            out.push_sql(before);
            out.push_sql(&at.to_string());
            out.push_sql(" AS (");
            match is_one(part) {
                true => part.statement.over_one(out.reborrow())?,
                false => part.statement.over_all(out.reborrow())?,
            }
            out.push_sql(" RETURNING 1)");
            before = ", w";
        }
        Ok(())
    }
}

/// A statement that is a transaction by itself, and fails where a part did not touch what it must.
struct Alone<'r>(Together<'r>);

impl Alone<'_> {
    fn run(self, conn: &mut PgConnection) -> Result<bool, NotCommitted> {
        if self.0.parts.is_empty() {
            return Ok(true);
        }
        // Read to its end, which comes after the commit: a row alone comes before it.
        let Err(error) = self.get_result::<i32>(conn) else { return Ok(true) };
        let is_certain = match &error {
            // What the server itself says while the connection lives.
            Error::DatabaseError(kind, _) => {
                !matches!(kind, DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand)
            }
            // It was never sent.
            Error::SerializationError(_) | Error::QueryBuilderError(_) | Error::InvalidCString(_) => true,
            _ => false,
        };
        match NotWritten::from(error) {
            NotWritten::Moved => Ok(false),
            NotWritten::Failed(error) if is_certain => Err(NotCommitted::Refused(error)),
            NotWritten::Failed(error) => Err(NotCommitted::Unknown(error)),
        }
    }
}

impl QueryId for Alone<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Alone<'_> {
    type SqlType = Integer;
}

impl RunQueryDsl<PgConnection> for Alone<'_> {}

impl QueryFragment<Pg> for Alone<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.parts(|part| part.rows == 1, out.reborrow())?;
        out.push_sql(" SELECT CASE WHEN TRUE");
        // Counted in the parts' order, so that rows are locked in one order by every process.
        for (at, part) in self.0.parts.iter().enumerate() {
            out.push_sql(" AND (SELECT count(*) FROM w");
            out.push_sql(&at.to_string());
            match &part.must_touch {
                Some(must) => {
                    out.push_sql(") = ");
                    out.push_bind_param::<BigInt, i64>(must)?;
                }
                None => out.push_sql(") >= 0"),
            }
        }
        out.push_sql(" THEN 0 ELSE tongfu_moved() END");
        Ok(())
    }
}

/// Not static: it is prepared under its text.
impl QueryId for Together<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Together<'_> {
    type SqlType = Array<BigInt>;
}

impl RunQueryDsl<PgConnection> for Together<'_> {}

impl QueryFragment<Pg> for Together<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let at_most_one = self.parts.iter().all(|part| part.rows == 1);
        self.parts(|_| at_most_one, out.reborrow())?;
        // Counted in the parts' order, so that rows are locked in one order by every process.
        let mut before = " SELECT ARRAY[(SELECT count(*) FROM w";
        for at in 0..self.parts.len() {
            out.push_sql(before);
            out.push_sql(&at.to_string());
            before = "), (SELECT count(*) FROM w";
        }
        out.push_sql(")]");
        Ok(())
    }
}

/// Defines the rows of a statement and the statement: `inserts "table" { columns } "what follows"`, or
/// `runs "what precedes the source" { columns } "what follows it"`, where the source is named `c`.
macro_rules! batched {
    (
        $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? inserts $table:literal
        { $($field:ident: $rust:ty as $sql:ty,)* } $after:literal
    ) => {
        $crate::store::batch::batched! {
            @define $(#[$doc])* $name $(<$life>)? { $($field: $rust as $sql,)* }
            before {
                |push: &mut dyn FnMut(&'static str)| {
                    push(concat!("INSERT INTO ", $table, " ("));
                    let mut comma = "";
                    $(
                        push(comma);
                        push(stringify!($field));
                        comma = ", ";
                    )*
                    let _ = comma;
                    push(") SELECT * FROM ");
                }
            }
            after { concat!(" WHERE TRUE ", $after) }
        }
    };
    (
        $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? runs $before:literal
        { $($field:ident: $rust:ty as $sql:ty,)* } $after:literal
    ) => {
        $crate::store::batch::batched! {
            @define $(#[$doc])* $name $(<$life>)? { $($field: $rust as $sql,)* }
            before { |push: &mut dyn FnMut(&'static str)| push($before) }
            after { $after }
        }
    };
    (
        @define $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? { $($field:ident: $rust:ty as $sql:ty,)* }
        before { $before:expr } after { $after:expr }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) struct $name $(<$life>)? {
            $(pub(super) $field: $rust,)*
        }

        const _: () = {
            use diesel::pg::Pg;
            use diesel::query_builder::{AstPass, QueryFragment, QueryId};
            use diesel::sql_types::Array;
            use diesel::sqlite::Sqlite;
            use diesel::{QueryResult, RunQueryDsl, SqliteConnection};
            use $crate::store::batch::{PgCast, Rows, Statement};

            pub(super) struct OneRow;

            impl $(<$life>)? QueryId for $name $(<$life>)? {
                type QueryId = OneRow;
                const HAS_STATIC_QUERY_ID: bool = true;
            }

            impl $(<$life>)? QueryFragment<Sqlite> for $name $(<$life>)? {
                fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                    ($before)(&mut |text| out.push_sql(text));
                    out.push_sql("(SELECT ");
                    let mut comma = "";
                    $(
                        out.push_sql(comma);
                        out.push_bind_param::<$sql, _>(&self.$field)?;
                        out.push_sql(concat!(" AS ", stringify!($field)));
                        comma = ", ";
                    )*
                    let _ = comma;
                    out.push_sql(") AS c");
                    out.push_sql($after);
                    Ok(())
                }
            }

            impl<'r $(, $life)?> RunQueryDsl<SqliteConnection> for &'r $name $(<$life>)? {}

            /// One array a column.
            struct Columns<'r $(, $life)?> {
                $($field: Vec<&'r $rust>,)*
            }

            impl<'r $(, $life)?> Statement for Columns<'r $(, $life)?> {
                fn over_one<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                    ($before)(&mut |text| out.push_sql(text));
                    out.push_sql("(SELECT ");
                    let mut comma = "";
                    $(
                        out.push_sql(comma);
                        if let Some(value) = self.$field.first() {
                            out.push_bind_param::<$sql, $rust>(value)?;
                        }
                        out.push_sql(<$sql as PgCast>::ONE);
                        out.push_sql(concat!(" AS ", stringify!($field)));
                        comma = ", ";
                    )*
                    let _ = comma;
                    out.push_sql(") AS c");
                    out.push_sql($after);
                    Ok(())
                }

                fn over_all<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                    ($before)(&mut |text| out.push_sql(text));
                    out.push_sql("(SELECT * FROM unnest(");
                    let mut comma = "";
                    $(
                        out.push_sql(comma);
                        out.push_bind_param::<Array<$sql>, _>(&self.$field)?;
                        out.push_sql(<$sql as PgCast>::ARRAY);
                        comma = ", ";
                    )*
                    out.push_sql(") AS u (");
                    comma = "";
                    $(
                        out.push_sql(comma);
                        out.push_sql(stringify!($field));
                        comma = ", ";
                    )*
                    let _ = comma;
                    out.push_sql(")) AS c");
                    out.push_sql($after);
                    Ok(())
                }
            }

            impl $(<$life>)? Rows for $name $(<$life>)? {
                fn each(rows: &[Self], conn: &mut SqliteConnection) -> QueryResult<usize> {
                    let mut touched = 0;
                    for row in rows {
                        touched += row.execute(conn)?;
                    }
                    Ok(touched)
                }

                fn together<'r>(rows: &'r [Self]) -> Box<dyn Statement + 'r> {
                    let mut rows: Vec<&Self> = rows.iter().collect();
                    rows.sort_unstable();
                    Box::new(Columns { $($field: rows.iter().map(|row| &row.$field).collect(),)* })
                }
            }
        };
    };
}
pub(super) use batched;
