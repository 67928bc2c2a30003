//! Actions — calls that are rows before they are calls — and the leases of the processes that make them.

use diesel::dsl::{min, not};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary};
use schema::ids::{ActionId, OrderId, ProcessId, TenantId};

use super::conn::{Conn, NotWritten, Tx, moved_unless, on, statement};
use super::tables::{action, lease, orders};
use super::values::{Id, from_doc, to_doc};
use super::{ActionStory, DueAction, NewAction, StoreError};

#[derive(Insertable)]
#[diesel(table_name = action, treat_none_as_default_value = false)]
struct New<'a> {
    tenant: Id,
    id: Id,
    order_id: Id,
    kind: &'a str,
    doc: &'a str,
    msgid: Option<&'a str>,
    due_at_us: i64,
    started_by: Option<Id>,
    done: bool,
    attempts: i64,
    trace_id: Option<&'a str>,
}

/// Inserts an action; the number of its bureau message was used before: moved.
pub(super) fn insert(conn: &mut Conn, tenant: TenantId, new: &NewAction) -> Result<(), NotWritten> {
    let doc = to_doc(&new.action)?;
    let row = New {
        tenant: tenant.into(),
        id: new.id.into(),
        order_id: new.order.into(),
        kind: new.action.kind(),
        doc: &doc,
        msgid: new.action.msgid(),
        due_at_us: new.due_at_us,
        started_by: new.started_by.map(Id::from),
        done: false,
        attempts: 0,
        trace_id: new.trace_id.as_deref(),
    };
    on!(conn, c => diesel::insert_into(action::table).values(&row).execute(c))?;
    Ok(())
}

statement! {
    /// Closes an action that is open.
    Close {
        "UPDATE action SET done = TRUE WHERE NOT done AND tenant = " tenant: Id as Binary;
        " AND id = " id: Id as Binary;
    }
}

/// Closes an action; it is closed, or there is none: moved.
pub(super) fn close(conn: &mut Conn, tenant: TenantId, id: ActionId) -> Result<(), NotWritten> {
    let close = Close { tenant: tenant.into(), id: id.into() };
    moved_unless(on!(conn, c => close.execute(c))?)
}

statement! {
    /// Puts an open action back among those that nobody has started.
    Postpone {
        "UPDATE action SET started_by = NULL, attempts = attempts + 1, due_at_us = " due_at_us: i64 as BigInt;
        " WHERE NOT done AND tenant = " tenant: Id as Binary;
        " AND id = " id: Id as Binary;
    }
}

/// Lets an action be tried again at `due_at_us`; it is closed, or there is none: moved.
pub(super) fn postpone(conn: &mut Conn, tenant: TenantId, id: ActionId, due_at_us: i64) -> Result<(), NotWritten> {
    let postpone = Postpone { due_at_us, tenant: tenant.into(), id: id.into() };
    moved_unless(on!(conn, c => postpone.execute(c))?)
}

/// Whether an action is open; `false` also if there is none.
pub(super) fn is_open(conn: &mut Conn, tenant: TenantId, id: ActionId) -> Result<bool, StoreError> {
    let done: Option<bool> = on!(conn, c => action::table
        .filter(action::tenant.eq(Id::from(tenant)))
        .filter(action::id.eq(Id::from(id)))
        .select(action::done)
        .get_result(c)
        .optional())?;
    Ok(done == Some(false))
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = action)]
struct Stored {
    tenant: Id,
    id: Id,
    order_id: Id,
    doc: String,
    due_at_us: i64,
    attempts: i64,
    trace_id: Option<String>,
}

impl Stored {
    fn started_by(self, me: ProcessId, institution: &str) -> Result<DueAction, StoreError> {
        let id = ActionId::from(self.id);
        let damaged = |_| StoreError::Damaged(format!("action {id}: its order's institution is no code"));
        Ok(DueAction {
            tenant: self.tenant.into(),
            action: NewAction {
                id,
                order: self.order_id.into(),
                action: from_doc(&format!("action {id}"), &self.doc)?,
                due_at_us: self.due_at_us,
                started_by: Some(me),
                trace_id: self.trace_id,
            },
            institution: institution.parse().map_err(damaged)?,
            attempts: self.attempts,
        })
    }
}

statement! {
    /// Marks an action as started by a process.
    Start {
        "UPDATE action SET started_by = " by: Id as Binary;
        " WHERE tenant = " tenant: Id as Binary;
        " AND id = " id: Id as Binary;
    }
}

