//! The one-time code: issued in a commit, sent after it. The message is no action row: a code that
//! did not arrive is asked for again.
//!
//! An answer kept under an idempotency key says that a code was issued, not that its message left. A note beside it says
//! that; where the gateway refused, or nobody knows any more, a repeat of the key sends another.

use std::sync::Arc;

use schema::ids::{ChannelUserId, EventId, OrderId};
use schema::mobile::OrderView;
use schema::personal::{OneTimeCode, Personal as _, Phone};
use schema::refusal::{Code, Refusal};
use schema::seal::Lookup;

use super::desk::{Command, Outcome, What};
use super::people::CodeFor;
use super::{Ground, Tenant, open, people, view};
use crate::domain::code::IssuedCode;
use crate::domain::deadline::Rules;
use crate::domain::order::{Event, Order, State};
use crate::parties::answer::Answer;
use crate::parties::sms::{Sms, SmsText};
use crate::store::CallerKey;

/// The keyed hash under which a code is kept: it names order, price and phone, so it fits nowhere else.
pub fn hash(tenant: &Tenant, order: OrderId, price_number: u32, phone: &Phone, code: &OneTimeCode) -> Lookup {
    let text = format!("{order}|{price_number}|{}|{}", phone.expose(), code.expose());
    tenant.vault.lookup("one_time_code", &text)
}

/// How long handing a message over may take: after this a repeat may send another.
const HANDING_OVER_MS: i64 = 15_000;
/// The notes: the message is being handed over, is handed over, or was refused.
const LEAVING: &[u8] = b"leaving";
const LEFT: &[u8] = b"left";
const OWED: &[u8] = b"owed";

/// Issues a code for the split the payer sees and sends it to the phone fixed at level-2 binding. A repeat of the key
/// answers the first answer, and sends a code if the first one's message never left.
pub async fn issue(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    order_id: OrderId,
    key: CallerKey,
    trace_id: Option<String>,
) -> Result<Vec<u8>, Refusal> {
    let first = ground.first_answer(tenant.id, &key).await?;
    let note = format!("code_sent:{}:{}", key.caller, key.key);
    let at_hand = ground.just_left(tenant.id, order_id, 0).filter(|order| first.is_none() && may_go_on(order, user));
    let order = match at_hand {
        Some(order) => order,
        None => Arc::new(open::own(ground, tenant, user, order_id).await?),
    };
    if let Some(first) = &first
        && !still_owed(ground, tenant, &order, first, &note).await?
    {
        return Ok(first.clone());
    }
    let (phone, price_number) = match (&order.state, &order.price, &order.insured) {
        (State::Priced { .. }, Some(price), Some(insured)) => {
            let phone = people::insured_person(ground, tenant, insured).await?.phone;
            (phone.ok_or_else(|| Refusal::new(Code::BindingLevelTooLow, "no phone is fixed"))?, price.number)
        }
        _ => return Err(not_now(&order)),
    };
    people::count_message(ground, tenant, CodeFor::Payment, &phone).await?;
    let digits = OneTimeCode::new(format!("{:06}", ground.clock.below(1_000_000)));
    let life_ms = ground.settings.deadlines.code_ms;
    let code = IssuedCode {
        hash: hash(tenant, order_id, price_number, &phone, &digits),
        price_number,
        expires_at_us: Rules::in_ms(ground.clock.now_us(), life_ms),
        tries_epoch: ground.ephemeral.epoch(tenant.id).await.map_err(people::unreachable)?,
    };
    let event_id = EventId::from_uuid(ground.clock.fresh());
    let command = Command {
        tenant: tenant.id,
        event_id,
        what: What::Order(order_id, Event::CodeIssued { code }),
        answers: None,
        key: first.is_none().then(|| (key, view::render())),
        trace_id,
    };
    let kept_ms = life_ms.saturating_mul(2);
    let noted = |said: &[u8], life_ms| ground.ephemeral.keep(tenant.id, &note, said.to_vec(), life_ms);
    // Before the commit: whoever repeats the key from then on finds the answer and the note together.
    noted(LEAVING, HANDING_OVER_MS).await.map_err(people::unreachable)?;
    let outcome = ground.desk.ask(command).await;
    if matches!(outcome, Outcome::Answer(_) | Outcome::Order(_)) {
        let total = order.bill.amount.to_yuan();
        let cash = order.price.as_ref().map(|price| price.split.cash_fen.to_yuan()).unwrap_or_default();
        let text = format!(
            "【统付】验证码{}，用于支付账单{}共{total}元，其中现金{cash}元，{}秒内有效。请勿告诉他人。",
            digits.expose(),
            order.bill.bill_no,
            life_ms / 1000,
        );
        let sms = Sms { message_id: event_id.to_string(), phone, template: "payment_code", text: SmsText(text) };
        if let Answer::Refused(refused) = tenant.sms.send(&sms).await {
            let _ = noted(OWED, kept_ms).await;
            return Err(Refusal::new(Code::SmsUnreachable, refused.code).after_s(5));
        }
        // A lost note costs one message too many, never one too few.
        let _ = noted(LEFT, kept_ms).await;
    } else if first.is_some() {
        let _ = noted(OWED, kept_ms).await;
    }
    match (first, outcome) {
        (Some(first), Outcome::Order(_)) => Ok(first),
        (_, outcome) => open::answered(outcome),
    }
}

/// Nobody is refused by what is at hand; and whether it still holds is the desk's to say.
fn may_go_on(order: &Order, user: ChannelUserId) -> bool {
    order.payer == user && matches!(order.state, State::Priced { .. })
}

/// Whether the payer waits for a code that was issued under this key and never left.
async fn still_owed(
    ground: &Ground,
    tenant: &Tenant,
    order: &Order,
    first: &[u8],
    note: &str,
) -> Result<bool, Refusal> {
    let State::Priced { code: Some(code), .. } = &order.state else { return Ok(false) };
    if let Some(said) = ground.ephemeral.kept(tenant.id, note).await.map_err(people::unreachable)? {
        return Ok(said == OWED);
    }
    let issued: OrderView = serde_json::from_slice(first)
        .map_err(|error| Refusal::new(Code::Internal, format!("a kept answer does not read back: {error}")))?;
    Ok(issued.version == order.version && ground.clock.now_us() <= code.expires_at_us)
}

fn not_now(order: &Order) -> Refusal {
    Refusal::new(Code::NotNow, format!("no code in {}", order.state.place().word()))
}
