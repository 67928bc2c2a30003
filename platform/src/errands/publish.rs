//! Hands records to the event sink, in order per order, and marks them once the sink has them for good.

use std::sync::Arc;
use std::time::Duration;

use schema::refusal::{Code, Refusal};
use tokio::sync::{Mutex, Notify};

use crate::events::Sink;
use crate::journey::Ground;

const BATCH_MAX: u32 = 512;
/// Woken by commits; looks by itself this often for what a dead process left.
const LOOK_MS: u64 = 1000;
/// A sink that did not take a batch is offered it again after this.
const AGAIN_MS: u64 = 500;

/// Runs for ever.
pub async fn run(ground: Arc<Ground>, sink: Box<dyn Sink>, records: Arc<Notify>) {
    let sink = Arc::new(Mutex::new(sink));
    loop {
        match round(&ground, &sink).await {
            Ok(true) => {}
            Ok(false) => {
                let _ = tokio::time::timeout(Duration::from_millis(LOOK_MS), records.notified()).await;
            }
            Err(refusal) => {
                tracing::warn!(%refusal, "records could not be published");
                tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
            }
        }
    }
}

/// One batch; `true` if there may be more.
pub async fn round(ground: &Ground, sink: &Arc<Mutex<Box<dyn Sink>>>) -> Result<bool, Refusal> {
    let batch = ground.read(|store| store.unpublished(BATCH_MAX)).await?;
    if batch.is_empty() {
        return Ok(false);
    }
    let full = batch.len() == BATCH_MAX as usize;
    let marks: Vec<_> = batch.iter().map(|record| (record.tenant, record.order, record.sequence)).collect();
    let mut held = Arc::clone(sink).lock_owned().await;
    ground
        .read(move |store| {
            if let Err(error) = held.append(&batch) {
                return Err(crate::store::StoreError::Unavailable(error.to_string()));
            }
            store.mark_published(&marks)
        })
        .await
        .map_err(|refusal| Refusal { code: Code::Overloaded, ..refusal })?;
    Ok(full)
}
