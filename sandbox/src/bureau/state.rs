//! What the bureau remembers. Everything is ordered, everything can be written to one file.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, FixedOffset, NaiveDate};
use schema::money::{Fen, Price6, Qty4};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::caller::{Caller, CallerKind, HospLevel, Institution};
use super::lines::LineSplit;
use super::policy::{Accumulated, Amounts};

/// Is the insurance card usable? `baseinfo.card_stas` of 1101: 1 normal, 2 lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardStatus {
    /// 正常.
    Normal,
    /// 挂失.
    Lost,
}

/// One `insuinfo` row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insurance {
    /// 310, 390 …
    pub insutype: String,
    /// 1101 在职, 1201 退休, 1501 居民 …
    pub psn_type: String,
    /// 参保地区划, 6 digits.
    pub insuplc_admdvs: String,
    /// A civil servant (`cvlserv_flag`).
    #[serde(default)]
    pub cvlserv: bool,
    /// `psn_insu_stas` is 1 (insured) or 2 (paused).
    #[serde(default)]
    pub paused: bool,
}

/// An insured person with card and account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// 个人编号.
    pub psn_no: String,
    /// 01 identity card …
    pub psn_cert_type: String,
    /// Its number.
    pub certno: String,
    /// Name.
    pub psn_name: String,
    /// 1 male, 2 female.
    pub gend: String,
    /// Birthday.
    pub brdy: NaiveDate,
    /// Insurance card number.
    pub card_no: String,
    /// The card's payment password.
    pub card_password: String,
    /// Of the card.
    pub card_status: CardStatus,
    /// Wrong passwords in a row.
    pub wrong_passwords: u32,
    /// The password is locked while this is today or later.
    pub locked_on: Option<NaiveDate>,
    /// At least one.
    pub insurances: Vec<Insurance>,
    /// Personal account now, fen.
    pub balance: Fen,
    /// Personal account when the person was created, fen; the books are proved from it.
    pub opening_balance: Fen,
    /// Persons whose account this person may use (共济), in order of use.
    pub relatives: Vec<String>,
}

/// A 9001.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// Which institution.
    pub fixmedins_code: String,
    /// The day it is good for.
    pub day: NaiveDate,
}

/// One uploaded fee line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Unique inside a visit.
    pub feedetl_sn: String,
    /// Its batch.
    pub chrg_bchno: String,
    /// National code; none for an all self-pay line.
    pub med_list_codg: Option<String>,
    /// `det_item_fee_sumamt`.
    pub amount: Fen,
    /// Quantity.
    pub cnt: Qty4,
    /// Unit price.
    pub pric: Price6,
    /// What 2204 answered.
    pub split: LineSplit,
    /// The live settlement that took it.
    pub settled_by: Option<u64>,
}

/// A registered visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// The handle of the visit.
    pub mdtrt_id: String,
    /// Who is treated.
    pub psn_no: String,
    /// Under which insurance.
    pub insutype: String,
    /// Where.
    pub fixmedins_code: String,
    /// The hospital's own number of it.
    pub ipt_otp_no: String,
    /// Set by 2203; lines are refused before.
    pub med_type: Option<String>,
    /// 2202 was done.
    pub cancelled: bool,
    /// By `feedetl_sn`.
    pub lines: BTreeMap<String, Line>,
}

/// Money taken from one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// Whose account.
    pub psn_no: String,
    /// How much, fen; negative in an undo.
    pub amount: Fen,
}

/// A settlement, or the undo of one. Never edited, except that a settlement learns who undid it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Position in the order of all records.
    pub seq: u64,
    /// Of this record. An undo has its own.
    pub setl_id: String,
    /// `2207`, `2208` or `2601`.
    pub infno: String,
    /// The sender's message; `medins_setl_id`.
    pub msgid: String,
    /// Paasid of the caller.
    pub origin: String,
    /// What kind of caller it was.
    pub origin_kind: CallerKind,
    /// Institution.
    pub fixmedins_code: String,
    /// Its level then.
    pub hosp_lv: HospLevel,
    /// Person.
    pub psn_no: String,
    /// Insurance used.
    pub insutype: String,
    /// `psn_type` then.
    pub psn_type: String,
    /// Civil servant then.
    pub cvlserv: bool,
    /// Visit.
    pub mdtrt_id: String,
    /// The visit's number at the hospital.
    pub ipt_otp_no: String,
    /// Batch of lines.
    pub chrg_bchno: String,
    /// Invoice number as told.
    pub invono: String,
    /// Certificate used.
    pub mdtrt_cert_type: String,
    /// Kind of visit.
    pub med_type: String,
    /// `acct_used_flag`.
    pub acct_used_flag: String,
    /// When it became true at the bureau.
    pub setl_time: DateTime<FixedOffset>,
    /// Clearing key.
    pub clr_optins: String,
    /// Clearing key.
    pub clr_way: String,
    /// Clearing key.
    pub clr_type: String,
    /// Everything moved; negative in an undo.
    pub amounts: Amounts,
    /// Account money by owner; sums to `amounts.acct_pay`.
    pub draws: Vec<Draw>,
    /// Own account afterwards.
    pub balance_after: Fen,
    /// The pool's cap left afterwards (`crt_payb_lmt_amt`).
    pub cap_left: Fen,
    /// `feedetl_sn` of the lines it settled.
    pub lines: Vec<String>,
    /// In an undo: the record it undoes.
    pub undoes: Option<u64>,
    /// In a settlement: the record that undid it.
    pub undone_by: Option<u64>,
}

