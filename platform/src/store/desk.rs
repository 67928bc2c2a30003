//! One commit for a whole batch: load, decide once, write every change under a savepoint of its own.
//!
//! Inside the transaction nothing that was loaded can change by another's hand, so what can still conflict is the batch
//! with itself, and decisions made on something that was loaded elsewhere. Both end as [`Written::Moved`]:
//!
//! | what moved | how it is noticed |
//! | --- | --- |
//! | the order | `WHERE version =` |
//! | the bill | `WHERE state = … AND order_id = …` as loaded; the claim `open_order` |
//! | the insured person | the claim `person_claim` |
//! | the event | `history` has one row per event id |
//! | the caller's key | `first_answer` has one row per key |
//! | a new bill or refund | unique numbers |
//! | the answered action | `WHERE NOT done` |
//! | the number of a bureau message | `action` has one row per number |
//! | the number of a 2207 | `settlement_input` has one row per number |

use diesel::connection::SimpleConnection as _;

use super::bills::Seen;
use super::conn::{CommitUnknown, Conn, NotWritten, Tx};
use super::{
    Change, Commit, Decide, Loaded, OrderWrite, StoreError, Subject, Want, Written, actions, answers, bills, cash,
    ledger, legs, orders, people, records, refunds, settlements,
};
use crate::domain::order::{Authorisation, Place};
use crate::domain::refund::RefundKind;
use schema::ids::{OrderId, TenantId};

/// See [`super::Store::transact`].
pub(super) fn transact(conn: &mut Conn, wants: &[Want], decide: Decide<'_>) -> Commit {
    let mut tx = match Tx::begin(conn) {
        Ok(tx) => tx,
        Err(error) => return Commit::Refused(error),
    };
    // Dropping the transaction on any of these ways out leaves nothing behind.
    let written = match decide_and_write(&mut tx, wants, decide) {
        Ok(written) => written,
        Err(error) => return Commit::Refused(error),
    };
    match tx.commit() {
        Ok(()) => Commit::Committed(written),
        Err(CommitUnknown(error)) => Commit::Unknown(error),
    }
}

fn decide_and_write(tx: &mut Tx<'_>, wants: &[Want], decide: Decide<'_>) -> Result<Vec<Written>, StoreError> {
    let loaded = wants.iter().map(|want| load(tx, want)).collect::<Result<Vec<_>, _>>()?;
    let bases: Vec<Basis> = loaded.iter().map(Basis::of).collect();
    let changes = decide(loaded);
    if changes.len() != wants.len() {
        let message = format!("{} wants were answered by {} decisions", wants.len(), changes.len());
        return Err(StoreError::Unavailable(message));
    }
    let changes: Vec<_> = wants
        .iter()
        .zip(&bases)
        .zip(&changes)
        .map(|((want, basis), change)| (want.tenant, basis, change.as_ref()))
        .collect();
    write_all(tx, &changes)
}

// ——— loading ———

fn load(conn: &mut Conn, want: &Want) -> Result<Loaded, StoreError> {
    let tenant = want.tenant;
    let mut loaded = Loaded::default();
    match &want.subject {
        Subject::Order(id) => {
            load_order(conn, tenant, *id, &mut loaded)?;
            if let Some(order) = &loaded.order {
                loaded.bill = bills::facts(conn, tenant, order.bill.id)?;
            }
        }
        Subject::Bill(id) => loaded.bill = bills::facts(conn, tenant, *id)?,
        Subject::BillNo(institution, bill_no) => {
            loaded.bill = bills::facts_by_no(conn, tenant, institution, bill_no)?;
        }
        Subject::Nothing => {}
    }
    if loaded.order.is_none()
        && let Some(holder) = loaded.bill.as_ref().and_then(|bill| bill.facts.order)
    {
        load_order(conn, tenant, holder, &mut loaded)?;
    }
    if let Some(order) = &loaded.order {
        loaded.refunds = refunds::of_order(conn, tenant, order.id)?;
    }
    let insured = loaded.order.as_ref().and_then(|order| order.insured.as_ref());
    let own_person = insured.map(|insured| insured.person);
    if let Some(binding) = want.binding.or(insured.map(|insured| insured.binding)) {
        loaded.binding = people::binding_facts(conn, tenant, binding)?;
    }
    // An order that is about to be opened is about the person of the binding that was named.
    if let Some(person) = own_person.or(loaded.binding.as_ref().map(|binding| binding.person)) {
        loaded.person_held_by = orders::person_held_by(conn, tenant, &person)?;
    }
    if let Some(action) = want.answers {
        loaded.action_open = Some(actions::is_open(conn, tenant, action)?);
    }
    if let Some(key) = &want.key {
        loaded.first_answer = answers::one(conn, tenant, key)?;
    }
    Ok(loaded)
}

