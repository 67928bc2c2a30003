//! The links of all processes: an institution is asked through whichever process has its link, and has one link over
//! all of them.
//!
//! **Presence.** Whoever lets an adapter in takes a hold on its institution in the ephemeral store first, and renews
//! the holds of its links every second. A process that dies renews nothing, so its adapters are let in elsewhere after
//! [`PRESENCE_MS`]. A process that finds another's hold where its own was (it was away for so long) drops its link.
//!
//! **Hand-over.** A question for an institution whose link is elsewhere goes to the holder as a letter, the answer
//! comes back as one. Letters may be lost, so the question is sent again until its time is over; the holder asks the
//! adapter under the message id it was given, to which an adapter gives its first answer however often it is asked.
//! Letters are sealed: whoever can write to the ephemeral store must not be able to speak in the platform's name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schema::ids::{MessageId, ProcessId, TenantId};
use schema::link::{Reply, ToInstitution};
use schema::seal::{Sealed, Vault};
use schema::sign::{PublicKey, SigningKey};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};
use uuid::Uuid;

use super::hub::{Ended, Hub, Live, Turn};
use super::{Address, Links, OFFLINE, offline};
use crate::clock::Clock;
use crate::ephemeral::{Ephemeral, Hold, Unreachable};
use crate::parties::answer::Answer;

/// A presence that was not renewed for this long is a dead process's.
pub const PRESENCE_MS: i64 = 3000;
const RENEW: Duration = Duration::from_secs(1);
/// Holds renewed in one operation: it keeps everybody else at the store waiting.
const RENEWED_AT_ONCE: usize = 100;
/// An adapter at the door of one process while another has its link waits for that process's death, a little longer
/// than its presence lives, before it is sent away.
const AT_THE_DOOR: Duration = Duration::from_millis(PRESENCE_MS as u64 + 500);
const KNOCK: Duration = Duration::from_millis(200);
/// A question that was handed over and not answered is handed over again.
const AGAIN: Duration = Duration::from_secs(2);
/// An answer that could not be handed back is tried again.
const HAND_BACK: Duration = Duration::from_millis(250);

/// The purpose under which letters are sealed.
const LETTER: &str = "letter";

/// Institutions, wherever their links are.
pub struct Across {
    hub: Arc<Hub>,
    ephemeral: Arc<dyn Ephemeral>,
    clock: Arc<dyn Clock>,
    me: ProcessId,
    seal: Vault,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Questions of this process that others ask for it.
    asked: HashMap<Uuid, mpsc::Sender<Answer<Reply>>>,
    /// Questions of others that are being asked here.
    asking: HashSet<Uuid>,
}

/// What a process does for the others; [`Post::run`] runs as long as it serves.
pub struct Post {
    across: Arc<Across>,
    mail: mpsc::Receiver<Vec<u8>>,
    endings: mpsc::UnboundedReceiver<Ended>,
}

/// Why an adapter is not let in.
#[derive(Debug, PartialEq, Eq)]
pub enum NotLetIn {
    /// Another link of this institution is alive, here or elsewhere.
    Connected,
    /// Nobody knows whether there is one.
    Unknown(Unreachable),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "letter", rename_all = "snake_case")]
enum Letter {
    Ask(Box<Question>),
    Answer {
        question: Uuid,
        answer: Answer<Reply>,
    },
    /// An adapter is at the door with the key that is approved for its institution now.
    AtTheDoor {
        address: Address,
        key: PublicKey,
    },
}

#[derive(Serialize, Deserialize)]
struct Question {
    id: Uuid,
    from: ProcessId,
    to: Address,
    message: MessageId,
    trace_id: Option<String>,
    ask: ToInstitution,
    /// Nobody waits for an answer after this: microseconds UTC.
    until_us: i64,
}

fn hold(address: &Address, turn: Turn) -> Hold {
    Hold { key: presence(address), turn }
}

fn presence(address: &Address) -> String {
    format!("link:{}", address.institution)
}

impl Across {
    /// The links of the process `me`, which signs with `key`; `letters` seals what processes tell each other and is the
    /// same for all of them. Refuses where the store cannot be reached.
    pub async fn open(
        me: ProcessId,
        key: SigningKey,
        letters: Vault,
        ephemeral: Arc<dyn Ephemeral>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Across>, Post), Unreachable> {
        let mail = ephemeral.mail(me).await?;
        let (hub, endings) = Hub::new(key);
        let across = Arc::new(Across { hub, ephemeral, clock, me, seal: letters, inner: Mutex::default() });
        Ok((Arc::clone(&across), Post { across, mail, endings }))
    }

