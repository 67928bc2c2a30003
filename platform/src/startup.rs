//! The composition root: the one place that knows everyone, so that nobody else has to.

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::hkdf;
use schema::ids::{ProcessId, TenantId};
use schema::refusal::Fault;
use schema::seal::Vault;
use schema::sign::SigningKey;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use crate::clock::{Clock, SystemClock};
use crate::ephemeral::Ephemeral;
use crate::ephemeral::memory::Memory;
use crate::ephemeral::redis::{self, Redis};
use crate::errands;
use crate::events::{self, Sink, Source};
use crate::http;
use crate::journey::desk::{Desk, Thread};
use crate::journey::{Ground, Tenant, Tenants};
use crate::metrics::Metrics;
use crate::metrics::counted::{self, Counted};
use crate::parties::bureau::client::BureauClient;
use crate::parties::bureau::config::BureauConfig;
use crate::parties::link::Links;
use crate::parties::link::across::Across;
use crate::parties::outbound::{Http, Outbound};
use crate::parties::sms::client::SmsHttp;
use crate::parties::sms::config::SmsConfig;
use crate::parties::wallet::client::WeChatPay;
use crate::parties::wallet::config::WalletConfig;
use crate::settings::Settings;
use crate::settings::events::EventsUrl;
use crate::store::sql::{self, Access, OpenError, SqlStore};
use crate::store::{Store, TenantRow};

/// Why the platform does not start. Names the setting, what was found, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotStart(pub String);

impl CannotStart {
    fn because(what: &str) -> impl FnOnce(&dyn std::fmt::Display) -> CannotStart + '_ {
        move |error| CannotStart(format!("{what}: {error}"))
    }
}

/// A tenant's parties, and what it has settled for itself, as they are kept: sealed for purpose [`PARTIES`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantParties {
    /// 医保核心.
    pub bureau: BureauConfig,
    /// 个人支付渠道.
    pub wallet: WalletConfig,
    /// SMS gateway.
    pub sms: SmsConfig,
    /// How far a fee line's amount may lie from price × count, in fen: 0 to 100.
    #[serde(default = "one_fen")]
    pub line_tolerance_fen: i64,
}

fn one_fen() -> i64 {
    1
}

/// The purpose under which [`TenantParties`] is sealed.
pub const PARTIES: &str = "parties";

/// The master secret, 32 bytes. Cannot be formatted.
pub struct Master([u8; 32]);

impl Master {
    /// Reads the key file; refuses one that others can read.
    pub fn read(path: &Path) -> Result<Master, CannotStart> {
        let shown = path.display();
        let hint = "make one with `platform keys init` / 请用 platform keys init 生成";
        let meta = std::fs::metadata(path)
            .map_err(|error| CannotStart(format!("keys.master_file {shown}: {error}; {hint}")))?;
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(CannotStart(format!(
                "keys.master_file {shown}: others can read it; chmod 600 / 其他用户可读，请改为600权限"
            )));
        }
        let text =
            std::fs::read_to_string(path).map_err(|error| CannotStart(format!("keys.master_file {shown}: {error}")))?;
        let bytes = hex::decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes
            .map(Master)
            .ok_or_else(|| CannotStart(format!("keys.master_file {shown}: must be 64 hex digits / 应为64位十六进制数")))
    }

    /// Makes a key file that only its owner can read; refuses to replace one.
    pub fn init(path: &Path, clock: &dyn Clock) -> Result<(), CannotStart> {
        let mut bytes = [0_u8; 32];
        clock.fill(&mut bytes);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, hex::encode(bytes).as_bytes()));
        written.map_err(|error| CannotStart(format!("keys.master_file {}: {error}", path.display())))
    }

    /// One tenant's keys.
    pub fn vault(&self, tenant: TenantId, current_key: u16) -> Vault {
        Vault::derive(&self.0, tenant, current_key)
    }

    /// A secret of the whole platform, by its purpose.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut out = [0_u8; 32];
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tongfu platform");
        let info = [purpose.as_bytes()];
        let secret = salt.extract(&self.0);
        secret
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut out))
            .expect("32 bytes are within what HKDF-SHA256 can give");
        out
    }
}

/// Opens the store that the settings name.
pub fn open_store(settings: &Settings, access: Access) -> Result<SqlStore, CannotStart> {
    SqlStore::open_url(&settings.store.url, access).map_err(|error| store_refused(&settings.store.url, error))
}

