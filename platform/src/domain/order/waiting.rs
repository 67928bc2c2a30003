//! People, time and the unknown: refusals to wait, suspensions, and what a suspended order still learns.

use schema::refusal::{Code as No, Refusal};

use super::draft::{Draft, inconsistent, not_early, suspend};
use super::event::Event;
use super::facts::Order;
use super::state::{Owner, Place, State, Why};
use super::{Decision, Given, next};
use crate::domain::refund;
use crate::domain::refusal::{beyond_money, unlisted};

pub(super) fn flag(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    if order.insured.is_none() {
        return Err(unlisted("a cash-only order", order.state.place().word(), event.kind()));
    }
    Draft::of(order, given).with(|next| next.flagged = true).decide()
}

pub(super) fn wait(order: &Order, _: &Event, _: &Given<'_>) -> Result<Decision, Refusal> {
    // What is being given back is not paid any more, and what is paid stays so while a person looks at it.
    if matches!(order.state.stood(), State::Paid { .. } | State::Completed { .. }) {
        return Err(already(order));
    }
    Err(Refusal::new(No::InProgress, format!("order {} is {}", order.id, order.state.place().word())))
}

pub(super) fn already_paid(order: &Order, _: &Event, _: &Given<'_>) -> Result<Decision, Refusal> {
    Err(already(order))
}

/// What went back whole is not paid any more: the window may have the bill.
pub(super) fn yield_what_went_back(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Completed { legs, .. } = &order.state else { return Err(inconsistent(order, event)) };
    if order.refunded != refund::refundable(legs).map_err(beyond_money)? {
        return Err(already(order));
    }
    let returned = Some(legs.clone());
    Draft::of(order, given).to(State::Closed { why: Why::TakenByWindow, returned }).decide()
}

pub(super) fn already(order: &Order) -> Refusal {
    Refusal::new(No::BillNotPayable, format!("order {} is {}", order.id, order.state.place().word()))
}

pub(super) fn suspend_silent_bureau(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    not_early(order, given)?;
    suspend(Draft::of(order, given), order.state.clone(), Why::BureauSilent, Owner::Bureau).decide()
}

pub(super) fn suspend_silent_wallet(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    not_early(order, given)?;
    suspend(Draft::of(order, given), order.state.clone(), Why::WalletSilent, Owner::Finance).decide()
}

pub(super) fn suspend_silent_institution(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    not_early(order, given)?;
    suspend(Draft::of(order, given), order.state.clone(), Why::InstitutionSilent, Owner::Institution).decide()
}

pub(super) fn suspend_stuck_refund(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    not_early(order, given)?;
    suspend(Draft::of(order, given), order.state.clone(), Why::RefundStuck, Owner::Finance).decide()
}

/// A suspended order decides a late answer as if it still stood where it was. If that leads nowhere new, it stays
/// suspended; if it leads on, the suspension is over.
pub(super) fn learn(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Suspended { from, why, owner } = &order.state else { return Err(inconsistent(order, event)) };
    let as_if = Order { state: State::clone(from), ..order.clone() };
    let mut decision = next(&as_if, event, given)?;
    let moved =
        decision.next.state.place().word() != from.place().word() && decision.next.state.place() != Place::Suspended;
    if !moved {
        decision.next.state = match decision.next.state {
            // It would be suspended anyway: the newer reason is the one a person needs.
            again @ State::Suspended { .. } => again,
            stays => State::Suspended { from: Box::new(stays), why: why.clone(), owner: *owner },
        };
        decision.next.entered_at_us = order.entered_at_us;
        decision.next.deadline_at_us = None;
    }
    Ok(decision)
}
