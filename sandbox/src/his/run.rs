//! The hospitals as a process, or as a part of one.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::core::{Core, State};
use super::desk::{Desk, Shared};
use super::hospital::Hospital;
use super::server::{Hospitals, routes};
use crate::bureau::Catalogue;
use crate::fault::Faults;
use crate::http;
use crate::serve::{Listening, listen};

/// `sandbox his`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// JSON file: the hospitals, and where their catalogue is.
    #[arg(long)]
    pub config: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// State file, read at start and kept up to date; without it everything is forgotten at exit.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// JSON file with one fault rule or a list.
    #[arg(long)]
    pub faults: Option<PathBuf>,
}

/// The content of `--config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The hospitals that this process plays.
    pub hospitals: Vec<Hospital>,
    /// Folder with the national codes; the product's own small catalogue when absent.
    #[serde(default)]
    pub catalogue: Option<PathBuf>,
    /// Seed of the invented prices; the bureau's must be the same.
    #[serde(default)]
    pub catalogue_seed: u64,
    /// Seed of new bills and of the dice behind shared fault rules.
    #[serde(default)]
    pub seed: u64,
    /// Milliseconds for which a fault keeps the HIS silent about a work item; for ever when absent.
    #[serde(default)]
    pub silence_ms: Option<u64>,
}

/// Hospitals that are open, inside this process.
#[derive(Debug)]
pub struct Running {
    /// Their fault rules.
    pub faults: Arc<Faults>,
    /// The hospitals.
    pub hospitals: Arc<Hospitals>,
    /// The socket; stop it to save the state.
    pub listening: Listening,
}

/// Opens the hospitals on the current tokio runtime.
pub async fn start(options: Options) -> io::Result<Running> {
    let config: Config = serde_json::from_slice(&std::fs::read(&options.config)?).map_err(|fault| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {fault}", options.config.display()))
    })?;
    let mut states: BTreeMap<String, State> =
        options.state.as_deref().map(crate::snapshot::load).transpose()?.flatten().unwrap_or_default();
    let catalogue = match &config.catalogue {
        Some(folder) => Catalogue::from_dir(folder, config.catalogue_seed).map_err(io::Error::other)?,
        None => Catalogue::builtin(),
    };
    let faults = Arc::new(Faults::new(config.seed));
    for rule in options.faults.as_deref().map(http::rules_from).transpose()?.unwrap_or_default() {
        faults.add(rule);
    }
    let shared = Shared {
        catalogue: Arc::new(catalogue),
        seed: config.seed,
        faults: Arc::clone(&faults),
        silence: config.silence_ms.map(Duration::from_millis),
    };
    // Another party of the same process may have installed it already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
    let mut desks = BTreeMap::new();
    for hospital in config.hospitals {
        let code = hospital.code.as_str().to_owned();
        let core = Core::new(hospital, states.remove(&code).unwrap_or_default());
        desks.insert(code, Desk::open(core, shared.clone(), &client));
    }
    let hospitals = Arc::new(Hospitals { desks });
    let (serving, watched, rules) = (Arc::clone(&hospitals), Arc::clone(&hospitals), Arc::clone(&faults));
    let written = Mutex::new(None);
    let listening = listen(
        &options.listen,
        move |config| routes(Arc::clone(&serving), Arc::clone(&rules))(config),
        options.state,
        move || changed(&watched, &written),
    )?;
    Ok(Running { faults, hospitals, listening })
}

/// Everything there is to save, unless it was saved before.
fn changed(hospitals: &Hospitals, written: &Mutex<Option<Vec<u64>>>) -> Option<BTreeMap<String, State>> {
    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
    let revisions: Vec<u64> = hospitals.desks.values().map(|desk| desk.core().revision()).collect();
    if written.as_ref() == Some(&revisions) {
        return None;
    }
    *written = Some(revisions);
    Some(hospitals.desks.iter().map(|(code, desk)| (code.clone(), desk.saved().1)).collect())
}

/// Runs the hospitals until SIGINT or SIGTERM.
pub async fn run(options: Options) -> io::Result<()> {
    let signals = http::StopSignals::catch()?;
    let running = start(options).await?;
    http::print_ready("his", &running.listening.url);
    signals.told_to_stop().await;
    running.listening.stop().await
}
