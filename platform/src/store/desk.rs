//! One commit for a whole batch: load, decide once, write what every change brings.
//!
//! Rows are gathered table by table ([`Lot`]) and written together ([`super::batch`]), what can conflict first. What a
//! change was decided upon may have moved by then: by another change of the same batch, and on PostgreSQL by another
//! process. Both end as [`Written::Moved`]:
//!
//! | what moved | how it is noticed |
//! | --- | --- |
//! | the order | `WHERE version =` |
//! | the bill | `WHERE state = … AND order_id = …` as loaded; the claim `open_order` |
//! | the insured person | the claim `person_claim` |
//! | the binding under which insured money is let go | its epoch, locked until the commit |
//! | the event | `history` has one row per event id |
//! | the caller's key | `first_answer` has one row per key |
//! | a new bill or refund | unique numbers |
//! | the answered action | `WHERE NOT done` |
//! | the number of a bureau message | `action` has one row per number |
//! | the number of a 2207 | `settlement_input` has one row per number |
//!
//! Whatever else was loaded is immutable, or changes only with one of these.

use std::collections::{HashMap, HashSet};

use super::bills::Seen;
use super::conn::{Conn, NotCommitted, NotWritten, Tx};
use super::load::{distinct, load};
use super::{
    Change, Commit, Decide, Loaded, OrderWrite, StoreError, Want, Written, actions, answers, batch, bills, cash,
    ledger, legs, orders, people, records, refunds, settlements,
};
use crate::domain::order::{Authorisation, Order, Place};
use crate::domain::refund::RefundKind;
use schema::ids::{OrderId, TenantId};

/// See [`super::DeskStore::transact`].
pub(super) fn transact(conn: &mut Conn, wants: &[Want], decide: Decide<'_>) -> Commit {
    let mut tx = match Tx::deciding(conn) {
        Ok(tx) => tx,
        Err(error) => return Commit::Refused(error),
    };
    // Dropping the transaction on any of these ways out leaves nothing behind.
    let loaded = match load(&mut tx, wants) {
        Ok(loaded) => loaded,
        Err(error) => return Commit::Refused(error),
    };
    let bases: Vec<Basis> = loaded.iter().map(Basis::of).collect();
    let changes = decide(loaded);
    if changes.len() != wants.len() {
        let message = format!("{} wants were answered by {} decisions", wants.len(), changes.len());
        return Commit::Refused(StoreError::Unavailable(message));
    }
    let mut written = vec![Written::Done; wants.len()];
    let mut pending = Vec::with_capacity(wants.len());
    let mut seen = HashSet::new();
    for (at, (want, (basis, change))) in wants.iter().zip(bases.iter().zip(&changes)).enumerate() {
        let Some(change) = change else { continue };
        // The second of one order was decided upon what the first has just overtaken.
        let order = change.order.as_ref().map(|write| write.after.id);
        match order.is_none_or(|order| seen.insert((want.tenant, order))) {
            true => pending.push(Pending { at, tenant: want.tenant, basis, change }),
            false => written[at] = Written::Moved,
        }
    }
    if pending.is_empty() {
        return Commit::Committed(written);
    }
    match write_all(tx, &pending, &mut written) {
        Ok(()) => Commit::Committed(written),
        Err(NotCommitted::Refused(error)) => Commit::Refused(error),
        Err(NotCommitted::Unknown(error)) => Commit::Unknown(error),
    }
}

/// Writes every change that still can be, and commits.
///
/// Hardly ever does anything conflict, so the batch is written as one; only if somebody moved, all over again one by one.
fn write_all(mut tx: Tx<'_>, pending: &[Pending<'_>], written: &mut [Written]) -> Result<(), NotCommitted> {
    if let [change] = pending
        && let Some(became) = write_alone(&mut tx, change)?
    {
        written[change.at] = became;
        return Ok(());
    }
    let tx = tx.write().map_err(NotCommitted::Refused)?;
    let mut tx = match tx.commit_after(|conn| write(conn, pending))? {
        Ok(()) => return Ok(()),
        Err(tx) => tx,
    };
    for change in pending {
        let alone = tx.piece(|conn| write(conn, std::slice::from_ref(change))).map_err(NotCommitted::Refused)?;
        if !alone {
            written[change.at] = Written::Moved;
        }
    }
    tx.commit()
}

