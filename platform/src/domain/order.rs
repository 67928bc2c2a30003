//! ★ Read this first. The life of a payment order: states, events, and the one table that decides every pair.
//!
//! [`next`] is pure: it gets the order, the event and what is [`Given`] at that moment, and returns a [`Decision`] or
//! a refusal. [`TABLE`] lists every (place, event) that means anything, the handler that decides it and the places it
//! may lead to; every other pair is one refusal naming both. The diagrams in the documents are printed from it.
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

use schema::bill::LineResult;
use schema::his::Guidance;
use schema::ids::{BindingId, ChannelUserId, InstitutionCode, MessageId, OrderId, RefundId, TenantId};
use schema::money::{Fen, Overflow};
use schema::refusal::{Code as No, Refusal};
use schema::seal::{Lookup, Sealed};
use schema::split::Split;
use serde::{Deserialize, Serialize};

use super::action::{Action, News, Planned};
use super::bill::{BillFacts, BillState};
use super::binding::BindingFacts;
use super::code::IssuedCode;
use super::deadline::Rules;
use super::posting::{self, Account, Posting};
use super::refund::{self, Refund, RefundAsked, Returned};
use super::refusal::unlisted;
use super::settlement::Settlement;
use super::split::{differs_for_the_payer, rises_for_the_payer};

/// One attempt to pay one bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Id.
    pub id: OrderId,
    /// The 统筹区 it belongs to.
    pub tenant: TenantId,
    /// Grows by one with every decision; also the number of its published record.
    pub version: i64,
    /// The bill's id, number, institution and amount.
    pub bill: BilledFor,
    /// Who taps.
    pub payer: ChannelUserId,
    /// Whose insurance, for an order with an insurance leg.
    pub insured: Option<Insured>,
    /// Where it stands.
    pub state: State,
    /// The last price.
    pub price: Option<Price>,
    /// What let the money move.
    pub authorisation: Option<Authorisation>,
    /// Given back so far, whole fen of all shares.
    pub refunded: Fen,
    /// Granted and not yet given back.
    pub refunding: Fen,
    /// Wallet transactions that came without a right to stay.
    pub strays: Vec<String>,
    /// The binding was lost while money was moving; it ended normally.
    pub flagged: bool,
    /// The order that this one replaces (partial return of an insured order).
    pub replaces: Option<OrderId>,
    /// What the replaced order offers this one, until it is used or given up.
    pub carry: Option<Carry>,
    /// Of this order's cash, what came in at the replaced order and stays booked at its wallet payment.
    pub carried_in: Fen,
    /// Of this order's cash, what now pays the order that replaced it.
    pub carried_out: Fen,
    /// When the public state was entered: microseconds UTC.
    pub entered_at_us: i64,
    /// When it was opened.
    pub created_at_us: i64,
    /// When it last changed.
    pub updated_at_us: i64,
    /// When [`Event::DeadlinePassed`] is due; none where nothing waits.
    pub deadline_at_us: Option<i64>,
}

/// The bill an order pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BilledFor {
    /// The bill.
    pub id: schema::ids::BillId,
    /// The institution's number.
    pub bill_no: String,
    /// Who asks for the money.
    pub institution: InstitutionCode,
    /// The institution's own merchant number at the wallet.
    pub merchant: String,
    /// Total.
    pub amount: Fen,
    /// The bill's own expiry: microseconds UTC.
    pub expires_at_us: i64,
}

/// The insured person behind an insurance leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insured {
    /// Under which binding.
    pub binding: BindingId,
    /// That binding's epoch when the order was opened.
    pub epoch: i64,
    /// Keyed hash of (insuplc_admdvs, psn_no).
    pub person: Lookup,
    /// 个账使用标志.
    pub use_account: bool,
}

/// A price as the institution got it from the bureau.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Counts this order's prices from 1; a code belongs to one of them.
    pub number: u32,
    /// Who pays what.
    pub split: Split,
    /// Everything 2207 will need; none for cash only.
    pub inputs: Option<Inputs>,
    /// Until when it holds: microseconds UTC.
    pub valid_until_us: i64,
}

/// 2207's inputs: sealed as a whole, with beside them everything that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// `schema::link::SettleInputs` as JSON, sealed for purpose `settle_inputs`.
    pub sealed: Sealed,
    /// Keyed hash of 人员编号 (purpose `psn_no`).
    pub psn_no: Lookup,
    /// 参保地.
    pub insuplc_admdvs: String,
    /// 就诊凭证类型.
    pub mdtrt_cert_type: String,
    /// Keyed hash of 就诊凭证编号 (purpose `mdtrt_cert_no`).
    pub mdtrt_cert_no: Lookup,
    /// 医疗类别.
    pub med_type: String,
    /// 个人结算方式.
    pub psn_setlway: String,
    /// 个账使用标志.
    pub acct_used: bool,
    /// 就诊ID.
    pub mdtrt_id: String,
    /// 收费批次号.
    pub chrg_bchno: String,
    /// 发票号.
    pub invono: String,
    /// 险种.
    pub insutype: String,
    /// The sums that 2207 echoes.
    pub echoed: Echoed,
}

/// What 2207 repeats of 2204's results, in fen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Echoed {
    /// 医疗费总额.
    pub medfee_sumamt: Fen,
    /// 全自费.
    pub fulamt_ownpay_amt: Fen,
    /// 超限价自费.
    pub overlmt_selfpay: Fen,
    /// 先行自付.
    pub preselfpay_amt: Fen,
    /// 符合政策范围.
    pub inscp_scp_amt: Fen,
}

/// What let the money move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorisation {
    /// How.
    pub kind: AuthorisationKind,
    /// The binding's level at that moment; 0 without binding.
    pub level: i16,
    /// When: microseconds UTC.
    pub at_us: i64,
    /// The split that was authorised.
    pub split: Split,
    /// The code's keyed hash, for insured orders.
    pub evidence: Option<Lookup>,
}

/// The kinds of authorisation of this platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorisationKind {
    /// One-time code and card number.
    CodeAndCard,
    /// A tap on the logged-in phone; the wallet's own password authorises the cash.
    WalletOnly,
}

/// An insurance leg that was settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The 2207's message.
    pub msgid: String,
    /// 结算ID.
    pub setl_id: String,
    /// 险种.
    pub insutype: String,
    /// As settled; funds may have shifted among themselves against the price.
    pub split: Split,
    /// The bureau's accounting time: microseconds UTC.
    pub setl_time_us: i64,
}

impl From<&Settlement> for Settled {
    fn from(settlement: &Settlement) -> Settled {
        Settled {
            msgid: settlement.msgid.clone(),
            setl_id: settlement.setl_id.clone(),
            insutype: settlement.insutype.clone(),
            split: settlement.split,
            setl_time_us: settlement.setl_time_us,
        }
    }
}

/// The insurance leg where cash may be taken: there is none, or it is settled. Nothing between can be written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "insurance", rename_all = "snake_case")]
pub enum Insurance {
    /// 自费: no insurance leg.
    CashOnly,
    /// Settled with the bureau.
    Settled(Settled),
}

/// Cash that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Our number at the wallet.
    pub out_trade_no: String,
    /// The wallet's number.
    pub transaction_id: String,
    /// How much.
    pub amount: Fen,
    /// The whole payment at the wallet; more than `amount` where a replaced order kept or gave back the rest.
    pub paid: Fen,
    /// The wallet's accounting time: microseconds UTC.
    pub success_time_us: i64,
}

/// What a replaced order offers its replacement: to be paid under the same authorisation, out of the same cash, as
/// long as neither account nor cash rises (design.md §3, partial return of an insured order).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// The replaced order.
    pub from: OrderId,
    /// Its refund, which waits to hear what is kept.
    pub refund: RefundId,
    /// The epoch of the binding there: what was authorised before a loss is not used after it.
    pub epoch: i64,
    /// What was authorised there.
    pub authorisation: Authorisation,
    /// The cash that was taken there; none where nothing was due.
    pub cash: Option<Taken>,
}

/// Both legs of an order that is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legs {
    /// The insurance leg.
    pub insurance: Insurance,
    /// The cash leg; none where nothing was due.
    pub cash: Option<Taken>,
}

