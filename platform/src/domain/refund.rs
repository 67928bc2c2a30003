//! Money going back: the smaller sister of [`super::order`], in the same shape.
//!
//! A refund is a row of its own, decided under its order's version. Insurance first (2208, which the bureau may
//! refuse: then nothing moves), then the cash. Kinds:
//!
//! | kind | insurance leg | cash |
//! | --- | --- | --- |
//! | whole | undone | all of it |
//! | replace | undone; another order pays what remains | what that order does not keep |
//! | part | none: only orders without insurance leg | some |
//! | stray | none | cash that came after the wallet order was closed, or was not what was due |

use schema::ids::{OrderId, RefundId};
use schema::money::{Fen, Overflow};
use schema::refusal::{Code as No, Refusal};
use serde::{Deserialize, Serialize};

use super::action::{Action, News, Planned};
use super::deadline::Rules;
use super::order::{BilledFor, Given, Kind, Legs, Order, Owner, Settled, Taken, Undone};
use super::posting::{self, Account, Posting};
use super::refusal::{beyond_money, unlisted};

/// An institution's wish for money back, or our own after a rejection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundAsked {
    /// The institution's own number; none when the platform itself gives back.
    pub refund_no: Option<String>,
    /// How much; none for everything that is left.
    pub amount: Option<Fen>,
    /// The bill of what remains, for the partial return of an insured order.
    pub replaced_by: Option<BilledFor>,
    /// Why, for people.
    pub reason: String,
}

/// How a refund ended, as its order learns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// Which.
    pub refund: RefundId,
    /// What was granted, all shares.
    pub amount: Fen,
    /// The cash in it.
    pub cash: Fen,
    /// Of what was granted, the cash that the replacement keeps.
    pub carried: Fen,
    /// Another order replaces this one.
    pub replaced: bool,
    /// 2208's own settlement id.
    pub undo_setl_id: Option<String>,
    /// Given back, or refused with nothing moved.
    pub done: bool,
    /// The outsider's words where it was refused.
    pub words: Option<String>,
}

/// What a refund gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundKind {
    /// Everything that is left of the order.
    Whole,
    /// Everything, and then a new order for what remains (partial return of an insured order).
    Replace,
    /// Some cash of an order without insurance leg.
    Part,
    /// Cash that had no right to come.
    Stray,
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// Id; without hyphens it is the wallet's `out_refund_no`.
    pub id: RefundId,
    /// The order.
    pub order: OrderId,
    /// The institution's number.
    pub refund_no: Option<String>,
    /// What it gives back.
    pub kind: RefundKind,
    /// All shares of it.
    pub amount: Fen,
    /// The insurance leg to undo.
    pub settled: Option<Settled>,
    /// The payment to give back from, and how much of it.
    pub cash: Option<CashBack>,
    /// The bill of what remains, for [`RefundKind::Replace`]. The order that pays it has this refund's id as its own:
    /// whoever opens it twice opens one.
    pub replaced_by: Option<BilledFor>,
    /// The cash that the replacement keeps, once it is known.
    pub carried: Option<Fen>,
    /// Why, for people.
    pub reason: String,
    /// Where it stands.
    pub state: RefundState,
    /// The insurance leg is undone.
    pub undone: Option<Undone>,
    /// The cash is back: the wallet's accounting time, microseconds UTC.
    pub returned_at_us: Option<i64>,
    /// When its present step began, the insurance's or the cash's: patience and waits count from here. Microseconds UTC.
    pub since_us: i64,
    /// When it was granted: microseconds UTC.
    pub created_at_us: i64,
}

/// Cash to give back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CashBack {
    /// The payment.
    pub taken: Taken,
    /// How much of it.
    pub amount: Fen,
}

