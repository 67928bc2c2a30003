//! The desk on threads of its own.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use schema::ids::TenantId;
use schema::refusal::{Code, Refusal};
use tokio::sync::{mpsc, oneshot};

use super::Desk;
use super::command::{Aftermath, Command, Door, Outcome, What};

/// What nobody waits for goes with the next batch, or by itself after this.
const LINGER: Duration = Duration::from_millis(50);
/// Under load a tenant's next batch begins after so many times what the last one took, and after this at most: a commit
/// costs nearly the same whatever it holds, so for as long again as one took the machine is better left to others.
const PACE: u32 = 2;
const PACE_MOST: Duration = Duration::from_millis(50);
/// Load is when so many events of a tenant come while one batch is written: then they wait for each other anyway. With
/// fewer, waiting would only make them late.
const COMPANY: u32 = 2;
/// Over which time that is judged.
const JUDGED: Duration = Duration::from_millis(200);

struct Queued {
    command: Command,
    from_outside: bool,
    /// What it is about: nothing is in two batches at a time.
    subject: u64,
    answer: oneshot::Sender<Outcome>,
}

/// The order, or the bill where no order is named.
fn subject(command: &Command) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    match &command.what {
        What::Order(order, _) | What::Refund(order, _, _) | What::Open { order, .. } => order.hash(&mut hasher),
        What::TakeBill(bill) => bill.facts.bill_no.hash(&mut hasher),
        What::ByBill(_, bill_no, _) | What::Claim(_, bill_no) => bill_no.hash(&mut hasher),
        What::ActionDone | What::Postpone(_) | What::Instead(..) => command.event_id.hash(&mut hasher),
    }
    hasher.finish()
}

impl Queued {
    /// Only that an action is done or waits: nobody's payment goes on by it, and a commit of its own would cost as much
    /// as a step of an order.
    fn may_linger(&self) -> bool {
        matches!(self.command.what, What::ActionDone | What::Postpone(_))
    }
}

/// The desk on threads of its own. A batch is whatever of one tenant queued while its last commit ran, and under load a
/// little more.
///
/// Beside a batch of a tenant another may begin, with nothing that the first is about, so that it need not be decided
/// twice: at once while the machine has time, and under load only when it is full, because two half-empty ones cost twice
/// as much. Only cost and waiting depend on that: two processes that decide on one order are told apart by its version.
pub struct Thread {
    queue: Arc<Queue>,
    desk: Arc<Desk>,
    after: mpsc::UnboundedSender<Aftermath>,
    from_outside_max: usize,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Thread {
    /// Starts `at_once` threads, each for one batch of at most `batch_max` events. What is to happen after each commit
    /// goes to `after`.
    pub fn start(
        desk: Desk,
        at_once: usize,
        batch_max: usize,
        from_outside_max: usize,
        after: mpsc::UnboundedSender<Aftermath>,
    ) -> std::io::Result<Arc<Thread>> {
        let desk = Arc::new(desk);
        let queue = Arc::new(Queue { waiting: Mutex::default(), came: Condvar::new(), batch_max });
        let mut handles = Vec::with_capacity(at_once);
        for number in 0..at_once.max(1) {
            let (desk, queue, after) = (Arc::clone(&desk), Arc::clone(&queue), after.clone());
            let thread = std::thread::Builder::new().name(format!("desk-{number}"));
            handles.push(thread.spawn(move || run(&desk, &queue, &after))?);
        }
        let handles = Mutex::new(handles);
        Ok(Arc::new(Thread { queue, desk, after, from_outside_max, handles }))
    }

    /// Whether a thread has ended (a bug: none ever does while the process lives).
    pub fn is_dead(&self) -> bool {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().any(JoinHandle::is_finished)
    }

    async fn queue(&self, command: Command, from_outside: bool) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let queued = Queued { subject: subject(&command), command, from_outside, answer };
        if !self.queue.push(queued, self.desk.clock.steady(), self.from_outside_max) {
            return Outcome::Refused(Refusal::new(Code::Overloaded, "the desk's queue is full").after_s(1));
        }
        outcome
            .await
            .unwrap_or_else(|_| Outcome::Refused(Refusal::new(Code::OutcomeUnknown, "the desk has stopped").after_s(1)))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.queue.waiting().closed = true;
        self.queue.came.notify_all();
    }
}

