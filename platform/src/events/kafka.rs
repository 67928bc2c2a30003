//! Apache Kafka: a topic with one record per transition, keyed by order.
//!
//! **Why every order is read in order**, whatever fails. A batch counts only when every record of it is confirmed by all
//! in-sync replicas; before that, nothing that comes after it is sent. What a producer sends into one partition arrives
//! without gaps (`enable.idempotence`, `enable.gapless.guarantee`), so a batch that failed may have left a beginning of
//! each order's records behind, or leave it later, but never #2 without #1. It is offered again whole by a new producer.
//! What consumers then see for the first time is in order; everything else is a repeat. The same holds for a second
//! publisher that does not know of the first.
//!
//! An order's partition is its id modulo the configured number, and not what a partitioner makes of the number that the
//! topic happens to have: partitions that are added later would tear orders apart.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};
use schema::asyncapi::CONTENT_TYPE;
use schema::ids::OrderId;

use super::{At, CannotOpen, Found, NotRead, NotTaken, Sink, Source};
use crate::settings::events::KafkaUrl;
use crate::store::Unpublished;

/// What the client library complained of last; its own answers only say that nothing came.
#[derive(Debug, Clone, Default)]
struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    fn heard(&self, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    fn with(&self, what: impl std::fmt::Display) -> String {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(reason) => format!("{what}; {reason}"),
            None => what.to_string(),
        }
    }
}

impl ClientContext for Trouble {
    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down only follows; why each of them is, was told before.
        if !matches!(error, KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)) {
            self.heard(reason);
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "{message}");
    }
}

impl ConsumerContext for Trouble {}

/// Tells what became of each record, in the order of the telling.
struct Reports {
    told: mpsc::Sender<Result<(), KafkaError>>,
    trouble: Trouble,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.error(error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.trouble.log(level, facility, message);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // Nobody listens any more once a batch has been given up.
        let _ = self.told.send(result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone()));
    }
}

/// A producer that has not failed yet. One that has is never used again: what it left unsent must not follow later.
struct Producer {
    client: ThreadedProducer<Reports>,
    told: mpsc::Receiver<Result<(), KafkaError>>,
}

impl Producer {
    fn new(config: &ClientConfig, trouble: &Trouble) -> Result<Producer, KafkaError> {
        let (tell, told) = mpsc::channel();
        let client = config.create_with_context(Reports { told: tell, trouble: trouble.clone() })?;
        Ok(Producer { client, told })
    }

    fn send(&self, url: &KafkaUrl, batch: &[Unpublished]) -> Result<(), KafkaError> {
        for record in batch {
            let key = record.order.to_string();
            let header = Header { key: "content-type", value: Some(CONTENT_TYPE) };
            let out = BaseRecord::to(&url.topic)
                .partition(home(record.order, url.partitions))
                .key(&key)
                .payload(&record.record)
                .headers(OwnedHeaders::new_with_capacity(1).insert(header));
            self.client.send(out).map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// Waits until all of so many records are confirmed, as long as one of them is within `patience`.
    fn confirmed(&self, records: usize, patience: Duration) -> Result<(), String> {
        for confirmed in 0..records {
            match self.told.recv_timeout(patience) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => {
                    let waited_ms = patience.as_millis();
                    return Err(format!("{confirmed} of {records} confirmed, and no more for {waited_ms} ms"));
                }
            }
        }
        Ok(())
    }

    /// Sends nothing more.
    fn give_up(self) {
        self.client.purge(PurgeConfig::default().queue().inflight());
    }
}

/// The partition of an order.
fn home(order: OrderId, partitions: i32) -> i32 {
    let number = order.uuid().as_u128() % u128::try_from(partitions.max(1)).unwrap_or(1);
    i32::try_from(number).unwrap_or(0)
}

fn client(url: &KafkaUrl) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &url.brokers)
        .set("client.id", "tongfu-platform")
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true");
    config
}

fn unreachable(trouble: &Trouble, error: &KafkaError) -> CannotOpen {
    let reason = trouble.with(error);
    CannotOpen(format!(
        "连不上Kafka，请检查地址与网络，或先启动Kafka / no Kafka broker answers: check addresses and network, or start \
         Kafka first ({reason})"
    ))
}

/// What the client library says of the number that it needs to write without gaps and repeats.
#[derive(Default)]
struct Numbered {
    trouble: Trouble,
    has_number: AtomicBool,
}

impl ClientContext for Numbered {
    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.error(error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.trouble.log(level, facility, message);
        // That no number comes for now is only logged.
        if (level as i32) <= RDKafkaLogLevel::Warning as i32 && facility == "GETPID" {
            self.trouble.heard(message);
        }
    }

