//! What a decision wants done outside. An action is a row before it is a call, and its answer comes back as an event.

use schema::ids::{MessageId, OrderId, RefundId};
use schema::money::Fen;
use schema::seal::Lookup;
use serde::{Deserialize, Serialize};

/// A call to make. Carries ids only: the performer reads the rest from the stored order and bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Ask the institution for the price. Repeated with the same message: the institution answers a repeat alike.
    Price {
        /// The link message.
        message: MessageId,
    },
    /// Let the institution give up what pre-settling left at the bureau. Repeated until acknowledged.
    Release {
        /// The link message.
        message: MessageId,
    },
    /// 2207.
    Settle {
        /// The bureau message, saved before it is sent.
        msgid: String,
    },
    /// The bureau was busy and its wait is over: decide anew whether 2207 is sent. Calls nobody.
    SettleDue,
    /// 2601 of a 2207 whose outcome is unknown.
    Reverse {
        /// The 2207's message.
        omsgid: String,
        /// This 2601's own message.
        msgid: String,
    },
    /// Did the 2207 of this message leave a settlement? (5203 by mdtrt_id.)
    AskSettle {
        /// The 2207's message.
        omsgid: String,
    },
    /// 2208.
    Undo {
        /// This 2208's message.
        msgid: String,
        /// What is undone.
        setl_id: String,
        /// The refund it belongs to; none when the order itself undoes.
        refund: Option<RefundId>,
    },
    /// Is this settlement undone? (5203 by setl_id.)
    AskUndo {
        /// What was to be undone.
        setl_id: String,
        /// The refund it belongs to.
        refund: Option<RefundId>,
    },
    /// Open the wallet order.
    Prepay {
        /// Our number at the wallet.
        out_trade_no: String,
        /// What it collects.
        amount: Fen,
        /// After this the wallet refuses payment: microseconds UTC.
        expires_at_us: i64,
    },
    /// Has the payer paid?
    AskWallet {
        /// Our number at the wallet.
        out_trade_no: String,
    },
    /// Close the wallet order and ask it: nothing else is undone before it answered.
    CloseWallet {
        /// Our number at the wallet.
        out_trade_no: String,
    },
    /// Give cash back.
    ReturnCash {
        /// The refund; its id is the wallet's `out_refund_no`.
        refund: RefundId,
    },
    /// Is the cash back?
    AskReturn {
        /// The refund.
        refund: RefundId,
    },
    /// A replacement is priced within what was authorised for the order it replaces: go on without the payer.
    /// Calls nobody.
    Resume,
    /// Claim this order's cash from the order it replaces. Calls nobody.
    Carry {
        /// The replaced order.
        from: OrderId,
        /// Its refund.
        refund: RefundId,
        /// How much of its cash stays.
        cash: Fen,
    },
    /// Tell the replaced order that none of its cash is needed. Calls nobody.
    NotCarried {
        /// The replaced order.
        from: OrderId,
        /// Its refund.
        refund: RefundId,
    },
    /// Open the order that replaces this one. Calls nobody.
    Replace {
        /// The refund whose insurance leg is undone.
        refund: RefundId,
    },
    /// Tell the institution that the bill is paid. Repeated with the same message.
    Tell {
        /// The link message.
        message: MessageId,
    },
    /// Ask a silent institution whether it has booked.
    AskTell {
        /// The link message.
        message: MessageId,
        /// The message of the tell that stayed unanswered.
        told: MessageId,
    },
    /// Tell the institution what was undone. Repeated until acknowledged; after a refusal with another message.
    TellUndone {
        /// The link message.
        message: MessageId,
        /// 2208's own settlement id.
        undo_setl_id: Option<String>,
        /// Cash given back.
        cash: Fen,
        /// Cash that stays with the institution for the bill that replaces this one.
        carried: Fen,
        /// Nothing of the payment is left.
        whole: bool,
    },
    /// Tell the insured person that their money moved.
    Sms {
        /// What happened.
        news: News,
        /// How much.
        amount: Fen,
    },
    /// An insured person's accumulators moved: their other prices are stale.
    Ripple {
        /// The insured person.
        person: Lookup,
        /// The order that moved them.
        except: OrderId,
    },
}

/// A movement of somebody's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// The insured part was settled.
    InsuranceSettled,
    /// The insured part was undone.
    InsuranceUndone,
    /// Cash was taken.
    CashTaken,
    /// Cash was taken that nobody may keep: it goes back.
    CashStray,
    /// Cash was given back.
    CashReturned,
}

impl Action {
    /// The number of the bureau message it sends, where it sends one that moves money.
    pub fn msgid(&self) -> Option<&str> {
        match self {
            Action::Settle { msgid } | Action::Reverse { msgid, .. } | Action::Undo { msgid, .. } => Some(msgid),
            _ => None,
        }
    }

    /// The word that is stored, logged and counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Action::Price { .. } => "price",
            Action::Release { .. } => "release",
            Action::Settle { .. } => "settle",
            Action::SettleDue => "settle_due",
            Action::Reverse { .. } => "reverse",
            Action::AskSettle { .. } => "ask_settle",
            Action::Undo { .. } => "undo",
            Action::AskUndo { .. } => "ask_undo",
            Action::Prepay { .. } => "prepay",
            Action::AskWallet { .. } => "ask_wallet",
            Action::CloseWallet { .. } => "close_wallet",
            Action::ReturnCash { .. } => "return_cash",
            Action::AskReturn { .. } => "ask_return",
            Action::Resume => "resume",
            Action::Carry { .. } => "carry",
            Action::NotCarried { .. } => "not_carried",
            Action::Replace { .. } => "replace",
            Action::Tell { .. } => "tell",
            Action::AskTell { .. } => "ask_tell",
            Action::TellUndone { .. } => "tell_undone",
            Action::Sms { .. } => "sms",
            Action::Ripple { .. } => "ripple",
        }
    }
}

/// An action and when it is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What.
    pub action: Action,
    /// Not before: microseconds UTC.
    pub due_at_us: i64,
}
