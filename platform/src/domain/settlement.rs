//! What the bureau settled: the facts of a 2207, kept whole (`parties/bureau/MAPPINGS.md`).

use std::collections::BTreeMap;

use schema::money::Fen;
use schema::seal::Sealed;
use schema::split::Split;
use serde::{Deserialize, Serialize};

/// One settlement of an insurance leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settlement {
    /// The 2207's own message (`medins_setl_id` echoes it).
    pub msgid: String,
    /// The bureau's message (`inf_refmsgid`).
    pub inf_refmsgid: String,
    /// 结算ID.
    pub setl_id: String,
    /// 就诊ID.
    pub mdtrt_id: String,
    /// Who pays what.
    pub split: Split,
    /// 险种.
    pub insutype: String,
    /// `setl_time`: microseconds UTC. The bureau's accounting date.
    pub setl_time_us: i64,
    /// 清算类别, 清算方式, 清算经办机构: the keys of every later reconciliation.
    pub clearing: Clearing,
    /// Every amount of `setlinfo` by its own name, in fen.
    pub amounts: BTreeMap<String, Fen>,
    /// Every other field of `setlinfo` that describes no person, by its own name and as it was written: kinds, flags,
    /// ratios. What describes the person is in `reply` only.
    pub texts: BTreeMap<String, String>,
    /// `setldetail`, row by row.
    pub details: Vec<FundDetail>,
    /// The whole `output` node, sealed; the institution gets it as the bureau sent it. Kept once, with the settlement: an
    /// order's history names that by its `setl_id`.
    #[serde(skip_serializing)]
    pub reply: Sealed,
}

/// `clr_type`, `clr_way`, `clr_optins`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clearing {
    /// 清算类别.
    pub clr_type: String,
    /// 清算方式.
    pub clr_way: String,
    /// 清算经办机构.
    pub clr_optins: String,
}

/// One row of `setldetail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundDetail {
    /// 基金支付类型.
    pub fund_pay_type: String,
    /// Its name.
    pub fund_pay_type_name: String,
    /// 符合政策范围 in fen.
    pub inscp_scp_amt: Fen,
    /// 本次可支付限额 in fen.
    pub crt_payb_lmt_amt: Fen,
    /// 基金支付 in fen.
    pub fund_payamt: Fen,
    /// How the bureau arrived at it, in its own words; empty where it does not say.
    #[serde(default)]
    pub setl_proc_info: String,
}
