//! Two tenants on one platform that listens on a real socket, and the phones that call it.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use platform::clock::{Clock, SystemClock};
use platform::ephemeral::Ephemeral;
use platform::ephemeral::memory::Memory;
use platform::ephemeral::redis::Redis;
use platform::errands;
use platform::http;
use platform::journey::desk::{Desk, Dialects, Thread};
use platform::journey::{Ground, Tenant, Tenants};
use platform::metrics::Metrics;
use platform::metrics::counted::{self, Counted};
use platform::parties::link::Links;
use platform::parties::link::across::Across;
use platform::settings;
use platform::store::sql::{Access, SqlStore};
use platform::store::sqlite;
use platform::store::{ChannelRow, InstitutionRow, Store, TenantRow};
use reqwest::{Method, RequestBuilder};
use sandbox::engines;
use schema::ids::{ChannelId, InstitutionCode, ProcessId, TenantId};
use schema::refusal::Code;
use schema::seal::Vault;
use schema::sign::SigningKey;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::outsiders::{Inbox, Registry, Till};

pub const WANG: (&str, &str) = ("441900199001011234", "王小明");
pub const LI: (&str, &str) = ("440300198505054321", "李雷");
/// Whom both cities' bureaus know.
pub const MEI: (&str, &str) = ("441900198812120022", "梅朵");

/// A tenant as its outsiders know it.
pub struct City {
    pub id: TenantId,
    pub channel_key: String,
    pub hospital: InstitutionCode,
    pub hospital_key: SigningKey,
    pub inbox: Arc<Inbox>,
    pub bureau: Arc<Registry>,
    pub wallet_secret: String,
}

/// What all processes of a platform stand on.
pub struct Founding {
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    settings: settings::Settings,
    tenants: Arc<Tenants>,
    heartbeat_s: u64,
}

/// One platform process, as the outside sees it.
pub struct World {
    pub url: String,
    pub client: reqwest::Client,
    pub ground: Arc<Ground>,
    pub cities: Arc<Vec<City>>,
    pub stopper: http::Stopper,
    pub metrics: Arc<Metrics>,
    /// Whether the threads that nothing works without still run.
    pub alive: Arc<AtomicBool>,
    founding: Arc<Founding>,
}

/// Whatever a test does to the world, its log names nobody.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            crate::trace::assert_discreet();
        }
    }
}

pub struct Said {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Panics unless this is a whole problem document of this status and code.
    pub fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:tongfu:refusal:{code}"));
        assert_eq!(problem["trace_id"], self.header("x-trace-id"));
        assert_eq!(self.header("x-trace-id").len(), 32);
        for sentence in ["title", "title_en"] {
            assert!(problem[sentence].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        }
        problem
    }

    /// Panics unless this is that refusal in its own words, in both languages.
    pub fn refused_as(&self, code: Code) {
        let problem = self.refused(code.status(), code.as_str());
        assert_eq!((&problem["title"], &problem["title_en"]), (&json!(code.zh()), &json!(code.en())));
    }

