//! Starts actions whose time has come, and passes deadlines to their orders.

use std::sync::Arc;
use std::time::Duration;

use schema::ids::{EventId, OrderId, ProcessId, TenantId};
use schema::refusal::Refusal;

use super::perform::Performer;
use crate::domain::order::Event;
use crate::journey::Ground;
use crate::journey::desk::{Command, What};

/// How many rows are taken at once; the rest follows in the next round without a wait.
const TAKEN_MAX: u32 = 256;
/// Nothing is looked for more often than this.
const SHORTEST_WAIT_MS: i64 = 20;
/// A row that another process wrote is seen after this at the latest.
const LONGEST_WAIT_MS: i64 = 250;

/// Runs for ever.
pub async fn run(ground: Arc<Ground>, performer: Arc<Performer>, me: ProcessId) {
    loop {
        let wait_ms = match round(&ground, &performer, me).await {
            Ok(wait_ms) => wait_ms,
            Err(refusal) => {
                tracing::warn!(%refusal, "due actions could not be looked for");
                LONGEST_WAIT_MS
            }
        };
        tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))).await;
    }
}

/// One round; how long to wait for the next, in milliseconds.
async fn round(ground: &Arc<Ground>, performer: &Arc<Performer>, me: ProcessId) -> Result<i64, Refusal> {
    let now_us = ground.clock.now_us();
    let due = ground.read(move |store| store.take_due(me, now_us, TAKEN_MAX)).await?;
    let late = ground.read(move |store| store.past_deadline(now_us, TAKEN_MAX)).await?;
    let full = due.len() == TAKEN_MAX as usize || late.len() == TAKEN_MAX as usize;
    for due in due {
        performer.start(due);
    }
    for (tenant, order) in late {
        pass_deadline(ground, tenant, order).await;
    }
    if full {
        return Ok(0);
    }
    let next_us = ground.read(|store| store.next_due()).await?;
    let wait_ms = next_us.map_or(LONGEST_WAIT_MS, |next_us| (next_us - ground.clock.now_us()) / 1000);
    Ok(wait_ms.clamp(SHORTEST_WAIT_MS, LONGEST_WAIT_MS))
}

async fn pass_deadline(ground: &Ground, tenant: TenantId, order: OrderId) {
    let command = Command {
        tenant,
        event_id: EventId::from_uuid(ground.clock.fresh()),
        what: What::Order(order, Event::DeadlinePassed),
        answers: None,
        key: None,
        trace_id: None,
    };
    if let Err(refusal) = ground.desk.tell(command).await.order() {
        tracing::debug!(%order, %refusal, "a deadline was overtaken");
    }
}
