//! An order in the wallet: placed, asked about, closed, paid.

use chrono::{DateTime, Duration, FixedOffset};
use schema::money::Fen;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::core::{Core, rfc3339};
use super::notice::Notice;
use super::refusal::{FieldFault, Refusal};

/// How long a prepay_id can be paid with; a repeated request then gets a fresh one (WeChat Pay: two hours).
const PREPAY_ID_LIVES: Duration = Duration::hours(2);
/// How long an order can be paid when `time_expire` is absent (WeChat Pay: seven days).
const ORDER_LIVES: Duration = Duration::days(7);

/// An order's money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Fen.
    pub total: Fen,
    /// `CNY`.
    pub currency: String,
}

/// Who is to pay: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    /// The payer's id under the partner's appid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sp_openid: Option<String>,
    /// The payer's id under the institution's appid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_openid: Option<String>,
}

impl Payer {
    /// The id given.
    pub fn openid(&self) -> &str {
        self.sp_openid.as_deref().or(self.sub_openid.as_deref()).unwrap_or_default()
    }
}

/// `POST /v3/pay/partner/transactions/jsapi`. Repeating it unchanged gives the same prepay_id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepayRequest {
    /// The partner's appid.
    pub sp_appid: String,
    /// The partner's merchant number.
    pub sp_mchid: String,
    /// The institution's appid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_appid: Option<String>,
    /// The institution's merchant number: whose money it becomes.
    pub sub_mchid: String,
    /// What the payer reads.
    pub description: String,
    /// The merchant's number of the order; unique under the partner.
    pub out_trade_no: String,
    /// From here on it cannot be paid; seven days when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_expire: Option<DateTime<FixedOffset>>,
    /// Where the wallet tells of the payment.
    pub notify_url: String,
    /// The money.
    pub amount: Amount,
    /// Who is to pay.
    pub payer: Payer,
    /// Handed back unchanged in answers and notices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
}

/// Where an order stands in the wallet's own books. Refunds are rows of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Standing {
    /// Waits for the payer.
    NotPaid,
    /// Closed by the merchant; cannot be paid.
    Closed,
    /// The payer's money moved.
    Paid {
        /// The wallet's number of the payment.
        transaction_id: String,
        /// When the money moved; the wallet's accounting date.
        success_time: DateTime<FixedOffset>,
    },
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What was asked for.
    pub request: PrepayRequest,
    /// The key with which the payer's phone opens it.
    pub prepay_id: String,
    /// When this prepay_id was made.
    pub prepay_made_at: DateTime<FixedOffset>,
    /// When the order was placed.
    pub created_at: DateTime<FixedOffset>,
    /// Where it stands.
    pub standing: Standing,
    /// Its refunds by out_refund_no, oldest first.
    pub refunds: Vec<String>,
}

impl Order {
    /// From this moment on it cannot be paid.
    pub fn expires_at(&self) -> DateTime<FixedOffset> {
        self.request.time_expire.unwrap_or(self.created_at + ORDER_LIVES)
    }

    /// The wallet's number, once paid.
    pub fn transaction_id(&self) -> Option<&str> {
        match &self.standing {
            Standing::Paid { transaction_id, .. } => Some(transaction_id),
            Standing::NotPaid | Standing::Closed => None,
        }
    }
}

/// A person tapping "pay".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayRequest {
    /// What the phone was handed.
    pub prepay_id: String,
    /// The person's wallet.
    pub openid: String,
    /// The person pays no more than this; any amount when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_fen: Option<Fen>,
}

/// A payment that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The merchant's number.
    pub out_trade_no: String,
    /// The wallet's number.
    pub transaction_id: String,
    /// What left the payer's wallet.
    pub total_fen: Fen,
}

/// Whether a payment may land on an order that is closed or expired: the fault "pay after close".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lateness {
    /// It is refused.
    Refused,
    /// It lands all the same.
    Lands,
}

