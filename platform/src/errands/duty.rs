//! A duty: what one process does for all of them. It is renewed while it is held, and passes to another when it has not
//! been for as long as it takes to think a process dead.

use std::time::Duration;

use schema::ids::ProcessId;
use schema::refusal::Refusal;

use super::lease::DEAD_AFTER_MS;
use crate::journey::Ground;

/// Held for this long without asking again: far less than what makes it pass to another.
const RENEW: Duration = Duration::from_millis(1000);

/// One duty as one process sees it.
pub struct Duty {
    name: &'static str,
    me: ProcessId,
    /// The clock's steady reading just before the store last said that it is ours.
    renewed: Option<Duration>,
}

impl Duty {
    /// Not yet held.
    pub fn new(name: &'static str, me: ProcessId) -> Duty {
        Duty { name, me, renewed: None }
    }

    /// Whether it is this process's for a step that begins now.
    pub async fn hold(&mut self, ground: &Ground) -> Result<bool, Refusal> {
        let reading = ground.clock.steady();
        if self.renewed.is_some_and(|renewed| reading.saturating_sub(renewed) < RENEW) {
            return Ok(true);
        }
        let was_held = self.renewed.take().is_some();
        let (name, me, now_us) = (self.name, self.me, ground.clock.now_us());
        let held = ground.read(move |store| store.hold_duty(name, me, now_us, DEAD_AFTER_MS)).await?;
        self.renewed = held.then_some(reading);
        if held != was_held {
            tracing::info!(duty = name, held, "a duty has changed hands");
        }
        Ok(held)
    }

    /// Renews it while a long step runs. That it was lost meanwhile stops nothing that has begun: the next
    /// [`Duty::hold`] says so.
    pub async fn during<T>(&mut self, ground: &Ground, step: impl Future<Output = T>) -> T {
        let mut step = std::pin::pin!(step);
        loop {
            tokio::select! {
                biased;
                done = &mut step => return done,
                () = tokio::time::sleep(RENEW) => if let Err(refusal) = self.hold(ground).await {
                    tracing::warn!(%refusal, duty = self.name, "a duty could not be renewed");
                },
            }
        }
    }
}
