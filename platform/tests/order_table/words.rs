//! The words of the pages: what can happen, as one reads it.

use platform::domain::code::IssuedCode;
use platform::domain::order::{BilledFor, Event, Inputs, PriceCame, Taken, Undone};
use platform::domain::refund::{RefundAsked, RefundEvent};
use platform::domain::settlement::{Clearing, Settlement};
use schema::his::{Guidance, Invoice};
use schema::ids::MessageId;
use schema::money::Fen;
use schema::seal::Sealed;
use schema::split::Split;
use uuid::Uuid;

use crate::page::{Line, S_US};
use crate::paper::{self, INSUTYPE, MERCHANT, T0_US, hash, split};

//                              pooled other account mulaid hospital cash
pub(crate) const MIXED: Split = split([6_000, 0, 1_500, 0, 0, 2_500]);
pub(crate) const EVERY_SHARE: Split = split([5_000, 500, 1_200, 300, 500, 2_500]);
pub(crate) const NO_CASH: Split = split([8_000, 0, 2_000, 0, 0, 0]);
pub(crate) const FUNDS_SHIFTED: Split = split([5_700, 300, 1_500, 0, 0, 2_500]);
pub(crate) const MORE_CASH: Split = split([5_500, 0, 1_500, 0, 0, 3_000]);
pub(crate) const MORE_ACCOUNT: Split = split([5_500, 0, 2_000, 0, 0, 2_500]);
pub(crate) const ONE_FEN_SHORT: Split = split([6_000, 0, 1_500, 0, 0, 2_499]);
pub(crate) const NEGATIVE: Split = split([9_000, 0, -1_500, 0, 0, 2_500]);
pub(crate) const CASH: Split = split([0, 0, 0, 0, 0, 10_000]);

pub(crate) fn order(event: Event) -> Line {
    Line::Order(event)
}

pub(crate) fn after(seconds: i64, line: Line) -> Line {
    Line::After(seconds, Box::new(line))
}

pub(crate) fn price(split: Split) -> Line {
    price_for(split, 86_400)
}

/// A price that the institution itself limits, to so many seconds after the story's beginning.
pub(crate) fn price_for(split: Split, seconds: i64) -> Line {
    let inputs = (split != CASH).then(|| Inputs {
        sealed: Sealed::from_bytes(vec![1]),
        psn_no: hash(3),
        insuplc_admdvs: "441900".into(),
        mdtrt_cert_type: "02".into(),
        mdtrt_cert_no: hash(4),
        med_type: "11".into(),
        psn_setlway: "01".into(),
        acct_used: true,
        mdtrt_id: "MD1".into(),
        chrg_bchno: "CB1".into(),
        invono: "IN1".into(),
        insutype: INSUTYPE.into(),
        echoed: Default::default(),
    });
    let valid_until_us = T0_US + seconds * S_US;
    order(Event::PriceCame(Box::new(PriceCame {
        split,
        inputs,
        lines: Vec::new(),
        valid_until_us,
        faults: Vec::new(),
    })))
}

pub(crate) fn price_without_inputs(split: Split) -> Line {
    let valid_until_us = T0_US + 86_400 * S_US;
    order(Event::PriceCame(Box::new(PriceCame {
        split,
        inputs: None,
        lines: Vec::new(),
        valid_until_us,
        faults: Vec::new(),
    })))
}

pub(crate) fn price_refused() -> Line {
    order(Event::PriceRefused { words: "无此处方".into() })
}

pub(crate) fn price_lost() -> Line {
    order(Event::PriceUnknown { message: MessageId::from_uuid(Uuid::from_u128(5)) })
}

pub(crate) fn stale() -> Line {
    order(Event::PriceStale)
}

/// A code whose digits hash to `digits`, for the price as it is, for two minutes.
pub(crate) fn code(digits: u8) -> Line {
    code_for_price(digits, 0)
}

pub(crate) fn code_for_price(digits: u8, price_number: u32) -> Line {
    order(Event::CodeIssued { code: IssuedCode { hash: hash(digits), price_number, expires_at_us: 0, tries_epoch: 1 } })
}

pub(crate) fn authorise(digits: u8) -> Line {
    order(Event::Authorised { offered: Some(hash(digits)) })
}

