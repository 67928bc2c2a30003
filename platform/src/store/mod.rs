//! The record of truth. The only floor that names diesel; SQLite or PostgreSQL behind the same [`Store`].
//!
//! Two kinds of access. The desk changes orders through [`DeskStore::transact`], one commit for a whole batch. Everything
//! else reads, or writes rows that are no orders (people, institutions, leases). Every key begins with the tenant.
//! All methods are synchronous: callers on an async thread go through `spawn_blocking`.

use chrono::NaiveDate;
use schema::bill::{BillKind, FeeLine, LineResult};
use schema::event::CloudEvent;
use schema::ids::{
    ActionId, BillId, BindingId, ChannelId, ChannelUserId, EventId, InstitutionCode, OrderId, ProcessId, RefundId,
    TenantId,
};
use schema::money::{Fen, Price6, Qty4};
use schema::seal::{Lookup, Sealed};
use schema::sign::PublicKey;
use schema::split::Split;
use std::collections::BTreeMap;

use crate::domain::action::Action;
use crate::domain::bill::{BillFacts, BillState};
use crate::domain::binding::BindingFacts;
use crate::domain::invariants::Violation;
use crate::domain::order::{Inputs, Order, Undone};
use crate::domain::posting::Posting;
use crate::domain::refund::Refund;
use crate::domain::settlement::{Clearing, FundDetail, Settlement};

pub mod migrations;
pub mod postgres;
pub mod sql;
pub mod sqlite;

mod actions;
mod answers;
mod balances;
mod batch;
mod bills;
mod cash;
mod conn;
mod desk;
mod duties;
mod institutions;
mod ledger;
mod legs;
mod load;
mod orders;
mod people;
mod records;
mod refunds;
mod settlements;
mod tables;
mod tenants;
mod values;

/// The store failed; nothing is known to have changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It is locked, full or gone; trying again later can help.
    #[error("the store cannot be used at present: {0}")]
    Unavailable(String),
    /// A row does not read back as what was written.
    #[error("a stored row is damaged: {0}")]
    Damaged(String),
}

/// What one event of a batch needs to be decided.
#[derive(Debug, Clone)]
pub struct Want {
    /// Whose rows.
    pub tenant: TenantId,
    /// Which order or bill.
    pub subject: Subject,
    /// The binding under which insured money would be spent; for an existing order its own is loaded without asking.
    pub binding: Option<BindingId>,
    /// The action that this event answers, if any.
    pub answers: Option<ActionId>,
    /// The caller's idempotency key, if any.
    pub key: Option<CallerKey>,
}

/// What an event is about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// An order, with its bill and refunds.
    Order(OrderId),
    /// A bill by id, with the order that holds it.
    Bill(BillId),
    /// A bill by its institution's number, with the order that holds or paid it.
    BillNo(InstitutionCode, String),
    /// Nothing is loaded (bookkeeping on actions only).
    Nothing,
}

/// An idempotency key as its caller scoped it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallerKey {
    /// Who: `user:<id>`, `channel:<id>`, `adapter:<institution>`, `bureau`.
    pub caller: String,
    /// The key.
    pub key: String,
    /// Keyed hash of method, path and body.
    pub request: [u8; 32],
}

/// What was found for a [`Want`].
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The bill.
    pub bill: Option<StoredBill>,
    /// The order.
    pub order: Option<Order>,
    /// The trace id of whoever opened the order.
    pub trace_id: Option<String>,
    /// The order's refunds.
    pub refunds: Vec<Refund>,
    /// The binding as it is now.
    pub binding: Option<BindingFacts>,
    /// Which order holds the insured person of the order at hand.
    pub person_held_by: Option<OrderId>,
    /// Whether the action that is answered is still open; `None` when none was named.
    pub action_open: Option<bool>,
    /// The first answer under the caller's key.
    pub first_answer: Option<FirstAnswer>,
}

/// A bill with what tells a repeat from a change.
#[derive(Debug, Clone)]
pub struct StoredBill {
    /// What decisions need.
    pub facts: BillFacts,
    /// Keyed hash of its content as posted.
    pub content: [u8; 32],
}

