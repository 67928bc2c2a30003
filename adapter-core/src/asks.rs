//! Asking the platform something and waiting for its answer, at most so long.

use std::sync::Arc;

use schema::bill::BillDraft;
use schema::his;
use schema::ids::MessageId;
use schema::link::{Body, MOST_FRAME_BYTES, Reply, ToPlatform};
use schema::refusal::{Again, Code, Refusal};
use tokio::sync::oneshot;

use crate::core::{Core, unbroken};
use crate::journal::{AskKind, Asked, JournalFault, NewAsk};
use crate::outbox::{About, Outgoing};
use crate::settings::ms;

/// What a bill that was posted has become.
pub(crate) enum BillTaken {
    /// Durable here and on its way.
    Accepted,
    /// The platform has refused it; the HIS hears so when it posts it again.
    Refused(Box<schema::refusal::Problem>),
}

/// Everything a caller must do when a change got no answer in time, in both languages.
const TREAT_AS_IN_PROGRESS: &str = "未得到平台答复，请求已保存并会继续送达：请按“支付中”处理，勿在窗口收费，稍后以同样内容重试 / \
     no answer of the platform yet; the request is kept and will be delivered: treat the bill as in progress, do not \
     charge it, repeat the same request shortly";

/// What to do about a bill that comes again after it was taken back, in both languages.
const TAKEN_BACK: &str = "账单已撤回，重新收费请使用新的账单号 / it was taken back: charge under a new number";

impl From<JournalFault> for Refusal {
    fn from(fault: JournalFault) -> Refusal {
        Refusal::new(Code::Internal, fault.to_string()).in_words("适配器本地存储失败 / the adapter's disk failed")
    }
}

/// Takes a bill: durable when this returns. One that the platform has refused is not dead under its number: it is asked
/// anew, and may have other content then.
pub(crate) async fn bill(core: &Arc<Core>, draft: Box<BillDraft>, trace_id: &str) -> Result<BillTaken, Refusal> {
    let subject = draft.bill_no.clone();
    let question = Question::new(core, AskKind::Bill, &subject, &ToPlatform::Bill(draft), trace_id)?;
    let reply = match unbroken(question.pose_bill()).await?? {
        PosedBill::Sent => return Ok(BillTaken::Accepted),
        PosedBill::Answered(reply) => Some(reply),
        PosedBill::Waiting(reply) => wait(core, reply).await,
    };
    match reply.as_deref() {
        Some(Reply::Refused(problem)) => Ok(BillTaken::Refused(Box::new(problem.clone()))),
        // Without an answer in time it is durable and on its way, like any other bill.
        _ => Ok(BillTaken::Accepted),
    }
}

/// Asks for a change and waits. The ask is durable before anything else happens and is delivered whether or not
/// somebody still waits; the same ask again joins it, or gets the answer that came meanwhile.
pub(crate) async fn change(
    core: &Arc<Core>,
    kind: AskKind,
    subject: &str,
    ask: &ToPlatform,
    trace_id: &str,
) -> Result<Arc<Reply>, Refusal> {
    let question = Question::new(core, kind, subject, ask, trace_id)?;
    match unbroken(question.pose()).await?? {
        Posed::Answered(reply) => Ok(reply),
        Posed::Waiting(reply) => wait(core, reply).await.ok_or_else(|| {
            Refusal::new(Code::OutcomeUnknown, "no reply in time").in_words(TREAT_AS_IN_PROGRESS).after_s(2)
        }),
    }
}

/// A change that is to be asked for.
struct Question {
    core: Arc<Core>,
    kind: AskKind,
    subject: String,
    about: About,
    payload: Arc<str>,
    trace_id: String,
}

/// What became of a question.
enum Posed {
    /// The journal knows the answer.
    Answered(Arc<Reply>),
    /// It is on its way.
    Waiting(oneshot::Receiver<Arc<Reply>>),
}

/// What became of a bill.
enum PosedBill {
    /// It is on its way, and nobody waits for its answer.
    Sent,
    /// The journal knows the answer.
    Answered(Arc<Reply>),
    /// It was refused before and is asked anew: whoever posts it wants to hear whether it is taken now.
    Waiting(oneshot::Receiver<Arc<Reply>>),
}

