//! ★ Read this first. The life of a payment order: states, events, and the one table that decides every pair.
//!
//! [`next`] is pure: it gets the order, the event and what is [`Given`] at that moment, and returns a [`Decision`] or
//! a refusal. [`TABLE`] lists every (place, event) that means anything, the handler that decides it and the places it
//! may lead to; every other pair is one refusal naming both. The diagrams in the documents are printed from it.
//! The handlers lie in `order/`, one file a subject: `pricing`, `payer`, `insurance`, `cash`, `telling`, `undoing`,
//! `afterwards`, `waiting`; they write their decisions with the `draft`.
//!
//! Theory. Money moves in two legs, insurance before cash. Each step has its undo beside it:
//!
//! | step | undo |
//! | --- | --- |
//! | price | release |
//! | settle (2207) | 2208 when its outcome is known, 2601 when it is not |
//! | collect | close and ask, before payment; refund after |
//! | tell | tell undone |
//!
//! [`Insurance`] makes the worst state unrepresentable: an order with an insurance leg reaches a place where cash can
//! be taken only by carrying its [`Settled`]. Cash that arrives anywhere else is *stray*: it goes to suspense and back.
//! A [`State::Suspended`] order keeps the state it came from, and still learns from late answers.

mod afterwards;
mod cash;
mod draft;
mod event;
mod facts;
mod insurance;
mod payer;
mod pricing;
mod state;
mod telling;
mod undoing;
mod waiting;

use schema::ids::{ChannelUserId, MessageId, OrderId, RefundId, TenantId};
use schema::money::Fen;
use schema::refusal::{Code as No, Refusal};

use super::action::{Action, Planned};
use super::bill::{BillFacts, BillState};
use super::binding::BindingFacts;
use super::deadline::Rules;
use super::posting::Posting;
use super::refund::Refund;
use super::refusal::unlisted;
use afterwards::{refund_ended, refund_some};
use cash::{ask_wallet, close_wallet, close_wallet_again, collect, paid, prepay_again, prepay_refused, wallet_closed};
use draft::Draft;
use insurance::{
    ask_settle_again, carried, doubt, end_while_busy, nothing_to_carry, prove, proven_nothing, reverse_again,
    settle_again, settle_refused, settled, settled_late, settling_too_long,
};
use payer::{authorised, code_issued};
use pricing::{ask_price_again, close_unpaid, price_again, price_refused, priced, resumed};
use telling::{ask_tell, booked, rejected, return_all, returned, tell_again};
use undoing::{ask_undo, ask_undo_again, stray, stray_returned, undo_again, undone};
use waiting::{
    already_paid, flag, learn, suspend_silent_bureau, suspend_silent_institution, suspend_silent_wallet,
    suspend_stuck_refund, wait, yield_what_went_back,
};

pub use event::{Event, Kind, PriceCame, Undone};
pub use facts::{
    Authorisation, AuthorisationKind, BilledFor, Carry, Echoed, Inputs, Insurance, Insured, Legs, Order, Price,
    Settled, Taken,
};
pub use payer::out_trade_no;
pub use state::{Owner, Place, State, Then, Why};

/// What holds at the moment of a decision, read in the same commit. Fresh ids are made by the desk, saved here.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    /// Now: microseconds UTC.
    pub now_us: i64,
    /// Deadlines and waits.
    pub rules: &'a Rules,
    /// The dialect finds settlements by visit (5203 by mdtrt_id).
    pub can_ask_by_visit: bool,
    /// The bill.
    pub bill: &'a BillFacts,
    /// The binding under which insured money would be spent, as it is now.
    pub binding: Option<&'a BindingFacts>,
    /// A fresh bureau message number, for whichever call this decision makes.
    pub msgid: &'a str,
    /// A fresh link message.
    pub message: MessageId,
    /// A fresh refund id.
    pub refund: RefundId,
}

/// What follows from an event, and nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The order as it is now.
    pub next: Order,
    /// Double-entry lines; they sum to zero.
    pub postings: Vec<Posting>,
    /// What is to be done outside.
    pub actions: Vec<Planned>,
    /// A refund that begins.
    pub refund: Option<Refund>,
}