impl Core {
    /// Places an order and returns its prepay_id; a repeat with the same content returns the same. The request's shape
    /// (lengths, a positive total, one openid) is the reader's business, see [`super::call::Call::read`].
    /// Refuses `APPID_MCHID_NOT_MATCH`, `PARAM_ERROR` (time_expire past), `OUT_TRADE_NO_USED` (another merchant's),
    /// `ORDERPAID`, `ORDERCLOSED`, `INVALID_REQUEST` (other content).
    pub fn prepay(&mut self, request: &PrepayRequest, now: DateTime<FixedOffset>) -> Result<String, Refusal> {
        self.check_partner(&request.sp_mchid)?;
        if request.sp_appid != self.settings.sp_appid {
            return Err(Refusal::new("APPID_MCHID_NOT_MATCH", "sp_appid 与 sp_mchid 不匹配"));
        }
        if let Some(known) = self.orders.get(&request.out_trade_no) {
            if known.request.sub_mchid != request.sub_mchid {
                return Err(Refusal::new("OUT_TRADE_NO_USED", "商户订单号已被使用"));
            }
            match known.standing {
                Standing::Paid { .. } => return Err(Refusal::new("ORDERPAID", "该订单已支付")),
                Standing::Closed => return Err(Refusal::new("ORDERCLOSED", "该订单已关闭")),
                Standing::NotPaid if known.request != *request => {
                    return Err(Refusal::new("INVALID_REQUEST", "请求重入时，参数与首次请求时不一致"));
                }
                Standing::NotPaid if now < known.prepay_made_at + PREPAY_ID_LIVES => {
                    return Ok(known.prepay_id.clone());
                }
                Standing::NotPaid => {}
            }
        } else if request.time_expire.is_some_and(|expires| expires <= now) {
            return Err(Refusal::malformed(vec![FieldFault {
                field: "/time_expire".to_owned(),
                issue: "is not later than now".to_owned(),
                location: "body".to_owned(),
            }]));
        }
        let prepay_id = format!("wx{}{:018}", now.format("%d%H%M%S"), self.next_serial());
        let order = self.orders.entry(request.out_trade_no.clone()).or_insert_with(|| Order {
            request: request.clone(),
            prepay_id: String::new(),
            prepay_made_at: now,
            created_at: now,
            standing: Standing::NotPaid,
            refunds: Vec::new(),
        });
        order.prepay_id.clone_from(&prepay_id);
        order.prepay_made_at = now;
        self.by_prepay_id.insert(prepay_id.clone(), request.out_trade_no.clone());
        Ok(prepay_id)
    }

    /// An order as the wallet shows it (the body of both query URLs). Refuses `ORDER_NOT_EXIST`, also when the order
    /// is another merchant's.
    pub fn query(&self, sp_mchid: &str, sub_mchid: &str, out_trade_no: &str) -> Result<Value, Refusal> {
        self.check_partner(sp_mchid)?;
        let order = self.order_of(sub_mchid, out_trade_no)?;
        Ok(self.show_order(order))
    }

    /// Closes an unpaid order; a repeat is answered alike. Refuses `ORDER_NOT_EXIST` and `ORDERPAID`.
    pub fn close(&mut self, sp_mchid: &str, sub_mchid: &str, out_trade_no: &str) -> Result<(), Refusal> {
        self.check_partner(sp_mchid)?;
        if self.order_of(sub_mchid, out_trade_no)?.transaction_id().is_some() {
            return Err(Refusal::new("ORDERPAID", "该订单已支付，不能关闭"));
        }
        if let Some(order) = self.orders.get_mut(out_trade_no) {
            order.standing = Standing::Closed;
        }
        Ok(())
    }

    /// A person pays. Refuses `PREPAY_ID_INVALID`, `OPENID_MISMATCH`, `TOO_MUCH` (beyond what the person would pay),
    /// `ORDERPAID`, `ORDERCLOSED`, `ORDER_EXPIRED`; the last two only when `lateness` says so.
    pub fn pay(
        &mut self,
        request: &PayRequest,
        lateness: Lateness,
        now: DateTime<FixedOffset>,
    ) -> Result<Receipt, Refusal> {
        let found = self.by_prepay_id.get(&request.prepay_id).and_then(|number| self.orders.get(number));
        let Some(order) = found else {
            return Err(Refusal::new("PREPAY_ID_INVALID", "预支付交易会话标识不存在"));
        };
        if order.request.payer.openid() != request.openid {
            return Err(Refusal::new("OPENID_MISMATCH", "支付者与下单时的 openid 不一致"));
        }
        let late = lateness == Lateness::Lands;
        match order.standing {
            Standing::Paid { .. } => return Err(Refusal::new("ORDERPAID", "该订单已支付")),
            Standing::Closed if !late => return Err(Refusal::new("ORDERCLOSED", "该订单已关闭，不能支付")),
            Standing::Closed | Standing::NotPaid => {}
        }
        let prepay_id_dead = order.prepay_id != request.prepay_id || now >= order.prepay_made_at + PREPAY_ID_LIVES;
        if !late && (now >= order.expires_at() || prepay_id_dead) {
            return Err(Refusal::new("ORDER_EXPIRED", "订单已超过支付时间"));
        }
        let total = order.request.amount.total;
        if request.at_most_fen.is_some_and(|most| total > most) {
            return Err(Refusal::new("TOO_MUCH", "金额超过付款人愿意支付的上限"));
        }
        let (out_trade_no, sub_mchid) = (order.request.out_trade_no.clone(), order.request.sub_mchid.clone());
        self.credit(&sub_mchid, total)?;
        let transaction_id = format!("4200{}{:016}", now.format("%Y%m%d"), self.next_serial());
        if let Some(order) = self.orders.get_mut(&out_trade_no) {
            order.standing = Standing::Paid { transaction_id: transaction_id.clone(), success_time: now };
        }
        self.by_transaction_id.insert(transaction_id.clone(), out_trade_no.clone());
        self.tell_of_payment(&out_trade_no, now);
        Ok(Receipt { out_trade_no, transaction_id, total_fen: total })
    }

