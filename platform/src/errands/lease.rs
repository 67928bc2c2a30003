//! Whether this process may send anything outside.
//!
//! Its lease says that it lives. Once the lease is old enough that others may take the process for dead, they adopt its
//! actions and ask about them; a call that it still sends after that would be a second one. So nothing is sent for a
//! while before that, and what waited is sent only if it is still this process's to send.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::journey::Ground;
use crate::store::DueAction;

/// A lease older than this is a dead process's.
pub const DEAD_AFTER_MS: i64 = 4000;
/// A lease that was not renewed for this long keeps everything inside: a second before the process counts as dead.
const SENDS_FOR_MS: i64 = DEAD_AFTER_MS - 1000;
/// While the store does not say whose an action is, it is asked again after this.
const ASK_AGAIN_MS: u64 = 250;
/// Before the first renewal.
const NEVER: i64 = i64::MIN;

/// This process's lease, as far as it knows itself.
pub struct Lease {
    clock: Arc<dyn Clock>,
    /// The clock's steady reading just before the last renewal that the store took, in microseconds.
    renewed_at_us: AtomicI64,
    /// The steady reading since which it has held without a break, in microseconds.
    unbroken_since_us: AtomicI64,
    renewed: Notify,
}

impl Lease {
    /// Not yet renewed: nothing may be sent.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Lease {
        let (renewed_at_us, unbroken_since_us) = (AtomicI64::new(NEVER), AtomicI64::new(NEVER));
        Lease { clock, renewed_at_us, unbroken_since_us, renewed: Notify::new() }
    }

    /// The store took a renewal that was begun at this steady reading: before it, because the store's answer may be late.
    pub(super) fn renewed(&self, at: Duration) {
        let now = self.clock.steady();
        if !self.holds() {
            self.unbroken_since_us.fetch_max(us(now), Ordering::Release);
        }
        self.renewed_at_us.fetch_max(us(at), Ordering::Release);
        self.renewed.notify_waiters();
    }

    /// Whether something may be sent now.
    fn holds(&self) -> bool {
        let renewed_at_us = self.renewed_at_us.load(Ordering::Acquire);
        renewed_at_us != NEVER && us(self.clock.steady()) - renewed_at_us <= SENDS_FOR_MS * 1000
    }

    /// Whether it holds, and has held all the time since this steady reading: then whatever was this process's is still.
    fn has_held_since(&self, since: Duration) -> bool {
        self.holds() && self.unbroken_since_us.load(Ordering::Acquire) <= us(since)
    }

    async fn held(&self) {
        loop {
            let mut renewed = pin!(self.renewed.notified());
            renewed.as_mut().enable();
            if self.holds() {
                return;
            }
            renewed.await;
        }
    }

    /// Lets a call of an action that was this process's at the steady reading `since` go on only while the lease holds;
    /// whatever it does, it does between two looks at the lease. Where the lease was lost in between, be it before the
    /// call began, it goes on if the action is still this process's. `None`: another has adopted it, or it was answered,
    /// and the call was dropped where it stood.
    pub(super) async fn while_held<T>(
        &self,
        ground: &Ground,
        due: &DueAction,
        mut since: Duration,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        let mut call = pin!(call);
        loop {
            let step = std::future::poll_fn(|context| match self.has_held_since(since) {
                true => call.as_mut().poll(context).map(Some),
                false => Poll::Ready(None),
            });
            if let Some(answer) = step.await {
                return Some(answer);
            }
            tracing::warn!(action = due.action.action.kind(), order = %due.action.order, "the lease was lost meanwhile");
            since = self.still_ours(ground, due).await?;
        }
    }

    /// Waits for the lease and then asks the store: only in this order does the answer stay true while the lease holds.
    /// The steady reading at which the action was still this process's.
    async fn still_ours(&self, ground: &Ground, due: &DueAction) -> Option<Duration> {
        let (tenant, action) = (due.tenant, due.action.id);
        loop {
            self.held().await;
            let since = self.clock.steady();
            match ground.read_at_once(move |store| store.started_by(tenant, action)).await {
                Ok(process) => return (process.is_some() && process == due.action.started_by).then_some(since),
                Err(refusal) => tracing::warn!(%refusal, "the store does not say whose an action is"),
            }
            tokio::time::sleep(Duration::from_millis(ASK_AGAIN_MS)).await;
        }
    }
}

/// A steady reading as it is kept: microseconds.
fn us(reading: Duration) -> i64 {
    i64::try_from(reading.as_micros()).unwrap_or(i64::MAX)
}
