//! Where an order stands: its states with their data, the reasons it left its way, and the table's places.

use schema::his::Guidance;
use schema::ids::{MessageId, RefundId};
use serde::{Deserialize, Serialize};

use super::facts::{Insurance, Legs, Settled, Taken};
use crate::domain::code::IssuedCode;

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