    /// What [`Core::pay`] would answer, without anything being done: the payer's phone shows a payment that never was.
    pub fn pretend_to_pay(&mut self, request: &PayRequest, now: DateTime<FixedOffset>) -> Result<Receipt, Refusal> {
        let mut shadow = self.clone();
        let receipt = shadow.pay(request, Lateness::Refused, now);
        self.skip_serials_of(&shadow);
        receipt
    }

    /// An order's amount is not what was asked for any more: a tenth less, at least a fen, and never nothing. Without
    /// effect on one already paid.
    pub fn misprice(&mut self, out_trade_no: &str) {
        if let Some(order) = self.orders.get_mut(out_trade_no)
            && order.transaction_id().is_none()
        {
            let total = order.request.amount.total.get();
            order.request.amount.total = Fen::new((total - (total / 10).max(1)).max(1));
        }
    }

    fn tell_of_payment(&mut self, out_trade_no: &str, now: DateTime<FixedOffset>) {
        let id = format!("EV-{}{:012}", now.format("%Y%m%d"), self.next_serial());
        let Some(order) = self.orders.get(out_trade_no) else { return };
        let notice = Notice {
            id,
            url: order.request.notify_url.clone(),
            event_type: "TRANSACTION.SUCCESS".to_owned(),
            create_time: now,
            summary: "支付成功".to_owned(),
            original_type: "transaction".to_owned(),
            resource: self.show_order(order),
            out_trade_no: out_trade_no.to_owned(),
        };
        self.outbox.push(notice);
    }

    pub(super) fn check_partner(&self, sp_mchid: &str) -> Result<(), Refusal> {
        if sp_mchid == self.settings.sp_mchid {
            Ok(())
        } else {
            Err(Refusal::new("NO_AUTH", "sp_mchid 不是签名商户"))
        }
    }

    pub(super) fn order_of(&self, sub_mchid: &str, out_trade_no: &str) -> Result<&Order, Refusal> {
        let order = self.orders.get(out_trade_no).filter(|order| order.request.sub_mchid == sub_mchid);
        order.ok_or_else(|| Refusal::new("ORDER_NOT_EXIST", "订单不存在"))
    }

    fn show_order(&self, order: &Order) -> Value {
        let request = &order.request;
        let (state, state_desc) = match order.standing {
            Standing::NotPaid => ("NOTPAY", "订单未支付"),
            Standing::Closed => ("CLOSED", "订单已关闭"),
            Standing::Paid { .. } if self.any_money_going_back(order) => {
                ("REFUND", "订单发生过退款，退款详情请查询退款单")
            }
            Standing::Paid { .. } => ("SUCCESS", "支付成功"),
        };
        let mut shown = json!({
            "sp_appid": request.sp_appid,
            "sp_mchid": request.sp_mchid,
            "sub_mchid": request.sub_mchid,
            "out_trade_no": request.out_trade_no,
            "trade_state": state,
            "trade_state_desc": state_desc,
            "amount": { "total": request.amount.total, "currency": request.amount.currency },
            "payer": request.payer,
        });
        if let Some(sub_appid) = &request.sub_appid {
            shown["sub_appid"] = json!(sub_appid);
        }
        if let Some(attach) = &request.attach {
            shown["attach"] = json!(attach);
        }
        if let Standing::Paid { transaction_id, success_time } = &order.standing {
            shown["transaction_id"] = json!(transaction_id);
            shown["success_time"] = json!(rfc3339(*success_time));
            shown["trade_type"] = json!("JSAPI");
            shown["bank_type"] = json!("OTHERS");
            shown["amount"]["payer_total"] = json!(request.amount.total);
            shown["amount"]["payer_currency"] = json!(request.amount.currency);
        }
        shown
    }
}