/// An answer given under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// Keyed hash of the request it answered.
    pub request: [u8; 32],
    /// The answer, byte for byte.
    pub response: Vec<u8>,
}

/// Everything one decided event writes, in the batch's one commit.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The order, with its history row and published record.
    pub order: Option<OrderWrite>,
    /// A new bill.
    pub new_bill: Option<NewBill>,
    /// A bill's state and the order that holds or paid it.
    pub bill: Option<(BillId, BillState, Option<OrderId>)>,
    /// Takes (`true`) or gives up the insured person for the order.
    pub person: Option<(Lookup, OrderId, bool)>,
    /// The binding under which insured money is let go, at the epoch at which it was loaded: it does not change before
    /// this is committed.
    pub binding: Option<(BindingId, i64)>,
    /// Refunds as they are now.
    pub refunds: Vec<Refund>,
    /// Double-entry lines.
    pub postings: Vec<Posting>,
    /// The settlement that this event brought, for its own tables.
    pub settlement: Option<Box<Settlement>>,
    /// The settlement that this event tells undone (its `setl_id`), and by what.
    pub undone: Option<(String, Undone)>,
    /// What the wallet is to be asked; the payer's openid is added from their login as it is in this commit.
    pub prepay: Option<NewPrepay>,
    /// The bureau's word on every line of a price.
    pub price_lines: Option<(u32, Vec<LineResult>)>,
    /// New actions.
    pub actions: Vec<NewAction>,
    /// The action that is answered: closed.
    pub answered: Option<ActionId>,
    /// An action to be tried again: microseconds UTC.
    pub postponed: Option<(ActionId, i64)>,
    /// The answer to be kept under the caller's key.
    pub first_answer: Option<(CallerKey, Vec<u8>)>,
}

/// The order row, guarded by version.
#[derive(Debug, Clone)]
pub struct OrderWrite {
    /// The version that was decided upon; 0 for a new order.
    pub before: i64,
    /// The order as it is now.
    pub after: Order,
    /// The event's id: a repeat conflicts.
    pub event_id: EventId,
    /// The event's word.
    pub event: &'static str,
    /// The event as JSON; sealed where personal.
    pub event_doc: String,
    /// The state's word before; none for a new order.
    pub from: Option<&'static str>,
    /// The record for reconciliation; its `sequence` is the order's version.
    pub record: CloudEvent,
    /// Trace id of whoever opened it: kept with a new order, which it follows from the phone to the HIS and back.
    pub trace_id: Option<String>,
}

/// A bill to be stored.
#[derive(Debug, Clone)]
pub struct NewBill {
    /// Facts; state open, no order.
    pub facts: BillFacts,
    /// Keyed hash of its content as posted.
    pub content: [u8; 32],
    /// Kind.
    pub kind: BillKind,
    /// Keyed hash of the patient's document number (purpose `certno`): finds the phones.
    pub patient: Lookup,
    /// The patient's name, masked, for lists.
    pub psn_name_masked: String,
    /// Department, for lists.
    pub dept_name: String,
    /// Doctor, for lists.
    pub dr_name: String,
    /// 门诊号.
    pub ipt_otp_no: String,
    /// 医疗类别.
    pub med_type: String,
    /// Department code.
    pub dept_code: String,
    /// Doctor code.
    pub atddr_no: String,
    /// When it was issued: microseconds UTC.
    pub issued_at_us: i64,
    /// The whole `BillDraft` as JSON, sealed for purpose `bill`.
    pub sealed: Sealed,
    /// Fee lines by their codes. Only written: [`Store::bill_lines`] reads them, lists of bills leave them out.
    pub lines: Vec<BillLine>,
}

/// A fee line by its codes. What it is called, like every diagnosis, is in the sealed bill only: next to a patient,
/// words say more than a search needs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BillLine {
    /// 费用明细流水号.
    pub feedetl_sn: String,
    /// National code.
    pub med_list_codg: Option<String>,
    /// The hospital's own code.
    pub medins_list_codg: String,
    /// Unit price in yuan, six decimals.
    pub pric: Price6,
    /// Quantity, four decimals.
    pub cnt: Qty4,
    /// The line's amount.
    pub amount: Fen,
    /// 处方号.
    pub rxno: Option<String>,
    /// 外购处方标志.
    pub rx_circ_flag: String,
    /// 医院审批标志.
    pub hosp_appr_flag: String,
    /// Unit of sale.
    pub unit: Option<String>,
    /// 规格.
    pub spec: Option<String>,
    /// 用药天数.
    pub prd_days: Option<u32>,
    /// 甲/乙/丙 as the HIS believes.
    pub level_hint: Option<String>,
}

