//! B001 线上支付绑定, B002 解绑. No national number exists: these are this bureau's own.
//!
//! B001 input.data: psn_cert_type, certno, psn_name, card_no, card_pwd_sealed, channel_no; output.data: bind_no,
//! psn_no, insuplc_admdvs, bind_time. `card_pwd_sealed` is what [`super::seal::seal_card_password`] makes. A person may
//! have several live bindings (one per phone or visit card); each has its own number.
//! B002 input.data: bind_no, psn_no; ending an ended binding is done.

use serde_json::{Value, json};

use super::core::{Call, Core};
use super::fields::{DT19, Fields};
use super::refusal::Refusal;
use super::state::{Binding, CardStatus};

/// So many wrong passwords in a row lock the card's password until tomorrow.
const MAX_WRONG: u32 = 5;

pub(super) struct Bind {
    psn_cert_type: String,
    certno: String,
    psn_name: String,
    card_no: String,
    card_pwd_sealed: String,
    channel_no: String,
}

pub(super) fn read_bind(input: &Value) -> (Bind, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let bind = Bind {
        psn_cert_type: fields.text("psn_cert_type", 6),
        certno: fields.text("certno", 50),
        psn_name: fields.text("psn_name", 50),
        card_no: fields.text("card_no", 32),
        card_pwd_sealed: fields.text("card_pwd_sealed", 1000),
        channel_no: fields.text("channel_no", 50),
    };
    (bind, fields.finish())
}

pub(super) fn bind(core: &mut Core, call: &Call<'_>, ask: Bind) -> Result<Value, Refusal> {
    let password = core
        .keys
        .open_card_password(&ask.card_pwd_sealed)
        .ok_or_else(|| Refusal::malformed("密码密文无法解密 card_pwd_sealed cannot be opened with the bureau's key"))?;
    let today = call.now.date_naive();
    let person = core.state.persons.values_mut().find(|person| {
        person.psn_cert_type == ask.psn_cert_type
            && person.certno == ask.certno
            && person.psn_name == ask.psn_name
            && person.card_no == ask.card_no
    });
    // One answer for every mismatch: a caller learns nothing about which part was wrong.
    let person =
        person.ok_or_else(|| Refusal::person("人员与卡信息不一致 person and card do not match the register"))?;
    if person.card_status == CardStatus::Lost {
        return Err(Refusal::card_lost("该卡已挂失 the card is reported lost"));
    }
    if person.locked_on.is_some_and(|day| day >= today) {
        return Err(Refusal::password_locked("密码已锁定，请明日再试 the password is locked until tomorrow"));
    }
    if person.locked_on.take().is_some() {
        person.wrong_passwords = 0;
    }
    if person.card_password != password {
        person.wrong_passwords += 1;
        let left = MAX_WRONG.saturating_sub(person.wrong_passwords);
        if left == 0 {
            person.locked_on = Some(today);
            return Err(Refusal::password_locked("密码错误，已锁定至明日 wrong password; locked until tomorrow"));
        }
        return Err(Refusal::wrong_password(format!("密码错误，还可再试{left}次 wrong password, {left} tries left")));
    }
    person.wrong_passwords = 0;
    let psn_no = person.psn_no.clone();
    let insuplc_admdvs = person.insurances.first().map(|i| i.insuplc_admdvs.clone()).unwrap_or_default();
    let bind_no = format!("B{:014}", core.state.next_number());
    let answer = json!({ "data": {
        "bind_no": bind_no,
        "psn_no": psn_no,
        "insuplc_admdvs": insuplc_admdvs,
        "bind_time": call.now.format(DT19).to_string(),
    } });
    let binding = Binding {
        bind_no: bind_no.clone(),
        psn_no,
        paasid: call.caller.paasid.clone(),
        channel_no: ask.channel_no,
        bind_time: call.now,
        ended: false,
    };
    core.state.bindings.insert(bind_no, binding);
    Ok(answer)
}

pub(super) struct Unbind {
    bind_no: String,
    psn_no: String,
}

pub(super) fn read_unbind(input: &Value) -> (Unbind, Vec<String>) {
    let mut fields = Fields::of(input, "data");
    let unbind = Unbind { bind_no: fields.text("bind_no", 30), psn_no: fields.text("psn_no", 30) };
    (unbind, fields.finish())
}

pub(super) fn unbind(core: &mut Core, call: &Call<'_>, ask: Unbind) -> Result<Value, Refusal> {
    let own = |binding: &&mut Binding| binding.psn_no == ask.psn_no && binding.paasid == call.caller.paasid;
    let Some(binding) = core.state.bindings.get_mut(&ask.bind_no).filter(own) else {
        return Err(Refusal::not_bound("无此绑定 no such binding of this person"));
    };
    binding.ended = true;
    Ok(json!({ "data": { "bind_no": ask.bind_no, "unbind_time": call.now.format(DT19).to_string() } }))
}