    fn stats(&self, statistics: Statistics) {
        let has_number = statistics.eos.is_some_and(|eos| eos.idemp_state == "Assigned");
        self.has_number.store(has_number, Ordering::Relaxed);
    }
}

impl ProducerContext for Numbered {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Waits until the brokers have given a producer like this one its number. Those that are too old never do, nor those
/// that do not let it write; a producer would only find out with its first record.
fn takes_part(config: &ClientConfig, patience: Duration) -> Result<(), CannotOpen> {
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let refused = |reason: &dyn std::fmt::Display| {
        CannotOpen(format!(
            "Kafka不接受幂等写入，请升级到0.11及以上，并授予该账户IdempotentWrite权限 / the brokers take no idempotent \
             producer: use Kafka 0.11 or newer, and let this account write idempotently ({reason})"
        ))
    };
    let mut asking = config.clone();
    asking.set("statistics.interval.ms", LOOK_AGAIN.as_millis().to_string());
    let asking: BaseProducer<Numbered> =
        asking.create_with_context(Numbered::default()).map_err(|error| CannotOpen(error.to_string()))?;
    for _ in 0..=patience.as_millis() / LOOK_AGAIN.as_millis() {
        asking.poll(LOOK_AGAIN);
        if let Some((_, reason)) = asking.client().fatal_error() {
            return Err(refused(&reason));
        }
        if asking.context().has_number.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Err(CannotOpen(format!(
        "Kafka没有及时分配写入编号，请检查集群是否健康 / the brokers gave no number to write under in time: look whether \
         they are well ({})",
        asking.context().trouble.with("no answer")
    )))
}

/// How many partitions the topic has; none if there is no such topic. Asking does not make one.
fn partitions<C: ClientContext>(
    client: &Client<C>,
    url: &KafkaUrl,
    patience: Duration,
) -> Result<Option<i32>, KafkaError> {
    let metadata = client.fetch_metadata(None, patience)?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == url.topic);
    match topic.map(|topic| (topic.error(), topic.partitions().len())) {
        None => Ok(None),
        Some((Some(error), _)) => Err(KafkaError::MetadataFetch(error.into())),
        Some((None, count)) => Ok(Some(i32::try_from(count).unwrap_or(i32::MAX))),
    }
}

/// Makes the topic as `url` describes it. That another has just made it is as good.
fn make(url: &KafkaUrl, patience: Duration) -> Result<(), CannotOpen> {
    let refused = |reason: &dyn std::fmt::Display| {
        CannotOpen(format!(
            "没有主题 {0}，也无法新建，请先建好 / there is no topic {0} and none can be made: make it first ({reason})",
            url.topic
        ))
    };
    // For ever: what is dropped cannot be reconciled any more, and compaction keeps only an order's last record.
    let topic = NewTopic::new(&url.topic, url.partitions, TopicReplication::Fixed(url.replicas.unwrap_or(-1)))
        .set("cleanup.policy", "delete")
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1");
    let admin: AdminClient<DefaultClientContext> = client(url).create().map_err(|error| refused(&error))?;
    let options = AdminOptions::new().request_timeout(Some(patience)).operation_timeout(Some(patience));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| refused(&error))?;
    let made = runtime.block_on(admin.create_topics([&topic], &options)).map_err(|error| refused(&error))?;
    for result in made {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(refused(&code)),
        }
    }
    tracing::info!(topic = url.topic, partitions = url.partitions, "the topic for events was made");
    Ok(())
}

/// The sink.
pub struct Kafka {
    url: KafkaUrl,
    config: ClientConfig,
    patience: Duration,
    trouble: Trouble,
    producer: Option<Producer>,
}

impl Kafka {
    /// Finds the brokers, then the topic or makes it, then sees that they let it write, each within `patience`. A batch
    /// is given up when none of its records is confirmed for as long.
    pub fn open(url: &KafkaUrl, patience: Duration) -> Result<Kafka, CannotOpen> {
        Kafka::with(url, patience, |_| {})
    }

