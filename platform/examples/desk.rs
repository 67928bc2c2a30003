//! The desk and its store alone: payments whose parties answer at once, as many at a time as are asked for, and what
//! they cost. Nothing but rows is written: no HTTP, no link, no signature.
//!
//! `desk --url postgres://… --payments N --at-once M` prints one JSON object.

#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "only its world is wanted; its promises have their own test"
)]
#[path = "../tests/store_contract/mod.rs"]
mod store_contract;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use mimalloc::MiMalloc;
use platform::clock::{Clock, SystemClock};
use platform::domain::action::Action;
use platform::domain::code::IssuedCode;
use platform::domain::order::{Event, Order};
use platform::journey::desk::{Command, Desk, Dialects, Door as _, Start, Thread, What};
use platform::parties::wallet::Account;
use platform::store::sql::{Access, SqlStore};
use platform::store::{BindingRow, ChannelUserRow};
use schema::his::Guidance;
use schema::ids::{ActionId, BillId, BindingId, ChannelUserId, EventId, OrderId, TenantId};
use serde_json::json;
use store_contract::world::{HOUR_US, RULES, World};
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Debug, Parser)]
struct Options {
    /// The store.
    #[arg(long)]
    url: String,
    /// Payments.
    #[arg(long)]
    payments: u32,
    /// Payments under way at a time, each another person's.
    #[arg(long, default_value_t = 256)]
    at_once: u32,
    /// Another seed is another tenant.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const AMOUNT: i64 = 1000;
const BATCH_MAX: usize = 64;

struct Wallet;

impl Dialects for Wallet {
    fn can_ask_by_visit(&self, _: TenantId) -> bool {
        true
    }

    fn wallet_account(&self, _: TenantId) -> Option<Account> {
        Some(Account { sp_mchid: "1900007291".into(), sp_appid: "wx8888888888888888".into() })
    }
}

/// Everybody and the desk.
struct Town {
    world: World,
    clock: SystemClock,
    desk: Arc<Thread>,
    waiting: Mutex<HashMap<OrderId, mpsc::UnboundedSender<Start>>>,
    left: AtomicU32,
    number: AtomicU32,
    at_us: i64,
}

struct Person {
    user: ChannelUserId,
    binding: BindingId,
}

impl Town {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<OrderId, mpsc::UnboundedSender<Start>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One person more, with a binding of their own.
    fn person(&self, number: u32) -> Person {
        let (user, binding) = (ChannelUserId::from_uuid(self.clock.fresh()), BindingId::from_uuid(self.clock.fresh()));
        let lookup = |purpose: &str| self.world.vault.lookup(purpose, &number.to_string());
        let row = ChannelUserRow { id: user, phone: lookup("phone"), openid: None, ..self.world.user_row() };
        self.world.store.channel_user(&row, None).expect("a login");
        let mut row =
            BindingRow { channel_user: user, certno: lookup("certno"), bind_no: None, ..self.world.binding_row() };
        (row.facts.id, row.facts.person) = (binding, lookup("person"));
        assert_eq!(self.world.store.add_binding(&row, None), Ok(true));
        Person { user, binding }
    }

    async fn tell(&self, what: What, answers: Option<ActionId>) -> Option<Order> {
        let (tenant, event_id) = (self.world.tenant, EventId::from_uuid(self.clock.fresh()));
        let command = Command { tenant, event_id, what, answers, key: None, trace_id: Some("0af7651916cd43dd".into()) };
        match self.desk.tell(command).await {
            platform::journey::desk::Outcome::Order(order) => Some(*order),
            platform::journey::desk::Outcome::Refused(refusal) => unreachable!("{refusal}"),
            _ => None,
        }
    }

    /// Hands what a commit started to whoever pays; what only has to be done is done.
    fn started(self: &Arc<Self>, start: Start) {
        let chain = matches!(
            start.due.action.action,
            Action::Price { .. } | Action::Settle { .. } | Action::Prepay { .. } | Action::Tell { .. }
        );
        if chain {
            let payer = self.waiting().get(&start.order.id).cloned();
            if let Some(payer) = payer {
                let _ = payer.send(start);
            }
        } else {
            let town = Arc::clone(self);
            tokio::spawn(async move { town.tell(What::ActionDone, Some(start.due.action.id)).await });
        }
    }