/// What is kept of the loaded rows while the decisions are made: guards, and what tells new from known.
struct Basis {
    bill: Option<Seen>,
    authorisation: Option<Authorisation>,
    settling: Option<String>,
    cash_was_taken: bool,
    person_held_by: Option<OrderId>,
}

impl Basis {
    fn of(loaded: &Loaded) -> Basis {
        let order = loaded.order.as_ref();
        Basis {
            bill: loaded.bill.as_ref().map(|bill| Seen::from(&bill.facts)),
            authorisation: order.and_then(|order| order.authorisation.clone()),
            settling: order.and_then(|order| settlements::sending(&order.state).map(str::to_owned)),
            cash_was_taken: order.is_some_and(|order| order.state.taken().is_some()),
            person_held_by: loaded.person_held_by,
        }
    }
}

// ——— writing ———

/// One change on its way: its place in the batch, whose it is, what it was decided upon, and what it writes.
struct Pending<'a> {
    at: usize,
    tenant: TenantId,
    basis: &'a Basis,
    change: &'a Change,
}

/// Everything that changes write, table by table.
#[derive(Default)]
struct Lot<'a> {
    bindings: people::Guards,
    bills: bills::Lot<'a>,
    orders: orders::Lot<'a>,
    actions: actions::Lot<'a>,
    answers: answers::Lot<'a>,
    records: records::Lot<'a>,
    refunds: refunds::Lot<'a>,
    postings: ledger::Lot,
    settlements: settlements::Lot<'a>,
    cash: cash::Lot<'a>,
    legs: legs::Lot<'a>,
}