/// Why the store of this URL cannot be used. Names the setting and the URL without its password.
pub fn store_refused(url: &str, error: OpenError) -> CannotStart {
    CannotStart(format!("store.url {}: {error}", sql::shown(url)))
}

/// How far this machine's clock may lie from the store's, in milliseconds: deadlines and codes are decided by ours,
/// leases by the store's.
const CLOCKS_APART_MS: i64 = 1000;

/// Refuses to serve with a clock of which other processes would think otherwise.
fn in_step(store: &SqlStore, clock: &dyn Clock) -> Result<(), CannotStart> {
    let before_us = clock.now_us();
    let theirs_us = store.clock_us(before_us).map_err(|error| CannotStart(format!("store.url: {error}")))?;
    match apart_ms(before_us, theirs_us, clock.now_us()) {
        apart_ms if apart_ms > CLOCKS_APART_MS => Err(clocks_differ(apart_ms)),
        _ => Ok(()),
    }
}

/// How far apart two clocks are at least, in milliseconds, if theirs was read between two readings of ours: connecting may
/// have taken long.
fn apart_ms(before_us: i64, theirs_us: i64, after_us: i64) -> i64 {
    (before_us - theirs_us).max(theirs_us - after_us).max(0) / 1000
}

fn clocks_differ(apart_ms: i64) -> CannotStart {
    CannotStart(format!(
        "store.url: this machine's clock and the database's are {apart_ms} ms apart, more than {CLOCKS_APART_MS}; \
         synchronise both (NTP) / 本机与数据库时钟相差{apart_ms}毫秒，请校时后再启动"
    ))
}

