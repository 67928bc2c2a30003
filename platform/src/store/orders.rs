//! Orders, guarded by version, and the two claims that an order holds: its bill and its insured person.

use std::collections::HashMap;

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use schema::ids::{BillId, BindingId, ChannelUserId, InstitutionCode, OrderId, TenantId};
use schema::seal::Lookup;

use super::batch::{Writer, all, any, batched, write};
use super::conn::{Conn, NotWritten, on};
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

batched! {
    /// A new order.
    New<'a> inserts "orders" {
        tenant: Id as Binary,
        id: Id as Binary,
        version: i64 as BigInt,
        state: &'a str as Text,
        place: &'a str as Text,
        institution: &'a str as Text,
        bill: Id as Binary,
        payer: Id as Binary,
        binding: Option<Id> as Nullable<Binary>,
        person: Option<Hash> as Nullable<Binary>,
        amount: i64 as BigInt,
        deadline_at_us: Option<i64> as Nullable<BigInt>,
        look_at_us: Option<i64> as Nullable<BigInt>,
        suspended: bool as Bool,
        created_at_us: i64 as BigInt,
        updated_at_us: i64 as BigInt,
        trace_id: Option<&'a str> as Nullable<Text>,
        doc: String as Text,
    } "ON CONFLICT DO NOTHING"
}

batched! {
    /// A decided order over the version that was decided upon. Where it is looked at moves only to an earlier time.
    Advance<'a> runs "UPDATE orders SET version = c.version, state = c.state, place = c.place, \
        deadline_at_us = c.deadline_at_us, look_at_us = CASE WHEN orders.look_at_us <= c.deadline_at_us \
        THEN orders.look_at_us ELSE c.deadline_at_us END, suspended = c.suspended, updated_at_us = c.updated_at_us, \
        doc = c.doc FROM " {
        tenant: Id as Binary,
        id: Id as Binary,
        before: i64 as BigInt,
        version: i64 as BigInt,
        state: &'a str as Text,
        place: &'a str as Text,
        deadline_at_us: Option<i64> as Nullable<BigInt>,
        suspended: bool as Bool,
        updated_at_us: i64 as BigInt,
        doc: String as Text,
    } " WHERE orders.tenant = c.tenant AND orders.id = c.id AND orders.version = c.before"
}

batched! {
    /// An order that is looked at again when its deadline passes.
    LookLater runs "UPDATE orders SET look_at_us = orders.deadline_at_us FROM " {
        tenant: Id as Binary,
        id: Id as Binary,
    } " WHERE orders.tenant = c.tenant AND orders.id = c.id"
}

batched! {
    /// A bill that is taken for an order.
    TakeBill inserts "open_order" {
        tenant: Id as Binary,
        bill: Id as Binary,
        order_id: Id as Binary,
    } "ON CONFLICT DO NOTHING"
}

batched! {
    /// A bill that its order gives up.
    LeaveBill runs "DELETE FROM open_order WHERE (tenant, bill, order_id) IN (SELECT c.tenant, c.bill, c.order_id FROM " {
        tenant: Id as Binary,
        bill: Id as Binary,
        order_id: Id as Binary,
    } ")"
}

batched! {
    /// An insured person who is taken for an order.
    TakePerson inserts "person_claim" {
        tenant: Id as Binary,
        person: Hash as Binary,
        order_id: Id as Binary,
    } "ON CONFLICT DO NOTHING"
}

batched! {
    /// An insured person whom their order gives up.
    LeavePerson runs "DELETE FROM person_claim WHERE (tenant, person, order_id) IN \
        (SELECT c.tenant, c.person, c.order_id FROM " {
        tenant: Id as Binary,
        person: Hash as Binary,
        order_id: Id as Binary,
    } ")"
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a> {
    new: Vec<New<'a>>,
    advance: Vec<Advance<'a>>,
    take_bill: Vec<TakeBill>,
    leave_bill: Vec<LeaveBill>,
    take_person: Vec<TakePerson>,
    leave_person: Vec<LeavePerson>,
}

impl<'a> Lot<'a> {
    /// A decided order over version `before` (0: it is new).
    pub(super) fn order(&mut self, write: &'a OrderWrite) -> Result<(), StoreError> {
        let OrderWrite { before, after, trace_id, .. } = write;
        let doc = to_doc(after)?;
        let place = after.state.place();
        if *before > 0 {
            self.advance.push(Advance {
                tenant: after.tenant.into(),
                id: after.id.into(),
                before: *before,
                version: after.version,
                state: place.word(),
                place: place_word(place),
                deadline_at_us: after.deadline_at_us,
                suspended: place == Place::Suspended,
                updated_at_us: after.updated_at_us,
                doc,
            });
            return Ok(());
        }
        let insured = after.insured.as_ref();
        self.new.push(New {
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
            look_at_us: after.deadline_at_us,
            suspended: place == Place::Suspended,
            created_at_us: after.created_at_us,
            updated_at_us: after.updated_at_us,
            trace_id: trace_id.as_deref(),
            doc,
        });
        Ok(())
    }

    /// Takes a bill for an order (`true`) or gives it up.
    pub(super) fn bill(&mut self, tenant: TenantId, bill: BillId, order: OrderId, takes: bool) {
        let (tenant, bill, order_id) = (tenant.into(), bill.into(), order.into());
        match takes {
            true => self.take_bill.push(TakeBill { tenant, bill, order_id }),
            false => self.leave_bill.push(LeaveBill { tenant, bill, order_id }),
        }
    }

    /// Takes an insured person for an order (`true`) or gives them up.
    pub(super) fn person(&mut self, tenant: TenantId, person: &Lookup, order: OrderId, takes: bool) {
        let (tenant, person, order_id) = (tenant.into(), person.into(), order.into());
        match takes {
            true => self.take_person.push(TakePerson { tenant, person, order_id }),
            false => self.leave_person.push(LeavePerson { tenant, person, order_id }),
        }
    }

    /// Writes new orders, each with its bill; moved if an order is known, or another holds the bill.
    pub(super) fn open<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.new, to)?;
        all(&self.take_bill, to)
    }

    /// Gives up bills and persons, and takes persons; moved if another holds one.
    pub(super) fn claim<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        any(&self.leave_bill, to)?;
        any(&self.leave_person, to)?;
        all(&self.take_person, to)
    }

    /// Writes decided orders; moved if one is at another version.
    pub(super) fn advance<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.advance, to)
    }
}

