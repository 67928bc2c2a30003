//! The desk fed as its thread feeds it, with whatever queued while the last commit ran, but in one thread and from the
//! seed. Commands that meet in one batch are decided on each other's leavings.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use platform::clock::Clock as _;
use platform::journey::desk::{Aftermath, Command, Desk, Door, Outcome};
use schema::refusal::{Code, Refusal};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::SimClock;

/// How long a commit takes at most, in milliseconds: slow, so that something queues.
const COMMIT_MS: u32 = 250;
/// The desk takes at most so many at once.
const BATCH_MAX: u32 = 8;

/// A way to a desk in one thread.
pub struct Batches {
    desk: Desk,
    clock: Arc<SimClock>,
    after: mpsc::UnboundedSender<Aftermath>,
    queue: Mutex<Vec<(Command, oneshot::Sender<Outcome>)>>,
    queued: Notify,
    sizes: Arc<Mutex<Vec<usize>>>,
}

impl Batches {
    /// `sizes` learns how large each batch was.
    pub fn new(
        desk: Desk,
        clock: Arc<SimClock>,
        after: mpsc::UnboundedSender<Aftermath>,
        sizes: Arc<Mutex<Vec<usize>>>,
    ) -> Arc<Batches> {
        Arc::new(Batches { desk, clock, after, queue: Mutex::default(), queued: Notify::new(), sizes })
    }

    /// Runs until the process crashes; what is queued then is lost with its callers.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.queued.notified().await;
            while !self.queue.lock().expect("one thread").is_empty() {
                self.clock.pause(COMMIT_MS).await;
                self.commit();
            }
        }
    }

    fn commit(&self) {
        let most = 1 + self.clock.below(BATCH_MAX) as usize;
        let (commands, answers): (Vec<_>, Vec<_>) = {
            let mut queue = self.queue.lock().expect("one thread");
            let most = most.min(queue.len());
            queue.drain(..most).unzip()
        };
        self.sizes.lock().expect("one thread").push(commands.len());
        let (outcomes, aftermath) = self.desk.step(commands);
        let _ = self.after.send(aftermath);
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            let _ = answer.send(outcome);
        }
    }
}

#[async_trait]
impl Door for Batches {
    async fn ask(&self, command: Command) -> Outcome {
        self.tell(command).await
    }

    async fn tell(&self, command: Command) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.queue.lock().expect("one thread").push((command, answer));
        self.queued.notify_one();
        outcome.await.unwrap_or_else(|_| Outcome::Refused(Refusal::new(Code::OutcomeUnknown, "the process crashed")))
    }

    async fn look_back(&self) {
        if self.desk.has_unsettled() {
            let _ = self.after.send(self.desk.look_back());
        }
    }
}
