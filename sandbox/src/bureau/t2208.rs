//! 2208 结算撤销: undoes a settlement whose setl_id is known. Last in, first out per person.

use serde_json::Value;

use super::core::{Call, Core};
use super::fields::Fields;
use super::refusal::Refusal;
use super::setlinfo;

pub(super) struct Undo {
    setl_id: String,
    mdtrt_id: String,
    psn_no: String,
}

pub(super) fn read(input: &Value) -> (Undo, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let undo = Undo {
        setl_id: fields.text("setl_id", 30),
        mdtrt_id: fields.text("mdtrt_id", 30),
        psn_no: fields.text("psn_no", 30),
    };
    (undo, fields.finish())
}

pub(super) fn run(core: &mut Core, call: &Call<'_>, ask: Undo) -> Result<Value, Refusal> {
    core.person(call, &ask.psn_no)?;
    let settlement = core.state.by_setl_id.get(&ask.setl_id).and_then(|seq| core.state.settlements.get(seq));
    let settlement = settlement.filter(|settlement| {
        settlement.fixmedins_code == call.head.fixmedins_code
            && settlement.mdtrt_id == ask.mdtrt_id
            && settlement.psn_no == ask.psn_no
    });
    let settlement = settlement.ok_or_else(|| {
        Refusal::not_found("无此结算，或与就诊、人员不符 no such settlement of this visit and person here")
    })?;
    if settlement.undoes.is_some() {
        return Err(Refusal::already_undone("该记录本身是撤销 this record is an undo itself"));
    }
    if settlement.undone_by.is_some() {
        return Err(Refusal::already_undone("该结算已撤销 this settlement is undone already"));
    }
    if let Some(later) = core.later_live(settlement) {
        let later = &later.setl_id;
        return Err(Refusal::later_settlement(format!(
            "存在后续结算{later}，请先撤销 undo the later settlement first"
        )));
    }
    let seq = settlement.seq;
    let undo = core.undo(call, seq)?;
    setlinfo::output(core, &undo)
}
