//! The payer decides: a code is issued, the split that was seen is authorised, and the first money is sent for.

use schema::ids::OrderId;
use schema::money::Fen;
use schema::refusal::{Code as No, Refusal};

use super::draft::{Draft, inconsistent};
use super::event::Event;
use super::facts::{Authorisation, AuthorisationKind, Insurance, Order};
use super::state::State;
use super::{Decision, Given};
use crate::domain::action::Action;
use crate::domain::deadline::Rules;

pub(super) fn code_issued(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::CodeIssued { code }, State::Priced { sends, .. }, Some(price)) = (event, &order.state, &order.price)
    else {
        return Err(inconsistent(order, event));
    };
    let Some(insured) = &order.insured else {
        return Err(Refusal::new(No::NotNow, "a cash-only order needs no code"));
    };
    let binding = given.binding.ok_or_else(|| Refusal::new(No::BindingUnknown, "the binding is gone"))?;
    binding.may_spend(insured.epoch)?;
    if given.now_us >= price.valid_until_us {
        return Err(Refusal::new(No::PriceExpired, "the price is over"));
    }
    if *sends >= given.rules.code_sends {
        return Err(Refusal::new(No::CodeSendsUsed, format!("{sends} codes were sent for this price")));
    }
    if code.price_number != price.number {
        return Err(Refusal::new(No::CodeForeign, "the code was made for an older price"));
    }
    Draft::of(order, given).to(State::Priced { code: Some(code.clone()), sends: sends + 1 }).decide()
}

pub(super) fn authorised(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::Authorised { offered }, State::Priced { code, .. }, Some(price)) = (event, &order.state, &order.price)
    else {
        return Err(inconsistent(order, event));
    };
    if given.now_us >= price.valid_until_us {
        return Err(Refusal::new(No::PriceExpired, "the price is over"));
    }
    let Some(insured) = &order.insured else {
        let authorisation = Authorisation {
            kind: AuthorisationKind::WalletOnly,
            level: 0,
            at_us: given.now_us,
            split: price.split,
            evidence: None,
        };
        return open_wallet(
            Draft::of(order, given).with(|next| next.authorisation = Some(authorisation)),
            Insurance::CashOnly,
            price.split.cash_fen,
        );
    };
    let binding = given.binding.ok_or_else(|| Refusal::new(No::BindingUnknown, "the binding is gone"))?;
    binding.may_spend(insured.epoch)?;
    let code = code.as_ref().ok_or_else(|| Refusal::new(No::CodeNotSent, "no code was issued for this price"))?;
    let offered = offered.as_ref().ok_or_else(|| Refusal::new(No::CodeWrong, "no code was offered"))?;
    code.check(offered, price.number, given.now_us)?;
    let authorisation = Authorisation {
        kind: AuthorisationKind::CodeAndCard,
        level: binding.level,
        at_us: given.now_us,
        split: price.split,
        evidence: Some(*offered),
    };
    send_2207(Draft::of(order, given).with(|next| next.authorisation = Some(authorisation))).decide()
}

pub(super) fn send_2207(draft: Draft<'_>) -> Draft<'_> {
    let msgid = draft.given.msgid.to_owned();
    draft.to(State::Settling { msgid: msgid.clone(), busy: None }).now(Action::Settle { msgid })
}

/// Our number at the wallet: the order's id without hyphens. One order collects at most once.
pub fn out_trade_no(order: OrderId) -> String {
    order.uuid().simple().to_string()
}

pub(super) fn open_wallet(draft: Draft<'_>, insurance: Insurance, amount: Fen) -> Result<Decision, Refusal> {
    let out_trade_no = out_trade_no(draft.decision.next.id);
    let expires_at_us = Rules::in_ms(draft.given.now_us, draft.given.rules.collect_ms);
    draft
        .to(State::Prepaying { insurance, out_trade_no: out_trade_no.clone() })
        .now(Action::Prepay { out_trade_no, amount, expires_at_us })
        .decide()
}