    pub fn done(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

/// A way to a Redis server.
pub async fn way_to(redis: &engines::redis::Redis) -> Arc<dyn Ephemeral> {
    let opened = Redis::open(redis.url(), Duration::from_secs(1), Arc::new(SystemClock::new())).await;
    Arc::new(opened.expect("it does for us"))
}

pub async fn hear(request: RequestBuilder) -> Said {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Said { status, headers, bytes: response.bytes().await.expect("a body").to_vec() }
}

const MASTER: [u8; 32] = [9; 32];
pub const SESSION_KEY: [u8; 32] = [8; 32];

fn city(store: &SqlStore, clock: &SystemClock, number: u8, person: (&str, &str)) -> (City, Tenant) {
    let id = TenantId::from_uuid(clock.fresh());
    let vault = Vault::derive(&MASTER, id, 0);
    let sealed = vault.seal(clock.nonce(), "parties", b"{}");
    let area = format!("44190{number}");
    let row = TenantRow { id, area: area.clone(), name: format!("城{number}"), current_key: 0, parties: sealed };
    store.add_tenant(&row).expect("a tenant");
    let channel_key = format!("channel-key-{number}");
    let channel = ChannelRow {
        tenant: id,
        id: ChannelId::from_uuid(clock.fresh()),
        name: "粤城通".into(),
        key_hash: http::channel_key_hash(&channel_key),
        revoked: false,
    };
    store.add_channel(&channel).expect("a channel");
    let hospital: InstitutionCode = format!("H4419000000{number}").parse().expect("a code");
    let hospital_key = SigningKey::from_seed([number; 32]);
    let institution = InstitutionRow {
        tenant: id,
        code: hospital.clone(),
        name: format!("第{number}医院"),
        area: area.clone(),
        merchant: format!("190000010{number}"),
        key: Some(hospital_key.public()),
        suspended: false,
    };
    store.put_institution(&institution).expect("an institution");
    let inbox = Arc::new(Inbox::default());
    let bureau = Arc::new(Registry::new(100 + number, &[person, MEI]));
    let wallet_secret = format!("wallet-{number}");
    let tenant = Tenant {
        id,
        name: row.name,
        area,
        line_tolerance_fen: 1,
        vault,
        bureau: Arc::clone(&bureau) as Arc<_>,
        wallet: Arc::new(Till { secret: wallet_secret.clone(), merchant: institution.merchant }),
        sms: Arc::clone(&inbox) as Arc<_>,
    };
    (City { id, channel_key, hospital, hospital_key, inbox, bureau, wallet_secret }, tenant)
}

impl World {
    pub async fn start() -> World {
        World::with(|_| {}, 10).await
    }

    /// One whose record of truth is a file that others can look into.
    pub async fn in_file(path: &Path, set: impl FnOnce(&mut settings::Settings)) -> World {
        let store = sqlite::open(path, Access::Serve).expect("a file");
        World::founded(store, Arc::new(Memory::new(Arc::new(SystemClock::new()))), set, 10).await
    }

    pub async fn with(set: impl FnOnce(&mut settings::Settings), heartbeat_s: u64) -> World {
        World::on(Arc::new(Memory::new(Arc::new(SystemClock::new()))), set, heartbeat_s).await
    }

    /// On this ephemeral store.
    pub async fn on(
        ephemeral: Arc<dyn Ephemeral>,
        set: impl FnOnce(&mut settings::Settings),
        heartbeat_s: u64,
    ) -> World {
        World::founded(sqlite::memory().expect("a store"), ephemeral, set, heartbeat_s).await
    }

    async fn founded(
        store: SqlStore,
        ephemeral: Arc<dyn Ephemeral>,
        set: impl FnOnce(&mut settings::Settings),
        heartbeat_s: u64,
    ) -> World {
        let _ = rustls::crypto::ring::default_provider().install_default();
        crate::trace::listen();
        let clock = Arc::new(SystemClock::new());
        let tenants = Arc::new(Tenants::default());
        let metrics = Arc::new(Metrics::new());
        let mut cities = Vec::new();
        for (number, person) in [(1, WANG), (2, LI)] {
            let (city, tenant) = city(&store, &clock, number, person);
            cities.push(city);
            tenants.put(counted::tenant(tenant, &metrics));
        }
        let mut settings = settings::read(None).expect("the default is sound");
        set(&mut settings);
        let founding = Founding { clock, store: Arc::new(store), settings, tenants, heartbeat_s };
        World::process(Arc::new(founding), Arc::new(cities), ephemeral, metrics).await
    }

    /// Another process of the same platform, with a way of its own to the ephemeral store.
    pub async fn replica(&self, ephemeral: Arc<dyn Ephemeral>) -> World {
        let metrics = Arc::new(Metrics::new());
        World::process(Arc::clone(&self.founding), Arc::clone(&self.cities), ephemeral, metrics).await
    }

    async fn process(
        founding: Arc<Founding>,
        cities: Arc<Vec<City>>,
        ephemeral: Arc<dyn Ephemeral>,
        metrics: Arc<Metrics>,
    ) -> World {
        let (clock, store, tenants) =
            (Arc::clone(&founding.clock), Arc::clone(&founding.store), Arc::clone(&founding.tenants));
        let settings = founding.settings.clone();
        let me = ProcessId::from_uuid(clock.fresh());
        let dialects = Arc::clone(&tenants) as Arc<dyn Dialects>;
        let desk = Desk::new(Arc::clone(&store) as _, Arc::clone(&clock), settings.deadlines, me, dialects);
        let (after, commits) = mpsc::unbounded_channel();
        let desk = Thread::start(desk, 1, settings.limits.desk_batch, settings.limits.desk_queue, after);
        let letters = Vault::derive(&MASTER, TenantId::from_uuid(uuid::Uuid::nil()), 0);
        let key = SigningKey::from_seed([77; 32]);
        let links = Across::open(me, key, letters, Arc::clone(&ephemeral), Arc::clone(&clock)).await;
        let (links, post) = links.expect("the ephemeral store");
        tokio::spawn(post.run());
        let ground = Arc::new(Ground {
            clock,
            settings,
            store,
            ephemeral,
            links: Counted::new(Arc::clone(&links) as Arc<dyn Links>, Arc::clone(&metrics)),
            desk: desk.expect("a thread"),
            tenants,
            known: platform::journey::known::Known::default(),
            room: platform::journey::Room::of(64),
        });
        let performer = errands::perform::Performer::new(Arc::clone(&ground));
        let counted = Arc::clone(&metrics);
        tokio::spawn(errands::after::run(
            Arc::clone(&ground),
            Arc::clone(&performer),
            commits,
            Arc::new(Notify::new()),
            move |aftermath| counted.committed(aftermath),
        ));
        tokio::spawn(errands::due::run(Arc::clone(&ground), Arc::clone(&performer), me));
        tokio::spawn(errands::adopt::run(Arc::clone(&ground), performer, me));
        let (alive, own) = (Arc::new(AtomicBool::new(true)), Arc::clone(&metrics));
        let lives = Arc::clone(&alive);
        let shared = http::Shared::new(Arc::clone(&ground), links, own, SESSION_KEY)
            .with_heartbeat_s(founding.heartbeat_s)
            .with_alive(move || lives.load(Ordering::Relaxed));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = http::start(shared, listener, 2).expect("a server");
        let (url, stopper) = (format!("http://{}", server.address()), server.stopper());
        tokio::spawn(server.run());
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        World { url, client, ground, cities, stopper, metrics, alive, founding }
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.url)).timeout(Duration::from_secs(20))
    }