impl From<&FeeLine> for BillLine {
    fn from(line: &FeeLine) -> BillLine {
        BillLine {
            feedetl_sn: line.feedetl_sn.clone(),
            med_list_codg: line.med_list_codg.clone(),
            medins_list_codg: line.medins_list_codg.clone(),
            pric: line.pric,
            cnt: line.cnt,
            amount: line.amount_fen,
            rxno: line.rxno.clone(),
            rx_circ_flag: line.rx_circ_flag.clone(),
            hosp_appr_flag: line.hosp_appr_flag.clone(),
            unit: line.unit.clone(),
            spec: line.spec.clone(),
            prd_days: line.prd_days,
            level_hint: line.level_hint.clone(),
        }
    }
}

/// What the wallet is to be asked for an order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NewPrepay {
    /// Our number at the wallet.
    pub out_trade_no: String,
    /// The service provider's merchant number (`sp_mchid`).
    pub sp_mchid: String,
    /// Its `sp_appid`, to which openids belong.
    pub appid: String,
    /// How much.
    pub amount: Fen,
    /// When the wallet order ends: microseconds UTC.
    pub expires_at_us: i64,
}

/// What the wallet was asked for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepayRow {
    /// What and under which account.
    pub asked: NewPrepay,
    /// To whom the money goes (`sub_mchid`).
    pub merchant: String,
    /// Keyed hash of the payer's openid (purpose `openid`); none where the login had none.
    pub openid: Option<Lookup>,
    /// The openid, sealed for purpose `openid`.
    pub openid_sealed: Option<Sealed>,
    /// When it was decided to ask: microseconds UTC.
    pub asked_at_us: i64,
}

/// What one 2207 was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementInputRow {
    /// The 2207's message.
    pub msgid: String,
    /// Under which of the order's prices.
    pub price_number: u32,
    /// Everything it was told.
    pub inputs: Inputs,
}

/// One settlement of an order, and its undo.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SettlementRow {
    /// 结算ID.
    pub setl_id: String,
    /// The 2207's message.
    pub msgid: String,
    /// The bureau's message; empty where the settlement was found by a question.
    pub inf_refmsgid: String,
    /// 就诊ID.
    pub mdtrt_id: String,
    /// Who had it settled: `platform`.
    pub origin: String,
    /// 退费结算标志 as told with the settlement.
    pub refd_setl_flag: String,
    /// 险种.
    pub insutype: String,
    /// The bureau's accounting time: microseconds UTC.
    pub setl_time_us: i64,
    /// 清算类别, 清算方式, 清算经办机构.
    pub clearing: Clearing,
    /// Who pays what.
    pub split: Split,
    /// Every amount of `setlinfo` by its own name.
    pub amounts: BTreeMap<String, Fen>,
    /// Kinds, flags and ratios of `setlinfo` by their own names.
    pub texts: BTreeMap<String, String>,
    /// `setldetail`, row by row.
    pub details: Vec<FundDetail>,
    /// What undid it.
    pub undone: Option<Undone>,
}

/// Cash that came in for an order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CashRow {
    /// The wallet's number.
    pub transaction_id: String,
    /// Our number at the wallet.
    pub out_trade_no: String,
    /// To whom it went (`sub_mchid`).
    pub merchant: String,
    /// How much.
    pub amount: Fen,
    /// The wallet's accounting time: microseconds UTC.
    pub success_time_us: i64,
    /// It had no right to stay.
    pub stray: bool,
}

/// An action row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAction {
    /// Id.
    pub id: ActionId,
    /// The order it belongs to.
    pub order: OrderId,
    /// What.
    pub action: Action,
    /// Not before: microseconds UTC.
    pub due_at_us: i64,
    /// The process that starts it right after this commit; none if it is due later.
    pub started_by: Option<ProcessId>,
    /// Trace id of the order's opening.
    pub trace_id: Option<String>,
}