/// Opens the ephemeral store that the settings name.
async fn open_ephemeral(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Ephemeral>, CannotStart> {
    let url = settings.ephemeral.url.as_str();
    if url == "memory:" {
        return Ok(Arc::new(Memory::new(Arc::clone(clock))));
    }
    let patience = Duration::from_millis(settings.ephemeral.timeout_ms);
    match Redis::open(url, patience, Arc::clone(clock)).await {
        Ok(redis) => Ok(Arc::new(redis)),
        Err(error) => Err(CannotStart(format!("ephemeral.url {}: {error}", redis::shown(url)))),
    }
}

/// Opens the sink for events that the settings name. Blocks.
pub fn open_sink(settings: &Settings) -> Result<Box<dyn Sink>, CannotStart> {
    open_events(settings, events::sink)
}

/// Opens the same to be read. Blocks.
pub fn open_source(settings: &Settings) -> Result<Box<dyn Source>, CannotStart> {
    open_events(settings, events::source)
}

fn open_events<T>(
    settings: &Settings,
    open: impl FnOnce(&EventsUrl, Duration) -> Result<T, events::CannotOpen>,
) -> Result<T, CannotStart> {
    let url = &settings.events.url;
    let parsed =
        url.parse().map_err(|fault: Fault| CannotStart(format!("{}: {} / {}", fault.at, fault.zh, fault.en)))?;
    let patience = Duration::from_millis(settings.limits.events_timeout_ms);
    open(&parsed, patience).map_err(|error| CannotStart(format!("events.url {url}: {error}")))
}

/// Seals a tenant's parties into a row.
pub fn tenant_row(
    master: &Master,
    clock: &dyn Clock,
    area: String,
    name: String,
    parties: &TenantParties,
) -> Result<TenantRow, CannotStart> {
    let id = TenantId::from_uuid(clock.fresh());
    let plain = serde_json::to_vec(parties).map_err(|error| CannotStart::because("parties")(&error))?;
    let parties = master.vault(id, 0).seal(clock.nonce(), PARTIES, &plain);
    Ok(TenantRow { id, area, name, current_key: 0, parties })
}

/// Builds a tenant from its row: keys, and a client for each of its parties.
pub fn tenant(
    master: &Master,
    row: &TenantRow,
    settings: &Settings,
    outbound: &Arc<dyn Outbound>,
    (clock, ephemeral): (&Arc<dyn Clock>, &Arc<dyn Ephemeral>),
    public_url: &str,
) -> Result<Tenant, CannotStart> {
    let vault = master.vault(row.id, row.current_key);
    let plain = vault.open(PARTIES, &row.parties).map_err(|error| {
        CannotStart(format!("tenant {}: {error}; keys.master_file is not the one it was sealed with", row.id))
    })?;
    let parties: TenantParties =
        serde_json::from_slice(&plain).map_err(|error| CannotStart(format!("tenant {}: {error}", row.id)))?;
    if !(0..=100).contains(&parties.line_tolerance_fen) {
        return Err(CannotStart(format!("tenant {}: line_tolerance_fen must be 0 to 100 / 须为0至100", row.id)));
    }
    let timeout = Duration::from_millis(settings.limits.party_timeout_ms);
    let notify_url = format!("{public_url}/wallet/v1/notify/{}", row.id);
    let wallet = WeChatPay::new(parties.wallet, Arc::clone(outbound), Arc::clone(clock), notify_url)
        .map_err(|error| CannotStart(format!("tenant {}: {error}", row.id)))?;
    Ok(Tenant {
        id: row.id,
        name: row.name.clone(),
        area: row.area.clone(),
        line_tolerance_fen: parties.line_tolerance_fen,
        vault,
        bureau: Arc::new(
            BureauClient::new(parties.bureau, Arc::clone(outbound), Arc::clone(clock))
                .with_timeout(timeout)
                .numbered_with(Arc::clone(ephemeral), row.id),
        ),
        wallet: Arc::new(wallet.with_timeout(timeout)),
        sms: Arc::new(SmsHttp::new(parties.sms, Arc::clone(outbound)).with_timeout(timeout)),
    })
}

/// The tenant of what belongs to none: what processes tell each other.
const NOBODYS: TenantId = TenantId::from_uuid(Uuid::nil());
/// How long calls under way may take when the platform is told to stop, in milliseconds.
const LAST_CALLS_MS: u64 = 5000;
/// How often new tenants are looked for, in milliseconds.
const TENANTS_LOOK_MS: u64 = 2000;

/// Runs the platform until SIGINT or SIGTERM.
pub async fn serve(settings: Settings) -> Result<(), CannotStart> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let master = Arc::new(Master::read(Path::new(&settings.keys.master_file))?);
    let opened = Arc::new(open_store(&settings, Access::Serve)?);
    let (alone, at_once) = (!opened.is_shared(), opened.batches_at_once());
    let readings_at_once = opened.readings_at_once();
    in_step(&opened, clock.as_ref())?;
    let store: Arc<dyn Store> = Arc::clone(&opened) as Arc<dyn Store>;
    let sinks = settings.clone();
    let sink = tokio::task::spawn_blocking(move || open_sink(&sinks))
        .await
        .map_err(|error| CannotStart::because("events.url")(&error))??;
    let listener = std::net::TcpListener::bind(&settings.http.listen)
        .map_err(|error| CannotStart(format!("http.listen {}: {error}", settings.http.listen)))?;
    let bound = listener.local_addr().map_err(|error| CannotStart::because("http.listen")(&error))?;
    let public_url = match settings.http.public_url.trim_end_matches('/') {
        "" => format!("http://{bound}"),
        url => url.to_owned(),
    };
    let outbound: Arc<dyn Outbound> = Arc::new(Http::new().map_err(|error| CannotStart(error.to_string()))?);

    let metrics = Arc::new(Metrics::new());
    let tenants = Arc::new(Tenants::default());
    let ephemeral = open_ephemeral(&settings, &clock).await?;
    let serves = ServesTenants {
        master: Arc::clone(&master),
        outbound,
        clock: Arc::clone(&clock),
        ephemeral: Arc::clone(&ephemeral),
        public_url,
        metrics: Arc::clone(&metrics),
    };
    serves.look(&settings, store.as_ref(), &tenants)?;

    let me = ProcessId::from_uuid(clock.fresh());
    let letters = Vault::derive(&master.derive("letter key"), NOBODYS, 0);
    let key = SigningKey::from_seed(master.derive("link signing key"));
    let (links, post) = Across::open(me, key, letters, Arc::clone(&ephemeral), Arc::clone(&clock))
        .await
        .map_err(|error| CannotStart::because("ephemeral.url")(&error))?;
    tokio::spawn(post.run());
    let desk = Desk::new(
        opened,
        Arc::clone(&clock),
        settings.deadlines,
        me,
        Arc::clone(&tenants) as Arc<dyn crate::journey::desk::Dialects>,
    );
    let (after, commits) = mpsc::unbounded_channel();
    let desk = Thread::start(desk, at_once, settings.limits.desk_batch, settings.limits.desk_queue, after)
        .map_err(|error| CannotStart::because("the desk's thread")(&error))?;
    let desk_thread = Arc::clone(&desk);
    let ground = Arc::new(Ground {
        clock: Arc::clone(&clock),
        settings: settings.clone(),
        store: Arc::clone(&store),
        ephemeral,
        links: Counted::new(Arc::clone(&links) as Arc<dyn Links>, Arc::clone(&metrics)),
        desk,
        tenants: Arc::clone(&tenants),
        known: crate::journey::known::Known::default(),
        room: crate::journey::Room::of(readings_at_once),
    });
    let performer = errands::perform::Performer::new(Arc::clone(&ground));
    let records = Arc::new(Notify::new());
    if alone {
        // The embedded store's lock says that every other process is dead.
        errands::adopt::round(&ground, &performer, me, 0).await.map_err(|error| CannotStart(error.to_string()))?;
    }
    let counts = Arc::clone(&metrics);
    tokio::spawn(errands::after::run(
        Arc::clone(&ground),
        Arc::clone(&performer),
        commits,
        Arc::clone(&records),
        move |aftermath| counts.committed(aftermath),
    ));
    tokio::spawn(errands::due::run(Arc::clone(&ground), Arc::clone(&performer), me));
    tokio::spawn(errands::adopt::run(Arc::clone(&ground), Arc::clone(&performer), me));
    tokio::spawn(errands::publish::run(Arc::clone(&ground), sink, records, me));
    tokio::spawn(errands::roll_up::run(Arc::clone(&ground)));
    tokio::spawn(errands::measure::run(Arc::clone(&ground), Arc::clone(&metrics)));
    tokio::spawn(look_for_tenants(serves, Arc::clone(&ground)));

    let shared = http::Shared::new(ground, links, metrics, master.derive("session key"))
        .with_alive(move || !desk_thread.is_dead());
    let workers = match settings.http.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    println!("{}", serde_json::json!({ "ready": "platform", "url": format!("http://{bound}") }));
    let served = http::serve(shared, listener, workers).await;
    performer.finish(Duration::from_millis(LAST_CALLS_MS)).await;
    served.map_err(|error| CannotStart::because("http")(&error))
}

