//! What is to be said to the platform: asks that wait for their reply, and answers that could not be sent yet.
//!
//! The journal is the truth; this is its index in memory. Rules that keep money safe:
//!
//! * **A claim never overtakes its bill.** A claim, withdrawal or query of a bill waits until the platform has
//!   answered the bill itself. Otherwise the platform could say "unknown", the window would charge, and the bill would
//!   arrive afterwards and be payable by phone. The bill is sent first and out of turn.
//! * What people wait for goes before bills; bills go through a window, so that a backlog of hours does not flood the
//!   platform when the link comes back.
//! * What got no reply in time is sent again with the same id; after a reconnect, everything is.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schema::ids::MessageId;
use schema::link::Reply;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::journal::Answer;

/// Bills on the way at once.
const WINDOW: usize = 64;
/// How many payloads are kept in memory; beyond that they are read from the journal when they are sent.
const MOST_IN_MEMORY: usize = 1000;
/// Answers kept for the next connection; the platform asks again for those that fell out.
const MOST_ANSWERS: usize = 1000;

/// Replies that nobody heard; a caller whose reply was forgotten asks the platform anew.
const MOST_MISSED: usize = 10_000;

/// What an ask is about, as far as the order of sending is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// It brings this bill.
    NewBill(String),
    /// It speaks of this bill, and must come after it.
    OfBill(String),
    /// It stands alone.
    Alone,
}

/// An ask to be sent until it is answered.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: MessageId,
    pub(crate) about: About,
    pub(crate) trace_id: String,
    /// None: in the journal.
    pub(crate) payload: Option<Arc<str>>,
    /// Whether the journal has it.
    pub(crate) durable: bool,
}

/// One ask that is to be sent now.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) id: MessageId,
    pub(crate) trace_id: String,
    pub(crate) payload: Option<Arc<str>>,
}

/// Before bills, or among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    First,
    Bill,
}

struct Entry {
    ask: Outgoing,
    class: Class,
    place: u64,
    /// When it is sent again.
    due: Option<Instant>,
    waiters: Vec<oneshot::Sender<Arc<Reply>>>,
}

#[derive(Default)]
struct Inner {
    next_place: u64,
    entries: HashMap<MessageId, Entry>,
    unsent: BTreeSet<(Class, u64, MessageId)>,
    due: BTreeSet<(Instant, MessageId)>,
    /// Bills that were sent once on this connection and may still be answered soon.
    window: HashSet<MessageId>,
    /// Bills without reply, by number.
    bills: HashMap<String, MessageId>,
    /// What waits for a bill's reply.
    behind: HashMap<MessageId, Vec<MessageId>>,
    /// Replies that came when nobody waited any more; the next caller gets them.
    missed: HashSet<MessageId>,
    answers: VecDeque<Answer>,
    in_memory: usize,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outbox({} waiting)", self.waiting())
    }
}

impl Outbox {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many asks wait for a reply.
    pub(crate) fn waiting(&self) -> usize {
        self.inner().entries.len()
    }

    /// Resolves when there may be something new to send.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Adds an ask that nobody waits for. Harmless if it is there.
    pub(crate) fn add(&self, ask: Outgoing) {
        self.inner().add(ask);
        self.changed.notify_one();
    }

    /// Adds an ask, or finds it, and waits for its reply.
    pub(crate) fn add_and_wait(&self, ask: Outgoing) -> oneshot::Receiver<Arc<Reply>> {
        let (waiter, reply) = oneshot::channel();
        let id = ask.id;
        let mut inner = self.inner();
        inner.add(ask);
        if let Some(entry) = inner.entries.get_mut(&id) {
            entry.waiters.push(waiter);
        }
        drop(inner);
        self.changed.notify_one();
        reply
    }

    /// Waits for the reply to an ask that is here; none if it is not.
    pub(crate) fn join(&self, id: MessageId) -> Option<oneshot::Receiver<Arc<Reply>>> {
        let (waiter, reply) = oneshot::channel();
        self.inner().entries.get_mut(&id)?.waiters.push(waiter);
        Some(reply)
    }

    /// Whether the journal has this ask; none if it does not wait here.
    pub(crate) fn is_durable(&self, id: MessageId) -> Option<bool> {
        self.inner().entries.get(&id).map(|entry| entry.ask.durable)
    }

    /// Whether this is a bill that waits.
    pub(crate) fn is_bill(&self, id: MessageId) -> bool {
        self.inner().entries.get(&id).is_some_and(|entry| matches!(entry.ask.about, About::NewBill(_)))
    }