/// What became of one change of a committed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Written.
    Done,
    /// Something it was decided upon has moved (version, bill, person, key, event id), or a bureau message's number was
    /// used before: decide again.
    Moved,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// Durable; one result per want, in order.
    Committed(Vec<Written>),
    /// Nothing was written.
    Refused(StoreError),
    /// It may or may not be durable: read the event ids back before answering anyone.
    Unknown(StoreError),
}

/// An action to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueAction {
    /// Whose.
    pub tenant: TenantId,
    /// The row.
    pub action: NewAction,
    /// The institution of its order.
    pub institution: InstitutionCode,
    /// How often it was postponed.
    pub attempts: i64,
}

/// Writes the first answer of a login, inside the commit that finds or makes it.
pub type LoginAnswer<'a> = &'a dyn Fn(ChannelUserId) -> Vec<u8>;

/// Decides a batch inside its transaction: one `Some` per want that changes something.
pub type Decide<'a> = &'a mut dyn FnMut(Vec<Loaded>) -> Vec<Option<Change>>;

/// A tenant as it is set up.
#[derive(Debug, Clone)]
pub struct TenantRow {
    /// Surrogate id.
    pub id: TenantId,
    /// 6-digit area code.
    pub area: String,
    /// Name.
    pub name: String,
    /// Number of the key that seals new values.
    pub current_key: u16,
    /// The parties' settings as JSON (`startup::TenantParties`), sealed for purpose `parties`.
    pub parties: Sealed,
}

/// A channel.
#[derive(Debug, Clone)]
pub struct ChannelRow {
    /// Whose.
    pub tenant: TenantId,
    /// Id.
    pub id: ChannelId,
    /// Name.
    pub name: String,
    /// SHA-256 of its key.
    pub key_hash: [u8; 32],
    /// Its key lets nobody in any more; who is signed in through it stays so until their session ends.
    pub revoked: bool,
}

/// An institution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstitutionRow {
    /// Whose.
    pub tenant: TenantId,
    /// `fixmedins_code`.
    pub code: InstitutionCode,
    /// `fixmedins_name`.
    pub name: String,
    /// `mdtrtarea_admvs`.
    pub area: String,
    /// `sub_mchid`.
    pub merchant: String,
    /// Its adapter's approved key.
    pub key: Option<PublicKey>,
    /// Suspended institutions get no new bills and orders; what is out is finished over their link.
    pub suspended: bool,
}

/// A login.
#[derive(Debug, Clone)]
pub struct ChannelUserRow {
    /// Whose.
    pub tenant: TenantId,
    /// Id.
    pub id: ChannelUserId,
    /// Through which channel.
    pub channel: ChannelId,
    /// Keyed hash of the phone (purpose `phone`).
    pub phone: Lookup,
    /// The phone, sealed for purpose `phone`.
    pub phone_sealed: Sealed,
    /// Keyed hash of the wallet's name for the payer (purpose `openid`).
    pub openid: Option<Lookup>,
    /// The wallet's name for the payer, sealed for purpose `openid`.
    pub openid_sealed: Option<Sealed>,
}

/// A binding.
#[derive(Debug, Clone)]
pub struct BindingRow {
    /// Whose.
    pub tenant: TenantId,
    /// Facts that decisions use; `frozen` only after a loss: to the desk ([`Loaded::binding`]) an unbound one is frozen
    /// as well.
    pub facts: BindingFacts,
    /// Whose phone.
    pub channel_user: ChannelUserId,
    /// Keyed hash of the document number (purpose `certno`).
    pub certno: Lookup,
    /// `journey::people::BoundPerson` as JSON, sealed for purpose `person`.
    pub sealed: Sealed,
    /// Unbound: kept for history.
    pub unbound: bool,
    /// Keyed hash of the phone that receives codes (purpose `phone`); level 2.
    pub phone: Option<Lookup>,
    /// Keyed hash of the card (purpose `card_no`); level 2.
    pub card_no: Option<Lookup>,
    /// The bureau's number for it; level 2.
    pub bind_no: Option<String>,
    /// When 1101 last answered: microseconds UTC.
    pub checked_at_us: i64,
    /// When it was made: microseconds UTC.
    pub created_at_us: i64,
    /// What 1101 has just said, in its order: replaces the person's insurances in the same commit. Only written:
    /// [`Store::insurances`] reads them.
    pub insurances: Option<Vec<InsuranceRow>>,
}