    /// The links of this process.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Registers a link whose opening succeeded, unless another one of this institution is alive in any process. `key`
    /// is the one that is approved now: a link under a key that it replaced makes way at once.
    pub async fn connect(&self, address: Address, key: PublicKey) -> Result<Live, NotLetIn> {
        let until = Instant::now() + AT_THE_DOOR;
        self.hub.disconnect_unless(&address, Some(&key));
        let mut told = false;
        loop {
            if self.hub.is_up(&address) {
                return Err(NotLetIn::Connected);
            }
            let turn = self.hub.turn();
            let holds = [hold(&address, turn)];
            let taken = self.ephemeral.hold(address.tenant, self.me, &holds, PRESENCE_MS).await;
            if taken.map_err(NotLetIn::Unknown)? == [true] {
                return self.hub.connect(address, key, turn).ok_or(NotLetIn::Connected);
            }
            if !told {
                self.tell_holder(&address, &key).await;
                told = true;
            }
            let next = Instant::now() + KNOCK;
            if next > until {
                return Err(NotLetIn::Connected);
            }
            sleep_until(next).await;
        }
    }

    /// Lets the process that has another link of this institution look whether that one's key still stands.
    async fn tell_holder(&self, address: &Address, key: &PublicKey) {
        let letter = self.written(&Letter::AtTheDoor { address: address.clone(), key: key.clone() });
        let holder = self.ephemeral.holder(address.tenant, &presence(address)).await;
        if let (Ok(letter), Ok(Some(holder))) = (letter, holder) {
            // A letter that is lost costs a heartbeat: then the holder looks by itself.
            let _ = self.ephemeral.send(holder, letter).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, letter: &Letter) -> Result<Vec<u8>, serde_json::Error> {
        let plain = serde_json::to_vec(letter)?;
        Ok(self.seal.seal(self.clock.nonce(), LETTER, &plain).as_bytes().to_vec())
    }

    fn read(&self, letter: Vec<u8>) -> Option<Letter> {
        let plain = self.seal.open(LETTER, &Sealed::from_bytes(letter)).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    /// Hands a question over to `holder`, and to whoever has the link later, until it is answered or its time is over.
    async fn hand_over(&self, question: Question, holder: ProcessId, until: Instant) -> Answer<Reply> {
        let (id, to) = (question.id, question.to.clone());
        let letter = match self.written(&Letter::Ask(Box::new(question))) {
            Ok(letter) => letter,
            Err(error) => return Answer::Unknown(format!("the question cannot be written: {error}")),
        };
        let (answered, mut answers) = mpsc::channel(4);
        self.lock().asked.insert(id, answered);
        let _waiting = Waiting { across: self, id };
        let mut holder = Some(holder);
        let (mut handed, mut not_sent) = (0_u32, 0_u32);
        let asking = async {
            loop {
                if let Some(holder) = holder {
                    handed += 1;
                    // Even where the store did not take it in time: it may have taken it.
                    let _ = self.ephemeral.send(holder, letter.clone()).await;
                }
                let again = Instant::now() + AGAIN;
                while let Ok(Some(answer)) = timeout_at(again, answers.recv()).await {
                    match answer {
                        // The link was no longer there. As long as nobody else may have sent it, nothing was sent.
                        Answer::Refused(refused) if refused.code == OFFLINE => {
                            not_sent += 1;
                            if not_sent == handed {
                                return offline();
                            }
                        }
                        answer => return answer,
                    }
                }
                holder = self.ephemeral.holder(to.tenant, &presence(&to)).await.ok().flatten();
            }
        };
        match timeout_at(until, asking).await {
            Ok(answer) => answer,
            Err(_) => Answer::Unknown("no answer from the process that has the link in time".into()),
        }
    }

    /// Asks the adapter for another process and hands the answer back.
    async fn ask_for(self: Arc<Self>, question: Question) {
        let Question { id, from, to, message, trace_id, ask, until_us } = question;
        let left_us = until_us.saturating_sub(self.clock.now_us());
        let Ok(left_us @ 1..) = u64::try_from(left_us) else { return };
        // The same question again: it is answered once, when it is.
        if !self.lock().asking.insert(id) {
            return;
        }
        let until = Instant::now() + Duration::from_micros(left_us);
        let answer = self.hub.ask(&to, message, trace_id, ask, Duration::from_micros(left_us)).await;
        self.lock().asking.remove(&id);
        let Ok(letter) = self.written(&Letter::Answer { question: id, answer }) else { return };
        while self.ephemeral.send(from, letter.clone()).await.is_err() && Instant::now() < until {
            tokio::time::sleep(HAND_BACK).await;
        }
    }

    /// Renews the presence of every link that is here.
    async fn renew(&self) -> Result<(), Unreachable> {
        let mut tenants: BTreeMap<TenantId, Vec<(Address, Turn)>> = BTreeMap::new();
        for (address, turn) in self.hub.up() {
            tenants.entry(address.tenant).or_default().push((address, turn));
        }
        for (tenant, links) in tenants {
            for links in links.chunks(RENEWED_AT_ONCE) {
                let holds: Vec<Hold> = links.iter().map(|(address, turn)| hold(address, *turn)).collect();
                let held = self.ephemeral.hold(tenant, self.me, &holds, PRESENCE_MS).await?;
                let lost = links.iter().zip(held).filter(|(_, held)| !held);
                for ((address, turn), _) in lost {
                    tracing::warn!(institution = %address.institution, "another process has this link: it is dropped");
                    self.hub.disconnect(address, *turn);
                }
            }
        }
        Ok(())
    }
}

/// Whoever no longer waits is no longer answered.
struct Waiting<'a> {
    across: &'a Across,
    id: Uuid,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.across.lock().asked.remove(&self.id);
    }
}

