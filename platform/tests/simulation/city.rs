//! One simulated city: a process that may crash, people who pay, and the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::clock::Clock as _;
use platform::domain::order::{Event, Order, State, Taken, Why};
use platform::domain::refund::{Refund, RefundState};
use platform::ephemeral::memory::Memory;
use platform::errands;
use platform::events::{NotTaken, Sink};
use platform::journey::desk::{self, Command, Desk, Door, Outcome, What};
use platform::journey::{Ground, Tenant, Tenants, bills, code, open, pay, people, refund};
use platform::parties::bureau::client::BureauClient;
use platform::parties::outbound::Outbound;
use platform::settings;
use platform::store::sql::SqlStore;
use platform::store::sqlite;
use platform::store::{CallerKey, ChannelRow, InstitutionRow, Store, TenantRow, Unpublished};
use sandbox::bureau::admin::{NewPerson, Registration};
use sandbox::bureau::seal::Keys;
use sandbox::bureau::{self, CallerKind, Catalogue, HospLevel, Institution};
use sandbox::his::draft::Wish;
use schema::bill::Patient;
use schema::ids::{
    BillId, BindingId, ChannelId, ChannelUserId, EventId, InstitutionCode, OrderId, ProcessId, TenantId,
};
use schema::mobile::{BindAsk, BindLevel2Ask, LoginAsk, Mode, OrderAsk, PayAsk};
use schema::money::Fen;
use schema::personal::{CardNo, CertNo, OneTimeCode, Openid, PersonName, Personal as _, Phone, SealedPassword};
use schema::refusal::{Again, Refusal};
use schema::seal::{Sealed, Vault};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crate::batches::Batches;
use crate::clock::SimClock;
use crate::flaky::Flaky;
use crate::outside::{Outside, Weather};
use crate::records;

pub(super) const HOSPITAL: &str = "H44910000001";
const MERCHANT: &str = "1900000109";
const PEOPLE: usize = 10;
/// No order may need longer than this once the storm is over.
const LONGEST: Duration = Duration::from_secs(4 * 3600);

/// What happens to the platform itself.
#[derive(Clone, Copy)]
pub struct Trouble {
    /// Crashes while people pay.
    pub crashes: u32,
    /// Unknown commits in a hundred.
    pub unknown_commits: u32,
    /// Readings back that fail, in a hundred.
    pub unread: u32,
}

impl Trouble {
    pub const NONE: Trouble = Trouble { crashes: 0, unknown_commits: 0, unread: 0 };
    pub const FULL: Trouble = Trouble { crashes: 4, unknown_commits: 3, unread: 40 };
}

/// What became of a city.
#[derive(Debug)]
pub struct Verdict {
    pub orders: BTreeMap<String, usize>,
    /// Suspended orders by reason.
    pub suspended: BTreeMap<String, usize>,
    /// Batches of more than one command.
    pub together: usize,
    faults: Vec<String>,
    /// The types of records that were published, and the refunds' states in them.
    pub kinds: BTreeSet<String>,
    pub story: String,
}

impl Verdict {
    pub fn faults(&self) -> Vec<String> {
        self.faults.clone()
    }

    pub fn ended(&self, state: &str) -> usize {
        self.orders.get(state).copied().unwrap_or(0)
    }
}

pub fn run(seed: u64, weather: Weather, trouble: Trouble) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(simulate(seed, weather, trouble))
}

/// What outlives a crash.
pub(super) struct World {
    pub(super) clock: Arc<SimClock>,
    pub(super) outside: Arc<Outside>,
    pub(super) store: Arc<SqlStore>,
    pub(super) tenant: TenantId,
    trouble: Trouble,
    /// Calls that one institution may have under way.
    pub(super) institution_calls: usize,
    calm: AtomicBool,
    published: Arc<Mutex<Vec<Unpublished>>>,
    batches: Arc<Mutex<Vec<usize>>>,
    pub(super) process: Mutex<Option<Arc<Process>>>,
}

/// One life of the platform.
pub(super) struct Process {
    ground: Arc<Ground>,
    performer: Arc<errands::perform::Performer>,
    tasks: Mutex<Vec<AbortHandle>>,
    crashed: AtomicBool,
}

struct Published(Arc<Mutex<Vec<Unpublished>>>);

impl Sink for Published {
    fn append(&mut self, batch: &[Unpublished]) -> Result<(), NotTaken> {
        self.0.lock().expect("one thread").extend_from_slice(batch);
        Ok(())
    }
}

