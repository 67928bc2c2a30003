//! The insurance leg: 2207, and its undos 2208 (outcome known) and 2601 (outcome unknown), with the questions between.

use schema::ids::RefundId;
use schema::link::SettleInputs;
use schema::refusal::{Code, Refusal};

use super::bills::Hush;
use super::desk::What;
use super::job::Job;
use super::price::SETTLE_INPUTS;
use crate::domain::order::{Event, Undone};
use crate::domain::refund::RefundEvent;
use crate::domain::settlement::Settlement;
use crate::parties::answer::{Answer, Refused};
use crate::parties::bureau::{OnBehalf, Settled, SettlementState, UndoneAt};

/// The purpose under which the bureau's whole reply is sealed.
pub const REPLY: &str = "bureau_reply";

/// 2207 under `msgid`, which was saved with the decision to send it, before anything was sent: a lost 2207 can be
/// named. A no settled nothing; no answer is SettleUnknown, and is reversed and asked about, never sent again.
pub async fn settle(job: &Job<'_>, msgid: &str) -> Result<What, Refusal> {
    let (on_behalf, inputs) = inputs(job).await?;
    Ok(job.event(match job.tenant.bureau.settle(&on_behalf, msgid, &inputs).await {
        Answer::Done(settled) => Event::SettleDone(Box::new(sealed(job, settled)?)),
        Answer::Refused(no) => Event::SettleRefused { words: hushed(job, &no).await?, busy: no.busy },
        Answer::Unknown(_) => Event::SettleUnknown,
    }))
}

/// 2601 of a 2207 whose outcome is unknown: `omsgid` is that 2207's message, `msgid` this 2601's own, saved before.
/// Anything but "done" is ReverseUnknown, and 2601 is sent again.
pub async fn reverse(job: &Job<'_>, omsgid: &str, msgid: &str) -> Result<What, Refusal> {
    let (on_behalf, inputs) = inputs(job).await?;
    Ok(job.event(match job.tenant.bureau.reverse(&on_behalf, msgid, omsgid, &inputs).await {
        Answer::Done(()) => Event::ReverseDone,
        // Builds that answer "nothing found" as an error are a dialect's own codes, and Done here; any other no is
        // no answer to the reversal.
        Answer::Refused(_) | Answer::Unknown(_) => Event::ReverseUnknown,
    }))
}

/// Did the lost 2207 leave a settlement?
pub async fn ask(job: &Job<'_>, omsgid: &str) -> Result<What, Refusal> {
    let (on_behalf, inputs) = inputs(job).await?;
    Ok(job.event(match job.tenant.bureau.ask_by_visit(&on_behalf, omsgid, &inputs).await {
        Answer::Done(SettlementState::Nothing | SettlementState::Undone(_)) => Event::SettleNotFound,
        Answer::Done(SettlementState::Live(settled)) => Event::SettleFound(Box::new(sealed(job, *settled)?)),
        Answer::Refused(_) | Answer::Unknown(_) => Event::AskSettleUnknown,
    }))
}

/// 2208 of the settlement `setl_id` (结算ID), for the order itself or for a refund; `msgid` is this 2208's own, saved
/// before. A no undid nothing; no answer is UndoUnknown, and 5203 is asked before another 2208.
pub async fn undo(job: &Job<'_>, msgid: &str, setl_id: &str, refund: Option<RefundId>) -> Result<What, Refusal> {
    let (on_behalf, inputs) = inputs(job).await?;
    let answer = job.tenant.bureau.undo(&on_behalf, msgid, setl_id, &inputs).await;
    let answer = answer.map(|at| Undone { msgid: Some(msgid.to_owned()), ..undone(at) });
    Ok(match (answer, refund) {
        (Answer::Done(undone), None) => job.event(Event::UndoDone(undone)),
        (Answer::Refused(no), None) => job.event(Event::UndoRefused { words: hushed(job, &no).await?, busy: no.busy }),
        (Answer::Unknown(_), None) => job.event(Event::UndoUnknown),
        (Answer::Done(undone), Some(id)) => What::Refund(job.order.id, id, RefundEvent::UndoDone(undone)),
        (Answer::Refused(no), Some(id)) => {
            let words = hushed(job, &no).await?;
            What::Refund(job.order.id, id, RefundEvent::UndoRefused { words, busy: no.busy })
        }
        (Answer::Unknown(_), Some(id)) => What::Refund(job.order.id, id, RefundEvent::UndoUnknown),
    })
}