impl Question {
    fn new(
        core: &Arc<Core>,
        kind: AskKind,
        subject: &str,
        ask: &ToPlatform,
        trace_id: &str,
    ) -> Result<Question, Refusal> {
        Ok(Question {
            core: Arc::clone(core),
            kind,
            subject: subject.to_owned(),
            about: about(ask),
            payload: payload(ask)?,
            trace_id: trace_id.to_owned(),
        })
    }

    async fn store(&self, id: MessageId, after: Option<MessageId>) -> Result<Asked, Refusal> {
        let new = NewAsk {
            id,
            kind: self.kind,
            subject: self.subject.clone(),
            payload: Arc::clone(&self.payload),
            trace_id: self.trace_id.clone(),
            after,
        };
        Ok(self.core.journal.ask(&new).await?)
    }

    fn outgoing(&self, id: MessageId) -> Outgoing {
        Outgoing {
            id,
            about: self.about.clone(),
            trace_id: self.trace_id.clone(),
            payload: Some(Arc::clone(&self.payload)),
            durable: true,
        }
    }

    /// Stores the question and sends it, or finds it.
    async fn pose(self) -> Result<Posed, Refusal> {
        let outbox = &self.core.outbox;
        let mut after = None;
        let mut looked_again = false;
        loop {
            match self.store(self.core.clock.message_id(), after).await? {
                Asked::Stored(id) => return Ok(Posed::Waiting(outbox.add_and_wait(self.outgoing(id)))),
                Asked::Already { id, reply: None } => match outbox.join(id) {
                    Some(reply) => return Ok(Posed::Waiting(reply)),
                    // Its reply came between the two looks, at the journal and at the outbox: look again.
                    None if !looked_again => looked_again = true,
                    // Whoever stored it has not sent it, or was told that its commit failed.
                    None => return Ok(Posed::Waiting(outbox.add_and_wait(self.outgoing(id)))),
                },
                Asked::Already { id, reply: Some(text) } => {
                    let reply = read_reply(&text)?;
                    if (outbox.take_missed(id) && !is_passing(&reply)) || is_final(&reply) {
                        return Ok(Posed::Answered(Arc::new(reply)));
                    }
                    after = Some(id);
                }
                Asked::Changed { id, reply } if was_refused(reply.as_deref())? => after = Some(id),
                Asked::Changed { .. } => {
                    return Err(Refusal::new(Code::RefundChanged, "a refund number was used with other content"));
                }
            }
        }
    }

