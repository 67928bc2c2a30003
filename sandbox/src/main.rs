//! The counterparties as processes: one subcommand each.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use sandbox::{bureau, city, his, sms, wallet};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The counterparties of a city.
#[derive(Parser)]
#[command(name = "sandbox", version, about)]
enum Party {
    /// The social-insurance bureau's core system (医保核心).
    Bureau(bureau::run::Options),
    /// A whole small city: the platform, its adapters, all of these, and people who pay.
    City(city::Options),
    /// Hospitals' own systems (HIS), each with a window.
    His(his::run::Options),
    /// WeChat Pay's partner server, with its payers.
    Wallet(wallet::run::Options),
    /// The SMS gateway, with an inbox per phone.
    Sms(sms::run::Options),
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                // The HIS says which trace its work came under: the far end of what starts at the phone.
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error,sandbox::his=info")),
        )
        .with_writer(io::stderr)
        .init();
    match Party::parse() {
        Party::Bureau(options) => bureau::run::run(options).await?,
        Party::City(options) => return city::run::run(options).await,
        Party::His(options) => his::run::run(options).await?,
        Party::Wallet(options) => wallet::run::run(options).await?,
        Party::Sms(options) => sms::run::run(options).await?,
    }
    Ok(ExitCode::SUCCESS)
}
