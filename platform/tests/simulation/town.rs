//! Small stories with an exact end, in paused time.
//!
//! A process that cannot say that it lives: others will soon ask about its actions, so it sends nothing outside. (The
//! store is a real one in a file, whose table of leases refuses to be written for a while.) And an institution that
//! says nothing: it delays only its own orders.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use platform::clock::Clock as _;
use platform::journey::open;
use platform::store::sql::Access;
use platform::store::sqlite;
use platform::store::{InstitutionRow, Store as _};
use schema::ids::{BillId, ChannelUserId, OrderId, ProcessId};
use schema::mobile::{Mode, OrderAsk};
use serde_json::Value;
use tempfile::TempDir;

use crate::city::{self, HOSPITAL, Process, Trouble, World};
use crate::clock::SimClock;
use crate::outside::Weather;

const QUIET: &str = "H44910000002";

struct Town {
    world: Arc<World>,
    dir: TempDir,
    user: ChannelUserId,
    bills: Vec<BillId>,
}

impl Town {
    /// One person, whom each of these hospitals has billed.
    async fn new(institution_calls: usize, hospitals: &[&str]) -> Town {
        let clock = SimClock::new(11);
        let dir = TempDir::new().expect("a directory");
        let store = sqlite::open(dir.path().join("tongfu.db"), Access::Serve).expect("a file");
        let mut world = city::build(&clock, 11, Weather::FAIR, Trouble::NONE, store);
        world.institution_calls = institution_calls;
        let hospital = world.store.institution(world.tenant, &HOSPITAL.parse().expect("a code"));
        let quiet =
            InstitutionRow { code: QUIET.parse().expect("a code"), ..hospital.expect("readable").expect("one") };
        world.store.put_institution(&quiet).expect("an institution");
        let world = Arc::new(world);
        *world.process.lock().expect("one thread") = Some(Process::start(&world).await);
        let user = city::log_in(&world, 0).await.expect("a login");
        city::bind(&world, 0, user).await.expect("a binding");
        let mut bills = Vec::new();
        for hospital in hospitals {
            bills.push(city::billed(&world, 0, hospital).await.0);
        }
        Town { world, dir, user, bills }
    }

    fn execute(&self, statement: &str) {
        let path = self.dir.path().join("tongfu.db");
        let mut conn = SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("the file opens");
        conn.batch_execute(statement).expect("a statement");
    }

    fn lose_the_lease(&self) {
        self.execute("CREATE TRIGGER gone BEFORE INSERT ON lease BEGIN SELECT RAISE(ABORT, 'gone'); END");
    }

    fn find_the_lease(&self) {
        self.execute("DROP TRIGGER gone");
    }

    /// Opens an order for cash: the commit starts the question for its price.
    async fn open(&self, bill_id: BillId) -> OrderId {
        let ask = OrderAsk { bill_id, mode: Mode::CashOnly, use_account: false };
        let (user, key) = (self.user, self.world.key(self.user));
        let opened = self.world.persist(move |ground, tenant| {
            let (ask, key) = (ask.clone(), key.clone());
            async move { open::open(&ground, &tenant, user, &ask, key, None).await }
        });
        let opened: Value = serde_json::from_slice(&opened.await.expect("an order")).expect("JSON");
        opened["id"].as_str().expect("an id").parse().expect("an id")
    }

    fn calls(&self) -> usize {
        self.world.outside.calls.load(Ordering::Relaxed)
    }