/// Where an order stands, with the data only that state has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "snake_case")]
pub enum State {
    /// The institution is asked for the price.
    Created,
    /// The payer sees the split.
    Priced {
        /// The code that would authorise this split.
        code: Option<IssuedCode>,
        /// Codes sent for this price.
        sends: u8,
    },
    /// 2207 is out, or waits because the bureau was busy.
    Settling {
        /// Its message.
        msgid: String,
        /// The bureau's words for being busy: that 2207 did nothing and no other is out. None while one is.
        busy: Option<String>,
    },
    /// The 2207's outcome is unknown: the bureau's own limit passes, then 2601 is asked until it answers 0.
    Doubting {
        /// The 2207's message.
        msgid: String,
    },
    /// 2601 answered; a late 2207 may still execute: a second wait, then a question.
    Proving {
        /// The 2207's message.
        msgid: String,
    },
    /// The wallet order is being opened.
    Prepaying {
        /// What stands behind the cash.
        insurance: Insurance,
        /// Our number at the wallet.
        out_trade_no: String,
    },
    /// The payer is in the wallet.
    Collecting {
        /// What stands behind the cash.
        insurance: Insurance,
        /// Our number at the wallet.
        out_trade_no: String,
        /// The wallet's handle for the phone.
        prepay_id: String,
    },
    /// The insurance leg of a replacement is settled; its cash is claimed from the order it replaces.
    Carrying {
        /// The insurance leg.
        settled: Settled,
    },
    /// All money is in; the institution is told.
    Paid {
        /// What was paid.
        legs: Legs,
        /// The message that tells.
        told: MessageId,
    },
    /// The institution has booked it.
    Completed {
        /// What was paid.
        legs: Legs,
        /// Where the patient goes.
        guidance: Guidance,
    },
    /// The wallet order is being closed and asked; nothing else is undone before it answered.
    ClosingWallet {
        /// What stands behind the cash.
        insurance: Insurance,
        /// Our number at the wallet.
        out_trade_no: String,
        /// Why.
        why: Why,
    },
    /// 2208 is out.
    UndoingInsurance {
        /// What is undone.
        settled: Settled,
        /// This 2208's message.
        msgid: String,
        /// Why.
        why: Why,
        /// What follows.
        then: Then,
    },
    /// A 2208's outcome is unknown or was refused: 5203 is asked.
    AskingUndo {
        /// What is undone.
        settled: Settled,
        /// The refusal, where there was one: if the settlement stands, a person decides.
        refused: Option<String>,
        /// Why.
        why: Why,
        /// What follows.
        then: Then,
    },
    /// After Paid: a whole refund is at work.
    Returning {
        /// What was paid.
        legs: Legs,
        /// The message that told.
        told: MessageId,
        /// The refund.
        refund: RefundId,
        /// Why.
        why: Why,
    },
    /// A machine may not finish this alone; late answers are still learned from.
    Suspended {
        /// Where it stood.
        from: Box<State>,
        /// Why.
        why: Why,
        /// Who must look.
        owner: Owner,
    },
    /// Nothing is out.
    Closed {
        /// Why.
        why: Why,
        /// What had been paid and was given back whole.
        returned: Option<Legs>,
    },
}

/// What follows once the insurance leg is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Price again: the payer would have paid other than what they saw.
    Reprice,
    /// Back to the price that was shown, if it still holds: the settlement came late and was never acted on.
    BackToPrice,
    /// End.
    Close,
}

/// Who must look at a suspended order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// 经办, at the bureau.
    Bureau,
    /// The institution's own staff.
    Institution,
    /// 财务.
    Finance,
}

/// Why an order left its straight way. The outsider's own words are kept for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Why {
    /// The payer cancelled.
    Cancelled,
    /// The window took the bill back.
    TakenByWindow,
    /// The institution did not price in time.
    NoPriceInTime,
    /// The institution refused to price.
    PriceRefused {
        /// Its words.
        words: String,
    },
    /// The institution's price does not sum to the bill, lacks what 2207 needs, or would spend other than was asked:
    /// its event names every fault.
    PriceUnsound,
    /// Nobody paid while the price held.
    PriceExpired,
    /// The binding or card was lost before money moved.
    BindingLost,
    /// The bureau refused to settle.
    SettleRefused {
        /// Its words.
        words: String,
    },
    /// The bureau settled other than what was authorised.
    Differs,
    /// A lost 2207 had settled after all.
    SettledLate,
    /// The wallet refused.
    WalletRefused {
        /// Its words.
        words: String,
    },
    /// Nobody paid in the wallet in time.
    NotPaidInTime,
    /// The wallet order was closed by somebody else.
    WalletClosed,
    /// The institution refused the bill after payment.
    Rejected {
        /// Its words.
        words: String,
    },
    /// The institution asked for everything back before it had booked.
    RefundAsked,
    /// A part went back: another order pays what remains.
    Replaced,
    /// The bureau does not answer.
    BureauSilent,
    /// The bureau refuses 2208.
    UndoRefused {
        /// Its words.
        words: String,
    },
    /// The institution does not answer after payment.
    InstitutionSilent,
    /// The wallet does not answer.
    WalletSilent,
    /// The wallet took another amount than was due.
    AmountDiffers,
    /// The refund could not be finished.
    RefundStuck,
    /// An invariant is broken.
    Broken {
        /// Its id.
        invariant: String,
    },
}

impl Why {
    /// The stable word.
    pub const fn word(&self) -> &'static str {
        match self {
            Why::Cancelled => "cancelled",
            Why::TakenByWindow => "taken_by_window",
            Why::NoPriceInTime => "no_price_in_time",
            Why::PriceRefused { .. } => "price_refused",
            Why::PriceUnsound => "price_unsound",
            Why::PriceExpired => "price_expired",
            Why::BindingLost => "binding_lost",
            Why::SettleRefused { .. } => "settle_refused",
            Why::Differs => "differs",
            Why::SettledLate => "settled_late",
            Why::WalletRefused { .. } => "wallet_refused",
            Why::NotPaidInTime => "not_paid_in_time",
            Why::WalletClosed => "wallet_closed",
            Why::Rejected { .. } => "rejected",
            Why::RefundAsked => "refund_asked",
            Why::Replaced => "replaced",
            Why::BureauSilent => "bureau_silent",
            Why::UndoRefused { .. } => "undo_refused",
            Why::InstitutionSilent => "institution_silent",
            Why::WalletSilent => "wallet_silent",
            Why::AmountDiffers => "amount_differs",
            Why::RefundStuck => "refund_stuck",
            Why::Broken { .. } => "broken",
        }
    }

    /// The outsider's own words, where there are any.
    pub fn words(&self) -> Option<&str> {
        match self {
            Why::PriceRefused { words }
            | Why::SettleRefused { words }
            | Why::WalletRefused { words }
            | Why::Rejected { words }
            | Why::UndoRefused { words } => Some(words),
            _ => None,
        }
    }
}

/// A row's name in the table: the state without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// [`State::Created`].
    Created,
    /// [`State::Priced`].
    Priced,
    /// [`State::Settling`].
    Settling,
    /// [`State::Doubting`].
    Doubting,
    /// [`State::Proving`].
    Proving,
    /// [`State::Prepaying`].
    Prepaying,
    /// [`State::Collecting`].
    Collecting,
    /// [`State::Carrying`].
    Carrying,
    /// [`State::Paid`].
    Paid,
    /// [`State::Completed`].
    Completed,
    /// [`State::ClosingWallet`].
    ClosingWallet,
    /// [`State::UndoingInsurance`].
    UndoingInsurance,
    /// [`State::AskingUndo`].
    AskingUndo,
    /// [`State::Returning`].
    Returning,
    /// [`State::Suspended`].
    Suspended,
    /// [`State::Closed`].
    Closed,
}