fn load_order(conn: &mut Conn, tenant: TenantId, id: OrderId, loaded: &mut Loaded) -> Result<(), StoreError> {
    if let Some((order, trace_id)) = orders::traced(conn, tenant, id)? {
        loaded.order = Some(order);
        loaded.trace_id = trace_id;
    }
    Ok(())
}

/// What is kept of the loaded rows while the decisions are made: guards, and what tells new from known.
struct Basis {
    bill: Option<Seen>,
    authorisation: Option<Authorisation>,
    settling: Option<String>,
    cash_was_taken: bool,
}

impl Basis {
    fn of(loaded: &Loaded) -> Basis {
        let order = loaded.order.as_ref();
        Basis {
            bill: loaded.bill.as_ref().map(|bill| Seen::from(&bill.facts)),
            authorisation: order.and_then(|order| order.authorisation.clone()),
            settling: order.and_then(|order| settlements::sending(&order.state).map(str::to_owned)),
            cash_was_taken: order.is_some_and(|order| order.state.taken().is_some()),
        }
    }
}

// ——— writing ———

/// One change on its way: whose, what it was decided upon, and what it writes.
type Pending<'a> = (TenantId, &'a Basis, Option<&'a Change>);

/// Writes every change that still can be.
///
/// Hardly ever does anything conflict, and a savepoint per change costs as much as the change (every page it touches is
/// copied first). So the batch is written under one; only if somebody moved, all over again under one each.
fn write_all(tx: &mut Tx<'_>, changes: &[Pending<'_>]) -> Result<Vec<Written>, StoreError> {
    if write_or_leave_out(tx, changes)? == Written::Done {
        return Ok(vec![Written::Done; changes.len()]);
    }
    changes.iter().map(|change| write_or_leave_out(tx, std::slice::from_ref(change))).collect()
}

/// Writes these changes, or none of them if one has moved.
fn write_or_leave_out(tx: &mut Tx<'_>, changes: &[Pending<'_>]) -> Result<Written, StoreError> {
    tx.batch_execute("SAVEPOINT changes")?;
    let written = changes.iter().try_for_each(|(tenant, basis, change)| match change {
        Some(change) => write(tx, *tenant, basis, change),
        None => Ok(()),
    });
    match written {
        Ok(()) => {
            tx.batch_execute("RELEASE changes")?;
            Ok(Written::Done)
        }
        Err(NotWritten::Moved) => {
            tx.batch_execute("ROLLBACK TO changes; RELEASE changes")?;
            Ok(Written::Moved)
        }
        Err(NotWritten::Failed(error)) => Err(error),
    }
}

/// Writes one change, what can conflict first.
fn write(conn: &mut Conn, tenant: TenantId, basis: &Basis, change: &Change) -> Result<(), NotWritten> {
    if let Some(new) = &change.new_bill {
        bills::insert(conn, tenant, new)?;
    }
    if let Some(write) = &change.order {
        write_order(conn, tenant, basis, write)?;
    }
    write_bill(conn, tenant, basis, change)?;
    match &change.person {
        Some((person, order, true)) => orders::take_person(conn, tenant, person, *order)?,
        Some((person, order, false)) => orders::leave_person(conn, tenant, person, *order)?,
        None => {}
    }
    if let Some(action) = change.answered {
        actions::close(conn, tenant, action)?;
    }
    if let Some((action, due_at_us)) = change.postponed {
        actions::postpone(conn, tenant, action, due_at_us)?;
    }
    if let Some((key, response)) = &change.first_answer {
        let order = change.order.as_ref().map(|write| write.after.id);
        if !answers::keep(conn, tenant, key, order, response)? {
            return Err(NotWritten::Moved);
        }
    }
    write_money(conn, tenant, change)?;
    for action in &change.actions {
        actions::insert(conn, tenant, action)?;
    }
    Ok(())
}

