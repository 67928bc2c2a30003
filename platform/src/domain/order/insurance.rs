//! The insurance leg: 2207, and what is done while its outcome is unknown.

use schema::refusal::{Code as No, Refusal};

use super::cash::become_paid;
use super::draft::{Draft, closed, inconsistent, not_early};
use super::event::Event;
use super::facts::{Insurance, Legs, Order, Settled, Taken};
use super::payer::{open_wallet, send_2207};
use super::pricing::close_unpaid;
use super::state::{State, Then, Why};
use super::waiting::{flag, suspend_silent_bureau};
use super::{Decision, Given};
use crate::domain::action::{Action, News};
use crate::domain::posting;
use crate::domain::refusal::{beyond_money, unlisted};
use crate::domain::split::differs_for_the_payer;

pub(super) fn settled(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::SettleDone(settlement), State::Settling { msgid, .. }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    if settlement.msgid != *msgid {
        return Err(Refusal::new(No::NotNow, "a settlement under another message"));
    }
    let settled = Settled::from(settlement.as_ref());
    let authorised = order.authorisation.as_ref().map(|authorisation| authorisation.split);
    let as_seen = settled.split.sums_to(order.bill.amount)
        && authorised.is_some_and(|seen| !differs_for_the_payer(&seen, &settled.split));
    let insured_sum = settled.split.insurance().map_err(beyond_money)?;
    let draft = Draft::of(order, given)
        .post(posting::insurance_settled(
            &settled.split,
            &settled.insutype,
            &order.bill.institution,
            settled.setl_time_us,
        ))?
        .sms(News::InsuranceSettled, insured_sum);
    if !as_seen {
        return undo(draft, settled, Why::Differs, Then::Reprice).decide();
    }
    let draft = draft.ripple();
    let cash = settled.split.cash_fen;
    if let Some(carry) = &order.carry {
        let action = Action::Carry { from: carry.from, refund: carry.refund, cash };
        return draft.to(State::Carrying { settled }).now(action).decide();
    }
    let insurance = Insurance::Settled(settled);
    if cash.is_zero() {
        return become_paid(draft, Legs { insurance, cash: None }).decide();
    }
    open_wallet(draft, insurance, cash)
}

/// The cash of a replacement is a part of what the replaced order took. It stays booked there at the wallet; what the
/// institution is owed for it moves over, through suspense.
pub(super) fn carried(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (State::Carrying { settled }, Some(carry)) = (&order.state, &order.carry) else {
        return Err(inconsistent(order, event));
    };
    let amount = settled.split.cash_fen;
    let cash = match &carry.cash {
        Some(taken) if !amount.is_zero() => Some(Taken { amount, ..taken.clone() }),
        _ => None,
    };
    let at_us = cash.as_ref().map_or(settled.setl_time_us, |cash| cash.success_time_us);
    let legs = Legs { insurance: Insurance::Settled(settled.clone()), cash };
    let draft =
        Draft::of(order, given).post(posting::cash_carried(amount, &order.bill.institution, at_us))?.with(|next| {
            next.carried_in = amount;
            next.carry = None;
        });
    become_paid(draft, legs).decide()
}

pub(super) fn nothing_to_carry(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Carrying { settled } = &order.state else { return Err(inconsistent(order, event)) };
    let draft = Draft::of(order, given).with(|next| next.carry = None);
    undo(draft, settled.clone(), Why::Differs, Then::Reprice).decide()
}

pub(super) fn settle_refused(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::SettleRefused { words, busy }, State::Settling { msgid, .. }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    let draft = Draft::of(order, given);
    if *busy && order.flagged {
        // Nothing was done, so nothing needs to end normally: a lost card sends no second 2207.
        return draft.to(closed(Why::BindingLost)).release().decide();
    }
    if *busy && price_holds(order, given) {
        // Nothing is out now, and whoever must stop it can until the next 2207 is decided upon.
        let wait_ms = given.rules.ask_again_after_ms(order.entered_at_us, given.now_us);
        return draft
            .to(State::Settling { msgid: msgid.clone(), busy: Some(words.clone()) })
            .later(wait_ms, Action::SettleDue)
            .decide();
    }
    draft.to(closed(Why::SettleRefused { words: words.clone() })).release().decide()
}

pub(super) fn price_holds(order: &Order, given: &Given<'_>) -> bool {
    order.price.as_ref().is_some_and(|price| given.now_us < price.valid_until_us)
}

/// The loss itself is on record before its orders hear of it.
pub(super) fn may_still_spend(order: &Order, given: &Given<'_>) -> bool {
    let (Some(insured), Some(binding)) = (&order.insured, given.binding) else { return false };
    binding.may_spend(insured.epoch).is_ok()
}