impl Place {
    /// Every place.
    pub const ALL: [Place; 16] = [
        Place::Created,
        Place::Priced,
        Place::Settling,
        Place::Doubting,
        Place::Proving,
        Place::Prepaying,
        Place::Collecting,
        Place::Carrying,
        Place::Paid,
        Place::Completed,
        Place::ClosingWallet,
        Place::UndoingInsurance,
        Place::AskingUndo,
        Place::Returning,
        Place::Suspended,
        Place::Closed,
    ];

    /// The public word: several places are one state to outsiders.
    pub const fn word(self) -> &'static str {
        match self {
            Place::Created => "created",
            Place::Priced => "priced",
            Place::Settling | Place::Doubting | Place::Proving => "settling",
            Place::Prepaying | Place::Collecting | Place::Carrying => "collecting",
            Place::Paid => "paid",
            Place::Completed => "completed",
            Place::ClosingWallet | Place::UndoingInsurance | Place::AskingUndo | Place::Returning => "undoing",
            Place::Suspended => "suspended",
            Place::Closed => "closed",
        }
    }

    /// At most one open order per bill: these hold it.
    pub const fn holds_bill(self) -> bool {
        !matches!(self, Place::Closed)
    }
}

impl State {
    /// The state without its data.
    pub const fn place(&self) -> Place {
        match self {
            State::Created => Place::Created,
            State::Priced { .. } => Place::Priced,
            State::Settling { .. } => Place::Settling,
            State::Doubting { .. } => Place::Doubting,
            State::Proving { .. } => Place::Proving,
            State::Prepaying { .. } => Place::Prepaying,
            State::Collecting { .. } => Place::Collecting,
            State::Carrying { .. } => Place::Carrying,
            State::Paid { .. } => Place::Paid,
            State::Completed { .. } => Place::Completed,
            State::ClosingWallet { .. } => Place::ClosingWallet,
            State::UndoingInsurance { .. } => Place::UndoingInsurance,
            State::AskingUndo { .. } => Place::AskingUndo,
            State::Returning { .. } => Place::Returning,
            State::Suspended { .. } => Place::Suspended,
            State::Closed { .. } => Place::Closed,
        }
    }

    /// One insured order per insured person at a time: these hold the person.
    ///
    /// A suspended order keeps what it held: an answer that comes late may lead on to a place that holds the person,
    /// and must not be refused because somebody else got there. Only where the bureau refuses 2208 is the person free:
    /// from there the order can but end.
    pub fn holds_person(&self) -> bool {
        match self {
            State::Settling { .. }
            | State::Doubting { .. }
            | State::Proving { .. }
            | State::Prepaying { .. }
            | State::Collecting { .. }
            | State::Carrying { .. }
            | State::ClosingWallet { .. }
            | State::UndoingInsurance { .. }
            | State::AskingUndo { .. } => true,
            State::Suspended { from, .. } => {
                from.holds_person() && !matches!(**from, State::AskingUndo { refused: Some(_), .. })
            }
            State::Created
            | State::Priced { .. }
            | State::Paid { .. }
            | State::Completed { .. }
            | State::Returning { .. }
            | State::Closed { .. } => false,
        }
    }

    /// Where the order stands, or stood before a person had to look at it.
    pub fn stood(&self) -> &State {
        match self {
            State::Suspended { from, .. } => from.stood(),
            state => state,
        }
    }

    /// The settlement that stands at the bureau in this state, as far as we know.
    pub fn settled(&self) -> Option<&Settled> {
        match self {
            State::Prepaying { insurance, .. }
            | State::Collecting { insurance, .. }
            | State::ClosingWallet { insurance, .. } => insurance.settled(),
            State::Paid { legs, .. } | State::Completed { legs, .. } | State::Returning { legs, .. } => {
                legs.insurance.settled()
            }
            State::Carrying { settled }
            | State::UndoingInsurance { settled, .. }
            | State::AskingUndo { settled, .. } => Some(settled),
            State::Suspended { from, .. } => from.settled(),
            State::Created
            | State::Priced { .. }
            | State::Settling { .. }
            | State::Doubting { .. }
            | State::Proving { .. }
            | State::Closed { .. } => None,
        }
    }

    /// The cash that this order holds in this state.
    pub fn taken(&self) -> Option<&Taken> {
        match self {
            State::Paid { legs, .. } | State::Completed { legs, .. } | State::Returning { legs, .. } => {
                legs.cash.as_ref()
            }
            State::Suspended { from, .. } => from.taken(),
            _ => None,
        }
    }

    /// Why it is where it is, where there is a reason.
    pub const fn why(&self) -> Option<&Why> {
        match self {
            State::ClosingWallet { why, .. }
            | State::UndoingInsurance { why, .. }
            | State::AskingUndo { why, .. }
            | State::Returning { why, .. }
            | State::Suspended { why, .. }
            | State::Closed { why, .. } => Some(why),
            _ => None,
        }
    }
}

impl Insurance {
    /// The settlement, if there is one.
    pub const fn settled(&self) -> Option<&Settled> {
        match self {
            Insurance::Settled(settled) => Some(settled),
            Insurance::CashOnly => None,
        }
    }
}

/// Something that happened. Answers of outsiders, acts of people, the passing of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The institution priced.
    PriceCame(Box<PriceCame>),
    /// It refused to.
    PriceRefused {
        /// Its words.
        words: String,
    },
    /// It did not answer, or its answer was lost.
    PriceUnknown {
        /// The ask that stays open.
        message: MessageId,
    },
    /// The person's accumulators moved: this price is stale.
    PriceStale,
    /// A code was issued; it is sent once this is durable.
    CodeIssued {
        /// The code.
        code: IssuedCode,
    },
    /// What was authorised for the replaced order covers this price too.
    Resumed,
    /// The replaced order keeps this order's cash for it.
    CashCarried,
    /// The replaced order has given its cash back already.
    CarryRefused,
    /// The payer authorised the split they saw.
    Authorised {
        /// The digits' keyed hash; none for cash only.
        offered: Option<Lookup>,
    },
    /// 2207 answered.
    SettleDone(Box<Settlement>),
    /// 2207 was refused; nothing was settled.
    SettleRefused {
        /// The bureau's words.
        words: String,
        /// It was only busy.
        busy: bool,
    },
    /// The wait after "busy" is over: 2207 may be sent.
    SettleDue,
    /// 2207's outcome is unknown.
    SettleUnknown,
    /// 2601 answered 0.
    ReverseDone,
    /// 2601 did not answer, or answered anything else.
    ReverseUnknown,
    /// The lost 2207 had settled.
    SettleFound(Box<Settlement>),
    /// There is no live settlement of that 2207.
    SettleNotFound,
    /// The question itself got no answer.
    AskSettleUnknown,
    /// 2208 answered.
    UndoDone(Undone),
    /// 2208 was refused.
    UndoRefused {
        /// The bureau's words.
        words: String,
        /// It was only busy.
        busy: bool,
    },
    /// 2208's outcome is unknown.
    UndoUnknown,
    /// 5203: it is undone.
    UndoFound(Undone),
    /// 5203: it stands.
    UndoStands,
    /// The question itself got no answer.
    AskUndoUnknown,
    /// The wallet order is open.
    PrepayDone {
        /// The wallet's handle.
        prepay_id: String,
    },
    /// The wallet refused.
    PrepayRefused {
        /// Its words.
        words: String,
        /// It was only busy.
        busy: bool,
    },
    /// Whether the wallet order is open is unknown.
    PrepayUnknown,
    /// The payer paid: by notice, by our question, or on closing.
    WalletPaid(Taken),
    /// Asked: not paid yet, or not known there, or no clear answer.
    WalletNotPaid,
    /// Closed for good, unpaid.
    WalletClosed,
    /// The institution booked it.
    TellBooked {
        /// Where the patient goes.
        guidance: Guidance,
    },
    /// The institution refuses the bill after payment.
    TellRejected {
        /// Its words.
        words: String,
    },
    /// The institution is silent.
    TellUnknown,
    /// Asked: it has not booked.
    TellNotBooked,
    /// The payer cancels.
    Cancelled,
    /// The window takes the bill back.
    WindowClaimed,
    /// The card or binding was lost.
    BindingLost,
    /// The state's deadline passed.
    DeadlinePassed,
    /// The institution asks for money back.
    RefundAsked(RefundAsked),
    /// A refund of this order came to its end.
    RefundEnded(Returned),
}

