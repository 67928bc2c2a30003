//! 2201 门诊挂号, 2202 挂号撤销.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::core::{Call, Core};
use super::fields::Fields;
use super::refusal::Refusal;
use super::state::Visit;

pub(super) struct Register {
    psn_no: String,
    insutype: String,
    cert_type: String,
    cert_no: String,
    ipt_otp_no: String,
}

pub(super) fn read(input: &Value) -> (Register, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let register = Register {
        psn_no: fields.text("psn_no", 30),
        insutype: fields.text("insutype", 6),
        cert_type: fields.one_of("mdtrt_cert_type", &["01", "02", "03"]),
        cert_no: fields.text("mdtrt_cert_no", 50),
        ipt_otp_no: fields.text("ipt_otp_no", 30),
    };
    fields.time("begntime");
    for (name, max) in [("atddr_no", 30), ("dr_name", 50), ("dept_code", 30), ("dept_name", 100), ("caty", 6)] {
        fields.text(name, max);
    }
    (register, fields.finish())
}

pub(super) fn register(core: &mut Core, call: &Call<'_>, ask: Register) -> Result<Value, Refusal> {
    let person = core.person(call, &ask.psn_no)?;
    core.certificate(person, &ask.cert_type, &ask.cert_no)?;
    core.insurance(person, &ask.insutype)?;
    let code = &call.head.fixmedins_code;
    let taken =
        |visit: &&Visit| !visit.cancelled && visit.fixmedins_code == *code && visit.ipt_otp_no == ask.ipt_otp_no;
    if let Some(visit) = core.state.visits.values().find(taken) {
        let mdtrt_id = &visit.mdtrt_id;
        return Err(Refusal::duplicate(format!("ipt_otp_no已登记({mdtrt_id}) this ipt_otp_no is registered already")));
    }
    let mdtrt_id = format!("{}1{:013}", call.head.mdtrtarea_admvs, core.state.next_number());
    let answer = json!({ "data": { "mdtrt_id": mdtrt_id, "psn_no": ask.psn_no, "ipt_otp_no": ask.ipt_otp_no } });
    let visit = Visit {
        mdtrt_id: mdtrt_id.clone(),
        psn_no: ask.psn_no,
        insutype: ask.insutype,
        fixmedins_code: code.clone(),
        ipt_otp_no: ask.ipt_otp_no,
        med_type: None,
        cancelled: false,
        lines: BTreeMap::new(),
    };
    core.state.visits.insert(mdtrt_id, visit);
    Ok(answer)
}

pub(super) struct Cancel {
    psn_no: String,
    mdtrt_id: String,
}

pub(super) fn read_cancel(input: &Value) -> (Cancel, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let cancel = Cancel { psn_no: fields.text("psn_no", 30), mdtrt_id: fields.text("mdtrt_id", 30) };
    fields.text("ipt_otp_no", 30);
    (cancel, fields.finish())
}

pub(super) fn cancel(core: &mut Core, call: &Call<'_>, ask: Cancel) -> Result<Value, Refusal> {
    core.person(call, &ask.psn_no)?;
    let own = |visit: &&mut Visit| visit.psn_no == ask.psn_no && visit.fixmedins_code == call.head.fixmedins_code;
    let Some(visit) = core.state.visits.get_mut(&ask.mdtrt_id).filter(own) else {
        return Err(Refusal::not_found("无此就诊记录 no such visit of this person at this institution"));
    };
    // Once more is as good as once: a HIS that lost the answer must be able to ask again.
    if visit.cancelled {
        return Ok(json!({}));
    }
    if !visit.lines.is_empty() {
        return Err(Refusal::duplicate("尚有费用明细，先撤销明细(2205) lines are still uploaded; withdraw them first"));
    }
    visit.cancelled = true;
    Ok(json!({}))
}
