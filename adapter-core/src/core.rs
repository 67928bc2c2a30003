//! What the parts of a running adapter share.

use std::sync::Arc;

use schema::his::WorkItem;
use schema::ids::MessageId;
use schema::link::ToInstitution;
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

impl Core {
    /// Resolves when the adapter is to stop.
    pub(crate) async fn stopped(&self) {
        // The sender lives in this very structure, so waiting cannot fail.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Puts durable work on offer to the HIS.
    pub(crate) fn offer(
        self: &Arc<Core>,
        seq: i64,
        id: MessageId,
        trace_id: Option<String>,
        received_at_us: i64,
        work: ToInstitution,
    ) {
        self.work.offer(seq, WorkItem { id, received_at_us, trace_id, work });
    }
}
