//! The links of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schema::ids::MessageId;
use schema::link::{Body, Frame, Reply, ToInstitution};
use schema::refusal::{Again, Code};
use schema::sign::{PublicKey, SigningKey};
use tokio::sync::{mpsc, oneshot};

use super::{Address, Links, offline};
use crate::parties::answer::{Answer, Refused};
use crate::parties::words;

/// The links of this process.
#[derive(Debug)]
pub struct Hub {
    key: SigningKey,
    inner: Mutex<Inner>,
    ended: mpsc::UnboundedSender<Ended>,
}

/// Which of a process's links, counted in the order of their openings.
pub type Turn = u64;

/// A link that is no more.
#[derive(Debug)]
pub struct Ended {
    /// Whose it was.
    pub address: Address,
    /// Which one.
    pub turn: Turn,
}

#[derive(Debug, Default)]
struct Inner {
    turns: Turn,
    up: HashMap<Address, Connection>,
    open_questions: HashMap<(Address, MessageId), Vec<oneshot::Sender<Reply>>>,
}

impl Inner {
    fn is_up(&self, address: &Address) -> bool {
        self.up.get(address).is_some_and(|up| !up.frames.is_closed())
    }
}

#[derive(Debug)]
struct Connection {
    turn: Turn,
    key: PublicKey,
    frames: mpsc::Sender<Frame>,
}

/// One live link, as its socket holds it. Dropping it takes the link down.
#[derive(Debug)]
pub struct Live {
    hub: Arc<Hub>,
    address: Address,
    turn: Turn,
    /// The key that signs this adapter's frames.
    pub key: PublicKey,
    /// Frames to send.
    pub frames: mpsc::Receiver<Frame>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.hub.disconnect(&self.address, self.turn);
        // Where nobody listens there is nobody to be told.
        let _ = self.hub.ended.send(Ended { address: self.address.clone(), turn: self.turn });
    }
}

/// How many frames may wait for a slow socket before its institution counts as offline.
const WAITING_FRAMES_MAX: usize = 256;

