//! The records published for reconciliation: CloudEvents 1.0, one per transition of an order, numbered per order.
//!
//! A refund has no records of its own: its steps are its order's records, with the refund in [`Transition::refund`].
//! Personal data never appears: an order is known by its id, an institution by its code. What each type of record holds
//! is said by a JSON Schema in `schema/events`, one file per type ([`SCHEMAS`]).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{EventId, InstitutionCode, OrderId, RefundId, TenantId};
use crate::money::Fen;
use crate::split::Split;

macro_rules! schemas {
    ($($name:literal)*) => {
        /// The JSON Schemas of all records: file name and text. `order.v1.json` is what the others share; each of them
        /// describes one type.
        pub const SCHEMAS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../events/", $name)))),*];
    };
}

schemas! {
    "order.v1.json"
    "order-created.v1.json"
    "order-priced.v1.json"
    "order-settling.v1.json"
    "order-collecting.v1.json"
    "order-paid.v1.json"
    "order-completed.v1.json"
    "order-undoing.v1.json"
    "order-suspended.v1.json"
    "order-closed.v1.json"
}

/// A CloudEvent in structured JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// The consumer's key for repeats.
    #[schema(value_type = String, format = Uuid)]
    pub id: EventId,
    /// `cn.tongfu.order.<state>.v1`: the state after the transition.
    #[serde(rename = "type")]
    pub kind: String,
    /// `/tongfu/<tenant id>`.
    pub source: String,
    /// The order; also the partition key.
    #[schema(value_type = String, format = Uuid)]
    pub subject: OrderId,
    /// RFC 3339, UTC.
    pub time: String,
    /// Extension: the tenant.
    #[schema(value_type = String, format = Uuid)]
    pub tenantid: TenantId,
    /// Extension: the number of this record within its order, from 1 without gaps.
    pub sequence: i64,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The file in `schema/events` that describes this type: `order-<state>.v1.json`.
    pub dataschema: String,
    /// What happened.
    pub data: Transition,
}

/// One transition of an order. A step of its refund is one too, and may leave the state as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transition {
    /// The order's version after it.
    pub version: i64,
    /// The event that was decided.
    pub event: String,
    /// State before; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// State after.
    pub to: String,
    /// Who asks for the money.
    #[schema(value_type = String)]
    pub institution: InstitutionCode,
    /// The institution's bill number.
    pub bill_no: String,
    /// Total in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// Who pays what; absent until priced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// 结算ID, once settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setl_id: Option<String>,
    /// The wallet's order number, once paid in cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// Given back so far, in fen.
    #[schema(value_type = i64)]
    pub refunded_fen: Fen,
    /// Why, where the state needs a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The refund that this step began or moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<RefundStep>,
}

/// Where a refund stands after a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefundStep {
    /// Which; without hyphens it is the wallet's `out_refund_no`.
    #[schema(value_type = String, format = Uuid)]
    pub refund_id: RefundId,
    /// The institution's number; absent where the platform itself gives back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_no: Option<String>,
    /// State after: `undoing_insurance`, `asking_undo`, `returning_cash`, `done`, `refused` or `suspended`.
    pub state: String,
    /// All shares of it, in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// The cash in it, in fen.
    #[schema(value_type = i64)]
    pub cash_fen: Fen,
}
