//! One broker for all tests of this file, which take turns: what is done to the line between would hit them all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use platform::clock::{Clock as _, SystemClock};
use platform::settings::events::{EventsUrl, KafkaUrl};
use sandbox::engines::kafka::{GIVEN, Kafka, Shape};

use crate::wire::Wire;

/// A broker, and a line that leads to it and can be cut.
pub(crate) struct Broker {
    pub(crate) kafka: Mutex<Kafka>,
    pub(crate) wire: Wire,
}

/// The broker, for one test.
pub(crate) struct Turn {
    _turn: MutexGuard<'static, ()>,
    broker: Arc<Broker>,
}

impl std::ops::Deref for Turn {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The broker lives as long as somebody has it or waits for it.
pub(crate) fn turn() -> Turn {
    static BROKER: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    static TURN: Mutex<()> = Mutex::new(());
    let broker = {
        let mut running = lock(&BROKER);
        running.upgrade().unwrap_or_else(|| {
            let broker = Arc::new(Broker::start());
            *running = Arc::downgrade(&broker);
            broker
        })
    };
    let turn = lock(&TURN);
    // Whoever had it before may have failed in the middle.
    broker.mend();
    Turn { _turn: turn, broker }
}

impl Broker {
    fn start() -> Broker {
        let wire = Wire::lay();
        let shape = Shape { front: Some(wire.port()), ..Shape::default() };
        let kafka = Kafka::start(&shape).expect("a broker");
        wire.leads_to(kafka.behind());
        Broker { kafka: Mutex::new(kafka), wire }
    }

    fn mend(&self) {
        self.wire.breaks(None);
        let mut kafka = self.kafka();
        kafka.thaw().expect("SIGCONT");
        if kafka.pid().is_none() {
            kafka.again().expect("it starts");
        }
    }

    pub(crate) fn kafka(&self) -> MutexGuard<'_, Kafka> {
        lock(&self.kafka)
    }

    /// A topic on the line.
    pub(crate) fn topic(&self, topic: &str, partitions: i32) -> KafkaUrl {
        at(&format!("127.0.0.1:{}", self.wire.port()), topic, partitions)
    }
}

/// A topic that nobody has yet, where nothing will break: at the broker that the environment names, or at ours.
pub(crate) fn somewhere(partitions: i32) -> (Option<Turn>, KafkaUrl) {
    let topic = SystemClock::new().fresh().to_string();
    if let Ok(given) = std::env::var(GIVEN) {
        return (None, at(&given, &topic, partitions));
    }
    let turn = turn();
    let url = at(&turn.kafka().bootstrap(), &topic, partitions);
    (Some(turn), url)
}

/// A topic at a broker.
pub(crate) fn at(bootstrap: &str, topic: &str, partitions: i32) -> KafkaUrl {
    let url = format!("kafka://{bootstrap}/{topic}?partitions={partitions}");
    let Ok(EventsUrl::Kafka(url)) = url.parse() else { unreachable!("{url} names a topic") };
    url
}
