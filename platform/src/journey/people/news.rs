//! Telling people that their money moved.

use schema::money::Fen;
use schema::personal::{Personal as _, Phone};
use schema::refusal::Refusal;

use super::{PHONE, bound_person, open_person};
use crate::domain::action::News;
use crate::domain::binding::LEVEL_INSURED;
use crate::journey::desk::What;
use crate::journey::job::Job;
use crate::parties::answer::Answer;
use crate::parties::sms::{Sms, SmsText};

/// How often a message that got no answer is tried again.
const SMS_ATTEMPTS_MAX: i64 = 8;

/// Tells whoever pays, and the insured person on every phone of theirs, that money moved.
pub async fn tell_of_money(job: &Job<'_>, news: News, amount: Fen) -> Result<What, Refusal> {
    let moved = match news {
        News::InsuranceSettled => "医保部分已支付",
        News::InsuranceUndone => "医保部分已退回",
        News::CashTaken => "现金部分已支付",
        News::CashStray => "收到一笔不应收取的现金，将原路退回",
        News::CashReturned => "现金部分已原路退回",
    };
    let text =
        format!("【统付】您的账单{}{moved}{}元。如非本人操作，请立即挂失。", job.order.bill.bill_no, amount.to_yuan());
    let mut again = false;
    for (message_id, phone) in phones_of(job).await? {
        let sms = Sms { message_id, phone, template: "money_moved", text: SmsText(text.clone()) };
        again |= match job.tenant.sms.send(&sms).await {
            Answer::Done(()) => false,
            Answer::Refused(refused) => refused.busy,
            Answer::Unknown(_) => true,
        };
    }
    // All are sent again: the gateway sends one id once.
    Ok(if again && job.attempts < SMS_ATTEMPTS_MAX { job.again() } else { What::ActionDone })
}

/// To whom, each under a message id that a repeat has too: the phone of the binding that pays, and every other phone
/// that holds this person's card with its password, for somebody else may be paying. None twice.
async fn phones_of(job: &Job<'_>) -> Result<Vec<(String, Phone)>, Refusal> {
    let (tenant, action) = (job.tenant, job.row.id);
    let mut phones: Vec<(String, Phone)> =
        phone_of(job).await?.into_iter().map(|phone| (action.to_string(), phone)).collect();
    let Some(insured) = &job.order.insured else { return Ok(phones) };
    let (tenant_id, person) = (tenant.id, insured.person);
    for row in job.ground.read(move |store| store.bindings_of_person(tenant_id, &person)).await? {
        // A frozen one is told as well: whoever lost a card wants to know most of all.
        if row.facts.level < LEVEL_INSURED {
            continue;
        }
        let Some(phone) = open_person(tenant, &row.sealed)?.phone else { continue };
        if phones.iter().all(|(_, known)| known.expose() != phone.expose()) {
            let own = tenant.vault.lookup(PHONE, phone.expose());
            phones.push((format!("{action}-{}", hex::encode(&own.as_bytes()[..8])), phone));
        }
    }
    Ok(phones)
}

async fn phone_of(job: &Job<'_>) -> Result<Option<Phone>, Refusal> {
    if let Some(insured) = &job.order.insured
        && let Some(phone) = bound_person(job.ground, job.tenant, insured.binding).await?.phone
    {
        return Ok(Some(phone));
    }
    let (tenant, payer) = (job.tenant.id, job.order.payer);
    let login = job.ground.read(move |store| store.channel_user_by_id(tenant, payer)).await?;
    Ok(login.and_then(|login| job.tenant.vault.open_text(PHONE, &login.phone_sealed).ok()).map(Phone::new))
}
