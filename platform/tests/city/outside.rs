//! The parties: what each has done, by its own records, and what it answers. None of them ever lies.

use platform::domain::action::Action;
use platform::domain::order::{Event, PriceCame, Undone};
use platform::domain::refund::RefundEvent;
use platform::domain::settlement::{Clearing, Settlement};
use schema::his::Guidance;
use schema::ids::RefundId;
use schema::money::Fen;
use schema::seal::Sealed;
use schema::split::Split;

use super::{City, How, RULES, Row, Told};
use crate::paper::{BILL, INSUTYPE, REMAINS, Shape, split};

/// A call that reaches its party after its caller gave it up.
#[derive(Debug, Clone)]
pub(super) struct Late {
    pub(super) no: u64,
    pub(super) order: usize,
    pub(super) what: Call,
    /// The party's own limit: it is executed by then.
    pub(super) by_us: i64,
}

/// A call that moves something.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Settle(String, Split),
    Undo(String),
    Prepay(Fen),
    Return(RefundId, Fen),
}

/// The bureau's records.
#[derive(Debug, Clone, Default)]
pub(super) struct Bureau {
    settlements: Vec<(usize, Settlement, Option<Undone>)>,
    pub(super) late: Vec<Late>,
}

impl Bureau {
    pub(super) fn live_of(&self, order: usize) -> impl Iterator<Item = &Settlement> {
        let live = self.settlements.iter().filter(move |(of, _, undone)| *of == order && undone.is_none());
        live.map(|(_, settlement, _)| settlement)
    }

    pub(super) fn is_live(&self, setl_id: &str) -> bool {
        self.settlements.iter().any(|(_, settlement, undone)| settlement.setl_id == setl_id && undone.is_none())
    }

    fn settle(&mut self, order: usize, msgid: &str, split: Split, now_us: i64) -> Settlement {
        let settlement = Settlement {
            msgid: msgid.to_owned(),
            inf_refmsgid: format!("R{msgid}"),
            setl_id: format!("S{}", self.settlements.len() + 1),
            mdtrt_id: "MD1".into(),
            split,
            insutype: INSUTYPE.into(),
            setl_time_us: now_us,
            clearing: Clearing::default(),
            amounts: Default::default(),
            texts: Default::default(),
            details: Vec::new(),
            reply: Sealed::from_bytes(vec![2]),
        };
        self.settlements.push((order, settlement.clone(), None));
        settlement
    }

    /// 2208: done now, or a refusal because it is undone already.
    fn undo(&mut self, setl_id: &str, now_us: i64) -> Result<Undone, String> {
        let found = self.settlements.iter_mut().find(|(_, settlement, _)| settlement.setl_id == setl_id);
        match found {
            Some((_, _, undone @ None)) => {
                let now = Undone {
                    undo_setl_id: format!("U{setl_id}"),
                    setl_time_us: now_us,
                    msgid: None,
                    inf_refmsgid: None,
                };
                *undone = Some(now.clone());
                Ok(now)
            }
            Some(_) => Err("该结算已撤销".into()),
            None => Err("无此结算".into()),
        }
    }

    fn reverse(&mut self, omsgid: &str, now_us: i64) {
        let of = self.settlements.iter().find(|(_, settlement, undone)| settlement.msgid == omsgid && undone.is_none());
        if let Some(setl_id) = of.map(|(_, settlement, _)| settlement.setl_id.clone()) {
            let _ = self.undo(&setl_id, now_us);
        }
    }

    fn by_msgid(&self, omsgid: &str) -> Option<&Settlement> {
        let live =
            self.settlements.iter().find(|(_, settlement, undone)| settlement.msgid == omsgid && undone.is_none());
        live.map(|(_, settlement, _)| settlement)
    }

    fn undone(&self, setl_id: &str) -> Option<Undone> {
        let found = self.settlements.iter().find(|(_, settlement, _)| settlement.setl_id == setl_id);
        found.and_then(|(_, _, undone)| undone.clone())
    }
}

/// One wallet order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trade {
    Open,
    Paid(i64),
    Closed,
}

/// One refund at the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Return {
    Abnormal,
    Returned(i64),
}

/// The wallet's records.
#[derive(Debug, Clone, Default)]
pub(super) struct Wallet {
    trades: Vec<(usize, Fen, Trade)>,
    returns: Vec<(RefundId, usize, Fen, Return)>,
    pub(super) late: Vec<Late>,
}

