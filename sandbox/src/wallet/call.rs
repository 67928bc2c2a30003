//! APIv3's URL table: which operation a request asks for, read and checked, before anything is looked up.

use std::collections::BTreeMap;

use super::fields::{Fields, Text, is_number_character};
use super::order::{Amount, Payer, PrepayRequest};
use super::refund::{RefundAmount, RefundRequest};
use super::refusal::{FieldFault, Refusal};

const ORDER_NUMBER: Text = Text { min: 6, max: 32, allowed: Some(is_number_character) };
const REFUND_NUMBER: Text = Text { min: 1, max: 64, allowed: Some(is_number_character) };
const MERCHANT_NUMBER: Text = Text { min: 1, max: 32, allowed: Some(|c: char| c.is_ascii_alphanumeric()) };

/// One well-formed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Place an order for a mini-program or service account.
    Prepay(PrepayRequest),
    /// Ask about an order by the merchant's number.
    QueryByOutTradeNo {
        /// The merchant's number.
        out_trade_no: String,
        /// The partner.
        sp_mchid: String,
        /// The institution's merchant.
        sub_mchid: String,
    },
    /// Ask about an order by the wallet's number.
    QueryByTransactionId {
        /// The wallet's number.
        transaction_id: String,
        /// The partner.
        sp_mchid: String,
        /// The institution's merchant.
        sub_mchid: String,
    },
    /// Close an unpaid order.
    Close {
        /// The merchant's number.
        out_trade_no: String,
        /// The partner.
        sp_mchid: String,
        /// The institution's merchant.
        sub_mchid: String,
    },
    /// Give money back.
    Refund(RefundRequest),
    /// Ask about a refund.
    RefundQuery {
        /// The merchant's refund number.
        out_refund_no: String,
        /// The institution's merchant.
        sub_mchid: String,
    },
}

impl Call {
    /// Reads a request. `path_and_query` as on the wire, without scheme and host.
    pub fn read(method: &str, path_and_query: &str, body: &[u8]) -> Result<Call, Refusal> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let segments: Vec<String> = path.trim_start_matches('/').split('/').map(percent_decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (method, segments.as_slice()) {
            ("POST", ["v3", "pay", "partner", "transactions", "jsapi"]) => read_prepay(body),
            ("GET", ["v3", "pay", "partner", "transactions", "out-trade-no", number]) => {
                let mut url = UrlParts::of(query);
                let out_trade_no = url.segment("out_trade_no", number, ORDER_NUMBER);
                let (sp_mchid, sub_mchid) = (url.merchant("sp_mchid"), url.merchant("sub_mchid"));
                url.finish()?;
                Ok(Call::QueryByOutTradeNo { out_trade_no, sp_mchid, sub_mchid })
            }
            ("GET", ["v3", "pay", "partner", "transactions", "id", number]) => {
                let mut url = UrlParts::of(query);
                let transaction_id = url.segment("transaction_id", number, MERCHANT_NUMBER);
                let (sp_mchid, sub_mchid) = (url.merchant("sp_mchid"), url.merchant("sub_mchid"));
                url.finish()?;
                Ok(Call::QueryByTransactionId { transaction_id, sp_mchid, sub_mchid })
            }
            ("POST", ["v3", "pay", "partner", "transactions", "out-trade-no", number, "close"]) => {
                let mut url = UrlParts::of(query);
                let out_trade_no = url.segment("out_trade_no", number, ORDER_NUMBER);
                url.finish()?;
                let mut fields = Fields::read(body)?;
                let sp_mchid = fields.text("/sp_mchid", MERCHANT_NUMBER);
                let sub_mchid = fields.text("/sub_mchid", MERCHANT_NUMBER);
                fields.finish()?;
                Ok(Call::Close { out_trade_no, sp_mchid, sub_mchid })
            }
            ("POST", ["v3", "refund", "domestic", "refunds"]) => read_refund(body),
            ("GET", ["v3", "refund", "domestic", "refunds", number]) => {
                let mut url = UrlParts::of(query);
                let out_refund_no = url.segment("out_refund_no", number, REFUND_NUMBER);
                let sub_mchid = url.merchant("sub_mchid");
                url.finish()?;
                Ok(Call::RefundQuery { out_refund_no, sub_mchid })
            }
            _ => Err(Refusal::new("NOT_FOUND", "接口不存在: 请检查请求方法与地址")),
        }
    }

