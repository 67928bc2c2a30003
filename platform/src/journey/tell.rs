//! Telling the institution that a bill is paid, and its undo: telling that it is undone.

use schema::his::{Guidance, PaymentState};
use schema::ids::MessageId;
use schema::link::{BureauReply, QueryPayment, Reply, SettledTold, ToInstitution, UndoneTold};
use schema::money::Fen;
use schema::refusal::{Code, Refusal};

use super::Ground;
use super::bills::Hush;
use super::desk::What;
use super::job::Job;
use super::settle::REPLY;
use crate::domain::action::Action;
use crate::domain::order::{Event, Insurance, Legs, State};
use crate::parties::answer::Answer;

/// Tells that it is paid, with the bureau's whole reply. Only the HIS's own refusal undoes a payment; any other
/// failure is silence, and silence is asked about.
pub async fn tell(job: &Job<'_>, message: MessageId) -> Result<What, Refusal> {
    let Some(legs) = legs(&job.order.state) else { return Ok(What::ActionDone) };
    let (split, setl_id, bureau_reply) = match &legs.insurance {
        Insurance::CashOnly => (schema::split::Split::all_cash(job.order.bill.amount), None, None),
        Insurance::Settled(settled) => {
            (settled.split, Some(settled.setl_id.clone()), Some(bureau_reply(job, &settled.setl_id).await?))
        }
    };
    let told = ToInstitution::Settled(Box::new(SettledTold {
        order_id: job.order.id,
        bill_no: job.order.bill.bill_no.clone(),
        split,
        setl_id,
        bureau_reply,
        out_trade_no: legs.cash.as_ref().map(|cash| cash.out_trade_no.clone()),
        transaction_id: legs.cash.as_ref().map(|cash| cash.transaction_id.clone()),
        paid_at_us: job.order.entered_at_us,
    }));
    Ok(job.event(match ask_link(job, message, told).await {
        Answer::Done(Reply::Booked(guidance)) => booked(job, guidance).await?,
        Answer::Refused(refused) if refused.code == Code::HospitalRefused.as_str() => {
            let hush = Hush::of(job.ground, job.tenant, job.order.bill.id).await?;
            Event::TellRejected { words: hush.sentence(&refused.words) }
        }
        Answer::Done(_) | Answer::Refused(_) | Answer::Unknown(_) => Event::TellUnknown,
    }))
}

/// Asks a silent institution whether it has booked.
pub async fn ask(job: &Job<'_>, message: MessageId) -> Result<What, Refusal> {
    let question =
        ToInstitution::QueryPayment(QueryPayment { order_id: job.order.id, bill_no: job.order.bill.bill_no.clone() });
    Ok(job.event(match ask_link(job, message, question).await {
        Answer::Done(Reply::PaymentState(PaymentState::Booked { guidance })) => booked(job, guidance).await?,
        Answer::Done(Reply::PaymentState(PaymentState::NotBooked)) => Event::TellNotBooked,
        Answer::Done(_) | Answer::Refused(_) | Answer::Unknown(_) => Event::TellUnknown,
    }))
}

async fn booked(job: &Job<'_>, guidance: Guidance) -> Result<Event, Refusal> {
    let hush = Hush::of(job.ground, job.tenant, job.order.bill.id).await?;
    Ok(Event::TellBooked { guidance: hush.guidance(guidance) })
}

/// An institution that will not book an undo is asked again this often: a person has to speak with it, and the repeats
/// keep the error in sight.
const UNDONE_REFUSED_AGAIN_US: i64 = 3_600_000_000;

/// Tells what was undone; repeated until acknowledged. A refusal is kept by the institution's adapter under the message,
/// so whoever is to look at it again is told in another one.
pub async fn undone(
    job: &Job<'_>,
    message: MessageId,
    undo_setl_id: Option<&str>,
    (cash, carried): (Fen, Fen),
    whole: bool,
) -> What {
    let undo_setl_id = undo_setl_id.map(str::to_owned);
    let told = ToInstitution::Undone(UndoneTold {
        order_id: job.order.id,
        bill_no: job.order.bill.bill_no.clone(),
        undo_setl_id: undo_setl_id.clone(),
        cash_refunded_fen: cash,
        cash_carried_fen: carried,
        whole,
    });
    match ask_link(job, message, told).await {
        Answer::Done(Reply::Done) => What::ActionDone,
        // Counted with every call: tongfu_party_calls_total{party="institution",call="undone",result="refused"}.
        Answer::Refused(refused) if refused.code == Code::HospitalRefused.as_str() => {
            let (order, institution) = (job.order.id, &job.order.bill.institution);
            tracing::error!(%order, %institution, "the institution refuses to book that a payment is undone");
            let message = MessageId::from_uuid(job.ground.clock.fresh());
            let action = Action::TellUndone { message, undo_setl_id, cash, carried, whole };
            What::Instead(order, Box::new(action), job.ground.clock.now_us() + UNDONE_REFUSED_AGAIN_US)
        }
        Answer::Done(_) | Answer::Refused(_) | Answer::Unknown(_) => job.again(),
    }
}

async fn ask_link(job: &Job<'_>, message: MessageId, ask: ToInstitution) -> Answer<Reply> {
    let address = Ground::address(job.tenant.id, &job.order.bill.institution);
    let timeout = job.ground.link_timeout();
    job.ground.links.ask(&address, message, job.row.trace_id.clone(), ask, timeout).await
}

fn legs(state: &State) -> Option<&Legs> {
    match state {
        State::Paid { legs, .. } => Some(legs),
        State::Suspended { from, .. } => legs(from),
        _ => None,
    }
}

async fn bureau_reply(job: &Job<'_>, setl_id: &str) -> Result<BureauReply, Refusal> {
    let sealed = job.ground.bureau_reply(job.tenant.id, setl_id).await?;
    let damaged = |why: String| Refusal::new(Code::Internal, format!("the bureau's reply does not read back: {why}"));
    let sealed = sealed.ok_or_else(|| damaged("it is missing".into()))?;
    let plain = job.tenant.vault.open(REPLY, &sealed).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&plain).map_err(|error| damaged(error.to_string()))
}
