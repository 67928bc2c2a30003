//! `events.url`: where records for reconciliation go, and the engine that its scheme chooses.

use std::path::PathBuf;
use std::str::FromStr;

use schema::refusal::Fault;

/// What `events.url` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventsUrl {
    /// `file:PATH`: append-only JSON Lines.
    File(PathBuf),
    /// `kafka://…`.
    Kafka(KafkaUrl),
}

/// `kafka://HOST:PORT[,HOST:PORT…]/TOPIC?partitions=N[&replicas=R]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaUrl {
    /// The brokers asked first, `host:port` by commas; they name the others.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// Over how many of its partitions orders are spread, from partition 0 on. An order stays in its partition for ever,
    /// so this number is chosen once for a topic.
    pub partitions: i32,
    /// Copies of each partition, if the topic has to be made; none: as the brokers are set up.
    pub replicas: Option<i32>,
}

const PARTITIONS_MAX: i32 = 10_000;

fn wrong(zh: &str, en: &str) -> Fault {
    Fault::new("events.url", zh, en)
}

impl FromStr for EventsUrl {
    type Err = Fault;

    fn from_str(url: &str) -> Result<EventsUrl, Fault> {
        match (url.strip_prefix("file:"), url.strip_prefix("kafka://")) {
            (Some(""), _) => Err(wrong("file: 后须有文件路径", "file: must be followed by a path")),
            (Some(path), _) => Ok(EventsUrl::File(path.into())),
            (_, Some(rest)) => kafka(rest).map(EventsUrl::Kafka),
            _ => Err(wrong("须以 file: 或 kafka:// 开头", "must begin with file: or kafka://")),
        }
    }
}

fn kafka(rest: &str) -> Result<KafkaUrl, Fault> {
    let shape = || {
        wrong(
            "须形如 kafka://主机:端口[,主机:端口]/主题?partitions=分区数",
            "must read kafka://HOST:PORT[,HOST:PORT]/TOPIC?partitions=N",
        )
    };
    let (way, query) = rest.split_once('?').ok_or_else(shape)?;
    let (brokers, topic) = way.split_once('/').ok_or_else(shape)?;
    if !brokers.split(',').all(is_address) {
        return Err(wrong("每个Kafka地址须为 主机:端口", "every Kafka address must be HOST:PORT"));
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !(1..=249).contains(&topic.len()) || !topic.bytes().all(named) || topic == "." || topic == ".." {
        return Err(wrong(
            "主题须为1至249个字母、数字、点、下划线或连字符",
            "a topic is 1 to 249 letters, digits, dots, underscores or hyphens",
        ));
    }
    let (mut partitions, mut replicas) = (None, None);
    for pair in query.split('&') {
        let (place, max) = match pair.split_once('=').map(|(name, _)| name) {
            Some("partitions") => (&mut partitions, PARTITIONS_MAX),
            Some("replicas") => (&mut replicas, i32::from(i16::MAX)),
            _ => {
                return Err(wrong(
                    "问号后只能有 partitions 与 replicas",
                    "only partitions and replicas may follow the ?",
                ));
            }
        };
        let number = pair.split_once('=').and_then(|(_, number)| number.parse().ok());
        if place.is_some() || !number.is_some_and(|number| (1..=max).contains(&number)) {
            return Err(wrong(
                "partitions（1至10000）与 replicas 须为正整数，且只写一次",
                "partitions (1 to 10000) and replicas must be whole numbers above 0, each given once",
            ));
        }
        *place = number;
    }
    let partitions = partitions.ok_or_else(shape)?;
    Ok(KafkaUrl { brokers: brokers.to_owned(), topic: topic.to_owned(), partitions, replicas })
}

fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let named = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'/');
        !host.is_empty() && host.bytes().all(named) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_topic() {
        assert_eq!("file:/var/events.jsonl".parse(), Ok(EventsUrl::File("/var/events.jsonl".into())));
        let kafka = KafkaUrl {
            brokers: "k1:9092,[::1]:9093".into(),
            topic: "tongfu.orders".into(),
            partitions: 12,
            replicas: Some(3),
        };
        let url = "kafka://k1:9092,[::1]:9093/tongfu.orders?partitions=12&replicas=3";
        assert_eq!(url.parse(), Ok(EventsUrl::Kafka(kafka)));
        let Ok(EventsUrl::Kafka(kafka)) = "kafka://k:1/t?partitions=1".parse() else { unreachable!("a topic") };
        assert_eq!(kafka.replicas, None);
    }

    #[test]
    fn anything_else_is_refused() {
        for url in [
            "",
            "file:",
            "kafka:",
            "kafka://",
            "kafka://k:9092",
            "kafka://k:9092/t",
            "kafka://k:9092/?partitions=1",
            "kafka://k/t?partitions=1",
            "kafka://k:0/t?partitions=1",
            "kafka://k:9092,/t?partitions=1",
            "kafka://user:secret@k:9092/t?partitions=1",
            "kafka://k:9092/a b?partitions=1",
            "kafka://k:9092/a/b?partitions=1",
            "kafka://k:9092/..?partitions=1",
            "kafka://k:9092/t?partitions=0",
            "kafka://k:9092/t?partitions=-1",
            "kafka://k:9092/t?partitions=10001",
            "kafka://k:9092/t?partitions=many",
            "kafka://k:9092/t?partitions=1&partitions=2",
            "kafka://k:9092/t?partitions=1&acks=0",
            "kafka://k:9092/t?replicas=3",
            "redis://k:9092/t?partitions=1",
        ] {
            let fault = url.parse::<EventsUrl>().expect_err(url);
            assert_eq!(fault.at, "events.url", "{url}");
        }
    }
}
