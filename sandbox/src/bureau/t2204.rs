//! 2204 费用明细上传, 2205 费用明细撤销.
//!
//! What was uploaded stays until 2205, also after an undone settlement: the next 2204 of the same line or batch is a
//! duplicate.

use std::collections::BTreeSet;

use schema::money::{Fen, Price6, Qty4};
use serde_json::{Value, json};

use super::catalogue::Item;
use super::core::{Call, Core};
use super::fields::{Fields, elements};
use super::lines;
use super::refusal::Refusal;
use super::state::Line;

pub(super) struct Detail {
    node: String,
    feedetl_sn: String,
    mdtrt_id: String,
    psn_no: String,
    chrg_bchno: String,
    dise_codg: Option<String>,
    med_list_codg: Option<String>,
    amount: Fen,
    cnt: Qty4,
    pric: Price6,
    hosp_appr_flag: String,
}

pub(super) fn read(input: &Value) -> (Vec<Detail>, Vec<String>) {
    let mut faults = Vec::new();
    let mut details = Vec::new();
    for (n, mut fields) in elements(input, "feedetail", &mut faults).into_iter().enumerate() {
        details.push(read_detail(&mut fields, format!("input.feedetail[{n}]")));
        faults.extend(fields.finish());
    }
    (details, faults)
}

fn read_detail(fields: &mut Fields<'_>, node: String) -> Detail {
    let detail = Detail {
        node,
        feedetl_sn: fields.text("feedetl_sn", 30),
        mdtrt_id: fields.text("mdtrt_id", 30),
        psn_no: fields.text("psn_no", 30),
        chrg_bchno: fields.text("chrg_bchno", 30),
        dise_codg: fields.optional("dise_codg", 30),
        med_list_codg: fields.optional("med_list_codg", 50),
        amount: fields.yuan("det_item_fee_sumamt"),
        cnt: fields.count("cnt"),
        pric: fields.price("pric"),
        hosp_appr_flag: fields.one_of("hosp_appr_flag", &["0", "1", "2"]),
    };
    fields.time("fee_ocur_time");
    for (name, max) in [
        ("medins_list_codg", 150),
        ("bilg_dept_codg", 30),
        ("bilg_dept_name", 100),
        ("bilg_dr_codg", 30),
        ("bilg_dr_name", 50),
    ] {
        fields.text(name, max);
    }
    for (name, max) in [("rxno", 30), ("rx_circ_flag", 3), ("sin_dos_dscr", 200), ("used_frqu_dscr", 200)] {
        fields.optional(name, max);
    }
    detail
}

pub(super) fn upload(core: &mut Core, call: &Call<'_>, details: Vec<Detail>) -> Result<Value, Refusal> {
    let Some(first) = details.first() else { return Ok(json!({ "result": [] })) };
    let (mdtrt_id, psn_no) = (first.mdtrt_id.clone(), first.psn_no.clone());
    core.person(call, &psn_no)?;
    let visit = core.visit(call, &mdtrt_id, &psn_no)?;
    if visit.med_type.is_none() {
        return Err(Refusal::not_found("就诊信息未上传(2203) upload the visit (2203) before its lines"));
    }

    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for detail in &details {
        let node = &detail.node;
        if (&detail.mdtrt_id, &detail.psn_no, &detail.chrg_bchno) != (&mdtrt_id, &psn_no, &first.chrg_bchno) {
            faults.push(format!(
                "{node} 与首行的就诊、人员或批次不同 differs from the first line in visit, person or batch"
            ));
        }
        if detail.dise_codg != first.dise_codg {
            faults.push(format!("{node} 同批次病种编码须一致 one batch has one dise_codg"));
        }
        if !seen.insert(&detail.feedetl_sn) {
            faults.push(format!("{node}.feedetl_sn 本次重复 is repeated in this upload"));
        }
        let product = detail.pric.times(detail.cnt)?;
        if product.minus(detail.amount)?.get().abs() > 1 {
            let product = product.to_yuan();
            faults.push(format!("{node} 数量×单价={product}与金额不符 count × price differs from the amount"));
        }
        if let Some(code) = detail.med_list_codg.as_ref().filter(|code| core.catalogue.find(code).is_none()) {
            faults.push(format!("{node}.med_list_codg {code}不在目录 is not in the catalogue"));
        }
    }
    if !faults.is_empty() {
        return Err(Refusal::malformed(faults.join("; ")));
    }

    let mut duplicates: Vec<String> = Vec::new();
    if visit.lines.values().any(|line| line.settled_by.is_none() && line.chrg_bchno == first.chrg_bchno) {
        duplicates.push(format!("收费批次{}有未结算明细 batch has unsettled lines", first.chrg_bchno));
    }
    for detail in details.iter().filter(|detail| visit.lines.contains_key(&detail.feedetl_sn)) {
        duplicates.push(format!("费用明细{}已上传 line was uploaded before", detail.feedetl_sn));
    }
    if !duplicates.is_empty() {
        return Err(Refusal::duplicate(format!("重复上传 duplicate upload: {}", duplicates.join("; "))));
    }

    let mut result = Vec::new();
    let mut uploaded = Vec::new();
    for detail in details {
        let item = detail.med_list_codg.as_deref().and_then(|code| core.catalogue.find(code));
        let split = lines::split_line(item, detail.amount, detail.cnt, &detail.hosp_appr_flag)?;
        let line = Line {
            feedetl_sn: detail.feedetl_sn,
            chrg_bchno: detail.chrg_bchno,
            med_list_codg: detail.med_list_codg,
            amount: detail.amount,
            cnt: detail.cnt,
            pric: detail.pric,
            split,
            settled_by: None,
        };
        result.push(result_row(core, item, &line));
        uploaded.push(line);
    }
    if let Some(visit) = core.state.visits.get_mut(&mdtrt_id) {
        visit.lines.extend(uploaded.into_iter().map(|line| (line.feedetl_sn.clone(), line)));
    }
    Ok(json!({ "result": result }))
}

