//! The conversation on one open link, until it ends. Reading, writing and answering each go on while another waits: a
//! slow adapter delays only itself.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use schema::ids::MessageId;
use schema::link::{Body, Frame, MOST_FRAME_BYTES, Reply, ToPlatform};
use schema::refusal::{Code, Refusal};
use schema::sign::PublicKey;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Instrument as _;

use super::asks::{self, Asker};
use super::opening::Adapter;
use crate::http::Shared;
use crate::http::answer::to_its_end;
use crate::http::trace;
use crate::journey::Ground;
use crate::metrics::{Act, Scheme};
use crate::parties::link::hub::Live;

/// Asks of one adapter at work at the same time; the others wait their turn.
const ASKS_AT_WORK: usize = 32;
/// Asks of one adapter that may wait; beyond that it is told to come back.
const ASKS_MAX: usize = 256;
/// Missed heartbeats after which the link is dead.
const MISSED: u64 = 3;
/// Words to the adapter that may wait for its socket.
const WORDS_MAX: usize = 64;
const COME_BACK_S: u64 = 1;

/// An open WebSocket.
pub(super) struct Socket {
    pub(super) session: Session,
    pub(super) messages: AggregatedMessageStream,
}

/// Something to send.
enum Word {
    Frame(Box<Frame>),
    Pong(Bytes),
}

/// Why a conversation ended.
enum Ended {
    /// The adapter closed, or its connection broke.
    Gone,
    /// Nothing was heard for three heartbeats, or nothing could be written for as long.
    Silent,
    /// Its key was replaced.
    Withdrawn,
    /// The server stops.
    Stopping,
    /// It broke the protocol; where its frame could be read, it is told so in a frame.
    Refused(Option<MessageId>, Refusal),
}

/// Speaks until the link ends. Dropping the adapter's `Live` takes it off the hub.
pub(super) async fn run(shared: &Arc<Shared>, adapter: Adapter, socket: Socket) {
    let Adapter { tenant, institution, live } = adapter;
    let key = live.key.clone();
    let asker = Asker { ground: Arc::clone(&shared.ground), tenant, institution };
    let silence = Duration::from_secs(shared.heartbeat_s.saturating_mul(MISSED));
    let (words, waiting) = mpsc::channel(WORDS_MAX);
    let Socket { mut session, mut messages } = socket;
    let mut writer = Box::pin(write(session.clone(), live, waiting, silence));
    let reader = Reader { shared, asker: &asker, key: &key, words, silence };
    let ended = tokio::select! {
        ended = &mut writer => ended,
        ended = reader.read(&mut messages) => ended,
    };
    let (why, close) = parting(&ended);
    tracing::info!(institution = %asker.institution, why, "an adapter is disconnected");
    if let Ended::Refused(Some(re), refusal) = &ended {
        let id = MessageId::from_uuid(shared.ground.clock.fresh());
        let reply = shared.hub().reply(id, *re, None, Reply::Refused(refusal.problem(None)));
        if let Some(text) = reply.ok().and_then(|frame| serde_json::to_string(&frame).ok()) {
            let _ = tokio::time::timeout(Duration::from_secs(1), session.text(text)).await;
        }
    }
    // A polite end where the socket still lives; nothing depends on it.
    let _ = tokio::time::timeout(Duration::from_secs(1), session.close(close)).await;
}

fn parting(ended: &Ended) -> (&'static str, Option<CloseReason>) {
    let reason = |code, text: &str| Some(CloseReason { code, description: Some(text.to_owned()) });
    match ended {
        Ended::Gone => ("gone", None),
        Ended::Silent => ("silent", reason(CloseCode::Policy, "no heartbeat")),
        Ended::Withdrawn => ("withdrawn", reason(CloseCode::Policy, Code::KeyUnknown.as_str())),
        Ended::Stopping => ("stopping", reason(CloseCode::Restart, "restart")),
        Ended::Refused(_, refusal) => (refusal.code.as_str(), reason(CloseCode::Policy, refusal.code.as_str())),
    }
}

