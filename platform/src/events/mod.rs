//! Where records for reconciliation go and are read again: JSON Lines or Kafka, as `events.url` says. A record is durable
//! in the sink before the store marks it published, so a crash between the two repeats a record and never loses one.

use std::fmt;
use std::time::Duration;

use schema::ids::OrderId;

use crate::settings::events::EventsUrl;
use crate::store::Unpublished;

pub mod jsonl;
pub mod kafka;
pub mod verify;

/// What `events.url` names cannot be used: what was found, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotOpen(pub String);

/// The sink did not take the batch; it will be offered again.
#[derive(Debug, thiserror::Error)]
#[error("the event sink did not take a batch: {0}")]
pub struct NotTaken(pub String);

/// Takes records in order. `platform/tests/sink_contract` says what that means in tests that any sink must pass.
pub trait Sink: Send {
    /// Makes a batch durable, in the given order, whole or not at all as far as the caller can tell. After a failure the
    /// same batch is offered again: consumers, who drop repeats by (order, sequence), then see every record once.
    fn append(&mut self, batch: &[Unpublished]) -> Result<(), NotTaken>;
}

/// Opens the sink. May block for `patience` a few times over, so an async thread must leave it to another.
pub fn sink(url: &EventsUrl, patience: Duration) -> Result<Box<dyn Sink>, CannotOpen> {
    match url {
        EventsUrl::File(path) => match jsonl::JsonLines::open(path) {
            Ok(sink) => Ok(Box::new(sink)),
            Err(error) => Err(CannotOpen(error.to_string())),
        },
        EventsUrl::Kafka(url) => Ok(Box::new(kafka::Kafka::open(url, patience)?)),
    }
}

/// Where a record was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The line of a file, from 1.
    Line(u64),
    /// A place in a topic.
    Offset {
        /// Partition.
        partition: i32,
        /// Offset in it.
        offset: i64,
    },
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Line(line) => write!(f, "line {line}"),
            At::Offset { partition, offset } => write!(f, "partition {partition} offset {offset}"),
        }
    }
}

/// Something that stands where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub at: At,
    /// Its key, where the sink has keys.
    pub key: Option<String>,
    /// The text; what is no UTF-8 is replaced, and so is nobody's record.
    pub record: String,
}

/// What is in the sink cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotRead(pub String);

/// Reads what a sink has, from the beginning.
pub trait Source {
    /// The next record; `None` at the end, behind which more may be found later.
    fn next(&mut self) -> Result<Option<Found>, NotRead>;

    /// Whether a record of this order belongs where it was found. Records in one place follow each other; nothing is
    /// said about the order of those in two.
    fn is_home(&self, _found: &Found, _order: OrderId) -> bool {
        true
    }
}

/// Opens the source. May block for `patience`, so an async thread must leave it to another.
pub fn source(url: &EventsUrl, patience: Duration) -> Result<Box<dyn Source>, CannotOpen> {
    match url {
        EventsUrl::File(path) => match jsonl::Lines::open(path) {
            Ok(source) => Ok(Box::new(source)),
            Err(error) => Err(CannotOpen(error.to_string())),
        },
        EventsUrl::Kafka(url) => Ok(Box::new(kafka::Topic::open(url, patience)?)),
    }
}