impl Post {
    /// Renews the presence of this process's links, reads its letters, and gives up what has ended; for ever.
    pub async fn run(self) {
        let Post { across, mail, endings } = self;
        tokio::join!(renewing(&across), reading(&across, mail), giving_up(&across, endings));
    }
}

async fn renewing(across: &Across) {
    let mut tick = interval(RENEW);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        tick.tick().await;
        let renewed = across.renew().await;
        if let Err(error) = &renewed
            && !away
        {
            tracing::warn!(%error, "presence cannot be renewed: links stay, and no other process reaches them");
        }
        away = renewed.is_err();
    }
}

async fn reading(across: &Arc<Across>, mut mail: mpsc::Receiver<Vec<u8>>) {
    while let Some(letter) = mail.recv().await {
        match across.read(letter) {
            Some(Letter::Ask(question)) => drop(tokio::spawn(Arc::clone(across).ask_for(*question))),
            Some(Letter::Answer { question, answer }) => {
                let asked = across.lock().asked.get(&question).cloned();
                // Full: an answer to the same question waits to be read already.
                if let Some(asked) = asked {
                    drop(asked.try_send(answer));
                }
            }
            Some(Letter::AtTheDoor { address, key }) => across.hub.disconnect_unless(&address, Some(&key)),
            None => tracing::warn!("a letter is no process's of this platform, or of another version: it is ignored"),
        }
    }
}

async fn giving_up(across: &Arc<Across>, mut endings: mpsc::UnboundedReceiver<Ended>) {
    while let Some(Ended { address, turn }) = endings.recv().await {
        let across = Arc::clone(across);
        // What cannot be given up goes by itself once its life is over.
        tokio::spawn(async move {
            let _ = across.ephemeral.release(address.tenant, across.me, &hold(&address, turn)).await;
        });
    }
}

#[async_trait]
impl Links for Across {
    async fn ask(
        &self,
        to: &Address,
        message: MessageId,
        trace_id: Option<String>,
        ask: ToInstitution,
        timeout: Duration,
    ) -> Answer<Reply> {
        if self.hub.is_up(to) {
            return self.hub.ask(to, message, trace_id, ask, timeout).await;
        }
        match self.ephemeral.holder(to.tenant, &presence(to)).await {
            Ok(Some(holder)) if holder != self.me => {
                let until_us = i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX);
                let question = Question {
                    id: self.clock.fresh(),
                    from: self.me,
                    to: to.clone(),
                    message,
                    trace_id,
                    ask,
                    until_us: self.clock.now_us().saturating_add(until_us),
                };
                self.hand_over(question, holder, Instant::now() + timeout).await
            }
            // Nobody has it, or its end here has not come round yet, or nobody knows: nothing was sent.
            Ok(_) | Err(_) => offline(),
        }
    }
}
