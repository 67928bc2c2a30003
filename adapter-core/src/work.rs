//! Work items on offer to the HIS: in memory what the journal holds unanswered.
//!
//! An item that was handed out is not offered again for a while, so that an HIS which polls with several threads gets
//! each item once; if no answer came by then it is offered again, under the same id.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schema::his::WorkItem;
use schema::ids::MessageId;
use tokio::sync::Notify;
use tokio::time::Instant;

struct Offer {
    item: Arc<WorkItem>,
    quiet_until: Option<Instant>,
}

#[derive(Default)]
struct Inner {
    offers: BTreeMap<i64, Offer>,
    places: HashMap<MessageId, i64>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct WorkQueue {
    inner: Mutex<Inner>,
    changed: Notify,
}

impl std::fmt::Debug for WorkQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkQueue({} waiting)", self.waiting())
    }
}

impl WorkQueue {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many items wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.inner().offers.len()
    }

    /// Puts an item on offer at its place in the order of arrival, unless it is there.
    pub(crate) fn offer(&self, seq: i64, item: WorkItem) {
        let mut inner = self.inner();
        if inner.offers.contains_key(&seq) {
            return;
        }
        inner.places.insert(item.id, seq);
        inner.offers.insert(seq, Offer { item: Arc::new(item), quiet_until: None });
        drop(inner);
        self.changed.notify_waiters();
    }

    /// The item with this id, while it waits for an answer.
    pub(crate) fn item(&self, id: MessageId) -> Option<Arc<WorkItem>> {
        let inner = self.inner();
        let place = inner.places.get(&id)?;
        inner.offers.get(place).map(|offer| Arc::clone(&offer.item))
    }

    /// Answered: no longer on offer.
    pub(crate) fn remove(&self, id: MessageId) {
        let mut inner = self.inner();
        if let Some(place) = inner.places.remove(&id) {
            inner.offers.remove(&place);
        }
    }

    /// Offers an item again after `quiet`, whatever was said when it was taken.
    pub(crate) fn hold(&self, id: MessageId, quiet: Duration) {
        let mut inner = self.inner();
        let Some(place) = inner.places.get(&id).copied() else { return };
        if let Some(offer) = inner.offers.get_mut(&place) {
            offer.quiet_until = Some(Instant::now() + quiet);
        }
        drop(inner);
        // Whoever sleeps until the end of the old quiet time must look again.
        self.changed.notify_waiters();
    }

    /// Takes up to `most` items, oldest first; or says when the next one that is quiet now comes back.
    fn take(&self, now: Instant, most: usize, quiet: Duration) -> Result<Vec<Arc<WorkItem>>, Option<Instant>> {
        let mut inner = self.inner();
        let mut taken = Vec::new();
        let mut soonest: Option<Instant> = None;
        for offer in inner.offers.values_mut() {
            if taken.len() == most {
                break;
            }
            match offer.quiet_until {
                Some(until) if until > now => soonest = Some(soonest.map_or(until, |other| other.min(until))),
                _ => {
                    offer.quiet_until = Some(now + quiet);
                    taken.push(Arc::clone(&offer.item));
                }
            }
        }
        if taken.is_empty() { Err(soonest) } else { Ok(taken) }
    }

    /// Waits until there is at least one item and takes up to `most`; empty after `deadline`.
    pub(crate) async fn wait(&self, most: usize, quiet: Duration, deadline: Instant) -> Vec<Arc<WorkItem>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that an item that arrives in between is not slept over.
            changed.as_mut().enable();
            let wake = match self.take(Instant::now(), most, quiet) {
                Ok(items) => return items,
                Err(soonest) => soonest.map_or(deadline, |at| at.min(deadline)),
            };
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(wake) => {
                    if Instant::now() >= deadline {
                        return self.take(Instant::now(), most, quiet).unwrap_or_default();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::ids::OrderId;
    use schema::link::{Release, ToInstitution};

    fn item(number: u128) -> WorkItem {
        WorkItem {
            id: MessageId::from_uuid(uuid::Uuid::from_u128(number)),
            received_at_us: 0,
            trace_id: None,
            work: ToInstitution::Release(Release {
                order_id: OrderId::from_uuid(uuid::Uuid::nil()),
                bill_no: "B".into(),
            }),
        }
    }

    fn ids(items: &[Arc<WorkItem>]) -> Vec<u128> {
        items.iter().map(|item| item.id.uuid().as_u128()).collect()
    }

    #[test]
    fn an_item_is_handed_out_once_and_again_when_it_stays_unanswered() {
        let queue = WorkQueue::default();
        let (start, quiet) = (Instant::now(), Duration::from_secs(10));
        queue.offer(1, item(1));
        assert_eq!(ids(&queue.take(start, 10, quiet).expect("one")), [1]);
        assert_eq!(queue.take(start, 10, quiet).err(), Some(Some(start + quiet)), "quiet until then");
        assert_eq!(ids(&queue.take(start + quiet, 10, quiet).expect("one")), [1]);
        queue.remove(item(1).id);
        assert_eq!(queue.take(start + 2 * quiet, 10, quiet).err(), Some(None), "answered: gone");
    }

    #[tokio::test]
    async fn a_waiting_poll_is_woken_by_an_arrival() {
        let queue = Arc::new(WorkQueue::default());
        let poller = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.wait(10, Duration::from_secs(10), Instant::now() + Duration::from_secs(3600)).await }
        });
        tokio::task::yield_now().await;
        queue.offer(1, item(7));
        assert_eq!(ids(&poller.await.expect("polled")), [7]);
    }
}