impl Process {
    pub(super) async fn start(world: &World) -> Arc<Process> {
        let clock = Arc::clone(&world.clock) as Arc<dyn platform::clock::Clock>;
        let mut settings = settings::read(None).expect("the default is sound");
        settings.store.url = "sqlite::memory:".into();
        settings.limits.party_timeout_ms = 5_000;
        settings.limits.link_timeout_ms = 5_000;
        settings.limits.institution_calls = world.institution_calls;
        settings.deadlines.bureau_limit_ms = 6_000;
        settings.deadlines.after_reversal_ms = 6_000;
        settings.deadlines.ask_again_ms = 2_000;
        settings.deadlines.ask_wallet_ms = 5_000;
        settings.deadlines.collect_ms = 120_000;
        settings.deadlines.tell_ms = 600_000;
        settings.deadlines.patience_ms = 1_200_000;
        settings.deadlines.refund_ms = 2_400_000;
        let tenants = Arc::new(Tenants::default());
        let bureau = world.outside.bureau.lock().expect("one thread").keys().card_public_key();
        let notice = world.outside.bureau.lock().expect("one thread").keys().notice_public_key();
        let config = serde_json::from_value(serde_json::json!({
            "base_url": "http://bureau.sim", "paasid": "tongfu", "secret": "s", "sm2_public_key": bureau,
            "notice_public_key": notice, "mdtrtarea_admvs": "449100",
            "dialect": { "query_by_mdtrt_id": true },
        }));
        let config = config.expect("a bureau's settings");
        let outbound = Arc::clone(&world.outside) as Arc<dyn Outbound>;
        tenants.put(Tenant {
            id: world.tenant,
            name: "东湾市".into(),
            area: "449100".into(),
            line_tolerance_fen: 1,
            vault: Vault::derive(&[9; 32], world.tenant, 0),
            bureau: Arc::new(BureauClient::new(config, outbound, Arc::clone(&clock))),
            wallet: Arc::clone(&world.outside) as Arc<dyn platform::parties::wallet::Wallet>,
            sms: Arc::clone(&world.outside) as Arc<dyn platform::parties::sms::SmsGateway>,
        });
        let me = ProcessId::from_uuid(clock.fresh());
        let (after, commits) = mpsc::unbounded_channel();
        let calm = world.calm.load(Ordering::Relaxed);
        let share = if calm { 0 } else { world.trouble.unknown_commits };
        let unread = world.trouble.unread;
        let flaky = Flaky { store: Arc::clone(&world.store) as _, clock: Arc::clone(&world.clock), share, unread };
        let dialects = Arc::clone(&tenants) as Arc<dyn platform::journey::desk::Dialects>;
        let desk = Desk::new(Arc::new(flaky), Arc::clone(&clock), settings.deadlines, me, dialects);
        let door = Batches::new(desk, Arc::clone(&world.clock), after, Arc::clone(&world.batches));
        let ground = Arc::new(Ground {
            clock: Arc::clone(&clock),
            settings,
            store: Arc::clone(&world.store) as Arc<dyn Store>,
            ephemeral: Arc::new(Memory::new(clock)),
            links: Arc::clone(&world.outside) as Arc<dyn platform::parties::link::Links>,
            desk: Arc::clone(&door) as Arc<dyn Door>,
            tenants,
            known: platform::journey::known::Known::default(),
            room: platform::journey::Room::of(64),
        });
        let performer = errands::perform::Performer::new(Arc::clone(&ground));
        let records = Arc::new(Notify::new());
        let process = Arc::new(Process {
            ground: Arc::clone(&ground),
            performer: Arc::clone(&performer),
            tasks: Mutex::default(),
            crashed: AtomicBool::new(false),
        });
        process.spawn(door.run());
        errands::adopt::round(&ground, &performer, me, 0).await.expect("a store in memory");
        let (g, p, r) = (Arc::clone(&ground), Arc::clone(&performer), Arc::clone(&records));
        process.spawn(errands::after::run(g, p, commits, r, |_| {}));
        process.spawn(errands::due::run(Arc::clone(&ground), Arc::clone(&performer), me));
        process.spawn(errands::adopt::run(Arc::clone(&ground), performer, me));
        process.spawn(errands::roll_up::run(Arc::clone(&ground)));
        process.spawn(errands::publish::run(ground, Box::new(Published(Arc::clone(&world.published))), records, me));
        process
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task).abort_handle();
        self.tasks.lock().expect("one thread").push(handle);
    }

    fn crash(&self) {
        self.crashed.store(true, Ordering::Relaxed);
        self.performer.abandon();
        for task in self.tasks.lock().expect("one thread").drain(..) {
            task.abort();
        }
    }
}

