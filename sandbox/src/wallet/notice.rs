//! What the wallet tells the merchant by itself.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A notification before sealing: who hears what. Repeats keep the id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// `EV-…`, one per event.
    pub id: String,
    /// The `notify_url` of the order or the refund.
    pub url: String,
    /// `TRANSACTION.SUCCESS`, `REFUND.SUCCESS`, `REFUND.ABNORMAL`, `REFUND.CLOSED`.
    pub event_type: String,
    /// When the event happened.
    pub create_time: DateTime<FixedOffset>,
    /// The sentence beside it.
    pub summary: String,
    /// `transaction` or `refund`.
    pub original_type: String,
    /// The resource's plaintext, in the wallet's field names.
    pub resource: Value,
    /// The order it is about (the subject of fault rules).
    pub out_trade_no: String,
}