/// The payer taps, without a code.
pub(crate) fn tap() -> Line {
    order(Event::Authorised { offered: None })
}

pub(crate) fn settlement(split: Split, msgid: &str) -> Box<Settlement> {
    Box::new(Settlement {
        msgid: msgid.into(),
        inf_refmsgid: "44190020260101000000".into(),
        setl_id: "SETL1".into(),
        mdtrt_id: "MD1".into(),
        split,
        insutype: INSUTYPE.into(),
        setl_time_us: T0_US + S_US,
        clearing: Clearing::default(),
        amounts: Default::default(),
        texts: Default::default(),
        details: Vec::new(),
        reply: Sealed::from_bytes(vec![2]),
    })
}

pub(crate) fn settled(split: Split) -> Line {
    order(Event::SettleDone(settlement(split, "")))
}

pub(crate) fn settled_under(msgid: &str) -> Line {
    order(Event::SettleDone(settlement(MIXED, msgid)))
}

pub(crate) fn settle_refused() -> Line {
    order(Event::SettleRefused { words: "待遇未生效".into(), busy: false })
}

pub(crate) fn settle_busy() -> Line {
    order(Event::SettleRefused { words: "系统繁忙".into(), busy: true })
}

pub(crate) fn settle_due() -> Line {
    order(Event::SettleDue)
}

pub(crate) fn resumed() -> Line {
    order(Event::Resumed)
}

pub(crate) fn cash_carried() -> Line {
    order(Event::CashCarried)
}

pub(crate) fn carry_refused() -> Line {
    order(Event::CarryRefused)
}

pub(crate) fn settle_lost() -> Line {
    order(Event::SettleUnknown)
}

pub(crate) fn reversed() -> Line {
    order(Event::ReverseDone)
}

pub(crate) fn reverse_lost() -> Line {
    order(Event::ReverseUnknown)
}

pub(crate) fn found(split: Split) -> Line {
    order(Event::SettleFound(settlement(split, "")))
}

pub(crate) fn not_found() -> Line {
    order(Event::SettleNotFound)
}

pub(crate) fn question_lost() -> Line {
    order(Event::AskSettleUnknown)
}

pub(crate) fn undo() -> Undone {
    Undone { undo_setl_id: "SETL2".into(), setl_time_us: T0_US + 2 * S_US, msgid: None, inf_refmsgid: None }
}

pub(crate) fn undone() -> Line {
    order(Event::UndoDone(undo()))
}

pub(crate) fn undo_refused() -> Line {
    order(Event::UndoRefused { words: "已月结，不能撤销".into(), busy: false })
}

pub(crate) fn undo_busy() -> Line {
    order(Event::UndoRefused { words: "系统繁忙".into(), busy: true })
}

pub(crate) fn undo_lost() -> Line {
    order(Event::UndoUnknown)
}

pub(crate) fn undo_found() -> Line {
    order(Event::UndoFound(undo()))
}

pub(crate) fn stands() -> Line {
    order(Event::UndoStands)
}

pub(crate) fn undo_question_lost() -> Line {
    order(Event::AskUndoUnknown)
}

pub(crate) fn prepaid() -> Line {
    order(Event::PrepayDone { prepay_id: "wx1".into() })
}

pub(crate) fn prepay_refused() -> Line {
    order(Event::PrepayRefused { words: "商户号未开通".into(), busy: false })
}

pub(crate) fn prepay_busy() -> Line {
    order(Event::PrepayRefused { words: "系统繁忙".into(), busy: true })
}

pub(crate) fn prepay_lost() -> Line {
    order(Event::PrepayUnknown)
}

pub(crate) fn paid(fen: i64) -> Line {
    paid_as("T1", fen)
}

/// Paid under this transaction id of the wallet's.
pub(crate) fn paid_as(transaction_id: &str, fen: i64) -> Line {
    order(Event::WalletPaid(Taken {
        out_trade_no: Uuid::from_u128(0x0de4_0001).simple().to_string(),
        transaction_id: transaction_id.into(),
        amount: Fen::new(fen),
        paid: Fen::new(fen),
        success_time_us: T0_US + 3 * S_US,
    }))
}

pub(crate) fn not_paid() -> Line {
    order(Event::WalletNotPaid)
}