/// A price as it came in, sealed where it is personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceCame {
    /// Who pays what.
    pub split: Split,
    /// 2207's inputs; none for cash only.
    pub inputs: Option<Inputs>,
    /// The bureau's word on every line.
    pub lines: Vec<LineResult>,
    /// The institution's own valid-until.
    pub valid_until_us: i64,
    /// What does not fit the order and its bill, by place and without values: one is enough to end the order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// An insurance leg that was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// 2208's own settlement id; empty where the bureau says undone without showing the undo.
    pub undo_setl_id: String,
    /// Its accounting time: microseconds UTC.
    pub setl_time_us: i64,
    /// The 2208's message, as sent or as 5203 names it.
    #[serde(default)]
    pub msgid: Option<String>,
    /// The bureau's message (`inf_refmsgid`), where 2208 itself answered.
    #[serde(default)]
    pub inf_refmsgid: Option<String>,
}

/// An event's name, for tables, history and metrics.
pub type Kind = &'static str;

impl Event {
    /// The stable word.
    pub const fn kind(&self) -> Kind {
        match self {
            Event::PriceCame(_) => "price_came",
            Event::PriceRefused { .. } => "price_refused",
            Event::PriceUnknown { .. } => "price_unknown",
            Event::PriceStale => "price_stale",
            Event::CodeIssued { .. } => "code_issued",
            Event::Resumed => "resumed",
            Event::CashCarried => "cash_carried",
            Event::CarryRefused => "carry_refused",
            Event::Authorised { .. } => "authorised",
            Event::SettleDone(_) => "settle_done",
            Event::SettleRefused { .. } => "settle_refused",
            Event::SettleDue => "settle_due",
            Event::SettleUnknown => "settle_unknown",
            Event::ReverseDone => "reverse_done",
            Event::ReverseUnknown => "reverse_unknown",
            Event::SettleFound(_) => "settle_found",
            Event::SettleNotFound => "settle_not_found",
            Event::AskSettleUnknown => "ask_settle_unknown",
            Event::UndoDone(_) => "undo_done",
            Event::UndoRefused { .. } => "undo_refused",
            Event::UndoUnknown => "undo_unknown",
            Event::UndoFound(_) => "undo_found",
            Event::UndoStands => "undo_stands",
            Event::AskUndoUnknown => "ask_undo_unknown",
            Event::PrepayDone { .. } => "prepay_done",
            Event::PrepayRefused { .. } => "prepay_refused",
            Event::PrepayUnknown => "prepay_unknown",
            Event::WalletPaid(_) => "wallet_paid",
            Event::WalletNotPaid => "wallet_not_paid",
            Event::WalletClosed => "wallet_closed",
            Event::TellBooked { .. } => "tell_booked",
            Event::TellRejected { .. } => "tell_rejected",
            Event::TellUnknown => "tell_unknown",
            Event::TellNotBooked => "tell_not_booked",
            Event::Cancelled => "cancelled",
            Event::WindowClaimed => "window_claimed",
            Event::BindingLost => "binding_lost",
            Event::DeadlinePassed => "deadline_passed",
            Event::RefundAsked(_) => "refund_asked",
            Event::RefundEnded(_) => "refund_ended",
        }
    }
}

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

/// A decision in the making: keeps clock, version and deadline right in one place.
struct Draft<'a> {
    decision: Decision,
    given: &'a Given<'a>,
    came_from: &'static str,
}

impl<'a> Draft<'a> {
    fn of(order: &Order, given: &'a Given<'a>) -> Draft<'a> {
        let decision = Decision { next: order.clone(), postings: Vec::new(), actions: Vec::new(), refund: None };
        Draft { decision, given, came_from: order.state.place().word() }
    }

    fn to(mut self, state: State) -> Self {
        self.decision.next.state = state;
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Order)) -> Self {
        change(&mut self.decision.next);
        self
    }

    fn now(self, action: Action) -> Self {
        self.later(0, action)
    }

    /// Asks again, the more seldom the longer the state has lasted.
    fn again(self, action: Action) -> Self {
        let wait_ms = self.given.rules.ask_again_after_ms(self.decision.next.entered_at_us, self.given.now_us);
        self.later(wait_ms, action)
    }

    fn later(mut self, ms: i64, action: Action) -> Self {
        let due_at_us = Rules::in_ms(self.given.now_us, ms);
        self.decision.actions.push(Planned { action, due_at_us });
        self
    }

    fn post(mut self, lines: Result<Vec<Posting>, Overflow>) -> Result<Self, Refusal> {
        self.decision.postings.extend(lines.map_err(beyond_money)?);
        Ok(self)
    }

    fn sms(self, news: News, amount: Fen) -> Self {
        self.now(Action::Sms { news, amount })
    }

    fn ripple(self) -> Self {
        let except = self.decision.next.id;
        match self.decision.next.insured.as_ref().map(|insured| insured.person) {
            Some(person) => self.now(Action::Ripple { person, except }),
            None => self,
        }
    }

    fn release(self) -> Self {
        let message = self.given.message;
        self.now(Action::Release { message })
    }

    fn decide(mut self) -> Result<Decision, Refusal> {
        let now_us = self.given.now_us;
        let next = &mut self.decision.next;
        let entered = next.state.place().word();
        if entered != self.came_from || next.version == 0 {
            next.entered_at_us = now_us;
        }
        // Whichever way a replacement ends before it used what was offered, the replaced order hears of it.
        if next.state.place() == Place::Closed
            && let Some(carry) = next.carry.take()
        {
            self.decision.actions.push(not_carried(&carry, now_us));
        }
        let next = &mut self.decision.next;
        next.version += 1;
        next.updated_at_us = now_us;
        next.deadline_at_us = deadline(next, self.given.rules);
        Ok(self.decision)
    }
}

/// When the state's time is over. Every waiting state has an end, so nothing waits unseen.
fn deadline(order: &Order, rules: &Rules) -> Option<i64> {
    let after = |ms: i64| Some(Rules::in_ms(order.entered_at_us, ms));
    match order.state.place() {
        Place::Created => after(rules.price_ms),
        Place::Priced => order.price.as_ref().map(|price| price.valid_until_us),
        Place::Settling | Place::Doubting | Place::Proving => after(rules.patience_ms),
        Place::Prepaying | Place::Collecting => after(rules.collect_ms),
        Place::Carrying => after(rules.patience_ms),
        Place::Paid => after(rules.tell_ms),
        Place::ClosingWallet | Place::UndoingInsurance | Place::AskingUndo => after(rules.patience_ms),
        Place::Returning => after(rules.refund_ms),
        Place::Completed | Place::Suspended | Place::Closed => None,
    }
}

fn beyond_money(_: Overflow) -> Refusal {
    Refusal::new(No::Internal, "an amount is beyond the range of money")
}

/// The pair is in the table but the state lacks the data: cannot happen, and must not panic over money.
fn inconsistent(order: &Order, event: &Event) -> Refusal {
    Refusal::new(No::Internal, format!("{} has no data for {}", order.state.place().word(), event.kind()))
}

// ——— pricing ———

fn priced(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::PriceCame(came) = event else { return Err(inconsistent(order, event)) };
    let cash_only = came.split == Split::all_cash(order.bill.amount);
    let sound = came.faults.is_empty()
        && came.split.sums_to(order.bill.amount)
        && match order.insured {
            Some(_) => came.inputs.is_some(),
            None => came.inputs.is_none() && cash_only,
        };
    let limit = Rules::in_ms(given.now_us, given.rules.priced_ms);
    let valid_until_us = came.valid_until_us.min(limit).min(order.bill.expires_at_us);
    if !sound || valid_until_us <= given.now_us {
        return Draft::of(order, given).to(closed(Why::PriceUnsound)).release().decide();
    }
    let number = order.price.as_ref().map_or(0, |price| price.number) + 1;
    let price = Price { number, split: came.split, inputs: came.inputs.clone(), valid_until_us };
    let draft =
        Draft::of(order, given).to(State::Priced { code: None, sends: 0 }).with(|next| next.price = Some(price));
    match &order.carry {
        None => draft.decide(),
        Some(carry) if rises_for_the_payer(&carry.authorisation.split, &came.split) => {
            // More than was authorised: it becomes an order like any other, and the old cash goes back whole.
            let mut draft = draft.with(|next| next.carry = None);
            draft.decision.actions.push(not_carried(carry, given.now_us));
            draft.decide()
        }
        Some(_) => draft.now(Action::Resume).decide(),
    }
}

