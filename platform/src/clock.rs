//! The only place that asks for time, randomness or a fresh id. Everything else is handed a [`Clock`].
//!
//! Reason: a whole city of payments must run twice alike from one seed (`platform/tests/simulation`).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ring::rand::SecureRandom as _;
use uuid::Uuid;

/// Time, randomness and fresh ids.
pub trait Clock: Send + Sync {
    /// Now: microseconds UTC.
    fn now_us(&self) -> i64;
    /// Time passed since some fixed instant. Unlike [`Clock::now_us`] nobody sets it: for measuring how long something
    /// took or has been silent.
    fn steady(&self) -> Duration;
    /// Fills with bytes nobody can guess.
    fn fill(&self, bytes: &mut [u8]);

    /// A fresh UUIDv7.
    fn fresh(&self) -> Uuid {
        let mut random = [0_u8; 10];
        self.fill(&mut random);
        let ms = u64::try_from(self.now_us() / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
    }

    /// A nonce for sealing.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0_u8; 12];
        self.fill(&mut nonce);
        nonce
    }

    /// A uniform number below `limit`.
    fn below(&self, limit: u32) -> u32 {
        // Rejection, so that no code is likelier than another.
        let zone = u32::MAX - u32::MAX % limit;
        loop {
            let mut bytes = [0_u8; 4];
            self.fill(&mut bytes);
            let value = u32::from_be_bytes(bytes);
            if value < zone {
                return value % limit;
            }
        }
    }
}

/// The machine's own clock and random source.
#[derive(Debug)]
pub struct SystemClock {
    opened: Instant,
    random: ring::rand::SystemRandom,
}

impl SystemClock {
    /// Opens the machine's random source.
    #[expect(clippy::new_without_default, reason = "a clock is made once, on purpose, in the composition root")]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn new() -> SystemClock {
        SystemClock { opened: Instant::now(), random: ring::rand::SystemRandom::new() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn now_us(&self) -> i64 {
        chrono::Utc::now().timestamp_micros()
    }

    fn steady(&self) -> Duration {
        self.opened.elapsed()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.random.fill(bytes).expect("the operating system's random source answers");
    }
}

/// A settable twin for tests: time moves when told to, randomness comes from a seed.
#[derive(Debug)]
pub struct SetClock {
    inner: Mutex<Set>,
}

#[derive(Debug)]
struct Set {
    now_us: i64,
    steady_us: u64,
    seed: u64,
}

impl SetClock {
    /// Starts at `now_us` with a seed.
    pub fn new(now_us: i64, seed: u64) -> Arc<SetClock> {
        Arc::new(SetClock { inner: Mutex::new(Set { now_us, steady_us: 0, seed }) })
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Set> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Moves time to `now_us`. Back is possible, as for any clock on a wall; the steady reading then stands still.
    pub fn set(&self, now_us: i64) {
        let mut inner = self.inner();
        inner.steady_us += u64::try_from(now_us - inner.now_us).unwrap_or(0);
        inner.now_us = now_us;
    }

    /// Moves time on.
    pub fn advance_ms(&self, ms: i64) {
        let now_us = self.now_us();
        self.set(now_us + ms * 1000);
    }
}

impl Clock for SetClock {
    fn now_us(&self) -> i64 {
        self.inner().now_us
    }

    fn steady(&self) -> Duration {
        Duration::from_micros(self.inner().steady_us)
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut inner = self.inner();
        for byte in bytes {
            // splitmix64: small, seeded, and good enough to spread ids; real secrets never come from here.
            inner.seed = inner.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = inner.seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (z ^ (z >> 31)).to_le_bytes()[0];
        }
    }
}
