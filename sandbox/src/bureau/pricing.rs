//! What 2206 and 2207 share: reading the common fields, and the split of a batch as it would be settled now.

use chrono::Datelike;
use schema::money::{Fen, Overflow, Ratio4};
use serde_json::Value;

use super::core::{Call, Core};
use super::fields::Fields;
use super::policy::{Employment, Facts, Totals, split};
use super::refusal::Refusal;
use super::state::{Draw, Line, Settlement, accumulated_key};
use super::t2203::MED_TYPES;

/// The fields of 2206, all of which 2207 repeats.
pub(super) struct Ask {
    psn_no: String,
    cert_type: String,
    cert_no: String,
    med_type: String,
    medfee_sumamt: Fen,
    mdtrt_id: String,
    chrg_bchno: String,
    acct_used_flag: String,
    insutype: String,
}

/// Reads them from `input.data`.
pub(super) fn read<'a>(input: &'a Value) -> (Ask, Fields<'a>) {
    let mut fields = Fields::of(input, "data");
    let ask = Ask {
        psn_no: fields.text("psn_no", 30),
        cert_type: fields.one_of("mdtrt_cert_type", &["01", "02", "03"]),
        cert_no: fields.text("mdtrt_cert_no", 50),
        med_type: fields.one_of("med_type", &MED_TYPES),
        medfee_sumamt: fields.yuan("medfee_sumamt"),
        mdtrt_id: fields.text("mdtrt_id", 30),
        chrg_bchno: fields.text("chrg_bchno", 30),
        acct_used_flag: fields.one_of("acct_used_flag", &["0", "1"]),
        insutype: fields.text("insutype", 6),
    };
    fields.text("psn_setlway", 6);
    (ask, fields)
}

impl Ask {
    pub(super) fn psn_no(&self) -> &str {
        &self.psn_no
    }
}

/// The settlement these fields would make now. It is not recorded: `seq` is 0 and `setl_id` and `invono` are empty.
pub(super) fn price(core: &Core, call: &Call<'_>, ask: &Ask) -> Result<Settlement, Refusal> {
    let person = core.person(call, &ask.psn_no)?;
    core.certificate(person, &ask.cert_type, &ask.cert_no)?;
    let visit = core.visit(call, &ask.mdtrt_id, &ask.psn_no)?;
    if visit.insutype != ask.insutype {
        return Err(Refusal::person("险种与挂号不一致 insutype differs from the visit's"));
    }
    if visit.med_type.as_ref() != Some(&ask.med_type) {
        return Err(Refusal::person("医疗类别与就诊信息不一致 med_type differs from the visit's"));
    }
    let (insurance, city) = core.insurance(person, &ask.insutype)?;
    let rule = city
        .rule(&ask.insutype, Employment::of(&insurance.psn_type))
        .ok_or_else(|| Refusal::person("无门诊待遇政策 no outpatient policy for this insurance"))?;

    let of_batch = |line: &&Line| line.chrg_bchno == ask.chrg_bchno && line.settled_by.is_none();
    let lines: Vec<&Line> = visit.lines.values().filter(of_batch).collect();
    if lines.is_empty() {
        return Err(Refusal::not_found("该批次无未结算明细 this batch has no unsettled lines"));
    }
    let totals = totals(&lines)?;
    let sum = totals.medfee_sumamt()?;
    if sum != ask.medfee_sumamt {
        let sum = sum.to_yuan();
        return Err(Refusal::amounts_differ(format!("medfee_sumamt应为{sum} the batch's lines sum to {sum}")));
    }

    let institution = core.institution(&call.head.fixmedins_code)?;
    let at_home = institution.admdvs.get(..4) == insurance.insuplc_admdvs.get(..4);
    let relatives = person.relatives.iter().filter_map(|psn_no| core.state.persons.get(psn_no));
    // Only employees' insurance has an account of its own; a relative's may serve anybody (共济).
    let own_balance = if insurance.insutype == "310" { person.balance } else { Fen::ZERO };
    let facts = Facts {
        level: institution.hosp_lv,
        area_factor: if at_home { Ratio4::ONE } else { city.out_of_area_factor },
        civil_servant: insurance.cvlserv,
        use_account: ask.acct_used_flag == "1",
        own_balance,
        shared_balance: Fen::sum(relatives.clone().map(|relative| relative.balance))?,
    };
    let key = accumulated_key(&person.psn_no, call.now.year(), &insurance.insutype);
    let used = core.state.accumulated.get(&key).copied().unwrap_or_default();
    let mut amounts = split(rule, &facts, &totals, &used)?;
    if call.differ {
        amounts = amounts.shifted_to_cash()?;
    }

    let own = amounts.acct_pay.minus(amounts.acct_mulaid)?;
    let mut draws = vec![Draw { psn_no: person.psn_no.clone(), amount: own }];
    let mut open = amounts.acct_mulaid;
    for relative in relatives {
        let amount = relative.balance.min(open);
        open = open.minus(amount)?;
        draws.push(Draw { psn_no: relative.psn_no.clone(), amount });
    }
    draws.retain(|draw| !draw.amount.is_zero());

    Ok(Settlement {
        seq: 0,
        setl_id: String::new(),
        infno: "2207".to_owned(),
        msgid: call.head.msgid.clone(),
        origin: call.caller.paasid.clone(),
        origin_kind: call.caller.kind,
        fixmedins_code: call.head.fixmedins_code.clone(),
        hosp_lv: institution.hosp_lv,
        psn_no: person.psn_no.clone(),
        insutype: insurance.insutype.clone(),
        psn_type: insurance.psn_type.clone(),
        cvlserv: insurance.cvlserv,
        mdtrt_id: visit.mdtrt_id.clone(),
        ipt_otp_no: visit.ipt_otp_no.clone(),
        chrg_bchno: ask.chrg_bchno.clone(),
        invono: String::new(),
        mdtrt_cert_type: ask.cert_type.clone(),
        med_type: ask.med_type.clone(),
        acct_used_flag: ask.acct_used_flag.clone(),
        setl_time: call.now,
        clr_optins: city.clr_optins.clone(),
        clr_way: city.clr_way.clone(),
        clr_type: city.clr_type.clone(),
        balance_after: person.balance.minus(own)?,
        cap_left: rule.cap_fen.minus(used.hifp)?.minus(amounts.hifp)?.max(Fen::ZERO),
        amounts,
        draws,
        lines: lines.iter().map(|line| line.feedetl_sn.clone()).collect(),
        undoes: None,
        undone_by: None,
    })
}

fn totals(lines: &[&Line]) -> Result<Totals, Overflow> {
    Ok(Totals {
        fulamt_ownpay: Fen::sum(lines.iter().map(|line| line.split.fulamt_ownpay))?,
        overlmt_selfpay: Fen::sum(lines.iter().map(|line| line.split.overlmt))?,
        preselfpay: Fen::sum(lines.iter().map(|line| line.split.preselfpay))?,
        inscp_scp: Fen::sum(lines.iter().map(|line| line.split.inscp_scp))?,
    })
}
