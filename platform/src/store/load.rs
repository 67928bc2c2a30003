//! What a batch of the desk needs to decide, with as few questions as can be.
//!
//! An order comes with whatever stands around it in one query: its bill, its binding, who holds its person, whether the
//! answered actions are open, and whether it has any refunds. Nearly every event is about an order, and a round trip costs
//! more than a row.

use std::collections::{HashMap, HashSet};

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use schema::ids::{ActionId, OrderId, TenantId};

use super::bills::StoredFacts;
use super::conn::{Conn, on};
use super::tables::{action, bill, binding, orders, person_claim, refund};
use super::values::{Id, from_doc};
use super::{
    Loaded, StoreError, StoredBill, Subject, Want, actions, answers, bills, orders as order_rows, people, refunds,
};
use crate::domain::binding::BindingFacts;
use crate::domain::order::Order;

/// For every want what there is; wants of several tenants are looked for tenant by tenant.
pub(super) fn load(conn: &mut Conn, wants: &[Want]) -> Result<Vec<Loaded>, StoreError> {
    let mut loaded = vec![Loaded::default(); wants.len()];
    let tenants: HashSet<TenantId> = wants.iter().map(|want| want.tenant).collect();
    for tenant in tenants {
        let mut of_tenant: Vec<(&Want, &mut Loaded)> =
            wants.iter().zip(&mut loaded).filter(|(want, _)| want.tenant == tenant).collect();
        load_tenant(conn, tenant, &mut of_tenant)?;
    }
    Ok(loaded)
}

/// Each query only if somebody wants it.
fn load_tenant(conn: &mut Conn, tenant: TenantId, wants: &mut [(&Want, &mut Loaded)]) -> Result<(), StoreError> {
    let numbers = wants.iter().filter_map(|(want, _)| match &want.subject {
        Subject::BillNo(institution, bill_no) => Some((institution, bill_no.as_str())),
        _ => None,
    });
    let numbered = distinct(numbers, |numbers| bills::facts_by_no(conn, tenant, numbers))?;
    let named = wants.iter().filter_map(|(want, _)| match &want.subject {
        Subject::Bill(id) => Some(*id),
        _ => None,
    });
    let named = distinct(named, |ids| bills::facts(conn, tenant, ids))?;
    for (want, loaded) in wants.iter_mut() {
        loaded.bill = match &want.subject {
            Subject::Bill(id) => named.get(id).cloned(),
            Subject::BillNo(institution, bill_no) => numbered.get(&(institution.clone(), bill_no.clone())).cloned(),
            Subject::Order(_) | Subject::Nothing => None,
        };
    }
    let order = |want: &Want, loaded: &Loaded| match &want.subject {
        Subject::Order(id) => Some(*id),
        _ => loaded.bill.as_ref().and_then(|bill| bill.facts.order),
    };
    let answered = wants.iter().filter_map(|(want, _)| want.answers).collect::<Vec<ActionId>>();
    let wanted = wants.iter().filter_map(|(want, loaded)| order(want, loaded));
    let standing = distinct(wanted, |ids| standing(conn, tenant, ids, &answered))?;
    let refunded = standing.values().filter(|standing| standing.has_refunds).map(|standing| standing.order.id);
    let refunds = distinct(refunded, |ids| refunds::of_many(conn, tenant, ids))?;
    for (want, loaded) in wants.iter_mut() {
        let Some(standing) = order(want, loaded).and_then(|id| standing.get(&id)) else { continue };
        loaded.bill = Some(standing.bill.clone());
        loaded.binding = standing.binding.clone();
        loaded.person_held_by = standing.person_held_by;
        loaded.refunds = refunds.get(&standing.order.id).cloned().unwrap_or_default();
        loaded.order = Some(standing.order.clone());
        loaded.trace_id = standing.trace_id.clone();
        loaded.action_open = want.answers.filter(|action| standing.open.contains(action)).map(|_| true);
    }
    load_beside(conn, tenant, wants)
}