fn write_order(conn: &mut Conn, tenant: TenantId, basis: &Basis, write: &OrderWrite) -> Result<(), NotWritten> {
    let order = &write.after;
    if order.tenant != tenant {
        return Err(StoreError::Damaged(format!("order {} was decided for another tenant", order.id)).into());
    }
    orders::write(conn, write)?;
    match claim(write) {
        Some(true) => orders::take_bill(conn, tenant, order.bill.id, order.id)?,
        Some(false) => orders::leave_bill(conn, tenant, order.bill.id, order.id)?,
        None => {}
    }
    records::insert(conn, write)?;
    if let Some(given) = &order.authorisation
        && basis.authorisation.as_ref() != Some(given)
    {
        legs::insert_authorisation(conn, order, given)?;
    }
    if let Some(msgid) = settlements::sending(&order.state)
        && basis.settling.as_deref() != Some(msgid)
    {
        settlements::insert_input(conn, order, msgid)?;
    }
    // What a replaced order took stays one leg of one payment, there.
    if let Some(taken) = order.state.taken()
        && !basis.cash_was_taken
        && order.carried_in.is_zero()
    {
        cash::insert(conn, order, taken, false)?;
    }
    Ok(())
}

/// Takes the bill (`true`), gives it up (`false`), or leaves the claim as it is.
fn claim(write: &OrderWrite) -> Option<bool> {
    let holds = write.after.state.place().holds_bill();
    let held = write.before > 0 && write.from != Some(Place::Closed.word());
    (holds != held).then_some(holds)
}

/// The bill's row follows its claim even where the decision does not mention it.
fn write_bill(conn: &mut Conn, tenant: TenantId, basis: &Basis, change: &Change) -> Result<(), NotWritten> {
    let claimed = change.order.as_ref().and_then(|write| Some((write.after.bill.id, write.after.id, claim(write)?)));
    let (id, state, order) = match (&change.bill, claimed) {
        (Some((id, state, order)), _) => (*id, Some(*state), *order),
        (None, Some((bill, order, takes))) => (bill, None, takes.then_some(order)),
        (None, None) => return Ok(()),
    };
    let seen = match basis.bill.filter(|seen| seen.id == id) {
        Some(seen) => seen,
        None => Seen::from(&bills::facts(conn, tenant, id)?.ok_or(NotWritten::Moved)?.facts),
    };
    bills::change(conn, tenant, seen, state.unwrap_or(seen.state), order)
}

fn write_money(conn: &mut Conn, tenant: TenantId, change: &Change) -> Result<(), NotWritten> {
    for refund in &change.refunds {
        let order = match &change.order {
            Some(write) if write.after.id == refund.order => write.after.clone(),
            _ => orders::one(conn, tenant, refund.order)?
                .ok_or_else(|| StoreError::Damaged(format!("refund {} has no order", refund.id)))?,
        };
        refunds::put(conn, tenant, &order.bill.institution, refund)?;
        if let (RefundKind::Stray, Some(back)) = (refund.kind, &refund.cash) {
            cash::insert(conn, &order, &back.taken, true)?;
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
        return Err(StoreError::Damaged("money was decided without its order".into()).into());
    };
    ledger::insert(conn, write, &change.postings)?;
    if let Some(settlement) = &change.settlement {
        settlements::insert(conn, &write.after, settlement)?;
    }
    if let Some((setl_id, undone)) = &change.undone {
        settlements::insert_undo(conn, &write.after, setl_id, undone)?;
    }
    if let Some(asked) = &change.prepay {
        cash::insert_prepay(conn, &write.after, asked)?;
    }
    if let Some((number, lines)) = &change.price_lines {
        legs::insert_price_lines(conn, &write.after, *number, lines)?;
    }
    Ok(())
}