    fn stands(&self, order: OrderId) -> &'static str {
        self.world.order(order).state.place().word()
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn in_paused_time(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(story);
}

#[test]
fn a_process_that_cannot_renew_its_lease_sends_nothing_until_it_can() {
    in_paused_time(async {
        let town = Town::new(32, &[HOSPITAL, HOSPITAL]).await;
        town.lose_the_lease();
        seconds(1).await;
        let young = town.open(town.bills[0]).await;
        seconds(1).await;
        assert_eq!(town.stands(young), "priced", "for three seconds others still think that it lives");

        seconds(2).await;
        let calls = town.calls();
        let order = town.open(town.bills[1]).await;
        seconds(30).await;
        assert_eq!((town.stands(order), town.calls()), ("created", calls), "it is decided, and nothing goes outside");

        town.find_the_lease();
        seconds(3).await;
        assert_eq!((town.stands(order), town.calls()), ("priced", calls + 1), "what waited is sent, once");
    });
}

#[test]
fn what_another_process_has_adopted_meanwhile_is_not_sent() {
    in_paused_time(async {
        let town = Town::new(32, &[HOSPITAL, HOSPITAL]).await;
        let other = ProcessId::from_uuid(town.world.clock.fresh());
        town.world.store.renew_lease(other, town.world.clock.now_us() + 3_600_000_000).expect("a lease");
        town.lose_the_lease();
        seconds(4).await;
        let order = town.open(town.bills[0]).await;
        seconds(5).await;
        let calls = town.calls();
        let now_us = town.world.clock.now_us();
        let adopted = town.world.store.adopt(other, now_us, 4_000, 9).expect("the store answers");
        assert_eq!(adopted.iter().map(|due| due.action.order).collect::<Vec<_>>(), [order]);

        town.find_the_lease();
        seconds(5).await;
        assert_eq!((town.stands(order), town.calls()), ("created", calls), "its new owner asks about it");
    });
}

#[test]
fn what_had_not_begun_when_another_adopted_it_is_not_sent_afterwards() {
    in_paused_time(async {
        let town = Town::new(1, &[QUIET, QUIET]).await;
        *town.world.outside.silent.lock().expect("one thread") = Some(QUIET.parse().expect("a code"));
        let other = ProcessId::from_uuid(town.world.clock.fresh());
        town.world.store.renew_lease(other, town.world.clock.now_us() + 3_600_000_000).expect("a lease");
        let (_asked, waits) = (town.open(town.bills[0]).await, town.open(town.bills[1]).await);
        town.lose_the_lease();
        seconds(5).await;
        let adopted = town.world.store.adopt(other, town.world.clock.now_us(), 4_000, 9).expect("the store answers");
        assert_eq!(adopted.len(), 2, "the question that was asked, and the one that waits for room");
        let calls = town.calls();
        town.find_the_lease();
        seconds(30).await;
        assert_eq!((town.stands(waits), town.calls()), ("created", calls), "its new owner asks about it");
    });
}

#[test]
fn an_answer_in_hand_is_told_again_while_the_store_cannot_take_it() {
    in_paused_time(async {
        let town = Town::new(32, &[HOSPITAL]).await;
        town.execute("CREATE TRIGGER full BEFORE UPDATE ON orders BEGIN SELECT RAISE(ABORT, 'full'); END");
        let calls = town.calls();
        let order = town.open(town.bills[0]).await;
        seconds(30).await;
        assert_eq!(town.stands(order), "created");
        town.execute("DROP TRIGGER full");
        seconds(20).await;
        assert_eq!((town.stands(order), town.calls()), ("priced", calls + 1), "and nobody is asked a second time");
    });
}

#[test]
fn a_silent_institution_delays_only_its_own_orders() {
    in_paused_time(async {
        let town = Town::new(2, &[QUIET, QUIET, QUIET, QUIET, HOSPITAL]).await;
        *town.world.outside.silent.lock().expect("one thread") = Some(QUIET.parse().expect("a code"));
        let mut orders = Vec::new();
        for bill in &town.bills {
            orders.push(town.open(*bill).await);
        }
        seconds(2).await;
        let places: Vec<_> = orders.iter().map(|order| town.stands(*order)).collect();
        assert_eq!(places, ["created", "created", "created", "created", "priced"]);
        seconds(30).await;
        let (_, most) = *town.world.outside.unanswered.lock().expect("one thread");
        assert_eq!(most, 2, "no more questions wait on it than limits.institution_calls");
    });
}