fn not_carried(carry: &Carry, now_us: i64) -> Planned {
    Planned { action: Action::NotCarried { from: carry.from, refund: carry.refund }, due_at_us: now_us }
}

/// The authorisation of the replaced order covers this one, since neither account nor cash rises.
fn resumed(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Some(carry), Some(price), Some(insured)) = (&order.carry, &order.price, &order.insured) else {
        return Err(inconsistent(order, event));
    };
    if given.now_us >= price.valid_until_us {
        return Err(Refusal::new(No::PriceExpired, "the price is over"));
    }
    let binding = given.binding.ok_or_else(|| Refusal::new(No::BindingUnknown, "the binding is gone"))?;
    binding.may_spend(insured.epoch)?;
    let authorisation = Authorisation { split: price.split, ..carry.authorisation.clone() };
    send_2207(Draft::of(order, given).with(|next| next.authorisation = Some(authorisation))).decide()
}

fn price_refused(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::PriceRefused { words } = event else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).to(closed(Why::PriceRefused { words: words.clone() })).release().decide()
}

fn ask_price_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::PriceUnknown { message } = event else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::Price { message: *message }).decide()
}

fn price_again(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    Draft::of(order, given).to(State::Created).now(Action::Price { message: given.message }).decide()
}

fn close_unpaid(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let why = match event {
        Event::Cancelled => Why::Cancelled,
        Event::WindowClaimed => Why::TakenByWindow,
        Event::BindingLost if order.insured.is_some() => Why::BindingLost,
        Event::DeadlinePassed => {
            not_early(order, given)?;
            if matches!(order.state, State::Created) { Why::NoPriceInTime } else { Why::PriceExpired }
        }
        // A cash-only order spends nothing that a lost card could protect.
        _ => return Err(unlisted("a cash-only order", order.state.place().word(), event.kind())),
    };
    Draft::of(order, given).to(closed(why)).release().decide()
}

fn closed(why: Why) -> State {
    State::Closed { why, returned: None }
}

fn not_early(order: &Order, given: &Given<'_>) -> Result<(), Refusal> {
    match order.deadline_at_us {
        Some(deadline) if given.now_us >= deadline => Ok(()),
        _ => Err(Refusal::new(No::NotNow, "the deadline has not passed")),
    }
}

// ——— the payer decides ———

fn code_issued(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::CodeIssued { code }, State::Priced { sends, .. }, Some(price)) = (event, &order.state, &order.price)
    else {
        return Err(inconsistent(order, event));
    };
    let Some(insured) = &order.insured else {
        return Err(Refusal::new(No::NotNow, "a cash-only order needs no code"));
    };
    let binding = given.binding.ok_or_else(|| Refusal::new(No::BindingUnknown, "the binding is gone"))?;
    binding.may_spend(insured.epoch)?;
    if given.now_us >= price.valid_until_us {
        return Err(Refusal::new(No::PriceExpired, "the price is over"));
    }
    if *sends >= given.rules.code_sends {
        return Err(Refusal::new(No::CodeSendsUsed, format!("{sends} codes were sent for this price")));
    }
    if code.price_number != price.number {
        return Err(Refusal::new(No::CodeForeign, "the code was made for an older price"));
    }
    Draft::of(order, given).to(State::Priced { code: Some(code.clone()), sends: sends + 1 }).decide()
}

fn authorised(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::Authorised { offered }, State::Priced { code, .. }, Some(price)) = (event, &order.state, &order.price)
    else {
        return Err(inconsistent(order, event));
    };
    if given.now_us >= price.valid_until_us {
        return Err(Refusal::new(No::PriceExpired, "the price is over"));
    }
    let Some(insured) = &order.insured else {
        let authorisation = Authorisation {
            kind: AuthorisationKind::WalletOnly,
            level: 0,
            at_us: given.now_us,
            split: price.split,
            evidence: None,
        };
        return open_wallet(
            Draft::of(order, given).with(|next| next.authorisation = Some(authorisation)),
            Insurance::CashOnly,
            price.split.cash_fen,
        );
    };
    let binding = given.binding.ok_or_else(|| Refusal::new(No::BindingUnknown, "the binding is gone"))?;
    binding.may_spend(insured.epoch)?;
    let code = code.as_ref().ok_or_else(|| Refusal::new(No::CodeNotSent, "no code was issued for this price"))?;
    let offered = offered.as_ref().ok_or_else(|| Refusal::new(No::CodeWrong, "no code was offered"))?;
    code.check(offered, price.number, given.now_us)?;
    let authorisation = Authorisation {
        kind: AuthorisationKind::CodeAndCard,
        level: binding.level,
        at_us: given.now_us,
        split: price.split,
        evidence: Some(*offered),
    };
    send_2207(Draft::of(order, given).with(|next| next.authorisation = Some(authorisation))).decide()
}

fn send_2207(draft: Draft<'_>) -> Draft<'_> {
    let msgid = draft.given.msgid.to_owned();
    draft.to(State::Settling { msgid: msgid.clone(), busy: None }).now(Action::Settle { msgid })
}

/// Our number at the wallet: the order's id without hyphens. One order collects at most once.
pub fn out_trade_no(order: OrderId) -> String {
    order.uuid().simple().to_string()
}

fn open_wallet(draft: Draft<'_>, insurance: Insurance, amount: Fen) -> Result<Decision, Refusal> {
    let out_trade_no = out_trade_no(draft.decision.next.id);
    let expires_at_us = Rules::in_ms(draft.given.now_us, draft.given.rules.collect_ms);
    draft
        .to(State::Prepaying { insurance, out_trade_no: out_trade_no.clone() })
        .now(Action::Prepay { out_trade_no, amount, expires_at_us })
        .decide()
}

// ——— the insurance leg ———

fn settled(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::SettleDone(settlement), State::Settling { msgid, .. }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    if settlement.msgid != *msgid {
        return Err(Refusal::new(No::NotNow, "a settlement under another message"));
    }
    let settled = Settled::from(settlement.as_ref());
    let authorised = order.authorisation.as_ref().map(|authorisation| authorisation.split);
    let as_seen = settled.split.sums_to(order.bill.amount)
        && authorised.is_some_and(|seen| !differs_for_the_payer(&seen, &settled.split));
    let insured_sum = settled.split.insurance().map_err(beyond_money)?;
    let draft = Draft::of(order, given)
        .post(posting::insurance_settled(
            &settled.split,
            &settled.insutype,
            &order.bill.institution,
            settled.setl_time_us,
        ))?
        .sms(News::InsuranceSettled, insured_sum);
    if !as_seen {
        return undo(draft, settled, Why::Differs, Then::Reprice).decide();
    }
    let draft = draft.ripple();
    let cash = settled.split.cash_fen;
    if let Some(carry) = &order.carry {
        let action = Action::Carry { from: carry.from, refund: carry.refund, cash };
        return draft.to(State::Carrying { settled }).now(action).decide();
    }
    let insurance = Insurance::Settled(settled);
    if cash.is_zero() {
        return become_paid(draft, Legs { insurance, cash: None }).decide();
    }
    open_wallet(draft, insurance, cash)
}

/// The cash of a replacement is a part of what the replaced order took. It stays booked there at the wallet; what the
/// institution is owed for it moves over, through suspense.
fn carried(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (State::Carrying { settled }, Some(carry)) = (&order.state, &order.carry) else {
        return Err(inconsistent(order, event));
    };
    let amount = settled.split.cash_fen;
    let cash = match &carry.cash {
        Some(taken) if !amount.is_zero() => Some(Taken { amount, ..taken.clone() }),
        _ => None,
    };
    let at_us = cash.as_ref().map_or(settled.setl_time_us, |cash| cash.success_time_us);
    let legs = Legs { insurance: Insurance::Settled(settled.clone()), cash };
    let draft =
        Draft::of(order, given).post(posting::cash_carried(amount, &order.bill.institution, at_us))?.with(|next| {
            next.carried_in = amount;
            next.carry = None;
        });
    become_paid(draft, legs).decide()
}

fn nothing_to_carry(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Carrying { settled } = &order.state else { return Err(inconsistent(order, event)) };
    let draft = Draft::of(order, given).with(|next| next.carry = None);
    undo(draft, settled.clone(), Why::Differs, Then::Reprice).decide()
}

fn settle_refused(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::SettleRefused { words, busy }, State::Settling { msgid, .. }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    let draft = Draft::of(order, given);
    if *busy && order.flagged {
        // Nothing was done, so nothing needs to end normally: a lost card sends no second 2207.
        return draft.to(closed(Why::BindingLost)).release().decide();
    }
    if *busy && price_holds(order, given) {
        // Nothing is out now, and whoever must stop it can until the next 2207 is decided upon.
        let wait_ms = given.rules.ask_again_after_ms(order.entered_at_us, given.now_us);
        return draft
            .to(State::Settling { msgid: msgid.clone(), busy: Some(words.clone()) })
            .later(wait_ms, Action::SettleDue)
            .decide();
    }
    draft.to(closed(Why::SettleRefused { words: words.clone() })).release().decide()
}

fn price_holds(order: &Order, given: &Given<'_>) -> bool {
    order.price.as_ref().is_some_and(|price| given.now_us < price.valid_until_us)
}

/// The loss itself is on record before its orders hear of it.
fn may_still_spend(order: &Order, given: &Given<'_>) -> bool {
    let (Some(insured), Some(binding)) = (&order.insured, given.binding) else { return false };
    binding.may_spend(insured.epoch).is_ok()
}

/// Busy meant that nothing was done, so a fresh message may settle what was authorised.
fn settle_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Settling { busy: Some(words), .. } = &order.state else { return Err(inconsistent(order, event)) };
    if order.flagged || !may_still_spend(order, given) {
        return Draft::of(order, given).to(closed(Why::BindingLost)).release().decide();
    }
    if !price_holds(order, given) {
        return Draft::of(order, given).to(closed(Why::SettleRefused { words: words.clone() })).release().decide();
    }
    send_2207(Draft::of(order, given)).decide()
}