/// Where a refund stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RefundState {
    /// 2208 is out.
    UndoingInsurance {
        /// Its message.
        msgid: String,
    },
    /// 2208's outcome is unknown or was refused: 5203 is asked.
    AskingUndo {
        /// The refusal, where there was one.
        refused: Option<String>,
    },
    /// The insurance leg is undone; the order that pays what remains says how much cash it keeps.
    Replacing,
    /// The wallet is giving back.
    ReturningCash,
    /// Given back.
    Done,
    /// The bureau refused: nothing moved.
    Refused {
        /// Its words.
        words: String,
    },
    /// A person must look at it (the merchant's balance, an abnormal refund, a silent or busy bureau). It is tried and
    /// asked about on, seldom, so that it ends by itself once the party can; what a person brings about is learned.
    Suspended {
        /// Where it stood.
        from: Box<RefundState>,
        /// The outsider's words; empty where it is silent.
        words: String,
        /// Who must look.
        owner: Owner,
    },
}

impl Refund {
    /// The order that pays what remains: one per refund, whoever opens it how often.
    pub fn replacement(&self) -> Option<OrderId> {
        self.replaced_by.as_ref().map(|_| OrderId::from_uuid(self.id.uuid()))
    }
}

impl RefundState {
    /// The stable word.
    pub const fn word(&self) -> &'static str {
        match self {
            RefundState::UndoingInsurance { .. } => "undoing_insurance",
            RefundState::AskingUndo { .. } => "asking_undo",
            RefundState::Replacing => "replacing",
            RefundState::ReturningCash => "returning_cash",
            RefundState::Done => "done",
            RefundState::Refused { .. } => "refused",
            RefundState::Suspended { .. } => "suspended",
        }
    }
}

/// Something that happened to a refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RefundEvent {
    /// 2208 answered, or 5203 says that it is undone.
    UndoDone(Undone),
    /// 2208 was refused.
    UndoRefused {
        /// The bureau's words.
        words: String,
        /// It was only busy.
        busy: bool,
    },
    /// 2208's outcome, or the question about it, is unknown.
    UndoUnknown,
    /// 5203: the settlement stands.
    UndoStands,
    /// The replacement is settled and keeps so much of the cash.
    Carried {
        /// How much.
        cash: Fen,
    },
    /// There is no replacement, or it is paid otherwise: it keeps nothing.
    NotCarried,
    /// The payer has it.
    CashReturned {
        /// The wallet's accounting time: microseconds UTC.
        success_time_us: i64,
    },
    /// The wallet is still at it, was busy, or did not answer: ask.
    CashUnknown,
    /// The wallet does not know this refund: it may be sent (again, under the same number).
    CashNothing,
    /// The wallet refused (the merchant's balance …): try again until patience ends.
    CashRefused {
        /// Its words.
        words: String,
    },
    /// The wallet cannot give it back this way.
    CashAbnormal {
        /// Its words.
        words: String,
    },
}

impl RefundEvent {
    /// The stable word.
    pub const fn kind(&self) -> Kind {
        match self {
            RefundEvent::UndoDone(_) => "undo_done",
            RefundEvent::UndoRefused { .. } => "undo_refused",
            RefundEvent::UndoUnknown => "undo_unknown",
            RefundEvent::UndoStands => "undo_stands",
            RefundEvent::Carried { .. } => "carried",
            RefundEvent::NotCarried => "not_carried",
            RefundEvent::CashReturned { .. } => "cash_returned",
            RefundEvent::CashUnknown => "cash_unknown",
            RefundEvent::CashNothing => "cash_nothing",
            RefundEvent::CashRefused { .. } => "cash_refused",
            RefundEvent::CashAbnormal { .. } => "cash_abnormal",
        }
    }
}

/// What follows, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundDecision {
    /// The refund as it is now.
    pub next: Refund,
    /// Double-entry lines; they sum to zero.
    pub postings: Vec<Posting>,
    /// What is to be done outside.
    pub actions: Vec<Planned>,
    /// It came to its end: the order learns it in the same commit.
    pub ended: Option<Returned>,
}

