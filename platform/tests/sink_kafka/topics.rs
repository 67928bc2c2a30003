//! What only a topic has.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use platform::events::kafka::{Kafka, Topic};
use platform::events::{At, Found, Sink as _, Source as _};
use platform::settings::events::KafkaUrl;
use platform::store::sql::Access;
use platform::store::{Unpublished, sqlite};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use schema::asyncapi::CONTENT_TYPE;
use schema::ids::{OrderId, TenantId};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::broker::{at, somewhere, turn};
use crate::sink_contract::Break;
use crate::{BRIEF, LONG, read, sink};

fn order(number: u128) -> OrderId {
    OrderId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn record(number: u128, sequence: i64) -> Unpublished {
    let record = json!({ "subject": order(number), "sequence": sequence }).to_string();
    Unpublished { tenant: TenantId::from_uuid(Uuid::nil()), order: order(number), sequence, record }
}

fn admin(url: &KafkaUrl) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &url.brokers).create().expect("a client")
}

fn make(url: &KafkaUrl, config: &[(&str, &str)]) {
    let mut topic = NewTopic::new(&url.topic, url.partitions, TopicReplication::Fixed(1));
    topic.config.extend(config);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let options = AdminOptions::new().operation_timeout(Some(LONG));
    let made = runtime.block_on(admin(url).create_topics([&topic], &options)).expect("an answer");
    assert_eq!(made, [Ok(url.topic.clone())]);
}

fn place(found: &Found) -> (i32, i64) {
    let At::Offset { partition, offset } = found.at else { unreachable!("a topic has offsets: {found:?}") };
    (partition, offset)
}

/// The broker is the client library's own imitation, less what brokers before 0.11 lack.
#[test]
fn brokers_too_old_to_write_without_gaps_are_refused_at_the_start_with_what_to_do() {
    let brokers = MockCluster::new(1).expect("an imitation");
    let url = KafkaUrl { brokers: brokers.bootstrap_servers(), topic: "old".into(), partitions: 1, replicas: Some(1) };
    brokers.create_topic(&url.topic, 1, 1).expect("a topic");
    brokers.apiversion(RDKafkaApiKey::InitProducerId, None, None).expect("it forgets");
    let refusal = Kafka::open(&url, LONG).err().expect("too old").to_string();
    assert!(refusal.contains("0.11") && refusal.contains("请升级"), "{refusal}");
    assert!(refusal.contains("not supported"), "the library's own reason: {refusal}");
}

#[test]
fn an_order_keeps_to_its_partition_and_its_sequence_whatever_breaks() {
    let turn = turn();
    let url = turn.topic("partitions", 5);
    let mut sink = sink(&url);
    let mut dice = ChaCha8Rng::seed_from_u64(11);
    let mut sequences = BTreeMap::<u128, i64>::new();
    for _ in 0..25 {
        let mut batch = Vec::new();
        for _ in 0..dice.random_range(1..30) {
            let number = dice.random_range(1..=12);
            let sequence = sequences.entry(number).or_default();
            *sequence += 1;
            batch.push(record(number, *sequence));
        }
        if dice.random_range(0..3) == 0 {
            turn.wire.breaks(Some(Break::ALL[dice.random_range(0..Break::ALL.len())]));
            sink.set_patience(BRIEF);
            sink.append(&batch).expect_err("a failure is told");
            turn.wire.breaks(None);
            sink.set_patience(LONG);
        }
        sink.append(&batch).expect("nothing is in the way");
    }
    let topic = Topic::open(&url, LONG).expect("a topic");
    let mut seen = BTreeMap::<u128, i64>::new();
    let mut partitions = BTreeSet::new();
    for found in read(&url) {
        let text: serde_json::Value = serde_json::from_str(&found.record).expect("a record");
        let subject: OrderId = text["subject"].as_str().and_then(|id| id.parse().ok()).expect("an order");
        let (number, sequence) = (subject.uuid().as_u128(), text["sequence"].as_i64().expect("a number"));
        assert_eq!(found.key, Some(subject.to_string()));
        assert_eq!(u128::try_from(place(&found).0), Ok(number % 5), "{found:?}");
        assert!(topic.is_home(&found, subject) && !topic.is_home(&found, order(number + 1)));
        let last = seen.entry(number).or_default();
        assert!(sequence <= *last + 1, "{number}: {sequence} after {last}");
        *last = sequence.max(*last);
        partitions.insert(place(&found).0);
    }
    assert_eq!(seen, sequences, "every record is there");
    assert_eq!(partitions.len(), 5);
}

