//! The only place of the sandbox that asks for the time of day or for randomness; everything else is handed them.

use chrono::{DateTime, FixedOffset, Utc};
use rand::RngCore;

/// Now, in China's zone (+08:00, no daylight saving).
pub fn china_now() -> DateTime<FixedOffset> {
    Utc::now().with_timezone(&china())
}

/// China's zone.
pub fn china() -> FixedOffset {
    FixedOffset::east_opt(8 * 3600).expect("eight hours lie inside a day")
}

/// `length` random bytes as upper-case hexadecimal digits (so twice as many characters).
pub fn random_hex(length: usize) -> String {
    let mut bytes = vec![0_u8; length];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode_upper(bytes)
}