/// Which orders hold these insured persons.
pub(super) fn persons_held_by(
    conn: &mut Conn,
    tenant: TenantId,
    persons: &[Lookup],
) -> Result<HashMap<Lookup, OrderId>, StoreError> {
    let found: Vec<(Hash, Id)> = on!(conn, c => person_claim::table
        .filter(person_claim::tenant.eq(Id::from(tenant)))
        .filter(person_claim::person.eq_any(persons.iter().map(Hash::from)))
        .select((person_claim::person, person_claim::order_id))
        .load(c))?;
    Ok(found.into_iter().map(|(person, order)| (person.into(), order.into())).collect())
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

/// Orders by id, each with the trace id of whoever opened it.
pub(super) fn many(
    conn: &mut Conn,
    tenant: TenantId,
    ids: &[OrderId],
) -> Result<HashMap<OrderId, (Order, Option<String>)>, StoreError> {
    let found: Vec<(Id, String, Option<String>)> = on!(conn, c => orders::table
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::id.eq_any(ids.iter().copied().map(Id::from)))
        .select((orders::id, orders::doc, orders::trace_id))
        .load(c))?;
    found
        .into_iter()
        .map(|(id, doc, trace_id)| {
            let id = OrderId::from(id);
            Ok((id, (from_doc(&format!("order {id}"), &doc)?, trace_id)))
        })
        .collect()
}

/// One order, whichever tenant's, with the trace id of whoever opened it.
pub(super) fn anywhere(conn: &mut Conn, id: OrderId) -> Result<Option<(Order, Option<String>)>, StoreError> {
    for tenant in tenants::ids(conn)? {
        if let Some(found) = many(conn, tenant.into(), &[id])?.remove(&id) {
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

pub(super) fn in_state(
    conn: &mut Conn,
    tenant: Option<TenantId>,
    state: Option<&str>,
    most: u32,
) -> Result<Vec<Order>, StoreError> {
    let tenants = match tenant {
        Some(tenant) => vec![tenant.into()],
        None => tenants::ids(conn)?,
    };
    let mut found = Vec::new();
    for tenant in tenants {
        let of_tenant = orders::table.filter(orders::tenant.eq(tenant)).limit(i64::from(most)).select(orders::doc);
        let docs: Vec<String> = on!(conn, c => {
            // Ids are as old as their orders.
            let mut query = of_tenant.order(orders::id).into_boxed();
            if let Some(state) = state {
                query = query.filter(orders::state.eq(state.to_owned()));
            }
            // Of many that are over few wait, and fewer are suspended: those have indexes of their own.
            match state {
                Some(state) if state == Place::Suspended.word() => query.filter(orders::suspended).load(c),
                Some(state) if ![Place::Completed.word(), Place::Closed.word()].contains(&state) => {
                    query.filter(orders::look_at_us.is_not_null()).load(c)
                }
                _ => query.load(c),
            }
        })?;
        found.extend(read_all(docs)?);
    }
    found.sort_by_key(|order| (order.created_at_us, order.id));
    found.truncate(most.try_into().unwrap_or(usize::MAX));
    Ok(found)
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

/// Orders whose deadline has passed; of two the one that was to be looked at first.
pub(super) fn past_deadline(conn: &mut Conn, now_us: i64, most: u32) -> Result<Vec<(TenantId, OrderId)>, StoreError> {
    let found: Vec<(Id, Id)> = on!(conn, c => orders::table
        .filter(orders::look_at_us.le(now_us))
        .filter(orders::deadline_at_us.le(now_us))
        .order(orders::look_at_us)
        .limit(i64::from(most))
        .select((orders::tenant, orders::id))
        .load(c))?;
    Ok(found.into_iter().map(|(tenant, order)| (tenant.into(), order.into())).collect())
}

/// Whether somebody would look at an order too early now.
pub(super) fn is_early(conn: &mut Conn, now_us: i64) -> Result<bool, StoreError> {
    Ok(on!(conn, c => diesel::select(exists(
        orders::table.filter(orders::look_at_us.le(now_us)).filter(orders::deadline_at_us.gt(now_us)),
    ))
    .get_result(c))?)
}

/// Looks at those when their deadline passes. One that somebody is just writing waits for the next round: nobody who looks
/// for deadlines may wait for it.
pub(super) fn look_later(conn: &mut Conn, now_us: i64, most: u32) -> Result<(), NotWritten> {
    let early = orders::table
        .filter(orders::look_at_us.le(now_us))
        .filter(orders::deadline_at_us.gt(now_us))
        .order((orders::tenant, orders::id))
        .limit(i64::from(most))
        .select((orders::tenant, orders::id));
    let found: Vec<(Id, Id)> = match conn {
        Conn::Sqlite(c) => early.load(c)?,
        Conn::Postgres(c) => early.for_update().skip_locked().load(&mut **c)?,
    };
    let early: Vec<LookLater> = found.into_iter().map(|(tenant, id)| LookLater { tenant, id }).collect();
    write(conn, |to| any(&early, to))
}
