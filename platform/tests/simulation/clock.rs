//! Time that stands still until everybody waits, and dice from the seed.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, FixedOffset};
use platform::clock::Clock;
use platform::journey::desk::china_time;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

/// 2026-05-20 09:00 in China, in microseconds UTC.
const MORNING_US: i64 = 1_779_238_800_000_000;

/// The simulation's clock: tokio's paused time, and one generator for everything random.
pub struct SimClock {
    began: Instant,
    dice: Mutex<ChaCha8Rng>,
}

impl SimClock {
    pub fn new(seed: u64) -> Arc<SimClock> {
        Arc::new(SimClock { began: Instant::now(), dice: Mutex::new(ChaCha8Rng::seed_from_u64(seed)) })
    }

    pub fn china(&self) -> DateTime<FixedOffset> {
        china_time(self.now_us())
    }

    /// True this often in a hundred.
    pub fn percent(&self, share: u32) -> bool {
        self.below(100) < share
    }

    /// Waits up to so many milliseconds.
    pub async fn pause(&self, most_ms: u32) {
        let ms = self.below(most_ms + 1);
        tokio::time::sleep(std::time::Duration::from_millis(u64::from(ms))).await;
    }
}

impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        MORNING_US + i64::try_from(self.began.elapsed().as_micros()).expect("a short simulation")
    }

    fn steady(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.dice.lock().expect("one thread").fill_bytes(bytes);
    }
}
