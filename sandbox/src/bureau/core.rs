//! The core: one envelope in, one envelope out. Time, keys and faults are handed in.

use std::sync::Arc;

use chrono::{DateTime, Duration, FixedOffset};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::caller::{Caller, Institution};
use super::catalogue::Catalogue;
use super::config::{City, Config, Latency};
use super::envelope::{self, Head};
use super::refusal::Refusal;
use super::seal::Keys;
use super::state::{CardStatus, Due, Insurance, Late, Message, Person, State, Visit, message_key};
use super::{b001, t1101, t2001, t2201, t2203, t2204, t2206, t2207, t2208, t2601, t5203, t9001};
use crate::fault::Fault;

/// The bureau. Everything it knows is in here; the caller owns it and decides when to save it.
#[derive(Clone)]
pub struct Core {
    pub(super) config: Arc<Config>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) keys: Keys,
    pub(super) state: State,
    revision: u64,
}

/// What is written to disk: keys and state. Settings and catalogue come anew at every start.
#[derive(Clone, Serialize, Deserialize)]
pub struct Saved {
    keys: Keys,
    state: State,
}

/// What a caller gets to see of a call under a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reception {
    /// This answer, after so many milliseconds.
    Answer {
        /// The response envelope.
        envelope: Value,
        /// Milliseconds to wait before it is sent.
        after_ms: u64,
    },
    /// Nothing: the connection breaks.
    NoAnswer,
}

/// One call as the messages' files see it.
pub(super) struct Call<'a> {
    pub(super) caller: &'a Caller,
    pub(super) head: &'a Head,
    pub(super) infno: &'a str,
    pub(super) now: DateTime<FixedOffset>,
    /// Executes although its message was reversed.
    pub(super) late: bool,
    /// Settles with another split than it priced.
    pub(super) differ: bool,
    /// A 2601 about something unknown is an error.
    pub(super) not_found_is_an_error: bool,
}

/// Messages that change something: remembered by msgid.
const CHANGING: [&str; 9] = ["2201", "2202", "2203", "2204", "2205", "2207", "2208", "B001", "B002"];

impl Core {
    /// An empty bureau.
    pub fn new(config: Config, catalogue: Arc<Catalogue>, keys: Keys) -> Core {
        Core { config: Arc::new(config), catalogue, keys, state: State::default(), revision: 0 }
    }

    /// A bureau that goes on where [`Core::saved`] was.
    pub fn restored(config: Config, catalogue: Arc<Catalogue>, saved: Saved) -> Core {
        Core { config: Arc::new(config), catalogue, keys: saved.keys, state: saved.state, revision: 0 }
    }

    /// What to write to disk.
    pub fn saved(&self) -> Saved {
        Saved { keys: self.keys.clone(), state: self.state.clone() }
    }

