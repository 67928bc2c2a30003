//! What the parts of a running adapter share.

use schema::his::WorkItem;
use schema::ids::MessageId;
use schema::link::ToInstitution;
use schema::refusal::{Code, Refusal};
use schema::sign::SigningKey;
use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::journal::Journal;
use crate::keys::{ApiKey, Home};
use crate::link::LinkState;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::work::WorkQueue;

pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) clock: SharedClock,
    pub(crate) home: Home,
    pub(crate) key: SigningKey,
    pub(crate) api_key: ApiKey,
    pub(crate) journal: Journal,
    pub(crate) outbox: Outbox,
    pub(crate) work: WorkQueue,
    pub(crate) link: watch::Sender<LinkState>,
    pub(crate) metrics: Metrics,
    pub(crate) stop: watch::Sender<bool>,
}

/// Does something that must not stop half-way, even if whoever waits for it goes away: an HIS that hangs up drops its
/// handler, a link that breaks drops its conversation, and what is in the journal by then must still be acted upon.
pub(crate) async fn unbroken<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Refusal> {
    tokio::spawn(work).await.map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

impl Core {
    /// Resolves when the adapter is to stop.
    pub(crate) async fn stopped(&self) {
        // The sender lives in this very structure, so waiting cannot fail.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Puts durable work on offer to the HIS, unless it is there.
    pub(crate) fn offer(
        &self,
        seq: i64,
        id: MessageId,
        trace_id: Option<String>,
        received_at_us: i64,
        work: ToInstitution,
    ) {
        self.work.offer(seq, WorkItem { id, received_at_us, trace_id, work });
    }
}