type Handler = fn(&Refund, &RefundEvent, &Order, &Given<'_>) -> Result<RefundDecision, Refusal>;

/// One row of the table.
pub struct Row {
    /// Where.
    pub state: &'static str,
    /// What happened.
    pub event: Kind,
    /// The handler's name, as the diagrams show it.
    pub name: &'static str,
    /// Who decides.
    decide: Handler,
    /// Where it may lead.
    pub to: &'static [&'static str],
}

macro_rules! table {
    ($($state:literal + $event:literal => $handler:ident -> [$($to:literal),*];)*) => {
        /// Every (state, event) of a refund that means anything.
        pub const TABLE: &[Row] = &[
            $(Row {
                state: $state,
                event: $event,
                name: stringify!($handler),
                decide: $handler,
                to: &[$($to),*],
            }),*
        ];
    };
}

table! {
    "undoing_insurance" + "undo_done" => insurance_undone -> ["replacing", "returning_cash", "done"];
    "undoing_insurance" + "undo_refused" => ask_undo -> ["undoing_insurance", "asking_undo", "suspended"];
    "undoing_insurance" + "undo_unknown" => ask_undo -> ["asking_undo"];
    "asking_undo" + "undo_done" => insurance_undone -> ["replacing", "returning_cash", "done"];
    "asking_undo" + "undo_stands" => undo_again_or_refuse -> ["undoing_insurance", "refused", "suspended"];
    "asking_undo" + "undo_unknown" => ask_undo -> ["asking_undo", "suspended"];
    "replacing" + "carried" => carried -> ["returning_cash", "done"];
    "replacing" + "not_carried" => carried -> ["returning_cash", "done"];
    "returning_cash" + "cash_returned" => cash_returned -> ["done"];
    "returning_cash" + "cash_unknown" => ask_return -> ["returning_cash", "suspended"];
    "returning_cash" + "cash_nothing" => return_again -> ["returning_cash"];
    "returning_cash" + "cash_refused" => return_later -> ["returning_cash", "suspended"];
    "returning_cash" + "cash_abnormal" => show_to_finance -> ["suspended"];
    "suspended" + "undo_done" => learn -> ["replacing", "returning_cash", "done"];
    "suspended" + "undo_refused" => learn -> ["suspended"];
    "suspended" + "undo_unknown" => learn -> ["suspended"];
    "suspended" + "undo_stands" => learn -> ["refused", "suspended"];
    "suspended" + "cash_returned" => learn -> ["done"];
    "suspended" + "cash_unknown" => learn -> ["suspended"];
    "suspended" + "cash_nothing" => learn -> ["suspended"];
    "suspended" + "cash_refused" => learn -> ["suspended"];
    "suspended" + "cash_abnormal" => learn -> ["suspended"];
}

/// What to do about an event of a refund. Unlisted pairs are refused naming both.
pub fn next(refund: &Refund, event: &RefundEvent, order: &Order, given: &Given<'_>) -> Result<RefundDecision, Refusal> {
    let row = TABLE
        .iter()
        .find(|row| row.state == refund.state.word() && row.event == event.kind())
        .ok_or_else(|| unlisted("a refund", refund.state.word(), event.kind()))?;
    (row.decide)(refund, event, order, given)
}

/// Everything that can be given back of a paid order: all shares but the hospital's own burden.
pub fn refundable(legs: &Legs) -> Result<Fen, Overflow> {
    let insurance = match legs.insurance.settled() {
        Some(settled) => settled.split.insurance()?,
        None => Fen::ZERO,
    };
    insurance.plus(legs.cash.as_ref().map_or(Fen::ZERO, |cash| cash.amount))
}

