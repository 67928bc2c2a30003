//! The only place that asks for time, randomness or a fresh id.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use schema::ids::MessageId;

/// Time and chance, handed in at startup.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970, UTC.
    fn now_us(&self) -> i64;

    /// Fills `bytes` with unpredictable ones, fit for keys and nonces.
    fn fill(&self, bytes: &mut [u8]);

    /// A fresh message id (UUIDv7).
    fn message_id(&self) -> MessageId {
        let mut random = [0_u8; 10];
        self.fill(&mut random);
        let millis = u64::try_from(self.now_us() / 1000).unwrap_or(0);
        MessageId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// A fresh trace id: 32 hex digits (W3C trace context).
    fn trace_id(&self) -> String {
        let mut random = [0_u8; 16];
        self.fill(&mut random);
        hex::encode(random)
    }

    /// A fresh nonce for sealing.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0_u8; 12];
        self.fill(&mut nonce);
        nonce
    }

    /// A seed for things that need no secrecy, such as the jitter of a back-off.
    fn seed(&self) -> u64 {
        let mut bytes = [0_u8; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The clock as everyone holds it.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own time and randomness.
#[derive(Debug)]
pub struct RealClock {
    random: SystemRandom,
}

impl Default for RealClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that may ask the system for randomness")]
    fn default() -> RealClock {
        RealClock { random: SystemRandom::new() }
    }
}

impl RealClock {
    /// The machine's clock, ready to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(RealClock::default())
    }
}

impl Clock for RealClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that may ask the system for the time")]
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.random.fill(bytes).expect("an operating system without randomness cannot run an adapter");
    }
}
