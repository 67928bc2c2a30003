//! Telling people that their money moved.

use schema::money::Fen;
use schema::personal::{Personal as _, Phone};
use schema::refusal::Refusal;

use super::{PHONE, open_person};
use crate::domain::action::News;
use crate::domain::binding::LEVEL_INSURED;
use crate::journey::desk::What;
use crate::journey::job::Job;
use crate::parties::answer::Answer;
use crate::parties::sms::{Sms, SmsText};
use crate::store::BindingRow;

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
/// that holds this person's card with its password, for somebody else may be paying. None twice. A binding that does not
/// read back keeps its own phone from hearing, and nobody else's.
async fn phones_of(job: &Job<'_>) -> Result<Vec<(String, Phone)>, Refusal> {
    let (tenant, action) = (job.tenant, job.row.id);
    let rows = bindings_of(job).await?;
    let paying = job.order.insured.as_ref().map(|insured| insured.binding);
    let mut phones: Vec<(String, Phone)> = Vec::new();
    for row in rows {
        let phone = match open_person(tenant, &row.sealed) {
            Ok(person) => person.phone,
            Err(refusal) => {
                tracing::error!(%refusal, binding = %row.facts.id, "a phone is not told of its person's money");
                continue;
            }
        };
        let Some(phone) = phone.filter(|phone| phones.iter().all(|(_, known)| known.expose() != phone.expose())) else {
            continue;
        };
        let message_id = if paying == Some(row.facts.id) {
            action.to_string()
        } else {
            let own = tenant.vault.lookup(PHONE, phone.expose());
            format!("{action}-{}", hex::encode(&own.as_bytes()[..8]))
        };
        phones.push((message_id, phone));
    }
    if phones.iter().all(|(message_id, _)| *message_id != action.to_string())
        && let Some(phone) = phone_of_login(job).await?
        && phones.iter().all(|(_, known)| known.expose() != phone.expose())
    {
        phones.push((action.to_string(), phone));
    }
    Ok(phones)
}

/// The binding that pays, first and whatever became of it, and every other of the same person that may spend. A frozen
/// one is told as well: whoever lost a card wants to know most of all.
async fn bindings_of(job: &Job<'_>) -> Result<Vec<BindingRow>, Refusal> {
    let Some(insured) = &job.order.insured else { return Ok(Vec::new()) };
    let (tenant, person, paying) = (job.tenant.id, insured.person, insured.binding);
    let mut rows = job
        .ground
        .read(move |store| {
            let mut rows = store.bindings_of_person(tenant, &person)?;
            if rows.iter().all(|row| row.facts.id != paying) {
                rows.extend(store.binding(tenant, paying)?);
            }
            Ok(rows)
        })
        .await?;
    rows.retain(|row| row.facts.id == paying || row.facts.level >= LEVEL_INSURED);
    rows.sort_by_key(|row| row.facts.id != paying);
    Ok(rows)
}

async fn phone_of_login(job: &Job<'_>) -> Result<Option<Phone>, Refusal> {
    let (tenant, payer) = (job.tenant.id, job.order.payer);
    let login = job.ground.read(move |store| store.channel_user_by_id(tenant, payer)).await?;
    Ok(login.and_then(|login| job.tenant.vault.open_text(PHONE, &login.phone_sealed).ok()).map(Phone::new))
}
