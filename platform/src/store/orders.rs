//! Orders, guarded by version, and the two claims that an order holds: its bill and its insured person.

use diesel::dsl::min;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use schema::ids::{BillId, BindingId, ChannelUserId, InstitutionCode, OrderId, TenantId};
use schema::seal::Lookup;

use super::conn::{Conn, NotWritten, moved_unless, on, statement};
use super::tables::{open_order, orders, person_claim};
use super::values::{Hash, Id, from_doc, to_doc};
use super::{OrderWrite, StoreError, tenants};
use crate::domain::order::{Order, Place};

/// The stored word of a place; unlike the public word, each place has its own.
const fn place_word(place: Place) -> &'static str {
    match place {
        Place::Created => "created",
        Place::Priced => "priced",
        Place::Settling => "settling",
        Place::Doubting => "doubting",
        Place::Proving => "proving",
        Place::Prepaying => "prepaying",
        Place::Collecting => "collecting",
        Place::Carrying => "carrying",
        Place::Paid => "paid",
        Place::Completed => "completed",
        Place::ClosingWallet => "closing_wallet",
        Place::UndoingInsurance => "undoing_insurance",
        Place::AskingUndo => "asking_undo",
        Place::Returning => "returning",
        Place::Suspended => "suspended",
        Place::Closed => "closed",
    }
}

#[derive(Insertable)]
#[diesel(table_name = orders, treat_none_as_default_value = false)]
struct New<'a> {
    tenant: Id,
    id: Id,
    version: i64,
    state: &'a str,
    place: &'a str,
    institution: &'a str,
    bill: Id,
    payer: Id,
    binding: Option<Id>,
    person: Option<Hash>,
    amount: i64,
    deadline_at_us: Option<i64>,
    created_at_us: i64,
    updated_at_us: i64,
    trace_id: Option<&'a str>,
    doc: &'a str,
}

statement! {
    /// Writes a decided order over the version that was decided upon.
    Advance<'a> {
        "UPDATE orders SET version = " version: i64 as BigInt;
        ", state = " state: &'a str as Text;
        ", place = " place: &'a str as Text;
        ", deadline_at_us = " deadline_at_us: Option<i64> as Nullable<BigInt>;
        ", updated_at_us = " updated_at_us: i64 as BigInt;
        ", doc = " doc: &'a str as Text;
        " WHERE tenant = " tenant: Id as Binary;
        " AND id = " id: Id as Binary;
        " AND version = " before: i64 as BigInt;
    }
}

/// Writes an order over version `before` (0: it is new); it is no longer at that version: moved.
pub(super) fn write(conn: &mut Conn, write: &OrderWrite) -> Result<(), NotWritten> {
    let OrderWrite { before, after, trace_id, .. } = write;
    let before = *before;
    let doc = to_doc(after)?;
    let place = after.state.place();
    if before > 0 {
        let update = Advance {
            version: after.version,
            state: place.word(),
            place: place_word(place),
            deadline_at_us: after.deadline_at_us,
            updated_at_us: after.updated_at_us,
            doc: &doc,
            tenant: after.tenant.into(),
            id: after.id.into(),
            before,
        };
        return moved_unless(on!(conn, c => update.execute(c))?);
    }
    let insured = after.insured.as_ref();
    let row = New {
        tenant: after.tenant.into(),
        id: after.id.into(),
        version: after.version,
        state: place.word(),
        place: place_word(place),
        institution: after.bill.institution.as_str(),
        bill: after.bill.id.into(),
        payer: after.payer.into(),
        binding: insured.map(|insured| insured.binding.into()),
        person: insured.map(|insured| (&insured.person).into()),
        amount: after.bill.amount.get(),
        deadline_at_us: after.deadline_at_us,
        created_at_us: after.created_at_us,
        updated_at_us: after.updated_at_us,
        trace_id: trace_id.as_deref(),
        doc: &doc,
    };
    moved_unless(on!(conn, c => diesel::insert_into(orders::table).values(&row).on_conflict_do_nothing().execute(c))?)
}

// ——— claims ———

#[derive(Insertable)]
#[diesel(table_name = open_order)]
struct NewOpenOrder {
    tenant: Id,
    bill: Id,
    order_id: Id,
}

/// Takes a bill for an order; another holds it: moved.
pub(super) fn take_bill(conn: &mut Conn, tenant: TenantId, bill: BillId, order: OrderId) -> Result<(), NotWritten> {
    let row = NewOpenOrder { tenant: tenant.into(), bill: bill.into(), order_id: order.into() };
    moved_unless(on!(conn, c => diesel::insert_into(open_order::table)
        .values(&row)
        .on_conflict_do_nothing()
        .execute(c))?)
}

