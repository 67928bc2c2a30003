//! The adapter link as a party. This holds the protocol: who is connected, what was asked, which answer belongs to
//! which question. The socket is http's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schema::ids::{InstitutionCode, MessageId, TenantId};
use schema::link::{Body, Frame, Reply, ToInstitution};
use schema::refusal::{Again, Code};
use schema::sign::{PublicKey, SigningKey};
use tokio::sync::{mpsc, oneshot};

use crate::parties::answer::{Answer, Refused};
use crate::parties::words;

/// Asks institutions.
#[async_trait]
pub trait Links: Send + Sync {
    /// Asks one institution. A repeat carries the same message id and gets the first answer.
    ///
    /// `Refused` only in the institution's own words (without numbers that name a person; names are only known to
    /// whoever knows the bill), or with code `OFFLINE` when no link is up: then nothing was sent.
    async fn ask(
        &self,
        to: &Address,
        message: MessageId,
        trace_id: Option<String>,
        ask: ToInstitution,
        timeout: Duration,
    ) -> Answer<Reply>;
}

/// An institution on the link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub institution: InstitutionCode,
}

/// The links of this process.
#[derive(Debug)]
pub struct Hub {
    key: SigningKey,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next_connection: u64,
    up: HashMap<Address, Connection>,
    open_questions: HashMap<(Address, MessageId), Vec<oneshot::Sender<Reply>>>,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    key: PublicKey,
    frames: mpsc::Sender<Frame>,
}

/// One live link, as its socket holds it. Dropping it takes the link down.
#[derive(Debug)]
pub struct Live {
    hub: Arc<Hub>,
    address: Address,
    number: u64,
    /// The key that signs this adapter's frames.
    pub key: PublicKey,
    /// Frames to send.
    pub frames: mpsc::Receiver<Frame>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        if inner.up.get(&self.address).is_some_and(|up| up.number == self.number) {
            inner.up.remove(&self.address);
        }
    }
}

/// How many frames may wait for a slow socket before its institution counts as offline.
const WAITING_FRAMES_MAX: usize = 256;

impl Hub {
    /// A hub that signs with the platform's key.
    pub fn new(key: SigningKey) -> Arc<Hub> {
        Arc::new(Hub { key, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The platform's public key, which adapters pin.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// Registers a link whose opening succeeded. `None` while another link of this institution is alive.
    pub fn connect(self: &Arc<Self>, address: Address, key: PublicKey) -> Option<Live> {
        let mut inner = self.lock();
        if inner.up.get(&address).is_some_and(|up| !up.frames.is_closed()) {
            return None;
        }
        inner.next_connection += 1;
        let number = inner.next_connection;
        let (sender, frames) = mpsc::channel(WAITING_FRAMES_MAX);
        inner.up.insert(address.clone(), Connection { number, key: key.clone(), frames: sender });
        drop(inner);
        Some(Live { hub: Arc::clone(self), address, number, key, frames })
    }

    /// How many institutions are connected.
    pub fn connected(&self) -> usize {
        self.lock().up.len()
    }

    /// Takes down the links signed by another key than this one (rotation, suspension).
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

fn offline() -> Answer<Reply> {
    Answer::Refused(Refused { code: "OFFLINE".into(), words: "医院系统暂时未连接".into(), busy: true })
}

#[cfg(test)]
mod tests {
    use schema::ids::OrderId;
    use schema::link::Release;
    use schema::refusal::Refusal;

    use super::*;

    #[tokio::test]
    async fn a_refusal_of_the_moment_is_busy_a_failure_is_unknown_and_the_institutions_own_no_is_final() {
        let hub = Hub::new(SigningKey::from_seed([1; 32]));
        let institution: InstitutionCode = "H44190000001".parse().expect("a code");
        let address = Address { tenant: TenantId::from_uuid(uuid::Uuid::nil()), institution };
        let mut live = hub.connect(address.clone(), SigningKey::from_seed([2; 32]).public()).expect("the only one");
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
