//! An order's story: one history row per decision, and one record per decision for whoever reconciles.

use diesel::dsl::{count_star, exists, max, not};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary};
use schema::ids::{EventId, OrderId, TenantId};

use super::conn::{Conn, NotWritten, Tx, on, statement};
use super::tables::{history, record};
use super::values::{Id, from_doc, to_doc};
use super::{HistoryRow, OrderWrite, StoreError, Unpublished};

#[derive(Insertable)]
#[diesel(table_name = history, treat_none_as_default_value = false)]
struct NewHistory<'a> {
    tenant: Id,
    order_id: Id,
    version: i64,
    event_id: Id,
    at_us: i64,
    event: &'a str,
    from_state: Option<&'a str>,
    to_state: &'a str,
    doc: &'a str,
}

#[derive(Insertable)]
#[diesel(table_name = record, treat_none_as_default_value = false)]
struct NewRecord<'a> {
    tenant: Id,
    order_id: Id,
    sequence: i64,
    published: bool,
    doc: &'a str,
}

/// Writes both rows; the event was written before: moved.
pub(super) fn insert(conn: &mut Conn, write: &OrderWrite) -> Result<(), NotWritten> {
    let order = &write.after;
    let history_row = NewHistory {
        tenant: order.tenant.into(),
        order_id: order.id.into(),
        version: order.version,
        event_id: write.event_id.into(),
        at_us: order.updated_at_us,
        event: write.event,
        from_state: write.from,
        to_state: order.state.place().word(),
        doc: &write.event_doc,
    };
    on!(conn, c => diesel::insert_into(history::table).values(&history_row).execute(c))?;
    let doc = to_doc(&write.record)?;
    let record_row = NewRecord {
        tenant: order.tenant.into(),
        order_id: order.id.into(),
        sequence: write.record.sequence,
        published: false,
        doc: &doc,
    };
    on!(conn, c => diesel::insert_into(record::table).values(&record_row).execute(c))?;
    Ok(())
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

statement! {
    /// Marks one record published.
    MarkPublished {
        "UPDATE record SET published = TRUE WHERE NOT published AND tenant = " tenant: Id as Binary;
        " AND order_id = " order: Id as Binary;
        " AND sequence = " sequence: i64 as BigInt;
    }
}

/// Marks records published, in the caller's one transaction.
///
/// SQLite: one prepared statement per row costs less than one long statement per batch, which is never prepared twice.
pub(super) fn mark_published(tx: &mut Tx<'_>, records: &[(TenantId, OrderId, i64)]) -> Result<(), StoreError> {
    for (tenant, order, sequence) in records {
        let mark = MarkPublished { tenant: (*tenant).into(), order: (*order).into(), sequence: *sequence };
        on!(tx, c => mark.execute(c))?;
    }
    Ok(())
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
