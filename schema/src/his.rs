//! The adapter's face towards the hospital's own system: documented local HTTP on loopback, one API key.
//!
//! | call | what for |
//! | --- | --- |
//! | `POST /his/v1/bills` [`BillDraft`](crate::bill::BillDraft) | a new bill: 202 once durable here |
//! | `POST /his/v1/bills/{bill_no}/withdraw` | the bill no longer exists: [`ClaimAnswer`] |
//! | `POST /his/v1/bills/{bill_no}/claim` | the window takes it back: [`ClaimAnswer`] |
//! | `POST /his/v1/refunds` [`RefundAsk`] | money back: [`RefundView`] |
//! | `GET /his/v1/refunds/{refund_no}` | [`RefundView`] |
//! | `GET /his/v1/bills/{bill_no}/order` | [`OrderView`] |
//! | `GET /his/v1/orders?date=YYYY-MM-DD` | the day's [`OrderView`]s |
//! | `POST /his/v1/visit-cards` [`VisitCardBinding`] | bind a visit card at the window |
//! | `GET /his/v1/work?wait_s=25&most=10` | long poll: [`WorkItem`]s, each until answered |
//! | `POST /his/v1/work/{id}/answer` [`WorkAnswer`] | answered once by id; repeats get the first acknowledgement |
//!
//! An answer is final, a refusal too: it is what the platform hears, and a later answer changes nothing. The one
//! exception is a refusal that speaks of the moment and not of the question (`again` is `later`, or the code is
//! `INTERNAL` or `OUTCOME_UNKNOWN`): it is acknowledged with 202, not kept, and the item is offered again after a while.
//!
//! Refusals are problem details (see [`crate::refusal`]). All times are microseconds UTC, all amounts fen.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{MessageId, OrderId};
use crate::money::Fen;
use crate::personal::{self, CardNo, CertNo, PersonName, SealedPassword};
use crate::split::Split;

/// What became of a bill that the window takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "claim", rename_all = "snake_case")]
pub enum ClaimAnswer {
    /// Yours: it can no longer be paid by phone.
    Released,
    /// Being paid: wait and ask again; do not charge it.
    InProgress {
        /// The order that pays it.
        #[schema(value_type = String, format = Uuid)]
        order_id: OrderId,
    },
    /// Already paid: do not charge it.
    AlreadyPaid {
        /// The order that paid it.
        #[schema(value_type = String, format = Uuid)]
        order_id: OrderId,
    },
}

/// Ask for money back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundAsk {
    /// The institution's own number; the same number with other content is refused.
    pub refund_no: String,
    /// The paid bill.
    pub bill_no: String,
    /// How much, in fen; absent for everything that is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub amount_fen: Option<Fen>,
    /// For the partial return of an insured order (退后重收): the number of a bill already posted here for what
    /// remains. The whole is undone, and that bill is paid under the same authorisation as long as neither account nor
    /// cash rises; the payer gets the difference back. Never together with `amount_fen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// Why, for people.
    pub reason: String,
}

/// A refund's present state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundView {
    /// The institution's number.
    pub refund_no: String,
    /// The order.
    #[schema(value_type = String, format = Uuid)]
    pub order_id: OrderId,
    /// `undoing_insurance`, `replacing`, `returning_cash`, `done`, `refused`, `suspended`.
    pub state: String,
    /// The order that pays what remains, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub replaced_by_order: Option<OrderId>,
    /// How much, in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// Why it was refused or suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An order as its institution may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderView {
    /// The order.
    #[schema(value_type = String, format = Uuid)]
    pub order_id: OrderId,
    /// The bill.
    pub bill_no: String,
    /// `created`, `priced`, `settling`, `collecting`, `paid`, `completed`, `undoing`, `suspended`, `closed`.
    pub state: String,
    /// Total in fen.
    #[schema(value_type = i64)]
    pub amount_fen: Fen,
    /// Who pays what, once priced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// 结算ID, once settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setl_id: Option<String>,
    /// The wallet's number, once paid in cash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// Given back so far, in fen.
    #[schema(value_type = i64)]
    pub refunded_fen: Fen,
    /// When it was opened.
    pub created_at_us: i64,
    /// When it last changed.
    pub updated_at_us: i64,
}

/// One calendar day in the institution's local time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DayAsk {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// The last order of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub after: Option<OrderId>,
}

/// Orders of one page of a day's list, so that a page fits into one frame of the link. A shorter page is the last.
pub const DAY_PAGE: usize = 1000;

/// Bind a visit card to the insured person who stands at the window with card and password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VisitCardBinding {
    /// 就诊卡号.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub visit_card_no: CardNo,
    /// Name.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub psn_name: PersonName,
    /// Kind of identity document.
    pub psn_cert_type: String,
    /// Its number.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub certno: CertNo,
    /// 社保卡号.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub card_no: CardNo,
    /// The card's payment password as the PIN pad sealed it for the bureau.
    #[serde(with = "personal::wire")]
    #[schema(value_type = String)]
    pub sealed_password: SealedPassword,
}

/// Something the platform wants of the HIS. It stays on offer, with the same id, until answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkItem {
    /// Answer by this id.
    #[schema(value_type = String, format = Uuid)]
    pub id: MessageId,
    /// When it arrived: microseconds UTC.
    pub received_at_us: i64,
    /// Follows the payment from the phone to the HIS and back: log it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// What is wanted.
    pub work: crate::link::ToInstitution,
}

/// The HIS's answer to a work item: any `Reply` that fits the question, or a refusal. A refusal with
/// `again: later` (or code `INTERNAL` or `OUTCOME_UNKNOWN`) is not kept: the item is offered again. Every other one is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkAnswer {
    /// The answer.
    pub reply: crate::link::Reply,
}

/// Where the patient goes now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Guidance {
    /// 取药/检查窗口.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// 排队号.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_no: Option<String>,
    /// 楼层.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// Anything else, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Electronic invoice, where it is issued at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice: Option<Invoice>,
}

/// 电子票据.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Invoice {
    /// 票据代码.
    pub code: String,
    /// 票据号码.
    pub number: String,
    /// 校验码.
    pub check_code: String,
    /// Once printed on paper, a refund goes through the window.
    pub printed: bool,
}

/// Whether the HIS has booked an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "payment", rename_all = "snake_case")]
pub enum PaymentState {
    /// Booked.
    Booked {
        /// Where the patient goes.
        guidance: Guidance,
    },
    /// Not booked: it may be told again.
    NotBooked,
}
