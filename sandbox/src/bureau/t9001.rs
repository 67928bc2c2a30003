//! 9001 签到, 9002 签退.

use serde_json::{Value, json};

use super::core::{Call, Core};
use super::fields::{DT19, Fields};
use super::refusal::Refusal;
use super::state::SignIn;

pub(super) fn read_in(input: &Value) -> ((), Vec<String>) {
    let mut fields = Fields::of(input, "signIn");
    fields.text("opter_no", 20);
    fields.optional("mac", 20);
    fields.optional("ip", 20);
    ((), fields.finish())
}

pub(super) fn sign_in(core: &mut Core, call: &Call<'_>, (): ()) -> Result<Value, Refusal> {
    let day = call.now.date_naive();
    let sign_no = format!("{}{:010}", call.now.format("%Y%m%d"), core.state.next_number());
    // Yesterday's numbers are good for nothing any more.
    core.state.sign_ins.retain(|_, sign_in| sign_in.day >= day);
    let sign_in = SignIn { fixmedins_code: call.head.fixmedins_code.clone(), day };
    core.state.sign_ins.insert(sign_no.clone(), sign_in);
    Ok(json!({ "signinoutb": { "sign_time": call.now.format(DT19).to_string(), "sign_no": sign_no } }))
}

pub(super) fn read_out(input: &Value) -> (String, Vec<String>) {
    let mut fields = Fields::of(input, "signOut");
    let sign_no = fields.text("sign_no", 30);
    fields.text("opter_no", 20);
    (sign_no, fields.finish())
}

pub(super) fn sign_out(core: &mut Core, call: &Call<'_>, sign_no: String) -> Result<Value, Refusal> {
    let own = core.state.sign_ins.get(&sign_no).is_some_and(|s| s.fixmedins_code == call.head.fixmedins_code);
    if !own {
        return Err(Refusal::not_signed_in("签到流水号无效 no such sign_no at this institution"));
    }
    core.state.sign_ins.remove(&sign_no);
    Ok(json!({ "signinoutb": { "sign_time": call.now.format(DT19).to_string() } }))
}