/// A handler: one row's decision.
pub type Handler = fn(&Order, &Event, &Given<'_>) -> Result<Decision, Refusal>;

/// One row of the table.
pub struct Row {
    /// Where.
    pub place: Place,
    /// What happened.
    pub event: Kind,
    /// The handler's name, as the diagrams show it.
    pub name: &'static str,
    /// Who decides.
    pub decide: Handler,
    /// Where it may lead; empty for a row that always refuses, in words of its own.
    pub to: &'static [Place],
}

macro_rules! table {
    ($($place:ident + $event:literal => $handler:ident -> [$($to:ident),*];)*) => {
        /// Every (place, event) that means anything.
        pub const TABLE: &[Row] = &[
            $(Row {
                place: Place::$place,
                event: $event,
                name: stringify!($handler),
                decide: $handler,
                to: &[$(Place::$to),*],
            }),*
        ];
    };
}

table! {
    // Pricing
    Created + "price_came" => priced -> [Priced, Closed];
    Created + "price_refused" => price_refused -> [Closed];
    Created + "price_unknown" => ask_price_again -> [Created];
    Created + "cancelled" => close_unpaid -> [Closed];
    Created + "window_claimed" => close_unpaid -> [Closed];
    Created + "binding_lost" => close_unpaid -> [Closed];
    Created + "deadline_passed" => close_unpaid -> [Closed];
    // The payer decides
    Priced + "code_issued" => code_issued -> [Priced];
    Priced + "authorised" => authorised -> [Settling, Prepaying];
    Priced + "resumed" => resumed -> [Settling];
    Priced + "price_stale" => price_again -> [Created];
    Priced + "cancelled" => close_unpaid -> [Closed];
    Priced + "window_claimed" => close_unpaid -> [Closed];
    Priced + "binding_lost" => close_unpaid -> [Closed];
    Priced + "deadline_passed" => close_unpaid -> [Closed];
    // The insurance leg
    Settling + "settle_done" => settled -> [Prepaying, Carrying, Paid, UndoingInsurance];
    Settling + "settle_refused" => settle_refused -> [Settling, Closed];
    Settling + "settle_unknown" => doubt -> [Doubting];
    Settling + "settle_due" => settle_again -> [Settling, Closed];
    Settling + "cancelled" => end_while_busy -> [Closed];
    Settling + "binding_lost" => end_while_busy -> [Settling, Closed];
    Settling + "window_claimed" => wait -> [];
    Settling + "deadline_passed" => settling_too_long -> [Suspended, Closed];
    Doubting + "reverse_done" => prove -> [Proving];
    Doubting + "reverse_unknown" => reverse_again -> [Doubting];
    Doubting + "binding_lost" => flag -> [Doubting];
    Doubting + "window_claimed" => wait -> [];
    Doubting + "deadline_passed" => suspend_silent_bureau -> [Suspended];
    Proving + "reverse_done" => proven_nothing -> [Priced, Created, Closed];
    Proving + "reverse_unknown" => reverse_again -> [Proving];
    Proving + "settle_not_found" => proven_nothing -> [Priced, Created, Closed];
    Proving + "settle_found" => settled_late -> [UndoingInsurance];
    Proving + "ask_settle_unknown" => ask_settle_again -> [Proving];
    Proving + "binding_lost" => flag -> [Proving];
    Proving + "window_claimed" => wait -> [];
    Proving + "deadline_passed" => suspend_silent_bureau -> [Suspended];
    // The cash leg
    Prepaying + "prepay_done" => collect -> [Collecting];
    Prepaying + "prepay_refused" => prepay_refused -> [Prepaying, ClosingWallet];
    Prepaying + "prepay_unknown" => ask_wallet -> [Prepaying];
    Prepaying + "wallet_not_paid" => prepay_again -> [Prepaying];
    Prepaying + "wallet_paid" => paid -> [Paid, UndoingInsurance, Closed];
    Prepaying + "wallet_closed" => wallet_closed -> [UndoingInsurance, Closed];
    Prepaying + "cancelled" => close_wallet -> [ClosingWallet];
    Prepaying + "deadline_passed" => close_wallet -> [ClosingWallet];
    Prepaying + "binding_lost" => flag -> [Prepaying];
    Prepaying + "window_claimed" => wait -> [];
    Collecting + "wallet_paid" => paid -> [Paid, UndoingInsurance, Closed];
    Collecting + "wallet_not_paid" => ask_wallet -> [Collecting];
    Collecting + "wallet_closed" => wallet_closed -> [UndoingInsurance, Closed];
    Collecting + "cancelled" => close_wallet -> [ClosingWallet];
    Collecting + "deadline_passed" => close_wallet -> [ClosingWallet];
    Collecting + "binding_lost" => flag -> [Collecting];
    Collecting + "window_claimed" => wait -> [];
    // The cash leg of a replacement: it is there already
    Carrying + "cash_carried" => carried -> [Paid];
    Carrying + "carry_refused" => nothing_to_carry -> [UndoingInsurance];
    Carrying + "binding_lost" => flag -> [Carrying];
    Carrying + "window_claimed" => wait -> [];
    Carrying + "deadline_passed" => suspend_stuck_refund -> [Suspended];
    // Telling the institution
    Paid + "tell_booked" => booked -> [Completed];
    Paid + "tell_rejected" => rejected -> [Returning];
    Paid + "tell_unknown" => ask_tell -> [Paid];
    Paid + "tell_not_booked" => tell_again -> [Paid];
    Paid + "refund_asked" => return_all -> [Returning];
    Paid + "binding_lost" => flag -> [Paid];
    Paid + "window_claimed" => already_paid -> [];
    Paid + "deadline_passed" => suspend_silent_institution -> [Suspended];
    // Undoing before Paid
    ClosingWallet + "wallet_closed" => wallet_closed -> [UndoingInsurance, Closed];
    ClosingWallet + "wallet_paid" => paid -> [Paid, UndoingInsurance, Closed];
    ClosingWallet + "wallet_not_paid" => close_wallet_again -> [ClosingWallet];
    ClosingWallet + "window_claimed" => wait -> [];
    ClosingWallet + "binding_lost" => flag -> [ClosingWallet];
    ClosingWallet + "deadline_passed" => suspend_silent_wallet -> [Suspended];
    UndoingInsurance + "undo_done" => undone -> [Created, Priced, Closed];
    UndoingInsurance + "undo_refused" => ask_undo -> [UndoingInsurance, AskingUndo];
    UndoingInsurance + "undo_unknown" => ask_undo -> [AskingUndo];
    UndoingInsurance + "wallet_paid" => stray -> [UndoingInsurance];
    UndoingInsurance + "window_claimed" => wait -> [];
    UndoingInsurance + "binding_lost" => flag -> [UndoingInsurance];
    UndoingInsurance + "deadline_passed" => suspend_silent_bureau -> [Suspended];
    AskingUndo + "undo_found" => undone -> [Created, Priced, Closed];
    AskingUndo + "undo_stands" => undo_again -> [UndoingInsurance, Suspended];
    AskingUndo + "ask_undo_unknown" => ask_undo_again -> [AskingUndo];
    AskingUndo + "wallet_paid" => stray -> [AskingUndo];
    AskingUndo + "window_claimed" => wait -> [];
    AskingUndo + "binding_lost" => flag -> [AskingUndo];
    AskingUndo + "deadline_passed" => suspend_silent_bureau -> [Suspended];
    // Undoing after Paid
    Returning + "refund_ended" => returned -> [Closed, Suspended];
    Returning + "binding_lost" => flag -> [Returning];
    Returning + "window_claimed" => wait -> [];
    Returning + "deadline_passed" => suspend_stuck_refund -> [Suspended];
    // Afterwards
    Completed + "refund_asked" => refund_some -> [Completed];
    Completed + "refund_ended" => refund_ended -> [Completed, Closed];
    Completed + "window_claimed" => yield_what_went_back -> [Closed];
    Closed + "wallet_paid" => stray -> [Closed];
    Closed + "refund_ended" => stray_returned -> [Closed];
    UndoingInsurance + "refund_ended" => stray_returned -> [UndoingInsurance];
    AskingUndo + "refund_ended" => stray_returned -> [AskingUndo];
    // Suspended orders learn
    Suspended + "settle_done" => learn -> [Prepaying, Carrying, Paid, UndoingInsurance];
    Suspended + "settle_refused" => learn -> [Suspended, Closed];
    Suspended + "settle_due" => learn -> [Suspended, Closed];
    Suspended + "settle_unknown" => learn -> [Suspended];
    Suspended + "reverse_done" => learn -> [Suspended, Priced, Created, Closed];
    Suspended + "reverse_unknown" => learn -> [Suspended];
    Suspended + "settle_not_found" => learn -> [Priced, Created, Closed];
    Suspended + "settle_found" => learn -> [UndoingInsurance];
    Suspended + "ask_settle_unknown" => learn -> [Suspended];
    Suspended + "undo_done" => learn -> [Created, Priced, Closed];
    Suspended + "undo_refused" => learn -> [Suspended];
    Suspended + "undo_unknown" => learn -> [Suspended];
    Suspended + "undo_found" => learn -> [Created, Priced, Closed];
    Suspended + "undo_stands" => learn -> [Suspended];
    Suspended + "ask_undo_unknown" => learn -> [Suspended];
    Suspended + "prepay_done" => learn -> [Suspended];
    Suspended + "prepay_refused" => learn -> [Suspended, ClosingWallet];
    Suspended + "prepay_unknown" => learn -> [Suspended];
    Suspended + "cash_carried" => learn -> [Paid];
    Suspended + "carry_refused" => learn -> [UndoingInsurance];
    Suspended + "wallet_paid" => learn -> [Paid, Suspended, Closed];
    Suspended + "wallet_not_paid" => learn -> [Suspended];
    Suspended + "wallet_closed" => learn -> [UndoingInsurance, Closed, Suspended];
    Suspended + "tell_booked" => learn -> [Completed];
    Suspended + "tell_rejected" => learn -> [Returning];
    Suspended + "tell_unknown" => learn -> [Suspended];
    Suspended + "tell_not_booked" => learn -> [Suspended];
    Suspended + "refund_asked" => learn -> [Returning];
    Suspended + "refund_ended" => learn -> [Closed, Suspended];
    Suspended + "binding_lost" => flag -> [Suspended];
    Suspended + "window_claimed" => wait -> [];
}

/// What to do about an event. Unlisted pairs are refused naming both; nothing changes then.
pub fn next(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let place = order.state.place();
    let row = TABLE
        .iter()
        .find(|row| row.place == place && row.event == event.kind())
        .ok_or_else(|| unlisted("an order", place.word(), event.kind()))?;
    (row.decide)(order, event, given)
}

/// Opens an order; with a `carry`, one that replaces another. Refuses a bill that cannot be paid and insured money
/// without a binding that may spend it.
pub fn open(
    id: OrderId,
    tenant: TenantId,
    payer: ChannelUserId,
    merchant: &str,
    insured: Option<Insured>,
    carry: Option<Carry>,
    given: &Given<'_>,
) -> Result<Decision, Refusal> {
    let bill = given.bill;
    if bill.state != BillState::Open || given.now_us >= bill.expires_at_us {
        return Err(Refusal::new(No::BillNotPayable, format!("bill {} is {}", bill.id, bill.state.as_str())));
    }
    if let Some(open) = bill.order {
        return Err(Refusal::new(No::OrderOpen, format!("order {open} holds bill {}", bill.id)));
    }
    let insured = match (insured, &carry) {
        (Some(insured), Some(carry)) => Some(Insured { epoch: carry.epoch, ..insured }),
        (insured, _) => insured,
    };
    if let Some(insured) = &insured {
        let binding = given.binding.ok_or_else(|| Refusal::new(No::BindingUnknown, "no binding for this person"))?;
        binding.may_spend(insured.epoch)?;
    }
    let order = Order {
        id,
        tenant,
        version: 0,
        bill: BilledFor {
            id: bill.id,
            bill_no: bill.bill_no.clone(),
            institution: bill.institution.clone(),
            merchant: merchant.to_owned(),
            amount: bill.amount,
            expires_at_us: bill.expires_at_us,
        },
        payer,
        insured,
        state: State::Created,
        price: None,
        authorisation: None,
        refunded: Fen::ZERO,
        refunding: Fen::ZERO,
        strays: Vec::new(),
        flagged: false,
        replaces: carry.as_ref().map(|carry| carry.from),
        carry,
        carried_in: Fen::ZERO,
        carried_out: Fen::ZERO,
        entered_at_us: given.now_us,
        created_at_us: given.now_us,
        updated_at_us: given.now_us,
        deadline_at_us: None,
    };
    Draft::of(&order, given).to(State::Created).now(Action::Price { message: given.message }).decide()
}