/// While the bureau is busy nothing is out, so a loss or a change of mind still ends the order; a 2207 that is out
/// ends first.
fn end_while_busy(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    match (&order.state, event) {
        (State::Settling { busy: Some(_), .. }, _) => close_unpaid(order, event, given),
        (_, Event::BindingLost) => flag(order, event, given),
        _ => Err(unlisted("an order whose 2207 is out", order.state.place().word(), event.kind())),
    }
}

fn settling_too_long(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    match &order.state {
        State::Settling { busy: Some(words), .. } => {
            not_early(order, given)?;
            let why = Why::SettleRefused { words: words.clone() };
            Draft::of(order, given).to(closed(why)).release().decide()
        }
        _ => suspend_silent_bureau(order, event, given),
    }
}

fn doubt(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Settling { msgid, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given)
        .to(State::Doubting { msgid: msgid.clone() })
        .later(given.rules.bureau_limit_ms, Action::Reverse { omsgid: msgid.clone(), msgid: given.msgid.to_owned() })
        .decide()
}

fn reverse_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (State::Doubting { msgid } | State::Proving { msgid }) = &order.state else {
        return Err(inconsistent(order, event));
    };
    Draft::of(order, given).again(Action::Reverse { omsgid: msgid.clone(), msgid: given.msgid.to_owned() }).decide()
}

fn prove(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Doubting { msgid } = &order.state else { return Err(inconsistent(order, event)) };
    // Where the dialect cannot be asked by visit, a second reversal after the second wait is the only question left.
    let question = if given.can_ask_by_visit {
        Action::AskSettle { omsgid: msgid.clone() }
    } else {
        Action::Reverse { omsgid: msgid.clone(), msgid: given.msgid.to_owned() }
    };
    Draft::of(order, given)
        .to(State::Proving { msgid: msgid.clone() })
        .later(given.rules.after_reversal_ms, question)
        .decide()
}

fn ask_settle_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Proving { msgid } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::AskSettle { omsgid: msgid.clone() }).decide()
}

fn proven_nothing(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    back_to_price(Draft::of(order, given)).decide()
}

/// Back to the price that was shown if it still holds; its code is dead either way. A lost binding ends it here,
/// because the loss could not stop an order whose 2207 was out.
fn back_to_price(draft: Draft<'_>) -> Draft<'_> {
    let now_us = draft.given.now_us;
    let message = draft.given.message;
    if draft.decision.next.flagged {
        return draft.to(closed(Why::BindingLost)).release();
    }
    let holds = draft.decision.next.price.as_ref().is_some_and(|price| now_us < price.valid_until_us);
    if holds && draft.decision.next.carry.is_some() {
        draft.to(State::Priced { code: None, sends: 0 }).now(Action::Resume)
    } else if holds {
        draft.to(State::Priced { code: None, sends: 0 })
    } else {
        draft.to(State::Created).now(Action::Price { message })
    }
}

fn settled_late(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::SettleFound(settlement) = event else { return Err(inconsistent(order, event)) };
    let settled = Settled::from(settlement.as_ref());
    let insured_sum = settled.split.insurance().map_err(beyond_money)?;
    let draft = Draft::of(order, given)
        .post(posting::insurance_settled(
            &settled.split,
            &settled.insutype,
            &order.bill.institution,
            settled.setl_time_us,
        ))?
        .sms(News::InsuranceSettled, insured_sum);
    undo(draft, settled, Why::SettledLate, Then::BackToPrice).decide()
}

fn undo(draft: Draft<'_>, settled: Settled, why: Why, then: Then) -> Draft<'_> {
    let msgid = draft.given.msgid.to_owned();
    let action = Action::Undo { msgid: msgid.clone(), setl_id: settled.setl_id.clone(), refund: None };
    draft.to(State::UndoingInsurance { settled, msgid, why, then }).now(action)
}

// ——— the cash leg ———

fn collect(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::PrepayDone { prepay_id }, State::Prepaying { insurance, out_trade_no }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    Draft::of(order, given)
        .to(State::Collecting {
            insurance: insurance.clone(),
            out_trade_no: out_trade_no.clone(),
            prepay_id: prepay_id.clone(),
        })
        .later(given.rules.ask_wallet_ms, Action::AskWallet { out_trade_no: out_trade_no.clone() })
        .decide()
}

fn prepay_refused(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::PrepayRefused { words, busy }, State::Prepaying { insurance, out_trade_no }) = (event, &order.state)
    else {
        return Err(inconsistent(order, event));
    };
    if *busy {
        return prepay_again(order, event, given);
    }
    close_and_ask(order, given, insurance, out_trade_no, Why::WalletRefused { words: words.clone() })
}

fn prepay_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Prepaying { insurance, out_trade_no } = &order.state else { return Err(inconsistent(order, event)) };
    let amount = match insurance {
        Insurance::Settled(settled) => settled.split.cash_fen,
        Insurance::CashOnly => order.bill.amount,
    };
    // The same number with the same content: the wallet answers with the same handle, so a repeat is harmless.
    let expires_at_us = Rules::in_ms(order.entered_at_us, given.rules.collect_ms);
    Draft::of(order, given).again(Action::Prepay { out_trade_no: out_trade_no.clone(), amount, expires_at_us }).decide()
}

fn ask_wallet(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (State::Prepaying { out_trade_no, .. } | State::Collecting { out_trade_no, .. }) = &order.state else {
        return Err(inconsistent(order, event));
    };
    let wait_ms = match order.state.place() {
        Place::Collecting => given.rules.ask_wallet_ms,
        _ => given.rules.ask_again_after_ms(order.entered_at_us, given.now_us),
    };
    Draft::of(order, given).later(wait_ms, Action::AskWallet { out_trade_no: out_trade_no.clone() }).decide()
}

