//! Refunds.

use diesel::prelude::*;
use schema::ids::{InstitutionCode, OrderId, RefundId, TenantId};

use super::StoreError;
use super::conn::{Conn, NotWritten, on};
use super::tables::refund;
use super::values::{Id, from_doc, to_doc, to_word};
use crate::domain::refund::Refund;

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = refund, primary_key(tenant, id))]
#[diesel(treat_none_as_default_value = false, treat_none_as_null = true)]
struct Stored<'a> {
    tenant: Id,
    id: Id,
    order_id: Id,
    institution: &'a str,
    refund_no: Option<&'a str>,
    kind: String,
    state: &'a str,
    amount: i64,
    created_at_us: i64,
    doc: &'a str,
}

/// Writes a refund as it is now; its institution's number belongs to another: moved.
/// What guards it is its order's version, which every refund is decided under.
pub(super) fn put(
    conn: &mut Conn,
    tenant: TenantId,
    institution: &InstitutionCode,
    refund: &Refund,
) -> Result<(), NotWritten> {
    let doc = to_doc(refund)?;
    let row = Stored {
        tenant: tenant.into(),
        id: refund.id.into(),
        order_id: refund.order.into(),
        institution: institution.as_str(),
        refund_no: refund.refund_no.as_deref(),
        kind: to_word(refund.kind)?,
        state: refund.state.word(),
        amount: refund.amount.get(),
        created_at_us: refund.created_at_us,
        doc: &doc,
    };
    on!(conn, c => diesel::insert_into(refund::table)
        .values(&row)
        .on_conflict((refund::tenant, refund::id))
        .do_update()
        .set(&row)
        .execute(c))?;
    Ok(())
}

fn read_all(docs: Vec<String>) -> Result<Vec<Refund>, StoreError> {
    docs.iter().map(|doc| from_doc("a refund", doc)).collect()
}

/// An order's refunds, oldest first.
pub(super) fn of_order(conn: &mut Conn, tenant: TenantId, order: OrderId) -> Result<Vec<Refund>, StoreError> {
    let docs = on!(conn, c => refund::table
        .filter(refund::tenant.eq(Id::from(tenant)))
        .filter(refund::order_id.eq(Id::from(order)))
        .order((refund::created_at_us, refund::id))
        .select(refund::doc)
        .load(c))?;
    read_all(docs)
}

/// The refunds of an id range of orders.
pub(super) fn of_orders(
    conn: &mut Conn,
    tenant: TenantId,
    from: OrderId,
    to: OrderId,
) -> Result<Vec<Refund>, StoreError> {
    let docs = on!(conn, c => refund::table
        .filter(refund::tenant.eq(Id::from(tenant)))
        .filter(refund::order_id.between(Id::from(from), Id::from(to)))
        .order((refund::order_id, refund::created_at_us, refund::id))
        .select(refund::doc)
        .load(c))?;
    read_all(docs)
}

/// Refunds in a state, of every tenant, oldest first; every state when none is named.
pub(super) fn in_state(conn: &mut Conn, state: Option<&str>, most: u32) -> Result<Vec<(TenantId, Refund)>, StoreError> {
    let rows: Vec<(Id, String)> = on!(conn, c => {
        let mut query = refund::table.select((refund::tenant, refund::doc)).into_boxed();
        if let Some(state) = state {
            query = query.filter(refund::state.eq(state.to_owned()));
        }
        query.order((refund::created_at_us, refund::id)).limit(i64::from(most)).load(c)
    })?;
    rows.iter().map(|(tenant, doc)| Ok(((*tenant).into(), from_doc("a refund", doc)?))).collect()
}

pub(super) fn one(conn: &mut Conn, tenant: TenantId, id: RefundId) -> Result<Option<Refund>, StoreError> {
    let doc: Option<String> = on!(conn, c => refund::table
        .filter(refund::tenant.eq(Id::from(tenant)))
        .filter(refund::id.eq(Id::from(id)))
        .select(refund::doc)
        .get_result(c)
        .optional())?;
    doc.map(|doc| from_doc(&format!("refund {id}"), &doc)).transpose()
}

pub(super) fn by_no(
    conn: &mut Conn,
    tenant: TenantId,
    institution: &InstitutionCode,
    refund_no: &str,
) -> Result<Option<Refund>, StoreError> {
    let doc: Option<String> = on!(conn, c => refund::table
        .filter(refund::tenant.eq(Id::from(tenant)))
        .filter(refund::institution.eq(institution.as_str()))
        .filter(refund::refund_no.eq(refund_no))
        .select(refund::doc)
        .get_result(c)
        .optional())?;
    doc.map(|doc| from_doc("a refund", &doc)).transpose()
}