    /// Rises with everything that may have changed the state; equal numbers mean there is nothing to save.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn touched(&mut self) {
        self.revision += 1;
    }

    /// The bureau's keys, for their public halves and for signing notices.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The catalogue it rules by.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// Its settings.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Makes it slow, or quick again, and bounds how many messages it takes at once.
    pub fn set_latency(&mut self, latency: Latency) {
        Arc::make_mut(&mut self.config).latency = latency;
    }

    /// Everything it remembers, to look at.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Does what one message asks and answers with the whole response envelope. `now` is the bureau's clock.
    ///
    /// Never fails: whatever is wrong is an envelope with infcode ≠ 0 (see [`super::refusal`]). A changing message
    /// sent again with the same msgid and content gets its first answer again; with other content it is refused.
    pub fn handle(&mut self, caller: &Caller, infno: &str, envelope: &Value, now: DateTime<FixedOffset>) -> Value {
        self.execute(caller, infno, envelope, now, None, false)
    }

    /// [`Core::handle`] as it goes under a fault. The caller consults [`crate::fault::Faults::strike`] with `infno`
    /// and the psn_no ([`envelope::psn_no`]), keeps `after_ms`, breaks the connection on [`Reception::NoAnswer`], and
    /// calls [`Core::run_due`] when [`Core::next_due`] comes.
    pub fn receive(
        &mut self,
        caller: &Caller,
        infno: &str,
        envelope: &Value,
        now: DateTime<FixedOffset>,
        fault: Option<&Fault>,
    ) -> Reception {
        let put_off = |due| Late { caller: caller.clone(), infno: infno.to_owned(), envelope: envelope.clone(), due };
        let answer = |envelope| Reception::Answer { envelope, after_ms: 0 };
        match fault {
            Some(Fault::Delay { delay_ms }) => {
                let envelope = self.handle(caller, infno, envelope, now);
                Reception::Answer { envelope, after_ms: *delay_ms }
            }
            Some(Fault::Refuse { code, message }) => {
                let infcode = code.parse().ok().filter(|code| *code != 0).unwrap_or(-1);
                answer(self.respond(envelope, now, Err(Refusal { infcode, message: message.clone() })))
            }
            Some(Fault::Busy) => answer(self.respond(envelope, now, Err(Refusal::busy()))),
            Some(Fault::DoButDoNotAnswer) => {
                self.handle(caller, infno, envelope, now);
                Reception::NoAnswer
            }
            Some(Fault::AnswerButDoNotDo) => {
                let mut shadow = self.clone();
                let envelope = shadow.handle(caller, infno, envelope, now);
                // The numbers it gave out are gone: no later record may carry them.
                self.state.counter = shadow.state.counter;
                answer(envelope)
            }
            Some(Fault::LateCommit { delay_ms }) => {
                self.state.late.push(put_off(Due::At(later(now, *delay_ms))));
                self.touched();
                Reception::NoAnswer
            }
            Some(Fault::ExecuteAfterReversal { delay_ms }) if infno == "2207" => {
                self.state.late.push(put_off(Due::AfterReversal { delay_ms: *delay_ms }));
                self.touched();
                Reception::NoAnswer
            }
            Some(Fault::NeitherDoNorAnswer | Fault::ExecuteAfterReversal { .. }) => Reception::NoAnswer,
            Some(Fault::Differ | Fault::NotFoundIsAnError) => {
                answer(self.execute(caller, infno, envelope, now, fault, false))
            }
            Some(Fault::Duplicate) => {
                self.handle(caller, infno, envelope, now);
                answer(self.handle(caller, infno, envelope, now))
            }
            Some(Fault::NeverNotify) | None => answer(self.handle(caller, infno, envelope, now)),
        }
    }

    /// When the next late call is due; none when nothing waits for the clock.
    pub fn next_due(&self) -> Option<DateTime<FixedOffset>> {
        let at = |late: &Late| match late.due {
            Due::At(at) => Some(at),
            Due::AfterReversal { .. } => None,
        };
        self.state.late.iter().filter_map(at).min()
    }

    /// Executes every late call that is due, in the order they came, and gives their answers, which nobody hears.
    pub fn run_due(&mut self, now: DateTime<FixedOffset>) -> Vec<Value> {
        let is_due = |late: &Late| matches!(late.due, Due::At(at) if at <= now);
        let due: Vec<Late> = self.state.late.extract_if(.., |late| is_due(late)).collect();
        due.iter().map(|late| self.execute(&late.caller, &late.infno, &late.envelope, now, None, true)).collect()
    }

    /// A response that no message's file writes: refusals from before the core.
    pub fn respond(&mut self, envelope: &Value, now: DateTime<FixedOffset>, result: Result<Value, Refusal>) -> Value {
        let admdvs = envelope.get("mdtrtarea_admvs").and_then(Value::as_str).unwrap_or("000000").to_owned();
        let serial = self.state.next_number();
        envelope::response(&self.config.dialect, &admdvs, serial, now, result)
    }

    fn execute(
        &mut self,
        caller: &Caller,
        infno: &str,
        envelope: &Value,
        now: DateTime<FixedOffset>,
        fault: Option<&Fault>,
        late: bool,
    ) -> Value {
        self.touched();
        let (head, faults) = envelope::read_head(infno, envelope);
        let call = Call {
            caller,
            head: &head,
            infno,
            now,
            late,
            differ: fault == Some(&Fault::Differ),
            not_found_is_an_error: self.config.dialect.not_found_is_an_error
                || fault == Some(&Fault::NotFoundIsAnError),
        };
        let remembered = CHANGING.contains(&infno) && faults.is_empty();
        let key = message_key(&head.fixmedins_code, &head.msgid);
        let digest = if remembered { content_digest(infno, &envelope["input"]) } else { String::new() };
        if remembered
            && self.may_call(&call).is_ok()
            && let Some(message) = self.state.messages.get(&key)
            && (late || !self.state.reversed.contains(&key))
        {
            if message.digest == digest {
                return message.answer.clone();
            }
            let spent = "报文ID已用于其他内容 this msgid was used with other content";
            return self.respond(envelope, now, Err(Refusal::msgid_spent(spent)));
        }
        let result = self.dispatch(&call, &envelope["input"], faults);
        let done = result.is_ok();
        let answer = self.respond(envelope, now, result);
        if remembered && done {
            self.state.messages.insert(key, Message { digest, answer: answer.clone() });
        }
        answer
    }

    fn dispatch(&mut self, call: &Call<'_>, input: &Value, faults: Vec<String>) -> Result<Value, Refusal> {
        match call.infno {
            "9001" => self.run(call, input, faults, t9001::read_in, t9001::sign_in),
            "9002" => self.run(call, input, faults, t9001::read_out, t9001::sign_out),
            "1101" => self.run(call, input, faults, t1101::read, t1101::run),
            "2001" => self.run(call, input, faults, t2001::read, t2001::run),
            "2201" => self.run(call, input, faults, t2201::read, t2201::register),
            "2202" => self.run(call, input, faults, t2201::read_cancel, t2201::cancel),
            "2203" => self.run(call, input, faults, t2203::read, t2203::run),
            "2204" => self.run(call, input, faults, t2204::read, t2204::upload),
            "2205" => self.run(call, input, faults, t2204::read_withdraw, t2204::withdraw),
            "2206" => self.run(call, input, faults, t2206::read, t2206::run),
            "2207" => self.run(call, input, faults, t2207::read, t2207::run),
            "2208" => self.run(call, input, faults, t2208::read, t2208::run),
            "2601" => self.run(call, input, faults, t2601::read, t2601::run),
            "5203" => self.run(call, input, faults, t5203::read, t5203::run),
            "B001" => self.run(call, input, faults, b001::read_bind, b001::bind),
            "B002" => self.run(call, input, faults, b001::read_unbind, b001::unbind),
            other => Err(Refusal::malformed(format!("未知交易编号{other} unknown infno"))),
        }
    }

    /// Reads the input even when the head is faulty, so that one answer lists everything that is wrong.
    fn run<I>(
        &mut self,
        call: &Call<'_>,
        input: &Value,
        mut faults: Vec<String>,
        read: fn(&Value) -> (I, Vec<String>),
        act: fn(&mut Core, &Call<'_>, I) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let (read, more) = read(input);
        // A head without input has said so already.
        if input.is_object() {
            faults.extend(more);
        }
        if !faults.is_empty() {
            return Err(Refusal::malformed(faults.join("; ")));
        }
        self.may_call(call)?;
        if self.config.dialect.sign_in_required && call.infno != "9001" {
            self.signed_in(call)?;
        }
        act(self, call, read)
    }

    fn may_call(&self, call: &Call<'_>) -> Result<(), Refusal> {
        let code = &call.head.fixmedins_code;
        if !call.caller.institutions.contains(code) {
            return Err(Refusal::not_yours(format!("无权代表机构{code} this caller may not speak for {code}")));
        }
        let institution = self.institution(code)?;
        if institution.admdvs != call.head.mdtrtarea_admvs {
            let admdvs = &institution.admdvs;
            return Err(Refusal::malformed(format!(
                "报文.mdtrtarea_admvs应为{admdvs} the institution lies in {admdvs}"
            )));
        }
        Ok(())
    }

    fn signed_in(&self, call: &Call<'_>) -> Result<(), Refusal> {
        let sign_in = call.head.sign_no.as_ref().and_then(|sign_no| self.state.sign_ins.get(sign_no));
        let good = sign_in.is_some_and(|sign_in| {
            sign_in.fixmedins_code == call.head.fixmedins_code && sign_in.day == call.now.date_naive()
        });
        if good { Ok(()) } else { Err(Refusal::not_signed_in("未签到或签到已失效 sign in (9001) first")) }
    }

    pub(super) fn institution(&self, code: &str) -> Result<&Institution, Refusal> {
        let unknown = || Refusal::not_yours(format!("机构{code}未登记 institution {code} is not registered"));
        self.state.institutions.get(code).ok_or_else(unknown)
    }

    /// The person a message speaks about; insuplc_admdvs must be one of theirs.
    pub(super) fn person(&self, call: &Call<'_>, psn_no: &str) -> Result<&Person, Refusal> {
        let person = self.state.persons.get(psn_no).ok_or_else(|| Refusal::person("查无此人 no such psn_no"))?;
        let insuplc = call.head.insuplc_admdvs.as_deref().unwrap_or_default();
        if person.insurances.iter().any(|insurance| insurance.insuplc_admdvs == insuplc) {
            Ok(person)
        } else {
            Err(Refusal::person("参保地区划与人员不符 insuplc_admdvs is not this person's"))
        }
    }

    /// A live insurance of a person, with the city whose policy it follows.
    pub(super) fn insurance<'a>(
        &'a self,
        person: &'a Person,
        insutype: &str,
    ) -> Result<(&'a Insurance, &'a City), Refusal> {
        let insurance = person.insurances.iter().find(|insurance| insurance.insutype == insutype && !insurance.paused);
        let insurance = insurance.ok_or_else(|| {
            Refusal::person(format!("未参保险种{insutype}或已暂停 not insured under {insutype}, or paused"))
        })?;
        let city = self.config.city_of(&insurance.insuplc_admdvs);
        let city = city.ok_or_else(|| Refusal::person("参保地不由本核心受理 not an insured area of this bureau"))?;
        Ok((insurance, city))
    }

    /// The certificate shown must be the person's; a lost card is none.
    pub(super) fn certificate(&self, person: &Person, cert_type: &str, cert_no: &str) -> Result<(), Refusal> {
        let own = match cert_type {
            "02" => cert_no == person.certno,
            "03" if person.card_status == CardStatus::Lost => {
                return Err(Refusal::card_lost("该卡已挂失 the card is reported lost"));
            }
            "03" => cert_no == person.card_no,
            _ => return Err(Refusal::person("凭证类型不受理 this certificate type is not accepted here")),
        };
        if own {
            Ok(())
        } else {
            Err(Refusal::person("就诊凭证与人员不符 the certificate is not this person's"))
        }
    }

    /// A visit of this institution and person that was not cancelled.
    pub(super) fn visit(&self, call: &Call<'_>, mdtrt_id: &str, psn_no: &str) -> Result<&Visit, Refusal> {
        let visit = self.state.visits.get(mdtrt_id).filter(|visit| visit.fixmedins_code == call.head.fixmedins_code);
        let visit = visit.ok_or_else(|| Refusal::not_found("无此就诊记录 no such visit at this institution"))?;
        if visit.psn_no != psn_no {
            return Err(Refusal::person("就诊记录不是此人的 the visit is another person's"));
        }
        if visit.cancelled {
            return Err(Refusal::not_found("该挂号已撤销 the visit was cancelled"));
        }
        Ok(visit)
    }
}

fn later(now: DateTime<FixedOffset>, delay_ms: u64) -> DateTime<FixedOffset> {
    let delay = i64::try_from(delay_ms).ok().and_then(Duration::try_milliseconds).unwrap_or_default();
    now.checked_add_signed(delay).unwrap_or(now)
}

/// Late calls that wait for the reversal of this message start their clock. Answers whether there were any.
pub(super) fn release_held(core: &mut Core, key: &str, now: DateTime<FixedOffset>) -> bool {
    let mut any = false;
    for late in &mut core.state.late {
        let text = |name: &str| late.envelope.get(name).and_then(Value::as_str).unwrap_or_default();
        if let Due::AfterReversal { delay_ms } = late.due
            && message_key(text("fixmedins_code"), text("msgid")) == key
        {
            late.due = Due::At(later(now, delay_ms));
            any = true;
        }
    }
    any
}

/// SHA-256 over number and input with sorted keys: the same content however it was written down.
fn content_digest(infno: &str, input: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                let mut entries: Vec<_> = object.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                json!(entries)
            }
            Value::Array(array) => Value::Array(array.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    hex::encode(digest(&SHA256, format!("{infno}{}", sorted(input)).as_bytes()))
}
