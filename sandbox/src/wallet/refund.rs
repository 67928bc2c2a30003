//! Money going back: accepted against the merchant's balance, settled a little later, told.

use chrono::{DateTime, Duration, FixedOffset};
use schema::money::Fen;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::core::{Core, rfc3339};
use super::notice::Notice;
use super::order::{Order, Standing};
use super::refusal::Refusal;

/// How long after payment an order can be refunded (WeChat Pay: one year).
const REFUNDABLE_FOR: Duration = Duration::days(365);

/// A refund's money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundAmount {
    /// Fen to give back.
    pub refund: Fen,
    /// The order's total in fen, as the merchant believes it.
    pub total: Fen,
    /// `CNY`.
    pub currency: String,
}

/// `POST /v3/refund/domestic/refunds`. `out_refund_no` is the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundRequest {
    /// The institution's merchant, whose balance pays.
    pub sub_mchid: String,
    /// The wallet's number of the payment; or else `out_trade_no`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// The merchant's number of the order; or else `transaction_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_trade_no: Option<String>,
    /// The merchant's number of the refund; unique under the partner.
    pub out_refund_no: String,
    /// What the payer reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where the wallet tells of the outcome; nobody is told when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<String>,
    /// The money.
    pub amount: RefundAmount,
}

/// A refund's status, in the wallet's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefundStatus {
    /// Accepted; the payer does not have it yet.
    Processing,
    /// The payer has it.
    Success,
    /// The payer's card would not take it; the money is held, a person must act.
    Abnormal,
    /// Given up; the money is the merchant's again.
    Closed,
}

impl RefundStatus {
    /// The wallet's word.
    pub fn word(self) -> &'static str {
        match self {
            RefundStatus::Processing => "PROCESSING",
            RefundStatus::Success => "SUCCESS",
            RefundStatus::Abnormal => "ABNORMAL",
            RefundStatus::Closed => "CLOSED",
        }
    }

    /// Whether the money has left the merchant's balance.
    pub fn holds_money(self) -> bool {
        self != RefundStatus::Closed
    }
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// What was asked for.
    pub request: RefundRequest,
    /// The order it belongs to.
    pub out_trade_no: String,
    /// The wallet's number of the payment.
    pub transaction_id: String,
    /// The wallet's number of the refund.
    pub refund_id: String,
    /// Where it stands.
    pub status: RefundStatus,
    /// When it was accepted.
    pub created_at: DateTime<FixedOffset>,
    /// When it settles, or did.
    pub settles_at: DateTime<FixedOffset>,
}

impl Core {
    /// Accepts a refund, to settle after the set delay, and shows it; a repeat with the same content shows it as it
    /// now stands. Refuses `RESOURCE_NOT_EXISTS`, `INVALID_REQUEST` (not paid, paid over a year ago, other content,
    /// more than is left, wrong total) and `NOT_ENOUGH` (the merchant's balance).
    pub fn refund(&mut self, request: &RefundRequest, now: DateTime<FixedOffset>) -> Result<Value, Refusal> {
        self.settle_due(now)?;
        if let Some(known) = self.refunds.get(&request.out_refund_no) {
            return if known.request == *request {
                Ok(show_refund(known))
            } else {
                Err(Refusal::new("INVALID_REQUEST", "商户退款单号重复，且参数与首次请求时不一致"))
            };
        }
        let order = self.order_to_refund(request)?;
        let Standing::Paid { transaction_id, success_time } = &order.standing else {
            return Err(Refusal::new("INVALID_REQUEST", "订单未支付，不能退款"));
        };
        if now > *success_time + REFUNDABLE_FOR {
            return Err(Refusal::new("INVALID_REQUEST", "订单已超过可退款的最大期限"));
        }
        if order.request.amount.total != request.amount.total {
            return Err(Refusal::new("INVALID_REQUEST", "订单金额与原订单不一致"));
        }
        let asked = self.going_back(order)?.plus(request.amount.refund)?;
        if asked > order.request.amount.total {
            return Err(Refusal::new("INVALID_REQUEST", "申请退款金额大于可退金额"));
        }
        let (out_trade_no, transaction_id) = (order.request.out_trade_no.clone(), transaction_id.clone());
        self.debit(&request.sub_mchid, request.amount.refund)?;
        let settles_at = now + self.settings.refund_delay();
        let refund = Refund {
            request: request.clone(),
            out_trade_no: out_trade_no.clone(),
            transaction_id,
            refund_id: format!("5030{}{:016}", now.format("%Y%m%d"), self.next_serial()),
            status: RefundStatus::Processing,
            created_at: now,
            settles_at,
        };
        self.refunds.insert(request.out_refund_no.clone(), refund);
        self.unsettled.insert((settles_at, request.out_refund_no.clone()));
        if let Some(order) = self.orders.get_mut(&out_trade_no) {
            order.refunds.push(request.out_refund_no.clone());
        }
        self.settle_due(now)?;
        self.refund_query(&request.sub_mchid, &request.out_refund_no, now)
    }

