//! The cash leg: the wallet order is opened, paid, closed and asked; cash without a right to stay goes back.

use schema::refusal::{Code as No, Refusal};

use super::draft::{Draft, closed, inconsistent, not_early};
use super::event::Event;
use super::facts::{Insurance, Legs, Order, Taken};
use super::insurance::undo;
use super::payer::out_trade_no;
use super::state::{Place, State, Then, Why};
use super::{Decision, Given};
use crate::domain::action::{Action, News};
use crate::domain::deadline::Rules;
use crate::domain::posting::{self, Account};
use crate::domain::refund;

pub(super) fn collect(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::PrepayDone { prepay_id }, State::Prepaying { insurance, out_trade_no }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    Draft::of(order, given)
        .to(State::Collecting {
            insurance: insurance.clone(),
            out_trade_no: out_trade_no.clone(),
            prepay_id: prepay_id.clone(),
        })
        .later(given.rules.ask_wallet_ms, Action::AskWallet { out_trade_no: out_trade_no.clone() })
        .decide()
}

pub(super) fn prepay_refused(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::PrepayRefused { words, busy }, State::Prepaying { insurance, out_trade_no }) = (event, &order.state)
    else {
        return Err(inconsistent(order, event));
    };
    if *busy {
        return prepay_again(order, event, given);
    }
    close_and_ask(order, given, insurance, out_trade_no, Why::WalletRefused { words: words.clone() })
}

pub(super) fn prepay_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Prepaying { insurance, out_trade_no } = &order.state else { return Err(inconsistent(order, event)) };
    let amount = match insurance {
        Insurance::Settled(settled) => settled.split.cash_fen,
        Insurance::CashOnly => order.bill.amount,
    };
    // The same number with the same content: the wallet answers with the same handle, so a repeat is harmless.
    let expires_at_us = Rules::in_ms(order.entered_at_us, given.rules.collect_ms);
    Draft::of(order, given).again(Action::Prepay { out_trade_no: out_trade_no.clone(), amount, expires_at_us }).decide()
}

pub(super) fn ask_wallet(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (State::Prepaying { out_trade_no, .. } | State::Collecting { out_trade_no, .. }) = &order.state else {
        return Err(inconsistent(order, event));
    };
    let wait_ms = match order.state.place() {
        Place::Collecting => given.rules.ask_wallet_ms,
        _ => given.rules.ask_again_after_ms(order.entered_at_us, given.now_us),
    };
    Draft::of(order, given).later(wait_ms, Action::AskWallet { out_trade_no: out_trade_no.clone() }).decide()
}

pub(super) fn paid(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (
        Event::WalletPaid(taken),
        State::Prepaying { insurance, .. }
        | State::Collecting { insurance, .. }
        | State::ClosingWallet { insurance, .. },
    ) = (event, &order.state)
    else {
        return Err(inconsistent(order, event));
    };
    let due = match insurance {
        Insurance::Settled(settled) => settled.split.cash_fen,
        Insurance::CashOnly => order.bill.amount,
    };
    if order.strays.contains(&taken.transaction_id) {
        return Err(known_payment());
    }
    if taken.amount != due || taken.out_trade_no != out_trade_no(order.id) {
        return give_back_what_was_not_due(order, insurance, taken, given);
    }
    let legs = Legs { insurance: insurance.clone(), cash: Some(taken.clone()) };
    let payable = Account::Payable { institution: order.bill.institution.clone() };
    let draft = Draft::of(order, given)
        .post(posting::cash_taken(taken.amount, &order.bill.merchant, payable, taken.success_time_us))?
        .sms(News::CashTaken, taken.amount);
    become_paid(draft, legs).decide()
}

/// The wallet took another amount than was due. That used its order up, so nothing more comes in by it: what came goes
/// back, the insurance leg is undone, and the bill may be paid anew.
pub(super) fn give_back_what_was_not_due(
    order: &Order,
    insurance: &Insurance,
    taken: &Taken,
    given: &Given<'_>,
) -> Result<Decision, Refusal> {
    let draft = take_stray(Draft::of(order, given), taken, "支付渠道收款金额与应付不符，款项原路退回")?;
    match insurance {
        Insurance::CashOnly => draft.to(closed(Why::AmountDiffers)).release().decide(),
        Insurance::Settled(settled) => undo(draft, settled.clone(), Why::AmountDiffers, Then::Close).decide(),
    }
}

/// Books cash without a right to stay, tells whose it is, and sends it back.
pub(super) fn take_stray<'a>(draft: Draft<'a>, taken: &Taken, reason: &str) -> Result<Draft<'a>, Refusal> {
    let refund = refund::stray(&draft.decision.next, taken, reason, draft.given);
    let merchant = draft.decision.next.bill.merchant.clone();
    let lines = posting::cash_taken(taken.amount, &merchant, Account::Suspense, taken.success_time_us);
    let mut draft = draft
        .post(lines)?
        .with(|next| next.strays.push(taken.transaction_id.clone()))
        .sms(News::CashStray, taken.amount)
        .now(refund::first_action(&refund));
    draft.decision.refund = Some(refund);
    Ok(draft)
}

pub(super) fn known_payment() -> Refusal {
    Refusal::new(No::NotNow, "this payment is known and already answered")
}

pub(super) fn become_paid(draft: Draft<'_>, legs: Legs) -> Draft<'_> {
    let message = draft.given.message;
    draft.to(State::Paid { legs, told: message }).now(Action::Tell { message })
}

pub(super) fn close_wallet(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (State::Prepaying { insurance, out_trade_no } | State::Collecting { insurance, out_trade_no, .. }) =
        &order.state
    else {
        return Err(inconsistent(order, event));
    };
    let why = match event {
        Event::Cancelled => Why::Cancelled,
        _ => {
            not_early(order, given)?;
            Why::NotPaidInTime
        }
    };
    close_and_ask(order, given, insurance, out_trade_no, why)
}

pub(super) fn close_and_ask(
    order: &Order,
    given: &Given<'_>,
    insurance: &Insurance,
    out_trade_no: &str,
    why: Why,
) -> Result<Decision, Refusal> {
    Draft::of(order, given)
        .to(State::ClosingWallet { insurance: insurance.clone(), out_trade_no: out_trade_no.to_owned(), why })
        .now(Action::CloseWallet { out_trade_no: out_trade_no.to_owned() })
        .decide()
}

pub(super) fn close_wallet_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::ClosingWallet { out_trade_no, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::CloseWallet { out_trade_no: out_trade_no.clone() }).decide()
}

pub(super) fn wallet_closed(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (insurance, why) = match &order.state {
        State::Prepaying { insurance, .. } | State::Collecting { insurance, .. } => (insurance, Why::WalletClosed),
        State::ClosingWallet { insurance, why, .. } => (insurance, why.clone()),
        _ => return Err(inconsistent(order, event)),
    };
    match insurance {
        Insurance::CashOnly => Draft::of(order, given).to(closed(why)).release().decide(),
        Insurance::Settled(settled) => undo(Draft::of(order, given), settled.clone(), why, Then::Close).decide(),
    }
}
