//! 2203 就诊信息上传. Sent again it replaces what was said before.

use serde_json::{Value, json};

use super::core::{Call, Core};
use super::fields::{Fields, elements};
use super::refusal::Refusal;

/// Kinds of outpatient visit.
pub(super) const MED_TYPES: [&str; 13] =
    ["11", "12", "13", "14", "140104", "140201", "15", "16", "51", "9901", "9903", "9904", "41"];

pub(super) struct Info {
    psn_no: String,
    mdtrt_id: String,
    med_type: String,
}

pub(super) fn read(input: &Value) -> (Info, Vec<String>) {
    let mut fields = Fields::of(input, "mdtrtinfo");
    let info = Info {
        mdtrt_id: fields.text("mdtrt_id", 30),
        psn_no: fields.text("psn_no", 30),
        med_type: fields.one_of("med_type", &MED_TYPES),
    };
    fields.time("begntime");
    for (name, max) in [("main_cond_dscr", 1000), ("dise_codg", 30), ("dise_name", 500), ("birctrl_type", 6)] {
        fields.optional(name, max);
    }
    let mut faults = fields.finish();
    let mut node_faults = Vec::new();
    for mut diagnosis in elements(input, "diseinfo", &mut node_faults) {
        diagnosis.one_of("diag_type", &["1", "2", "3"]);
        diagnosis.text("diag_srt_no", 2);
        diagnosis.text("diag_code", 20);
        diagnosis.text("diag_name", 100);
        diagnosis.text("diag_dept", 50);
        diagnosis.text("dise_dor_no", 30);
        diagnosis.text("dise_dor_name", 50);
        diagnosis.time("diag_time");
        diagnosis.one_of("vali_flag", &["0", "1"]);
        node_faults.extend(diagnosis.finish());
    }
    faults.extend(node_faults);
    (info, faults)
}

pub(super) fn run(core: &mut Core, call: &Call<'_>, info: Info) -> Result<Value, Refusal> {
    core.person(call, &info.psn_no)?;
    core.visit(call, &info.mdtrt_id, &info.psn_no)?;
    if let Some(visit) = core.state.visits.get_mut(&info.mdtrt_id) {
        visit.med_type = Some(info.med_type);
    }
    Ok(json!({}))
}
