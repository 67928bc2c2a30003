//! Field by field between APIv3's partner mode and ours; MAPPINGS.md is the table. Amounts are fen on both sides.

use chrono::{DateTime, SecondsFormat};
use schema::money::Fen;
use schema::personal::Personal as _;
use serde::{Deserialize, Serialize};

use super::config::WalletConfig;
use super::status::{self, Refund, Trade};
use super::{PrepayRequest, RefundRequest, RefundState, Taken, TradeState};
use crate::parties::china;

const CURRENCY: &str = "CNY";
/// The longest `description`, in bytes.
const MOST_DESCRIPTION: usize = 127;
/// The longest `reason`, in bytes.
const MOST_REASON: usize = 80;

/// `POST /v3/pay/partner/transactions/jsapi`.
#[derive(Serialize)]
pub(super) struct PrepayBody<'a> {
    sp_appid: &'a str,
    sp_mchid: &'a str,
    sub_mchid: &'a str,
    description: &'a str,
    out_trade_no: &'a str,
    time_expire: String,
    attach: &'a str,
    notify_url: &'a str,
    amount: Amount<'a>,
    payer: Payer<'a>,
}

#[derive(Serialize)]
struct Amount<'a> {
    total: Fen,
    currency: &'a str,
}

#[derive(Serialize)]
struct Payer<'a> {
    sp_openid: &'a str,
}

impl<'a> PrepayBody<'a> {
    pub(super) fn of(config: &'a WalletConfig, notify_url: &'a str, request: &'a PrepayRequest) -> PrepayBody<'a> {
        PrepayBody {
            sp_appid: &config.sp_appid,
            sp_mchid: &config.sp_mchid,
            sub_mchid: &request.merchant,
            description: cut(&request.description, MOST_DESCRIPTION),
            out_trade_no: &request.out_trade_no,
            time_expire: time_expire(request.expires_at_us),
            attach: &request.attach,
            notify_url,
            amount: Amount { total: request.amount, currency: CURRENCY },
            payer: Payer { sp_openid: request.payer.expose() },
        }
    }
}

/// The wallet knows whole seconds. Rounded up: an order is closed by us and asked, never left to run out, so refusing a
/// payment early would gain nothing and make a deadline of less than a second a deadline in the past.
fn time_expire(expires_at_us: i64) -> String {
    let second = 1_000_000;
    let up = expires_at_us.saturating_add(second - 1).div_euclid(second).saturating_mul(second);
    china::at(up).to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// The longest beginning within so many bytes, between characters.
fn cut(text: &str, most_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(most_bytes)]
}

/// `POST …/out-trade-no/{}/close`.
#[derive(Serialize)]
pub(super) struct CloseBody<'a> {
    pub(super) sp_mchid: &'a str,
    pub(super) sub_mchid: &'a str,
}

/// `POST /v3/refund/domestic/refunds`.
#[derive(Serialize)]
pub(super) struct RefundBody<'a> {
    sub_mchid: &'a str,
    out_trade_no: &'a str,
    out_refund_no: &'a str,
    reason: &'a str,
    notify_url: &'a str,
    amount: RefundAmount<'a>,
}

#[derive(Serialize)]
struct RefundAmount<'a> {
    refund: Fen,
    total: Fen,
    currency: &'a str,
}

impl<'a> RefundBody<'a> {
    pub(super) fn of(notify_url: &'a str, request: &'a RefundRequest) -> RefundBody<'a> {
        RefundBody {
            sub_mchid: &request.merchant,
            out_trade_no: &request.out_trade_no,
            out_refund_no: &request.out_refund_no,
            reason: cut(&request.reason, MOST_REASON),
            notify_url,
            amount: RefundAmount { refund: request.amount, total: request.paid, currency: CURRENCY },
        }
    }
}

/// The answer to a prepay.
#[derive(Deserialize)]
pub(super) struct Prepaid {
    pub(super) prepay_id: String,
}

