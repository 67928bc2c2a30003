//! How one tenant's bureau is reached, and how its dialect differs from the next province's.

use schema::sign::PublicKey;
use serde::{Deserialize, Serialize};

use super::OnBehalf;
use crate::parties::secret::Secret;

/// One bureau. Stored sealed; `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BureauConfig {
    /// Address in front of the transaction numbers, without a slash at its end: 2207 goes to `<base_url>/2207`.
    pub base_url: String,
    /// `x-tif-paasid`.
    pub paasid: String,
    /// The secret inside `x-tif-signature`.
    pub secret: Secret,
    /// The key phones seal card passwords to: SM2, uncompressed point in Base64.
    pub sm2_public_key: String,
    /// The key the bureau signs its notices with: Ed25519, 32 bytes in Base64.
    pub notice_public_key: PublicKey,
    /// The tenant's own area, 6 digits: 就医地 of calls that are made for no institution, and the 参保地 told where none
    /// is known.
    pub mdtrtarea_admvs: String,
    /// In whose name calls are made that are made for no institution (binding). Where absent: `P` + area + `00000`,
    /// named 统付平台. The bureau must have registered it like an institution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnInstitution>,
    /// `opter` of every message, and `opter_no` of 9001; at most 20 characters.
    #[serde(default = "default_opter")]
    pub opter: String,
    /// `opter_name` of every message.
    #[serde(default = "default_opter_name")]
    pub opter_name: String,
    /// `recer_sys_code`.
    #[serde(default = "default_recer_sys_code")]
    pub recer_sys_code: String,
    /// `infver`.
    #[serde(default = "default_infver")]
    pub infver: String,
    /// What differs between provinces.
    #[serde(default)]
    pub dialect: Dialect,
}

/// The platform as the bureau registered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnInstitution {
    /// `fixmedins_code`, 12 characters.
    pub code: String,
    /// `fixmedins_name`.
    pub name: String,
}

impl BureauConfig {
    /// In whose name a call is made that is made for no institution.
    pub fn own(&self) -> OnBehalf {
        let area = self.mdtrtarea_admvs.clone();
        match &self.own {
            Some(own) => OnBehalf { code: own.code.clone(), name: own.name.clone(), area },
            None => OnBehalf { code: format!("P{area}00000"), name: "统付平台".to_owned(), area },
        }
    }
}

/// What differs between provinces. The code lists default to those of the sandbox's bureau: the national
/// interface fixes no number but 0, so a city names its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dialect {
    /// Every message needs the `sign_no` of a 9001 of the same institution and day.
    pub sign_in: bool,
    /// `fund_pay_sumamt` contains the account's share (Guangdong) or not (Hunan).
    pub fund_pay_sumamt_includes_acct: bool,
    /// `fulamt_ownpay_amt` contains `overlmt_selfpay` (Shanxi) or not.
    pub overlmt_inside_fulamt: bool,
    /// 5203 also finds by `mdtrt_id` with an empty `setl_id`, and then gives every record of the visit.
    pub query_by_mdtrt_id: bool,
    /// `infcode` 0 beside a non-empty `err_msg` is a refusal (seen in Hunan). Where a bureau writes 成功 there, false.
    pub err_msg_refuses: bool,
    /// `infcode`s that say "busy, nothing was done".
    pub busy_codes: Vec<String>,
    /// The same by words inside `err_msg`. They prove nothing where money moves: a 2207, 2208 or 2601 that is refused so
    /// under another code is unknown, and asked about.
    pub busy_words: Vec<String>,
    /// `infcode`s after which the outcome is open, although an answer came.
    pub unclear_codes: Vec<String>,
    /// `infcode`s that say "sign in first".
    pub sign_in_codes: Vec<String>,
    /// `infcode`s by which 5203 says that there is no such settlement.
    pub nothing_found_codes: Vec<String>,
    /// `infcode`s by which 2601 says that there is nothing to reverse.
    pub nothing_to_reverse_codes: Vec<String>,
    /// The funds beside `hifp_pay` that `setlinfo` names. Some builds add `hifdm_pay` or `othfund_pay`.
    pub other_funds: Vec<String>,
    /// First and last sequence number of message ids made for questions: four digits, reserved for us, so that ours
    /// never meet those of a HIS under the same institution code.
    pub question_sequence: (u16, u16),
}

impl Default for Dialect {
    fn default() -> Dialect {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Dialect {
            sign_in: false,
            fund_pay_sumamt_includes_acct: true,
            overlmt_inside_fulamt: false,
            query_by_mdtrt_id: false,
            err_msg_refuses: true,
            busy_codes: words(&["1001"]),
            busy_words: words(&["系统繁忙"]),
            unclear_codes: Vec::new(),
            sign_in_codes: words(&["1003"]),
            nothing_found_codes: words(&["2002"]),
            nothing_to_reverse_codes: words(&["2008"]),
            other_funds: words(&["cvlserv_pay", "hifes_pay", "hifmi_pay", "hifob_pay", "maf_pay", "oth_pay"]),
            question_sequence: (9000, 9999),
        }
    }
}

fn default_opter() -> String {
    "tongfu".to_owned()
}

fn default_opter_name() -> String {
    "统付平台".to_owned()
}

fn default_recer_sys_code() -> String {
    "1".to_owned()
}

fn default_infver() -> String {
    "V1.0".to_owned()
}
