//! The bureau's messages in the order that leads to a goal.
//!
//! A [`Procedure`] does no I/O. Whoever drives it asks [`Core::next`] what to send, sends it, and tells
//! [`Core::heard`] what came back, until it is finished. Every answer changes the bill at once, so that a procedure
//! that was cut off is taken up where it stood by the next one about the same bill.
//!
//! ```text
//! priced   (2205 2202 of another person's visit) 2201 2203 2204 2206
//! clean    2205 2202
//! window   clean, 1101, priced, 2207
//! ```
//!
//! A call without answer is repeated with the same msgid: the bureau answers a message it knows with its first answer.
//! A bureau that is busy is given [`Procedure::pause`] before it hears of this again.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use schema::ids::OrderId;
use schema::link::InsuredPerson;
use schema::personal::{MdtrtCertNo, Personal, PsnNo};
use schema::refusal::{Code, Problem, Refusal};
use schema::split::Split;
use serde_json::{Value, json};

use super::bill::{AtBureau, Batch, Bill, WindowReceipt};
use super::core::Core;
use super::message::{self, Word};

/// How often one message is sent before the bureau counts as unreachable.
const TRIES: u32 = 4;
/// Between the first two of them; twice as long each time.
const AGAIN: Duration = Duration::from_millis(200);
/// After the last of them: seconds until the whole may be asked for again.
const LATER_S: u64 = 2;

/// 个人结算方式 of this HIS: 按项目结算.
pub const PSN_SETLWAY: &str = "01";

/// What a procedure is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// A price for an order: the bill stays locked and uploaded.
    Priced {
        /// The order.
        order_id: OrderId,
        /// The insured person.
        person: InsuredPerson,
        /// 个账使用标志.
        use_account: bool,
    },
    /// Nothing of the bill left at the bureau.
    Clean,
    /// The bill paid at the window, with the institution's own 2207 for whoever is insured.
    PaidAtWindow {
        /// 个账使用标志.
        use_account: bool,
    },
}

/// One message of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Infno {
    /// 9001 签到
    SignIn,
    /// 1101 人员信息
    Person,
    /// 2201 挂号
    Register,
    /// 2203 就诊信息
    Describe,
    /// 2204 费用明细上传
    Upload,
    /// 2206 预结算
    Price,
    /// 2207 结算
    Settle,
    /// 2205 费用明细撤销
    Withdraw,
    /// 2202 挂号撤销
    Deregister,
    /// 2601 冲正 of a settlement nobody answered for
    Reverse,
}

impl Infno {
    /// The four digits.
    pub const fn as_str(self) -> &'static str {
        match self {
            Infno::SignIn => "9001",
            Infno::Person => "1101",
            Infno::Register => "2201",
            Infno::Describe => "2203",
            Infno::Upload => "2204",
            Infno::Price => "2206",
            Infno::Settle => "2207",
            Infno::Withdraw => "2205",
            Infno::Deregister => "2202",
            Infno::Reverse => "2601",
        }
    }
}

/// One call to the bureau.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which message.
    pub infno: Infno,
    /// The whole request envelope.
    pub envelope: Value,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Send this and tell the answer.
    Call(Call),
    /// The goal is reached.
    Finished(Box<Reached>),
    /// It cannot be.
    Failed(Box<Problem>),
}

/// A reached goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// This split, for the batch that the bill now has at the bureau.
    Priced {
        /// Who would pay what.
        split: Split,
    },
    /// Nothing is left at the bureau.
    Clean,
    /// Paid at the window.
    PaidAtWindow(WindowReceipt),
}

/// One procedure under way.
#[derive(Debug, Clone)]
pub struct Procedure {
    bill_no: String,
    goal: Goal,
    /// The call whose answer is still out.
    outstanding: Option<Call>,
    /// How often the present message got no answer, or "busy".
    tries: u32,
    /// The split of this procedure's own 2206.
    priced: Option<Split>,
    /// At the window: who is insured; `Some(None)` for somebody the bureau does not know.
    present: Option<Option<InsuredPerson>>,
    receipt: Option<WindowReceipt>,
    /// The 2207 to be reversed.
    unanswered_settle: Option<String>,
    /// What was left at the bureau turned out to be gone: begun anew, once.
    begun_anew: bool,
    /// This procedure found leftovers already cleaned.
    cleaned: bool,
    problem: Option<Box<Problem>>,
}

