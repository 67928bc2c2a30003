//! An order's story: one history row per decision, and one record per decision for whoever reconciles.

use diesel::dsl::{count_star, exists, max, not};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use schema::ids::{EventId, OrderId, TenantId};

use super::batch::{Writer, all, any, batched, write};
use super::conn::{Conn, NotWritten, on};
use super::tables::{history, record};
use super::values::{Bytes, Id, from_doc, to_doc};
use super::{HistoryRow, OrderWrite, Recorded, StoreError, Unpublished};

batched! {
    /// What was decided; one row an event.
    NewHistory<'a> inserts "history" {
        tenant: Id as Binary,
        order_id: Id as Binary,
        version: i64 as BigInt,
        event_id: Id as Binary,
        at_us: i64 as BigInt,
        event: &'a str as Text,
        from_state: Option<&'a str> as Nullable<Text>,
        to_state: &'a str as Text,
        doc: &'a str as Text,
    } ""
}

batched! {
    /// What is to be published of it.
    NewRecord inserts "record" {
        tenant: Id as Binary,
        order_id: Id as Binary,
        sequence: i64 as BigInt,
        published: bool as Bool,
        doc: String as Text,
    } ""
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a> {
    history: Vec<NewHistory<'a>>,
    records: Vec<NewRecord>,
}

impl<'a> Lot<'a> {
    /// Both rows of a decision.
    pub(super) fn decision(&mut self, write: &'a OrderWrite) -> Result<(), StoreError> {
        let order = &write.after;
        self.history.push(NewHistory {
            tenant: order.tenant.into(),
            order_id: order.id.into(),
            version: order.version,
            event_id: write.event_id.into(),
            at_us: order.updated_at_us,
            event: write.event,
            from_state: write.from,
            to_state: order.state.place().word(),
            doc: &write.event_doc,
        });
        self.records.push(NewRecord {
            tenant: order.tenant.into(),
            order_id: order.id.into(),
            sequence: write.record.sequence,
            published: false,
            doc: to_doc(&write.record)?,
        });
        Ok(())
    }

    /// Writes it; an event that was written before: moved.
    pub(super) fn write<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.history, to)?;
        all(&self.records, to)
    }
}

/// Whether any of these events was written.
pub(super) fn landed(conn: &mut Conn, tenant: TenantId, events: &[EventId]) -> Result<bool, StoreError> {
    for event in events {
        let there: bool = on!(conn, c => diesel::select(exists(
            history::table
                .filter(history::tenant.eq(Id::from(tenant)))
                .filter(history::event_id.eq(Id::from(*event))),
        ))
        .get_result(c))?;
        if there {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An order's history, oldest first.
pub(super) fn history(conn: &mut Conn, tenant: TenantId, order: OrderId) -> Result<Vec<HistoryRow>, StoreError> {
    type Row = (i64, i64, String, Option<String>, String, String);
    let rows: Vec<Row> = on!(conn, c => history::table
        .filter(history::tenant.eq(Id::from(tenant)))
        .filter(history::order_id.eq(Id::from(order)))
        .order(history::version)
        .select((history::version, history::at_us, history::event, history::from_state, history::to_state, history::doc))
        .load(c))?;
    rows.into_iter()
        .map(|(version, at_us, event, from, to, doc)| {
            let doc = from_doc(&format!("history {version} of order {order}"), &doc)?;
            Ok(HistoryRow { version, at_us, event, from, to, doc })
        })
        .collect()
}

/// Records nobody has published, per order in sequence; older orders first.
pub(super) fn unpublished(conn: &mut Conn, most: u32) -> Result<Vec<Unpublished>, StoreError> {
    let rows: Vec<(Id, Id, i64, String)> = on!(conn, c => record::table
        .filter(not(record::published))
        .order((record::order_id, record::sequence))
        .limit(i64::from(most))
        .select((record::tenant, record::order_id, record::sequence, record::doc))
        .load(c))?;
    Ok(rows
        .into_iter()
        .map(|(tenant, order, sequence, record)| Unpublished {
            tenant: tenant.into(),
            order: order.into(),
            sequence,
            record,
        })
        .collect())
}

/// How many records nobody has published.
pub(super) fn waiting(conn: &mut Conn) -> Result<i64, StoreError> {
    Ok(on!(conn, c => record::table.filter(not(record::published)).count().get_result(c))?)
}

/// A tenant's records behind a place, by order and sequence.
pub(super) fn after(
    conn: &mut Conn,
    tenant: TenantId,
    after: Option<(OrderId, i64)>,
    most: u32,
) -> Result<Vec<Recorded>, StoreError> {
    // Not (order, sequence) > (…), which diesel cannot say, but what an index finds its beginning by.
    let (order, sequence) = after.map_or((Bytes([0; 16]), 0), |(order, sequence)| (Id::from(order), sequence));
    let rows: Vec<(Id, i64, bool, String)> = on!(conn, c => record::table
        .filter(record::tenant.eq(Id::from(tenant)))
        .filter(record::order_id.ge(order))
        .filter(record::order_id.gt(order).or(record::sequence.gt(sequence)))
        .order((record::order_id, record::sequence))
        .limit(i64::from(most))
        .select((record::order_id, record::sequence, record::published, record::doc))
        .load(c))?;
    Ok(rows
        .into_iter()
        .map(|(order, sequence, published, record)| Recorded { order: order.into(), sequence, published, record })
        .collect())
}

batched! {
    /// A record that was published.
    Published runs "UPDATE record SET published = TRUE FROM " {
        tenant: Id as Binary,
        order_id: Id as Binary,
        sequence: i64 as BigInt,
    } " WHERE NOT record.published AND record.tenant = c.tenant AND record.order_id = c.order_id \
        AND record.sequence = c.sequence"
}

/// Marks records published.
pub(super) fn mark_published(conn: &mut Conn, records: &[(TenantId, OrderId, i64)]) -> Result<(), NotWritten> {
    let rows: Vec<Published> = records
        .iter()
        .map(|(tenant, order, sequence)| Published {
            tenant: (*tenant).into(),
            order_id: (*order).into(),
            sequence: *sequence,
        })
        .collect();
    write(conn, |to| any(&rows, to))
}

/// How many records each order of an id range has, and the highest number among them.
pub(super) fn counts(
    conn: &mut Conn,
    tenant: TenantId,
    from: OrderId,
    to: OrderId,
) -> Result<Vec<(OrderId, i64, i64)>, StoreError> {
    let rows: Vec<(Id, i64, Option<i64>)> = on!(conn, c => record::table
        .filter(record::tenant.eq(Id::from(tenant)))
        .filter(record::order_id.between(Id::from(from), Id::from(to)))
        .group_by(record::order_id)
        .select((record::order_id, count_star(), max(record::sequence)))
        .load(c))?;
    Ok(rows.into_iter().map(|(order, count, highest)| (order.into(), count, highest.unwrap_or(0))).collect())
}