/// Writes these changes, or none of them if one has moved.
fn write(conn: &mut Conn, changes: &[Pending<'_>]) -> Result<(), NotWritten> {
    let around = Around::of(conn, changes)?;
    let lot = Lot::of(changes, &around)?;
    lot.bindings.hold(conn)?;
    GROUPS.iter().try_for_each(|group| batch::write(conn, |to| group(&lot, to)))
}

/// Writes one change as a statement that is its own transaction. `None` where it must be several: one that holds a binding,
/// and every one on SQLite.
fn write_alone(conn: &mut Conn, change: &Pending<'_>) -> Result<Option<Written>, NotCommitted> {
    if matches!(conn, Conn::Sqlite(_)) || change.change.binding.is_some() {
        return Ok(None);
    }
    let change = std::slice::from_ref(change);
    let around = Around::of(conn, change).map_err(NotCommitted::Refused)?;
    let Conn::Postgres(conn) = conn else { return Ok(None) };
    let done = match Lot::of(change, &around) {
        Ok(lot) => batch::alone(conn, |to| GROUPS.iter().try_for_each(|group| group(&lot, to)))?,
        Err(NotWritten::Moved) => false,
        Err(NotWritten::Failed(error)) => return Err(NotCommitted::Refused(error)),
    };
    Ok(Some(if done { Written::Done } else { Written::Moved }))
}

type Group = for<'a, 'r, 'c> fn(&'r Lot<'a>, &mut batch::Writer<'c, 'r>) -> Result<(), NotWritten>;

/// What is written, in the order in which every process writes it, by what comes together: nearly every step of an order
/// is one or two of these.
const GROUPS: [Group; 9] = [
    |lot, to| lot.bills.write(to),
    |lot, to| lot.orders.open(to),
    |lot, to| {
        lot.bills.claim(to)?;
        lot.orders.claim(to)
    },
    |lot, to| {
        lot.orders.advance(to)?;
        lot.actions.claim(to)?;
        lot.answers.write(to)?;
        lot.records.write(to)?;
        lot.actions.write(to)
    },
    |lot, to| lot.legs.price(to),
    |lot, to| {
        lot.legs.authorise(to)?;
        lot.settlements.send(to)
    },
    |lot, to| lot.settlements.write(to),
    |lot, to| {
        lot.cash.write(to)?;
        lot.postings.write(to)
    },
    |lot, to| lot.refunds.write(to),
];

/// What has to be looked up before rows can be gathered, and hardly ever has.
struct Around {
    /// Bills that a change moves and that were not loaded for it.
    bills: HashMap<schema::ids::BillId, Seen>,
    /// Orders whose refunds change without them.
    orders: HashMap<OrderId, Order>,
    /// Settlements that are known already.
    settlements: HashSet<String>,
}

impl Around {
    fn of(conn: &mut Conn, changes: &[Pending<'_>]) -> Result<Around, StoreError> {
        let mut around = Around { bills: HashMap::new(), orders: HashMap::new(), settlements: HashSet::new() };
        let tenants: HashSet<TenantId> = changes.iter().map(|pending| pending.tenant).collect();
        for tenant in tenants {
            let of = || changes.iter().filter(|pending| pending.tenant == tenant);
            let elsewhere = of().filter_map(|pending| {
                let (bill, ..) = moved_bill(pending.change)?;
                pending.basis.bill.is_none_or(|seen| seen.id != bill).then_some(bill)
            });
            let found = distinct(elsewhere, |ids| bills::facts(conn, tenant, ids))?;
            around.bills.extend(found.into_iter().map(|(id, bill)| (id, Seen::from(&bill.facts))));
            let refunded = of().flat_map(|pending| {
                let own = pending.change.order.as_ref().map(|write| write.after.id);
                pending.change.refunds.iter().map(|refund| refund.order).filter(move |order| Some(*order) != own)
            });
            let found = distinct(refunded, |ids| orders::many(conn, tenant, ids))?;
            around.orders.extend(found.into_iter().map(|(id, (order, _))| (id, order)));
            let settled =
                of().filter_map(|pending| pending.change.settlement.as_ref().map(|came| came.setl_id.as_str()));
            around.settlements.extend(distinct(settled, |ids| settlements::known(conn, tenant, ids))?);
        }
        Ok(around)
    }
}

impl<'a> Lot<'a> {
    fn of(changes: &[Pending<'a>], around: &'a Around) -> Result<Lot<'a>, NotWritten> {
        let mut lot = Lot::default();
        for pending in changes {
            lot.gather(pending, around)?;
        }
        Ok(lot)
    }

    fn gather(&mut self, pending: &Pending<'a>, around: &'a Around) -> Result<(), NotWritten> {
        let Pending { tenant, basis, change, .. } = pending;
        let tenant = *tenant;
        if let Some(new) = &change.new_bill {
            self.bills.bill(tenant, new)?;
        }
        if let Some(write) = &change.order {
            self.order(tenant, basis, write)?;
        }
        if let Some((bill, state, order)) = moved_bill(change) {
            let seen = basis.bill.filter(|seen| seen.id == bill).or_else(|| around.bills.get(&bill).copied());
            let seen = seen.ok_or(NotWritten::Moved)?;
            self.bills.change(tenant, seen, state.unwrap_or(seen.state), order);
        }
        if let Some((person, order, takes)) = &change.person
            && !(*takes && basis.person_held_by == Some(*order))
        {
            self.orders.person(tenant, person, *order, *takes);
        }
        if let Some((binding, epoch)) = change.binding {
            self.bindings.guard(tenant, binding, epoch);
        }
        if let Some(action) = change.answered {
            self.actions.answered(tenant, action);
        }
        if let Some((action, due_at_us)) = change.postponed {
            self.actions.postponed(tenant, action, due_at_us);
        }
        if let Some((key, response)) = &change.first_answer {
            let order = change.order.as_ref().map(|write| write.after.id);
            self.answers.answer(tenant, key, order, response);
        }
        self.money(tenant, change, around)?;
        for action in &change.actions {
            self.actions.action(tenant, action)?;
        }
        Ok(())
    }

    fn order(&mut self, tenant: TenantId, basis: &Basis, write: &'a OrderWrite) -> Result<(), StoreError> {
        let order = &write.after;
        if order.tenant != tenant {
            return Err(StoreError::Damaged(format!("order {} was decided for another tenant", order.id)));
        }
        self.orders.order(write)?;
        if let Some(takes) = claim(write) {
            self.orders.bill(tenant, order.bill.id, order.id, takes);
        }
        self.records.decision(write)?;
        if let Some(given) = &order.authorisation
            && basis.authorisation.as_ref() != Some(given)
        {
            self.legs.authorisation(order, given)?;
        }
        if let Some(msgid) = settlements::sending(&order.state)
            && basis.settling.as_deref() != Some(msgid)
        {
            self.settlements.input(order, msgid)?;
        }
        // What a replaced order took stays one leg of one payment, there.
        if let Some(taken) = order.state.taken()
            && !basis.cash_was_taken
            && order.carried_in.is_zero()
        {
            self.cash.came((tenant, order.id), &order.bill.merchant, taken, false);
        }
        Ok(())
    }

    fn money(&mut self, tenant: TenantId, change: &'a Change, around: &'a Around) -> Result<(), StoreError> {
        for refund in &change.refunds {
            let order = match &change.order {
                Some(write) if write.after.id == refund.order => &write.after,
                _ => around
                    .orders
                    .get(&refund.order)
                    .ok_or_else(|| StoreError::Damaged(format!("refund {} has no order", refund.id)))?,
            };
            self.refunds.refund(tenant, &order.bill.institution, refund)?;
            if let (RefundKind::Stray, Some(back)) = (refund.kind, &refund.cash) {
                self.cash.came((tenant, order.id), &order.bill.merchant, &back.taken, true);
            }
        }
        let Some(write) = &change.order else {
            let no_money = change.postings.is_empty()
                && change.settlement.is_none()
                && change.undone.is_none()
                && change.prepay.is_none()
                && change.price_lines.is_none();
            if no_money {
                return Ok(());
            }
            return Err(StoreError::Damaged("money was decided without its order".into()));
        };
        self.postings.postings(write, &change.postings);
        if let Some(settlement) = &change.settlement
            && !around.settlements.contains(&settlement.setl_id)
        {
            self.settlements.settlement(&write.after, settlement);
        }
        if let Some((setl_id, undone)) = &change.undone {
            self.settlements.undo(&write.after, setl_id, undone);
        }
        if let Some(asked) = &change.prepay {
            self.cash.prepay(&write.after, asked);
        }
        if let Some((number, lines)) = &change.price_lines {
            self.legs.price_lines(&write.after, *number, lines)?;
        }
        Ok(())
    }
}

/// Takes the bill (`true`), gives it up (`false`), or leaves the claim as it is.
fn claim(write: &OrderWrite) -> Option<bool> {
    let holds = write.after.state.place().holds_bill();
    let held = write.before > 0 && write.from != Some(Place::Closed.word());
    (holds != held).then_some(holds)
}

/// The bill that a change moves, to which state (none: as it is), and which order it then has. The bill's row follows
/// its claim even where the decision does not mention it.
fn moved_bill(
    change: &Change,
) -> Option<(schema::ids::BillId, Option<crate::domain::bill::BillState>, Option<OrderId>)> {
    if let Some((id, state, order)) = &change.bill {
        return Some((*id, Some(*state), *order));
    }
    let write = change.order.as_ref()?;
    let takes = claim(write)?;
    Some((write.after.bill.id, None, takes.then_some(write.after.id)))
}