/// One insurance of a person, as 1101 said it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsuranceRow {
    /// Keyed hash of 人员编号 (purpose `psn_no`).
    pub psn_no: Lookup,
    /// Keyed hash of (参保地, 人员编号) (purpose `person`): what a binding or an order under it names.
    pub person: Lookup,
    /// 险种.
    pub insutype: String,
    /// 参保地.
    pub insuplc_admdvs: String,
    /// 人员类别.
    pub psn_type: String,
    /// 人员参保状态, as the bureau writes it.
    pub psn_insu_stas: String,
    /// 公务员标志.
    pub cvlserv_flag: String,
    /// 正常参保.
    pub active: bool,
    /// 单位名称, sealed for purpose `emp_name`.
    pub emp_name: Option<Sealed>,
    /// When 1101 said it: microseconds UTC.
    pub checked_at_us: i64,
}

/// A visit card bound at the window.
#[derive(Debug, Clone)]
pub struct VisitCardRow {
    /// Whose.
    pub tenant: TenantId,
    /// Where it was issued.
    pub institution: InstitutionCode,
    /// Keyed hash of the visit card (purpose `visit_card_no`).
    pub visit_card: Lookup,
    /// Keyed hash of the person's document number (purpose `certno`).
    pub certno: Lookup,
    /// Their masked name, for bills that carry the card alone.
    pub psn_name_masked: String,
    /// The bureau's number for the binding.
    pub bind_no: String,
    /// When: microseconds UTC.
    pub created_at_us: i64,
}

/// A bill as lists and views read it.
#[derive(Debug, Clone)]
pub struct BillRow {
    /// As stored.
    pub bill: NewBill,
    /// The last order for it, open or ended.
    pub last_order: Option<OrderId>,
}

/// One line of an order's story.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistoryRow {
    /// Version reached.
    pub version: i64,
    /// When: microseconds UTC.
    pub at_us: i64,
    /// Event.
    pub event: String,
    /// State before.
    pub from: Option<String>,
    /// State after.
    pub to: String,
    /// The event's data.
    pub doc: serde_json::Value,
}

/// An action as a story shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ActionStory {
    /// What.
    pub kind: String,
    /// When it was, or is, due: microseconds UTC.
    pub due_at_us: i64,
    /// Answered.
    pub done: bool,
    /// How often it was postponed.
    pub attempts: i64,
}

/// Everything stored about one order.
#[derive(Debug, Clone)]
pub struct Story {
    /// The order.
    pub order: Order,
    /// The trace id of whoever opened it: what the logs of every party say of it.
    pub trace_id: Option<String>,
    /// History, oldest first.
    pub history: Vec<HistoryRow>,
    /// Postings, oldest first.
    pub postings: Vec<Posting>,
    /// Actions, oldest first.
    pub actions: Vec<ActionStory>,
    /// Refunds.
    pub refunds: Vec<Refund>,
    /// What each 2207 was told, oldest first.
    pub inputs: Vec<SettlementInputRow>,
    /// Settlements, oldest first.
    pub settlements: Vec<SettlementRow>,
    /// What the wallet was asked.
    pub prepay: Option<PrepayRow>,
    /// Cash that came in, oldest first.
    pub cash: Vec<CashRow>,
}

/// A record waiting to be published.
#[derive(Debug, Clone)]
pub struct Unpublished {
    /// Whose.
    pub tenant: TenantId,
    /// Which order.
    pub order: OrderId,
    /// Its number within the order.
    pub sequence: i64,
    /// The CloudEvent as JSON text.
    pub record: String,
}

/// A record, published or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Which order.
    pub order: OrderId,
    /// Its number within the order.
    pub sequence: i64,
    /// Marked published.
    pub published: bool,
    /// The CloudEvent as JSON text.
    pub record: String,
}

