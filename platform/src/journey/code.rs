//! The one-time code: issued in a commit, sent after it (design.md §5.7). The message is no action row: a code that
//! did not arrive is asked for again.

use schema::ids::{ChannelUserId, EventId, OrderId};
use schema::personal::{OneTimeCode, Personal as _, Phone};
use schema::refusal::{Code, Refusal};
use schema::seal::Lookup;

use super::desk::{Command, Outcome, What};
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

/// Issues a code for the split the payer sees and sends it to the phone fixed at level-2 binding.
pub async fn issue(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    order_id: OrderId,
    key: CallerKey,
    trace_id: Option<String>,
) -> Result<Vec<u8>, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        return Ok(first);
    }
    let order = open::own(ground, tenant, user, order_id).await?;
    let (phone, price_number) = match (&order.state, &order.price, &order.insured) {
        (State::Priced { .. }, Some(price), Some(insured)) => {
            let phone = people::bound_person(ground, tenant, insured.binding).await?.phone;
            (phone.ok_or_else(|| Refusal::new(Code::BindingLevelTooLow, "no phone is fixed"))?, price.number)
        }
        _ => return Err(not_now(&order)),
    };
    people::count_message(ground, tenant, &phone).await?;
    let digits = OneTimeCode::new(format!("{:06}", ground.clock.below(1_000_000)));
    let life_ms = ground.settings.deadlines.code_ms;
    let code = IssuedCode {
        hash: hash(tenant, order_id, price_number, &phone, &digits),
        price_number,
        expires_at_us: Rules::in_ms(ground.clock.now_us(), life_ms),
        tries_epoch: ground.ephemeral.epoch().await.map_err(people::unreachable)?,
    };
    let event_id = EventId::from_uuid(ground.clock.fresh());
    let command = Command {
        tenant: tenant.id,
        event_id,
        what: What::Order(order_id, Event::CodeIssued { code }),
        answers: None,
        key: Some((key, view::render())),
        trace_id,
    };
    let outcome = ground.desk.ask(command).await;
    if matches!(outcome, Outcome::Answer(_)) {
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
            return Err(Refusal::new(Code::SmsUnreachable, refused.code).after_s(5));
        }
    }
    open::answered(outcome)
}

fn not_now(order: &Order) -> Refusal {
    Refusal::new(Code::NotNow, format!("no code in {}", order.state.place().word()))
}
