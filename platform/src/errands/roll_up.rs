//! Rolls postings up into balances. Any process may, and so may several at once: the store adds every posting once.

use std::sync::Arc;
use std::time::Duration;

use schema::refusal::Refusal;

use crate::journey::Ground;

/// Postings in one commit: it takes the embedded store's only writer for a moment.
const BATCH_MAX: u32 = 256;
/// Between two looks, and between two commits while there is more: payments go first.
const LOOK: Duration = Duration::from_secs(10);
const BREATH: Duration = Duration::from_millis(50);

/// Runs for ever.
pub async fn run(ground: Arc<Ground>) {
    loop {
        let rest = match round(&ground).await {
            Ok(true) => BREATH,
            Ok(false) => LOOK,
            Err(refusal) => {
                tracing::warn!(%refusal, "postings could not be rolled up");
                LOOK
            }
        };
        tokio::time::sleep(rest).await;
    }
}

/// One commit; `true` if there may be more to do.
pub async fn round(ground: &Ground) -> Result<bool, Refusal> {
    let added = ground.read(|store| store.roll_up(BATCH_MAX)).await?;
    Ok(added == BATCH_MAX as usize)
}
