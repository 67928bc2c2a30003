//! How long anything may take. Every value is a setting (`settings/default.toml` explains each); all in milliseconds.

use serde::{Deserialize, Serialize};

/// The deadlines and waits that decisions use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// The institution must have priced by then, or the order closes.
    pub price_ms: i64,
    /// A price lives at most this long (≤ 30 min), whatever its own valid-until says.
    pub priced_ms: i64,
    /// A code lives this long (≤ 300 s).
    pub code_ms: i64,
    /// How many codes may be sent for one price.
    pub code_sends: u8,
    /// The bureau's own limit for a lost 2207: nobody asks before it is over.
    pub bureau_limit_ms: i64,
    /// The second wait after 2601 answered, because a late 2207 may execute after its reversal.
    pub after_reversal_ms: i64,
    /// Between two questions about the same unknown.
    pub ask_again_ms: i64,
    /// The payer must have paid in the wallet by then, or everything is undone.
    pub collect_ms: i64,
    /// How often the wallet is asked while nobody has heard from it.
    pub ask_wallet_ms: i64,
    /// The hospital must have answered "booked" by then, or a person looks at it.
    pub tell_ms: i64,
    /// Settling, undoing and refunding that last longer than this are shown to a person; the asking goes on.
    pub patience_ms: i64,
}

impl Rules {
    /// `now` plus so many milliseconds, in microseconds.
    pub fn in_ms(now_us: i64, ms: i64) -> i64 {
        now_us.saturating_add(ms.saturating_mul(1000))
    }
}
