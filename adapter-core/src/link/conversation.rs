//! The conversation on one open connection, until it ends.

use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use schema::ids::MessageId;
use schema::link::{Body, Frame, MOST_FRAME_BYTES, Payload, Reply};
use schema::refusal::{Code, Fault, Refusal};
use schema::sign::{Algorithm, PublicKey};
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

use super::LinkState;
use super::dial::{Opened, Socket};
use crate::asks::is_passing;
use crate::core::{Core, unbroken};
use crate::journal::{NewWork, Received};
use crate::settings::ms;

/// Messages of the platform that are being written to the journal at once; beyond that we stop reading.
const MOST_AT_ONCE: usize = 256;
/// Missed heartbeats after which the link is dead.
const MISSED: u32 = 3;
/// Wait before an ask that the platform could not take is sent again, if it did not say.
const REST: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the platform closed it: {0}")]
    Closed(String),
    #[error("nothing was heard for {MISSED} heartbeats")]
    Silent,
    #[error("{0}")]
    Socket(#[from] tokio_tungstenite::tungstenite::Error),
    #[error("the adapter is stopping")]
    Stopping,
}

/// Speaks and listens until the connection ends.
pub(super) async fn run(core: &Arc<Core>, opened: Opened) {
    let platform = opened.platform_key;
    tracing::info!(institution_name = opened.institution_name, "the link is up");
    core.outbox.reconnected();
    core.link.send_replace(LinkState { up: true, fault: None });
    core.metrics.connections.inc();
    let (sink, source) = opened.socket.split();
    let mut conversation = Conversation { core, platform, sink, source, heartbeat: opened.heartbeat };
    let ended = match conversation.speak().await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    let sentence = format!("链路中断 / the link was lost: {ended}");
    core.link.send_replace(LinkState { up: false, fault: Some(sentence) });
    tracing::warn!(detail = %ended, "the link is down");
    // A polite end where the socket still lives; nothing depends on it.
    let _ = tokio::time::timeout(Duration::from_secs(1), conversation.sink.close()).await;
}

struct Conversation<'a> {
    core: &'a Arc<Core>,
    platform: PublicKey,
    sink: SplitSink<Socket, Message>,
    source: SplitStream<Socket>,
    heartbeat: Duration,
}

impl Conversation<'_> {
    async fn speak(&mut self) -> Result<std::convert::Infallible, Ended> {
        let resend = ms(self.core.settings.link.resend_ms);
        let mut handling = FuturesUnordered::new();
        let mut heard = Instant::now();
        let mut next_ping = heard + self.heartbeat;
        loop {
            self.say_what_is_due(resend).await?;
            let resend_at = self.core.outbox.next_due().unwrap_or(next_ping).min(next_ping);
            tokio::select! {
                message = self.source.next(), if handling.len() < MOST_AT_ONCE => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => handling.push(self.hear(text.to_string())),
                        Some(Ok(Message::Close(reason))) => {
                            return Err(Ended::Closed(reason.map(|it| it.to_string()).unwrap_or_default()));
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(error.into()),
                        None => return Err(Ended::Closed(String::new())),
                    }
                }
                Some(answer) = handling.next(), if !handling.is_empty() => {
                    if let Some(text) = answer {
                        self.feed(text).await?;
                    }
                }
                () = self.core.outbox.changed() => {}
                () = tokio::time::sleep_until(resend_at) => {
                    let now = Instant::now();
                    if now >= next_ping {
                        if now.duration_since(heard) >= self.heartbeat * MISSED {
                            return Err(Ended::Silent);
                        }
                        next_ping = now + self.heartbeat;
                        self.feed_message(Message::Ping(Vec::new().into())).await?;
                        self.flush().await?;
                    }
                }
                () = self.core.stopped() => return Err(Ended::Stopping),
            }
        }
    }

    /// Sends answers and asks that are due, in one flush.
    async fn say_what_is_due(&mut self, resend: Duration) -> Result<(), Ended> {
        for answer in self.core.outbox.take_answers() {
            let text = self.frame(answer.id, Some(answer.re), answer.trace_id, &answer.payload);
            self.feed(text).await?;
        }
        for due in self.core.outbox.take_due(Instant::now(), resend) {
            let payload = match due.payload {
                Some(payload) => Some(payload.to_string()),
                None => self.core.journal.ask_payload(due.id).await.unwrap_or_else(|fault| {
                    tracing::error!(detail = %fault, "an ask cannot be read back");
                    None
                }),
            };
            let Some(payload) = payload else { continue };
            let text = self.frame(due.id, None, Some(due.trace_id), &payload);
            self.feed(text).await?;
        }
        self.flush().await
    }

    fn frame(&self, id: MessageId, re: Option<MessageId>, trace_id: Option<String>, payload: &str) -> String {
        signed_text(self.core, id, re, trace_id, payload)
    }

    async fn feed(&mut self, text: String) -> Result<(), Ended> {
        if text.len() > MOST_FRAME_BYTES {
            // The faces check sizes before anything is stored, so this is a fault of ours, not of a caller.
            tracing::error!(size_bytes = text.len(), "a message is too large for the link and is not sent");
            return Ok(());
        }
        self.core.metrics.frames_sent.inc();
        self.feed_message(Message::text(text)).await
    }

    async fn feed_message(&mut self, message: Message) -> Result<(), Ended> {
        match tokio::time::timeout(self.heartbeat * MISSED, self.sink.feed(message)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Ended::Silent),
        }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        match tokio::time::timeout(self.heartbeat * MISSED, self.sink.flush()).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Ended::Silent),
        }
    }

    /// Handles one message; what comes out is a refusal to be sent at once, if any.
    fn hear(&self, text: String) -> impl Future<Output = Option<String>> + use<> {
        let core = Arc::clone(self.core);
        core.metrics.frames_received.inc();
        let checked = check(&text, &self.platform);
        async move {
            match checked {
                Ok((frame, body)) => unbroken(async move { act(&core, frame, body).await }).await.unwrap_or_default(),
                Err(Unfit::Unreadable(detail)) => {
                    tracing::warn!(detail, "a message of the platform is no frame");
                    None
                }
                Err(Unfit::Refused(frame, refusal)) => refuse(&core, &frame, &refusal),
            }
        }
    }
}