fn paid(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (
        Event::WalletPaid(taken),
        State::Prepaying { insurance, .. }
        | State::Collecting { insurance, .. }
        | State::ClosingWallet { insurance, .. },
    ) = (event, &order.state)
    else {
        return Err(inconsistent(order, event));
    };
    let due = match insurance {
        Insurance::Settled(settled) => settled.split.cash_fen,
        Insurance::CashOnly => order.bill.amount,
    };
    if order.strays.contains(&taken.transaction_id) {
        return Err(known_payment());
    }
    if taken.amount != due || taken.out_trade_no != out_trade_no(order.id) {
        return give_back_what_was_not_due(order, insurance, taken, given);
    }
    let legs = Legs { insurance: insurance.clone(), cash: Some(taken.clone()) };
    let payable = Account::Payable { institution: order.bill.institution.clone() };
    let draft = Draft::of(order, given)
        .post(posting::cash_taken(taken.amount, &order.bill.merchant, payable, taken.success_time_us))?
        .sms(News::CashTaken, taken.amount);
    become_paid(draft, legs).decide()
}

/// The wallet took another amount than was due. That used its order up, so nothing more comes in by it: what came goes
/// back, the insurance leg is undone, and the bill may be paid anew.
fn give_back_what_was_not_due(
    order: &Order,
    insurance: &Insurance,
    taken: &Taken,
    given: &Given<'_>,
) -> Result<Decision, Refusal> {
    let draft = take_stray(Draft::of(order, given), taken, "支付渠道收款金额与应付不符，款项原路退回")?;
    match insurance {
        Insurance::CashOnly => draft.to(closed(Why::AmountDiffers)).release().decide(),
        Insurance::Settled(settled) => undo(draft, settled.clone(), Why::AmountDiffers, Then::Close).decide(),
    }
}

/// Books cash without a right to stay, tells whose it is, and sends it back.
fn take_stray<'a>(draft: Draft<'a>, taken: &Taken, reason: &str) -> Result<Draft<'a>, Refusal> {
    let refund = refund::stray(&draft.decision.next, taken, reason, draft.given);
    let merchant = draft.decision.next.bill.merchant.clone();
    let lines = posting::cash_taken(taken.amount, &merchant, Account::Suspense, taken.success_time_us);
    let mut draft = draft
        .post(lines)?
        .with(|next| next.strays.push(taken.transaction_id.clone()))
        .sms(News::CashStray, taken.amount)
        .now(refund::first_action(&refund));
    draft.decision.refund = Some(refund);
    Ok(draft)
}

fn known_payment() -> Refusal {
    Refusal::new(No::NotNow, "this payment is known and already answered")
}

fn become_paid(draft: Draft<'_>, legs: Legs) -> Draft<'_> {
    let message = draft.given.message;
    draft.to(State::Paid { legs, told: message }).now(Action::Tell { message })
}

fn close_wallet(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (State::Prepaying { insurance, out_trade_no } | State::Collecting { insurance, out_trade_no, .. }) =
        &order.state
    else {
        return Err(inconsistent(order, event));
    };
    let why = match event {
        Event::Cancelled => Why::Cancelled,
        _ => {
            not_early(order, given)?;
            Why::NotPaidInTime
        }
    };
    close_and_ask(order, given, insurance, out_trade_no, why)
}

fn close_and_ask(
    order: &Order,
    given: &Given<'_>,
    insurance: &Insurance,
    out_trade_no: &str,
    why: Why,
) -> Result<Decision, Refusal> {
    Draft::of(order, given)
        .to(State::ClosingWallet { insurance: insurance.clone(), out_trade_no: out_trade_no.to_owned(), why })
        .now(Action::CloseWallet { out_trade_no: out_trade_no.to_owned() })
        .decide()
}

fn close_wallet_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::ClosingWallet { out_trade_no, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::CloseWallet { out_trade_no: out_trade_no.clone() }).decide()
}

fn wallet_closed(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (insurance, why) = match &order.state {
        State::Prepaying { insurance, .. } | State::Collecting { insurance, .. } => (insurance, Why::WalletClosed),
        State::ClosingWallet { insurance, why, .. } => (insurance, why.clone()),
        _ => return Err(inconsistent(order, event)),
    };
    match insurance {
        Insurance::CashOnly => Draft::of(order, given).to(closed(why)).release().decide(),
        Insurance::Settled(settled) => undo(Draft::of(order, given), settled.clone(), why, Then::Close).decide(),
    }
}

// ——— telling the institution ———

fn booked(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::TellBooked { guidance }, State::Paid { legs, .. }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    Draft::of(order, given).to(State::Completed { legs: legs.clone(), guidance: guidance.clone() }).decide()
}

fn ask_tell(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Paid { told, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::AskTell { message: given.message, told: *told }).decide()
}

fn tell_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Paid { told, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::Tell { message: *told }).decide()
}

fn rejected(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::TellRejected { words } = event else { return Err(inconsistent(order, event)) };
    let asked = RefundAsked { refund_no: None, amount: None, replaced_by: None, reason: words.clone() };
    begin_whole_return(order, given, &asked, Why::Rejected { words: words.clone() })
}

fn return_all(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::RefundAsked(asked) = event else { return Err(inconsistent(order, event)) };
    if asked.amount.is_some() || asked.replaced_by.is_some() {
        return Err(Refusal::new(No::RefundNotNow, "before it is booked an order is given back whole or not at all"));
    }
    begin_whole_return(order, given, asked, Why::RefundAsked)
}

fn begin_whole_return(order: &Order, given: &Given<'_>, asked: &RefundAsked, why: Why) -> Result<Decision, Refusal> {
    let State::Paid { legs, told } = &order.state else {
        return Err(Refusal::new(No::Internal, "only a paid order is given back whole"));
    };
    let refund = refund::grant(order, legs, asked, given)?;
    let amount = refund.amount;
    let first = refund::first_action(&refund);
    let mut draft = Draft::of(order, given)
        .to(State::Returning { legs: legs.clone(), told: *told, refund: refund.id, why })
        .with(|next| next.refunding = amount)
        .now(first);
    draft.decision.refund = Some(refund);
    draft.decide()
}

fn returned(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::RefundEnded(ended), State::Returning { legs, told, why, refund }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    if ended.refund != *refund {
        return stray_returned(order, event, given);
    }
    let draft = Draft::of(order, given).with(|next| next.refunding = Fen::ZERO);
    if !ended.done {
        // Nothing moved: it is as paid as before, and may still be booked, or asked back again.
        let words = ended.words.clone().unwrap_or_default();
        let from = State::Paid { legs: legs.clone(), told: *told };
        let draft = suspend(draft, from, Why::UndoRefused { words }, Owner::Bureau);
        // Whether it was booked is still not known where the institution asked before it answered. One that refused
        // the bill is not asked: it has said what it knows.
        return match why {
            Why::RefundAsked => draft.again(Action::AskTell { message: given.message, told: *told }).decide(),
            _ => draft.decide(),
        };
    }
    draft
        .with(|next| next.refunded = ended.amount)
        .to(State::Closed { why: why.clone(), returned: Some(legs.clone()) })
        .now(tell_undone(given, ended, true))
        .decide()
}

// ——— undoing before Paid ———

fn undone(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::UndoDone(undone) | Event::UndoFound(undone)) = event else { return Err(inconsistent(order, event)) };
    let (State::UndoingInsurance { settled, why, then, .. } | State::AskingUndo { settled, why, then, .. }) =
        &order.state
    else {
        return Err(inconsistent(order, event));
    };
    let lines =
        posting::insurance_settled(&settled.split, &settled.insutype, &order.bill.institution, settled.setl_time_us)
            .map(|lines| posting::reversed(lines, undone.setl_time_us));
    let amount = settled.split.insurance().map_err(beyond_money)?;
    let draft = Draft::of(order, given).post(lines)?.sms(News::InsuranceUndone, amount).ripple();
    match then {
        Then::Close => draft.to(closed(why.clone())).release().decide(),
        Then::BackToPrice => back_to_price(draft).decide(),
        Then::Reprice if draft.decision.next.flagged => draft.to(closed(Why::BindingLost)).release().decide(),
        Then::Reprice => draft.to(State::Created).now(Action::Price { message: given.message }).decide(),
    }
}

