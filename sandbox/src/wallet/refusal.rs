//! WeChat Pay's refusals: a code, a sentence, and for malformed requests the field at fault.

use schema::money::Overflow;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One field that is missing or wrong, in APIv3's `detail` shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldFault {
    /// JSON pointer of the field (`/amount/total`), or the query item's name.
    pub field: String,
    /// What is wrong with it.
    pub issue: String,
    /// `body`, `query` or `url`.
    pub location: String,
}

/// A refusal; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// WeChat Pay's code, `ORDER_CLOSED`-like.
    pub code: String,
    /// The sentence beside it.
    pub message: String,
    /// The fields at fault, all of them; empty unless the request was malformed.
    pub faults: Vec<FieldFault>,
}

impl Refusal {
    /// A refusal by its code; the HTTP status follows from the code (400 for one that is not known).
    pub fn new(code: &str, message: &str) -> Refusal {
        Refusal { status: status_of(code), code: code.to_owned(), message: message.to_owned(), faults: Vec::new() }
    }

    /// `PARAM_ERROR`, naming every field at fault.
    pub fn malformed(faults: Vec<FieldFault>) -> Refusal {
        let named: Vec<String> = faults.iter().map(|fault| format!("{} {}", fault.field, fault.issue)).collect();
        Refusal { faults, ..Refusal::new("PARAM_ERROR", &format!("参数错误: {}", named.join("; "))) }
    }

    /// The reply's body: `code`, `message` and, for malformed requests, `detail` (the first fault, as WeChat Pay has
    /// room for one) with all of them under `detail.all`.
    pub fn body(&self) -> Value {
        let mut body = json!({ "code": self.code, "message": self.message });
        if let Some(first) = self.faults.first() {
            body["detail"] = json!({
                "field": first.field, "issue": first.issue, "location": first.location, "all": self.faults,
            });
        }
        body
    }
}

impl From<Overflow> for Refusal {
    fn from(_: Overflow) -> Refusal {
        Refusal::new("INVALID_REQUEST", "金额超出范围")
    }
}

/// HTTP status of an APIv3 error code.
pub fn status_of(code: &str) -> u16 {
    match code {
        "SIGN_ERROR" => 401,
        "NO_AUTH" | "NOT_ENOUGH" | "OUT_TRADE_NO_USED" | "RULE_LIMIT" | "ACCOUNT_ERROR" | "USER_ACCOUNT_ABNORMAL" => {
            403
        }
        "ORDER_NOT_EXIST" | "ORDERNOTEXIST" | "RESOURCE_NOT_EXISTS" | "NOT_FOUND" => 404,
        "METHOD_NOT_ALLOWED" => 405,
        "FREQUENCY_LIMITED" | "FREQUENCY_LIMIT" => 429,
        "SYSTEM_ERROR" | "BANK_ERROR" => 500,
        _ => 400,
    }
}