impl Hub {
    /// A hub that signs with the platform's key, and the links that end there.
    pub fn new(key: SigningKey) -> (Arc<Hub>, mpsc::UnboundedReceiver<Ended>) {
        let (ended, endings) = mpsc::unbounded_channel();
        (Arc::new(Hub { key, inner: Mutex::default(), ended }), endings)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The platform's public key, which adapters pin.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// The number of a link that is about to open.
    pub fn turn(&self) -> Turn {
        let mut inner = self.lock();
        inner.turns += 1;
        inner.turns
    }

    /// Registers a link whose opening succeeded, under a number of [`Hub::turn`]. `None` while another link of this
    /// institution is alive.
    pub fn connect(self: &Arc<Self>, address: Address, key: PublicKey, turn: Turn) -> Option<Live> {
        let mut inner = self.lock();
        if inner.is_up(&address) {
            return None;
        }
        let (sender, frames) = mpsc::channel(WAITING_FRAMES_MAX);
        inner.up.insert(address.clone(), Connection { turn, key: key.clone(), frames: sender });
        drop(inner);
        Some(Live { hub: Arc::clone(self), address, turn, key, frames })
    }

    /// Whether an institution's link is here.
    pub fn is_up(&self, address: &Address) -> bool {
        self.lock().is_up(address)
    }

    /// Whose links are here.
    pub fn up(&self) -> Vec<(Address, Turn)> {
        self.lock().up.iter().map(|(address, up)| (address.clone(), up.turn)).collect()
    }

    /// How many institutions are connected.
    pub fn connected(&self) -> usize {
        self.lock().up.len()
    }

    /// Takes one link down; another one of the same institution stays.
    pub fn disconnect(&self, address: &Address, turn: Turn) {
        let mut inner = self.lock();
        if inner.up.get(address).is_some_and(|up| up.turn == turn) {
            inner.up.remove(address);
        }
    }

    /// Takes down an institution's link unless it is signed by this key.
    pub fn disconnect_unless(&self, address: &Address, key: Option<&PublicKey>) {
        let mut inner = self.lock();
        if inner.up.get(address).is_some_and(|up| Some(&up.key) != key) {
            inner.up.remove(address);
        }
    }

    /// Hands an answer to whoever asked; answers nobody waits for any more are dropped: the question is asked again.
    pub fn answered(&self, address: &Address, re: MessageId, reply: Reply) {
        let waiting = self.lock().open_questions.remove(&(address.clone(), re));
        for asker in waiting.into_iter().flatten() {
            let _ = asker.send(reply.clone());
        }
    }

    /// Signs a reply to an adapter's question.
    pub fn reply(
        &self,
        id: MessageId,
        re: MessageId,
        trace_id: Option<String>,
        reply: Reply,
    ) -> Result<Frame, serde_json::Error> {
        Frame::signed(&self.key, id, Some(re), trace_id, &Body::Reply { reply })
    }
}

#[async_trait]
impl Links for Hub {
    async fn ask(
        &self,
        to: &Address,
        message: MessageId,
        trace_id: Option<String>,
        ask: ToInstitution,
        timeout: Duration,
    ) -> Answer<Reply> {
        let frame = match Frame::signed(&self.key, message, None, trace_id, &Body::ToInstitution { ask }) {
            Ok(frame) => frame,
            Err(error) => return Answer::Unknown(format!("the question cannot be written: {error}")),
        };
        let (asker, answer) = oneshot::channel();
        {
            let mut inner = self.lock();
            let Some(up) = inner.up.get(to) else { return offline() };
            if up.frames.try_send(frame).is_err() {
                return offline();
            }
            inner.open_questions.entry((to.clone(), message)).or_default().push(asker);
        }
        let answer = tokio::time::timeout(timeout, answer).await;
        match answer {
            // Their system failed: what it has done by then nobody knows.
            Ok(Ok(Reply::Refused(problem))) if matches!(problem.code, Code::Internal | Code::OutcomeUnknown) => {
                Answer::Unknown(format!("the institution answered {}", problem.code))
            }
            Ok(Ok(Reply::Refused(problem))) => {
                let words = words::for_people(&problem.title, &[]);
                let busy = problem.code.again() == Again::Later;
                Answer::Refused(Refused { code: problem.code.to_string(), words, busy })
            }
            Ok(Ok(reply)) => Answer::Done(reply),
            Ok(Err(_)) | Err(_) => {
                let mut inner = self.lock();
                let key = (to.clone(), message);
                if let Some(askers) = inner.open_questions.get_mut(&key) {
                    askers.retain(|asker| !asker.is_closed());
                    if askers.is_empty() {
                        inner.open_questions.remove(&key);
                    }
                }
                Answer::Unknown("no answer on the link in time".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use schema::ids::{InstitutionCode, OrderId, TenantId};
    use schema::link::Release;
    use schema::refusal::Refusal;

    use super::*;

    #[tokio::test]
    async fn a_refusal_of_the_moment_is_busy_a_failure_is_unknown_and_the_institutions_own_no_is_final() {
        let (hub, _) = Hub::new(SigningKey::from_seed([1; 32]));
        let institution: InstitutionCode = "H44190000001".parse().expect("a code");
        let address = Address { tenant: TenantId::from_uuid(uuid::Uuid::nil()), institution };
        let key = SigningKey::from_seed([2; 32]).public();
        let mut live = hub.connect(address.clone(), key, hub.turn()).expect("the only one");
        for (code, expected) in [
            (Code::Overloaded, Some(true)),
            (Code::BureauUnreachable, Some(true)),
            (Code::HospitalRefused, Some(false)),
            (Code::Malformed, Some(false)),
            (Code::Internal, None),
            (Code::OutcomeUnknown, None),
        ] {
            let ask = ToInstitution::Release(Release {
                order_id: OrderId::from_uuid(uuid::Uuid::nil()),
                bill_no: "B1".into(),
            });
            let message = MessageId::from_uuid(uuid::Uuid::nil());
            let asked = hub.ask(&address, message, None, ask, Duration::from_secs(5));
            let refused = async {
                let frame = live.frames.recv().await.expect("the question");
                hub.answered(&address, frame.id, Reply::Refused(Refusal::new(code, "test").problem(None)));
            };
            let busy = match tokio::join!(asked, refused).0 {
                Answer::Refused(refused) => Some(refused.busy),
                Answer::Unknown(_) => None,
                Answer::Done(reply) => unreachable!("a refusal was given: {reply:?}"),
            };
            assert_eq!(busy, expected, "{code}");
        }
    }
}