impl Procedure {
    /// A procedure about one bill.
    pub fn new(bill_no: &str, goal: Goal) -> Procedure {
        Procedure {
            bill_no: bill_no.to_owned(),
            goal,
            outstanding: None,
            tries: 0,
            priced: None,
            present: None,
            receipt: None,
            unanswered_settle: None,
            begun_anew: false,
            cleaned: false,
            problem: None,
        }
    }

    /// How long to wait before what comes next: nothing, unless the last message got no answer, or "busy".
    pub fn pause(&self) -> Duration {
        self.tries.checked_sub(1).map_or(Duration::ZERO, |before| AGAIN * 2_u32.pow(before))
    }
}

/// A refusal in the hospital's own words.
pub fn hospital_refuses(words: &str) -> Box<Problem> {
    Box::new(Refusal::new(Code::HospitalRefused, words).in_words(words).problem(None))
}

fn bureau_refuses(infno: Infno, infcode: &str, err_msg: &str) -> Box<Problem> {
    let words = format!("{} {infcode}: {err_msg}", infno.as_str());
    Box::new(Refusal::new(Code::BureauRefused, words.clone()).in_words(words).problem(None))
}

fn bureau_silent(detail: &str) -> Box<Problem> {
    Box::new(Refusal::new(Code::BureauUnreachable, detail).after_s(LATER_S).problem(None))
}

fn bureau_unreadable(infno: Infno) -> Box<Problem> {
    bureau_refuses(infno, "?", "答复无法读取 its answer cannot be read")
}

enum Step {
    Send(Infno),
    Finished(Reached),
}

impl Core {
    /// What to send next, or how the procedure ended. Asked again before an answer was heard, it gives the same call.
    pub fn next(&mut self, procedure: &mut Procedure, now: DateTime<FixedOffset>) -> Next {
        if let Some(call) = &procedure.outstanding {
            return Next::Call(call.clone());
        }
        if let Some(problem) = &procedure.problem {
            return Next::Failed(problem.clone());
        }
        let Some(bill) = self.state.bills.get(&procedure.bill_no) else {
            return Next::Failed(hospital_refuses("无此账单 no such bill"));
        };
        let step = if self.hospital.sign_in && self.sign_no(now).is_none() {
            Step::Send(Infno::SignIn)
        } else {
            step(procedure, bill, now)
        };
        match step {
            Step::Send(infno) => match self.call(procedure, infno, now) {
                Some(call) => {
                    procedure.outstanding = Some(call.clone());
                    Next::Call(call)
                }
                None => Next::Failed(hospital_refuses("账单状态异常 the bill is not in a state for this")),
            },
            Step::Finished(reached) => Next::Finished(Box::new(reached)),
        }
    }

    /// Takes in what came back for the outstanding call; `None` when nothing did.
    pub fn heard(&mut self, procedure: &mut Procedure, answer: Option<&Value>, now: DateTime<FixedOffset>) {
        let Some(call) = procedure.outstanding.take() else { return };
        let infno = call.infno;
        self.revision += 1;
        match answer.map(message::word) {
            Some(Word::Done(output)) => {
                procedure.tries = 0;
                if self.done(procedure, infno, &output, now).is_none() {
                    procedure.problem = Some(bureau_unreadable(infno));
                }
            }
            Some(Word::Refused { infcode, err_msg }) => {
                procedure.tries = 0;
                self.refused(procedure, infno, &infcode, &err_msg);
            }
            nothing_or_busy => {
                procedure.tries += 1;
                if procedure.tries < TRIES {
                    // A busy bureau has done nothing and gets a new message; silence is asked with the same one.
                    procedure.outstanding = nothing_or_busy.is_none().then_some(call);
                } else if infno == Infno::Settle {
                    procedure.tries = 0;
                    procedure.unanswered_settle = message::text(&call.envelope, "msgid");
                } else {
                    procedure.tries = 0;
                    procedure.problem = Some(bureau_silent(&format!("{} got no answer", infno.as_str())));
                }
            }
        }
    }

    fn sign_no(&self, now: DateTime<FixedOffset>) -> Option<&str> {
        let (day, sign_no) = self.state.signed_in.as_ref()?;
        (*day == now.date_naive()).then_some(sign_no.as_str())
    }