/// Grants a refund within what is left, in the commit that grants it. Refuses more than is left, parts of an insured
/// order, and what another refund that is under way is giving back.
pub fn grant(order: &Order, legs: &Legs, asked: &RefundAsked, given: &Given<'_>) -> Result<Refund, Refusal> {
    let kept = refundable(legs).and_then(|all| all.minus(order.refunded)).map_err(beyond_money)?;
    let left = kept.minus(order.refunding).map_err(beyond_money)?;
    let amount = asked.amount.unwrap_or(if left.is_zero() { kept } else { left });
    let found = || format!("{} fen asked, {} fen left", amount.get(), left.get());
    if amount.get() <= 0 || amount > kept {
        return Err(Refusal::new(No::RefundTooMuch, found()));
    }
    if amount > left {
        return Err(Refusal::new(No::RefundUnderWay, found()));
    }
    let settled = legs.insurance.settled().cloned();
    let kind = match &asked.replaced_by {
        Some(_) if settled.is_none() || asked.amount.is_some() => {
            return Err(Refusal::new(No::RefundNotNow, "only an insured order is replaced, and without an amount"));
        }
        Some(remains) if remains.amount >= order.bill.amount || remains.institution != order.bill.institution => {
            return Err(Refusal::new(No::RefundTooMuch, "what remains must be a smaller bill of the same institution"));
        }
        // What is carried lies at the merchant that took it, and would have to be given back from there.
        Some(remains) if remains.merchant != order.bill.merchant => {
            return Err(Refusal::new(No::RefundNotNow, "the institution's merchant changed: give it back whole"));
        }
        Some(_) => RefundKind::Replace,
        None if settled.is_some() || asked.amount.is_none() => RefundKind::Whole,
        None => RefundKind::Part,
    };
    if settled.is_some() && amount != refundable(legs).map_err(beyond_money)? {
        return Err(Refusal::new(No::RefundPartInsured, "an insured order goes back whole, or a new bill replaces it"));
    }
    let cash = legs
        .cash
        .as_ref()
        .map(|taken| CashBack { taken: taken.clone(), amount: if settled.is_some() { taken.amount } else { amount } });
    let state = match &settled {
        Some(_) => RefundState::UndoingInsurance { msgid: given.msgid.to_owned() },
        None => RefundState::ReturningCash,
    };
    Ok(Refund {
        id: given.refund,
        order: order.id,
        refund_no: asked.refund_no.clone(),
        kind,
        amount,
        settled,
        cash,
        replaced_by: asked.replaced_by.clone(),
        carried: None,
        reason: asked.reason.clone(),
        state,
        undone: None,
        returned_at_us: None,
        since_us: given.now_us,
        created_at_us: given.now_us,
    })
}

/// Gives back cash that came without a right to stay.
pub fn stray(order: &Order, taken: &Taken, reason: &str, given: &Given<'_>) -> Refund {
    Refund {
        id: given.refund,
        order: order.id,
        refund_no: None,
        kind: RefundKind::Stray,
        amount: taken.amount,
        settled: None,
        cash: Some(CashBack { taken: taken.clone(), amount: taken.amount }),
        replaced_by: None,
        carried: None,
        reason: reason.to_owned(),
        state: RefundState::ReturningCash,
        undone: None,
        returned_at_us: None,
        since_us: given.now_us,
        created_at_us: given.now_us,
    }
}

/// What begins it: 2208 where there is an insurance leg, the cash otherwise.
pub fn first_action(refund: &Refund) -> Action {
    match (&refund.state, &refund.settled) {
        (RefundState::UndoingInsurance { msgid }, Some(settled)) => {
            Action::Undo { msgid: msgid.clone(), setl_id: settled.setl_id.clone(), refund: Some(refund.id) }
        }
        _ => Action::ReturnCash { refund: refund.id },
    }
}

fn stays(refund: &Refund) -> RefundDecision {
    RefundDecision { next: refund.clone(), postings: Vec::new(), actions: Vec::new(), ended: None }
}

fn plan(decision: &mut RefundDecision, given: &Given<'_>, wait_ms: i64, action: Action) {
    decision.actions.push(Planned { action, due_at_us: Rules::in_ms(given.now_us, wait_ms) });
}

fn inconsistent(refund: &Refund, event: &RefundEvent) -> Refusal {
    Refusal::new(No::Internal, format!("a refund in {} has no data for {}", refund.state.word(), event.kind()))
}

