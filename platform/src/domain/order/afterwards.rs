//! After booking: refunds of a part or of the whole.

use schema::refusal::{Code as No, Refusal};

use super::draft::{Draft, inconsistent};
use super::event::Event;
use super::facts::Order;
use super::state::{State, Why};
use super::{Decision, Given};
use crate::domain::action::Action;
use crate::domain::refund::{self, Returned};
use crate::domain::refusal::beyond_money;

pub(super) fn refund_some(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::RefundAsked(asked), State::Completed { legs, guidance }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    if guidance.invoice.as_ref().is_some_and(|invoice| invoice.printed) {
        return Err(Refusal::new(No::RefundNotNow, "the invoice is printed").in_words("票据已打印，请到窗口退费"));
    }
    let refund = refund::grant(order, legs, asked, given)?;
    let granted = order.refunding.plus(refund.amount).map_err(beyond_money)?;
    let mut draft = Draft::of(order, given).with(|next| next.refunding = granted).now(refund::first_action(&refund));
    draft.decision.refund = Some(refund);
    draft.decide()
}

pub(super) fn refund_ended(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::RefundEnded(ended), State::Completed { legs, .. }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    let refunding = order.refunding.minus(ended.amount).map_err(beyond_money)?;
    let draft = Draft::of(order, given).with(|next| next.refunding = refunding);
    if !ended.done {
        return draft.decide();
    }
    let returned = ended.amount.minus(ended.carried).map_err(beyond_money)?;
    let refunded = order.refunded.plus(returned).map_err(beyond_money)?;
    let draft = draft.with(|next| {
        next.refunded = refunded;
        next.carried_out = ended.carried;
    });
    if ended.replaced {
        let returned = Some(legs.clone());
        return draft.to(State::Closed { why: Why::Replaced, returned }).now(tell_undone(given, ended, true)).decide();
    }
    let whole = refunded == refund::refundable(legs).map_err(beyond_money)?;
    draft.now(tell_undone(given, ended, whole)).decide()
}

pub(super) fn tell_undone(given: &Given<'_>, ended: &Returned, whole: bool) -> Action {
    Action::TellUndone {
        message: given.message,
        undo_setl_id: ended.undo_setl_id.clone(),
        cash: ended.cash,
        carried: ended.carried,
        whole,
    }
}
