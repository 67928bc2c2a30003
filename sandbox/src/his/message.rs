//! The national envelope as a HIS writes and reads it. Yuan exist only in this file.

use chrono::{DateTime, FixedOffset};
use schema::bill::{LineFlags, LineResult};
use schema::money::{Fen, Price6, Ratio4};
use schema::split::Split;
use serde_json::{Value, json};

use super::hospital::Hospital;

/// How many message numbers a HIS uses per second; it leaves the upper half of the four digits to others that speak
/// under the same institution code.
pub const MESSAGE_NUMBERS: u32 = 5_000;

/// `msgid`: institution code, time, four digits.
pub fn msgid(hospital: &Hospital, now: DateTime<FixedOffset>, number: u32) -> String {
    format!("{}{}{:04}", hospital.code, now.format("%Y%m%d%H%M%S"), number % MESSAGE_NUMBERS)
}

/// The envelope around one input. `insuplc_admdvs` is needed whenever the input names a person.
pub fn envelope(
    hospital: &Hospital,
    infno: &str,
    msgid: &str,
    insuplc_admdvs: Option<&str>,
    sign_no: &str,
    now: DateTime<FixedOffset>,
    input: &Value,
) -> Value {
    json!({
        "infno": infno,
        "msgid": msgid,
        "mdtrtarea_admvs": hospital.admdvs,
        "insuplc_admdvs": insuplc_admdvs.unwrap_or_default(),
        "recer_sys_code": "1",
        "dev_no": "",
        "dev_safe_info": "",
        "cainfo": "",
        "signtype": "SM3",
        "infver": "V1.0",
        "opter_type": "1",
        "opter": "HIS01",
        "opter_name": "收费处",
        "inf_time": wire_time(now),
        "fixmedins_code": hospital.code,
        "fixmedins_name": hospital.name,
        "sign_no": sign_no,
        "input": input,
    })
}

/// `yyyy-MM-dd HH:mm:ss`.
pub fn wire_time(at: DateTime<FixedOffset>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// What the bureau's envelope says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Done; the `output` node.
    Done(Value),
    /// "Busy": nothing was done.
    Busy,
    /// No.
    Refused {
        /// `infcode`.
        infcode: String,
        /// `err_msg`.
        err_msg: String,
    },
}

/// Reads an answer. Both `infcode` and `err_msg` are judged: some centres answer 0 with an error beside it.
pub fn word(answer: &Value) -> Word {
    let infcode = text(answer, "infcode").unwrap_or_default();
    let err_msg = text(answer, "err_msg").unwrap_or_default();
    match infcode.as_str() {
        "0" if err_msg.is_empty() => Word::Done(answer.get("output").cloned().unwrap_or(Value::Null)),
        "1001" => Word::Busy,
        _ => Word::Refused { infcode, err_msg },
    }
}

/// A field as text, whether it came as text or as a number; `None` when absent or blank.
pub fn text(node: &Value, name: &str) -> Option<String> {
    let text = match node.get(name)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// An amount in yuan; absent counts as nothing, unreadable as `None`.
pub fn fen(node: &Value, name: &str) -> Option<Fen> {
    text(node, name).map_or(Some(Fen::ZERO), |yuan| Fen::from_yuan(&yuan).ok())
}

/// The split that a `setlinfo` says. `None` when an amount is unreadable.
pub fn split(setlinfo: &Value) -> Option<Split> {
    let other = ["cvlserv_pay", "hifes_pay", "hifmi_pay", "hifob_pay", "maf_pay", "oth_pay"];
    let others: Option<Vec<Fen>> = other.iter().map(|name| fen(setlinfo, name)).collect();
    let account_mulaid_fen = fen(setlinfo, "acct_mulaid_pay")?;
    Some(Split {
        fund_fen: fen(setlinfo, "hifp_pay")?,
        other_funds_fen: Fen::sum(others?).ok()?,
        account_own_fen: fen(setlinfo, "acct_pay")?.minus(account_mulaid_fen).ok()?,
        account_mulaid_fen,
        hospital_fen: fen(setlinfo, "hosp_part_amt")?,
        cash_fen: fen(setlinfo, "psn_cash_pay")?,
    })
}

/// One row of 2204's `result`. `None` when something is unreadable.
pub fn line_result(row: &Value) -> Option<LineResult> {
    let ceiling: Option<Price6> = text(row, "pric_uplmt_amt").and_then(|yuan| yuan.parse().ok());
    Some(LineResult {
        feedetl_sn: text(row, "feedetl_sn")?,
        amount_fen: fen(row, "det_item_fee_sumamt")?,
        // A ceiling of nothing is how "no ceiling" is written.
        pric_uplmt_amt: ceiling.filter(|ceiling| *ceiling > Price6::ZERO),
        selfpay_prop: text(row, "selfpay_prop").map_or(Some(Ratio4::ZERO), |ratio| ratio.parse().ok())?,
        fulamt_ownpay_fen: fen(row, "fulamt_ownpay_amt")?,
        overlmt_fen: fen(row, "overlmt_amt")?,
        preselfpay_fen: fen(row, "preselfpay_amt")?,
        inscp_scp_fen: fen(row, "inscp_scp_amt")?,
        chrgitm_lv: text(row, "chrgitm_lv").unwrap_or_default(),
        flags: LineFlags {
            med_chrgitm_type: text(row, "med_chrgitm_type"),
            bas_medn_flag: text(row, "bas_medn_flag"),
            hi_nego_drug_flag: text(row, "hi_nego_drug_flag"),
            chld_medc_flag: text(row, "chld_medc_flag"),
            list_sp_item_flag: text(row, "list_sp_item_flag"),
            lmt_used_flag: text(row, "lmt_used_flag"),
            drt_reim_flag: text(row, "drt_reim_flag"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_done_only_when_code_and_message_agree() {
        for (answer, expected) in [
            (json!({"infcode": 0, "err_msg": "", "output": {"a": 1}}), Word::Done(json!({"a": 1}))),
            (json!({"infcode": "0", "output": null}), Word::Done(Value::Null)),
            (
                json!({"infcode": 0, "err_msg": "余额不足"}),
                Word::Refused { infcode: "0".to_owned(), err_msg: "余额不足".to_owned() },
            ),
            (json!({"infcode": 1001, "err_msg": "系统繁忙"}), Word::Busy),
            (
                json!({"infcode": -1, "err_msg": "x"}),
                Word::Refused { infcode: "-1".to_owned(), err_msg: "x".to_owned() },
            ),
            (json!("?"), Word::Refused { infcode: String::new(), err_msg: String::new() }),
        ] {
            assert_eq!(word(&answer), expected);
        }
    }

    #[test]
    fn the_real_settlement_vector_splits_into_its_bill() {
        let setlinfo = json!({
            "medfee_sumamt": "5792.53", "hifp_pay": 3106.54, "acct_pay": 0, "psn_cash_pay": "2685.99",
            "hosp_part_amt": 0, "acct_mulaid_pay": ""
        });
        let split = split(&setlinfo).expect("readable");
        assert_eq!((split.fund_fen, split.cash_fen), (Fen::new(310_654), Fen::new(268_599)));
        assert!(split.sums_to(Fen::new(579_253)));
    }
}
