//! Refunds.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use schema::ids::{InstitutionCode, OrderId, RefundId, TenantId};

use super::StoreError;
use super::batch::{Writer, all, batched};
use super::conn::{Conn, NotWritten, on};
use super::tables::refund;
use super::values::{Id, from_doc, to_doc, to_word};
use crate::domain::refund::Refund;

batched! {
    /// A refund as it is now. What guards it is its order's version, which every refund is decided under.
    Put<'a> inserts "refund" {
        tenant: Id as Binary,
        id: Id as Binary,
        order_id: Id as Binary,
        institution: &'a str as Text,
        refund_no: Option<&'a str> as Nullable<Text>,
        kind: String as Text,
        state: &'a str as Text,
        amount: i64 as BigInt,
        created_at_us: i64 as BigInt,
        doc: String as Text,
    } "ON CONFLICT (tenant, id) DO UPDATE SET refund_no = excluded.refund_no, kind = excluded.kind, \
        state = excluded.state, amount = excluded.amount, doc = excluded.doc"
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a>(Vec<Put<'a>>);

impl<'a> Lot<'a> {
    /// A refund as it is now.
    pub(super) fn refund(
        &mut self,
        tenant: TenantId,
        institution: &'a InstitutionCode,
        refund: &'a Refund,
    ) -> Result<(), StoreError> {
        self.0.push(Put {
            tenant: tenant.into(),
            id: refund.id.into(),
            order_id: refund.order.into(),
            institution: institution.as_str(),
            refund_no: refund.refund_no.as_deref(),
            kind: to_word(refund.kind)?,
            state: refund.state.word(),
            amount: refund.amount.get(),
            created_at_us: refund.created_at_us,
            doc: to_doc(refund)?,
        });
        Ok(())
    }

    /// Writes it; an institution's number that belongs to another refund: moved.
    pub(super) fn write<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.0, to)
    }
}

/// The refunds of these orders, each order's oldest first.
pub(super) fn of_many(
    conn: &mut Conn,
    tenant: TenantId,
    orders: &[OrderId],
) -> Result<HashMap<OrderId, Vec<Refund>>, StoreError> {
    let docs: Vec<String> = on!(conn, c => refund::table
        .filter(refund::tenant.eq(Id::from(tenant)))
        .filter(refund::order_id.eq_any(orders.iter().copied().map(Id::from)))
        .order((refund::created_at_us, refund::id))
        .select(refund::doc)
        .load(c))?;
    let mut of: HashMap<OrderId, Vec<Refund>> = HashMap::new();
    for refund in read_all(docs)? {
        of.entry(refund.order).or_default().push(refund);
    }
    Ok(of)
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
