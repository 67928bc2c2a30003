//! Hands records to the event sink, in order per order, and marks them once the sink has them for good.
//!
//! A batch holds the first unpublished records of its orders, and is marked only when the sink has all of it. Whoever
//! dies between the two is followed by somebody who hands over the same again; so is whoever thinks it is still the
//! publisher and is not. What a sink gets is therefore in sequence per order, with repeats.
//!
//! One process publishes for all, into all partitions: the store is asked once for what is unpublished, whatever becomes
//! of it, and one publisher keeps up with many times what the store can commit. A lease per partition would multiply that
//! question and divide nothing that is scarce.

use std::sync::Arc;
use std::time::Duration;

use schema::ids::ProcessId;
use schema::refusal::{Code, Refusal};
use tokio::sync::{Mutex, Notify};

use super::duty::Duty;
use crate::events::Sink;
use crate::journey::Ground;
use crate::store::{Store, StoreError};

/// The duty of whoever publishes.
pub const DUTY: &str = "publish";

const BATCH_MAX: u32 = 512;
/// Woken by commits; looks by itself this often for what others committed, and whether the duty is free.
const LOOK_MS: u64 = 1000;
/// After a commit this passes before its records are taken, so that one batch holds those of many commits: whoever
/// reconciles does not wait for the millisecond, and every batch costs a question, the sink's flush and a commit.
const GATHER_MS: u64 = 50;
/// A sink that did not take a batch is offered it again after this.
const AGAIN_MS: u64 = 500;

/// Runs for ever.
pub async fn run(ground: Arc<Ground>, sink: Box<dyn Sink>, records: Arc<Notify>, me: ProcessId) {
    let sink = Arc::new(Mutex::new(sink));
    let mut duty = Duty::new(DUTY, me);
    loop {
        match round(&ground, &sink, &mut duty).await {
            Ok(Next::Batch) => {}
            Ok(Next::Commit) => {
                let _ = tokio::time::timeout(Duration::from_millis(LOOK_MS), records.notified()).await;
                tokio::time::sleep(Duration::from_millis(GATHER_MS)).await;
            }
            Ok(Next::Look) => tokio::time::sleep(Duration::from_millis(LOOK_MS)).await,
            Err(refusal) => {
                tracing::warn!(%refusal, "records could not be published");
                tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
            }
        }
    }
}

/// What is waited for.
enum Next {
    /// Nothing: there may be more.
    Batch,
    /// A commit.
    Commit,
    /// That the duty is free: another publishes.
    Look,
}

async fn round(ground: &Ground, sink: &Arc<Mutex<Box<dyn Sink>>>, duty: &mut Duty) -> Result<Next, Refusal> {
    if !duty.hold(ground).await? {
        return Ok(Next::Look);
    }
    let mut held = Arc::clone(sink).lock_owned().await;
    let publishing = ground.read(move |store| publish(store, held.as_mut()));
    let more = duty.during(ground, publishing).await;
    let more = more.map_err(|refusal| Refusal { code: Code::Overloaded, ..refusal })?;
    Ok(if more { Next::Batch } else { Next::Commit })
}

/// Hands over one batch and marks it; `true` if there may be more.
pub fn publish(store: &dyn Store, sink: &mut dyn Sink) -> Result<bool, StoreError> {
    let batch = store.unpublished(BATCH_MAX)?;
    if batch.is_empty() {
        return Ok(false);
    }
    sink.append(&batch).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let marks: Vec<_> = batch.iter().map(|record| (record.tenant, record.order, record.sequence)).collect();
    store.mark_published(&marks)?;
    Ok(batch.len() == BATCH_MAX as usize)
}
