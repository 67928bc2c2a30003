//! The payer authorises the split they saw: phone number, code and card (for cash only, a tap).

use std::sync::Arc;

use schema::ids::{BindingId, ChannelUserId, EventId, OrderId};
use schema::mobile::PayAsk;
use schema::personal::{OneTimeCode, Phone};
use schema::refusal::{Code, Fault, Refusal};
use schema::seal::Lookup;

use super::desk::{Command, What};
use super::{Ground, Tenant, code, open, people, view};
use crate::domain::order::{Event, Order, State};
use crate::store::{BindingRow, CallerKey};

/// Authorises the split that was seen. Answers the order as decided, as JSON; money moves after that, by actions.
///
/// An insured order wants phone, code and card, and every attempt counts, whichever of them is wrong. Refuses, and
/// nothing moves, with Invalid (one of the three is missing), NotNow (the order is not Priced), CodeNotSent (none for
/// this price), CodeExpired (its time is over, or the counter of tries was forgotten), CodeTriedOut, PhoneWrong,
/// CardWrong, CodeForeign (another order's, or an older price's), CodeWrong, PriceExpired, and with whatever asking the
/// bureau about the person again brings ([`people::recheck`]). A cash-only order wants the tap alone.
pub async fn pay(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    order_id: OrderId,
    ask: &PayAsk,
    key: CallerKey,
    trace_id: Option<String>,
) -> Result<Vec<u8>, Refusal> {
    let offered = match offered(ground, tenant, user, order_id, ask).await {
        Ok(offered) => offered,
        Err(refusal) => return ground.unless_answered(tenant.id, &key, refusal).await,
    };
    let command = Command {
        tenant: tenant.id,
        event_id: EventId::from_uuid(ground.clock.fresh()),
        what: What::Order(order_id, Event::Authorised { offered }),
        answers: None,
        key: Some((key, view::render())),
        trace_id,
    };
    open::answered(ground.desk.ask(command).await)
}

/// The code that was offered, hashed; none for cash only.
async fn offered(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    order_id: OrderId,
    ask: &PayAsk,
) -> Result<Option<Lookup>, Refusal> {
    let at_hand = ground.at_hand(tenant.id, order_id).filter(|order| may_go_on(tenant, order, user, ask));
    let order = match at_hand {
        Some(order) => order,
        None => Arc::new(open::own(ground, tenant, user, order_id).await?),
    };
    let Some(insured) = &order.insured else { return Ok(None) };
    let (offered, binding) = proof(ground, tenant, &order, insured.binding, ask).await?;
    people::recheck(ground, tenant, binding).await?;
    Ok(Some(offered))
}

/// Nobody is refused by what is at hand: only the very code that it asks for goes on, and the desk compares that with
/// what is stored.
fn may_go_on(tenant: &Tenant, order: &Order, user: ChannelUserId, ask: &PayAsk) -> bool {
    order.payer == user
        && match (&order.insured, &order.state, &ask.phone, &ask.code) {
            (None, ..) => true,
            (Some(_), State::Priced { code: Some(issued), .. }, Some(phone), Some(digits)) => {
                code::hash(tenant, order.id, issued.price_number, phone, digits) == issued.hash
            }
            _ => false,
        }
}

/// The code that was offered, hashed, and the binding whose phone and card were.
async fn proof(
    ground: &Ground,
    tenant: &Tenant,
    order: &Order,
    binding: BindingId,
    ask: &PayAsk,
) -> Result<(Lookup, BindingRow), Refusal> {
    let (phone, digits, card) = match (&ask.phone, &ask.code, &ask.card_no) {
        (Some(phone), Some(code), Some(card)) => (phone, code, card),
        (phone, code, card) => {
            let missing = [("phone", phone.is_none()), ("code", code.is_none()), ("card_no", card.is_none())];
            let faults = missing
                .into_iter()
                .filter(|(_, missing)| *missing)
                .map(|(at, _)| Fault::new(at, "医保支付必填", "is required for an insured payment"));
            return Err(Refusal::faulty(Code::Invalid, faults.collect()));
        }
    };
    let State::Priced { code: issued, .. } = &order.state else {
        return Err(Refusal::new(Code::NotNow, format!("no payment in {}", order.state.place().word())));
    };
    let issued = issued.as_ref().ok_or_else(|| Refusal::new(Code::CodeNotSent, "no code for this price"))?;
    // Every attempt counts, whichever part of it is wrong: the counter guards card and phone as well.
    let tries_key = format!("tries:{}:{}", order.id, String::from(issued.hash));
    let life_ms = ground.settings.deadlines.code_ms.saturating_mul(2);
    let tries = ground.ephemeral.count(tenant.id, &tries_key, life_ms).await.map_err(people::unreachable)?;
    if tries.epoch != issued.tries_epoch {
        return Err(Refusal::new(Code::CodeExpired, "the try counter was forgotten, so the code is dead"));
    }
    if tries.value > ground.settings.limits.code_tries {
        return Err(Refusal::new(Code::CodeTriedOut, format!("try {}", tries.value)));
    }
    let binding = people::binding_row(ground, tenant.id, binding).await?;
    if binding.phone != Some(people::phone_lookup(tenant, phone)) {
        return Err(Refusal::new(Code::PhoneWrong, "not the phone fixed at binding"));
    }
    if binding.card_no != Some(people::card_lookup(tenant, card)) {
        return Err(Refusal::new(Code::CardWrong, "not the card that is bound"));
    }
    let offered = code::hash(tenant, order.id, issued.price_number, phone, digits);
    if offered != issued.hash && belongs_elsewhere(ground, tenant, order, phone, digits).await? {
        return Err(Refusal::new(Code::CodeForeign, "the code of another order of this payer"));
    }
    Ok((offered, binding))
}

/// Whether the digits are the live code of another order of the same payer, which deserves a sentence of its own.
async fn belongs_elsewhere(
    ground: &Ground,
    tenant: &Tenant,
    order: &Order,
    phone: &Phone,
    digits: &OneTimeCode,
) -> Result<bool, Refusal> {
    let (tenant_id, payer) = (tenant.id, order.payer);
    let others = ground.read(move |store| store.orders_of(tenant_id, payer, 50)).await?;
    Ok(others.iter().filter(|other| other.id != order.id).any(|other| match &other.state {
        State::Priced { code: Some(issued), .. } => {
            code::hash(tenant, other.id, issued.price_number, phone, digits) == issued.hash
        }
        _ => false,
    }))
}
