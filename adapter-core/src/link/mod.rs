//! The adapter's end of the link (`schema::link`): it dials out, proves its key, and keeps the conversation going.
//!
//! [`dial`] opens one connection and names what stood in the way; `doctor` uses the same function. `conversation`
//! speaks on an open connection until it ends. This file decides when to try again.

mod conversation;
mod dial;

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::Instant;

pub use dial::{DialFault, Opened, Stage, Target, dial};

use crate::core::Core;
use crate::settings::ms;

/// The link as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkState {
    /// Whether the platform can be spoken to now.
    pub up: bool,
    /// What stands in the way, in a sentence for people, while it is not up.
    pub fault: Option<String>,
}

/// A connection that lived this long was a good one: the next attempt begins with the shortest wait.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// Keeps the link up until the adapter stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut waits = backoff(&core);
    let target = Target::of(&core);
    loop {
        let attempt = tokio::select! {
            attempt = dial(&target) => attempt,
            () = core.stopped() => return,
        };
        let was_good = match attempt {
            Ok(opened) => {
                let opened_at = Instant::now();
                conversation::run(&core, opened).await;
                opened_at.elapsed() >= GOOD_CONNECTION
            }
            Err(fault) => {
                note(&core, &fault);
                false
            }
        };
        if was_good {
            waits = backoff(&core);
        }
        let wait = waits.next().unwrap_or_else(|| ms(core.settings.link.reconnect_most_ms));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = core.stopped() => return,
        }
    }
}

fn backoff(core: &Core) -> impl Iterator<Item = Duration> + use<> {
    ExponentialBuilder::new()
        .with_jitter()
        .with_jitter_seed(core.clock.seed())
        .with_min_delay(ms(core.settings.link.reconnect_first_ms))
        .with_max_delay(ms(core.settings.link.reconnect_most_ms))
        .without_max_times()
        .build()
}

/// Says what stands in the way, once per fault and not once per attempt.
fn note(core: &Core, fault: &DialFault) {
    let sentence = fault.to_string();
    let news = core.link.send_if_modified(|state| {
        let news = state.up || state.fault.as_deref() != Some(sentence.as_str());
        *state = LinkState { up: false, fault: Some(sentence.clone()) };
        news
    });
    if news {
        tracing::warn!(stage = fault.stage().as_str(), detail = %sentence, "the link cannot be opened");
    }
}