impl Wallet {
    fn trade(&mut self, order: usize) -> Option<&mut Trade> {
        self.trades.iter_mut().find(|(of, _, _)| *of == order).map(|(_, _, trade)| trade)
    }

    /// The payer's phone shows it; one that was closed may have a payment on its way.
    pub(super) fn payable(&self, order: usize) -> bool {
        self.trades.iter().any(|(of, _, trade)| *of == order && matches!(trade, Trade::Open | Trade::Closed))
    }

    pub(super) fn pay(&mut self, order: usize, now_us: i64) {
        if let Some(trade) = self.trade(order)
            && matches!(trade, Trade::Open | Trade::Closed)
        {
            *trade = Trade::Paid(now_us);
        }
    }

    /// It takes a fen less than it was asked to.
    pub(super) fn pay_less(&mut self, order: usize, now_us: i64) {
        self.pay(order, now_us);
        if let Some((_, amount, Trade::Paid(at_us))) = self.trades.iter_mut().find(|(of, ..)| *of == order)
            && *at_us == now_us
        {
            *amount = amount.minus(Fen::new(1)).expect("small amounts");
        }
    }

    /// The wallet's number, the amount and the time of a payment.
    pub(super) fn taken(&self, order: usize) -> Option<(usize, Fen, i64)> {
        let found = self.trades.iter().enumerate().find(|(_, (of, _, _))| *of == order);
        found.and_then(|(at, (_, amount, trade))| match trade {
            Trade::Paid(at_us) => Some((at + 1, *amount, *at_us)),
            Trade::Open | Trade::Closed => None,
        })
    }

    pub(super) fn holds(&self, order: usize) -> Fen {
        let taken = self.taken(order).map_or(Fen::ZERO, |(_, amount, _)| amount);
        let returned = self.returns.iter().filter_map(|(_, of, amount, how)| match how {
            Return::Returned(_) if *of == order => Some(amount.negated()),
            _ => None,
        });
        Fen::sum(std::iter::once(taken).chain(returned)).expect("small amounts")
    }

    pub(super) fn returned(&self) -> Vec<RefundId> {
        self.returns.iter().filter(|(_, _, _, how)| matches!(how, Return::Returned(_))).map(|(id, ..)| *id).collect()
    }

    /// The wallet would not do it, and never will by itself.
    pub(super) fn is_abnormal(&self, refund: RefundId) -> bool {
        self.returns.iter().any(|(id, .., how)| *id == refund && *how == Return::Abnormal)
    }

    pub(super) fn returned_at(&self, refund: RefundId) -> Option<i64> {
        self.returns.iter().find_map(|(id, _, _, how)| match how {
            Return::Returned(at_us) if *id == refund => Some(*at_us),
            _ => None,
        })
    }

    /// Opens a wallet order; the same number opens nothing new. False where it is paid or closed.
    fn open(&mut self, order: usize, amount: Fen) -> bool {
        match self.trade(order) {
            None => {
                self.trades.push((order, amount, Trade::Open));
                true
            }
            Some(trade) => *trade == Trade::Open,
        }
    }

    /// The same number returns nothing twice.
    fn give_back(&mut self, refund: RefundId, order: usize, amount: Fen, how: Return) {
        if !self.returns.iter().any(|(id, ..)| *id == refund) {
            self.returns.push((refund, order, amount, how));
        }
    }

    fn state_of(&self, refund: RefundId) -> RefundEvent {
        match self.returns.iter().find(|(id, ..)| *id == refund) {
            Some((.., Return::Returned(at_us))) => RefundEvent::CashReturned { success_time_us: *at_us },
            Some((.., Return::Abnormal)) => RefundEvent::CashAbnormal { words: "退款异常".into() },
            None => RefundEvent::CashNothing,
        }
    }
}

/// The hospital's records.
#[derive(Debug, Clone, Default)]
pub(super) struct Hospital {
    booked: Vec<usize>,
    rejected: Vec<usize>,
    undone: Vec<usize>,
}

impl Hospital {
    pub(super) fn booked(&self, order: usize) -> bool {
        self.booked.contains(&order)
    }

    pub(super) fn believes_paid(&self, order: usize) -> bool {
        self.booked.contains(&order) && !self.undone.contains(&order)
    }

    fn tell(&mut self, order: usize, rejects: bool) -> Event {
        if rejects && !self.booked(order) || self.rejected.contains(&order) {
            self.rejected.push(order);
            return Event::TellRejected { words: "药品已停用".into() };
        }
        self.booked.push(order);
        Event::TellBooked { guidance: Guidance::default() }
    }
}

