//! Cash going back, and the institution's wish for it.

use schema::his::{RefundAsk, RefundView};
use schema::ids::{EventId, InstitutionCode, RefundId, TenantId};
use schema::link::Reply;
use schema::refusal::{Code, Refusal};

use super::desk::{Command, What};
use super::job::Job;
use super::{Ground, reply};
use crate::domain::bill::BillState;
use crate::domain::order::{BilledFor, Event, Owner};
use crate::domain::refund::{Refund, RefundAsked, RefundEvent, RefundState};
use crate::parties::answer::Answer;
use crate::parties::wallet::{self, RefundRequest};
use crate::store::CallerKey;

/// Gives cash back under the refund's own number; the wallet never does so twice.
pub async fn return_cash(job: &Job<'_>, id: RefundId) -> Result<What, Refusal> {
    let (tenant, order) = (job.tenant.id, job.order.id);
    let refund = job.ground.read(move |store| store.refund(tenant, id)).await?;
    let Some(Refund { cash: Some(cash), .. }) = refund else {
        return Err(Refusal::new(Code::Internal, format!("refund {id} has no cash to return")));
    };
    let request = RefundRequest {
        merchant: job.order.bill.merchant.clone(),
        out_trade_no: cash.taken.out_trade_no.clone(),
        out_refund_no: out_refund_no(id),
        amount: cash.amount,
        paid: cash.taken.paid,
        reason: "医疗费用退款".into(),
    };
    Ok(What::Refund(order, id, moved(job.tenant.wallet.refund(&request).await)))
}

/// Is the cash back?
pub async fn ask(job: &Job<'_>, id: RefundId) -> What {
    let answer = job.tenant.wallet.query_refund(&job.order.bill.merchant, &out_refund_no(id)).await;
    let event = match answer {
        // A question that was refused says nothing about the refund.
        Answer::Refused(_) => RefundEvent::CashUnknown,
        answer => moved(answer),
    };
    What::Refund(job.order.id, id, event)
}

fn moved(answer: Answer<wallet::RefundState>) -> RefundEvent {
    match answer {
        Answer::Done(state) => state_event(state),
        // A wallet that was busy, or that was never reached, has not said no: it is asked and sent the same again.
        Answer::Refused(refused) if refused.busy => RefundEvent::CashUnknown,
        Answer::Refused(refused) => RefundEvent::CashRefused { words: refused.words },
        Answer::Unknown(_) => RefundEvent::CashUnknown,
    }
}

/// What the wallet's word about a refund means.
pub fn state_event(state: wallet::RefundState) -> RefundEvent {
    match state {
        wallet::RefundState::Returned { success_time_us } => RefundEvent::CashReturned { success_time_us },
        wallet::RefundState::Processing => RefundEvent::CashUnknown,
        wallet::RefundState::Nothing => RefundEvent::CashNothing,
        wallet::RefundState::Abnormal(words) => RefundEvent::CashAbnormal { words },
    }
}

/// Our refund number at the wallet.
pub fn out_refund_no(refund: RefundId) -> String {
    refund.uuid().simple().to_string()
}

/// Reads our refund number back.
pub fn refund_of(out_refund_no: &str) -> Option<RefundId> {
    out_refund_no.parse().ok()
}

/// The institution asks for money back. The same number with the same content answers with the present state; the same
/// message with its first answer.
pub async fn asked(
    ground: &Ground,
    tenant: TenantId,
    institution: &InstitutionCode,
    ask: &RefundAsk,
    key: CallerKey,
    trace_id: Option<String>,
) -> Result<Reply, Refusal> {
    if let Some(first) = ground.first_answer(tenant, &key).await? {
        return reply::kept(&first);
    }
    if let Some(refund) = by_no(ground, tenant, institution, &ask.refund_no).await? {
        return known(ground, tenant, &refund, ask).await.map(Reply::Refund);
    }
    let replaced_by = match &ask.replaced_by {
        Some(remains) => Some(remaining(ground, tenant, institution, &ask.bill_no, remains).await?),
        None => None,
    };
    let event = Event::RefundAsked(RefundAsked {
        refund_no: Some(ask.refund_no.clone()),
        amount: ask.amount_fen,
        replaced_by,
        reason: ask.reason.clone(),
    });
    let command = Command {
        tenant,
        event_id: EventId::from_uuid(ground.clock.fresh()),
        what: What::ByBill(institution.clone(), ask.bill_no.clone(), event),
        answers: None,
        key: Some((key, reply::render())),
        trace_id,
    };
    reply::of(ground.desk.ask(command).await).map_err(|refusal| match refusal.code {
        Code::NotNow => Refusal { code: Code::RefundNotNow, ..refusal },
        _ => refusal,
    })
}