impl World {
    fn process(&self) -> Arc<Process> {
        Arc::clone(self.process.lock().expect("one thread").as_ref().expect("a process"))
    }

    /// A request to whichever process lives; `None` when there is none, or it died under it.
    async fn call<T, F, Fut>(&self, request: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Ground>, Arc<Tenant>) -> Fut,
        Fut: Future<Output = T> + Send + 'static,
    {
        let process = self.process();
        if process.crashed.load(Ordering::Relaxed) {
            return None;
        }
        let ground = Arc::clone(&process.ground);
        let tenant = ground.tenants.get(self.tenant).expect("the tenant");
        let task = tokio::spawn(request(ground, tenant));
        process.tasks.lock().expect("one thread").push(task.abort_handle());
        task.await.ok()
    }

    /// The same request again and again, as a phone with an idempotency key does, until there is a real answer.
    pub(super) async fn persist<T, F, Fut>(&self, request: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Fn(Arc<Ground>, Arc<Tenant>) -> Fut,
        Fut: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let mut last = None;
        for _ in 0..60 {
            match self.call(&request).await {
                Some(Err(refusal)) if refusal.code.again() == Again::Later => last = Some(refusal),
                Some(Err(refusal)) if refusal.code == schema::refusal::Code::OutcomeUnknown => last = Some(refusal),
                Some(answer) => return answer,
                None => {}
            }
            self.clock.pause(2_000).await;
        }
        Err(last.unwrap_or_else(|| Refusal::new(schema::refusal::Code::Internal, "no answer in two minutes")))
    }

    pub(super) fn order(&self, id: OrderId) -> Order {
        self.store.order(self.tenant, id).expect("readable").expect("an order that was opened")
    }

    async fn until(&self, id: OrderId, done: impl Fn(&Order) -> bool) -> Order {
        loop {
            let order = self.order(id);
            if done(&order) || ended(&order) {
                return order;
            }
            self.clock.pause(800).await;
        }
    }

    pub(super) fn key(&self, user: ChannelUserId) -> CallerKey {
        self.key_of(format!("user:{user}"))
    }

    fn channel_key(&self) -> CallerKey {
        self.key_of(format!("channel:{}", channel()))
    }

    fn message_key(&self, hospital: &InstitutionCode) -> CallerKey {
        self.key_of(format!("adapter:{hospital}"))
    }

    fn key_of(&self, caller: String) -> CallerKey {
        let mut request = [0; 32];
        self.clock.fill(&mut request);
        CallerKey { caller, key: self.clock.fresh().to_string(), request }
    }
}

fn ended(order: &Order) -> bool {
    matches!(order.state.place().word(), "completed" | "closed" | "suspended")
}

fn under_way(refund: &Refund) -> bool {
    !matches!(refund.state.word(), "done" | "refused" | "suspended")
}

async fn simulate(seed: u64, weather: Weather, trouble: Trouble) -> Verdict {
    let clock = SimClock::new(seed);
    let store = sqlite::memory().expect("a store in memory");
    let world = Arc::new(build(&clock, seed, weather, trouble, store));
    *world.process.lock().expect("one thread") = Some(Process::start(&world).await);
    tokio::spawn(Arc::clone(&world.outside).run());
    let mut people = JoinSet::new();
    for number in 0..PEOPLE {
        let world = Arc::clone(&world);
        people.spawn(async move { person(&world, number).await });
    }
    let crashes = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for _ in 0..trouble.crashes {
                world.clock.pause(40_000).await;
                world.process().crash();
                world.clock.pause(3_000).await;
                let next = Process::start(&world).await;
                *world.process.lock().expect("one thread") = Some(next);
            }
        })
    };
    while let Some(paid) = people.join_next().await {
        paid.expect("people do not panic");
    }
    crashes.await.expect("the crashes are over");
    // The storm ends: whatever is still unknown must now be found out.
    world.calm.store(true, Ordering::Relaxed);
    world.outside.calm();
    world.process().crash();
    let next = Process::start(&world).await;
    *world.process.lock().expect("one thread") = Some(next);
    let settle = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let open = world.store.orders_in(None, None, 10_000).expect("readable").iter().any(|order| !ended(order));
            let refunding = world.store.refunds_in(None, 10_000).expect("readable").iter().any(|(_, it)| under_way(it));
            if !open && !refunding {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(LONGEST, settle).await.is_ok();
    // Releases and messages may still be on their way when the last order has ended.
    tokio::time::sleep(Duration::from_secs(1800)).await;
    verdict(&world, in_time)
}