/// Busy meant that nothing was done, so a fresh message may settle what was authorised.
pub(super) fn settle_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Settling { busy: Some(words), .. } = &order.state else { return Err(inconsistent(order, event)) };
    if order.flagged || !may_still_spend(order, given) {
        return Draft::of(order, given).to(closed(Why::BindingLost)).release().decide();
    }
    if !price_holds(order, given) {
        return Draft::of(order, given).to(closed(Why::SettleRefused { words: words.clone() })).release().decide();
    }
    send_2207(Draft::of(order, given)).decide()
}

/// While the bureau is busy nothing is out, so a loss or a change of mind still ends the order; a 2207 that is out
/// ends first.
pub(super) fn end_while_busy(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    match (&order.state, event) {
        (State::Settling { busy: Some(_), .. }, _) => close_unpaid(order, event, given),
        (_, Event::BindingLost) => flag(order, event, given),
        _ => Err(unlisted("an order whose 2207 is out", order.state.place().word(), event.kind())),
    }
}

pub(super) fn settling_too_long(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    match &order.state {
        State::Settling { busy: Some(words), .. } => {
            not_early(order, given)?;
            let why = Why::SettleRefused { words: words.clone() };
            Draft::of(order, given).to(closed(why)).release().decide()
        }
        _ => suspend_silent_bureau(order, event, given),
    }
}

pub(super) fn doubt(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Settling { msgid, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given)
        .to(State::Doubting { msgid: msgid.clone() })
        .later(given.rules.bureau_limit_ms, Action::Reverse { omsgid: msgid.clone(), msgid: given.msgid.to_owned() })
        .decide()
}

pub(super) fn reverse_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (State::Doubting { msgid } | State::Proving { msgid }) = &order.state else {
        return Err(inconsistent(order, event));
    };
    Draft::of(order, given).again(Action::Reverse { omsgid: msgid.clone(), msgid: given.msgid.to_owned() }).decide()
}

pub(super) fn prove(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Doubting { msgid } = &order.state else { return Err(inconsistent(order, event)) };
    // Where the dialect cannot be asked by visit, a second reversal after the second wait is the only question left.
    let question = if given.can_ask_by_visit {
        Action::AskSettle { omsgid: msgid.clone() }
    } else {
        Action::Reverse { omsgid: msgid.clone(), msgid: given.msgid.to_owned() }
    };
    Draft::of(order, given)
        .to(State::Proving { msgid: msgid.clone() })
        .later(given.rules.after_reversal_ms, question)
        .decide()
}

pub(super) fn ask_settle_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Proving { msgid } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::AskSettle { omsgid: msgid.clone() }).decide()
}

pub(super) fn proven_nothing(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    back_to_price(Draft::of(order, given)).decide()
}

/// Back to the price that was shown if it still holds; its code is dead either way. A lost binding ends it here,
/// because the loss could not stop an order whose 2207 was out.
pub(super) fn back_to_price(draft: Draft<'_>) -> Draft<'_> {
    let now_us = draft.given.now_us;
    let message = draft.given.message;
    if draft.decision.next.flagged {
        return draft.to(closed(Why::BindingLost)).release();
    }
    let holds = draft.decision.next.price.as_ref().is_some_and(|price| now_us < price.valid_until_us);
    if holds && draft.decision.next.carry.is_some() {
        draft.to(State::Priced { code: None, sends: 0 }).now(Action::Resume)
    } else if holds {
        draft.to(State::Priced { code: None, sends: 0 })
    } else {
        draft.to(State::Created).now(Action::Price { message })
    }
}

pub(super) fn settled_late(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::SettleFound(settlement) = event else { return Err(inconsistent(order, event)) };
    let settled = Settled::from(settlement.as_ref());
    let insured_sum = settled.split.insurance().map_err(beyond_money)?;
    let draft = Draft::of(order, given)
        .post(posting::insurance_settled(
            &settled.split,
            &settled.insutype,
            &order.bill.institution,
            settled.setl_time_us,
        ))?
        .sms(News::InsuranceSettled, insured_sum);
    undo(draft, settled, Why::SettledLate, Then::BackToPrice).decide()
}

pub(super) fn undo(draft: Draft<'_>, settled: Settled, why: Why, then: Then) -> Draft<'_> {
    let msgid = draft.given.msgid.to_owned();
    let action = Action::Undo { msgid: msgid.clone(), setl_id: settled.setl_id.clone(), refund: None };
    draft.to(State::UndoingInsurance { settled, msgid, why, then }).now(action)
}
