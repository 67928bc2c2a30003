//! Kafka keeps the contract of event sinks, on a real broker behind a line that breaks; and what only a topic has:
//! partitions, keys, a header, and ways not to be there.

mod broker;
#[path = "../sink_contract/mod.rs"]
mod sink_contract;
mod topics;
mod wire;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::{Turn, turn};
use platform::events::kafka::{Kafka, Topic};
use platform::events::{NotTaken, Sink, Source as _};
use platform::settings::events::KafkaUrl;
use platform::store::Unpublished;
use sink_contract::{Break, Engine};
use wire::Wire;

/// For what is in order: never reached.
const LONG: Duration = Duration::from_secs(60);
/// For what is broken: always reached.
const BRIEF: Duration = Duration::from_millis(250);

/// How the next batch breaks off, if it does.
type Plan = Arc<Mutex<Option<Break>>>;

/// A topic of its own, with one partition, where everything is kept in the order in which it came: the contract can be
/// read as it is.
struct OnKafka {
    turn: Turn,
    url: KafkaUrl,
    plan: Plan,
    /// How long what is broken is waited for.
    brief: Duration,
}

impl OnKafka {
    fn new() -> OnKafka {
        static TOPICS: AtomicU32 = AtomicU32::new(0);
        let turn = turn();
        let url = turn.topic(&format!("contract-{}", TOPICS.fetch_add(1, Ordering::Relaxed)), 1);
        OnKafka { turn, url, plan: Plan::default(), brief: BRIEF }
    }
}

/// The sink, with somebody who breaks the line while it sends.
struct Breaking {
    sink: Kafka,
    wire: Wire,
    plan: Plan,
    brief: Duration,
}

impl Sink for Breaking {
    fn append(&mut self, batch: &[Unpublished]) -> Result<(), NotTaken> {
        let how = self.plan.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.wire.breaks(how);
        self.sink.set_patience(if how.is_some() { self.brief } else { LONG });
        let answer = self.sink.append(batch);
        self.wire.breaks(None);
        answer
    }
}

/// A sink that sends two records at a time, so that a batch can break off in its middle.
fn sink(url: &KafkaUrl) -> Kafka {
    let two = |config: &mut rdkafka::ClientConfig| {
        config.set("batch.num.messages", "2");
    };
    Kafka::with(url, LONG, two).expect("a topic")
}

/// Everything in a topic, in the order of reading.
fn read(url: &KafkaUrl) -> Vec<platform::events::Found> {
    let mut topic = Topic::open(url, LONG).expect("a topic");
    std::iter::from_fn(|| topic.next().expect("readable")).collect()
}

impl Engine for OnKafka {
    fn open(&self) -> Box<dyn Sink> {
        let (sink, wire, plan) = (sink(&self.url), self.turn.wire.clone(), Arc::clone(&self.plan));
        Box::new(Breaking { sink, wire, plan, brief: self.brief })
    }

    fn break_next(&self, how: Break) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
    }

    fn read(&self) -> Vec<String> {
        read(&self.url).into_iter().map(|found| found.record).collect()
    }
}

sink_contract::every_promise!(OnKafka::new);

/// The contract is worth what its breaks are: that each leaves what it says.
#[test]
fn a_line_breaks_off_where_it_is_told() {
    for (how, left) in [(Break::AtOnce, 0), (Break::Halfway, 2), (Break::Unconfirmed, 3)] {
        let engine = OnKafka { brief: Duration::from_secs(2), ..OnKafka::new() };
        let mut sink = engine.open();
        sink.append(&[topics::record(1, 1)]).expect("nothing is in the way");
        engine.break_next(how);
        sink.append(&[2, 3, 4].map(|sequence| topics::record(1, sequence))).expect_err("a failure is told");
        // The broker may be slower than the producer was patient.
        let arrived = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(if engine.read().len() < 1 + left { 100 } else { 0 }));
            engine.read().len() == 1 + left
        });
        assert!(arrived, "{how:?}: {:?}", engine.read());
    }
}
