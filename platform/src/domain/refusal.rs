//! The refusals that the state machines share.

use schema::money::Overflow;
use schema::refusal::{Code, Refusal};

/// Nothing in the table says what `event` means in `place`; nothing changed. Carries both sides.
pub fn unlisted(what: &str, place: &str, event: &str) -> Refusal {
    Refusal::new(Code::NotNow, format!("{what} in {place} does not take {event}"))
}

/// A sum left the range of money: a mistake of ours, and nothing changed.
pub fn beyond_money(_: Overflow) -> Refusal {
    Refusal::new(Code::Internal, "an amount is beyond the range of money")
}
