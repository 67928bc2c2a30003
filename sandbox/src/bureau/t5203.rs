//! 5203 结算查询: by setl_id; where the dialect allows (`query_by_mdtrt_id`), with an empty setl_id also every record
//! of a visit, as an array `setlinfo` in which each row carries its own `setldetail`. Look for `medins_setl_id` there:
//! it is the sender's msgid.
//!
//! `refd_setl_flag` is 0 for what counts and 1 for both halves of what was undone: the settlement (positive amounts)
//! and its undo (negative amounts, `init_setl_id` names the settlement).

use serde_json::{Value, json};

use super::core::{Call, Core};
use super::fields::Fields;
use super::refusal::Refusal;
use super::setlinfo;
use super::state::Settlement;

pub(super) struct Query {
    psn_no: String,
    setl_id: Option<String>,
    mdtrt_id: Option<String>,
}

pub(super) fn read(input: &Value) -> (Query, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let query = Query {
        psn_no: fields.text("psn_no", 30),
        setl_id: fields.optional("setl_id", 30),
        mdtrt_id: fields.optional("mdtrt_id", 30),
    };
    (query, fields.finish())
}

pub(super) fn run(core: &mut Core, call: &Call<'_>, ask: Query) -> Result<Value, Refusal> {
    core.person(call, &ask.psn_no)?;
    let here = |record: &&Settlement| {
        record.psn_no == ask.psn_no
            && record.fixmedins_code == call.head.fixmedins_code
            && ask.mdtrt_id.as_ref().is_none_or(|mdtrt_id| *mdtrt_id == record.mdtrt_id)
    };
    if let Some(setl_id) = &ask.setl_id {
        let record = core.state.by_setl_id.get(setl_id).and_then(|seq| core.state.settlements.get(seq)).filter(here);
        let record = record.ok_or_else(|| Refusal::not_found("无此结算 no such settlement of this person here"))?;
        return Ok(json!({ "setlinfo": row(core, record)?, "setldetail": setlinfo::detail(core, record) }));
    }
    if !core.config.dialect.query_by_mdtrt_id {
        return Err(Refusal::malformed("input.data.setl_id 必填 is required"));
    }
    if ask.mdtrt_id.is_none() {
        return Err(Refusal::malformed("input.data.setl_id与mdtrt_id至少一项 setl_id or mdtrt_id is required"));
    }
    let records = core.state.by_person.get(&ask.psn_no).map(Vec::as_slice).unwrap_or_default();
    let records = records.iter().filter_map(|seq| core.state.settlements.get(seq)).filter(here);
    let mut rows = Vec::new();
    for record in records {
        let mut row = row(core, record)?;
        row["setldetail"] = setlinfo::detail(core, record);
        rows.push(row);
    }
    Ok(json!({ "setlinfo": rows }))
}

fn row(core: &Core, record: &Settlement) -> Result<Value, Refusal> {
    let dialect = &core.config.dialect;
    let mut info = setlinfo::info(core, record)?;
    info["cash_payamt"] = dialect.yuan(record.amounts.psn_cash);
    info["psn_pay"] = dialect.yuan(record.amounts.psn_part);
    info["year"] = Value::from(record.setl_time.format("%Y").to_string());
    for name in ["hosp_lv", "lmtpric_hosp_lv", "dedc_hosp_lv"] {
        info[name] = Value::from(record.hosp_lv.code());
    }
    Ok(info)
}
