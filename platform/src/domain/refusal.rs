//! The one refusal of the state machines: a pair that no table lists.

use schema::refusal::{Code, Refusal};

/// Nothing in the table says what `event` means in `place`; nothing changed. Carries both sides.
pub fn unlisted(what: &str, place: &str, event: &str) -> Refusal {
    Refusal::new(Code::NotNow, format!("{what} in {place} does not take {event}"))
}
