//! Telling the institution after payment, and giving everything back where it does not book.

use schema::money::Fen;
use schema::refusal::{Code as No, Refusal};

use super::afterwards::tell_undone;
use super::draft::{Draft, inconsistent, suspend};
use super::event::Event;
use super::facts::Order;
use super::state::{Owner, State, Why};
use super::undoing::stray_returned;
use super::{Decision, Given};
use crate::domain::action::Action;
use crate::domain::refund::{self, RefundAsked};

pub(super) fn booked(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::TellBooked { guidance }, State::Paid { legs, .. }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    Draft::of(order, given).to(State::Completed { legs: legs.clone(), guidance: guidance.clone() }).decide()
}

pub(super) fn ask_tell(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Paid { told, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::AskTell { message: given.message, told: *told }).decide()
}

pub(super) fn tell_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Paid { told, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::Tell { message: *told }).decide()
}

pub(super) fn rejected(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::TellRejected { words } = event else { return Err(inconsistent(order, event)) };
    let asked = RefundAsked { refund_no: None, amount: None, replaced_by: None, reason: words.clone() };
    begin_whole_return(order, given, &asked, Why::Rejected { words: words.clone() })
}

pub(super) fn return_all(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::RefundAsked(asked) = event else { return Err(inconsistent(order, event)) };
    if asked.amount.is_some() || asked.replaced_by.is_some() {
        return Err(Refusal::new(No::RefundNotNow, "before it is booked an order is given back whole or not at all"));
    }
    begin_whole_return(order, given, asked, Why::RefundAsked)
}

pub(super) fn begin_whole_return(
    order: &Order,
    given: &Given<'_>,
    asked: &RefundAsked,
    why: Why,
) -> Result<Decision, Refusal> {
    let State::Paid { legs, told } = &order.state else {
        return Err(Refusal::new(No::Internal, "only a paid order is given back whole"));
    };
    let refund = refund::grant(order, legs, asked, given)?;
    let amount = refund.amount;
    let first = refund::first_action(&refund);
    let mut draft = Draft::of(order, given)
        .to(State::Returning { legs: legs.clone(), told: *told, refund: refund.id, why })
        .with(|next| next.refunding = amount)
        .now(first);
    draft.decision.refund = Some(refund);
    draft.decide()
}

pub(super) fn returned(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::RefundEnded(ended), State::Returning { legs, told, why, refund }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    if ended.refund != *refund {
        return stray_returned(order, event, given);
    }
    let draft = Draft::of(order, given).with(|next| next.refunding = Fen::ZERO);
    if !ended.done {
        // Nothing moved: it is as paid as before, and may still be booked, or asked back again.
        let words = ended.words.clone().unwrap_or_default();
        let from = State::Paid { legs: legs.clone(), told: *told };
        let draft = suspend(draft, from, Why::UndoRefused { words }, Owner::Bureau);
        // Whether it was booked is still not known where the institution asked before it answered. One that refused
        // the bill is not asked: it has said what it knows.
        return match why {
            Why::RefundAsked => draft.again(Action::AskTell { message: given.message, told: *told }).decide(),
            _ => draft.decide(),
        };
    }
    draft
        .with(|next| next.refunded = ended.amount)
        .to(State::Closed { why: why.clone(), returned: Some(legs.clone()) })
        .now(tell_undone(given, ended, true))
        .decide()
}