    /// The operation's name in fault rules.
    pub fn operation(&self) -> &'static str {
        match self {
            Call::Prepay(_) => "prepay",
            Call::QueryByOutTradeNo { .. } | Call::QueryByTransactionId { .. } => "query",
            Call::Close { .. } => "close",
            Call::Refund(_) => "refund",
            Call::RefundQuery { .. } => "refund-query",
        }
    }
}

fn read_prepay(body: &[u8]) -> Result<Call, Refusal> {
    let mut fields = Fields::read(body)?;
    let request = PrepayRequest {
        sp_appid: fields.text("/sp_appid", MERCHANT_NUMBER),
        sp_mchid: fields.text("/sp_mchid", MERCHANT_NUMBER),
        sub_appid: fields.maybe_text("/sub_appid", MERCHANT_NUMBER),
        sub_mchid: fields.text("/sub_mchid", MERCHANT_NUMBER),
        description: fields.text("/description", Text::up_to(127)),
        out_trade_no: fields.text("/out_trade_no", ORDER_NUMBER),
        time_expire: fields.maybe_time("/time_expire"),
        notify_url: required_url(&mut fields),
        amount: Amount { total: fields.fen("/amount/total"), currency: fields.currency("/amount/currency") },
        payer: Payer {
            sp_openid: fields.maybe_text("/payer/sp_openid", Text::up_to(128)),
            sub_openid: fields.maybe_text("/payer/sub_openid", Text::up_to(128)),
        },
        attach: fields.maybe_text("/attach", Text::up_to(128)),
    };
    if request.payer.sp_openid.is_some() == request.payer.sub_openid.is_some() {
        fields.fault("/payer", "needs exactly one of sp_openid and sub_openid");
    } else if request.payer.sub_openid.is_some() && request.sub_appid.is_none() {
        fields.fault("/sub_appid", "is missing beside payer.sub_openid");
    }
    fields.finish()?;
    Ok(Call::Prepay(request))
}

fn required_url(fields: &mut Fields) -> String {
    fields.maybe_notify_url("/notify_url").unwrap_or_else(|| {
        fields.fault("/notify_url", "is missing or not a text");
        String::new()
    })
}

fn read_refund(body: &[u8]) -> Result<Call, Refusal> {
    let mut fields = Fields::read(body)?;
    let request = RefundRequest {
        sub_mchid: fields.text("/sub_mchid", MERCHANT_NUMBER),
        transaction_id: fields.maybe_text("/transaction_id", MERCHANT_NUMBER),
        out_trade_no: fields.maybe_text("/out_trade_no", ORDER_NUMBER),
        out_refund_no: fields.text("/out_refund_no", REFUND_NUMBER),
        reason: fields.maybe_text("/reason", Text::up_to(80)),
        notify_url: fields.maybe_notify_url("/notify_url"),
        amount: RefundAmount {
            refund: fields.fen("/amount/refund"),
            total: fields.fen("/amount/total"),
            currency: fields.currency("/amount/currency"),
        },
    };
    if request.transaction_id.is_none() && request.out_trade_no.is_none() {
        fields.fault("/out_trade_no", "is missing, and so is transaction_id: one of them is needed");
    }
    fields.finish()?;
    Ok(Call::Refund(request))
}

/// Checks what came in the URL, collecting faults like [`Fields`].
struct UrlParts {
    query: BTreeMap<String, String>,
    faults: Vec<FieldFault>,
}

impl UrlParts {
    fn of(query: &str) -> UrlParts {
        let items = query.split('&').filter_map(|item| item.split_once('='));
        let query = items.map(|(name, value)| (percent_decoded(name), percent_decoded(value))).collect();
        UrlParts { query, faults: Vec::new() }
    }

    fn segment(&mut self, name: &str, value: &str, rule: Text) -> String {
        self.check(name, value, rule, "url");
        value.to_owned()
    }

    fn merchant(&mut self, name: &str) -> String {
        let value = self.query.remove(name).unwrap_or_default();
        self.check(name, &value, MERCHANT_NUMBER, "query");
        value
    }

    fn check(&mut self, name: &str, value: &str, rule: Text, location: &str) {
        if let Some(issue) = rule.fault(value) {
            self.faults.push(FieldFault { field: name.to_owned(), issue, location: location.to_owned() });
        }
    }

    fn finish(&mut self) -> Result<(), Refusal> {
        if self.faults.is_empty() { Ok(()) } else { Err(Refusal::malformed(std::mem::take(&mut self.faults))) }
    }
}

/// Undoes percent-encoding; what is no valid escape or no UTF-8 is kept as it is and fails the field's own check.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|digits| hex::decode(digits).ok());
        match escape.as_deref() {
            Some(&[decoded]) => {
                plain.push(decoded);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}