fn ended(refund: &Refund, done: bool, words: Option<String>) -> Returned {
    Returned {
        refund: refund.id,
        amount: refund.amount,
        cash: refund.cash.as_ref().map_or(Fen::ZERO, |cash| cash.amount),
        carried: refund.carried.unwrap_or(Fen::ZERO),
        replaced: refund.kind == RefundKind::Replace,
        undo_setl_id: refund.undone.as_ref().map(|undone| undone.undo_setl_id.clone()),
        done,
        words,
    }
}

fn insurance_undone(
    refund: &Refund,
    event: &RefundEvent,
    order: &Order,
    given: &Given<'_>,
) -> Result<RefundDecision, Refusal> {
    let (RefundEvent::UndoDone(undone), Some(settled)) = (event, &refund.settled) else {
        return Err(inconsistent(refund, event));
    };
    let mut decision = stays(refund);
    decision.next.undone = Some(undone.clone());
    let lines =
        posting::insurance_settled(&settled.split, &settled.insutype, &order.bill.institution, settled.setl_time_us)
            .map_err(beyond_money)?;
    decision.postings = posting::reversed(lines, undone.setl_time_us);
    let amount = settled.split.insurance().map_err(beyond_money)?;
    plan(&mut decision, given, 0, Action::Sms { news: News::InsuranceUndone, amount });
    // The person's accumulators moved now; the cash may take days.
    if let Some(insured) = &order.insured {
        plan(&mut decision, given, 0, Action::Ripple { person: insured.person, except: order.id });
    }
    if refund.kind == RefundKind::Replace {
        decision.next.state = RefundState::Replacing;
        plan(&mut decision, given, 0, Action::Replace { refund: refund.id });
    } else {
        return_cash_or_end(&mut decision, given);
    }
    Ok(decision)
}

fn return_cash_or_end(decision: &mut RefundDecision, given: &Given<'_>) {
    if decision.next.cash.is_some() {
        let refund = decision.next.id;
        decision.next.state = RefundState::ReturningCash;
        decision.next.since_us = given.now_us;
        plan(decision, given, 0, Action::ReturnCash { refund });
    } else {
        decision.next.state = RefundState::Done;
        decision.ended = Some(ended(&decision.next, true, None));
    }
}

/// What the replacement keeps of the cash stays where it is, owed for another bill; the rest goes back.
fn carried(refund: &Refund, event: &RefundEvent, order: &Order, given: &Given<'_>) -> Result<RefundDecision, Refusal> {
    let kept = match event {
        RefundEvent::Carried { cash } => *cash,
        RefundEvent::NotCarried => Fen::ZERO,
        _ => return Err(inconsistent(refund, event)),
    };
    let mut decision = stays(refund);
    decision.next.carried = Some(kept);
    let held = refund.cash.as_ref().map_or(Fen::ZERO, |cash| cash.amount);
    if kept.is_negative() || kept > held {
        return Err(Refusal::new(No::Internal, "a replacement cannot keep more cash than was taken"));
    }
    if let Some(cash) = &refund.cash {
        let at_us = cash.taken.success_time_us;
        let lines = posting::cash_carried(kept, &order.bill.institution, at_us).map_err(beyond_money)?;
        decision.postings = posting::reversed(lines, at_us);
        let rest = cash.amount.minus(kept).map_err(beyond_money)?;
        decision.next.cash = (!rest.is_zero()).then(|| CashBack { taken: cash.taken.clone(), amount: rest });
    }
    return_cash_or_end(&mut decision, given);
    Ok(decision)
}

