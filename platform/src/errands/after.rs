//! What a commit sets going. Nothing here runs before its cause is durable.

use std::sync::Arc;

use schema::mobile::Bell;
use tokio::sync::{Notify, mpsc};

use super::perform::Performer;
use crate::journey::Ground;
use crate::journey::desk::{Aftermath, Start};

/// Receives what the desk committed, in commit order, until the desk ends.
pub async fn run(
    ground: Arc<Ground>,
    performer: Arc<Performer>,
    mut commits: mpsc::UnboundedReceiver<Aftermath>,
    records: Arc<Notify>,
    seen: impl Fn(&Aftermath),
) {
    while let Some(aftermath) = commits.recv().await {
        seen(&aftermath);
        for Start { due, order, since } in aftermath.start {
            performer.start(due, Some(order), since);
        }
        for (tenant, user, bell) in aftermath.bells {
            ground.ephemeral.ring(tenant, user, bell);
        }
        for (tenant, bill_id, patient) in aftermath.bills {
            let watchers = ground.read(move |store| store.watchers(tenant, &patient)).await;
            // A phone that misses its bell sees the bill when it next looks.
            for user in watchers.unwrap_or_default() {
                ground.ephemeral.ring(tenant, user, Bell::Bill { bill_id });
            }
        }
        if aftermath.records {
            records.notify_one();
        }
    }
}