pub(super) fn build(clock: &Arc<SimClock>, seed: u64, weather: Weather, trouble: Trouble, store: SqlStore) -> World {
    let catalogue = Arc::new(Catalogue::builtin());
    let mut bureau = bureau::Core::new(bureau::Config::builtin(), Arc::clone(&catalogue), Keys::from_seed(seed));
    let institution = Institution {
        fixmedins_code: HOSPITAL.into(),
        fixmedins_name: "东湾市第一医院".into(),
        admdvs: "449101".into(),
        hosp_lv: HospLevel::Third,
    };
    let own = Institution {
        fixmedins_code: "P44910000000".into(),
        fixmedins_name: "统付平台".into(),
        admdvs: "449100".into(),
        hosp_lv: HospLevel::Community,
    };
    let register = |bureau: &mut bureau::Core, paasid: &str, kind, institutions| {
        let registration =
            Registration { paasid: paasid.into(), secret: "s".into(), kind, institutions, notice_url: None };
        bureau.register_caller(registration).expect("a sound registration")
    };
    let hospital_caller = register(&mut bureau, "his1", CallerKind::Hospital, vec![institution.clone()]);
    let platform_caller = register(&mut bureau, "tongfu", CallerKind::Platform, vec![institution, own]);
    let persons = (0..PEOPLE).map(|number| NewPerson {
        psn_no: format!("P{number:04}"),
        psn_cert_type: "01".into(),
        certno: certno(number),
        psn_name: name(number),
        gend: "1".into(),
        brdy: "1990-01-01".parse().expect("a day"),
        card_no: card(number),
        card_password: "135790".into(),
        insurances: vec![bureau::state::Insurance {
            insutype: if number % 3 == 0 { "390" } else { "310" }.into(),
            psn_type: if number % 3 == 0 { "1501" } else { "1101" }.into(),
            insuplc_admdvs: "449100".into(),
            cvlserv: false,
            paused: false,
        }],
        balance_fen: Fen::new(20_000 * number as i64),
        relatives: vec![],
    });
    bureau.create_persons(persons.collect()).expect("sound persons");
    let hospital = sandbox::his::Hospital {
        code: HOSPITAL.parse().expect("a code"),
        name: "东湾市第一医院".into(),
        admdvs: "449101".into(),
        level: HospLevel::Third,
        bureau_url: String::new(),
        paasid: "his1".into(),
        secret: "s".into(),
        sign_in: false,
        adapter_url: String::new(),
        adapter_api_key: String::new(),
        bill_lives_s: 86_400,
    };
    let outside = Arc::new(Outside::new(
        Arc::clone(clock),
        weather,
        bureau,
        platform_caller,
        hospital_caller,
        sandbox::his::Core::new(hospital, sandbox::his::core::State::default()),
    ));
    let tenant = TenantId::from_uuid(clock.fresh());
    let store = Arc::new(store);
    let row = TenantRow {
        id: tenant,
        area: "449100".into(),
        name: "东湾市".into(),
        current_key: 0,
        parties: Sealed::from_bytes(vec![]),
    };
    store.add_tenant(&row).expect("a tenant");
    let channel = ChannelRow {
        tenant,
        id: ChannelId::from_uuid(uuid::Uuid::from_u128(1)),
        name: "app".into(),
        key_hash: [1; 32],
        revoked: false,
    };
    store.add_channel(&channel).expect("a channel");
    store
        .put_institution(&InstitutionRow {
            tenant,
            code: HOSPITAL.parse().expect("a code"),
            name: "东湾市第一医院".into(),
            area: "449101".into(),
            merchant: MERCHANT.into(),
            key: None,
            suspended: false,
        })
        .expect("an institution");
    World {
        clock: Arc::clone(clock),
        outside,
        store,
        tenant,
        trouble,
        institution_calls: 32,
        calm: AtomicBool::new(false),
        published: Arc::default(),
        batches: Arc::default(),
        process: Mutex::new(None),
    }
}

fn certno(number: usize) -> String {
    format!("4491001990010100{number:02}")
}

fn name(number: usize) -> String {
    format!("参保人{number}")
}

fn card(number: usize) -> String {
    format!("C{number:08}")
}

fn phone(number: usize) -> Phone {
    Phone::new(format!("138000000{number:02}"))
}