    async fn pay(&self, person: &Person) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut bill = self.world.new_bill(&format!("B{number:012}"), AMOUNT);
        bill.facts.expires_at_us = self.at_us + 24 * HOUR_US;
        let (bill_id, id) = (bill.facts.id, OrderId::from_uuid(self.clock.fresh()));
        self.tell(What::TakeBill(Box::new(bill)), None).await;
        let (told, mut starts) = mpsc::unbounded_channel();
        self.waiting().insert(id, told);
        self.tell(self.opening(id, bill_id, person), None).await;
        let order = |event| What::Order(id, event);
        let start = starts.recv().await.expect("a price is asked for");
        self.tell(order(self.world.price(true, AMOUNT)), Some(start.due.action.id)).await;
        let hash = self.world.vault.lookup("code", &number.to_string());
        let code = IssuedCode { hash, price_number: 1, expires_at_us: self.at_us + HOUR_US, tries_epoch: 0 };
        self.tell(order(Event::CodeIssued { code }), None).await;
        self.tell(order(Event::Authorised { offered: Some(hash) }), None).await;
        let start = starts.recv().await.expect("it settles");
        let settlement = self.world.settlement(&start.order, &format!("S{number:012}"));
        self.tell(order(Event::SettleDone(Box::new(settlement))), Some(start.due.action.id)).await;
        let start = starts.recv().await.expect("the wallet is asked");
        self.tell(order(Event::PrepayDone { prepay_id: "P1".into() }), Some(start.due.action.id)).await;
        let taken = self.world.taken(&start.order, &format!("T{number:012}"));
        self.tell(order(Event::WalletPaid(taken)), None).await;
        let start = starts.recv().await.expect("the hospital is told");
        let booked = Event::TellBooked { guidance: Guidance::default() };
        let ended = self.tell(order(booked), Some(start.due.action.id)).await.expect("an order");
        assert_eq!(ended.state.place().word(), "completed");
        self.waiting().remove(&id);
    }

    fn opening(&self, order: OrderId, bill: BillId, person: &Person) -> What {
        let (payer, insured) = (person.user, Some((person.binding, true)));
        What::Open { order, bill, payer, merchant: "1900000109".into(), insured, carry: None }
    }
}

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run(options));
}

async fn run(options: Options) {
    let store = SqlStore::open_url(&options.url, Access::Serve).expect("a store of today's tables");
    let at_once = store.batches_at_once();
    let world = World::seeded(Arc::new(store), options.seed);
    let clock = SystemClock::new();
    let at_us = clock.now_us();
    world.clock.set(at_us);
    let desk =
        Desk::new(Arc::clone(&world.store) as Arc<_>, Arc::new(SystemClock::new()), RULES, world.me, Arc::new(Wallet));
    let (after, mut commits) = mpsc::unbounded_channel();
    let desk = Thread::start(desk, at_once, BATCH_MAX, 100_000, after).expect("threads");
    let (waiting, left, number) = (Mutex::default(), AtomicU32::new(options.payments), AtomicU32::new(0));
    let town = Arc::new(Town { world, clock, desk, waiting, left, number, at_us });
    let people: Vec<Person> = (0..options.at_once).map(|number| town.person(number)).collect();
    let listening = tokio::spawn({
        let town = Arc::clone(&town);
        async move {
            while let Some(aftermath) = commits.recv().await {
                aftermath.start.into_iter().for_each(|start| town.started(start));
            }
        }
    });
    let began = town.clock.steady();
    let payers: Vec<_> = people
        .into_iter()
        .map(|person| {
            let town = Arc::clone(&town);
            tokio::spawn(async move {
                let more = |left: u32| left.checked_sub(1);
                while town.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
                    town.pay(&person).await;
                }
            })
        })
        .collect();
    for payer in payers {
        payer.await.expect("every payment ends");
    }
    let took = town.clock.steady() - began;
    let books = town.world.store.verify(town.world.tenant).expect("books");
    listening.abort();
    println!(
        "{}",
        json!({
            "payments": options.payments,
            "took_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "books_balance": books.violations.is_empty(),
        })
    );
}
