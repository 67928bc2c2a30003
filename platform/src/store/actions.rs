//! Actions — calls that are rows before they are calls — and the leases of the processes that make them.

use std::collections::{HashMap, HashSet};

use diesel::dsl::{min, not};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use schema::ids::{ActionId, OrderId, ProcessId, TenantId};

use super::batch::{Writer, all, any, batched, write};
use super::conn::{Conn, NotWritten, Tx, on};
use super::tables::{action, lease, orders};
use super::values::{Id, from_doc, to_doc};
use super::{ActionStory, DueAction, NewAction, StoreError};

batched! {
    /// A new action.
    New<'a> inserts "action" {
        tenant: Id as Binary,
        id: Id as Binary,
        order_id: Id as Binary,
        kind: &'a str as Text,
        doc: String as Text,
        msgid: Option<&'a str> as Nullable<Text>,
        due_at_us: i64 as BigInt,
        started_by: Option<Id> as Nullable<Binary>,
        done: bool as Bool,
        attempts: i64 as BigInt,
        trace_id: Option<&'a str> as Nullable<Text>,
    } ""
}

batched! {
    /// An open action that is answered.
    Close runs "UPDATE action SET done = TRUE FROM " {
        tenant: Id as Binary,
        id: Id as Binary,
    } " WHERE NOT action.done AND action.tenant = c.tenant AND action.id = c.id"
}

batched! {
    /// An open action that goes back among those that nobody has started.
    Postpone runs "UPDATE action SET started_by = NULL, attempts = attempts + 1, due_at_us = c.due_at_us FROM " {
        tenant: Id as Binary,
        id: Id as Binary,
        due_at_us: i64 as BigInt,
    } " WHERE NOT action.done AND action.tenant = c.tenant AND action.id = c.id"
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a> {
    new: Vec<New<'a>>,
    close: Vec<Close>,
    postpone: Vec<Postpone>,
}

impl<'a> Lot<'a> {
    /// A new action.
    pub(super) fn action(&mut self, tenant: TenantId, new: &'a NewAction) -> Result<(), StoreError> {
        self.new.push(New {
            tenant: tenant.into(),
            id: new.id.into(),
            order_id: new.order.into(),
            kind: new.action.kind(),
            doc: to_doc(&new.action)?,
            msgid: new.action.msgid(),
            due_at_us: new.due_at_us,
            started_by: new.started_by.map(Id::from),
            done: false,
            attempts: 0,
            trace_id: new.trace_id.as_deref(),
        });
        Ok(())
    }

    /// An action that is answered.
    pub(super) fn answered(&mut self, tenant: TenantId, id: ActionId) {
        self.close.push(Close { tenant: tenant.into(), id: id.into() });
    }

    /// An action to be tried again at `due_at_us`.
    pub(super) fn postponed(&mut self, tenant: TenantId, id: ActionId, due_at_us: i64) {
        self.postpone.push(Postpone { tenant: tenant.into(), id: id.into(), due_at_us });
    }

    /// Closes and postpones; one that is closed, or not there: moved.
    pub(super) fn claim<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.close, to)?;
        all(&self.postpone, to)
    }

    /// Writes the new ones; the number of a bureau message was used before: moved.
    pub(super) fn write<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.new, to)
    }
}