/// One person's day.
async fn person(world: &Arc<World>, number: usize) {
    let clock = &world.clock;
    clock.pause(5_000).await;
    let Ok(user) = log_in(world, number).await else { return };
    let Ok(binding) = bind(world, number, user).await else { return };
    let bills = 1 + clock.below(2);
    for _ in 0..bills {
        let (bill, bill_no) = billed(world, number, HOSPITAL).await;
        pay_bill(world, number, user, binding, bill, &bill_no).await;
    }
}

pub(super) async fn log_in(world: &World, number: usize) -> Result<ChannelUserId, Refusal> {
    let phone = phone(number);
    send_login_code(world, &phone).await?;
    for _ in 0..20 {
        world.clock.pause(6_000).await;
        let Some(code) = world.outside.newest_code(phone.expose()) else {
            let _ = send_login_code(world, &phone).await;
            continue;
        };
        let ask = LoginAsk {
            phone: phone.clone(),
            code: OneTimeCode::new(code),
            openid: Some(Openid::new(format!("openid{number}"))),
        };
        let key = world.channel_key();
        let logged_in = world
            .persist(move |ground, tenant| {
                let (ask, key) = (ask.clone(), key.clone());
                async move { people::login(&ground, &tenant, channel(), &ask, key).await }
            })
            .await;
        if let Ok(signed_in) = logged_in {
            return Ok(signed_in.user);
        }
        // The code died with the process that kept it: ask for another.
        let _ = send_login_code(world, &phone).await;
    }
    Err(Refusal::new(schema::refusal::Code::Internal, "could not log in"))
}

fn channel() -> ChannelId {
    ChannelId::from_uuid(uuid::Uuid::from_u128(1))
}

async fn send_login_code(world: &World, phone: &Phone) -> Result<(), Refusal> {
    let (phone, key) = (phone.clone(), world.channel_key());
    world
        .persist(move |ground, tenant| {
            let (phone, key) = (phone.clone(), key.clone());
            async move { people::send_login_code(&ground, &tenant, channel(), &phone, &key).await }
        })
        .await
}

pub(super) async fn bind(world: &World, number: usize, user: ChannelUserId) -> Result<BindingId, Refusal> {
    let key = world.key(user);
    let ask = BindAsk {
        psn_name: PersonName::new(name(number)),
        psn_cert_type: "01".into(),
        certno: CertNo::new(certno(number)),
    };
    let view = world
        .persist(move |ground, tenant| {
            let (ask, key) = (ask.clone(), key.clone());
            async move { people::bind(&ground, &tenant, user, &ask, key).await }
        })
        .await?;
    let view: Value = serde_json::from_slice(&view).expect("a binding");
    let binding: BindingId = view["id"].as_str().expect("an id").parse().expect("an id");
    let public = world.outside.bureau.lock().expect("one thread").keys().card_public_key();
    let ask = BindLevel2Ask {
        card_no: CardNo::new(card(number)),
        sealed_password: SealedPassword::new(bureau::seal_card_password(&public, "135790")),
    };
    let key = world.key(user);
    world
        .persist(move |ground, tenant| {
            let (ask, key) = (ask.clone(), key.clone());
            async move { people::bind_level2(&ground, &tenant, user, binding, &ask, key).await }
        })
        .await?;
    Ok(binding)
}

pub(super) async fn billed(world: &World, number: usize, hospital: &str) -> (BillId, String) {
    let hospital: InstitutionCode = hospital.parse().expect("a code");
    let patient = Patient::of_document(PersonName::new(name(number)), "01", CertNo::new(certno(number)));
    let catalogue = Catalogue::builtin();
    let now = world.clock.china();
    let draft =
        world.outside.his.lock().expect("one thread").issue(&catalogue, 7, patient, &Wish::default(), false, now);
    let bill_no = draft.bill_no.clone();
    let (key, code) = (world.message_key(&hospital), hospital.clone());
    world
        .persist(move |ground, tenant| {
            let (draft, hospital, key) = (draft.clone(), code.clone(), key.clone());
            async move { bills::take(&ground, &tenant, &hospital, &draft, key, None).await }
        })
        .await
        .expect("the hospital's bills are sound");
    let stored = world.store.bill_by_no(world.tenant, &hospital, &bill_no).expect("readable");
    (stored.expect("a bill that was taken").bill.facts.id, bill_no)
}

