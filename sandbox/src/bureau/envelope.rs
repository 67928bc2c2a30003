//! The national interface's envelope: reading a request with all its faults, writing a response.

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::Dialect;
use super::fields::Fields;
use super::refusal::Refusal;

/// A request for callers that have none of their own: a hospital's HIS, tests. All fields of the interface that this
/// bureau asks for; the rest is written empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// 交易编号.
    pub infno: String,
    /// 发送方报文ID: unique, at most 30 characters.
    pub msgid: String,
    /// 就医地.
    pub mdtrtarea_admvs: String,
    /// 参保地; required whenever the input carries a psn_no.
    pub insuplc_admdvs: String,
    /// 1 operator, 2 self-service terminal, 3 mobile terminal.
    pub opter_type: String,
    /// 经办人.
    pub opter: String,
    /// 经办人姓名.
    pub opter_name: String,
    /// `yyyy-MM-dd HH:mm:ss`.
    pub inf_time: String,
    /// 定点医药机构.
    pub fixmedins_code: String,
    /// Its name.
    pub fixmedins_name: String,
    /// From 9001; may be empty.
    pub sign_no: String,
    /// 交易输入.
    pub input: Value,
}

impl Request {
    /// The envelope to send.
    pub fn to_value(&self) -> Value {
        let mut envelope = json!(self);
        for (name, value) in [
            ("recer_sys_code", "1"),
            ("dev_no", ""),
            ("dev_safe_info", ""),
            ("cainfo", ""),
            ("signtype", "SM3"),
            ("infver", "V1.0"),
        ] {
            envelope[name] = Value::from(value);
        }
        envelope
    }
}

/// What the core needs of a request's head.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) msgid: String,
    pub(super) mdtrtarea_admvs: String,
    pub(super) insuplc_admdvs: Option<String>,
    pub(super) fixmedins_code: String,
    pub(super) sign_no: Option<String>,
}

/// The longest `input`, in characters.
const MAX_INPUT: usize = 40_000;

/// Reads the head and every fault of it.
pub(super) fn read_head(infno: &str, envelope: &Value) -> (Head, Vec<String>) {
    let mut fields = Fields::from_value(Some(envelope), "报文".to_owned());
    let told = fields.text("infno", 4);
    let head = Head {
        msgid: fields.text("msgid", 30),
        mdtrtarea_admvs: fields.text("mdtrtarea_admvs", 6),
        insuplc_admdvs: fields.optional("insuplc_admdvs", 6),
        fixmedins_code: fields.text("fixmedins_code", 12),
        sign_no: fields.optional("sign_no", 30),
    };
    fields.text("recer_sys_code", 10);
    fields.text("infver", 6);
    fields.one_of("opter_type", &["1", "2", "3"]);
    fields.text("opter", 30);
    fields.text("opter_name", 50);
    fields.time("inf_time");
    fields.text("fixmedins_name", 200);
    for (name, max) in [("dev_no", 100), ("dev_safe_info", 2000), ("cainfo", 1024), ("signtype", 10)] {
        fields.optional(name, max);
    }
    let mut faults = fields.finish();
    if !envelope.is_object() {
        return (head, faults);
    }
    if !told.is_empty() && told != infno {
        faults.push(format!("报文.infno与路径{infno}不一致 differs from the path"));
    }
    let input = &envelope["input"];
    if !input.is_object() {
        faults.push("报文.input 缺失或不是对象 is missing or no object".to_owned());
    } else if input.to_string().chars().count() > MAX_INPUT {
        faults.push(format!("报文.input 超过{MAX_INPUT}个字符 is longer than {MAX_INPUT} characters"));
    }
    if head.insuplc_admdvs.is_none() && psn_no(input).is_some() {
        faults.push("报文.insuplc_admdvs 含psn_no时必填 is required when the input carries psn_no".to_owned());
    }
    (head, faults)
}

/// The `psn_no` an input speaks about, wherever its node puts it; the subject of fault rules.
pub fn psn_no(input: &Value) -> Option<&str> {
    input.as_object()?.values().find_map(|node| {
        let node = node.as_array().map_or(Some(node), |array| array.first())?;
        node.get("psn_no")?.as_str()
    })
}

/// The response envelope. `serial` numbers it.
pub(super) fn response(
    dialect: &Dialect,
    admdvs: &str,
    serial: u64,
    now: DateTime<FixedOffset>,
    result: Result<Value, Refusal>,
) -> Value {
    let (infcode, err_msg, output) = match result {
        Ok(output) => (0, String::new(), output),
        Err(refusal) => {
            let infcode = if dialect.errors_answer_infcode_zero { 0 } else { refusal.infcode };
            (infcode, refusal.message, json!({}))
        }
    };
    let time = now.format("%Y%m%d%H%M%S%3f").to_string();
    json!({
        "infcode": if dialect.infcode_as_string { json!(infcode.to_string()) } else { json!(infcode) },
        "inf_refmsgid": format!("{admdvs:0>6}{}{serial:010}", now.format("%Y%m%d%H%M%S")),
        "refmsg_time": time,
        "respond_time": time,
        "err_msg": err_msg,
        "warn_msg": "",
        "cainfo": "",
        "signtype": "",
        "output": output,
    })
}