/// Sums over one tenant, for `ledger verify` and the metrics.
#[derive(Debug, Clone, Default)]
pub struct LedgerSums {
    /// Orders by public state.
    pub orders: std::collections::BTreeMap<String, i64>,
    /// Orders by public state and the word for why they ended, wait or are undone; `none` without a reason.
    pub results: std::collections::BTreeMap<(&'static str, &'static str), i64>,
    /// Net of every account, in fen.
    pub accounts: std::collections::BTreeMap<String, Fen>,
    /// Violations found order by order.
    pub violations: Vec<Violation>,
}

/// One account of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceRow {
    /// The account, in its stored form.
    pub account: String,
    /// The last accounting date of what is rolled up.
    pub through: Option<NaiveDate>,
    /// The sum of what is rolled up.
    pub rolled_up: Fen,
    /// The sum of what is not, yet.
    pub rest: Fen,
}

/// What the desk needs of the store, and nothing else does.
pub trait DeskStore: Send + Sync {
    /// Loads, decides and writes a batch, claims among it, in one commit.
    ///
    /// A change that conflicts with another of the same batch, or with what was committed meanwhile, is left out whole
    /// and reported [`Written::Moved`]; the others are written. `decide` is called once and must not block.
    fn transact(&self, wants: &[Want], decide: Decide<'_>) -> Commit;
    /// Whether any of these events is in the history: tells what became of an [`Commit::Unknown`] batch.
    fn landed(&self, tenant: TenantId, events: &[EventId]) -> Result<bool, StoreError>;
}

/// The record of truth.
pub trait Store: DeskStore {
    // — actions, leases, deadlines, records —

    /// Says that this process lives, at this instant of the store's clock; `now_us` (microseconds UTC) is taken for it
    /// where the store has none of its own.
    fn renew_lease(&self, me: ProcessId, now_us: i64) -> Result<(), StoreError>;
    /// Starts actions that are due and that nobody has started, and returns them: marked as this process's in one
    /// statement. One whose row does not read back is marked too and left out, so that it is looked at once and holds
    /// nobody else up.
    fn take_due(&self, me: ProcessId, now_us: i64, most: u32) -> Result<Vec<DueAction>, StoreError>;
    /// Adopts started, unanswered actions of processes that have not renewed their lease for `dead_after_ms`
    /// milliseconds of the store's clock ([`Store::renew_lease`]). The adopter asks; it never sends them again.
    fn adopt(&self, me: ProcessId, now_us: i64, dead_after_ms: i64, most: u32) -> Result<Vec<DueAction>, StoreError>;
    /// Which process has started an action; none if nobody has, or if it is answered.
    fn started_by(&self, tenant: TenantId, action: ActionId) -> Result<Option<ProcessId>, StoreError>;
    /// Orders whose deadline has passed. Puts off the next look at those whose deadline has moved away.
    fn past_deadline(&self, now_us: i64, most: u32) -> Result<Vec<(TenantId, OrderId)>, StoreError>;
    /// When to look next: microseconds UTC. No action is due and no deadline passes before. Long ago, while it is not known
    /// whether actions were taken that [`Store::take_due`] gives next time. Asked many times a second: it waits for nobody
    /// who writes.
    fn next_due(&self) -> Result<Option<i64>, StoreError>;
    /// Records nobody has published yet, per order in sequence.
    fn unpublished(&self, most: u32) -> Result<Vec<Unpublished>, StoreError>;
    /// Marks them published, one statement per batch.
    fn mark_published(&self, records: &[(TenantId, OrderId, i64)]) -> Result<(), StoreError>;
    /// How many records nobody has published yet.
    fn records_waiting(&self) -> Result<i64, StoreError>;
    /// A tenant's records, published or not, by order and sequence: those behind `after`, or from the first.
    fn records(&self, tenant: TenantId, after: Option<(OrderId, i64)>, most: u32) -> Result<Vec<Recorded>, StoreError>;
    /// Takes or renews a duty that one process does for all of them: `true` if it is this process's now. It is, if it
    /// was already, or if its holder has not renewed it for `dead_after_ms` milliseconds of the store's clock
    /// ([`Store::renew_lease`]), or if nobody ever held it.
    fn hold_duty(&self, name: &str, me: ProcessId, now_us: i64, dead_after_ms: i64) -> Result<bool, StoreError>;

