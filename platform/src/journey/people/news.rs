//! Telling people that their money moved.

use schema::money::Fen;
use schema::personal::{Personal as _, Phone};
use schema::refusal::Refusal;

use super::{PHONE, bound_person};
use crate::domain::action::News;
use crate::journey::desk::What;
use crate::journey::job::Job;
use crate::parties::answer::Answer;
use crate::parties::sms::{Sms, SmsText};

/// How often a message that got no answer is tried again.
const SMS_ATTEMPTS_MAX: i64 = 8;

/// Tells the insured person (the payer, for cash only) that their money moved.
pub async fn tell_of_money(job: &Job<'_>, news: News, amount: Fen) -> Result<What, Refusal> {
    let Some(phone) = phone_of(job).await? else { return Ok(What::ActionDone) };
    let moved = match news {
        News::InsuranceSettled => "医保部分已支付",
        News::InsuranceUndone => "医保部分已退回",
        News::CashTaken => "现金部分已支付",
        News::CashStray => "收到一笔不应收取的现金，将原路退回",
        News::CashReturned => "现金部分已原路退回",
    };
    let text =
        format!("【统付】您的账单{}{moved}{}元。如非本人操作，请立即挂失。", job.order.bill.bill_no, amount.to_yuan());
    let sms = Sms { message_id: job.row.id.to_string(), phone, template: "money_moved", text: SmsText(text) };
    Ok(match job.tenant.sms.send(&sms).await {
        Answer::Done(()) => What::ActionDone,
        Answer::Refused(refused) if !refused.busy => What::ActionDone,
        Answer::Refused(_) | Answer::Unknown(_) if job.attempts >= SMS_ATTEMPTS_MAX => What::ActionDone,
        Answer::Refused(_) | Answer::Unknown(_) => job.again(),
    })
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