async fn pay_bill(
    world: &Arc<World>,
    number: usize,
    user: ChannelUserId,
    binding: BindingId,
    bill: BillId,
    bill_no: &str,
) {
    let clock = &world.clock;
    let rough = world.trouble.crashes > 0;
    let mode = if clock.percent(80) { Mode::Insured } else { Mode::CashOnly };
    let ask = OrderAsk { bill_id: bill, mode, use_account: clock.percent(60) };
    let key = world.key(user);
    let opened = world
        .persist(move |ground, tenant| {
            let (ask, key) = (ask.clone(), key.clone());
            async move { open::open(&ground, &tenant, user, &ask, key, None).await }
        })
        .await;
    let Ok(opened) = opened else { return };
    let opened: Value = serde_json::from_slice(&opened).expect("an order");
    let id: OrderId = opened["id"].as_str().expect("an id").parse().expect("an id");
    if rough {
        meddle(world, user, binding, id, bill_no);
    }
    if mode == Mode::Insured {
        authorise(world, number, user, id).await;
    } else {
        world.until(id, |order| matches!(order.state, State::Priced { .. })).await;
        let key = world.key(user);
        let _ = world
            .persist(move |ground, tenant| {
                let (ask, key) = (PayAsk { phone: None, code: None, card_no: None }, key.clone());
                async move { pay::pay(&ground, &tenant, user, id, &ask, key, None).await }
            })
            .await;
    }
    take_wallet(world, number, id, rough).await;
    let order = world.until(id, ended).await;
    if rough && matches!(order.state, State::Completed { .. }) && clock.percent(20) {
        give_back(world, &order).await;
    }
}

/// Code and payment, several times where the price changes or the code dies.
async fn authorise(world: &World, number: usize, user: ChannelUserId, id: OrderId) {
    for _ in 0..12 {
        let order = world.until(id, |order| !matches!(order.state, State::Created)).await;
        if !matches!(order.state, State::Priced { .. }) {
            world.clock.pause(3_000).await;
            let order = world.order(id);
            if ended(&order)
                || matches!(order.state, State::Prepaying { .. } | State::Collecting { .. } | State::Paid { .. })
            {
                return;
            }
            continue;
        }
        let key = world.key(user);
        let _ = world
            .persist(move |ground, tenant| {
                let key = key.clone();
                async move { code::issue(&ground, &tenant, user, id, key, None).await }
            })
            .await;
        world.clock.pause(9_000).await;
        let digits = world.outside.newest_code(phone(number).expose()).unwrap_or_else(|| "000000".into());
        let digits = if world.clock.percent(8) { "999999".to_owned() } else { digits };
        let ask = PayAsk {
            phone: Some(phone(number)),
            code: Some(OneTimeCode::new(digits)),
            card_no: Some(CardNo::new(card(number))),
        };
        let key = world.key(user);
        let paid = world
            .persist(move |ground, tenant| {
                let (ask, key) = (ask.clone(), key.clone());
                async move { pay::pay(&ground, &tenant, user, id, &ask, key, None).await }
            })
            .await;
        if paid.is_ok() {
            world.clock.pause(4_000).await;
        }
    }
}

async fn take_wallet(world: &Arc<World>, number: usize, id: OrderId, rough: bool) {
    let waiting = |order: &Order| matches!(order.state, State::Collecting { .. } | State::Paid { .. });
    let Ok(order) = tokio::time::timeout(Duration::from_secs(1200), world.until(id, waiting)).await else { return };
    let State::Collecting { prepay_id, .. } = &order.state else { return };
    let never = rough && world.clock.percent(10);
    if never {
        return;
    }
    let late = rough && world.clock.percent(8);
    if late {
        // Pays long after everything was closed, and the wallet lets it land.
        tokio::time::sleep(Duration::from_secs(150)).await;
        world.outside.pay(prepay_id, &Openid::new(format!("openid{number}")), true);
    } else {
        world.clock.pause(6_000).await;
        if !world.outside.pay(prepay_id, &Openid::new(format!("openid{number}")), false) {
            return;
        }
    }
    // Only the wallet can tell of a payment after the end; one in time is also found by asking.
    let notices = if rough { world.clock.below(3).max(u32::from(late)) } else { 1 };
    for _ in 0..notices {
        world.clock.pause(2_000).await;
        notice(world, &order).await;
    }
}

