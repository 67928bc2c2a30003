//! Statements that write many rows at once and stay prepared.
//!
//! Diesel prepares inserts of several rows, and every update, anew each time; on the hot path that costs more than the
//! statement itself. So each is one text over a source of rows `c`: one row of parameters on SQLite, where a call costs
//! nothing and the statement runs once a row; one array a column (`unnest`) on PostgreSQL, where a batch of any length is
//! one round trip.

use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, SmallInt, Text};

/// How PostgreSQL is told what an array of this SQL type is.
pub(super) trait PgArray {
    /// The cast of one parameter.
    const CAST: &'static str;
}

macro_rules! arrays {
    ($($sql:ty => $cast:literal),*) => {$(
        impl PgArray for $sql {
            const CAST: &'static str = $cast;
        }
        impl PgArray for Nullable<$sql> {
            const CAST: &'static str = $cast;
        }
    )*};
}

arrays!(
    Binary => "::bytea[]",
    Text => "::text[]",
    BigInt => "::int8[]",
    Integer => "::int4[]",
    SmallInt => "::int2[]",
    Bool => "::bool[]"
);

/// Rows of one statement.
pub(super) trait Rows: Sized {
    /// Runs the statement for every row; how many rows of the table it touched.
    fn run(rows: &[Self], conn: &mut super::conn::Conn) -> diesel::QueryResult<usize>;
}

/// Runs the statement for every row, and says moved if any row was not touched.
pub(super) fn all<R: Rows>(rows: &[R], conn: &mut super::conn::Conn) -> Result<(), super::conn::NotWritten> {
    if rows.is_empty() || R::run(rows, conn)? == rows.len() { Ok(()) } else { Err(super::conn::NotWritten::Moved) }
}

/// Runs the statement for every row; rows that are known, or gone, stay as they are.
pub(super) fn any<R: Rows>(rows: &[R], conn: &mut super::conn::Conn) -> Result<(), super::conn::NotWritten> {
    if !rows.is_empty() {
        R::run(rows, conn)?;
    }
    Ok(())
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
        #[derive(Debug, Clone)]
        pub(super) struct $name $(<$life>)? {
            $(pub(super) $field: $rust,)*
        }

        const _: () = {
            use diesel::pg::Pg;
            use diesel::query_builder::{AstPass, QueryFragment, QueryId};
            use diesel::sql_types::Array;
            use diesel::sqlite::Sqlite;
            use diesel::{PgConnection, QueryResult, RunQueryDsl, SqliteConnection};
            use $crate::store::batch::{PgArray, Rows};
            use $crate::store::conn::Conn;

            pub(super) struct OneRow;
            pub(super) struct Arrays;

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

            impl<'r $(, $life)?> QueryId for Columns<'r $(, $life)?> {
                type QueryId = Arrays;
                const HAS_STATIC_QUERY_ID: bool = true;
            }

            impl<'r $(, $life)?> QueryFragment<Pg> for Columns<'r $(, $life)?> {
                fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                    ($before)(&mut |text| out.push_sql(text));
                    out.push_sql("(SELECT * FROM unnest(");
                    let mut comma = "";
                    $(
                        out.push_sql(comma);
                        out.push_bind_param::<Array<$sql>, _>(&self.$field)?;
                        out.push_sql(<$sql as PgArray>::CAST);
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

            impl<'r $(, $life)?> RunQueryDsl<PgConnection> for Columns<'r $(, $life)?> {}

            impl $(<$life>)? Rows for $name $(<$life>)? {
                fn run(rows: &[Self], conn: &mut Conn) -> QueryResult<usize> {
                    match conn {
                        Conn::Sqlite(conn) => {
                            let mut touched = 0;
                            for row in rows {
                                touched += row.execute(conn)?;
                            }
                            Ok(touched)
                        }
                        Conn::Postgres(conn) => {
                            let columns = Columns { $($field: rows.iter().map(|row| &row.$field).collect(),)* };
                            columns.execute(conn)
                        }
                    }
                }
            }
        };
    };
}
pub(super) use batched;