/// A refusal's body.
#[derive(Deserialize)]
pub(super) struct Problem {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

/// A trade in an answer or a notice.
#[derive(Deserialize)]
pub(super) struct TradeView {
    sp_appid: String,
    sp_mchid: String,
    pub(super) sub_mchid: String,
    pub(super) out_trade_no: String,
    trade_state: String,
    transaction_id: Option<String>,
    success_time: Option<String>,
    amount: Option<TradeAmount>,
}

#[derive(Deserialize)]
struct TradeAmount {
    total: Fen,
    currency: Option<String>,
}

/// An answer that cannot be taken as it stands. Free of personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the answer lacks {0}")]
    Lacks(&'static str),
    #[error("the answer is about another {0}")]
    Another(&'static str),
    #[error("the refund's status is a word we do not know")]
    Word,
}

impl TradeView {
    /// What it says, if it is about this service provider and its app. Whose money it is stands in `sub_mchid`.
    pub(super) fn state(self, config: &WalletConfig) -> Result<TradeState, Unfit> {
        if self.sp_mchid != config.sp_mchid {
            return Err(Unfit::Another("sp_mchid"));
        }
        if self.sp_appid != config.sp_appid {
            return Err(Unfit::Another("sp_appid"));
        }
        match status::trade(&self.trade_state) {
            Trade::NotPaid => Ok(TradeState::NotPaid),
            Trade::Closed => Ok(TradeState::Closed),
            Trade::Paid => self.taken().map(TradeState::Paid),
            Trade::Unclear => Ok(TradeState::Unclear(self.trade_state)),
        }
    }

    fn taken(self) -> Result<Taken, Unfit> {
        let amount = self.amount.ok_or(Unfit::Lacks("amount"))?;
        if amount.currency.is_some_and(|currency| currency != CURRENCY) {
            return Err(Unfit::Another("currency"));
        }
        Ok(Taken {
            out_trade_no: self.out_trade_no,
            transaction_id: self.transaction_id.ok_or(Unfit::Lacks("transaction_id"))?,
            amount: amount.total,
            success_time_us: time(self.success_time)?,
        })
    }
}

/// A refund in an answer (`status`) or a notice (`refund_status`).
#[derive(Deserialize)]
pub(super) struct RefundView {
    pub(super) out_refund_no: String,
    #[serde(alias = "refund_status")]
    status: String,
    success_time: Option<String>,
    amount: RefundViewAmount,
}

#[derive(Deserialize)]
struct RefundViewAmount {
    refund: Fen,
}

impl RefundView {
    /// How much goes back, in fen.
    pub(super) fn amount(&self) -> Fen {
        self.amount.refund
    }

    /// Where it stands.
    pub(super) fn state(self) -> Result<RefundState, Unfit> {
        match status::refund(&self.status) {
            Refund::Processing => Ok(RefundState::Processing),
            Refund::Returned => Ok(RefundState::Returned { success_time_us: time(self.success_time)? }),
            Refund::Abnormal => Ok(RefundState::Abnormal(self.status)),
            Refund::Unclear => Err(Unfit::Word),
        }
    }
}

/// Between whom a refund notice moved money; an answer to our own call does not repeat it.
#[derive(Deserialize)]
pub(super) struct Between {
    pub(super) sp_mchid: String,
    pub(super) sub_mchid: String,
}

/// RFC 3339 to microseconds UTC.
fn time(text: Option<String>) -> Result<i64, Unfit> {
    let text = text.ok_or(Unfit::Lacks("success_time"))?;
    let time = DateTime::parse_from_rfc3339(&text).map_err(|_| Unfit::Lacks("a readable success_time"))?;
    Ok(time.timestamp_micros())
}

/// A notice before its resource is opened.
#[derive(Deserialize)]
pub(super) struct NoticeBody {
    pub(super) event_type: String,
    pub(super) resource: Resource,
}

/// The sealed part.
#[derive(Deserialize)]
pub(super) struct Resource {
    pub(super) algorithm: String,
    pub(super) ciphertext: String,
    #[serde(default)]
    pub(super) associated_data: String,
    pub(super) nonce: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parties::secret::Secret;

    #[test]
    fn texts_are_cut_between_characters_and_deadlines_rounded_up() {
        assert_eq!(cut("市第一人民医院", 8), "市第");
        assert_eq!(cut("short", 80), "short");
        assert_eq!(time_expire(1_767_225_600_000_000), "2026-01-01T08:00:00+08:00");
        assert_eq!(time_expire(1_767_225_600_000_001), "2026-01-01T08:00:01+08:00");
    }

    #[test]
    fn a_trade_is_paid_only_with_everything_that_proves_it() {
        let config = WalletConfig {
            base_url: String::new(),
            sp_mchid: "1900007291".to_owned(),
            sp_appid: "wx8888888888888888".to_owned(),
            merchant_serial: String::new(),
            merchant_private_key_pem: Secret::new(""),
            apiv3_key: Secret::new(""),
            wechatpay_public_key_pem: String::new(),
            wechatpay_serial: String::new(),
        };
        let view = |json: &str| serde_json::from_str::<TradeView>(json).expect("a trade").state(&config);
        let whole = r#"{"sp_appid":"wx8888888888888888","sp_mchid":"1900007291","sub_mchid":"1900000109","out_trade_no":"T1","trade_state":"SUCCESS",
            "transaction_id":"4200","success_time":"2026-01-01T08:00:00+08:00",
            "amount":{"total":10500,"payer_total":10400,"currency":"CNY"}}"#;
        let taken = Taken {
            out_trade_no: "T1".to_owned(),
            transaction_id: "4200".to_owned(),
            amount: Fen::new(10_500),
            success_time_us: 1_767_225_600_000_000,
        };
        assert_eq!(view(whole), Ok(TradeState::Paid(taken)));
        for (from, to, expected) in [
            ("\"transaction_id\":\"4200\",", "", Unfit::Lacks("transaction_id")),
            ("2026-01-01T08:00:00+08:00", "yesterday", Unfit::Lacks("a readable success_time")),
            ("\"CNY\"", "\"USD\"", Unfit::Another("currency")),
            ("\"sp_mchid\":\"1900007291\"", "\"sp_mchid\":\"1\"", Unfit::Another("sp_mchid")),
            ("wx8888888888888888", "wx1", Unfit::Another("sp_appid")),
        ] {
            assert_eq!(view(&whole.replace(from, to)), Err(expected), "{from} → {to}");
        }
        let unseen = whole.replace("SUCCESS", "ACCEPT");
        assert_eq!(view(&unseen), Ok(TradeState::Unclear("ACCEPT".to_owned())));
    }
}