/// The bill of what remains: known, open, nobody's yet, and of the same patient.
async fn remaining(
    ground: &Ground,
    tenant: TenantId,
    institution: &InstitutionCode,
    bill_no: &str,
    remains: &str,
) -> Result<BilledFor, Refusal> {
    let merchant = ground.institution_as_known(tenant, institution).await?.merchant;
    let (code, paid_no, open_no) = (institution.clone(), bill_no.to_owned(), remains.to_owned());
    let read = move |store: &dyn crate::store::Store| {
        Ok((store.bill_by_no(tenant, &code, &paid_no)?, store.bill_by_no(tenant, &code, &open_no)?))
    };
    let (Some(paid), Some(open)) = ground.read(read).await? else {
        return Err(Refusal::new(Code::BillUnknown, "the paid bill or the one that remains is not known"));
    };
    let facts = open.bill.facts;
    if open.bill.patient != paid.bill.patient {
        return Err(Refusal::new(Code::BillPatientMismatch, "what remains must be the same patient's"));
    }
    if facts.state != BillState::Open || facts.order.is_some() {
        return Err(Refusal::new(Code::BillNotPayable, format!("bill {} is not open", facts.id)));
    }
    Ok(BilledFor {
        id: facts.id,
        bill_no: facts.bill_no,
        institution: facts.institution,
        merchant,
        amount: facts.amount,
        expires_at_us: facts.expires_at_us,
    })
}

/// A refund by its institution's number.
pub async fn by_no(
    ground: &Ground,
    tenant: TenantId,
    institution: &InstitutionCode,
    refund_no: &str,
) -> Result<Option<Refund>, Refusal> {
    let (institution, refund_no) = (institution.clone(), refund_no.to_owned());
    ground.read(move |store| store.refund_by_no(tenant, &institution, &refund_no)).await
}

async fn known(ground: &Ground, tenant: TenantId, refund: &Refund, ask: &RefundAsk) -> Result<RefundView, Refusal> {
    let order_id = refund.order;
    let order = ground.read(move |store| store.order(tenant, order_id)).await?;
    let same_bill = order.is_some_and(|order| order.bill.bill_no == ask.bill_no);
    let same_amount = ask.amount_fen.is_none_or(|amount| amount == refund.amount);
    let same_rest = refund.replaced_by.as_ref().map(|remains| remains.bill_no.as_str()) == ask.replaced_by.as_deref();
    if same_bill && same_amount && same_rest && refund.reason == ask.reason {
        return Ok(view(refund));
    }
    Err(Refusal::new(Code::RefundChanged, format!("refund {} has other content", refund.id)))
}

/// Who has it now, for the institution's people.
const fn awaits(owner: Owner) -> &'static str {
    match owner {
        Owner::Bureau => "【医保经办处理中 / with the bureau's operators】",
        Owner::Institution => "【医院处理中 / with the institution】",
        Owner::Finance => "【财务处理中 / with finance】",
    }
}

/// A refund as its institution may see it.
pub fn view(refund: &Refund) -> RefundView {
    RefundView {
        refund_no: refund.refund_no.clone().unwrap_or_default(),
        order_id: refund.order,
        replaced_by_order: refund.replacement(),
        state: match &refund.state {
            RefundState::AskingUndo { .. } => "undoing_insurance".into(),
            state => state.word().into(),
        },
        amount_fen: refund.amount,
        reason: match &refund.state {
            RefundState::Refused { words } => Some(format!(
                "{words}；款项未动，请凭单据到医保经办窗口办理 / nothing moved: go to the bureau's window"
            )),
            RefundState::Suspended { words, owner, .. } => Some(format!("{words}{}", awaits(*owner))),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parties::answer::Refused;

    #[test]
    fn a_wallet_that_is_busy_has_not_refused() {
        let no = |busy| Answer::Refused(Refused { code: "X".into(), words: "余额不足".into(), busy });
        assert_eq!(moved(no(true)), RefundEvent::CashUnknown);
        assert_eq!(moved(no(false)), RefundEvent::CashRefused { words: "余额不足".into() });
    }
}
