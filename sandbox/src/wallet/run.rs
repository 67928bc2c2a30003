//! The wallet as a process, or as a part of one: options, socket, state on disk, stopping.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use schema::money::Ratio4;

use super::core::{Core, Settings};
use super::keys::{Credentials, Keys};
use super::server::{Saved, Wallet, routes};
use crate::fault::Faults;
use crate::http;
use crate::serve::{Listening, listen};

/// `sandbox wallet`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Directory of the keys and of wallet-credentials.json; made when missing.
    #[arg(long)]
    pub keys: PathBuf,
    /// State file, read at start and kept up to date; without it everything is forgotten at exit.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// The partner's merchant number, for keys that are not made yet.
    #[arg(long, default_value = "1900007291")]
    pub sp_mchid: String,
    /// The partner's appid, for keys that are not made yet.
    #[arg(long, default_value = "wx8888888888888888")]
    pub sp_appid: String,
    /// Stretches the 15s/15s/30s/3m… schedule of repeated notifications: 0.01 makes it a hundred times shorter.
    #[arg(long, default_value = "1")]
    pub notify_scale: Ratio4,
    /// Milliseconds from a refund's acceptance to its settlement.
    #[arg(long, default_value_t = 500)]
    pub refund_delay_ms: u32,
    /// Seed of the dice behind shared fault rules.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// JSON file with one fault rule or a list.
    #[arg(long)]
    pub faults: Option<PathBuf>,
}

/// A wallet that listens, inside this process.
#[derive(Debug)]
pub struct Running {
    /// What the merchant configures.
    pub credentials: Credentials,
    /// Its fault rules.
    pub faults: Arc<Faults>,
    /// The socket; stop it to save the state.
    pub listening: Listening,
}

/// Starts a wallet on the current tokio runtime.
pub async fn start(options: Options) -> io::Result<Running> {
    let keys = Keys::open_or_create(&options.keys, &options.sp_mchid, &options.sp_appid)?;
    let settings = Settings {
        sp_mchid: keys.credentials.sp_mchid.clone(),
        sp_appid: keys.credentials.sp_appid.clone(),
        refund_delay_ms: options.refund_delay_ms,
    };
    let loaded = options.state.as_deref().map(crate::snapshot::load::<Saved>).transpose()?.flatten();
    let mut saved = loaded.unwrap_or_else(|| Saved { core: Core::new(settings.clone()), unheard: Default::default() });
    saved.core.set_settings(settings);
    let faults = Arc::new(Faults::new(options.seed));
    for rule in options.faults.as_deref().map(http::rules_from).transpose()?.unwrap_or_default() {
        faults.add(rule);
    }
    let wallet = Wallet::start(saved, &keys, Arc::clone(&faults), options.notify_scale).map_err(io::Error::other)?;
    let serving = Arc::clone(&wallet);
    let listening = listen(
        &options.listen,
        move |config| routes(Arc::clone(&serving))(config),
        options.state,
        move || wallet.changed(),
    )?;
    Ok(Running { credentials: keys.credentials, faults, listening })
}

/// Runs a wallet until SIGINT or SIGTERM.
pub async fn run(options: Options) -> io::Result<()> {
    let signals = http::StopSignals::catch()?;
    let running = start(options).await?;
    http::print_ready("wallet", &running.listening.url);
    signals.told_to_stop().await;
    running.listening.stop().await
}
