//! The bureau as a process: options, ready line, state on disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::catalogue::Catalogue;
use super::config::Config;
use super::core::Core;
use super::seal::Keys;
use super::server::{self, Bureau};
use crate::http::{StopSignals, print_ready, rules_from};
use crate::snapshot;

/// How often a changed state is written.
const SAVE_EVERY: Duration = Duration::from_secs(3);

/// Options of `sandbox bureau`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one, told by the ready line.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// File to keep the state in; nothing is kept without it.
    #[arg(long)]
    state: Option<PathBuf>,
    /// TOML file over the built-in settings.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder with drugs.csv, service-items.csv and icd10-categories.csv; the built-in catalogue without it.
    #[arg(long)]
    catalogue: Option<PathBuf>,
    /// JSON file with fault rules to begin with.
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Feeds the invented prices of `--catalogue` and the dice of shared fault rules.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs until SIGINT or SIGTERM. Prints one ready line on standard output and nothing else.
pub async fn run(options: Options) -> io::Result<()> {
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
    let saved = options.state.as_deref().map(snapshot::load).transpose()?.flatten();
    let core = match saved {
        Some(saved) => Core::restored(config, catalogue, saved),
        None => Core::new(config, catalogue, Keys::generate()),
    };
    let bureau = Bureau::new(core, options.seed);
    for rule in options.faults.as_deref().map(rules_from).transpose()?.unwrap_or_default() {
        bureau.faults.add(rule);
    }
    let signals = StopSignals::catch()?;
    let running = server::start(Arc::clone(&bureau), &options.listen).await?;
    let mut saver = Saver { bureau, file: options.state, saved_revision: None };
    saver.save().await?;
    print_ready("bureau", &running.url);
    let stopped = signals.told_to_stop();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => break,
            () = tokio::time::sleep(SAVE_EVERY) => saver.save().await?,
        }
    }
    running.stop().await;
    saver.save().await
}

struct Saver {
    bureau: Arc<Bureau>,
    file: Option<PathBuf>,
    saved_revision: Option<u64>,
}

impl Saver {
    /// Writes the state when it has changed since the last time.
    async fn save(&mut self) -> io::Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let revision = self.bureau.with_core(|core| core.revision());
        if self.saved_revision == Some(revision) {
            return Ok(());
        }
        let saved = self.bureau.with_core(|core| core.saved());
        tokio::task::spawn_blocking(move || snapshot::save(&file, &saved)).await.map_err(io::Error::other)??;
        self.saved_revision = Some(revision);
        Ok(())
    }
}
