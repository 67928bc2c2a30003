//! Who may call: hospitals (one institution each) and the platform (a list of institutions).

use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// What kind of system holds a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallerKind {
    /// A hospital's or pharmacy's own system; names one institution. Its window settles without a binding.
    Hospital,
    /// The city's payment platform; settles only for persons with a live binding (B001).
    Platform,
}

/// A registered credential of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// `x-tif-paasid`.
    pub paasid: String,
    /// The secret both sides put into the signature.
    pub secret: String,
    /// What kind of system it is.
    pub kind: CallerKind,
    /// The `fixmedins_code`s it may speak for.
    pub institutions: BTreeSet<String>,
    /// Where the bureau posts its signed notices about bindings made by this caller; none are sent when absent.
    #[serde(default)]
    pub notice_url: Option<String>,
}

/// An institution's level, which decides the ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HospLevel {
    /// 社区 community health centre; `hosp_lv` 0.
    #[serde(rename = "community")]
    Community,
    /// 一级; `hosp_lv` 1.
    #[serde(rename = "1")]
    First,
    /// 二级; `hosp_lv` 2.
    #[serde(rename = "2")]
    Second,
    /// 三级; `hosp_lv` 3.
    #[serde(rename = "3")]
    Third,
}

impl HospLevel {
    /// The `hosp_lv` of 5203.
    pub fn code(self) -> &'static str {
        match self {
            HospLevel::Community => "0",
            HospLevel::First => "1",
            HospLevel::Second => "2",
            HospLevel::Third => "3",
        }
    }
}

/// A designated institution as the bureau knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Institution {
    /// 12 characters.
    pub fixmedins_code: String,
    /// Its name.
    pub fixmedins_name: String,
    /// Where it lies (`mdtrtarea_admvs`), 6 digits.
    pub admdvs: String,
    /// Its level.
    pub hosp_lv: HospLevel,
}

/// `x-tif-signature` of the Guangdong gateway: lower-case hexadecimal SHA-256 of timestamp + secret + nonce +
/// timestamp. `timestamp` is unix seconds as text. The body is not covered.
pub fn gateway_signature(timestamp: &str, secret: &str, nonce: &str) -> String {
    hex::encode(digest(&SHA256, format!("{timestamp}{secret}{nonce}{timestamp}").as_bytes()))
}