/// The wallet's notice, as its handler hands it to the desk.
async fn notice(world: &World, order: &Order) {
    let out_trade_no = platform::domain::order::out_trade_no(order.id);
    let record = world.outside.wallet.lock().expect("one thread").query("1900007291", MERCHANT, &out_trade_no);
    let Ok(record) = record else { return };
    let Some(transaction_id) = record["transaction_id"].as_str() else { return };
    let amount = Fen::new(record["amount"]["total"].as_i64().expect("an amount"));
    let taken = Taken {
        out_trade_no,
        transaction_id: transaction_id.to_owned(),
        amount,
        paid: amount,
        success_time_us: chrono::DateTime::parse_from_rfc3339(record["success_time"].as_str().expect("a time"))
            .expect("RFC 3339")
            .timestamp_micros(),
    };
    let (id, tenant_id) = (order.id, world.tenant);
    // The wallet repeats a notice until it is heard.
    loop {
        let taken = taken.clone();
        let heard = world.call(move |ground, _| async move {
            let command = Command {
                tenant: tenant_id,
                event_id: EventId::from_uuid(ground.clock.fresh()),
                what: What::Order(id, Event::WalletPaid(taken)),
                answers: None,
                key: None,
                trace_id: None,
            };
            ground.desk.tell(command).await
        });
        match heard.await {
            Some(Outcome::Refused(refusal)) if !desk::decided(&refusal) => {}
            Some(_) => return,
            None => {}
        }
        world.clock.pause(3_000).await;
    }
}

/// Cancels, window claims and losses, at any moment of the order's life.
fn meddle(world: &Arc<World>, user: ChannelUserId, binding: BindingId, id: OrderId, bill_no: &str) {
    let dice = world.clock.below(100);
    let (world, bill_no) = (Arc::clone(world), bill_no.to_owned());
    tokio::spawn(async move {
        world.clock.pause(40_000).await;
        match dice {
            0..12 => {
                let key = world.key(user);
                let _ = world
                    .persist(move |ground, tenant| {
                        let key = key.clone();
                        async move { open::cancel(&ground, &tenant, user, id, key, None).await }
                    })
                    .await;
            }
            12..24 => {
                let hospital: InstitutionCode = HOSPITAL.parse().expect("a code");
                let key = world.message_key(&hospital);
                let _ = world
                    .persist(move |ground, tenant| {
                        let (bill_no, hospital, key) = (bill_no.clone(), hospital.clone(), key.clone());
                        async move { bills::claim(&ground, tenant.id, &hospital, &bill_no, key, None).await }
                    })
                    .await;
            }
            24..28 => {
                let key = world.key(user);
                let _ = world
                    .persist(move |ground, tenant| {
                        let key = key.clone();
                        async move { people::report_loss(&ground, &tenant, user, binding, key).await }
                    })
                    .await;
            }
            _ => {}
        }
    });
}

async fn give_back(world: &World, order: &Order) {
    let insured = order.insured.is_some();
    let part = !insured && world.clock.percent(50);
    let remains = if insured && world.clock.percent(50) { bill_of_the_rest(world, order).await } else { None };
    let ask = schema::his::RefundAsk {
        refund_no: format!("R-{}", order.bill.bill_no),
        bill_no: order.bill.bill_no.clone(),
        amount_fen: part.then(|| Fen::new(1)),
        replaced_by: remains,
        reason: "退药".into(),
    };
    let key = world.message_key(&order.bill.institution);
    let hospital = order.bill.institution.clone();
    let _ = world
        .persist(move |ground, tenant| {
            let (ask, hospital, key) = (ask.clone(), hospital.clone(), key.clone());
            async move { refund::asked(&ground, tenant.id, &hospital, &ask, key, None).await }
        })
        .await;
}

/// The patient brings the last line back: what remains is billed anew. None where nothing would remain.
async fn bill_of_the_rest(world: &World, order: &Order) -> Option<String> {
    let now = world.clock.china();
    let draft = world.outside.his.lock().expect("one thread").issue_rest(&order.bill.bill_no, now)?;
    let bill_no = draft.bill_no.clone();
    let hospital: InstitutionCode = HOSPITAL.parse().expect("a code");
    let key = world.message_key(&hospital);
    let taken = world
        .persist(move |ground, tenant| {
            let (draft, hospital, key) = (draft.clone(), hospital.clone(), key.clone());
            async move { bills::take(&ground, &tenant, &hospital, &draft, key, None).await }
        })
        .await;
    taken.ok().map(|_| bill_no)
}