    /// Whether the window has this bill, or the HIS withdrew it: it may be paid there by now.
    async fn was_taken_back(&self) -> Result<bool, Refusal> {
        for kind in [AskKind::Claim, AskKind::Withdraw] {
            let reply = self.core.journal.latest_ask(kind, &self.subject).await?.and_then(|ask| ask.reply);
            if reply.map(|text| read_reply(&text)).transpose()?.is_some_and(|reply| is_final(&reply)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stores the bill and sends it, or finds it.
    async fn pose_bill(self) -> Result<PosedBill, Refusal> {
        let outbox = &self.core.outbox;
        let mut after = None;
        let mut same = false;
        loop {
            match self.store(self.core.clock.message_id(), after).await? {
                Asked::Stored(id) if same => return Ok(PosedBill::Waiting(outbox.add_and_wait(self.outgoing(id)))),
                Asked::Stored(id) | Asked::Already { id, reply: None } => {
                    outbox.add(self.outgoing(id));
                    return Ok(PosedBill::Sent);
                }
                Asked::Already { id, reply: Some(text) } => {
                    let reply = read_reply(&text)?;
                    let refused = matches!(reply, Reply::Refused(_));
                    if !refused && self.was_taken_back().await? {
                        return Err(Refusal::new(Code::BillNotPayable, "the bill was taken back").in_words(TAKEN_BACK));
                    }
                    // A refusal that nobody has heard yet is heard before the bill is asked anew.
                    if !refused || outbox.take_missed(id) {
                        return Ok(PosedBill::Answered(Arc::new(reply)));
                    }
                    (after, same) = (Some(id), true);
                }
                Asked::Changed { id, reply } if was_refused(reply.as_deref())? => (after, same) = (Some(id), false),
                Asked::Changed { .. } => {
                    return Err(Refusal::new(Code::BillChanged, "a bill number was posted with other content"));
                }
            }
        }
    }
}

/// Asks something that changes nothing, or that must not be stored, and waits. Given up when no answer came.
pub(crate) async fn passing(core: &Core, ask: &ToPlatform, trace_id: &str) -> Result<Arc<Reply>, Refusal> {
    let id = core.clock.message_id();
    let reply = core.outbox.add_and_wait(Outgoing {
        id,
        about: about(ask),
        trace_id: trace_id.to_owned(),
        payload: Some(payload(ask)?),
        durable: false,
    });
    let given_up = GiveUp { core, id };
    let reply = wait(core, reply).await;
    drop(given_up);
    reply.ok_or_else(|| {
        let detail = core.link.borrow().fault.clone().unwrap_or_else(|| "no reply in time".to_owned());
        Refusal::new(Code::PlatformUnreachable, detail).after_s(5)
    })
}

/// Takes an ask that lives in memory out of the outbox, also when its caller hung up.
struct GiveUp<'a> {
    core: &'a Core,
    id: MessageId,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.core.outbox.give_up(self.id);
    }
}

async fn wait(core: &Core, reply: oneshot::Receiver<Arc<Reply>>) -> Option<Arc<Reply>> {
    tokio::time::timeout(ms(core.settings.link.answer_wait_ms), reply).await.ok()?.ok()
}

/// Whether asking again could not bring another answer. A bill that was released stays released; everything else
/// may have moved on, so it is asked anew.
fn is_final(reply: &Reply) -> bool {
    matches!(reply, Reply::Claimed(his::ClaimAnswer::Released))
}

/// Whether a refusal says nothing about the question, only about the moment.
pub(crate) fn is_passing(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused(problem)
        if problem.again == Again::Later || matches!(problem.code, Code::Internal | Code::OutcomeUnknown))
}

/// Whether a stored reply is a refusal: then nothing came of the ask, and its number names no content.
fn was_refused(reply: Option<&str>) -> Result<bool, Refusal> {
    Ok(matches!(reply.map(read_reply).transpose()?, Some(Reply::Refused(_))))
}

fn about(ask: &ToPlatform) -> About {
    match ask {
        ToPlatform::Bill(draft) => About::NewBill(draft.bill_no.clone()),
        ToPlatform::Withdraw(named) | ToPlatform::Claim(named) | ToPlatform::OrderQuery(named) => {
            About::OfBill(named.bill_no.clone())
        }
        ToPlatform::Refund(_) | ToPlatform::DayList(_) | ToPlatform::BindVisitCard(_) => About::Alone,
    }
}

/// The ask as JSON text, refused if it could not pass the link.
fn payload(ask: &ToPlatform) -> Result<Arc<str>, Refusal> {
    let text = serde_json::to_string(&Body::ToPlatform { ask: ask.clone() })
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    fits_frame(&text)?;
    Ok(text.into())
}

/// Refuses a payload that would make a frame larger than the link takes.
pub(crate) fn fits_frame(payload: &str) -> Result<(), Refusal> {
    // Ids, trace, signature and field names take less than this.
    const AROUND: usize = 512;
    // Inside a frame the payload is a JSON string: quotes and backslashes double.
    let escaped = payload.len() + payload.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    if escaped + AROUND > MOST_FRAME_BYTES {
        return Err(Refusal::new(Code::TooLarge, format!("{escaped} bytes do not fit a frame")));
    }
    Ok(())
}

/// Reads a reply back from the journal.
pub(crate) fn read_reply(text: &str) -> Result<Reply, Refusal> {
    match serde_json::from_str(text) {
        Ok(Body::Reply { reply }) => Ok(reply),
        _ => Err(Refusal::new(Code::Internal, "a stored reply cannot be read back")),
    }
}