    fn call(&mut self, procedure: &Procedure, infno: Infno, now: DateTime<FixedOffset>) -> Option<Call> {
        let number = self.state.messages;
        self.state.messages = (number + 1) % message::MESSAGE_NUMBERS;
        if infno == Infno::Upload {
            self.open_batch(&procedure.bill_no)?;
        }
        let bill = self.state.bills.get(&procedure.bill_no)?;
        let (input, insuplc) = input(&self.hospital, procedure, bill, infno, now)?;
        let msgid = message::msgid(&self.hospital, now, number);
        let sign_no = self.sign_no(now).unwrap_or_default();
        let insuplc = insuplc.as_deref();
        let envelope = message::envelope(&self.hospital, infno.as_str(), &msgid, insuplc, sign_no, now, &input);
        Some(Call { infno, envelope })
    }

    /// Batch and invoice numbers are made before the upload that uses them.
    fn open_batch(&mut self, bill_no: &str) -> Option<()> {
        self.state.batches += 1;
        let number = self.state.batches;
        let visit = self.state.bills.get_mut(bill_no)?.at_bureau.as_mut()?;
        visit.batch.get_or_insert_with(|| Batch {
            chrg_bchno: format!("C{number:010}"),
            invono: format!("F{number:010}"),
            lines: Vec::new(),
        });
        Some(())
    }

    /// `None` when the answer lacks what the interface promises.
    fn done(
        &mut self,
        procedure: &mut Procedure,
        infno: Infno,
        output: &Value,
        now: DateTime<FixedOffset>,
    ) -> Option<()> {
        if infno == Infno::SignIn {
            let sign_no = message::text(output.get("signinoutb")?, "sign_no")?;
            self.state.signed_in = Some((now.date_naive(), sign_no));
            return Some(());
        }
        let bill = self.state.bills.get_mut(&procedure.bill_no)?;
        match infno {
            Infno::SignIn => {}
            Infno::Person => procedure.present = Some(insured_person(bill, output)),
            Infno::Register => {
                // Some centres answer with the bare fields, some inside a `data` node.
                let mdtrt_id = message::text(output.get("data").unwrap_or(output), "mdtrt_id")?;
                let person = wanted_person(procedure)?.clone();
                let ipt_otp_no = visit_no(bill);
                let order_id = order(procedure);
                bill.at_bureau =
                    Some(AtBureau { order_id, person, mdtrt_id, ipt_otp_no, described: false, batch: None });
            }
            Infno::Describe => bill.at_bureau.as_mut()?.described = true,
            Infno::Upload => {
                let rows = output.get("result")?.as_array()?;
                let lines = rows.iter().map(message::line_result).collect::<Option<Vec<_>>>()?;
                if lines.len() != bill.draft.lines.len() {
                    return None;
                }
                bill.at_bureau.as_mut()?.batch.as_mut()?.lines = lines;
            }
            Infno::Price => {
                let split = message::split(output.get("setlinfo")?)?;
                if !split.sums_to(bill.draft.amount_fen) {
                    return None;
                }
                procedure.priced = Some(split);
                // A visit that an earlier order opened is this order's now: releasing the earlier one leaves it alone.
                bill.at_bureau.as_mut()?.order_id = order(procedure);
            }
            Infno::Settle => {
                let setlinfo = output.get("setlinfo")?;
                let split = message::split(setlinfo)?;
                let setl_id = Some(message::text(setlinfo, "setl_id")?);
                let paid_at_us = now.timestamp_micros();
                bill.at_bureau = None;
                procedure.receipt = Some(WindowReceipt { split, setl_id, paid_at_us });
            }
            Infno::Withdraw => bill.at_bureau.as_mut()?.batch = None,
            Infno::Deregister => {
                bill.at_bureau = None;
                procedure.cleaned = true;
            }
            Infno::Reverse => {
                procedure.problem = Some(bureau_silent("2207 got no answer and was reversed"));
            }
        }
        Some(())
    }