fn run(desk: &Desk, queue: &Queue, after: &mpsc::UnboundedSender<Aftermath>) {
    while let Some((tenant, batch)) = queue.next(desk) {
        let under_way = UnderWay { queue, desk, tenant, subjects: batch.iter().map(|queued| queued.subject).collect() };
        let (commands, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|queued| (queued.command, queued.answer)).unzip();
        let (outcomes, aftermath) = desk.step(commands);
        let _ = after.send(aftermath);
        drop(under_way);
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            let _ = answer.send(outcome);
        }
    }
}

/// What waits for the desk.
struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
    batch_max: usize,
}

#[derive(Default)]
struct Waiting {
    lanes: BTreeMap<TenantId, Lane>,
    from_outside: usize,
    /// Nobody will come any more, or nobody works any more.
    closed: bool,
}

/// What waits of one tenant.
#[derive(Default)]
struct Lane {
    now: VecDeque<Queued>,
    lingering: Vec<Queued>,
    /// When what lingers goes by itself; a steady reading.
    linger_until: Duration,
    /// What the batches under way are about, batch after batch.
    under_way: Vec<u64>,
    pace: Pace,
}

/// When there is something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Now,
    In(Duration),
    /// When somebody comes, or a batch ends.
    Later,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if there is no room for somebody from outside. Once the queue is closed the answer is dropped, and whoever
    /// waits for it hears that the desk has stopped.
    fn push(&self, queued: Queued, now: Duration, from_outside_max: usize) -> bool {
        let mut waiting = self.waiting();
        if queued.from_outside && waiting.from_outside >= from_outside_max {
            return false;
        }
        if waiting.closed {
            return true;
        }
        waiting.from_outside += usize::from(queued.from_outside);
        let lane = waiting.lanes.entry(queued.command.tenant).or_default();
        if queued.may_linger() {
            if lane.lingering.is_empty() {
                lane.linger_until = now + LINGER;
            }
            lane.lingering.push(queued);
        } else {
            lane.now.push_back(queued);
        }
        self.came.notify_one();
        true
    }

    /// The next batch, once it is its time; `None` at the end.
    fn next(&self, desk: &Desk) -> Option<(TenantId, Vec<Queued>)> {
        let mut waiting = self.waiting();
        let mut is_time = false;
        loop {
            let now = desk.clock.steady();
            match waiting.next(now, self.batch_max) {
                Some((tenant, next)) if next == Next::Now || is_time => {
                    let batch = waiting.take(tenant, now, self.batch_max);
                    // Whoever was woken for this one may have been woken for another tenant's as well.
                    self.came.notify_one();
                    return Some((tenant, batch));
                }
                Some((_, Next::In(wait))) => {
                    let woken = self.came.wait_timeout(waiting, wait).unwrap_or_else(PoisonError::into_inner);
                    is_time = woken.1.timed_out();
                    waiting = woken.0;
                }
                _ if waiting.is_over() => return None,
                _ => {
                    is_time = false;
                    waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.closed && self.lanes.values().all(Lane::is_empty)
    }

    /// The tenant whose turn comes first, unless all wait for somebody to come or to be done.
    fn next(&self, now: Duration, batch_max: usize) -> Option<(TenantId, Next)> {
        let next = |lane: &Lane| match lane.next(now, batch_max) {
            Next::In(_) if self.closed => Next::Now,
            next => next,
        };
        // Of those whose turn it is, whoever began a batch longest ago.
        let turns = self.lanes.iter().map(|(tenant, lane)| (next(lane), lane.pace.last, *tenant));
        turns.min().filter(|(next, ..)| *next != Next::Later).map(|(next, _, tenant)| (tenant, next))
    }

    fn take(&mut self, tenant: TenantId, now: Duration, batch_max: usize) -> Vec<Queued> {
        let batch = self.lanes.get_mut(&tenant).map(|lane| lane.take(now, batch_max)).unwrap_or_default();
        self.from_outside -= batch.iter().filter(|queued| queued.from_outside).count();
        batch
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.now.is_empty() && self.lingering.is_empty()
    }

    fn may_go(&self, queued: &Queued) -> bool {
        !self.under_way.contains(&queued.subject)
    }

    fn next(&self, now: Duration, batch_max: usize) -> Next {
        if !self.under_way.is_empty() {
            let enough = if self.pace.is_load { batch_max } else { 1 };
            let going = self.now.iter().filter(|queued| self.may_go(queued)).take(enough).count();
            return if going == enough { Next::Now } else { Next::Later };
        }
        let at = match (self.now.len(), self.lingering.is_empty()) {
            (0, true) => return Next::Later,
            (0, false) => self.linger_until,
            (waiting, _) if waiting >= batch_max => return Next::Now,
            _ => self.pace.next(),
        };
        match at.saturating_sub(now) {
            Duration::ZERO => Next::Now,
            wait => Next::In(wait),
        }
    }

    /// Everything that lingers goes along.
    fn take(&mut self, now: Duration, batch_max: usize) -> Vec<Queued> {
        let (mut batch, mut left) = (Vec::new(), VecDeque::new());
        for queued in std::mem::take(&mut self.now) {
            if batch.len() < batch_max && self.may_go(&queued) {
                batch.push(queued);
            } else {
                left.push_back(queued);
            }
        }
        self.now = left;
        batch.append(&mut self.lingering);
        self.under_way.extend(batch.iter().map(|queued| queued.subject));
        self.pace.began(now, batch.len());
        batch
    }

    fn ended(&mut self, subjects: &[u64], now: Duration) {
        self.pace.ended(now);
        for subject in subjects {
            if let Some(at) = self.under_way.iter().position(|under_way| under_way == subject) {
                self.under_way.swap_remove(at);
            }
        }
    }
}

/// A batch under way.
struct UnderWay<'a> {
    queue: &'a Queue,
    desk: &'a Desk,
    tenant: TenantId,
    subjects: Vec<u64>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        if let Some(lane) = waiting.lanes.get_mut(&self.tenant) {
            lane.ended(&self.subjects, self.desk.clock.steady());
        }
        // A thread that ends like this is a bug; whoever waits is told, and the process says that it is not well.
        if std::thread::panicking() {
            *waiting = Waiting { closed: true, ..Waiting::default() };
        }
        drop(waiting);
        self.queue.came.notify_all();
    }
}

