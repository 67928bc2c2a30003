//! Publishing: one process at a time, and a crash between the sink's word and the mark repeats and never loses.

#[path = "simulation/clock.rs"]
#[allow(dead_code, unreachable_pub, reason = "the simulation uses more of it")]
mod clock;
#[allow(dead_code, unused_imports, unused_macros, reason = "the city is wanted here, not the promises")]
mod store_contract;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use clock::SimClock;
use platform::clock::{Clock, SystemClock};
use platform::domain::order::Event;
use platform::ephemeral::memory::Memory;
use platform::errands::duty::Duty;
use platform::errands::publish::{self, publish};
use platform::events::jsonl::{JsonLines, Lines};
use platform::events::verify::{Report, verify};
use platform::events::{NotTaken, Sink};
use platform::journey::desk::{Command as DeskCommand, Door, Outcome};
use platform::journey::{Ground, Tenants};
use platform::parties::link::Links;
use platform::parties::link::hub::Hub;
use platform::settings;
use platform::store::sql::{Access, SqlStore};
use platform::store::{Store, Unpublished, sqlite};
use schema::ids::{OrderId, ProcessId};
use schema::refusal::{Code, Refusal};
use schema::sign::SigningKey;
use store_contract::Engine;
use store_contract::world::World;
use tempfile::TempDir;
use tokio::sync::Notify;