    fn refused(&mut self, procedure: &mut Procedure, infno: Infno, infcode: &str, err_msg: &str) {
        let Some(bill) = self.state.bills.get_mut(&procedure.bill_no) else { return };
        match (infno, infcode) {
            // Gone already: what was wanted.
            (Infno::Withdraw, "2002") => {
                if let Some(visit) = bill.at_bureau.as_mut() {
                    visit.batch = None;
                }
            }
            (Infno::Deregister, "2002") => {
                bill.at_bureau = None;
                procedure.cleaned = true;
            }
            // Gone, although it is needed; or there already, although it is not ours: a new visit.
            (Infno::Register | Infno::Describe | Infno::Upload | Infno::Price, "2002" | "2003")
                if !procedure.begun_anew =>
            {
                procedure.begun_anew = true;
                bill.lost_visits += 1;
                bill.at_bureau = None;
            }
            // At the window somebody the bureau does not insure pays the whole.
            (Infno::Person, "2001") => procedure.present = Some(None),
            (_, "1003") if !procedure.begun_anew => {
                procedure.begun_anew = true;
                self.state.signed_in = None;
            }
            _ => procedure.problem = Some(bureau_refuses(infno, infcode, err_msg)),
        }
    }
}

fn step(procedure: &Procedure, bill: &Bill, now: DateTime<FixedOffset>) -> Step {
    match &procedure.goal {
        Goal::Clean => clean_step(bill),
        Goal::Priced { person, .. } => toward_price(procedure, bill, person),
        Goal::PaidAtWindow { .. } => window_step(procedure, bill, now),
    }
}

fn clean_step(bill: &Bill) -> Step {
    match &bill.at_bureau {
        None => Step::Finished(Reached::Clean),
        Some(AtBureau { batch: Some(_), .. }) => Step::Send(Infno::Withdraw),
        Some(_) => Step::Send(Infno::Deregister),
    }
}

fn toward_price(procedure: &Procedure, bill: &Bill, person: &InsuredPerson) -> Step {
    match &bill.at_bureau {
        None => Step::Send(Infno::Register),
        Some(visit) if visit.person != *person => clean_step(bill),
        Some(visit) if !visit.described => Step::Send(Infno::Describe),
        Some(AtBureau { batch: Some(batch), .. }) if !batch.lines.is_empty() => match procedure.priced {
            Some(split) => Step::Finished(Reached::Priced { split }),
            None => Step::Send(Infno::Price),
        },
        Some(_) => Step::Send(Infno::Upload),
    }
}

fn window_step(procedure: &Procedure, bill: &Bill, now: DateTime<FixedOffset>) -> Step {
    if let Some(receipt) = &procedure.receipt {
        return Step::Finished(Reached::PaidAtWindow(receipt.clone()));
    }
    if procedure.unanswered_settle.is_some() {
        return Step::Send(Infno::Reverse);
    }
    let Some(present) = &procedure.present else {
        // What an order left behind goes first: its batch would collide with the window's.
        return match clean_step(bill) {
            Step::Finished(_) => Step::Send(Infno::Person),
            other => other,
        };
    };
    let Some(person) = present else {
        let split = Split::all_cash(bill.draft.amount_fen);
        let receipt = WindowReceipt { split, setl_id: None, paid_at_us: now.timestamp_micros() };
        return Step::Finished(Reached::PaidAtWindow(receipt));
    };
    match toward_price(procedure, bill, person) {
        Step::Finished(_) => Step::Send(Infno::Settle),
        other => other,
    }
}

fn wanted_person(procedure: &Procedure) -> Option<&InsuredPerson> {
    match &procedure.goal {
        Goal::Priced { person, .. } => Some(person),
        Goal::PaidAtWindow { .. } => procedure.present.as_ref()?.as_ref(),
        Goal::Clean => None,
    }
}

fn order(procedure: &Procedure) -> Option<OrderId> {
    match &procedure.goal {
        Goal::Priced { order_id, .. } => Some(*order_id),
        Goal::PaidAtWindow { .. } | Goal::Clean => None,
    }
}

fn use_account(procedure: &Procedure) -> bool {
    match &procedure.goal {
        Goal::Priced { use_account, .. } | Goal::PaidAtWindow { use_account } => *use_account,
        Goal::Clean => false,
    }
}

/// The visit number to register under: free at the bureau unless a registration's answer was lost in a crash.
fn visit_no(bill: &Bill) -> String {
    let own = &bill.draft.visit.ipt_otp_no;
    if bill.lost_visits == 0 { own.clone() } else { format!("{own}-{}", bill.lost_visits) }
}