/// When the next batch may begin.
#[derive(Default)]
struct Pace {
    /// When the last batch began, and how long the last one that ended took.
    last: Duration,
    took: Duration,
    /// Since when events are counted, and how many there were.
    since: Duration,
    seen: u32,
    is_load: bool,
}

impl Pace {
    /// A batch of so many events begins now.
    fn began(&mut self, now: Duration, events: usize) {
        self.last = now;
        self.seen = self.seen.saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
        let judged = now.saturating_sub(self.since);
        if judged >= JUDGED {
            self.is_load = self.took.saturating_mul(self.seen) >= judged.saturating_mul(COMPANY);
            (self.since, self.seen) = (now, 0);
        }
    }

    /// A batch ends now; of two beside each other the one that began last tells for both.
    fn ended(&mut self, now: Duration) {
        self.took = now.saturating_sub(self.last);
    }

    /// Not before: a steady reading.
    fn next(&self) -> Duration {
        if self.is_load { self.last + PACE_MOST.min(self.took.saturating_mul(PACE)) } else { Duration::ZERO }
    }
}

#[async_trait]
impl Door for Thread {
    async fn ask(&self, command: Command) -> Outcome {
        self.queue(command, true).await
    }

    async fn tell(&self, command: Command) -> Outcome {
        self.queue(command, false).await
    }

