//! Leases: this process says every second that it lives; the actions of a process that no longer does are adopted and
//! asked about. A process that could not say so for three seconds sends nothing outside until it can
//! ([`super::lease`]).

use std::sync::Arc;
use std::time::Duration;

use schema::ids::ProcessId;
use schema::refusal::Refusal;

use super::lease::DEAD_AFTER_MS;
use super::perform::Performer;
use crate::journey::Ground;
use crate::store::NewAction;

const RENEW_MS: u64 = 1000;
const ADOPTED_MAX: u32 = 256;

/// Runs for ever.
pub async fn run(ground: Arc<Ground>, performer: Arc<Performer>, me: ProcessId) {
    loop {
        if let Err(refusal) = round(&ground, &performer, me, DEAD_AFTER_MS).await {
            tracing::warn!(%refusal, "the lease could not be renewed");
        }
        tokio::time::sleep(Duration::from_millis(RENEW_MS)).await;
    }
}

/// Renews the lease and adopts what processes silent for `dead_after_ms` have left. A process that holds the store's
/// lock knows that nobody else lives, and passes 0 once at its start.
pub async fn round(
    ground: &Arc<Ground>,
    performer: &Arc<Performer>,
    me: ProcessId,
    dead_after_ms: i64,
) -> Result<(), Refusal> {
    let now_us = ground.clock.now_us();
    let reading = ground.clock.steady();
    ground.read(move |store| store.renew_lease(me, now_us)).await?;
    performer.lease().renewed(reading);
    loop {
        let since = ground.clock.steady();
        let adopted = ground.read(move |store| store.adopt(me, now_us, dead_after_ms, ADOPTED_MAX)).await?;
        let full = adopted.len() == ADOPTED_MAX as usize;
        for due in adopted {
            let NewAction { order, action, trace_id, .. } = &due.action;
            tracing::info!(trace_id, %order, action = action.kind(), "adopted from the dead");
            performer.adopt(due, since);
        }
        if !full {
            return Ok(());
        }
    }
}
