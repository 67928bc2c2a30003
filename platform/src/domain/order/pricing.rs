//! The institution prices; what is unpaid ends.

use schema::refusal::{Code as No, Refusal};
use schema::split::Split;

use super::draft::{Draft, closed, inconsistent, not_carried, not_early};
use super::event::Event;
use super::facts::{Authorisation, Order, Price};
use super::payer::send_2207;
use super::state::{State, Why};
use super::{Decision, Given};
use crate::domain::action::Action;
use crate::domain::deadline::Rules;
use crate::domain::refusal::unlisted;
use crate::domain::split::rises_for_the_payer;

pub(super) fn priced(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::PriceCame(came) = event else { return Err(inconsistent(order, event)) };
    let cash_only = came.split == Split::all_cash(order.bill.amount);
    let sound = came.faults.is_empty()
        && came.split.sums_to(order.bill.amount)
        && match order.insured {
            Some(_) => came.inputs.is_some(),
            None => came.inputs.is_none() && cash_only,
        };
    let limit = Rules::in_ms(given.now_us, given.rules.priced_ms);
    let valid_until_us = came.valid_until_us.min(limit).min(order.bill.expires_at_us);
    if !sound || valid_until_us <= given.now_us {
        return Draft::of(order, given).to(closed(Why::PriceUnsound)).release().decide();
    }
    let number = order.price.as_ref().map_or(0, |price| price.number) + 1;
    let price = Price { number, split: came.split, inputs: came.inputs.clone(), valid_until_us };
    let draft =
        Draft::of(order, given).to(State::Priced { code: None, sends: 0 }).with(|next| next.price = Some(price));
    match &order.carry {
        None => draft.decide(),
        Some(carry) if rises_for_the_payer(&carry.authorisation.split, &came.split) => {
            // More than was authorised: it becomes an order like any other, and the old cash goes back whole.
            let mut draft = draft.with(|next| next.carry = None);
            draft.decision.actions.push(not_carried(carry, given.now_us));
            draft.decide()
        }
        Some(_) => draft.now(Action::Resume).decide(),
    }
}

/// The authorisation of the replaced order covers this one, since neither account nor cash rises.
pub(super) fn resumed(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Some(carry), Some(price), Some(insured)) = (&order.carry, &order.price, &order.insured) else {
        return Err(inconsistent(order, event));
    };
    if given.now_us >= price.valid_until_us {
        return Err(Refusal::new(No::PriceExpired, "the price is over"));
    }
    let binding = given.binding.ok_or_else(|| Refusal::new(No::BindingUnknown, "the binding is gone"))?;
    binding.may_spend(insured.epoch)?;
    let authorisation = Authorisation { split: price.split, ..carry.authorisation.clone() };
    send_2207(Draft::of(order, given).with(|next| next.authorisation = Some(authorisation))).decide()
}

pub(super) fn price_refused(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::PriceRefused { words } = event else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).to(closed(Why::PriceRefused { words: words.clone() })).release().decide()
}

pub(super) fn ask_price_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::PriceUnknown { message } = event else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::Price { message: *message }).decide()
}

pub(super) fn price_again(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    Draft::of(order, given).to(State::Created).now(Action::Price { message: given.message }).decide()
}

pub(super) fn close_unpaid(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let why = match event {
        Event::Cancelled => Why::Cancelled,
        Event::WindowClaimed => Why::TakenByWindow,
        Event::BindingLost if order.insured.is_some() => Why::BindingLost,
        Event::DeadlinePassed => {
            not_early(order, given)?;
            if matches!(order.state, State::Created) { Why::NoPriceInTime } else { Why::PriceExpired }
        }
        // A cash-only order spends nothing that a lost card could protect.
        _ => return Err(unlisted("a cash-only order", order.state.place().word(), event.kind())),
    };
    Draft::of(order, given).to(closed(why)).release().decide()
}