enum Unfit {
    Unreadable(String),
    Refused(Box<Frame>, Box<Refusal>),
}

fn check(text: &str, platform: &PublicKey) -> Result<(Box<Frame>, Body), Unfit> {
    let frame: Box<Frame> = serde_json::from_str(text).map_err(|error| Unfit::Unreadable(place(&error)))?;
    if frame.verify(platform).is_err() {
        let refusal = Refusal::new(Code::SignatureWrong, "a frame is not signed by the platform's key");
        return Err(Unfit::Refused(frame, Box::new(refusal)));
    }
    match frame.body() {
        Ok(body) => Ok((frame, body)),
        Err(error) => {
            let refusal = Refusal::faulty(
                Code::Malformed,
                vec![Fault::new("payload", "消息内容无法识别", format!("is not understood: {}", place(&error)))],
            );
            Err(Unfit::Refused(frame, Box::new(refusal)))
        }
    }
}

/// Where a JSON error is, without what stands there.
fn place(error: &serde_json::Error) -> String {
    format!("line {} column {}", error.line(), error.column())
}

async fn act(core: &Arc<Core>, frame: Box<Frame>, body: Body) -> Option<String> {
    match body {
        Body::ToInstitution { ask } => {
            let work =
                NewWork { id: frame.id, payload: frame.payload.0.as_str().into(), trace_id: frame.trace_id.clone() };
            match core.journal.receive(&work).await {
                Ok(Received::New { seq, received_us }) => {
                    tracing::info!(trace_id = frame.trace_id, message_id = %frame.id, "work arrived");
                    core.offer(seq, frame.id, frame.trace_id, received_us, ask);
                    None
                }
                // Usually it is on offer; if its first commit was answered with a fault it is not yet.
                Ok(Received::Waiting { seq, received_us }) => {
                    core.offer(seq, frame.id, frame.trace_id, received_us, ask);
                    None
                }
                Ok(Received::Answered(answer)) => {
                    Some(signed_text(core, answer.id, Some(answer.re), answer.trace_id, &answer.payload))
                }
                // Not durable: say nothing, the platform asks again.
                Err(fault) => {
                    tracing::error!(detail = %fault, trace_id = frame.trace_id, "work could not be stored");
                    None
                }
            }
        }
        Body::Reply { reply } => {
            hear_reply(core, &frame, reply).await;
            None
        }
        Body::ToPlatform { .. } => {
            let refusal = Refusal::new(Code::Malformed, "an ask for a platform was sent to an institution");
            refuse(core, &frame, &refusal)
        }
    }
}

async fn hear_reply(core: &Arc<Core>, frame: &Frame, reply: Reply) {
    let Some(id) = frame.re else { return };
    let Some(durable) = core.outbox.is_durable(id) else { return };
    if let Reply::Refused(problem) = &reply {
        // The HIS was told that its bill is taken on; a platform that is busy does not change that.
        if is_passing(&reply) && core.outbox.is_bill(id) {
            core.outbox.rest(id, problem.retry_after_s.map_or(REST, Duration::from_secs));
            return;
        }
        tracing::info!(trace_id = frame.trace_id, message_id = %id, code = %problem.code, "the platform refused");
    }
    if durable && let Err(fault) = core.journal.replied(id, &frame.payload.0).await {
        // The ask stays open and is sent again; the platform repeats its reply.
        tracing::error!(detail = %fault, trace_id = frame.trace_id, "a reply could not be stored");
        return;
    }
    core.outbox.settle(id, &Arc::new(reply));
}

/// A refusal that is not journalled: the same question gets the same answer, because it depends on nothing else.
fn refuse(core: &Core, frame: &Frame, refusal: &Refusal) -> Option<String> {
    tracing::warn!(message_id = %frame.id, detail = %refusal, "a message of the platform was refused");
    if frame.re.is_some() {
        return None;
    }
    let body = Body::Reply { reply: Reply::Refused(refusal.problem(frame.trace_id.as_deref())) };
    let payload = serde_json::to_string(&body).ok()?;
    Some(signed_text(core, core.clock.message_id(), Some(frame.id), frame.trace_id.clone(), &payload))
}

/// Builds a frame around a payload that is already text, so that a repeat carries the same bytes.
fn signed_text(core: &Core, id: MessageId, re: Option<MessageId>, trace_id: Option<String>, payload: &str) -> String {
    let payload = Payload(payload.to_owned());
    let mut frame = Frame { id, re, trace_id, payload, alg: Algorithm::Ed25519, sig: String::new() };
    frame.sig = core.key.sign(&frame.signed_bytes());
    serde_json::to_string(&frame).expect("a frame is made of texts and ids, which always serialise")
}