    /// A refund as the wallet shows it. Refuses `RESOURCE_NOT_EXISTS`, also when the refund is another merchant's.
    pub fn refund_query(
        &mut self,
        sub_mchid: &str,
        out_refund_no: &str,
        now: DateTime<FixedOffset>,
    ) -> Result<Value, Refusal> {
        self.settle_due(now)?;
        let refund = self.refunds.get(out_refund_no).filter(|refund| refund.request.sub_mchid == sub_mchid);
        refund.map(show_refund).ok_or_else(|| Refusal::new("RESOURCE_NOT_EXISTS", "退款单不存在"))
    }

    /// Decides what a refund becomes when it settles; it may not even be asked for yet. Without this it becomes
    /// `Success`. Without effect on one already settled.
    pub fn destine(&mut self, out_refund_no: &str, outcome: RefundStatus) {
        self.destined.insert(out_refund_no.to_owned(), outcome);
    }

    pub(super) fn settle_due(&mut self, now: DateTime<FixedOffset>) -> Result<(), Refusal> {
        while let Some((settles_at, out_refund_no)) = self.unsettled.first().cloned()
            && settles_at <= now
        {
            self.unsettled.pop_first();
            self.settle_refund(&out_refund_no, settles_at)?;
        }
        Ok(())
    }

    fn settle_refund(&mut self, out_refund_no: &str, at: DateTime<FixedOffset>) -> Result<(), Refusal> {
        let outcome = self.destined.remove(out_refund_no).unwrap_or(RefundStatus::Success);
        let Some(refund) = self.refunds.get_mut(out_refund_no) else { return Ok(()) };
        refund.status = outcome;
        let refund = refund.clone();
        if !refund.status.holds_money() {
            self.credit(&refund.request.sub_mchid, refund.request.amount.refund)?;
        }
        let Some(url) = refund.request.notify_url.clone() else { return Ok(()) };
        let id = format!("EV-{}{:012}", at.format("%Y%m%d"), self.next_serial());
        let summary = if refund.status == RefundStatus::Success { "退款成功" } else { "退款异常或关闭" };
        self.outbox.push(Notice {
            id,
            url,
            event_type: format!("REFUND.{}", refund.status.word()),
            create_time: at,
            summary: summary.to_owned(),
            original_type: "refund".to_owned(),
            resource: notify_resource(&refund, &self.settings.sp_mchid),
            out_trade_no: refund.out_trade_no,
        });
        Ok(())
    }

    fn order_to_refund(&self, request: &RefundRequest) -> Result<&Order, Refusal> {
        let by_id = request.transaction_id.as_ref().map(|id| self.by_transaction_id.get(id));
        let number = match (by_id, &request.out_trade_no) {
            (Some(None), _) => None,
            (Some(Some(found)), Some(said)) if found != said => None,
            (Some(found), _) => found,
            (None, said) => said.as_ref(),
        };
        let order = number.and_then(|number| self.order_of(&request.sub_mchid, number).ok());
        order.ok_or_else(|| Refusal::new("RESOURCE_NOT_EXISTS", "订单号不存在"))
    }

    /// What has been given back of this order or is on its way, in fen.
    pub(super) fn going_back(&self, order: &Order) -> Result<Fen, Refusal> {
        let held = self.refunds_of(order).filter(|refund| refund.status.holds_money());
        Ok(Fen::sum(held.map(|refund| refund.request.amount.refund))?)
    }

    pub(super) fn any_money_going_back(&self, order: &Order) -> bool {
        self.refunds_of(order).any(|refund| refund.status.holds_money())
    }

    pub(super) fn refunds_of<'a>(&'a self, order: &'a Order) -> impl Iterator<Item = &'a Refund> {
        order.refunds.iter().filter_map(|number| self.refunds.get(number))
    }
}

/// The API's view: `status` among the fields.
fn show_refund(refund: &Refund) -> Value {
    let amount = &refund.request.amount;
    let mut shown = json!({
        "refund_id": refund.refund_id,
        "out_refund_no": refund.request.out_refund_no,
        "transaction_id": refund.transaction_id,
        "out_trade_no": refund.out_trade_no,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": rfc3339(refund.created_at),
        "status": refund.status.word(),
        "funds_account": "AVAILABLE",
        "amount": {
            "total": amount.total,
            "refund": amount.refund,
            "payer_total": amount.total,
            "payer_refund": amount.refund,
            "settlement_total": amount.total,
            "settlement_refund": amount.refund,
            "discount_refund": 0,
            "currency": amount.currency,
        },
    });
    if refund.status == RefundStatus::Success {
        shown["success_time"] = json!(rfc3339(refund.settles_at));
    }
    shown
}

/// The notification's view: `refund_status` instead of `status`, and the partner's number.
fn notify_resource(refund: &Refund, sp_mchid: &str) -> Value {
    let amount = &refund.request.amount;
    let mut resource = json!({
        "sp_mchid": sp_mchid,
        "sub_mchid": refund.request.sub_mchid,
        "out_trade_no": refund.out_trade_no,
        "transaction_id": refund.transaction_id,
        "out_refund_no": refund.request.out_refund_no,
        "refund_id": refund.refund_id,
        "refund_status": refund.status.word(),
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": amount.total,
            "refund": amount.refund,
            "payer_total": amount.total,
            "payer_refund": amount.refund,
        },
    });
    if refund.status == RefundStatus::Success {
        resource["success_time"] = json!(rfc3339(refund.settles_at));
    }
    resource
}