/// Gives a bill up; nothing happens if the order did not hold it.
pub(super) fn leave_bill(conn: &mut Conn, tenant: TenantId, bill: BillId, order: OrderId) -> Result<(), NotWritten> {
    on!(conn, c => diesel::delete(open_order::table)
        .filter(open_order::tenant.eq(Id::from(tenant)))
        .filter(open_order::bill.eq(Id::from(bill)))
        .filter(open_order::order_id.eq(Id::from(order)))
        .execute(c))?;
    Ok(())
}

#[derive(Insertable)]
#[diesel(table_name = person_claim)]
struct NewPersonClaim {
    tenant: Id,
    person: Hash,
    order_id: Id,
}

/// Takes an insured person for an order; another holds them: moved.
pub(super) fn take_person(
    conn: &mut Conn,
    tenant: TenantId,
    person: &Lookup,
    order: OrderId,
) -> Result<(), NotWritten> {
    let row = NewPersonClaim { tenant: tenant.into(), person: person.into(), order_id: order.into() };
    let taken = on!(conn, c => diesel::insert_into(person_claim::table)
        .values(&row)
        .on_conflict_do_nothing()
        .execute(c))?;
    if taken == 0 && person_held_by(conn, tenant, person)? != Some(order) {
        return Err(NotWritten::Moved);
    }
    Ok(())
}

/// Gives an insured person up; nothing happens if the order did not hold them.
pub(super) fn leave_person(
    conn: &mut Conn,
    tenant: TenantId,
    person: &Lookup,
    order: OrderId,
) -> Result<(), NotWritten> {
    on!(conn, c => diesel::delete(person_claim::table)
        .filter(person_claim::tenant.eq(Id::from(tenant)))
        .filter(person_claim::person.eq(Hash::from(person)))
        .filter(person_claim::order_id.eq(Id::from(order)))
        .execute(c))?;
    Ok(())
}

pub(super) fn person_held_by(
    conn: &mut Conn,
    tenant: TenantId,
    person: &Lookup,
) -> Result<Option<OrderId>, StoreError> {
    let found: Option<Id> = on!(conn, c => person_claim::table
        .filter(person_claim::tenant.eq(Id::from(tenant)))
        .filter(person_claim::person.eq(Hash::from(person)))
        .select(person_claim::order_id)
        .get_result(c)
        .optional())?;
    Ok(found.map(OrderId::from))
}

/// Every bill that is held: (bill, order).
pub(super) fn held_bills(conn: &mut Conn, tenant: TenantId) -> Result<Vec<(BillId, OrderId)>, StoreError> {
    let found: Vec<(Id, Id)> = on!(conn, c => open_order::table
        .filter(open_order::tenant.eq(Id::from(tenant)))
        .select((open_order::bill, open_order::order_id))
        .load(c))?;
    Ok(found.into_iter().map(|(bill, order)| (bill.into(), order.into())).collect())
}

/// Every insured person that is held: (person, order).
pub(super) fn held_persons(conn: &mut Conn, tenant: TenantId) -> Result<Vec<(Lookup, OrderId)>, StoreError> {
    let found: Vec<(Hash, Id)> = on!(conn, c => person_claim::table
        .filter(person_claim::tenant.eq(Id::from(tenant)))
        .select((person_claim::person, person_claim::order_id))
        .load(c))?;
    Ok(found.into_iter().map(|(person, order)| (person.into(), order.into())).collect())
}

// ——— reading ———

fn read(doc: &str) -> Result<Order, StoreError> {
    from_doc("an order", doc)
}

fn read_all(docs: Vec<String>) -> Result<Vec<Order>, StoreError> {
    docs.iter().map(|doc| read(doc)).collect()
}

fn ids(found: Vec<Id>) -> Vec<OrderId> {
    found.into_iter().map(OrderId::from).collect()
}

pub(super) fn one(conn: &mut Conn, tenant: TenantId, id: OrderId) -> Result<Option<Order>, StoreError> {
    let doc: Option<String> = on!(conn, c => orders::table
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::id.eq(Id::from(id)))
        .select(orders::doc)
        .get_result(c)
        .optional())?;
    doc.map(|doc| from_doc(&format!("order {id}"), &doc)).transpose()
}

