//! The desk on threads of its own.

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schema::ids::TenantId;
use schema::refusal::{Code, Refusal};
use tokio::sync::{mpsc, oneshot};

use super::Desk;
use super::command::{Aftermath, Command, Door, Outcome, What};

/// What nobody waits for goes with the next batch, or by itself after this.
const LINGER: Duration = Duration::from_millis(50);

struct Queued {
    command: Command,
    from_outside: bool,
    answer: oneshot::Sender<Outcome>,
}

impl Queued {
    /// Only that an action is done or waits: nobody's payment goes on by it, and a commit of its own would cost as much
    /// as a step of an order.
    fn may_linger(&self) -> bool {
        matches!(self.command.what, What::ActionDone | What::Postpone(_))
    }
}

/// The way into one lane.
#[derive(Clone)]
struct Entry {
    /// `None` only wakes the lane.
    now: mpsc::UnboundedSender<Option<Queued>>,
    lingering: mpsc::UnboundedSender<Queued>,
    /// Somebody will wake the lane for what lingers.
    awaited: Arc<AtomicBool>,
}

impl Entry {
    /// Gives it back if the lane has ended.
    fn take(&self, queued: Queued) -> Result<(), ()> {
        if !queued.may_linger() {
            return self.now.send(Some(queued)).map_err(drop);
        }
        self.lingering.send(queued).map_err(drop)?;
        if !self.awaited.swap(true, Ordering::AcqRel) {
            let now = self.now.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                let _ = now.send(None);
            });
        }
        Ok(())
    }
}

/// The desk on threads of its own, one a lane. A batch is whatever queued in a lane while its last commit ran.
///
/// A lane is (tenant, hash of the order, or of the bill where no order is named): what belongs together mostly meets in
/// one batch. Nothing depends on it: two lanes, or two processes, that decide on one order are told apart by its version.
pub struct Thread {
    desk: Arc<Desk>,
    after: mpsc::UnboundedSender<Aftermath>,
    lanes: Vec<Entry>,
    from_outside: Arc<AtomicUsize>,
    from_outside_max: usize,
    handles: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Thread {
    /// Starts the threads. What is to happen after each commit goes to `after`, in commit order within a lane.
    pub fn start(
        desk: Desk,
        lanes: usize,
        batch_max: usize,
        from_outside_max: usize,
        after: mpsc::UnboundedSender<Aftermath>,
    ) -> std::io::Result<Arc<Thread>> {
        let from_outside = Arc::new(AtomicUsize::new(0));
        let desk = Arc::new(desk);
        let mut queues = Vec::with_capacity(lanes);
        let mut handles = Vec::with_capacity(lanes);
        for number in 0..lanes.max(1) {
            let (now, waiting) = mpsc::unbounded_channel();
            let (lingering, lingers) = mpsc::unbounded_channel();
            let awaited = Arc::new(AtomicBool::new(false));
            let lane = Lane {
                awaited: Arc::clone(&awaited),
                desk: Arc::clone(&desk),
                from_outside: Arc::clone(&from_outside),
                after: after.clone(),
                batch_max,
            };
            queues.push(Entry { now, lingering, awaited });
            handles.push(
                std::thread::Builder::new().name(format!("desk-{number}")).spawn(move || lane.run(waiting, lingers))?,
            );
        }
        let handles = Mutex::new(handles);
        Ok(Arc::new(Thread { desk, after, lanes: queues, from_outside, from_outside_max, handles }))
    }

    /// Whether a thread has ended (a bug: none ever does while the process lives).
    pub fn is_dead(&self) -> bool {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().any(std::thread::JoinHandle::is_finished)
    }

    fn lane(&self, command: &Command) -> &Entry {
        let mut hasher = std::hash::DefaultHasher::new();
        command.tenant.hash(&mut hasher);
        match &command.what {
            What::Order(order, _) | What::Refund(order, _, _) | What::Open { order, .. } => order.hash(&mut hasher),
            What::TakeBill(bill) => bill.facts.bill_no.hash(&mut hasher),
            What::ByBill(_, bill_no, _) | What::Claim(_, bill_no) => bill_no.hash(&mut hasher),
            What::ActionDone | What::Postpone(_) | What::Instead(..) => command.event_id.hash(&mut hasher),
        }
        &self.lanes[usize::try_from(hasher.finish() % self.lanes.len() as u64).unwrap_or(0)]
    }

    async fn queue(&self, command: Command, from_outside: bool) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let gone = || Outcome::Refused(Refusal::new(Code::OutcomeUnknown, "the desk has stopped"));
        if self.lane(&command).take(Queued { command, from_outside, answer }).is_err() {
            return gone();
        }
        outcome.await.unwrap_or_else(|_| gone())
    }
}

/// One thread's work.
struct Lane {
    desk: Arc<Desk>,
    from_outside: Arc<AtomicUsize>,
    after: mpsc::UnboundedSender<Aftermath>,
    batch_max: usize,
    awaited: Arc<AtomicBool>,
}

impl Lane {
    fn run(&self, mut waiting: mpsc::UnboundedReceiver<Option<Queued>>, mut lingers: mpsc::UnboundedReceiver<Queued>) {
        let mut taken = Vec::with_capacity(self.batch_max);
        while waiting.blocking_recv_many(&mut taken, self.batch_max) > 0 {
            // Before they are taken, and as one step with the senders' own: what came before is taken here, whoever comes
            // later sees to being fetched. All are taken, or nobody would come for the rest.
            self.awaited.swap(false, Ordering::AcqRel);
            let mut batch: Vec<Queued> = taken.drain(..).flatten().collect();
            batch.extend(std::iter::from_fn(|| lingers.try_recv().ok()));
            let outside = batch.iter().filter(|queued| queued.from_outside).count();
            self.from_outside.fetch_sub(outside, Ordering::Relaxed);
            for (_, queued) in by_tenant(batch) {
                let (commands, answers): (Vec<_>, Vec<_>) =
                    queued.into_iter().map(|queued| (queued.command, queued.answer)).unzip();
                let (outcomes, aftermath) = self.desk.step(commands);
                if !aftermath.is_empty() || aftermath.batch > 0 {
                    let _ = self.after.send(aftermath);
                }
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _ = answer.send(outcome);
                }
            }
        }
    }
}

fn by_tenant(queued: Vec<Queued>) -> BTreeMap<TenantId, Vec<Queued>> {
    let mut tenants: BTreeMap<TenantId, Vec<Queued>> = BTreeMap::new();
    for queued in queued {
        tenants.entry(queued.command.tenant).or_default().push(queued);
    }
    tenants
}

#[async_trait]
impl Door for Thread {
    async fn ask(&self, command: Command) -> Outcome {
        if self.from_outside.fetch_add(1, Ordering::Relaxed) >= self.from_outside_max {
            self.from_outside.fetch_sub(1, Ordering::Relaxed);
            return Outcome::Refused(Refusal::new(Code::Overloaded, "the desk's queue is full").after_s(1));
        }
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
