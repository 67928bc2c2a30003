//! 2001 待遇享受检查: may this person use this insurance, for this kind of visit, here?

use serde_json::{Value, json};

use super::core::{Call, Core};
use super::fields::Fields;
use super::policy::Employment;
use super::refusal::Refusal;
use super::setlinfo::pool_fund_type;
use super::t2203::MED_TYPES;

pub(super) struct Ask {
    psn_no: String,
    insutype: String,
    fixmedins_code: String,
    begntime: String,
}

pub(super) fn read(input: &Value) -> (Ask, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let ask = Ask {
        psn_no: fields.text("psn_no", 30),
        insutype: fields.text("insutype", 6),
        fixmedins_code: fields.text("fixmedins_code", 12),
        begntime: fields.time("begntime"),
    };
    fields.one_of("med_type", &MED_TYPES);
    fields.optional("endtime", 19);
    fields.optional("dise_codg", 30);
    (ask, fields.finish())
}

pub(super) fn run(core: &mut Core, call: &Call<'_>, ask: Ask) -> Result<Value, Refusal> {
    let person = core.person(call, &ask.psn_no)?;
    let reason = if ask.fixmedins_code != call.head.fixmedins_code {
        Some("机构与报文不一致 another institution's code".to_owned())
    } else {
        match core.insurance(person, &ask.insutype) {
            Err(refusal) => Some(refusal.message),
            Ok((insurance, city)) => {
                let none = city.rule(&ask.insutype, Employment::of(&insurance.psn_type)).is_none();
                none.then(|| "无门诊待遇政策 no outpatient policy for this insurance".to_owned())
            }
        }
    };
    Ok(json!({ "trtinfo": [{
        "psn_no": ask.psn_no,
        "trt_chk_type": "1",
        "fund_pay_type": pool_fund_type(&ask.insutype),
        "trt_enjymnt_flag": if reason.is_none() { "1" } else { "0" },
        "begndate": ask.begntime.get(..10).unwrap_or_default(),
        "enddate": "",
        "trt_chk_rslt": reason.unwrap_or_default(),
    }] }))
}