struct ServesTenants {
    master: Arc<Master>,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    ephemeral: Arc<dyn Ephemeral>,
    public_url: String,
    metrics: Arc<Metrics>,
}

impl ServesTenants {
    /// Serves every tenant that can be; refuses for the first that cannot.
    fn look(&self, settings: &Settings, store: &dyn Store, tenants: &Tenants) -> Result<(), CannotStart> {
        let mut refused = Ok(());
        for row in store.tenants().map_err(|error| CannotStart(error.to_string()))? {
            if tenants.get(row.id).is_err() {
                match tenant(
                    &self.master,
                    &row,
                    settings,
                    &self.outbound,
                    (&self.clock, &self.ephemeral),
                    &self.public_url,
                ) {
                    Ok(made) => tenants.put(counted::tenant(made, &self.metrics)),
                    Err(error) => refused = refused.and(Err(error)),
                }
            }
        }
        refused
    }
}

/// Tenants that are set up while the platform runs are served without a restart.
async fn look_for_tenants(serves: ServesTenants, ground: Arc<Ground>) {
    loop {
        tokio::time::sleep(Duration::from_millis(TENANTS_LOOK_MS)).await;
        if let Err(error) = serves.look(&ground.settings, ground.store.as_ref(), &ground.tenants) {
            tracing::error!(%error, "a tenant cannot be served");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_what_no_slow_connection_explains() {
        // The database's clock was read while ours stood between 10 s and 12 s.
        let (before_us, after_us) = (10_000_000, 12_000_000);
        for (theirs_us, apart) in [
            (10_000_000, 0),
            (11_500_000, 0),
            (12_000_000, 0),
            (12_900_000, 900),
            (8_000_000, 2000),
            (15_500_000, 3500),
        ] {
            assert_eq!(apart_ms(before_us, theirs_us, after_us), apart, "{theirs_us}");
        }
    }

    #[test]
    fn whose_clock_differs_is_told_which_setting_by_how_much_and_what_to_do() {
        let said = clocks_differ(2000).to_string();
        for part in ["store.url", "2000 ms", "NTP", "2000毫秒", "校时"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
