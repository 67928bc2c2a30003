//! Taking the HIS's answer to a work item: it must fit the question, and it is durable before it is sent.
//!
//! A refusal is an answer like any other, and final. Only one that speaks of the moment (busy, an error of the HIS's own)
//! is no answer: kept, it would come back to the platform for ever, and an order that is paid could never be booked.

use std::sync::Arc;
use std::time::Duration;

use schema::bill::BillDraft;
use schema::ids::MessageId;
use schema::link::{Body, PreSettle, PriceAnswer, Reply, ToInstitution, ToPlatform};
use schema::refusal::{Code, Fault, Refusal};

use crate::asks::{fits_frame, is_passing};
use crate::core::{Core, unbroken};
use crate::journal::{Answer, Answered, AskKind};
use crate::settings::ms;

/// An HIS that names a longer wait is asked again after this one all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What became of an answer.
pub(crate) enum Given {
    /// It is durable; or there was one before, which is this one.
    Kept(Answer),
    /// "Not now" is no answer: the item is offered again after this long.
    PutBack(Duration),
}

/// Stores the answer and sends it. The first answer counts: a later one is acknowledged with the first.
pub(crate) async fn give(core: &Arc<Core>, id: MessageId, reply: Reply) -> Result<Given, Refusal> {
    if is_passing(&reply) {
        return put_back(core, id, &reply).await;
    }
    if let Some(item) = core.work.item(id) {
        let faults = faults(core, &item.work, &reply).await?;
        if !faults.is_empty() {
            return Err(Refusal::faulty(Code::Invalid, faults));
        }
    }
    let payload = serde_json::to_string(&Body::Reply { reply })
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    fits_frame(&payload)?;
    let core = Arc::clone(core);
    unbroken(async move { store(&core, id, &payload).await }).await?.map(Given::Kept)
}

async fn put_back(core: &Core, id: MessageId, reply: &Reply) -> Result<Given, Refusal> {
    let Some(item) = core.work.item(id) else {
        let before = core.journal.answered(id).await?;
        return before.map(Given::Kept).ok_or_else(|| Refusal::new(Code::NotFound, "no such work item"));
    };
    let named = match reply {
        Reply::Refused(problem) => problem.retry_after_s.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT)),
        _ => None,
    };
    let wait = named.unwrap_or_else(|| ms(core.settings.work.again_ms));
    core.work.hold(id, wait);
    tracing::info!(trace_id = item.trace_id, message_id = %id, "the HIS cannot answer now: the work is offered again");
    Ok(Given::PutBack(wait))
}

async fn store(core: &Core, id: MessageId, payload: &str) -> Result<Answer, Refusal> {
    let answered = core.journal.answer(id, payload).await?;
    core.work.remove(id);
    match answered {
        Answered::First(answer) => {
            tracing::info!(trace_id = answer.trace_id, message_id = %id, "work answered");
            core.outbox.answer(answer.clone());
            Ok(answer)
        }
        Answered::Before(answer) => Ok(answer),
        Answered::Unknown => Err(Refusal::new(Code::NotFound, "no such work item")),
    }
}

async fn faults(core: &Core, work: &ToInstitution, reply: &Reply) -> Result<Vec<Fault>, Refusal> {
    let fits = match (work, reply) {
        (_, Reply::Refused(_)) => true,
        (ToInstitution::PreSettle(ask), Reply::Priced(price)) => return price_faults(core, ask, price).await,
        (ToInstitution::Release(_) | ToInstitution::Undone(_), Reply::Done)
        | (ToInstitution::Settled(_), Reply::Booked(_))
        | (ToInstitution::QueryPayment(_), Reply::PaymentState(_)) => true,
        _ => false,
    };
    if fits {
        return Ok(Vec::new());
    }
    let wanted = match work {
        ToInstitution::PreSettle(_) => "priced",
        ToInstitution::Release(_) | ToInstitution::Undone(_) => "done",
        ToInstitution::Settled(_) => "booked",
        ToInstitution::QueryPayment(_) => "payment_state",
    };
    Ok(vec![Fault::new(
        "reply.reply",
        format!("与问题不符，应为 {wanted} 或 refused"),
        format!("does not fit the question; it must be {wanted} or refused"),
    )])
}

/// A split sums to its bill where it is made: here, before the platform reads it.
async fn price_faults(core: &Core, ask: &PreSettle, price: &PriceAnswer) -> Result<Vec<Fault>, Refusal> {
    let mut faults = Vec::new();
    if let Some(bill) = known_bill(core, &ask.bill_no).await?
        && !price.split.sums_to(bill.amount_fen)
    {
        faults.push(Fault::new(
            "reply.split",
            "各项分担不得为负且合计须等于账单金额",
            "has a negative share or does not sum to the bill",
        ));
    }
    match (&price.insurance, ask.insured) {
        (None, true) => faults.push(Fault::new(
            "reply.insurance",
            "医保结算要素缺失",
            "is missing: an insured bill needs what 2207 will need",
        )),
        (Some(_), false) => {
            faults.push(Fault::new("reply.insurance", "自费账单不得含医保结算要素", "must be absent for a cash bill"));
        }
        _ => {}
    }
    Ok(faults)
}

/// The bill as this adapter took it; none if it came another way or has been forgotten.
async fn known_bill(core: &Core, bill_no: &str) -> Result<Option<Box<BillDraft>>, Refusal> {
    let Some(known) = core.journal.latest_ask(AskKind::Bill, bill_no).await? else { return Ok(None) };
    match serde_json::from_str(&known.payload) {
        Ok(Body::ToPlatform { ask: ToPlatform::Bill(draft) }) => Ok(Some(draft)),
        _ => Ok(None),
    }
}
