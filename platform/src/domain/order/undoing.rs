//! Undoing the insurance leg before the order is paid, and cash that comes although its order is over.

use schema::refusal::Refusal;

use super::cash::{known_payment, take_stray};
use super::draft::{Draft, closed, inconsistent, suspend};
use super::event::Event;
use super::facts::Order;
use super::insurance::{back_to_price, undo};
use super::state::{Owner, State, Then, Why};
use super::{Decision, Given};
use crate::domain::action::{Action, News};
use crate::domain::posting;
use crate::domain::refusal::beyond_money;

pub(super) fn undone(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::UndoDone(undone) | Event::UndoFound(undone)) = event else { return Err(inconsistent(order, event)) };
    let (State::UndoingInsurance { settled, why, then, .. } | State::AskingUndo { settled, why, then, .. }) =
        &order.state
    else {
        return Err(inconsistent(order, event));
    };
    let lines =
        posting::insurance_settled(&settled.split, &settled.insutype, &order.bill.institution, settled.setl_time_us)
            .map(|lines| posting::reversed(lines, undone.setl_time_us));
    let amount = settled.split.insurance().map_err(beyond_money)?;
    let draft = Draft::of(order, given).post(lines)?.sms(News::InsuranceUndone, amount).ripple();
    match then {
        Then::Close => draft.to(closed(why.clone())).release().decide(),
        Then::BackToPrice => back_to_price(draft).decide(),
        Then::Reprice if draft.decision.next.flagged => draft.to(closed(Why::BindingLost)).release().decide(),
        Then::Reprice => draft.to(State::Created).now(Action::Price { message: given.message }).decide(),
    }
}

pub(super) fn ask_undo(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::UndoingInsurance { settled, why, then, .. } = &order.state else {
        return Err(inconsistent(order, event));
    };
    let (settled, why, then) = (settled.clone(), why.clone(), *then);
    let setl_id = settled.setl_id.clone();
    let draft = Draft::of(order, given);
    let refused = match event {
        Event::UndoRefused { busy: true, .. } => {
            // Busy means that nothing was done: the 2208 is sent again under a fresh message.
            let msgid = given.msgid.to_owned();
            let action = Action::Undo { msgid: msgid.clone(), setl_id, refund: None };
            return draft.to(State::UndoingInsurance { settled, msgid, why, then }).again(action).decide();
        }
        Event::UndoRefused { words, .. } => Some(words.clone()),
        _ => None,
    };
    // A lost 2208 may still execute within the bureau's own limit: an answer before that would prove nothing.
    let wait_ms = if refused.is_some() { given.rules.ask_again_ms } else { given.rules.bureau_limit_ms };
    draft
        .to(State::AskingUndo { settled, refused, why, then })
        .later(wait_ms, Action::AskUndo { setl_id, refund: None })
        .decide()
}

pub(super) fn undo_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::AskingUndo { settled, refused, why, then } = &order.state else {
        return Err(inconsistent(order, event));
    };
    if let Some(words) = refused {
        let why = Why::UndoRefused { words: words.clone() };
        // Nothing is sent again; but what a person brings about at the bureau is learned.
        return suspend(Draft::of(order, given), order.state.clone(), why, Owner::Bureau)
            .later(given.rules.patience_ms, Action::AskUndo { setl_id: settled.setl_id.clone(), refund: None })
            .decide();
    }
    undo(Draft::of(order, given), settled.clone(), why.clone(), *then).decide()
}

pub(super) fn ask_undo_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::AskingUndo { settled, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::AskUndo { setl_id: settled.setl_id.clone(), refund: None }).decide()
}

/// Cash that came although the wallet order was closed: into suspense, and back to the payer.
pub(super) fn stray(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::WalletPaid(taken) = event else { return Err(inconsistent(order, event)) };
    let known = order.strays.contains(&taken.transaction_id)
        || matches!(&order.state, State::Closed { returned: Some(legs), .. }
            if legs.cash.as_ref().is_some_and(|cash| cash.transaction_id == taken.transaction_id));
    if known {
        return Err(known_payment());
    }
    take_stray(Draft::of(order, given), taken, "订单已关闭，款项原路退回")?.decide()
}

pub(super) fn stray_returned(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    Draft::of(order, given).decide()
}