    /// A change that a channel asks for before anybody is signed in.
    pub fn at_channel(&self, path: &str, channel_key: &str, key: &str, body: Value) -> RequestBuilder {
        let request = self.request("POST", path).header("x-tongfu-channel", channel_key);
        request.header("idempotency-key", key).body(body.to_string())
    }

    /// A fresh idempotency key.
    pub fn key(&self) -> String {
        self.ground.clock.fresh().to_string()
    }

    /// Signs a phone in through a city's channel.
    pub async fn sign_in(&self, city: usize, phone: &str) -> Person<'_> {
        let City { channel_key, inbox, .. } = &self.cities[city];
        let ask = |path: &str, body: Value| self.at_channel(path, channel_key, &self.key(), body);
        hear(ask("/mobile/v1/login/code", json!({ "phone": phone }))).await.done(202);
        let code = inbox.code(phone);
        let login = json!({ "phone": phone, "code": code, "openid": format!("openid-{phone}") });
        let said = hear(ask("/mobile/v1/login", login)).await.done(200);
        Person { world: self, token: said["token"].as_str().expect("a token").to_owned(), keys: Default::default() }
    }
}

/// Somebody who is signed in.
pub struct Person<'w> {
    world: &'w World,
    pub token: String,
    keys: std::cell::Cell<u32>,
}

impl Person<'_> {
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.world.request(method, path).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Said {
        hear(self.request("GET", path)).await
    }

    /// A change under a key of its own.
    pub async fn change(&self, method: &str, path: &str, body: Value) -> Said {
        self.keys.set(self.keys.get() + 1);
        let key = format!("key-{}", self.keys.get());
        self.keyed(method, path, &key, body).await
    }

    pub async fn keyed(&self, method: &str, path: &str, key: &str, body: Value) -> Said {
        hear(self.request(method, path).header("idempotency-key", key).body(body.to_string())).await
    }

    /// This login's only binding.
    pub async fn binding(&self) -> Value {
        let bindings = self.get("/mobile/v1/bindings").await.done(200);
        assert_eq!(bindings.as_array().map(Vec::len), Some(1), "{bindings}");
        bindings[0].clone()
    }

    /// Binds a person at level 1: the binding's id.
    pub async fn bind(&self, (certno, name): (&str, &str)) -> String {
        let ask = json!({ "psn_name": name, "psn_cert_type": "01", "certno": certno });
        let said = self.change("POST", "/mobile/v1/bindings", ask).await.done(201);
        said["id"].as_str().expect("an id").to_owned()
    }

    /// The order's state, as soon as it is `state`.
    pub async fn until(&self, order: &str, state: &str) -> Value {
        for _ in 0..400 {
            let view = self.get(&format!("/mobile/v1/orders/{order}")).await.done(200);
            if view["state"] == state {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the order never became {state}: {}", self.get(&format!("/mobile/v1/orders/{order}")).await.json());
    }
}
