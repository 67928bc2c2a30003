//! The counterparties as processes: one subcommand each.

use std::io;

use clap::Parser;
use sandbox::{bureau, his, sms, wallet};

/// The counterparties of a city.
#[derive(Parser)]
#[command(name = "sandbox", version, about)]
enum Party {
    /// The social-insurance bureau's core system (医保核心).
    Bureau(bureau::run::Options),
    /// Hospitals' own systems (HIS), each with a window.
    His(his::run::Options),
    /// WeChat Pay's partner server, with its payers.
    Wallet(wallet::run::Options),
    /// The SMS gateway, with an inbox per phone.
    Sms(sms::run::Options),
}

#[tokio::main]
async fn main() -> io::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    match Party::parse() {
        Party::Bureau(options) => bureau::run::run(options).await,
        Party::His(options) => his::run::run(options).await,
        Party::Wallet(options) => wallet::run::run(options).await,
        Party::Sms(options) => sms::run::run(options).await,
    }
}