    /// The reply has come: tells whoever waits, and lets go what waited behind it.
    pub(crate) fn settle(&self, id: MessageId, reply: &Arc<Reply>) {
        let mut inner = self.inner();
        let Some(entry) = inner.remove(id) else { return };
        let mut heard = false;
        for waiter in entry.waiters {
            heard |= waiter.send(Arc::clone(reply)).is_ok();
        }
        // Nobody waits for a bill, and most are taken: only its refusal has to be heard.
        let to_be_heard = !matches!(entry.ask.about, About::NewBill(_)) || matches!(**reply, Reply::Refused(_));
        if !heard && entry.ask.durable && to_be_heard {
            if inner.missed.len() == MOST_MISSED {
                inner.missed.clear();
            }
            inner.missed.insert(id);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Whether the reply to this ask came when nobody waited; true once.
    pub(crate) fn take_missed(&self, id: MessageId) -> bool {
        self.inner().missed.remove(&id)
    }

    /// Gives up an ask that only existed in memory.
    pub(crate) fn give_up(&self, id: MessageId) {
        let mut inner = self.inner();
        if inner.entries.get(&id).is_some_and(|entry| !entry.ask.durable) {
            inner.remove(id);
        }
    }

    /// The platform cannot take this ask now: it is sent again after `wait`.
    pub(crate) fn rest(&self, id: MessageId, wait: Duration) {
        let mut inner = self.inner();
        inner.window.remove(&id);
        inner.schedule(id, Instant::now() + wait);
        drop(inner);
        self.changed.notify_one();
    }

    /// Adds an answer to be sent.
    pub(crate) fn answer(&self, answer: Answer) {
        let mut inner = self.inner();
        if inner.answers.len() == MOST_ANSWERS {
            inner.answers.pop_front();
        }
        inner.answers.push_back(answer);
        drop(inner);
        self.changed.notify_one();
    }

    /// Takes the answers that are to be sent.
    pub(crate) fn take_answers(&self) -> Vec<Answer> {
        self.inner().answers.drain(..).collect()
    }

    /// A new connection: everything has to be said again.
    pub(crate) fn reconnected(&self) {
        let mut inner = self.inner();
        inner.due.clear();
        inner.window.clear();
        let blocked: HashSet<MessageId> = inner.behind.values().flatten().copied().collect();
        let Inner { entries, unsent, .. } = &mut *inner;
        for (id, entry) in entries.iter_mut() {
            entry.due = None;
            if !blocked.contains(id) {
                unsent.insert((entry.class, entry.place, *id));
            }
        }
    }

    /// Takes what is to be sent now; each will be due again after `resend`.
    pub(crate) fn take_due(&self, now: Instant, resend: Duration) -> Vec<Due> {
        let mut inner = self.inner();
        let mut take = Vec::new();
        while let Some((at, id)) = inner.due.first().copied() {
            if at > now {
                break;
            }
            inner.window.remove(&id);
            take.push(id);
            inner.schedule(id, now + resend);
        }
        while let Some((class, place, id)) = inner.unsent.first().copied() {
            if class == Class::Bill {
                if inner.window.len() >= WINDOW {
                    break;
                }
                inner.window.insert(id);
            }
            inner.unsent.remove(&(class, place, id));
            take.push(id);
            inner.schedule(id, now + resend);
        }
        take.into_iter()
            .filter_map(|id| {
                let ask = &inner.entries.get(&id)?.ask;
                Some(Due { id, trace_id: ask.trace_id.clone(), payload: ask.payload.clone() })
            })
            .collect()
    }

    /// When something that was sent becomes due again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.inner().due.first().map(|(at, _)| *at)
    }
}

impl Inner {
    fn add(&mut self, mut ask: Outgoing) {
        if self.entries.contains_key(&ask.id) {
            return;
        }
        let id = ask.id;
        let place = self.next_place;
        self.next_place += 1;
        if ask.durable && self.in_memory >= MOST_IN_MEMORY {
            ask.payload = None;
        }
        self.in_memory += usize::from(ask.payload.is_some());
        let before = match &ask.about {
            About::OfBill(bill_no) => self.bills.get(bill_no).copied(),
            About::NewBill(_) | About::Alone => None,
        };
        let class = match &ask.about {
            About::NewBill(bill_no) => {
                self.bills.insert(bill_no.clone(), id);
                Class::Bill
            }
            About::OfBill(_) | About::Alone => Class::First,
        };
        self.entries.insert(id, Entry { ask, class, place, due: None, waiters: Vec::new() });
        match before {
            Some(bill) => {
                self.behind.entry(bill).or_default().push(id);
                self.promote(bill);
            }
            None => {
                self.unsent.insert((class, place, id));
            }
        }
    }