impl Settlement {
    /// A settlement that counts: not an undo, and not undone.
    pub fn is_live(&self) -> bool {
        self.undoes.is_none() && self.undone_by.is_none()
    }
}

/// The tie of a person to an online channel, made with the card's password (B001).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Its number.
    pub bind_no: String,
    /// Whose insurance may be spent.
    pub psn_no: String,
    /// The caller that made it, and the only one it serves.
    pub paasid: String,
    /// The caller's channel.
    pub channel_no: String,
    /// When.
    pub bind_time: DateTime<FixedOffset>,
    /// Ended by B002, or by loss of the card.
    pub ended: bool,
}

/// A notice to the caller that made a binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same on every repetition.
    pub notice_id: String,
    /// `loss`.
    pub kind: String,
    /// Whose card.
    pub psn_no: String,
    /// Which binding ended.
    pub bind_no: String,
    /// When it happened.
    pub at: DateTime<FixedOffset>,
    /// To whom.
    pub paasid: String,
    /// Delivered, or given up.
    pub done: bool,
    /// How often it was tried.
    pub attempts: u32,
}

/// A message that changed something: sent again with the same content it gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// SHA-256 over number and input.
    pub digest: String,
    /// The whole answer.
    pub answer: Value,
}

/// A call whose execution was put off by a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Who called.
    pub caller: Caller,
    /// Number.
    pub infno: String,
    /// As it came.
    pub envelope: Value,
    /// When to execute.
    pub due: Due,
}

/// When a late call executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Due {
    /// At this moment.
    At(DateTime<FixedOffset>),
    /// This long after its reversal was answered.
    AfterReversal {
        /// Milliseconds.
        delay_ms: u64,
    },
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// By `psn_no`.
    pub persons: BTreeMap<String, Person>,
    /// By paasid.
    pub callers: BTreeMap<String, Caller>,
    /// By `fixmedins_code`.
    pub institutions: BTreeMap<String, Institution>,
    /// By `sign_no`.
    pub sign_ins: BTreeMap<String, SignIn>,
    /// By `mdtrt_id`.
    pub visits: BTreeMap<String, Visit>,
    /// By `seq`.
    pub settlements: BTreeMap<u64, Settlement>,
    /// `seq` by `setl_id`.
    pub by_setl_id: BTreeMap<String, u64>,
    /// `seq` of 2207 settlements by message key.
    pub by_msgid: BTreeMap<String, u64>,
    /// `seq`s by person.
    pub by_person: BTreeMap<String, Vec<u64>>,
    /// By `psn_no/year/insutype`.
    pub accumulated: BTreeMap<String, Accumulated>,
    /// By `bind_no`.
    pub bindings: BTreeMap<String, Binding>,
    /// By message key.
    pub messages: BTreeMap<String, Message>,
    /// Message keys that were reversed before they arrived, or after.
    pub reversed: BTreeSet<String>,
    /// Put off by faults.
    pub late: Vec<Late>,
    /// `yyyyMM`: settlements of these months cannot be undone.
    pub cleared_months: BTreeSet<String>,
    /// Outgoing notices.
    pub notices: Vec<Notice>,
    /// Source of every number the bureau gives out.
    pub counter: u64,
}

impl State {
    /// The next number; never the same twice.
    pub fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

/// The key of a message: msgids are unique per institution.
pub fn message_key(fixmedins_code: &str, msgid: &str) -> String {
    format!("{fixmedins_code}/{msgid}")
}

/// The key of an accumulator.
pub fn accumulated_key(psn_no: &str, year: i32, insutype: &str) -> String {
    format!("{psn_no}/{year}/{insutype}")
}
