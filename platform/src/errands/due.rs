//! Starts actions whose time has come, passes deadlines to their orders, and has the desk look back at commits of which
//! nobody could say whether they are durable.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use schema::ids::{EventId, OrderId, ProcessId, TenantId};
use schema::refusal::{Code, Refusal};

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
/// An order whose deadline cannot be passed is left alone this long at first, twice as long each time after.
const FIRST_REST_MS: i64 = 1000;
const LONGEST_REST_MS: i64 = 300_000;

/// Runs for ever.
pub async fn run(ground: Arc<Ground>, performer: Arc<Performer>, me: ProcessId) {
    let mut resting = Resting::default();
    loop {
        let wait_ms = match round(&ground, &performer, me, &mut resting).await {
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
async fn round(
    ground: &Arc<Ground>,
    performer: &Arc<Performer>,
    me: ProcessId,
    resting: &mut Resting,
) -> Result<i64, Refusal> {
    ground.desk.look_back().await;
    let next_us = ground.read_at_once(|store| store.next_due()).await?;
    let now_us = ground.clock.now_us();
    match next_us {
        Some(at_us) if at_us <= now_us => {}
        later => {
            // Nothing is late, so nothing rests.
            resting.0.clear();
            let wait_ms = later.map_or(LONGEST_WAIT_MS, |at_us| (at_us - now_us) / 1000);
            return Ok(wait_ms.clamp(SHORTEST_WAIT_MS, LONGEST_WAIT_MS));
        }
    }
    let since = ground.clock.steady();
    let due = ground.read_at_once(move |store| store.take_due(me, now_us, TAKEN_MAX)).await?;
    let taken = due.len();
    // They are marked as this process's, so nothing may come between: nobody else would ever start them.
    for due in due {
        performer.start(due, None, since);
    }
    // Those that rest are the oldest: they must not fill the window.
    let most = TAKEN_MAX.saturating_add(resting.count());
    let late = ground.read_at_once(move |store| store.past_deadline(now_us, most)).await?;
    let late = resting.awake(late, now_us);
    let full = taken == TAKEN_MAX as usize || late.len() >= TAKEN_MAX as usize;
    // What rests is long due and says nothing about when to look again.
    let nothing_but_rest = taken == 0 && late.is_empty() && resting.count() > 0;
    for (tenant, order) in late {
        match pass_deadline(ground, tenant, order).await {
            Err(refusal) if refusal.code == Code::Internal => resting.rest(tenant, order, now_us, &refusal),
            Err(refusal) => tracing::debug!(%order, %refusal, "a deadline was overtaken"),
            Ok(()) => {}
        }
    }
    Ok(match (full, nothing_but_rest) {
        (true, _) => 0,
        (false, true) => LONGEST_WAIT_MS,
        (false, false) => SHORTEST_WAIT_MS,
    })
}

async fn pass_deadline(ground: &Ground, tenant: TenantId, order: OrderId) -> Result<(), Refusal> {
    let command = Command {
        tenant,
        event_id: EventId::from_uuid(ground.clock.fresh()),
        what: What::Order(order, Event::DeadlinePassed),
        answers: None,
        key: None,
        trace_id: None,
    };
    ground.desk.tell(command).await.order().map(|_| ())
}

/// Orders whose deadline cannot be passed because a row of theirs cannot be read or written: somebody must look, and
/// until then asking again and again helps nobody.
#[derive(Default)]
struct Resting(HashMap<(TenantId, OrderId), Rest>);

struct Rest {
    until_us: i64,
    next_ms: i64,
}

impl Resting {
    fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Those of `late` that do not rest now. Forgets the ones that are no longer late.
    fn awake(&mut self, late: Vec<(TenantId, OrderId)>, now_us: i64) -> Vec<(TenantId, OrderId)> {
        if self.0.is_empty() {
            return late;
        }
        let still: HashSet<_> = late.iter().copied().collect();
        self.0.retain(|order, _| still.contains(order));
        late.into_iter().filter(|order| self.0.get(order).is_none_or(|rest| rest.until_us <= now_us)).collect()
    }

    fn rest(&mut self, tenant: TenantId, order: OrderId, now_us: i64, refusal: &Refusal) {
        let rest = self.0.entry((tenant, order)).or_insert_with(|| {
            tracing::error!(%tenant, %order, %refusal, "a deadline cannot be passed; somebody must look");
            Rest { until_us: now_us, next_ms: FIRST_REST_MS }
        });
        rest.until_us = now_us + rest.next_ms * 1000;
        rest.next_ms = (rest.next_ms * 2).min(LONGEST_REST_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_cannot_be_passed_is_asked_less_and_less_and_others_as_ever() {
        let id = |number: u128| uuid::Uuid::from_u128(number);
        let (tenant, bad, good) = (TenantId::from_uuid(id(1)), OrderId::from_uuid(id(2)), OrderId::from_uuid(id(3)));
        let (both, refusal) = (vec![(tenant, bad), (tenant, good)], Refusal::new(Code::Internal, "damaged"));
        let mut resting = Resting::default();
        let mut asked_ms = Vec::new();
        for now_ms in (0..1_000_000).step_by(20) {
            let awake = resting.awake(both.clone(), now_ms * 1000);
            assert!(awake.contains(&(tenant, good)));
            if awake.contains(&(tenant, bad)) {
                asked_ms.push(now_ms);
                resting.rest(tenant, bad, now_ms * 1000, &refusal);
            }
        }
        let waits: Vec<i64> = asked_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000]);
        assert_eq!(resting.count(), 1);
        assert_eq!(resting.awake(vec![(tenant, good)], 0), [(tenant, good)]);
        assert_eq!(resting.count(), 0, "one that was mended starts afresh");
    }
}