fn ask_undo(refund: &Refund, event: &RefundEvent, _: &Order, given: &Given<'_>) -> Result<RefundDecision, Refusal> {
    let settled = refund.settled.as_ref().ok_or_else(|| inconsistent(refund, event))?;
    let setl_id = settled.setl_id.clone();
    let question = Action::AskUndo { setl_id: setl_id.clone(), refund: Some(refund.id) };
    let mut decision = stays(refund);
    match (event, &refund.state) {
        (RefundEvent::UndoRefused { words, busy: true }, _) => {
            // Busy means that nothing was done: the 2208 is sent again under a fresh message.
            let msgid = given.msgid.to_owned();
            decision.next.state = RefundState::UndoingInsurance { msgid: msgid.clone() };
            let again = Action::Undo { msgid, setl_id, refund: Some(refund.id) };
            once_more(&mut decision, given, Patience::with_the_bureau(given, words), again);
        }
        (RefundEvent::UndoRefused { words, busy: false }, _) => {
            decision.next.state = RefundState::AskingUndo { refused: Some(words.clone()) };
            plan(&mut decision, given, given.rules.ask_again_ms, question);
        }
        (_, RefundState::AskingUndo { refused }) => {
            let words = refused.as_deref().unwrap_or_default();
            once_more(&mut decision, given, Patience::with_the_bureau(given, words), question);
        }
        _ => {
            decision.next.state = RefundState::AskingUndo { refused: None };
            // A lost 2208 may still execute within the bureau's own limit: an answer before that would prove nothing.
            plan(&mut decision, given, given.rules.bureau_limit_ms, question);
        }
    }
    Ok(decision)
}

fn undo_again_or_refuse(
    refund: &Refund,
    event: &RefundEvent,
    _: &Order,
    given: &Given<'_>,
) -> Result<RefundDecision, Refusal> {
    let (RefundState::AskingUndo { refused }, Some(settled)) = (&refund.state, &refund.settled) else {
        return Err(inconsistent(refund, event));
    };
    let mut decision = stays(refund);
    if let Some(words) = refused {
        // The bureau said no and the settlement stands: nothing moved, and the answer says so.
        decision.next.state = RefundState::Refused { words: words.clone() };
        decision.ended = Some(ended(&decision.next, false, Some(words.clone())));
        return Ok(decision);
    }
    let msgid = given.msgid.to_owned();
    decision.next.state = RefundState::UndoingInsurance { msgid: msgid.clone() };
    if is_over(refund, given.rules.patience_ms, given) {
        suspend(&mut decision, "", Owner::Bureau);
    }
    let action = Action::Undo { msgid, setl_id: settled.setl_id.clone(), refund: Some(refund.id) };
    plan(&mut decision, given, 0, action);
    Ok(decision)
}

fn cash_returned(
    refund: &Refund,
    event: &RefundEvent,
    order: &Order,
    given: &Given<'_>,
) -> Result<RefundDecision, Refusal> {
    let (RefundEvent::CashReturned { success_time_us }, Some(cash)) = (event, &refund.cash) else {
        return Err(inconsistent(refund, event));
    };
    let against = match refund.kind {
        RefundKind::Stray => Account::Suspense,
        RefundKind::Whole | RefundKind::Replace | RefundKind::Part => {
            Account::Payable { institution: order.bill.institution.clone() }
        }
    };
    let lines =
        posting::cash_taken(cash.amount, &order.bill.merchant, against, *success_time_us).map_err(beyond_money)?;
    let mut decision = stays(refund);
    decision.postings = posting::reversed(lines, *success_time_us);
    decision.next.state = RefundState::Done;
    decision.next.returned_at_us = Some(*success_time_us);
    plan(&mut decision, given, 0, Action::Sms { news: News::CashReturned, amount: cash.amount });
    decision.ended = Some(ended(&decision.next, true, None));
    Ok(decision)
}

fn ask_return(refund: &Refund, _: &RefundEvent, _: &Order, given: &Given<'_>) -> Result<RefundDecision, Refusal> {
    let mut decision = stays(refund);
    let patience = Patience { ms: given.rules.refund_ms, words: "", owner: Owner::Finance };
    once_more(&mut decision, given, patience, Action::AskReturn { refund: refund.id });
    Ok(decision)
}

fn return_again(refund: &Refund, _: &RefundEvent, _: &Order, given: &Given<'_>) -> Result<RefundDecision, Refusal> {
    let mut decision = stays(refund);
    plan(&mut decision, given, 0, Action::ReturnCash { refund: refund.id });
    Ok(decision)
}