fn ask_undo(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::UndoingInsurance { settled, why, then, .. } = &order.state else {
        return Err(inconsistent(order, event));
    };
    let (settled, why, then) = (settled.clone(), why.clone(), *then);
    let setl_id = settled.setl_id.clone();
    let draft = Draft::of(order, given);
    let refused = match event {
        Event::UndoRefused { busy: true, .. } => {
            // Busy means that nothing was done: the 2208 is sent again under a fresh message.
            let msgid = given.msgid.to_owned();
            let action = Action::Undo { msgid: msgid.clone(), setl_id, refund: None };
            return draft.to(State::UndoingInsurance { settled, msgid, why, then }).again(action).decide();
        }
        Event::UndoRefused { words, .. } => Some(words.clone()),
        _ => None,
    };
    // A lost 2208 may still execute within the bureau's own limit: an answer before that would prove nothing.
    let wait_ms = if refused.is_some() { given.rules.ask_again_ms } else { given.rules.bureau_limit_ms };
    draft
        .to(State::AskingUndo { settled, refused, why, then })
        .later(wait_ms, Action::AskUndo { setl_id, refund: None })
        .decide()
}

fn undo_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::AskingUndo { settled, refused, why, then } = &order.state else {
        return Err(inconsistent(order, event));
    };
    if let Some(words) = refused {
        let why = Why::UndoRefused { words: words.clone() };
        // Nothing is sent again; but what a person brings about at the bureau is learned.
        return suspend(Draft::of(order, given), order.state.clone(), why, Owner::Bureau)
            .later(given.rules.patience_ms, Action::AskUndo { setl_id: settled.setl_id.clone(), refund: None })
            .decide();
    }
    undo(Draft::of(order, given), settled.clone(), why.clone(), *then).decide()
}

fn ask_undo_again(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::AskingUndo { settled, .. } = &order.state else { return Err(inconsistent(order, event)) };
    Draft::of(order, given).again(Action::AskUndo { setl_id: settled.setl_id.clone(), refund: None }).decide()
}

/// Cash that came although the wallet order was closed: into suspense, and back to the payer.
fn stray(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let Event::WalletPaid(taken) = event else { return Err(inconsistent(order, event)) };
    let known = order.strays.contains(&taken.transaction_id)
        || matches!(&order.state, State::Closed { returned: Some(legs), .. }
            if legs.cash.as_ref().is_some_and(|cash| cash.transaction_id == taken.transaction_id));
    if known {
        return Err(known_payment());
    }
    take_stray(Draft::of(order, given), taken, "订单已关闭，款项原路退回")?.decide()
}

fn stray_returned(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    Draft::of(order, given).decide()
}

// ——— afterwards ———

fn refund_some(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::RefundAsked(asked), State::Completed { legs, guidance }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    if guidance.invoice.as_ref().is_some_and(|invoice| invoice.printed) {
        return Err(Refusal::new(No::RefundNotNow, "the invoice is printed").in_words("票据已打印，请到窗口退费"));
    }
    let refund = refund::grant(order, legs, asked, given)?;
    let granted = order.refunding.plus(refund.amount).map_err(beyond_money)?;
    let mut draft = Draft::of(order, given).with(|next| next.refunding = granted).now(refund::first_action(&refund));
    draft.decision.refund = Some(refund);
    draft.decide()
}

fn refund_ended(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let (Event::RefundEnded(ended), State::Completed { legs, .. }) = (event, &order.state) else {
        return Err(inconsistent(order, event));
    };
    let refunding = order.refunding.minus(ended.amount).map_err(beyond_money)?;
    let draft = Draft::of(order, given).with(|next| next.refunding = refunding);
    if !ended.done {
        return draft.decide();
    }
    let returned = ended.amount.minus(ended.carried).map_err(beyond_money)?;
    let refunded = order.refunded.plus(returned).map_err(beyond_money)?;
    let draft = draft.with(|next| {
        next.refunded = refunded;
        next.carried_out = ended.carried;
    });
    if ended.replaced {
        let returned = Some(legs.clone());
        return draft.to(State::Closed { why: Why::Replaced, returned }).now(tell_undone(given, ended, true)).decide();
    }
    let whole = refunded == refund::refundable(legs).map_err(beyond_money)?;
    draft.now(tell_undone(given, ended, whole)).decide()
}

fn tell_undone(given: &Given<'_>, ended: &Returned, whole: bool) -> Action {
    Action::TellUndone {
        message: given.message,
        undo_setl_id: ended.undo_setl_id.clone(),
        cash: ended.cash,
        carried: ended.carried,
        whole,
    }
}

// ——— people, time, and the unknown ———

fn flag(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    if order.insured.is_none() {
        return Err(unlisted("a cash-only order", order.state.place().word(), event.kind()));
    }
    Draft::of(order, given).with(|next| next.flagged = true).decide()
}

fn wait(order: &Order, _: &Event, _: &Given<'_>) -> Result<Decision, Refusal> {
    // What is being given back is not paid any more, and what is paid stays so while a person looks at it.
    if matches!(order.state.stood(), State::Paid { .. } | State::Completed { .. }) {
        return Err(already(order));
    }
    Err(Refusal::new(No::InProgress, format!("order {} is {}", order.id, order.state.place().word())))
}

fn already_paid(order: &Order, _: &Event, _: &Given<'_>) -> Result<Decision, Refusal> {
    Err(already(order))
}

/// What went back whole is not paid any more: the window may have the bill.
fn yield_what_went_back(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Completed { legs, .. } = &order.state else { return Err(inconsistent(order, event)) };
    if order.refunded != refund::refundable(legs).map_err(beyond_money)? {
        return Err(already(order));
    }
    let returned = Some(legs.clone());
    Draft::of(order, given).to(State::Closed { why: Why::TakenByWindow, returned }).decide()
}

fn already(order: &Order) -> Refusal {
    Refusal::new(No::BillNotPayable, format!("order {} is {}", order.id, order.state.place().word()))
}

fn suspend<'a>(draft: Draft<'a>, from: State, why: Why, owner: Owner) -> Draft<'a> {
    draft.to(State::Suspended { from: Box::new(from), why, owner })
}

fn suspend_silent_bureau(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    not_early(order, given)?;
    suspend(Draft::of(order, given), order.state.clone(), Why::BureauSilent, Owner::Bureau).decide()
}

fn suspend_silent_wallet(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    not_early(order, given)?;
    suspend(Draft::of(order, given), order.state.clone(), Why::WalletSilent, Owner::Finance).decide()
}

fn suspend_silent_institution(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    not_early(order, given)?;
    suspend(Draft::of(order, given), order.state.clone(), Why::InstitutionSilent, Owner::Institution).decide()
}

fn suspend_stuck_refund(order: &Order, _: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    not_early(order, given)?;
    suspend(Draft::of(order, given), order.state.clone(), Why::RefundStuck, Owner::Finance).decide()
}

/// A suspended order decides a late answer as if it still stood where it was. If that leads nowhere new, it stays
/// suspended; if it leads on, the suspension is over.
fn learn(order: &Order, event: &Event, given: &Given<'_>) -> Result<Decision, Refusal> {
    let State::Suspended { from, why, owner } = &order.state else { return Err(inconsistent(order, event)) };
    let as_if = Order { state: State::clone(from), ..order.clone() };
    let mut decision = next(&as_if, event, given)?;
    let moved =
        decision.next.state.place().word() != from.place().word() && decision.next.state.place() != Place::Suspended;
    if !moved {
        decision.next.state = match decision.next.state {
            // It would be suspended anyway: the newer reason is the one a person needs.
            again @ State::Suspended { .. } => again,
            stays => State::Suspended { from: Box::new(stays), why: why.clone(), owner: *owner },
        };
        decision.next.entered_at_us = order.entered_at_us;
        decision.next.deadline_at_us = None;
    }
    Ok(decision)
}