/// Those of these actions that are open.
pub(super) fn open(conn: &mut Conn, tenant: TenantId, ids: &[ActionId]) -> Result<HashSet<ActionId>, StoreError> {
    let found: Vec<Id> = on!(conn, c => action::table
        .filter(action::tenant.eq(Id::from(tenant)))
        .filter(action::id.eq_any(ids.iter().copied().map(Id::from)))
        .filter(not(action::done))
        .select(action::id)
        .load(c))?;
    Ok(found.into_iter().map(ActionId::from).collect())
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

batched! {
    /// An action that a process starts.
    Start runs "UPDATE action SET started_by = c.process FROM " {
        tenant: Id as Binary,
        id: Id as Binary,
        process: Id as Binary,
    } " WHERE action.tenant = c.tenant AND action.id = c.id"
}

fn start(tx: &mut Tx<'_>, me: ProcessId, found: Vec<Stored>) -> Result<Vec<DueAction>, NotWritten> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Start> =
        found.iter().map(|row| Start { tenant: row.tenant, id: row.id, process: me.into() }).collect();
    write(tx, |to| any(&rows, to))?;
    let institutions = institutions(tx, &found)?;
    Ok(named(me, found, &institutions))
}

fn named(me: ProcessId, found: Vec<Stored>, institutions: &HashMap<(Id, Id), String>) -> Vec<DueAction> {
    let mut started = Vec::with_capacity(found.len());
    for row in found {
        let institution = institutions.get(&(row.tenant, row.order_id)).map_or("", String::as_str);
        match row.started_by(me, institution) {
            Ok(due) => started.push(due),
            // Its order's deadline brings a person to it; the others must not wait for that.
            Err(error) => tracing::error!(%error, "an action cannot be performed"),
        }
    }
    started
}

/// The institutions of the orders of these actions.
fn institutions(conn: &mut Conn, found: &[Stored]) -> Result<HashMap<(Id, Id), String>, StoreError> {
    let rows: Vec<(Id, Id, String)> = on!(conn, c => orders::table
        .filter(orders::tenant.eq_any(found.iter().map(|row| row.tenant)))
        .filter(orders::id.eq_any(found.iter().map(|row| row.order_id)))
        .select((orders::tenant, orders::id, orders::institution))
        .load(c))?;
    Ok(rows.into_iter().map(|(tenant, order, institution)| ((tenant, order), institution)).collect())
}

/// Starts actions that are due and that nobody has started, earliest first.
///
/// SQLite: the caller's transaction is the only writer, so choosing and marking cannot be told from one statement.
/// PostgreSQL: chosen rows are locked, and those that another process is just taking are left to it.
pub(super) fn take_due(tx: &mut Tx<'_>, me: ProcessId, now_us: i64, most: u32) -> Result<Vec<DueAction>, NotWritten> {
    let due = action::table
        .filter(not(action::done))
        .filter(action::started_by.is_null())
        .filter(action::due_at_us.le(now_us))
        .order(action::due_at_us)
        .limit(i64::from(most));
    let found = match &mut **tx {
        Conn::Sqlite(c) => due.select(Stored::as_select()).load(c)?,
        Conn::Postgres(c) => due.select(Stored::as_select()).for_update().skip_locked().load(&mut **c)?,
    };
    start(tx, me, found)
}

/// Adopts started actions of processes that did not renew their lease since `dead_before_us`, or never had one.
///
/// PostgreSQL: the leases of the dead are locked first. One that comes back to life renews after this commit, and then
/// sees whose its actions are; one that was born since is seen with its lease wherever its actions are.
pub(super) fn adopt(
    tx: &mut Tx<'_>,
    me: ProcessId,
    dead_before_us: i64,
    most: u32,
) -> Result<Vec<DueAction>, NotWritten> {
    let silent = lease::table.filter(lease::renewed_at_us.lt(dead_before_us)).select(lease::process);
    let dead: Vec<Id> = match &mut **tx {
        Conn::Sqlite(c) => silent.load(c)?,
        Conn::Postgres(c) => silent.for_update().load(&mut **c)?,
    };
    let living = lease::table.filter(lease::process.ne_all(dead)).select(lease::process.nullable());
    let left = action::table
        .filter(not(action::done))
        .filter(action::started_by.is_not_null())
        .filter(action::started_by.ne(Id::from(me)))
        .filter(action::started_by.ne_all(living))
        .order((action::due_at_us, action::id))
        .limit(i64::from(most));
    let found = match &mut **tx {
        Conn::Sqlite(c) => left.select(Stored::as_select()).load(c)?,
        Conn::Postgres(c) => left.select(Stored::as_select()).for_update().skip_locked().load(&mut **c)?,
    };
    start(tx, me, found)
}

/// Those of these actions that this process has started and that are open.
pub(super) fn started(
    conn: &mut Conn,
    me: ProcessId,
    taken: &[(TenantId, ActionId)],
) -> Result<Vec<DueAction>, StoreError> {
    let found: Vec<Stored> = on!(conn, c => action::table
        .filter(action::id.eq_any(taken.iter().map(|(_, id)| Id::from(*id))))
        .filter(action::started_by.eq(Id::from(me)))
        .filter(not(action::done))
        .select(Stored::as_select())
        .load(c))?;
    let institutions = institutions(conn, &found)?;
    Ok(named(me, found, &institutions))
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

/// When the next action that nobody has started is due, or an order is to be looked at: microseconds UTC.
pub(super) fn next_due(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    let action =
        action::table.filter(not(action::done)).filter(action::started_by.is_null()).select(min(action::due_at_us));
    let look = orders::table.select(min(orders::look_at_us));
    let next: (Option<i64>, Option<i64>) =
        on!(conn, c => diesel::select((action.single_value(), look.single_value())).get_result(c))?;
    Ok([next.0, next.1].into_iter().flatten().min())
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