/// What an action of a dead process means; none where it may simply be repeated (journey/perform.rs).
pub(super) fn unknown(action: &Action) -> Option<Told> {
    let event = match action {
        Action::Price { message } => Event::PriceUnknown { message: *message },
        Action::Settle { .. } => Event::SettleUnknown,
        Action::Reverse { .. } => Event::ReverseUnknown,
        Action::Undo { refund: Some(refund), .. } => return Some(Told::Refund(*refund, RefundEvent::UndoUnknown)),
        Action::Undo { refund: None, .. } => Event::UndoUnknown,
        Action::Prepay { .. } => Event::PrepayUnknown,
        Action::ReturnCash { refund } => return Some(Told::Refund(*refund, RefundEvent::CashUnknown)),
        Action::Tell { .. } => Event::TellUnknown,
        _ => return None,
    };
    Some(Told::Order(event))
}

/// Nobody waits for what comes of it.
pub(super) fn only_tells(action: &Action) -> bool {
    matches!(action, Action::Release { .. } | Action::TellUndone { .. } | Action::Sms { .. } | Action::Ripple { .. })
}

/// The refund that an action serves.
pub(super) fn refund_of(action: &Action) -> Option<RefundId> {
    match action {
        Action::Undo { refund, .. } | Action::AskUndo { refund, .. } => *refund,
        Action::ReturnCash { refund }
        | Action::AskReturn { refund }
        | Action::Replace { refund }
        | Action::Carry { refund, .. }
        | Action::NotCarried { refund, .. } => Some(*refund),
        _ => None,
    }
}