fn result_row(core: &Core, item: Option<&Item>, line: &Line) -> Value {
    let dialect = &core.config.dialect;
    let (chrgitm_lv, ceiling, selfpay_prop) = lines::reported(item);
    json!({
        "feedetl_sn": line.feedetl_sn,
        "det_item_fee_sumamt": dialect.yuan(line.amount),
        "cnt": dialect.number(line.cnt.to_string()),
        "pric": dialect.price(line.pric),
        "pric_uplmt_amt": dialect.price(ceiling),
        "selfpay_prop": dialect.ratio(selfpay_prop),
        "fulamt_ownpay_amt": dialect.yuan(line.split.fulamt_ownpay),
        "overlmt_amt": dialect.yuan(line.split.overlmt),
        "preselfpay_amt": dialect.yuan(line.split.preselfpay),
        "inscp_scp_amt": dialect.yuan(line.split.inscp_scp),
        "chrgitm_lv": chrgitm_lv,
        "med_chrgitm_type": item.map_or("14", |item| item.charge_kind.as_str()),
        "bas_medn_flag": "0",
        "hi_nego_drug_flag": "0",
        "chld_medc_flag": "0",
        "list_sp_item_flag": "0",
        "lmt_used_flag": if item.is_some_and(|item| item.limited) { "1" } else { "0" },
        "drt_reim_flag": "0",
        "memo": if item.is_none() { "无国家编码，全自费 no national code: self-pay" } else { "" },
    })
}

/// The batch number that means every unsettled line.
const ALL_BATCHES: &str = "0000";

pub(super) struct Withdraw {
    psn_no: String,
    mdtrt_id: String,
    chrg_bchno: String,
}

pub(super) fn read_withdraw(input: &Value) -> (Withdraw, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let withdraw = Withdraw {
        mdtrt_id: fields.text("mdtrt_id", 30),
        chrg_bchno: fields.text("chrg_bchno", 30),
        psn_no: fields.text("psn_no", 30),
    };
    (withdraw, fields.finish())
}

pub(super) fn withdraw(core: &mut Core, call: &Call<'_>, ask: Withdraw) -> Result<Value, Refusal> {
    core.person(call, &ask.psn_no)?;
    let visit = core.visit(call, &ask.mdtrt_id, &ask.psn_no)?;
    let all = ask.chrg_bchno == ALL_BATCHES;
    let meant = |line: &Line| line.settled_by.is_none() && (all || line.chrg_bchno == ask.chrg_bchno);
    // "All unsettled" of nothing is done; a named batch that has none was never uploaded, is gone, or is settled.
    if !all && !visit.lines.values().any(meant) {
        return Err(Refusal::not_found("该批次无未结算明细 this batch has no unsettled lines"));
    }
    if let Some(visit) = core.state.visits.get_mut(&ask.mdtrt_id) {
        visit.lines.retain(|_, line| !meant(line));
    }
    Ok(json!({}))
}
