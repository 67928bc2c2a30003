//! The clients of the outside world over real sockets, against the counterparties of the sandbox: what every client of
//! the kind promises (`party_contract`), and what only these say of themselves.

#![expect(clippy::panic, reason = "this is how a test's helper says what it found instead")]

mod bureau;
mod ear;
mod outbound;
#[path = "../party_contract/mod.rs"]
mod party_contract;
mod sms;
mod wallet;

/// An address at which nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}
