//! 2207 结算: the only message that spends insured money.

use chrono::Datelike;
use schema::money::Fen;
use serde_json::Value;

use super::caller::CallerKind;
use super::core::{Call, Core};
use super::pricing::{self, Ask};
use super::refusal::Refusal;
use super::setlinfo;
use super::state::{accumulated_key, message_key};

pub(super) struct Settle {
    ask: Ask,
    invono: String,
    echo: [(&'static str, Fen); 4],
}

pub(super) fn read(input: &Value) -> (Settle, Vec<String>) {
    let (ask, mut fields) = pricing::read(input);
    let settle = Settle {
        ask,
        invono: fields.text("invono", 20),
        echo: ["fulamt_ownpay_amt", "overlmt_selfpay", "preselfpay_amt", "inscp_scp_amt"]
            .map(|name| (name, fields.yuan(name))),
    };
    (settle, fields.finish())
}

pub(super) fn run(core: &mut Core, call: &Call<'_>, settle: Settle) -> Result<Value, Refusal> {
    let key = message_key(&call.head.fixmedins_code, &call.head.msgid);
    if !call.late && core.state.reversed.contains(&key) {
        return Err(Refusal::msgid_spent("该报文已冲正，不再执行 this message was reversed by 2601"));
    }
    core.may_spend(call, settle.ask.psn_no())?;
    let mut settlement = pricing::price(core, call, &settle.ask)?;
    let amounts = settlement.amounts;
    let own = [amounts.fulamt_ownpay, amounts.overlmt_selfpay, amounts.preselfpay, amounts.inscp_scp];
    let wrong: Vec<String> = settle
        .echo
        .iter()
        .zip(own)
        .filter(|((_, told), own)| told != own)
        .map(|((name, _), own)| format!("{name}应为{}", own.to_yuan()))
        .collect();
    if !wrong.is_empty() {
        let wrong = wrong.join("; ");
        return Err(Refusal::amounts_differ(format!("回传合计与中心不一致 echoed sums differ: {wrong}")));
    }

    let person_key = settlement.psn_no.clone();
    let accumulated = accumulated_key(&person_key, call.now.year(), &settlement.insutype);
    let after = core.state.accumulated.get(&accumulated).copied().unwrap_or_default().with(&amounts)?;

    settlement.invono = settle.invono;
    settlement.seq = core.state.next_number();
    settlement.setl_id = format!("{}9{:013}", settlement.clr_optins, settlement.seq);
    let output = setlinfo::output(core, &settlement)?;

    core.state.accumulated.insert(accumulated, after);
    core.record(settlement);
    Ok(output)
}

impl Core {
    /// The platform spends only what a live binding allows; a hospital's own window needs none.
    fn may_spend(&self, call: &Call<'_>, psn_no: &str) -> Result<(), Refusal> {
        let bound = |binding: &super::state::Binding| {
            !binding.ended && binding.psn_no == psn_no && binding.paasid == call.caller.paasid
        };
        if call.caller.kind == CallerKind::Platform && !self.state.bindings.values().any(bound) {
            return Err(Refusal::not_bound("未绑定线上支付 this person has no live online-payment binding"));
        }
        Ok(())
    }
}