/// One order with the trace id of whoever opened it.
pub(super) fn traced(
    conn: &mut Conn,
    tenant: TenantId,
    id: OrderId,
) -> Result<Option<(Order, Option<String>)>, StoreError> {
    let found: Option<(String, Option<String>)> = on!(conn, c => orders::table
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::id.eq(Id::from(id)))
        .select((orders::doc, orders::trace_id))
        .get_result(c)
        .optional())?;
    found.map(|(doc, trace_id)| Ok((from_doc(&format!("order {id}"), &doc)?, trace_id))).transpose()
}

/// One order, whichever tenant's, with the trace id of whoever opened it.
pub(super) fn anywhere(conn: &mut Conn, id: OrderId) -> Result<Option<(Order, Option<String>)>, StoreError> {
    for tenant in tenants::ids(conn)? {
        if let Some(found) = traced(conn, tenant.into(), id)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// One page of a tenant's orders by id, after `after`.
pub(super) fn page(
    conn: &mut Conn,
    tenant: TenantId,
    after: Option<OrderId>,
    most: i64,
) -> Result<Vec<Order>, StoreError> {
    let after = after.map_or(super::values::Bytes([0; 16]), Id::from);
    let docs: Vec<String> = on!(conn, c => orders::table
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::id.gt(after))
        .order(orders::id)
        .limit(most)
        .select(orders::doc)
        .load(c))?;
    read_all(docs)
}

pub(super) fn of_payer(
    conn: &mut Conn,
    tenant: TenantId,
    payer: ChannelUserId,
    most: u32,
) -> Result<Vec<Order>, StoreError> {
    let docs: Vec<String> = on!(conn, c => orders::table
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::payer.eq(Id::from(payer)))
        .order((orders::created_at_us.desc(), orders::id.desc()))
        .limit(i64::from(most))
        .select(orders::doc)
        .load(c))?;
    read_all(docs)
}

pub(super) fn between(
    conn: &mut Conn,
    tenant: TenantId,
    institution: &InstitutionCode,
    from_us: i64,
    to_us: i64,
    most: u32,
) -> Result<Vec<Order>, StoreError> {
    let docs: Vec<String> = on!(conn, c => orders::table
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::institution.eq(institution.as_str()))
        .filter(orders::created_at_us.ge(from_us))
        .filter(orders::created_at_us.lt(to_us))
        .order((orders::created_at_us, orders::id))
        .limit(i64::from(most))
        .select(orders::doc)
        .load(c))?;
    read_all(docs)
}

pub(super) fn in_state(conn: &mut Conn, state: Option<&str>, most: u32) -> Result<Vec<Order>, StoreError> {
    let oldest_first =
        orders::table.order((orders::created_at_us, orders::id)).limit(i64::from(most)).select(orders::doc);
    let docs: Vec<String> = match state {
        Some(state) => on!(conn, c => oldest_first.filter(orders::state.eq(state)).load(c))?,
        None => on!(conn, c => oldest_first.load(c))?,
    };
    read_all(docs)
}

pub(super) fn priced_of_person(conn: &mut Conn, tenant: TenantId, person: &Lookup) -> Result<Vec<OrderId>, StoreError> {
    let found = on!(conn, c => orders::table
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::person.eq(Hash::from(person)))
        .filter(orders::state.eq(Place::Priced.word()))
        .order(orders::id)
        .select(orders::id)
        .load(c))?;
    Ok(ids(found))
}

/// Orders under a binding that have not come to their end.
pub(super) fn open_under_binding(
    conn: &mut Conn,
    tenant: TenantId,
    binding: BindingId,
) -> Result<Vec<OrderId>, StoreError> {
    let found = on!(conn, c => orders::table
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::binding.eq(Id::from(binding)))
        .filter(orders::state.ne(Place::Completed.word()))
        .filter(orders::state.ne(Place::Closed.word()))
        .order(orders::id)
        .select(orders::id)
        .load(c))?;
    Ok(ids(found))
}

pub(super) fn past_deadline(conn: &mut Conn, now_us: i64, most: u32) -> Result<Vec<(TenantId, OrderId)>, StoreError> {
    let found: Vec<(Id, Id)> = on!(conn, c => orders::table
        .filter(orders::deadline_at_us.le(now_us))
        .order(orders::deadline_at_us)
        .limit(i64::from(most))
        .select((orders::tenant, orders::id))
        .load(c))?;
    Ok(found.into_iter().map(|(tenant, order)| (tenant.into(), order.into())).collect())
}

/// The next deadline: microseconds UTC.
pub(super) fn next_deadline(conn: &mut Conn) -> Result<Option<i64>, StoreError> {
    Ok(on!(conn, c => orders::table.select(min(orders::deadline_at_us)).get_result(c))?)
}