/// Which process handed over what, in the order of the sink.
type Taken = Arc<Mutex<Vec<(&'static str, OrderId, i64)>>>;

struct Heard {
    who: &'static str,
    taken: Taken,
    /// Does not take so many batches.
    refuses: u32,
}

impl Sink for Heard {
    fn append(&mut self, batch: &[Unpublished]) -> Result<(), NotTaken> {
        if self.refuses > 0 {
            self.refuses -= 1;
            return Err(NotTaken("not now".into()));
        }
        let all = batch.iter().map(|record| (self.who, record.order, record.sequence));
        self.taken.lock().expect("one at a time").extend(all);
        Ok(())
    }
}

struct NoDesk;

#[async_trait]
impl Door for NoDesk {
    async fn ask(&self, _: DeskCommand) -> Outcome {
        Outcome::Refused(Refusal::new(Code::Internal, "nobody decides anything here"))
    }

    async fn tell(&self, _: DeskCommand) -> Outcome {
        Outcome::Refused(Refusal::new(Code::Internal, "nobody decides anything here"))
    }

    async fn look_back(&self) {}
}

fn ground(world: &World, clock: Arc<dyn Clock>) -> Arc<Ground> {
    let mut settings = settings::read(None).expect("the default is sound");
    settings.store.url = "sqlite::memory:".into();
    Arc::new(Ground {
        clock: Arc::clone(&clock),
        settings,
        store: Arc::clone(&world.store),
        ephemeral: Arc::new(Memory::new(clock)),
        links: Hub::new(SigningKey::from_seed([1; 32])).0 as Arc<dyn Links>,
        desk: Arc::new(NoDesk),
        tenants: Arc::new(Tenants::default()),
        known: platform::journey::known::Known::default(),
        room: platform::journey::Room::of(64),
    })
}

/// A city in memory, and as many publishers as one likes, in time that stands still until everybody waits.
struct Publishers {
    world: World,
    ground: Arc<Ground>,
    taken: Taken,
}

impl Publishers {
    fn new() -> Publishers {
        let world = World::new(Box::new(sqlite::memory().expect("memory")));
        let ground = ground(&world, SimClock::new(1));
        Publishers { world, ground, taken: Taken::default() }
    }

    fn start(&self, who: &'static str, refuses: u32) -> tokio::task::JoinHandle<()> {
        let me = ProcessId::from_uuid(self.ground.clock.fresh());
        let sink = Heard { who, taken: Arc::clone(&self.taken), refuses };
        tokio::spawn(publish::run(Arc::clone(&self.ground), Box::new(sink), Arc::new(Notify::new()), me))
    }

    fn order(&self, bill_no: &str) -> OrderId {
        self.world.open(self.world.bill(bill_no, 1000), false).id
    }

    fn taken(&self) -> Vec<(&'static str, OrderId, i64)> {
        self.taken.lock().expect("one at a time").clone()
    }
}

#[tokio::test(start_paused = true)]
async fn one_process_publishes_until_it_dies_and_then_another() {
    let city = Publishers::new();
    let first = city.start("first", 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = city.start("second", 0);
    let mut expected = Vec::new();
    for number in 0..20 {
        expected.push(("first", city.order(&format!("A{number}")), 1));
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    assert_eq!(city.taken(), expected, "the second stands by");
    first.abort();
    let order = city.order("B");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(city.taken(), expected, "the first may live");
    tokio::time::sleep(Duration::from_secs(3)).await;
    expected.push(("second", order, 1));
    assert_eq!(city.taken(), expected, "it does not");
    second.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_did_not_take_it_is_offered_again_whole() {
    let city = Publishers::new();
    let (one, two) = (city.order("B1"), city.order("B2"));
    city.world.step(one, &Event::Cancelled);
    let publisher = city.start("only", 3);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(city.taken(), [], "two refusals, and nothing is marked");
    assert_eq!(city.world.store.records_waiting(), Ok(3));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(city.taken(), [("only", one, 1), ("only", one, 2), ("only", two, 1)]);
    assert_eq!(city.world.store.records_waiting(), Ok(0));
    publisher.abort();
}

#[tokio::test(start_paused = true)]
async fn a_long_step_does_not_cost_its_process_the_duty() {
    let city = Publishers::new();
    let duty = || Duty::new("step", ProcessId::from_uuid(city.ground.clock.fresh()));
    let (mut long, mut other) = (duty(), duty());
    assert_eq!(long.hold(&city.ground).await, Ok(true));
    let step = async {
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(other.hold(&city.ground).await, Ok(false), "it is renewed all the while");
        }
    };
    long.during(&city.ground, step).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(other.hold(&city.ground).await, Ok(true), "nobody renews it any more");
    assert_eq!(long.hold(&city.ground).await, Ok(false), "and so it is lost before the next step");
}

/// Where the child of [`a_process_that_dies_between_the_sinks_word_and_the_mark_repeats_and_loses_nothing`] works.
const CHILD_WORKS: &str = "TONGFU_TEST_PUBLISH";

/// Dies when its file has a batch for good.
struct Dies(JsonLines);

impl Sink for Dies {
    fn append(&mut self, batch: &[Unpublished]) -> Result<(), NotTaken> {
        self.0.append(batch)?;
        std::process::abort();
    }
}

/// Opened again once a child has worked on it and died.
struct AfterAChild<'a>(&'a Path);

const DIES: &str = "a_process_that_dies_between_the_sinks_word_and_the_mark_repeats_and_loses_nothing";

impl Engine for AfterAChild<'_> {
    fn open(&self) -> Box<dyn Store> {
        let mut child = Command::new(std::env::current_exe().expect("this test"));
        let output = child.args(["--exact", DIES]).env(CHILD_WORKS, self.0).output().expect("a child");
        assert!(!output.status.success(), "it was to die");
        Box::new(store(self.0))
    }

    fn keeps(&self) -> bool {
        true
    }
}

fn store(dir: &Path) -> SqlStore {
    sqlite::open(dir.join("tongfu.db"), Access::Serve).expect("a file")
}

fn sink(dir: &Path) -> JsonLines {
    JsonLines::open(&dir.join("events.jsonl")).expect("a file")
}

#[test]
fn a_process_that_dies_between_the_sinks_word_and_the_mark_repeats_and_loses_nothing() {
    if let Some(dir) = std::env::var_os(CHILD_WORKS) {
        let died = publish(&store(dir.as_ref()), &mut Dies(sink(dir.as_ref())));
        unreachable!("it was to die: {died:?}");
    }
    let dir = TempDir::new().expect("a directory");
    let mut world = World::new(Box::new(store(dir.path())));
    for round in 0..3 {
        let order = world.open(world.bill(&format!("B{round}"), 1000), false).id;
        world.step(order, &Event::Cancelled);
        world = world.reopened(&AfterAChild(dir.path()));
    }
    assert_eq!(publish(world.store.as_ref(), &mut sink(dir.path())), Ok(false));
    let mut source = Lines::open(&dir.path().join("events.jsonl")).expect("a file");
    let report = verify(world.store.as_ref(), &mut source, Duration::ZERO, &SystemClock::new()).expect("a report");
    // Of two, four and six records that were there, none was marked; who lived handed over six.
    assert_eq!(report, Report { orders: 3, records: 6, read: 18, repeats: 12, findings: vec![] });
}