    // — balances —

    /// Rolls postings up into balances, at most so many in one commit; how many they were. Whoever calls it, how often
    /// and at the same time: every posting is added once.
    fn roll_up(&self, most: u32) -> Result<usize, StoreError>;
    /// A tenant's accounts.
    fn balances(&self, tenant: TenantId) -> Result<Vec<BalanceRow>, StoreError>;

    // — set-up —

    /// Adds a tenant.
    fn add_tenant(&self, row: &TenantRow) -> Result<(), StoreError>;
    /// Every tenant.
    fn tenants(&self) -> Result<Vec<TenantRow>, StoreError>;
    /// Adds a channel.
    fn add_channel(&self, row: &ChannelRow) -> Result<(), StoreError>;
    /// A tenant's channels, revoked ones too.
    fn channels(&self, tenant: TenantId) -> Result<Vec<ChannelRow>, StoreError>;
    /// Revokes a channel; `false` if there is none of this id.
    fn revoke_channel(&self, tenant: TenantId, id: ChannelId) -> Result<bool, StoreError>;
    /// Finds a channel that is not revoked by the hash of its key.
    fn channel(&self, key_hash: &[u8; 32]) -> Result<Option<ChannelRow>, StoreError>;
    /// Adds an institution or changes it.
    fn put_institution(&self, row: &InstitutionRow) -> Result<(), StoreError>;
    /// One institution.
    fn institution(&self, tenant: TenantId, code: &InstitutionCode) -> Result<Option<InstitutionRow>, StoreError>;
    /// Every institution of every tenant with this adapter key.
    fn institutions_by_key(&self, key: &PublicKey) -> Result<Vec<InstitutionRow>, StoreError>;
    /// A tenant's institutions.
    fn institutions(&self, tenant: TenantId) -> Result<Vec<InstitutionRow>, StoreError>;

    // — people —

