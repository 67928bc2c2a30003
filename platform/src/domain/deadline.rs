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
    /// Settling, undoing, and steps of a refund that last longer than this are shown to a person. Trying and asking go
    /// on, at most this long apart.
    pub patience_ms: i64,
    /// Cash on its way back may take days at a bank: only after this is it shown to a person.
    pub refund_ms: i64,
}

/// However long something stays unknown, it is asked about at least this often, unless
/// [`Rules::ask_again_ms`] itself is longer.
const ASK_AGAIN_MAX_MS: i64 = 600_000;

impl Rules {
    /// `now` plus so many milliseconds, in microseconds.
    pub fn in_ms(now_us: i64, ms: i64) -> i64 {
        now_us.saturating_add(ms.saturating_mul(1000))
    }

    /// How long to wait before asking again about what has been unknown since `since_us`: the longer it has lasted,
    /// the longer the wait, so that a silent day is a few hundred questions and not twenty thousand.
    pub fn ask_again_after_ms(&self, since_us: i64, now_us: i64) -> i64 {
        let lasted_ms = now_us.saturating_sub(since_us) / 1000;
        (lasted_ms / 4).clamp(self.ask_again_ms, ASK_AGAIN_MAX_MS.max(self.ask_again_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_something_is_unknown_the_seldomer_it_is_asked_about() {
        let rules = Rules {
            price_ms: 1,
            priced_ms: 1,
            code_ms: 1,
            code_sends: 1,
            bureau_limit_ms: 1,
            after_reversal_ms: 1,
            ask_again_ms: 5_000,
            collect_ms: 1,
            ask_wallet_ms: 1,
            tell_ms: 1,
            patience_ms: 1,
            refund_ms: 1,
        };
        for (lasted_s, wait_ms) in [(0, 5_000), (20, 5_000), (60, 15_000), (600, 150_000), (86_400, 600_000)] {
            assert_eq!(rules.ask_again_after_ms(7, 7 + lasted_s * 1_000_000), wait_ms, "after {lasted_s} s");
        }
        let patient = Rules { ask_again_ms: 900_000, ..rules };
        assert_eq!(patient.ask_again_after_ms(0, 1), 900_000, "never more often than the setting");
    }
}
