//! 一次性验证码: six digits that authorise exactly one order at exactly one split.
//!
//! The code lives inside the order's `Priced` state: whatever leaves that state or changes the price kills it, without
//! anybody having to remember to. Only a keyed hash is kept, over (order, price number, phone, digits).

use schema::refusal::{Code as No, Refusal};
use schema::seal::Lookup;
use serde::{Deserialize, Serialize};

/// A code that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCode {
    /// Keyed hash of order ‖ price number ‖ phone ‖ digits.
    pub hash: Lookup,
    /// The split it was issued for (`Price::number`).
    pub price_number: u32,
    /// Until when: microseconds UTC. It must be valid when it is accepted.
    pub expires_at_us: i64,
    /// The try counter's epoch in the ephemeral store: if that store forgot, the code is dead.
    pub tries_epoch: u64,
}

impl IssuedCode {
    /// Whether the digits that were offered (as their keyed hash) authorise now.
    pub fn check(&self, offered: &Lookup, price_number: u32, now_us: i64) -> Result<(), Refusal> {
        if self.price_number != price_number {
            return Err(Refusal::new(No::CodeForeign, "the code was issued for another split"));
        }
        if now_us > self.expires_at_us {
            return Err(Refusal::new(No::CodeExpired, "the code's time is over"));
        }
        if self.hash != *offered {
            return Err(Refusal::new(No::CodeWrong, "the digits do not match"));
        }
        Ok(())
    }
}
