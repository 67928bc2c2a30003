//! What can happen to an order, in words that stay.

use schema::bill::LineResult;
use schema::his::Guidance;
use schema::ids::MessageId;
use schema::seal::Lookup;
use schema::split::Split;
use serde::{Deserialize, Serialize};

use super::facts::{Inputs, Taken};
use crate::domain::code::IssuedCode;
use crate::domain::refund::{RefundAsked, Returned};
use crate::domain::settlement::Settlement;

/// Something that happened. Answers of outsiders, acts of people, the passing of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