    /// The login of a phone in a channel, with the caller's first answer in one commit; made if it is new; an openid
    /// replaces the stored one when given. None, and nothing is changed, if the key was used meanwhile.
    fn channel_user(
        &self,
        row: &ChannelUserRow,
        answer: Option<(&CallerKey, LoginAnswer<'_>)>,
    ) -> Result<Option<ChannelUserRow>, StoreError>;
    /// One login.
    fn channel_user_by_id(&self, tenant: TenantId, id: ChannelUserId) -> Result<Option<ChannelUserRow>, StoreError>;
    /// Adds a binding with the caller's first answer in one commit; `false` if the key was used meanwhile, or if the
    /// same login already holds a live binding of this document.
    fn add_binding(&self, row: &BindingRow, answer: Option<(&CallerKey, &[u8])>) -> Result<bool, StoreError>;
    /// Changes a binding guarded by its epoch before the change; `false` if it has moved.
    fn put_binding(
        &self,
        before_epoch: i64,
        row: &BindingRow,
        answer: Option<(&CallerKey, &[u8])>,
    ) -> Result<bool, StoreError>;
    /// One binding.
    fn binding(&self, tenant: TenantId, id: BindingId) -> Result<Option<BindingRow>, StoreError>;
    /// A login's live bindings.
    fn bindings_of(&self, tenant: TenantId, user: ChannelUserId) -> Result<Vec<BindingRow>, StoreError>;
    /// The newest binding that the bureau numbered `bind_no`, live or not.
    fn binding_by_bind_no(&self, tenant: TenantId, bind_no: &str) -> Result<Option<BindingRow>, StoreError>;
    /// Live bindings of an insured person.
    fn bindings_of_person(&self, tenant: TenantId, person: &Lookup) -> Result<Vec<BindingRow>, StoreError>;
    /// What 1101 said last of the person with this document, in its order.
    fn insurances(&self, tenant: TenantId, certno: &Lookup) -> Result<Vec<InsuranceRow>, StoreError>;
    /// Every binding of a document, ended ones included, oldest first.
    fn bindings_of_document(&self, tenant: TenantId, certno: &Lookup) -> Result<Vec<BindingRow>, StoreError>;
    /// The logins that may see bills of this document number.
    fn watchers(&self, tenant: TenantId, certno: &Lookup) -> Result<Vec<ChannelUserId>, StoreError>;
    /// Binds a visit card with the caller's first answer in one commit; replaces an older binding of the same card.
    /// `false`, and nothing is changed, if the key was used meanwhile.
    fn put_visit_card(&self, row: &VisitCardRow, answer: Option<(&CallerKey, &[u8])>) -> Result<bool, StoreError>;
    /// Finds a visit card.
    fn visit_card(
        &self,
        tenant: TenantId,
        institution: &InstitutionCode,
        visit_card: &Lookup,
    ) -> Result<Option<VisitCardRow>, StoreError>;
    /// The first answer under a key.
    fn first_answer(&self, tenant: TenantId, key: &CallerKey) -> Result<Option<FirstAnswer>, StoreError>;
    /// Keeps an answer whose effect is many commits (a freeze of every binding of a person); `false` if there is one.
    fn keep_answer(&self, tenant: TenantId, key: &CallerKey, response: &[u8]) -> Result<bool, StoreError>;

    // — reading —

    /// Bills of these patients, newest first.
    fn bills_of(&self, tenant: TenantId, patients: &[Lookup], most: u32) -> Result<Vec<BillRow>, StoreError>;
    /// One bill.
    fn bill(&self, tenant: TenantId, id: BillId) -> Result<Option<BillRow>, StoreError>;
    /// One bill by its institution's number.
    fn bill_by_no(
        &self,
        tenant: TenantId,
        institution: &InstitutionCode,
        bill_no: &str,
    ) -> Result<Option<BillRow>, StoreError>;
    /// A bill's fee lines, in its order.
    fn bill_lines(&self, tenant: TenantId, id: BillId) -> Result<Vec<BillLine>, StoreError>;
    /// One order.
    fn order(&self, tenant: TenantId, id: OrderId) -> Result<Option<Order>, StoreError>;
    /// A payer's orders, newest first.
    fn orders_of(&self, tenant: TenantId, payer: ChannelUserId, most: u32) -> Result<Vec<Order>, StoreError>;
    /// An institution's orders created in `[from_us, to_us)`.
    fn orders_between(
        &self,
        tenant: TenantId,
        institution: &InstitutionCode,
        from_us: i64,
        to_us: i64,
        most: u32,
    ) -> Result<Vec<Order>, StoreError>;
    /// Orders in a public state, oldest first; every state when none is named, and every tenant's when none is.
    fn orders_in(&self, tenant: Option<TenantId>, state: Option<&str>, most: u32) -> Result<Vec<Order>, StoreError>;
    /// An insured person's orders that stand in Priced.
    fn priced_of_person(&self, tenant: TenantId, person: &Lookup) -> Result<Vec<OrderId>, StoreError>;
    /// Open orders under a binding.
    fn open_under_binding(&self, tenant: TenantId, binding: BindingId) -> Result<Vec<OrderId>, StoreError>;
    /// The bureau's word on every line of one price.
    fn price_lines(&self, tenant: TenantId, order: OrderId, number: u32) -> Result<Vec<LineResult>, StoreError>;
    /// What the wallet is asked for an order.
    fn prepay(&self, tenant: TenantId, order: OrderId) -> Result<Option<PrepayRow>, StoreError>;
    /// The sealed 2207 reply of a settlement.
    fn settlement_reply(&self, tenant: TenantId, setl_id: &str) -> Result<Option<Sealed>, StoreError>;
    /// One refund.
    fn refund(&self, tenant: TenantId, id: RefundId) -> Result<Option<Refund>, StoreError>;
    /// A refund by its institution's number.
    fn refund_by_no(
        &self,
        tenant: TenantId,
        institution: &InstitutionCode,
        refund_no: &str,
    ) -> Result<Option<Refund>, StoreError>;
    /// Refunds in a state, of every tenant, oldest first; every state when none is named.
    fn refunds_in(&self, state: Option<&str>, most: u32) -> Result<Vec<(TenantId, Refund)>, StoreError>;
    /// Everything about one order, whichever tenant's.
    fn story(&self, id: OrderId) -> Result<Option<Story>, StoreError>;
    /// Sums one tenant's books and checks every order.
    fn verify(&self, tenant: TenantId) -> Result<LedgerSums, StoreError>;
}
