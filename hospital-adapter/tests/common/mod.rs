//! A small platform and a small HIS around the real adapter binary.
#![allow(dead_code, reason = "every test binary uses its own part")]

pub(crate) mod adapter;
pub(crate) mod platform;

use schema::bill::BillDraft;
use serde_json::json;

/// A sound bill.
pub(crate) fn bill(bill_no: &str) -> BillDraft {
    serde_json::from_value(bill_json(bill_no)).expect("a bill")
}

/// The same as JSON, to be spoilt.
pub(crate) fn bill_json(bill_no: &str) -> serde_json::Value {
    json!({
        "bill_no": bill_no, "kind": "outpatient", "amount_fen": 3000,
        "patient": { "psn_name": "王小明", "psn_cert_type": "01", "certno": "441900199001011234" },
        "visit": {
            "ipt_otp_no": "M1", "med_type": "11", "dept_code": "D1", "dept_name": "内科",
            "atddr_no": "A1", "dr_name": "李医生"
        },
        "diagnoses": [],
        "lines": [{
            "feedetl_sn": "1", "medins_list_codg": "Y001", "name": "小儿大黄碳酸氢钠片",
            "pric": "10", "cnt": "3", "amount_fen": 3000
        }],
        "issued_at_us": 1, "expires_at_us": 2
    })
}
