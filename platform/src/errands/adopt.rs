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

/// Between two looks for the dead. What one of them held goes on within five seconds: after [`DEAD_AFTER_MS`], this, and a
/// question.
const LOOK_MS: u64 = 250;
/// The lease is renewed every second, with every so many looks.
const LOOKS_A_RENEWAL: u32 = 4;
const ADOPTED_MAX: u32 = 256;

/// Runs for ever.
pub async fn run(ground: Arc<Ground>, performer: Arc<Performer>, me: ProcessId) {
    for look in (0..LOOKS_A_RENEWAL).cycle() {
        let done = match look {
            0 => round(&ground, &performer, me, DEAD_AFTER_MS).await,
            _ => adopt(&ground, &performer, me, DEAD_AFTER_MS).await,
        };
        if let Err(refusal) = done {
            tracing::warn!(%refusal, "the lease could not be renewed, or the dead not looked for");
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
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
    ground.read_at_once(move |store| store.renew_lease(me, now_us)).await?;
    performer.lease().renewed(reading);
    adopt(ground, performer, me, dead_after_ms).await
}

async fn adopt(
    ground: &Arc<Ground>,
    performer: &Arc<Performer>,
    me: ProcessId,
    dead_after_ms: i64,
) -> Result<(), Refusal> {
    let now_us = ground.clock.now_us();
    loop {
        let since = ground.clock.steady();
        let adopted = ground.read_at_once(move |store| store.adopt(me, now_us, dead_after_ms, ADOPTED_MAX)).await?;
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
