//! Where records for reconciliation go: JSON Lines here, Kafka behind the same [`Sink`] later. A record is durable in
//! the sink before the store marks it published, so a crash between the two repeats a record and never loses one.

use crate::store::Unpublished;

pub mod jsonl;

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
