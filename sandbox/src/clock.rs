//! The only place of the sandbox that asks for the time of day or for randomness; everything else is handed them.

use std::time::Instant;

use chrono::{DateTime, FixedOffset, Utc};
use rand::RngCore;
use ring::rand::SystemRandom;

/// Now, in China's zone (+08:00, no daylight saving).
#[expect(clippy::disallowed_methods, reason = "this is the sandbox's clock; everybody else is handed the time")]
pub fn china_now() -> DateTime<FixedOffset> {
    Utc::now().with_timezone(&china())
}

/// China's zone.
pub fn china() -> FixedOffset {
    FixedOffset::east_opt(8 * 3600).expect("eight hours lie inside a day")
}

/// `length` random bytes as upper-case hexadecimal digits (so twice as many characters).
#[expect(clippy::disallowed_methods, reason = "this is the sandbox's source of randomness")]
pub fn random_hex(length: usize) -> String {
    let mut bytes = vec![0_u8; length];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode_upper(bytes)
}

/// The randomness that `ring` blinds its RSA signatures with.
#[expect(clippy::disallowed_methods, reason = "this is the sandbox's source of randomness")]
pub fn system_random() -> SystemRandom {
    SystemRandom::new()
}

/// The randomness that RSA key pairs are made from.
#[expect(clippy::disallowed_types, reason = "this is the sandbox's source of randomness")]
pub fn key_random() -> rsa::rand_core::OsRng {
    rsa::rand_core::OsRng
}

/// The randomness that SM2 seals with.
#[expect(clippy::disallowed_types, reason = "this is the sandbox's source of randomness")]
pub fn seal_random() -> sm2::elliptic_curve::common::getrandom::SysRng {
    sm2::elliptic_curve::common::getrandom::SysRng
}

/// A reading that nobody sets, to measure how long something takes.
#[expect(clippy::disallowed_methods, reason = "this is the sandbox's clock")]
pub fn steady() -> Instant {
    Instant::now()
}