impl City {
    /// Makes a call; what comes back is true at this moment.
    pub(super) fn call(&mut self, row: &Row, how: How) -> Told {
        let (at, now_us) = (row.order, self.now_us);
        let heard = !matches!(how, How::DoesAndIsNotHeard | How::IsDeaf | How::HearsLate);
        let acts = matches!(how, How::Does | How::DoesAndIsNotHeard | How::Differs | How::Shifts);
        match &row.action {
            Action::Price { message } => Told::Order(match how {
                How::Refuses => Event::PriceRefused { words: "无此处方".into() },
                How::Does | How::Differs => self.price(at, how == How::Differs),
                _ => Event::PriceUnknown { message: *message },
            }),
            Action::Settle { msgid } => {
                let split = self.settles(at, how);
                let by_us = now_us + (RULES.bureau_limit_ms + RULES.after_reversal_ms) * 1000 - 1;
                self.late(how, Late { no: row.no, order: at, what: Call::Settle(msgid.clone(), split), by_us });
                let settlement = acts.then(|| self.bureau.settle(at, msgid, split, now_us));
                Told::Order(match (settlement, how) {
                    (Some(settlement), _) if heard => Event::SettleDone(Box::new(settlement)),
                    (_, How::Refuses) => Event::SettleRefused { words: "待遇未生效".into(), busy: false },
                    (_, How::IsBusy) => Event::SettleRefused { words: "系统繁忙".into(), busy: true },
                    _ => Event::SettleUnknown,
                })
            }
            Action::Reverse { omsgid, .. } => {
                if acts {
                    self.bureau.reverse(omsgid, now_us);
                }
                Told::Order(if acts && heard { Event::ReverseDone } else { Event::ReverseUnknown })
            }
            Action::AskSettle { omsgid } => Told::Order(match self.bureau.by_msgid(omsgid) {
                _ if !heard => Event::AskSettleUnknown,
                Some(settlement) => Event::SettleFound(Box::new(settlement.clone())),
                None => Event::SettleNotFound,
            }),
            Action::Undo { setl_id, refund, .. } => {
                let what = Call::Undo(setl_id.clone());
                let by_us = now_us + RULES.bureau_limit_ms * 1000 - 1;
                self.late(how, Late { no: row.no, order: at, what, by_us });
                let done = acts.then(|| self.bureau.undo(setl_id, now_us));
                match (done, how) {
                    (Some(Ok(undone)), _) if heard => undo_done(*refund, undone),
                    (Some(Err(words)), _) if heard => undo_refused(*refund, words, false),
                    (_, How::Refuses) => undo_refused(*refund, "已月结".into(), false),
                    (_, How::IsBusy) => undo_refused(*refund, "系统繁忙".into(), true),
                    _ => undo_unknown(*refund),
                }
            }
            Action::AskUndo { setl_id, refund } => match (self.bureau.undone(setl_id), refund) {
                (_, None) if !heard => Told::Order(Event::AskUndoUnknown),
                (_, Some(refund)) if !heard => Told::Refund(*refund, RefundEvent::UndoUnknown),
                (Some(undone), None) => Told::Order(Event::UndoFound(undone)),
                (None, None) => Told::Order(Event::UndoStands),
                (Some(undone), Some(refund)) => Told::Refund(*refund, RefundEvent::UndoDone(undone)),
                (None, Some(refund)) => Told::Refund(*refund, RefundEvent::UndoStands),
            },
            Action::Prepay { amount, .. } => {
                self.late(how, Late { no: row.no, order: at, what: Call::Prepay(*amount), by_us: i64::MAX });
                let opened = acts.then(|| self.wallet.open(at, *amount));
                Told::Order(match (opened, how) {
                    (Some(true), _) if heard => Event::PrepayDone { prepay_id: format!("wx{at}") },
                    (Some(false), _) if heard => {
                        Event::PrepayRefused { words: "订单已支付或已关闭".into(), busy: false }
                    }
                    (_, How::Refuses) => Event::PrepayRefused { words: "商户号未开通".into(), busy: false },
                    (_, How::IsBusy) => Event::PrepayRefused { words: "系统繁忙".into(), busy: true },
                    _ => Event::PrepayUnknown,
                })
            }
            Action::AskWallet { .. } => Told::Order(match (self.taken(at), self.wallet.trade(at)) {
                _ if !heard => Event::WalletNotPaid,
                (Some(taken), _) => Event::WalletPaid(taken),
                (None, Some(Trade::Closed)) => Event::WalletClosed,
                (None, _) => Event::WalletNotPaid,
            }),
            Action::CloseWallet { .. } => {
                if acts && let Some(trade @ Trade::Open) = self.wallet.trade(at) {
                    *trade = Trade::Closed;
                }
                Told::Order(match self.taken(at) {
                    _ if !heard || !acts => Event::WalletNotPaid,
                    Some(taken) => Event::WalletPaid(taken),
                    None => Event::WalletClosed,
                })
            }
            Action::ReturnCash { refund } => {
                let amount = self.cash_of(at, *refund);
                let what = Call::Return(*refund, amount);
                self.late(how, Late { no: row.no, order: at, what, by_us: i64::MAX });
                if acts {
                    let result = if how == How::Differs { Return::Abnormal } else { Return::Returned(now_us) };
                    self.wallet.give_back(*refund, at, amount, result);
                }
                Told::Refund(
                    *refund,
                    match how {
                        How::Refuses => RefundEvent::CashRefused { words: "商户余额不足".into() },
                        _ if acts && heard => self.wallet.state_of(*refund),
                        _ => RefundEvent::CashUnknown,
                    },
                )
            }
            Action::AskReturn { refund } => {
                Told::Refund(*refund, if heard { self.wallet.state_of(*refund) } else { RefundEvent::CashUnknown })
            }
            Action::Tell { .. } => {
                let answers = acts || how == How::Refuses;
                let said = answers.then(|| self.hospital.tell(at, how == How::Refuses));
                Told::Order(said.filter(|_| heard).unwrap_or(Event::TellUnknown))
            }
            Action::AskTell { .. } => Told::Order(match self.hospital.booked(at) {
                _ if !heard => Event::TellUnknown,
                true => Event::TellBooked { guidance: Guidance::default() },
                false => Event::TellNotBooked,
            }),
            Action::TellUndone { whole, .. } => {
                if *whole {
                    self.hospital.undone.push(at);
                }
                Told::Nothing
            }
            Action::Ripple { .. } => Told::Ripple,
            Action::SettleDue => Told::Order(Event::SettleDue),
            Action::Replace { refund } => Told::Replacement(*refund),
            Action::Resume => Told::Order(Event::Resumed),
            Action::Carry { from, refund, cash } => {
                match self.told_of_carry(*from, *refund, &RefundEvent::Carried { cash: *cash }) {
                    Some(carried) if carried == *cash => Told::Order(Event::CashCarried),
                    _ => Told::Order(Event::CarryRefused),
                }
            }
            Action::NotCarried { from, refund } => {
                self.told_of_carry(*from, *refund, &RefundEvent::NotCarried);
                Told::Nothing
            }
            Action::Release { .. } | Action::Sms { .. } => Told::Nothing,
        }
    }

