//! The clients of the outside world over real sockets, against the counterparties of the sandbox.

#![expect(clippy::panic, reason = "this is how a test's helper says what it found instead")]

mod bureau;
mod ear;
mod outbound;
mod sms;
mod wallet;