/// Is this settlement undone? A bureau that does not know a settlement it once named has not answered.
pub async fn ask_undo(job: &Job<'_>, setl_id: &str, refund: Option<RefundId>) -> Result<What, Refusal> {
    let (on_behalf, inputs) = inputs(job).await?;
    let state = match job.tenant.bureau.ask_by_setl_id(&on_behalf, setl_id, &inputs).await {
        Answer::Done(state) => Some(state),
        Answer::Refused(_) | Answer::Unknown(_) => None,
    };
    Ok(match (state, refund) {
        (Some(SettlementState::Undone(at)), None) => job.event(Event::UndoFound(undone(at))),
        (Some(SettlementState::Live(_)), None) => job.event(Event::UndoStands),
        (Some(SettlementState::Nothing) | None, None) => job.event(Event::AskUndoUnknown),
        (Some(SettlementState::Undone(at)), Some(id)) => {
            What::Refund(job.order.id, id, RefundEvent::UndoDone(undone(at)))
        }
        (Some(SettlementState::Live(_)), Some(id)) => What::Refund(job.order.id, id, RefundEvent::UndoStands),
        (Some(SettlementState::Nothing) | None, Some(id)) => What::Refund(job.order.id, id, RefundEvent::UndoUnknown),
    })
}

/// The bureau's sentence with nobody in it: what was sent there names its person by numbers only, but the bureau knows
/// the name.
async fn hushed(job: &Job<'_>, no: &Refused) -> Result<String, Refusal> {
    let hush = Hush::of(job.ground, job.tenant, job.order.bill.id).await?;
    Ok(hush.sentence(&no.words))
}

fn undone(at: UndoneAt) -> Undone {
    let UndoneAt { undo_setl_id, setl_time_us, msgid, inf_refmsgid } = at;
    Undone { undo_setl_id, setl_time_us, msgid, inf_refmsgid }
}

async fn inputs(job: &Job<'_>) -> Result<(OnBehalf, SettleInputs), Refusal> {
    let code = &job.order.bill.institution;
    let names = job.ground.names_of(job.tenant.id, code).await?;
    let sealed = job.order.price.as_ref().and_then(|price| price.inputs.as_ref());
    let sealed = sealed.ok_or_else(|| Refusal::new(Code::Internal, "an insurance leg without 2207's inputs"))?;
    let damaged = |what: String| Refusal::new(Code::Internal, format!("2207's inputs do not read back: {what}"));
    let plain = job.tenant.vault.open(SETTLE_INPUTS, &sealed.sealed).map_err(|error| damaged(error.to_string()))?;
    let inputs = serde_json::from_slice(&plain).map_err(|error| damaged(error.to_string()))?;
    let on_behalf = OnBehalf { code: code.to_string(), name: names.name.clone(), area: names.area.clone() };
    Ok((on_behalf, inputs))
}

fn sealed(job: &Job<'_>, settled: Settled) -> Result<Settlement, Refusal> {
    let plain = serde_json::to_vec(&settled.output)
        .map_err(|error| Refusal::new(Code::Internal, format!("the bureau's reply cannot be kept: {error}")))?;
    let reply = job.tenant.vault.seal(job.ground.clock.nonce(), REPLY, &plain);
    Ok(Settlement { reply, ..settled.settlement })
}