fn start(tx: &mut Tx<'_>, me: ProcessId, found: Vec<(Stored, String)>) -> Result<Vec<DueAction>, StoreError> {
    let mut started = Vec::with_capacity(found.len());
    for (row, institution) in found {
        let start = Start { by: me.into(), tenant: row.tenant, id: row.id };
        on!(tx, c => start.execute(c))?;
        match row.started_by(me, &institution) {
            Ok(due) => started.push(due),
            // Its order's deadline brings a person to it; the others must not wait for that.
            Err(error) => tracing::error!(%error, "an action cannot be performed"),
        }
    }
    Ok(started)
}

/// Starts actions that are due and that nobody has started, earliest first.
///
/// SQLite: the caller's transaction is the only writer, so choosing and marking cannot be told from one statement.
pub(super) fn take_due(tx: &mut Tx<'_>, me: ProcessId, now_us: i64, most: u32) -> Result<Vec<DueAction>, StoreError> {
    let found = on!(tx, c => action::table
        .inner_join(orders::table.on(orders::tenant.eq(action::tenant).and(orders::id.eq(action::order_id))))
        .filter(not(action::done))
        .filter(action::started_by.is_null())
        .filter(action::due_at_us.le(now_us))
        .order(action::due_at_us)
        .limit(i64::from(most))
        .select((Stored::as_select(), orders::institution))
        .load(c))?;
    start(tx, me, found)
}

/// Adopts started actions of processes that did not renew their lease since `dead_before_us`, or never had one.
pub(super) fn adopt(
    tx: &mut Tx<'_>,
    me: ProcessId,
    dead_before_us: i64,
    most: u32,
) -> Result<Vec<DueAction>, StoreError> {
    let living = lease::table.filter(lease::renewed_at_us.ge(dead_before_us)).select(lease::process.nullable());
    let found = on!(tx, c => action::table
        .inner_join(orders::table.on(orders::tenant.eq(action::tenant).and(orders::id.eq(action::order_id))))
        .filter(not(action::done))
        .filter(action::started_by.is_not_null())
        .filter(action::started_by.ne(Id::from(me)))
        .filter(action::started_by.ne_all(living))
        .order((action::due_at_us, action::id))
        .limit(i64::from(most))
        .select((Stored::as_select(), orders::institution))
        .load(c))?;
    start(tx, me, found)
}

pub(super) fn started_by(conn: &mut Conn, tenant: TenantId, id: ActionId) -> Result<Option<ProcessId>, StoreError> {
    let by: Option<Option<Id>> = on!(conn, c => action::table
        .filter(action::tenant.eq(Id::from(tenant)))
        .filter(action::id.eq(Id::from(id)))
        .filter(not(action::done))
        .select(action::started_by)
        .get_result(c)
        .optional())?;
    Ok(by.flatten().map(ProcessId::from))
}

/// When the next action that nobody has started is due: microseconds UTC.
pub(super) fn next_due(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    Ok(on!(conn, c => action::table
        .filter(not(action::done))
        .filter(action::started_by.is_null())
        .select(min(action::due_at_us))
        .get_result(c))?)
}

/// An order's actions, oldest first.
pub(super) fn story(conn: &mut Conn, tenant: TenantId, order: OrderId) -> Result<Vec<ActionStory>, StoreError> {
    let rows: Vec<(String, i64, bool, i64)> = on!(conn, c => action::table
        .filter(action::tenant.eq(Id::from(tenant)))
        .filter(action::order_id.eq(Id::from(order)))
        .order(action::id)
        .select((action::kind, action::due_at_us, action::done, action::attempts))
        .load(c))?;
    Ok(rows
        .into_iter()
        .map(|(kind, due_at_us, done, attempts)| ActionStory { kind, due_at_us, done, attempts })
        .collect())
}

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = lease, primary_key(process))]
struct Lease {
    process: Id,
    renewed_at_us: i64,
}

pub(super) fn renew_lease(conn: &mut Conn, me: ProcessId, now_us: i64) -> Result<(), StoreError> {
    let row = Lease { process: me.into(), renewed_at_us: now_us };
    on!(conn, c => diesel::insert_into(lease::table)
        .values(&row)
        .on_conflict(lease::process)
        .do_update()
        .set(&row)
        .execute(c))?;
    Ok(())
}
