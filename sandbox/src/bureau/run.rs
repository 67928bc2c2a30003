//! The bureau as a process: options, ready line, state on disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::catalogue::Catalogue;
use super::config::Config;
use super::core::Core;
use super::seal::Keys;
use super::server::{self, Bureau, Running};
use crate::http::{StopSignals, print_ready, rules_from};
use crate::snapshot;

/// Options of `sandbox bureau`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one, told by the ready line.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// File to keep the state in; nothing is kept without it.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// TOML file over the built-in settings.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Folder with drugs.csv, service-items.csv and icd10-categories.csv; the built-in catalogue without it.
    #[arg(long)]
    pub catalogue: Option<PathBuf>,
    /// JSON file with fault rules to begin with.
    #[arg(long)]
    pub faults: Option<PathBuf>,
    /// Feeds the invented prices of `--catalogue` and the dice of shared fault rules.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Starts a bureau on the current tokio runtime.
pub fn start(options: Options) -> io::Result<Running> {
    let invalid = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    let config = match &options.config {
        Some(file) => Config::load(file).map_err(|error| invalid(&error))?,
        None => Config::builtin(),
    };
    let catalogue = match &options.catalogue {
        Some(folder) => Catalogue::from_dir(folder, options.seed).map_err(|error| invalid(&error))?,
        None => Catalogue::builtin(),
    };
    let catalogue = Arc::new(catalogue);
    let core = match options.state.as_deref().map(snapshot::load).transpose()?.flatten() {
        Some(saved) => Core::restored(config, catalogue, saved),
        None => Core::new(config, catalogue, Keys::generate()),
    };
    let bureau = Bureau::new(core, options.seed);
    for rule in options.faults.as_deref().map(rules_from).transpose()?.unwrap_or_default() {
        bureau.faults.add(rule);
    }
    server::start(bureau, &options.listen, options.state)
}

/// Runs a bureau until SIGINT or SIGTERM. Prints one ready line on standard output and nothing else.
pub async fn run(options: Options) -> io::Result<()> {
    let signals = StopSignals::catch()?;
    let running = start(options)?;
    print_ready("bureau", &running.url);
    signals.told_to_stop().await;
    running.stop().await
}
