//! The gateway's answers become ours here and nowhere else.

/// What an HTTP status says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It will be sent, or was before under the same id.
    Accepted,
    /// It will not be sent.
    Refused,
    /// Not now.
    Busy,
    /// It cannot be told.
    Unclear,
}

/// See [`Heard`].
pub(super) fn heard(status: u16) -> Heard {
    match status {
        200 | 202 => Heard::Accepted,
        429 => Heard::Busy,
        400..=499 => Heard::Refused,
        _ => Heard::Unclear,
    }
}