#[test]
fn a_message_says_that_it_is_a_cloud_event() {
    let (_turn, url) = somewhere(1);
    sink(&url).append(&[record(7, 1)]).expect("nothing is in the way");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &url.brokers).set("group.id", "headers");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(&url.topic, 0, Offset::Beginning).expect("a place");
    consumer.assign(&from).expect("assigned");
    let message = consumer.poll(LONG).expect("a message").expect("no error");
    let headers = message.headers().expect("headers");
    let all: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
    assert_eq!(all, [("content-type", Some(CONTENT_TYPE.as_bytes()))]);
}

#[test]
fn a_topic_that_is_missing_is_made_with_its_partitions_and_kept_for_ever() {
    let (_turn, url) = somewhere(3);
    let refusal = Topic::open(&url, LONG).err().expect("looking makes nothing").to_string();
    for words in ["没有主题", "there is no topic"] {
        assert!(refusal.contains(&format!("{words} {}", url.topic)), "{refusal}");
    }
    drop(Kafka::open(&url, LONG).expect("it is made"));
    drop(Kafka::open(&url, LONG).expect("it is there"));
    assert!(read(&url).is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let admin = admin(&url);
    let metadata = admin.inner().fetch_metadata(None, LONG).expect("metadata");
    let made = metadata.topics().iter().find(|topic| topic.name() == url.topic).expect("the topic");
    assert_eq!(made.partitions().len(), 3);
    let (resource, options) = (ResourceSpecifier::Topic(&url.topic), AdminOptions::new());
    let described =
        runtime.block_on(admin.describe_configs([&resource], &options)).expect("an answer").remove(0).expect("a topic");
    for (name, value) in [("retention.ms", "-1"), ("retention.bytes", "-1"), ("cleanup.policy", "delete")] {
        assert_eq!(described.get(name).and_then(|entry| entry.value.as_deref()), Some(value), "{name}");
    }
}

#[test]
fn a_topic_may_have_more_partitions_than_configured_and_never_fewer() {
    let (_turn, two) = somewhere(2);
    make(&two, &[]);
    let refusal = Kafka::open(&KafkaUrl { partitions: 3, ..two.clone() }, LONG).err().expect("too few").to_string();
    for words in ["只有2个分区，设置要求3个", "has 2 partitions and 3 are configured"] {
        assert!(refusal.contains(&two.topic) && refusal.contains(words), "{refusal}");
    }
    let mut sink = Kafka::open(&KafkaUrl { partitions: 1, ..two.clone() }, LONG).expect("enough");
    sink.append(&[record(2, 1), record(3, 1)]).expect("nothing is in the way");
    assert_eq!(read(&two).iter().map(place).collect::<Vec<_>>(), [(0, 0), (0, 1)]);
}

#[test]
fn nothing_behind_a_record_that_the_broker_refuses_gets_through() {
    let (_turn, url) = somewhere(1);
    make(&url, &[("max.message.bytes", "2000")]);
    let mut sink = sink(&url);
    let large = Unpublished { record: json!({ "padding": "x".repeat(4000) }).to_string(), ..record(1, 4) };
    let batch = [record(1, 1), record(1, 2), record(1, 3), large, record(1, 5), record(1, 6), record(1, 7)];
    let refusal = sink.append(&batch).expect_err("it is too large").to_string();
    assert!(refusal.contains("too large"), "{refusal}");
    let before: Vec<String> = batch[..3].iter().map(|record| record.record.clone()).collect();
    let left: Vec<String> = read(&url).into_iter().map(|found| found.record).collect();
    assert!(before.starts_with(&left), "{left:?}");
    sink.append(&batch[..3]).expect("these are not");
    let now: Vec<String> = read(&url).into_iter().map(|found| found.record).collect();
    assert_eq!(now, [left, before].concat());
}

#[test]
fn a_broker_that_hangs_or_dies_takes_nothing_and_loses_nothing() {
    let turn = turn();
    let url = at(&turn.kafka().bootstrap(), "hangs", 1);
    let mut sink = Kafka::open(&url, LONG).expect("a topic");
    sink.append(&[record(1, 1), record(1, 2)]).expect("nothing is in the way");

    turn.kafka().freeze().expect("SIGSTOP");
    sink.set_patience(BRIEF);
    let refusal = sink.append(&[record(1, 3), record(1, 4)]).expect_err("nobody confirms").to_string();
    assert!(refusal.contains("0 of 2 confirmed"), "{refusal}");
    turn.kafka().thaw().expect("SIGCONT");
    sink.set_patience(LONG);
    sink.append(&[record(1, 3), record(1, 4)]).expect("it goes on");

    turn.kafka().kill().expect("SIGKILL");
    sink.set_patience(BRIEF);
    sink.append(&[record(1, 5)]).expect_err("nobody is there");
    let missing = Kafka::open(&url, BRIEF).err().expect("nobody is there").to_string();
    assert!(missing.contains("连不上Kafka") && missing.contains("Connection refused"), "{missing}");
    turn.kafka().again().expect("it starts");
    sink.set_patience(LONG);
    sink.append(&[record(1, 5)]).expect("it is there");

    let mut last = 0;
    for found in read(&url) {
        let text: serde_json::Value = serde_json::from_str(&found.record).expect("a record");
        let sequence = text["sequence"].as_i64().expect("a number");
        assert!(sequence <= last + 1, "{sequence} after {last}");
        last = last.max(sequence);
    }
    assert_eq!(last, 5);
}

#[test]
fn the_platform_does_not_start_without_its_topic_and_says_what_to_do() {
    let (_turn, narrow) = somewhere(1);
    make(&narrow, &[]);
    let dir = TempDir::new().expect("a directory");
    let platform = |events_url: &str, arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_platform"))
            .arg("--json")
            .args(arguments)
            .current_dir(dir.path())
            .env("TONGFU__HTTP__LISTEN", "127.0.0.1:0")
            .env("TONGFU__EVENTS__URL", events_url)
            .env("TONGFU__LIMITS__EVENTS_TIMEOUT_MS", "1500")
            .output()
            .expect("the binary runs")
    };
    let named = |topic: &str, partitions: i32| format!("kafka://{}/{topic}?partitions={partitions}", narrow.brokers);
    let few = named(&narrow.topic, 4);
    assert!(platform(&few, &["keys", "init"]).status.success());
    drop(sqlite::open(dir.path().join("tongfu.db"), Access::Admin).expect("a store to be verified"));
    // Port 1 of the loopback is nobody's.
    let nobody = "kafka://127.0.0.1:1/orders?partitions=1";
    let nothing = named("no-such-topic", 1);
    for (events_url, arguments, words) in [
        (few.as_str(), ["serve"].as_slice(), ["只有1个分区", "has 1 partitions and 4 are configured"]),
        (nobody, &["serve"], ["请检查地址与网络", "check addresses and network"]),
        ("kafka://there/x", &["serve"], ["须形如 kafka://", "must read kafka://"]),
        (&nothing, &["events", "verify"], ["没有主题 no-such-topic", "there is no topic no-such-topic"]),
    ] {
        let output = platform(events_url, arguments);
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(!output.status.success(), "{said}");
        let refusal = said.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let refusal = refusal.expect("one JSON object");
        let sentence = refusal["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains("events.url"), "{sentence}");
        assert!(words.iter().all(|words| sentence.contains(words)), "{sentence}");
    }
    assert!(read(&narrow).is_empty());
}
