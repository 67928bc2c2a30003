//! The records published for reconciliation: CloudEvents 1.0, one per transition, numbered per order.
//!
//! Personal data never appears: an order is known by its id, an institution by its code.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{EventId, InstitutionCode, OrderId, TenantId};
use crate::money::Fen;
use crate::split::Split;

/// A CloudEvent in structured JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CloudEvent {
    /// Always `1.0`.
    pub specversion: String,
    /// The consumer's key for repeats.
    #[schema(value_type = String, format = Uuid)]
    pub id: EventId,
    /// `cn.tongfu.order.<state>.v1` or `cn.tongfu.refund.<state>.v1`.
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
    /// The name of the JSON Schema beside this crate (`schema/events/<name>.json`).
    pub dataschema: String,
    /// What happened.
    pub data: Transition,
}

/// One transition of an order or of a refund.
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
}