    async fn look_back(&self) {
        if !self.desk.has_unsettled() {
            return;
        }
        // Only reads, so the thread that writes need not stop for it.
        let (desk, after) = (Arc::clone(&self.desk), self.after.clone());
        let looked = tokio::task::spawn_blocking(move || after.send(desk.look_back()).is_ok());
        if looked.await.is_err() {
            tracing::error!("looking back at unknown commits ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use schema::ids::{EventId, OrderId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::order::Event;

    /// The pace after a second of batches of one event each, that begin `apart_ms` apart and take `takes_ms`.
    fn every(apart_ms: u64, takes_ms: u64) -> Pace {
        let mut pace = Pace::default();
        for number in 1..=1000 / apart_ms {
            let began = Duration::from_millis(1000 + number * apart_ms);
            pace.began(began, 1);
            pace.ended(began + Duration::from_millis(takes_ms));
        }
        pace
    }

    #[test]
    fn where_two_come_while_a_batch_is_written_the_next_waits_as_long_again_and_otherwise_begins_at_once() {
        let last = Duration::from_millis(2000);
        let paced = |by_ms| last + Duration::from_millis(by_ms);
        for (apart_ms, takes_ms, next) in [
            (4, 8, paced(16)),
            (10, 20, paced(40)),
            (10, 40, last + PACE_MOST),
            (4, 7, Duration::ZERO),
            (10, 10, Duration::ZERO),
            (20, 8, Duration::ZERO),
        ] {
            assert_eq!(every(apart_ms, takes_ms).next(), next, "every {apart_ms} ms, taking {takes_ms} ms");
        }
    }

    #[test]
    fn after_a_pause_nobody_waits_for_company() {
        let mut pace = every(4, 8);
        pace.began(Duration::from_secs(60), 1);
        assert_eq!(pace.next(), Duration::ZERO);
    }

    const FULL: usize = 3;
    const NOW: Duration = Duration::ZERO;

    fn about(order: u128) -> Queued {
        let command = Command {
            tenant: TenantId::from_uuid(Uuid::nil()),
            event_id: EventId::from_uuid(Uuid::nil()),
            what: What::Order(OrderId::from_uuid(Uuid::from_u128(order)), Event::Cancelled),
            answers: None,
            key: None,
            trace_id: None,
        };
        Queued { subject: subject(&command), command, from_outside: false, answer: oneshot::channel().0 }
    }

    fn orders(batch: &[Queued]) -> Vec<u64> {
        batch.iter().map(|queued| queued.subject).collect()
    }

    #[test]
    fn beside_a_batch_under_way_another_begins_about_nothing_that_the_first_is_about() {
        let mut lane = Lane::default();
        lane.now.push_back(about(1));
        let first = orders(&lane.take(NOW, FULL));
        lane.now.push_back(about(1));
        assert_eq!(lane.next(NOW, FULL), Next::Later);
        lane.now.extend([about(2), about(1), about(3)]);
        assert_eq!(lane.next(NOW, FULL), Next::Now);
        assert_eq!(orders(&lane.take(NOW, FULL)), orders(&[about(2), about(3)]));
        assert_eq!(lane.next(NOW, FULL), Next::Later);
        lane.ended(&first, NOW);
        assert_eq!(lane.next(NOW, FULL), Next::Now, "the first's own order may go on beside the second");
    }

    #[test]
    fn under_load_only_a_full_batch_begins_beside_another() {
        let mut lane = Lane { pace: Pace { is_load: true, ..Pace::default() }, ..Lane::default() };
        assert_eq!(lane.next(NOW, FULL), Next::Later);
        lane.now.push_back(about(1));
        assert_eq!(lane.next(NOW, FULL), Next::Now);
        let first = orders(&lane.take(NOW, FULL));
        lane.now.extend([about(2), about(1), about(3)]);
        assert_eq!(lane.next(NOW, FULL), Next::Later, "two that may go are no full batch");
        lane.now.push_back(about(4));
        assert_eq!(lane.next(NOW, FULL), Next::Now);
        assert_eq!(orders(&lane.take(NOW, FULL)), orders(&[about(2), about(3), about(4)]));
        assert_eq!(lane.next(NOW, FULL), Next::Later);
        lane.ended(&first, NOW);
        assert_eq!(lane.next(NOW, FULL), Next::Later, "the second is still under way");
        lane.ended(&orders(&[about(2), about(3), about(4)]), NOW);
        assert_eq!((lane.next(NOW, FULL), lane.now.len()), (Next::Now, 1));
    }
}
