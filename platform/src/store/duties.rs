//! Duties: what one process does for all of them. Whoever renewed a duty last holds it until it grows old.

use diesel::prelude::*;
use diesel::query_dsl::methods::FilterDsl as _;
use schema::ids::ProcessId;

use super::StoreError;
use super::conn::{Conn, on};
use super::tables::duty;
use super::values::Id;

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = duty, primary_key(name), treat_none_as_default_value = false)]
struct Duty<'a> {
    name: &'a str,
    holder: Id,
    renewed_at_us: i64,
}

/// Takes a duty that nobody holds, or renews one's own, in one statement: of two that try at once, one has it.
pub(super) fn hold(
    conn: &mut Conn,
    name: &str,
    me: ProcessId,
    now_us: i64,
    dead_before_us: i64,
) -> Result<bool, StoreError> {
    let row = Duty { name, holder: me.into(), renewed_at_us: now_us };
    let written = on!(conn, c => diesel::insert_into(duty::table)
        .values(&row)
        .on_conflict(duty::name)
        .do_update()
        .set(&row)
        .filter(duty::holder.eq(Id::from(me)).or(duty::renewed_at_us.lt(dead_before_us)))
        .execute(c))?;
    Ok(written > 0)
}
