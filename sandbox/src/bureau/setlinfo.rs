//! setlinfo and setldetail, from a record, for 2206, 2207, 2208 and 5203.

use schema::money::Fen;
use serde_json::{Value, json};

use super::core::Core;
use super::fields::DT19;
use super::refusal::Refusal;
use super::state::Settlement;
use super::t1101;

/// `{setlinfo, setldetail}`.
pub(super) fn output(core: &Core, record: &Settlement) -> Result<Value, Refusal> {
    Ok(json!({ "setlinfo": info(core, record)?, "setldetail": detail(core, record) }))
}

/// setlinfo. A settlement that is not recorded (2206) has no setl_id, medins_setl_id or setl_time.
pub(super) fn info(core: &Core, record: &Settlement) -> Result<Value, Refusal> {
    let dialect = &core.config.dialect;
    let a = &record.amounts;
    let funds = a.funds()?;
    let fund_pay_sumamt = if dialect.fund_pay_sumamt_includes_acct { funds.plus(a.acct_pay)? } else { funds };
    let mut info = match core.state.persons.get(&record.psn_no) {
        Some(person) => t1101::base(person, record.setl_time),
        None => json!({}),
    };
    let texts = [
        ("mdtrt_id", record.mdtrt_id.as_str()),
        ("insutype", &record.insutype),
        ("psn_type", &record.psn_type),
        ("cvlserv_flag", if record.cvlserv { "1" } else { "0" }),
        ("mdtrt_cert_type", &record.mdtrt_cert_type),
        ("med_type", &record.med_type),
        ("acct_used_flag", &record.acct_used_flag),
        ("clr_optins", &record.clr_optins),
        ("clr_way", &record.clr_way),
        ("clr_type", &record.clr_type),
        ("fixmedins_code", &record.fixmedins_code),
        ("invono", &record.invono),
    ];
    for (name, text) in texts {
        info[name] = Value::from(text);
    }
    let amounts = [
        ("medfee_sumamt", a.medfee_sumamt),
        ("fulamt_ownpay_amt", a.fulamt_ownpay),
        ("overlmt_selfpay", a.overlmt_selfpay),
        ("preselfpay_amt", a.preselfpay),
        ("inscp_scp_amt", a.inscp_scp),
        ("act_pay_dedc", a.act_pay_dedc),
        ("hifp_pay", a.hifp),
        ("cvlserv_pay", a.cvlserv),
        ("hifes_pay", a.hifes),
        ("hifmi_pay", a.hifmi),
        ("hifob_pay", a.hifob),
        ("maf_pay", a.maf),
        ("oth_pay", a.oth),
        ("fund_pay_sumamt", fund_pay_sumamt),
        ("psn_part_amt", a.psn_part),
        ("acct_pay", a.acct_pay),
        ("psn_cash_pay", a.psn_cash),
        ("hosp_part_amt", a.hosp_part),
        ("balc", record.balance_after),
        ("acct_mulaid_pay", a.acct_mulaid),
    ];
    for (name, amount) in amounts {
        info[name] = dialect.yuan(amount);
    }
    info["pool_prop_selfpay"] = dialect.ratio(a.pool_prop);
    if record.setl_id.is_empty() {
        return Ok(info);
    }
    info["setl_id"] = Value::from(record.setl_id.as_str());
    info["medins_setl_id"] = Value::from(record.msgid.as_str());
    info["setl_time"] = Value::from(record.setl_time.format(DT19).to_string());
    info["refd_setl_flag"] = Value::from(if record.is_live() { "0" } else { "1" });
    if let Some(original) = record.undoes.and_then(|seq| core.state.settlements.get(&seq)) {
        info["init_setl_id"] = Value::from(original.setl_id.as_str());
    }
    Ok(info)
}

/// setldetail: one row per fund that pays. Accounts are no funds and have no row.
pub(super) fn detail(core: &Core, record: &Settlement) -> Value {
    let dialect = &core.config.dialect;
    let a = &record.amounts;
    let pool_name = if record.insutype == "390" {
        "城乡居民基本医疗保险基金"
    } else {
        "职工基本医疗保险统筹基金"
    };
    let funds = [
        (pool_fund_type(&record.insutype), pool_name, a.hifp),
        ("320100", "公务员医疗补助基金", a.cvlserv),
        ("370100", "企业补充医疗保险基金", a.hifes),
        ("390200", "城乡居民大病医疗保险基金", a.hifmi),
        ("330100", "职工大额医疗费用补助基金", a.hifob),
        ("610100", "医疗救助基金", a.maf),
        ("999996", "其他基金", a.oth),
    ];
    let row = |(fund_pay_type, name, amount): (&str, &str, Fen)| {
        let pool = fund_pay_type == pool_fund_type(&record.insutype);
        json!({
            "fund_pay_type": fund_pay_type,
            "fund_pay_type_name": name,
            "inscp_scp_amt": dialect.yuan(a.inscp_scp),
            "crt_payb_lmt_amt": dialect.yuan(if pool { record.cap_left } else { Fen::ZERO }),
            "fund_payamt": dialect.yuan(amount),
            "setl_proc_info": if pool { proc_info(record) } else { String::new() },
        })
    };
    Value::Array(funds.into_iter().filter(|(_, _, amount)| !amount.is_zero()).map(row).collect())
}

/// `fund_pay_type` of the pooled fund (dictionary not public; these are the values commonly seen).
pub(super) fn pool_fund_type(insutype: &str) -> &'static str {
    if insutype == "390" { "390100" } else { "310100" }
}

/// How the pool's amount came about, for people.
fn proc_info(record: &Settlement) -> String {
    let a = &record.amounts;
    format!(
        "政策范围{}，扣起付线{}，比例{}，统筹支付{}",
        a.inscp_scp.to_yuan(),
        a.act_pay_dedc.to_yuan(),
        a.pool_prop,
        a.hifp.to_yuan()
    )
}