/// Reads 1101: the first insurance that is not paused; the identity number as certificate. `None` for nobody insured.
fn insured_person(bill: &Bill, output: &Value) -> Option<InsuredPerson> {
    let psn_no = message::text(output.get("baseinfo")?, "psn_no")?;
    let insurances = output.get("insuinfo")?.as_array()?;
    let live = |row: &&Value| message::text(row, "psn_insu_stas").is_none_or(|status| status == "1");
    let insurance = insurances.iter().find(live)?;
    Some(InsuredPerson {
        psn_no: PsnNo::new(psn_no),
        insutype: message::text(insurance, "insutype")?,
        insuplc_admdvs: message::text(insurance, "insuplc_admdvs")?,
        mdtrt_cert_type: "02".to_owned(),
        mdtrt_cert_no: MdtrtCertNo::new(bill.draft.patient.certno.as_ref()?.expose()),
    })
}

/// The input node of one message, and the insured area that its envelope must name.
fn input(
    hospital: &super::Hospital,
    procedure: &Procedure,
    bill: &Bill,
    infno: Infno,
    now: DateTime<FixedOffset>,
) -> Option<(Value, Option<String>)> {
    let draft = &bill.draft;
    let time = message::wire_time(now);
    if infno == Infno::SignIn {
        let input = json!({"signIn": {"opter_no": "HIS01", "mac": "00-00-00-00-00-00", "ip": "127.0.0.1"}});
        return Some((input, None));
    }
    if infno == Infno::Person {
        let patient = &draft.patient;
        let (certno, psn_name) = (patient.certno.as_ref()?, patient.psn_name.as_ref()?);
        let data = json!({
            "mdtrt_cert_type": "02",
            "mdtrt_cert_no": certno.expose(),
            "card_sn": "",
            "begntime": time,
            "psn_cert_type": patient.psn_cert_type,
            "certno": certno.expose(),
            "psn_name": psn_name.expose(),
        });
        return Some((json!({ "data": data }), None));
    }
    if infno == Infno::Register {
        let person = wanted_person(procedure)?;
        let visit = &draft.visit;
        let data = json!({
            "psn_no": person.psn_no.expose(),
            "insutype": person.insutype,
            "begntime": time,
            "mdtrt_cert_type": person.mdtrt_cert_type,
            "mdtrt_cert_no": person.mdtrt_cert_no.expose(),
            "ipt_otp_no": visit_no(bill),
            "atddr_no": visit.atddr_no,
            "dr_name": visit.dr_name,
            "dept_code": visit.dept_code,
            "dept_name": visit.dept_name,
            "caty": visit.dept_code,
        });
        return Some((json!({ "data": data }), Some(person.insuplc_admdvs.clone())));
    }
    let visit = bill.at_bureau.as_ref()?;
    let psn_no = visit.person.psn_no.expose();
    let mdtrt_id = visit.mdtrt_id.as_str();
    let input = match infno {
        Infno::SignIn | Infno::Person | Infno::Register => return None,
        Infno::Describe => describe(bill, visit, &time),
        Infno::Upload => upload(hospital, bill, visit, &time)?,
        Infno::Price => json!({ "data": settlement(procedure, bill, visit)? }),
        Infno::Settle => {
            let mut data = settlement(procedure, bill, visit)?;
            let batch = visit.batch.as_ref()?;
            let [fulamt_ownpay, overlmt, preselfpay, inscp_scp] = batch.sums()?;
            data["invono"] = json!(batch.invono);
            data["fulamt_ownpay_amt"] = json!(fulamt_ownpay.to_yuan());
            data["overlmt_selfpay"] = json!(overlmt.to_yuan());
            data["preselfpay_amt"] = json!(preselfpay.to_yuan());
            data["inscp_scp_amt"] = json!(inscp_scp.to_yuan());
            json!({ "data": data })
        }
        Infno::Withdraw => {
            let chrg_bchno = visit.batch.as_ref()?.chrg_bchno.as_str();
            json!({"data": {"mdtrt_id": mdtrt_id, "chrg_bchno": chrg_bchno, "psn_no": psn_no}})
        }
        Infno::Deregister => {
            json!({"data": {"psn_no": psn_no, "mdtrt_id": mdtrt_id, "ipt_otp_no": visit.ipt_otp_no}})
        }
        Infno::Reverse => {
            let omsgid = procedure.unanswered_settle.as_deref()?;
            json!({"data": {"psn_no": psn_no, "omsgid": omsgid, "oinfno": "2207"}})
        }
    };
    Some((input, Some(visit.person.insuplc_admdvs.clone())))
}

