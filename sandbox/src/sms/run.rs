//! The gateway as a process, or as a part of one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::core::Core;
use super::server::{Gateway, routes};
use crate::fault::Faults;
use crate::http;
use crate::serve::{Listening, listen};

/// `sandbox sms`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// What senders put into x-sms-key.
    #[arg(long, default_value = "sandbox-sms-key")]
    pub key: String,
    /// Messages kept per phone.
    #[arg(long, default_value_t = 50)]
    pub keep: usize,
    /// State file, read at start and kept up to date; without it everything is forgotten at exit.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// Seed of the dice behind shared fault rules.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// JSON file with one fault rule or a list.
    #[arg(long)]
    pub faults: Option<PathBuf>,
}

/// A gateway that listens, inside this process.
#[derive(Debug)]
pub struct Running {
    /// Its fault rules.
    pub faults: Arc<Faults>,
    /// The socket; stop it to save the state.
    pub listening: Listening,
}

/// Starts a gateway on the current tokio runtime.
pub async fn start(options: Options) -> io::Result<Running> {
    let loaded = options.state.as_deref().map(crate::snapshot::load::<Core>).transpose()?.flatten();
    let faults = Arc::new(Faults::new(options.seed));
    for rule in options.faults.as_deref().map(http::rules_from).transpose()?.unwrap_or_default() {
        faults.add(rule);
    }
    let gateway = Gateway::start(loaded.unwrap_or_else(|| Core::new(options.keep)), &options.key, Arc::clone(&faults));
    let serving = Arc::clone(&gateway);
    let listening = listen(
        &options.listen,
        move |config| routes(Arc::clone(&serving))(config),
        options.state,
        move || gateway.changed(),
    )?;
    Ok(Running { faults, listening })
}

/// Runs a gateway until SIGINT or SIGTERM.
pub async fn run(options: Options) -> io::Result<()> {
    let signals = http::StopSignals::catch()?;
    let running = start(options).await?;
    http::print_ready("sms", &running.listening.url);
    signals.told_to_stop().await;
    running.listening.stop().await
}