pub(crate) fn wallet_closed() -> Line {
    order(Event::WalletClosed)
}

pub(crate) fn booked() -> Line {
    order(Event::TellBooked { guidance: Guidance { window: Some("3".into()), ..Guidance::default() } })
}

pub(crate) fn booked_with_paper_invoice() -> Line {
    let invoice = Invoice { code: "1".into(), number: "2".into(), check_code: "3".into(), printed: true };
    order(Event::TellBooked { guidance: Guidance { invoice: Some(invoice), ..Guidance::default() } })
}

pub(crate) fn rejected() -> Line {
    order(Event::TellRejected { words: "药品已停用".into() })
}

pub(crate) fn tell_lost() -> Line {
    order(Event::TellUnknown)
}

pub(crate) fn not_booked() -> Line {
    order(Event::TellNotBooked)
}

pub(crate) fn cancel() -> Line {
    order(Event::Cancelled)
}

pub(crate) fn claim() -> Line {
    order(Event::WindowClaimed)
}

pub(crate) fn lost() -> Line {
    Line::Lost
}

pub(crate) fn deadline() -> Line {
    Line::Deadline
}

pub(crate) fn too_early() -> Line {
    order(Event::DeadlinePassed)
}

pub(crate) fn refund_all() -> Line {
    refund_ask(None, None)
}

pub(crate) fn refund(fen: i64) -> Line {
    refund_ask(Some(fen), None)
}

/// A part goes back: a bill of so many fen remains.
pub(crate) fn replace_by(fen: i64) -> Line {
    refund_ask(None, Some(fen))
}

pub(crate) fn refund_ask(fen: Option<i64>, remains: Option<i64>) -> Line {
    let replaced_by = remains.map(|remains| {
        let bill = paper::bill(2);
        BilledFor {
            id: bill.id,
            bill_no: bill.bill_no,
            institution: bill.institution,
            merchant: MERCHANT.to_owned(),
            amount: Fen::new(remains),
            expires_at_us: bill.expires_at_us,
        }
    });
    let amount = fen.map(Fen::new);
    order(Event::RefundAsked(RefundAsked {
        refund_no: Some("R1".into()), amount, replaced_by, reason: "退药".into()
    }))
}

/// A part goes back, and what remains would be paid at another merchant than the one that has the cash.
pub(crate) fn replace_elsewhere() -> Line {
    let Line::Order(Event::RefundAsked(mut asked)) = replace_by(6_000) else { unreachable!("a refund is asked") };
    if let Some(remains) = &mut asked.replaced_by {
        remains.merchant = "1900000999".to_owned();
    }
    order(Event::RefundAsked(asked))
}

/// The replacement keeps so much of the cash.
pub(crate) fn kept(fen: i64) -> Line {
    back(RefundEvent::Carried { cash: Fen::new(fen) })
}

pub(crate) fn nothing_kept() -> Line {
    back(RefundEvent::NotCarried)
}

pub(crate) fn back(event: RefundEvent) -> Line {
    Line::Refund(event)
}

pub(crate) fn back_undone() -> Line {
    back(RefundEvent::UndoDone(undo()))
}

pub(crate) fn back_refused() -> Line {
    back(RefundEvent::UndoRefused { words: "已有后续结算".into(), busy: false })
}

pub(crate) fn back_busy() -> Line {
    back(RefundEvent::UndoRefused { words: "系统繁忙".into(), busy: true })
}

pub(crate) fn back_lost() -> Line {
    back(RefundEvent::UndoUnknown)
}

pub(crate) fn back_stands() -> Line {
    back(RefundEvent::UndoStands)
}

pub(crate) fn cash_back() -> Line {
    back(RefundEvent::CashReturned { success_time_us: T0_US + 4 * S_US })
}

pub(crate) fn cash_lost() -> Line {
    back(RefundEvent::CashUnknown)
}

pub(crate) fn cash_unheard_of() -> Line {
    back(RefundEvent::CashNothing)
}

pub(crate) fn cash_refused() -> Line {
    back(RefundEvent::CashRefused { words: "商户余额不足".into() })
}

pub(crate) fn cash_abnormal() -> Line {
    back(RefundEvent::CashAbnormal { words: "退款异常，付款卡已注销".into() })
}