fn describe(bill: &Bill, visit: &AtBureau, time: &str) -> Value {
    let draft = &bill.draft;
    let main = draft.diagnoses.first();
    let diseinfo: Vec<Value> = draft
        .diagnoses
        .iter()
        .map(|row| {
            json!({
                "diag_type": row.diag_type,
                "diag_srt_no": row.diag_srt_no,
                "diag_code": row.diag_code.expose(),
                "diag_name": row.diag_name.expose(),
                "diag_dept": draft.visit.dept_name,
                "dise_dor_no": draft.visit.atddr_no,
                "dise_dor_name": draft.visit.dr_name,
                "diag_time": time,
                "vali_flag": "1",
            })
        })
        .collect();
    json!({
        "mdtrtinfo": {
            "mdtrt_id": visit.mdtrt_id,
            "psn_no": visit.person.psn_no.expose(),
            "med_type": draft.visit.med_type,
            "begntime": time,
            "main_cond_dscr": "",
            "dise_codg": draft.visit.dise_codg.as_ref().map_or("", Personal::expose),
            "dise_name": main.map_or("", |row| row.diag_name.expose()),
            "birctrl_type": "",
            "birctrl_matn_date": "",
        },
        "diseinfo": diseinfo,
    })
}

fn upload(hospital: &super::Hospital, bill: &Bill, visit: &AtBureau, time: &str) -> Option<Value> {
    let chrg_bchno = visit.batch.as_ref()?.chrg_bchno.as_str();
    let draft = &bill.draft;
    let lines: Vec<Value> = draft
        .lines
        .iter()
        .map(|line| {
            json!({
                "feedetl_sn": line.feedetl_sn,
                "mdtrt_id": visit.mdtrt_id,
                "psn_no": visit.person.psn_no.expose(),
                "chrg_bchno": chrg_bchno,
                "dise_codg": draft.visit.dise_codg.as_ref().map_or("", Personal::expose),
                "rxno": line.rxno.as_deref().unwrap_or_default(),
                "rx_circ_flag": line.rx_circ_flag,
                "fee_ocur_time": time,
                "med_list_codg": line.med_list_codg.as_deref().unwrap_or_default(),
                "medins_list_codg": line.medins_list_codg,
                "det_item_fee_sumamt": line.amount_fen.to_yuan(),
                "cnt": line.cnt.to_string(),
                "pric": line.pric.to_string(),
                "sin_dos_dscr": "",
                "used_frqu_dscr": "",
                "prd_days": line.prd_days.map(|days| days.to_string()).unwrap_or_default(),
                "medc_way_dscr": "",
                "bilg_dept_codg": draft.visit.dept_code,
                "bilg_dept_name": draft.visit.dept_name,
                "bilg_dr_codg": draft.visit.atddr_no,
                "bilg_dr_name": draft.visit.dr_name,
                "acord_dept_codg": draft.visit.dept_code,
                "acord_dept_name": draft.visit.dept_name,
                "orders_dr_code": draft.visit.atddr_no,
                "orders_dr_name": draft.visit.dr_name,
                "hosp_appr_flag": line.hosp_appr_flag,
                "tcmdrug_used_way": "",
                "etip_flag": "0",
                "etip_hosp_code": hospital.code,
                "dscg_tkdrug_flag": "0",
                "matn_fee_flag": "0",
            })
        })
        .collect();
    Some(json!({ "feedetail": lines }))
}

/// What 2206 and 2207 have in common.
fn settlement(procedure: &Procedure, bill: &Bill, visit: &AtBureau) -> Option<Value> {
    let person = &visit.person;
    Some(json!({
        "psn_no": person.psn_no.expose(),
        "mdtrt_cert_type": person.mdtrt_cert_type,
        "mdtrt_cert_no": person.mdtrt_cert_no.expose(),
        "med_type": bill.draft.visit.med_type,
        "medfee_sumamt": bill.draft.amount_fen.to_yuan(),
        "psn_setlway": PSN_SETLWAY,
        "mdtrt_id": visit.mdtrt_id,
        "chrg_bchno": visit.batch.as_ref()?.chrg_bchno,
        "acct_used_flag": if use_account(procedure) { "1" } else { "0" },
        "insutype": person.insutype,
    }))
}