fn verdict(world: &World, in_time: bool) -> Verdict {
    let mut faults = Vec::new();
    let orders = world.store.orders_in(None, None, 10_000).expect("readable");
    let mut by_state = BTreeMap::<String, usize>::new();
    let mut suspended = BTreeMap::<String, usize>::new();
    for order in &orders {
        *by_state.entry(order.state.place().word().to_owned()).or_default() += 1;
        if let State::Suspended { why, from, .. } = &order.state {
            *suspended.entry(format!("{} from {}", why.word(), from.place().word())).or_default() += 1;
            let history = world.store.story(order.id).expect("readable").expect("a story").history;
            if !history.iter().any(|row| explains(why, &row.event)) {
                faults.push(format!("order {} is suspended for {why:?}, and nothing in its story says why", order.id));
            }
        }
        if !ended(order) {
            faults.push(format!("order {} never ended: {:?}", order.id, order.state.place()));
        }
    }
    for (_, refund) in world.store.refunds_in(None, 10_000).expect("readable") {
        let about = format!("a {:?} refund of order {}", refund.kind, refund.order);
        if under_way(&refund) {
            faults.push(format!("{about} never ended: {:?}", refund.state));
        }
        if matches!(refund.state, RefundState::Suspended { .. }) {
            let history = world.store.story(refund.order).expect("readable").expect("a story").history;
            if !history.iter().any(|row| row.event == "cash_abnormal") {
                faults.push(format!("{about} is suspended, and nobody is away any more: {:?}", refund.state));
            }
        }
    }
    if !in_time {
        faults.push("orders or refunds were still open hours after the storm".into());
    }
    let ledger = world.store.verify(world.tenant).expect("readable");
    faults.extend(ledger.violations.iter().map(|v| format!("{} of {}: {}", v.invariant.id(), v.of, v.found)));
    let net = |prefix: &str| {
        let lines = ledger.accounts.iter().filter(|(account, _)| account.starts_with(prefix));
        lines.map(|(_, amount)| amount.get()).sum::<i64>()
    };
    let bureau = world.outside.bureau.lock().expect("one thread").books();
    if !bureau.balanced || bureau.charged_twice > 0 {
        faults.push(format!("the bureau's books: {bureau:?}"));
    }
    let at_bureau: i64 = bureau
        .callers
        .iter()
        .filter(|book| book.origin == "tongfu")
        .map(|book| book.fund_fen.get() + book.account_fen.get())
        .sum();
    if at_bureau != net("bureau:") {
        faults.push(format!("the bureau has {at_bureau} fen of ours, our postings say {}", net("bureau:")));
    }
    let wallet = world.outside.wallet.lock().expect("one thread");
    let books = wallet.books().expect("sums");
    if wallet.paid_twice().expect("sums") > 0 {
        faults.push("somebody paid a bill twice in the wallet".into());
    }
    if books.net_fen.get() != net("wallet:") {
        let records = wallet.records().expect("readable");
        let paid = records["orders"].as_array().into_iter().flatten().filter(|row| row["state"] == "PAID");
        let kept: Vec<_> = paid.map(|row| (&row["out_trade_no"], &row["total_fen"], &row["refunded_fen"])).collect();
        let (theirs, ours) = (books.net_fen.get(), net("wallet:"));
        faults.push(format!("the wallet holds {theirs} fen, our postings say {ours}; paid there are {kept:?}"));
    }
    let published = world.published.lock().expect("one thread").clone();
    let records = records::read(published.iter().map(|record| record.record.as_str()));
    faults.extend(records.faults);
    for order in &orders {
        let last = records.orders.get(&order.id.to_string());
        if last != Some(&order.version) {
            faults.push(format!("records of {} end with {last:?}, its version is {}", order.id, order.version));
        }
    }
    let kinds = records.types.into_iter().chain(records.refund_states).collect();
    let together = world.batches.lock().expect("one thread").iter().filter(|size| **size > 1).count();
    Verdict { orders: by_state, suspended, together, faults, kinds, story: story(world, &orders) }
}

/// Whether this event is a reason to suspend an order so. The storm is shorter than anybody's patience, so nobody is
/// ever suspended for another's silence; no invariant is ever broken, and the wallet takes what it is told to take.
fn explains(why: &Why, event: &str) -> bool {
    match why {
        Why::UndoRefused { .. } => event == "undo_refused",
        Why::RefundStuck => matches!(event, "cash_refused" | "cash_abnormal"),
        _ => false,
    }
}

fn story(world: &World, orders: &[Order]) -> String {
    let mut lines = String::new();
    for order in orders {
        let story = world.store.story(order.id).expect("readable").expect("a story");
        for row in story.history {
            lines.push_str(&format!("{} {} {} {} {}\n", order.id, row.version, row.at_us, row.event, row.to));
        }
    }
    if std::env::var("SEED").is_ok() {
        println!("{lines}");
    }
    lines
}
