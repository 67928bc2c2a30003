//! 2601 冲正: "whatever that message did, let it not have been". The answer is 0 for "reversed", for "undone before"
//! and for "never arrived"; afterwards a 2207 with that msgid is refused, except where a fault says otherwise.
//!
//! Unlike 2208 it does not look at later settlements of the person: the caller does not know of its own, so it cannot
//! be told to undo another first.

use serde_json::{Value, json};

use super::core::{Call, Core, release_held};
use super::fields::Fields;
use super::refusal::Refusal;
use super::state::message_key;

pub(super) struct Reverse {
    psn_no: String,
    omsgid: String,
    oinfno: String,
}

pub(super) fn read(input: &Value) -> (Reverse, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let reverse = Reverse {
        psn_no: fields.text("psn_no", 30),
        omsgid: fields.text("omsgid", 30),
        oinfno: fields.text("oinfno", 4),
    };
    (reverse, fields.finish())
}

pub(super) fn run(core: &mut Core, call: &Call<'_>, ask: Reverse) -> Result<Value, Refusal> {
    core.person(call, &ask.psn_no)?;
    match ask.oinfno.as_str() {
        "2207" => {}
        "2208" => {
            return Err(Refusal::malformed("不支持对撤销冲正，请查询(5203) an undo cannot be reversed; ask 5203"));
        }
        other => return Err(Refusal::malformed(format!("{other}不支持冲正 cannot be reversed"))),
    }
    let key = message_key(&call.head.fixmedins_code, &ask.omsgid);
    let held = release_held(core, &key, call.now);
    let settlement = core.state.by_msgid.get(&key).and_then(|seq| core.state.settlements.get(seq));
    match settlement {
        Some(settlement) if settlement.psn_no != ask.psn_no => {
            return Err(Refusal::person("原报文不是此人的 the original message was about another person"));
        }
        Some(settlement) if settlement.is_live() => {
            let seq = settlement.seq;
            core.undo(call, seq)?;
        }
        Some(_) => {}
        None if held => {}
        None if call.not_found_is_an_error => {
            return Err(Refusal::nothing_to_reverse("未找到原报文 the original message was not found"));
        }
        None => {}
    }
    core.state.reversed.insert(key);
    Ok(json!({}))
}