/// Sends what the platform asks and answers. Ends when the hub has taken the link down, or the socket takes nothing.
async fn write(mut session: Session, mut live: Live, mut words: mpsc::Receiver<Word>, silence: Duration) -> Ended {
    loop {
        let word = tokio::select! {
            frame = live.frames.recv() => match frame {
                Some(frame) => Word::Frame(Box::new(frame)),
                None => return Ended::Withdrawn,
            },
            Some(word) = words.recv() => word,
        };
        let sending = async {
            match word {
                Word::Pong(bytes) => session.pong(&bytes).await,
                Word::Frame(frame) => match serde_json::to_string(&frame) {
                    Ok(text) => session.text(text).await,
                    Err(error) => {
                        tracing::error!(%error, "a frame cannot be written");
                        Ok(())
                    }
                },
            }
        };
        match tokio::time::timeout(silence, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ended::Gone,
            Err(_) => return Ended::Silent,
        }
    }
}

struct Reader<'a> {
    shared: &'a Arc<Shared>,
    asker: &'a Asker,
    key: &'a PublicKey,
    words: mpsc::Sender<Word>,
    silence: Duration,
}

impl Reader<'_> {
    async fn read(&self, messages: &mut AggregatedMessageStream) -> Ended {
        let at_work = Rc::new(Semaphore::new(ASKS_AT_WORK));
        let under_way: Rc<RefCell<HashSet<MessageId>>> = Rc::default();
        let mut answering = FuturesUnordered::new();
        let mut heard = Instant::now();
        let mut look = tokio::time::interval(self.silence / 3);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = std::pin::pin!(self.shared.stopped());
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                Some(()) = answering.next(), if !answering.is_empty() => continue,
                _ = look.tick() => {
                    if heard.elapsed() >= self.silence {
                        return Ended::Silent;
                    }
                    if self.withdrawn().await {
                        return Ended::Withdrawn;
                    }
                    continue;
                }
                () = &mut stopped => return Ended::Stopping,
            };
            heard = Instant::now();
            let text = match message {
                Some(Ok(AggregatedMessage::Text(text))) => text,
                Some(Ok(AggregatedMessage::Ping(bytes))) => {
                    // A pong that finds the queue full is left out: the adapter hears what fills it.
                    let _ = self.words.try_send(Word::Pong(bytes));
                    continue;
                }
                Some(Ok(AggregatedMessage::Pong(_))) => continue,
                Some(Ok(AggregatedMessage::Close(_))) | None => return Ended::Gone,
                Some(Ok(AggregatedMessage::Binary(_))) => {
                    return Ended::Refused(None, Refusal::new(Code::Malformed, "a binary message"));
                }
                Some(Err(ProtocolError::Overflow)) => {
                    let detail = format!("a frame of more than {MOST_FRAME_BYTES} bytes");
                    return Ended::Refused(None, Refusal::new(Code::TooLarge, detail));
                }
                Some(Err(_)) => return Ended::Gone,
            };
            let frame = match self.check(&text) {
                Ok(frame) => frame,
                Err(ended) => return ended,
            };
            if let Some((frame, ask)) = self.hear(frame) {
                if !under_way.borrow_mut().insert(frame.id) {
                    // The same ask is being answered: its answer is this one's answer.
                    continue;
                }
                let full = answering.len() >= ASKS_MAX;
                answering.push(self.answer(frame, ask, full, Rc::clone(&at_work), Rc::clone(&under_way)));
            }
        }
    }

    /// Whether the key has been replaced since the opening.
    async fn withdrawn(&self) -> bool {
        let (tenant, institution) = (self.asker.tenant.id, self.asker.institution.clone());
        match self.shared.ground.read(move |store| store.institution(tenant, &institution)).await {
            Ok(Some(row)) => row.key.as_ref() != Some(self.key),
            Ok(None) => true,
            // The store is away: nothing is concluded from that.
            Err(_) => false,
        }
    }

    /// A frame signed by this adapter; anything else ends the link with nothing processed.
    fn check(&self, text: &str) -> Result<Frame, Ended> {
        let frame: Frame = serde_json::from_str(text)
            .map_err(|_| Ended::Refused(None, Refusal::new(Code::Malformed, "a message is no frame")))?;
        self.shared.metrics.signature(Scheme::Ed25519, Act::Checked);
        match frame.verify(self.key) {
            Ok(()) => Ok(frame),
            Err(_) => {
                let refusal = Refusal::new(Code::SignatureWrong, "a frame is not signed by this adapter");
                Err(Ended::Refused(Some(frame.id), refusal))
            }
        }
    }

    /// What is to be answered, if it is an ask (or should have been one).
    fn hear(&self, frame: Frame) -> Option<(Frame, Result<ToPlatform, Refusal>)> {
        match frame.body() {
            Ok(Body::ToPlatform { ask }) => Some((frame, Ok(ask))),
            Ok(Body::Reply { reply }) => {
                let Some(re) = frame.re else {
                    return Some((frame, Err(Refusal::new(Code::Malformed, "a reply names no question"))));
                };
                let address = Ground::address(self.asker.tenant.id, &self.asker.institution);
                self.shared.hub().answered(&address, re, reply);
                None
            }
            Ok(Body::ToInstitution { .. }) => {
                Some((frame, Err(Refusal::new(Code::Malformed, "an ask for an institution came from one"))))
            }
            Err(_) if frame.re.is_some() => {
                // Nothing is concluded from an answer that cannot be read: the question is asked again.
                tracing::warn!(institution = %self.asker.institution, "a reply cannot be read");
                None
            }
            Err(_) => {
                let refusal = asks::unreadable(&frame.payload.0);
                Some((frame, Err(refusal)))
            }
        }
    }

    fn answer(
        &self,
        frame: Frame,
        ask: Result<ToPlatform, Refusal>,
        full: bool,
        at_work: Rc<Semaphore>,
        under_way: Rc<RefCell<HashSet<MessageId>>>,
    ) -> impl Future<Output = ()> + use<'_> {
        let (shared, asker) = (self.shared, self.asker);
        let words = self.words.clone();
        async move {
            let clock = &shared.ground.clock;
            let trace_id = frame.trace_id.as_deref().and_then(trace::valid);
            let trace_id = trace_id.unwrap_or_else(|| trace::fresh(clock.as_ref()));
            let answer = match ask {
                Err(refusal) => Err(refusal),
                Ok(_) if full => {
                    Err(Refusal::new(Code::Overloaded, "too many asks of one adapter").after_s(COME_BACK_S))
                }
                Ok(ask) => {
                    let _turn = at_work.acquire().await;
                    let span = tracing::info_span!("ask", trace_id, institution = %asker.institution);
                    let (asker, frame, trace_id) = (asker.clone(), frame.clone(), trace_id.clone());
                    to_its_end(async move { asker.answer(&frame, ask, &trace_id).await }).instrument(span).await
                }
            };
            let reply = answer.unwrap_or_else(|refusal| {
                tracing::info!(trace_id, code = refusal.code.as_str(), detail = refusal.detail, "an ask was refused");
                Reply::Refused(refusal.problem(Some(&trace_id)))
            });
            let id = MessageId::from_uuid(clock.fresh());
            shared.metrics.signature(Scheme::Ed25519, Act::Made);
            let signed = shared.hub().reply(id, frame.id, Some(trace_id.clone()), reply);
            under_way.borrow_mut().remove(&frame.id);
            match signed {
                // The writer is gone only when the link is.
                Ok(reply) => drop(words.send(Word::Frame(Box::new(reply))).await),
                Err(error) => tracing::error!(trace_id, %error, "a reply cannot be written"),
            }
        }
    }
}