/// What comes with no order: the binding under which one is to be opened, actions of other orders, callers' keys.
fn load_beside(conn: &mut Conn, tenant: TenantId, wants: &mut [(&Want, &mut Loaded)]) -> Result<(), StoreError> {
    let bindings =
        distinct(wants.iter().filter_map(|(want, _)| want.binding), |ids| people::binding_facts(conn, tenant, ids))?;
    for (want, loaded) in wants.iter_mut() {
        if let Some(named) = want.binding {
            loaded.binding = bindings.get(&named).cloned();
        }
    }
    let opening =
        |want: &Want, loaded: &Loaded| want.binding.and(loaded.binding.as_ref()).map(|binding| binding.person);
    let persons = wants.iter().filter_map(|(want, loaded)| opening(want, loaded));
    let held = distinct(persons, |persons| order_rows::persons_held_by(conn, tenant, persons))?;
    let elsewhere = wants.iter().filter_map(|(want, loaded)| want.answers.filter(|_| loaded.action_open.is_none()));
    let open = distinct(elsewhere, |ids| actions::open(conn, tenant, ids))?;
    let keys = wants.iter().filter_map(|(want, _)| want.key.as_ref());
    let answers = distinct(keys, |keys| answers::many(conn, tenant, keys))?;
    for (want, loaded) in wants.iter_mut() {
        if let Some(person) = opening(want, loaded) {
            loaded.person_held_by = held.get(&person).copied();
        }
        if let (Some(action), None) = (want.answers, loaded.action_open) {
            loaded.action_open = Some(open.contains(&action));
        }
        let key = want.key.as_ref().map(|key| (key.caller.clone(), key.key.clone()));
        loaded.first_answer = key.and_then(|key| answers.get(&key).cloned());
    }
    Ok(())
}

/// Asks for what is wanted, in one order for every process, and not at all for nothing.
pub(super) fn distinct<K: Ord, T: Default>(
    wanted: impl Iterator<Item = K>,
    ask: impl FnOnce(&[K]) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut wanted: Vec<K> = wanted.collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() { Ok(T::default()) } else { ask(&wanted) }
}

/// An order and what stands around it.
struct Standing {
    order: Order,
    trace_id: Option<String>,
    bill: StoredBill,
    binding: Option<BindingFacts>,
    person_held_by: Option<OrderId>,
    has_refunds: bool,
    /// Which of the answered actions are its own and open.
    open: HashSet<ActionId>,
}

fn standing(
    conn: &mut Conn,
    tenant: TenantId,
    ids: &[OrderId],
    answered: &[ActionId],
) -> Result<HashMap<OrderId, Standing>, StoreError> {
    type Binding = people::StoredFacts;
    type Row = (Id, String, Option<String>, StoredFacts, Option<Binding>, Option<Id>, Option<Id>, bool);
    let answered: Vec<Id> = answered.iter().copied().map(Id::from).collect();
    let found: Vec<Row> = on!(conn, c => orders::table
        .inner_join(bill::table.on(bill::tenant.eq(orders::tenant).and(bill::id.eq(orders::bill))))
        .left_join(
            binding::table.on(binding::tenant.eq(orders::tenant).and(orders::binding.eq(binding::id.nullable()))),
        )
        .left_join(
            person_claim::table
                .on(person_claim::tenant.eq(orders::tenant).and(orders::person.eq(person_claim::person.nullable()))),
        )
        .left_join(
            action::table.on(action::tenant
                .eq(orders::tenant)
                .and(action::order_id.eq(orders::id))
                .and(action::id.eq_any(&answered))
                .and(not(action::done))),
        )
        .filter(orders::tenant.eq(Id::from(tenant)))
        .filter(orders::id.eq_any(ids.iter().copied().map(Id::from)))
        .select((
            orders::id,
            orders::doc,
            orders::trace_id,
            StoredFacts::as_select(),
            (binding::id, binding::epoch, binding::level, binding::frozen, binding::unbound, binding::person).nullable(),
            person_claim::order_id.nullable(),
            action::id.nullable(),
            exists(refund::table.filter(refund::tenant.eq(orders::tenant)).filter(refund::order_id.eq(orders::id))),
        ))
        .load(c))?;
    let mut standing: HashMap<OrderId, Standing> = HashMap::with_capacity(ids.len());
    for (id, doc, trace_id, bill, binding, person_held_by, open, has_refunds) in found {
        let id = OrderId::from(id);
        // One row for each of its actions that is answered here.
        if let Some(known) = standing.get_mut(&id) {
            known.open.extend(open.map(ActionId::from));
            continue;
        }
        let binding = binding.map(people::facts);
        let order = from_doc(&format!("order {id}"), &doc)?;
        let open = open.map(ActionId::from).into_iter().collect();
        let (bill, person_held_by) = (bill.read()?, person_held_by.map(OrderId::from));
        standing.insert(id, Standing { order, trace_id, bill, binding, person_held_by, has_refunds, open });
    }
    Ok(standing)
}
