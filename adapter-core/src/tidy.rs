//! Once a day, forgets what was answered long ago.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;

const DAY_S: u64 = 86_400;
const DAY_US: i64 = 86_400_000_000;

pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let before_us = core.clock.now_us() - i64::from(core.settings.journal.keep_days) * DAY_US;
        match core.journal.forget(before_us).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "answered rows forgotten"),
            Err(fault) => tracing::error!(detail = %fault, "old rows could not be forgotten"),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(DAY_S)) => {}
            () = core.stopped() => return,
        }
    }
}