    /// Somebody waits for what stands behind this bill: it goes out of turn.
    fn promote(&mut self, bill: MessageId) {
        let Some(entry) = self.entries.get_mut(&bill) else { return };
        if self.unsent.remove(&(entry.class, entry.place, bill)) {
            entry.class = Class::First;
            self.unsent.insert((entry.class, entry.place, bill));
        }
    }

    fn remove(&mut self, id: MessageId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.unsent.remove(&(entry.class, entry.place, id));
        if let Some(at) = entry.due {
            self.due.remove(&(at, id));
        }
        self.window.remove(&id);
        self.in_memory -= usize::from(entry.ask.payload.is_some());
        match &entry.ask.about {
            About::NewBill(bill_no) => {
                self.bills.remove(bill_no);
                for behind in self.behind.remove(&id).unwrap_or_default() {
                    if let Some(free) = self.entries.get(&behind) {
                        self.unsent.insert((free.class, free.place, behind));
                    }
                }
            }
            About::OfBill(bill_no) => {
                if let Some(queue) = self.bills.get(bill_no).and_then(|bill| self.behind.get_mut(bill)) {
                    queue.retain(|other| *other != id);
                }
            }
            About::Alone => {}
        }
        Some(entry)
    }

    fn schedule(&mut self, id: MessageId, at: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(before) = entry.due.replace(at) {
            self.due.remove(&(before, id));
        }
        self.due.insert((at, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> MessageId {
        MessageId::from_uuid(uuid::Uuid::from_u128(number))
    }

    fn ask(number: u128, about: About) -> Outgoing {
        Outgoing { id: id(number), about, trace_id: String::new(), payload: Some("{}".into()), durable: true }
    }

    /// What is sent `after_s` seconds from now, when unanswered asks are repeated after 20.
    fn sent(outbox: &Outbox, after_s: u64) -> Vec<MessageId> {
        let now = Instant::now() + Duration::from_secs(after_s);
        outbox.take_due(now, Duration::from_secs(20)).into_iter().map(|due| due.id).collect()
    }

    #[test]
    fn a_claim_goes_before_other_bills_but_never_before_its_own() {
        let outbox = Outbox::default();
        for number in 0..100 {
            outbox.add(ask(number, About::NewBill(format!("B{number}"))));
        }
        outbox.add(ask(1000, About::OfBill("B90".into())));
        let first = sent(&outbox, 0);
        assert_eq!(first[0], id(90), "the claimed bill goes out of turn");
        assert!(!first.contains(&id(1000)), "its claim waits for its reply");
        assert_eq!(first.len(), 1 + WINDOW);
        outbox.settle(id(90), &Arc::new(Reply::Done));
        assert_eq!(sent(&outbox, 0), [id(1000)]);
    }

    #[test]
    fn what_got_no_reply_is_sent_again_and_what_got_one_is_not() {
        let outbox = Outbox::default();
        outbox.add(ask(1, About::Alone));
        outbox.add(ask(2, About::Alone));
        assert_eq!(sent(&outbox, 0), [id(1), id(2)]);
        outbox.settle(id(1), &Arc::new(Reply::Done));
        assert_eq!(sent(&outbox, 0), []);
        assert_eq!(sent(&outbox, 21), [id(2)]);
        outbox.reconnected();
        assert_eq!(sent(&outbox, 0), [id(2)]);
    }

    #[test]
    fn bills_that_never_get_a_reply_do_not_stop_the_others_for_ever() {
        let outbox = Outbox::default();
        for number in 0..(2 * WINDOW as u128) {
            outbox.add(ask(number, About::NewBill(format!("B{number}"))));
        }
        assert_eq!(sent(&outbox, 0).len(), WINDOW);
        assert_eq!(sent(&outbox, 0).len(), 0);
        assert_eq!(sent(&outbox, 21).len(), 2 * WINDOW, "the first again, the others for the first time");
    }

    #[test]
    fn a_reply_that_came_too_late_is_kept_for_the_next_caller_once() {
        let outbox = Outbox::default();
        drop(outbox.add_and_wait(ask(1, About::Alone)));
        outbox.settle(id(1), &Arc::new(Reply::Done));
        assert!(outbox.take_missed(id(1)));
        assert!(!outbox.take_missed(id(1)));
    }
}