    /// The same, with settings of the caller's for the client library, over all but what makes the promises true.
    pub fn with(
        url: &KafkaUrl,
        patience: Duration,
        around: impl FnOnce(&mut ClientConfig),
    ) -> Result<Kafka, CannotOpen> {
        let mut config = client(url);
        around(&mut config);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            // The library drops nothing by itself, which would be a gap: we give a batch up, and all of it.
            .set("message.timeout.ms", "0");
        let trouble = Trouble::default();
        let producer = Producer::new(&config, &trouble).map_err(|error| CannotOpen(error.to_string()))?;
        let found =
            partitions(producer.client.client(), url, patience).map_err(|error| unreachable(&trouble, &error))?;
        match found {
            None => make(url, patience)?,
            Some(found) if found < url.partitions => {
                return Err(CannotOpen(format!(
                    "主题 {0} 只有{found}个分区，设置要求{1}个，请换用分区足够的主题，或改小 partitions / topic {0} has \
                     {found} partitions and {1} are configured: name a topic that has enough, or lower partitions",
                    url.topic, url.partitions
                )));
            }
            Some(_) => {}
        }
        takes_part(&config, patience)?;
        Ok(Kafka { url: url.clone(), config, patience, trouble, producer: Some(producer) })
    }

    /// Waits so long from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }
}

impl Sink for Kafka {
    fn append(&mut self, batch: &[Unpublished]) -> Result<(), NotTaken> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => Producer::new(&self.config, &self.trouble).map_err(|error| NotTaken(error.to_string()))?,
        };
        let sent = producer.send(&self.url, batch).map_err(|error| error.to_string());
        match sent.and_then(|()| producer.confirmed(batch.len(), self.patience)) {
            Ok(()) => {
                self.producer = Some(producer);
                Ok(())
            }
            Err(why) => {
                producer.give_up();
                Err(NotTaken(self.trouble.with(why)))
            }
        }
    }
}

/// Errors in a row, with nothing read between them, after which reading is given up. The library goes on by itself
/// after most of them, and tells of each broker that it lost.
const ERRORS_MAX: u32 = 100;

/// The topic, read from the beginning: every partition, also those that no order belongs to.
pub struct Topic {
    consumer: BaseConsumer<Trouble>,
    url: KafkaUrl,
    patience: Duration,
    partitions: usize,
    /// Partitions that were read to their end.
    ended: BTreeSet<i32>,
}

impl Topic {
    /// Finds the topic within `patience`.
    pub fn open(url: &KafkaUrl, patience: Duration) -> Result<Topic, CannotOpen> {
        let trouble = Trouble::default();
        let mut config = client(url);
        config
            // Asked for by the library; nothing is ever committed under it.
            .set("group.id", "tongfu-verify")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true");
        let wrong = |error: KafkaError| CannotOpen(error.to_string());
        let consumer: BaseConsumer<Trouble> = config.create_with_context(trouble.clone()).map_err(wrong)?;
        let count = partitions(consumer.client(), url, patience).map_err(|error| unreachable(&trouble, &error))?;
        let count = count.ok_or_else(|| {
            CannotOpen(format!("没有主题 {0}，请检查名称 / there is no topic {0}: check its name", url.topic))
        })?;
        let mut all = TopicPartitionList::new();
        for partition in 0..count {
            all.add_partition_offset(&url.topic, partition, Offset::Beginning).map_err(wrong)?;
        }
        consumer.assign(&all).map_err(wrong)?;
        Ok(Topic { consumer, url: url.clone(), patience, partitions: all.count(), ended: BTreeSet::new() })
    }

    fn is_at_end(&self) -> bool {
        self.ended.len() == self.partitions
    }
}

impl Source for Topic {
    fn next(&mut self) -> Result<Option<Found>, NotRead> {
        let failed = |error: &dyn std::fmt::Display| {
            NotRead(self.consumer.context().with(format!("Kafka的主题读不下去 / the topic cannot be read on: {error}")))
        };
        let mut errors = 0;
        while errors < ERRORS_MAX {
            let wait = if self.is_at_end() { Duration::ZERO } else { self.patience };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    self.ended.remove(&message.partition());
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return Ok(Some(Found {
                        at: At::Offset { partition: message.partition(), offset: message.offset() },
                        key: message.key().map(text),
                        record: message.payload().map(text).unwrap_or_default(),
                    }));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ended.insert(partition);
                    if self.is_at_end() {
                        return Ok(None);
                    }
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(failed(&error)),
                Some(Err(error)) => {
                    self.consumer.context().heard(&error.to_string());
                    errors += 1;
                }
                None if self.is_at_end() => return Ok(None),
                None => return Err(failed(&"nothing came")),
            }
        }
        Err(failed(&"too many errors"))
    }

    fn is_home(&self, found: &Found, order: OrderId) -> bool {
        let home = home(order, self.url.partitions);
        matches!(found.at, At::Offset { partition, .. } if partition == home)
            && found.key.as_ref().is_some_and(|key| *key == order.to_string())
    }
}
