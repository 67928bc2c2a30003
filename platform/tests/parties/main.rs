//! The clients of the outside world over real sockets, against the counterparties of the sandbox.

mod bureau;
mod ear;
mod outbound;
mod sms;
mod wallet;