    /// A call that was given up is executed after all.
    pub(super) fn arrive(&mut self, no: u64) {
        let now_us = self.now_us;
        let take = |late: &mut Vec<Late>| late.iter().position(|it| it.no == no).map(|at| late.remove(at));
        let Some(late) = take(&mut self.bureau.late).or_else(|| take(&mut self.wallet.late)) else { return };
        match late.what {
            Call::Settle(msgid, split) => {
                self.bureau.settle(late.order, &msgid, split, now_us);
            }
            Call::Undo(setl_id) => {
                let _ = self.bureau.undo(&setl_id, now_us);
            }
            Call::Prepay(amount) => {
                self.wallet.open(late.order, amount);
            }
            Call::Return(refund, amount) => {
                self.wallet.give_back(refund, late.order, amount, Return::Returned(now_us));
            }
        }
    }

    /// The hospital's price: what the bureau would settle, in one of several splits.
    fn price(&self, at: usize, unsound: bool) -> Event {
        let order = &self.papers[at].order;
        let number = order.price.as_ref().map_or(0, |price| price.number);
        let kind = (at + number as usize) % 3;
        let shape = if order.insured.is_some() { Shape::Insured } else { Shape::CashOnly };
        let fair = match (shape, kind) {
            _ if order.bill.amount == REMAINS => match kind {
                0 => split([3_600, 0, 900, 0, 0, 1_500]),
                1 => split([4_800, 0, 1_200, 0, 0, 0]),
                // More of the account than some orders before it.
                _ => split([2_000, 0, 2_000, 0, 0, 2_000]),
            },
            (Shape::CashOnly, _) => Split::all_cash(BILL),
            (Shape::Insured, 0) => split([6_000, 0, 1_500, 0, 0, 2_500]),
            (Shape::Insured, 1) => split([8_000, 0, 2_000, 0, 0, 0]),
            (Shape::Insured, _) => split([5_000, 500, 1_200, 300, 500, 2_500]),
        };
        let split = if unsound { Split { cash_fen: Fen::new(1), ..fair } } else { fair };
        let inputs = (shape == Shape::Insured).then(|| platform::domain::order::Inputs {
            sealed: Sealed::from_bytes(vec![1]),
            psn_no: crate::paper::hash(3),
            insuplc_admdvs: "441900".into(),
            mdtrt_cert_type: "02".into(),
            mdtrt_cert_no: crate::paper::hash(4),
            med_type: "11".into(),
            psn_setlway: "01".into(),
            acct_used: true,
            mdtrt_id: "MD1".into(),
            chrg_bchno: format!("CB{number}"),
            invono: "IN1".into(),
            insutype: INSUTYPE.into(),
            echoed: Default::default(),
        });
        let valid_until_us = self.now_us + 900_000_000;
        Event::PriceCame(Box::new(PriceCame { split, inputs, lines: Vec::new(), valid_until_us, faults: Vec::new() }))
    }

    /// What the bureau settles: the price that was pre-settled, unless it thinks better of it.
    fn settles(&self, at: usize, how: How) -> Split {
        let seen = self.papers[at].order.price.as_ref().map_or(Split::all_cash(BILL), |price| price.split);
        let moved = Fen::new(100);
        let less = seen.fund_fen.minus(moved).expect("small amounts");
        match how {
            How::Differs => Split { fund_fen: less, cash_fen: seen.cash_fen.plus(moved).expect("small"), ..seen },
            How::Shifts => {
                Split { fund_fen: less, other_funds_fen: seen.other_funds_fen.plus(moved).expect("small"), ..seen }
            }
            _ => seen,
        }
    }

    fn cash_of(&self, at: usize, refund: RefundId) -> Fen {
        let found = self.papers[at].refunds.iter().find(|known| known.id == refund);
        found.and_then(|refund| refund.cash.as_ref()).map_or(Fen::ZERO, |cash| cash.amount)
    }
}

fn undo_done(refund: Option<RefundId>, undone: Undone) -> Told {
    match refund {
        None => Told::Order(Event::UndoDone(undone)),
        Some(refund) => Told::Refund(refund, RefundEvent::UndoDone(undone)),
    }
}

fn undo_refused(refund: Option<RefundId>, words: String, busy: bool) -> Told {
    match refund {
        None => Told::Order(Event::UndoRefused { words, busy }),
        Some(refund) => Told::Refund(refund, RefundEvent::UndoRefused { words, busy }),
    }
}

fn undo_unknown(refund: Option<RefundId>) -> Told {
    match refund {
        None => Told::Order(Event::UndoUnknown),
        Some(refund) => Told::Refund(refund, RefundEvent::UndoUnknown),
    }
}