fn return_later(refund: &Refund, event: &RefundEvent, _: &Order, given: &Given<'_>) -> Result<RefundDecision, Refusal> {
    let RefundEvent::CashRefused { words } = event else { return Err(inconsistent(refund, event)) };
    let mut decision = stays(refund);
    let patience = Patience { ms: given.rules.patience_ms, words, owner: Owner::Finance };
    once_more(&mut decision, given, patience, Action::ReturnCash { refund: refund.id });
    Ok(decision)
}

/// The wallet will not take it up again by itself, whoever asks: a person must act there.
fn show_to_finance(
    refund: &Refund,
    event: &RefundEvent,
    _: &Order,
    given: &Given<'_>,
) -> Result<RefundDecision, Refusal> {
    let RefundEvent::CashAbnormal { words } = event else { return Err(inconsistent(refund, event)) };
    let mut decision = stays(refund);
    suspend(&mut decision, words, Owner::Finance);
    plan(&mut decision, given, given.rules.patience_ms, Action::AskReturn { refund: refund.id });
    Ok(decision)
}

/// A suspended refund decides as if it still stood where it was. Only its step's end ends the suspension, and whatever
/// is to be waited for is waited for longer.
fn learn(refund: &Refund, event: &RefundEvent, order: &Order, given: &Given<'_>) -> Result<RefundDecision, Refusal> {
    let RefundState::Suspended { from, words, owner } = &refund.state else {
        return Err(inconsistent(refund, event));
    };
    let as_if = Refund { state: RefundState::clone(from), ..refund.clone() };
    let mut decision = next(&as_if, event, order, given)?;
    let (state, newer) = match decision.next.state.clone() {
        RefundState::Suspended { from, words, .. } => (*from, words),
        state => (state, String::new()),
    };
    if !same_step(&state, from) {
        return Ok(decision);
    }
    let words = if newer.is_empty() { words.clone() } else { newer };
    decision.next.state = RefundState::Suspended { from: Box::new(state), words, owner: *owner };
    let seldom_us = Rules::in_ms(given.now_us, given.rules.patience_ms);
    for planned in decision.actions.iter_mut().filter(|planned| planned.due_at_us > given.now_us) {
        planned.due_at_us = planned.due_at_us.max(seldom_us);
    }
    Ok(decision)
}

fn same_step(one: &RefundState, other: &RefundState) -> bool {
    let undoes =
        |state: &RefundState| matches!(state, RefundState::UndoingInsurance { .. } | RefundState::AskingUndo { .. });
    let returns = |state: &RefundState| matches!(state, RefundState::ReturningCash);
    (undoes(one) && undoes(other)) || (returns(one) && returns(other))
}

/// How long a step is left to the machine alone, who looks at it then, and what the outsider has said.
struct Patience<'a> {
    ms: i64,
    words: &'a str,
    owner: Owner,
}

impl<'a> Patience<'a> {
    const fn with_the_bureau(given: &Given<'_>, words: &'a str) -> Patience<'a> {
        Patience { ms: given.rules.patience_ms, words, owner: Owner::Bureau }
    }
}

/// Tries or asks again, the more seldom the longer the step has lasted; past all patience a person is shown it.
fn once_more(decision: &mut RefundDecision, given: &Given<'_>, patience: Patience<'_>, action: Action) {
    let wait_ms = if is_over(&decision.next, patience.ms, given) {
        suspend(decision, patience.words, patience.owner);
        given.rules.patience_ms
    } else {
        given.rules.ask_again_after_ms(decision.next.since_us, given.now_us)
    };
    plan(decision, given, wait_ms, action);
}

fn suspend(decision: &mut RefundDecision, words: &str, owner: Owner) {
    let from = Box::new(decision.next.state.clone());
    decision.next.state = RefundState::Suspended { from, words: words.to_owned(), owner };
}

/// Whether its step has lasted longer than this.
fn is_over(refund: &Refund, ms: i64, given: &Given<'_>) -> bool {
    given.now_us >= Rules::in_ms(refund.since_us, ms)
}
