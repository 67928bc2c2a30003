//! An order as its payer and as its institution see it.

use std::sync::Arc;

use schema::bill::LineResult;
use schema::his;
use schema::mobile::{LegState, Mode, OrderView, WalletView};

use super::desk::{Outcome, Render};
use crate::domain::order::{Order, Place, State, Why};
use crate::domain::refund;

/// What a view holds beyond the order's own row.
#[derive(Debug, Default)]
pub struct Beside {
    /// The bureau's word on every line.
    pub lines: Vec<LineResult>,
    /// For opening the wallet.
    pub wallet: Option<WalletView>,
    /// The phone a code goes to, masked.
    pub code_phone: Option<String>,
}

/// The answer to a change: the order as decided at that version, without what only GET adds.
pub fn render() -> Render {
    Arc::new(|outcome| match outcome {
        Outcome::Order(order) => serde_json::to_vec(&payer(order, Beside::default())).ok(),
        _ => None,
    })
}

/// The payer's view.
pub fn payer(order: &Order, beside: Beside) -> OrderView {
    let (words, words_en) = words(order);
    let (insurance, cash) = legs(order);
    let place = order.state.place();
    OrderView {
        id: order.id,
        version: order.version,
        bill_id: order.bill.id,
        bill_no: order.bill.bill_no.clone(),
        state: place.word().into(),
        words: words.into(),
        words_en: words_en.into(),
        reason: order.state.why().map(|why| match why.words() {
            Some(words) => format!("{}: {words}", why.word()),
            None => why.word().into(),
        }),
        mode: if order.insured.is_some() { Mode::Insured } else { Mode::CashOnly },
        use_account: order.insured.as_ref().is_some_and(|insured| insured.use_account),
        amount_fen: order.bill.amount,
        split: order.split(),
        lines: beside.lines,
        valid_until_us: match place {
            Place::Priced => order.price.as_ref().map(|price| price.valid_until_us),
            _ => None,
        },
        code_phone: beside.code_phone,
        code_expires_at_us: match &order.state {
            State::Priced { code: Some(code), .. } => Some(code.expires_at_us),
            _ => None,
        },
        insurance,
        cash,
        wallet: beside.wallet,
        setl_id: settled_id(order),
        transaction_id: transaction_id(order),
        refunded_fen: order.refunded,
        replaces: order.replaces,
        guidance: match &order.state {
            State::Completed { guidance, .. } => Some(guidance.clone()),
            _ => None,
        },
        created_at_us: order.created_at_us,
        updated_at_us: order.updated_at_us,
    }
}

/// The institution's view.
pub fn institution(order: &Order) -> his::OrderView {
    his::OrderView {
        order_id: order.id,
        bill_no: order.bill.bill_no.clone(),
        state: order.state.place().word().into(),
        amount_fen: order.bill.amount,
        split: order.split(),
        setl_id: settled_id(order),
        transaction_id: transaction_id(order),
        refunded_fen: order.refunded,
        created_at_us: order.created_at_us,
        updated_at_us: order.updated_at_us,
    }
}

fn settled_id(order: &Order) -> Option<String> {
    let returned = match &order.state {
        State::Closed { returned: Some(legs), .. } => legs.insurance.settled(),
        state => state.settled(),
    };
    returned.map(|settled| settled.setl_id.clone())
}

fn transaction_id(order: &Order) -> Option<String> {
    let returned = match &order.state {
        State::Closed { returned: Some(legs), .. } => legs.cash.as_ref(),
        state => state.taken(),
    };
    returned.map(|taken| taken.transaction_id.clone())
}

/// Everything but the hospital's own burden, which nobody paid.
fn went_back_whole(order: &Order) -> bool {
    match &order.state {
        State::Completed { legs, .. } => refund::refundable(legs) == Ok(order.refunded),
        _ => false,
    }
}

/// Both legs side by side: a pure-insurance order must not look failed.
fn legs(order: &Order) -> (LegState, LegState) {
    let insured = |state| if order.insured.is_some() { state } else { LegState::None };
    let due = order.price.as_ref().is_none_or(|price| !price.split.cash_fen.is_zero());
    let cash = |state| if due { state } else { LegState::None };
    let state = match &order.state {
        State::Suspended { from, .. } => from.as_ref(),
        state => state,
    };
    match state {
        State::Created | State::Priced { .. } => (insured(LegState::Waiting), cash(LegState::Waiting)),
        State::Settling { .. } | State::Doubting { .. } | State::Proving { .. } => {
            (insured(LegState::Moving), cash(LegState::Waiting))
        }
        State::Prepaying { .. } | State::Collecting { .. } | State::Carrying { .. } => {
            (insured(LegState::Done), cash(LegState::Moving))
        }
        State::Completed { .. } if went_back_whole(order) => (insured(LegState::Undone), cash(LegState::Undone)),
        State::Paid { .. } | State::Completed { .. } => (insured(LegState::Done), cash(LegState::Done)),
        State::ClosingWallet { .. } => (insured(LegState::Done), cash(LegState::Undoing)),
        State::UndoingInsurance { .. } | State::AskingUndo { .. } => {
            (insured(LegState::Undoing), cash(LegState::Waiting))
        }
        State::Returning { .. } => (insured(LegState::Undoing), cash(LegState::Undoing)),
        State::Closed { returned: Some(_), .. } => (insured(LegState::Undone), cash(LegState::Undone)),
        State::Closed { .. } | State::Suspended { .. } => (insured(LegState::Waiting), cash(LegState::Waiting)),
    }
}

/// One sentence for the payer: what is going on, what happened to the money, what to do.
fn words(order: &Order) -> (&'static str, &'static str) {
    match &order.state {
        State::Created => ("正在向医院计价，未扣款。", "The hospital is working out the price; no money has moved."),
        State::Priced { .. } => {
            ("请核对分担结果并确认支付，未扣款。", "Check who pays what and confirm; no money has moved.")
        }
        State::Settling { busy: Some(_), .. } => (
            "医保系统繁忙，正在排队结算，未扣款；可等待或取消。",
            "The bureau is busy and the settlement waits; no money has moved. Wait, or cancel.",
        ),
        State::Settling { .. } => {
            ("医保正在结算，请稍候，勿重复支付。", "Insurance is being settled; wait, do not pay again.")
        }
        State::Doubting { .. } | State::Proving { .. } => (
            "医保结算结果正在核实，请稍候，勿重复支付。",
            "The insurance result is being verified; wait, do not pay again.",
        ),
        State::Prepaying { insurance, .. } | State::Collecting { insurance, .. } => {
            if insurance.settled().is_some() {
                ("医保部分已支付，请完成现金支付。", "Insurance has paid its part; please pay the cash part.")
            } else {
                ("请完成现金支付。", "Please pay in the wallet.")
            }
        }
        State::Carrying { .. } => (
            "医保已重新结算，现金从原支付中结转，多余部分原路退回。",
            "Insurance is settled anew; the cash comes out of the first payment, and the rest goes back.",
        ),
        State::Paid { .. } => (
            "已支付，医院确认中，可凭单号到窗口。",
            "Paid; the hospital is confirming. You may go to the window with this number.",
        ),
        State::Completed { .. } if went_back_whole(order) => ("已全部退款。", "Everything was given back."),
        State::Completed { .. } if !order.refunded.is_zero() => ("已支付，部分已退款。", "Paid; part was given back."),
        State::Completed { .. } => ("支付完成，请按指引前往。", "Payment complete; please follow the guidance."),
        State::ClosingWallet { .. } | State::UndoingInsurance { .. } | State::AskingUndo { .. } => {
            ("正在撤销，已支付的部分将全部退回。", "Being undone; whatever was paid goes back.")
        }
        State::Returning { .. } => {
            ("正在退款，已支付的部分将原路退回。", "Being refunded; everything goes back the way it came.")
        }
        State::Suspended { .. } => (
            "订单需要人工处理，款项状态已记录，请勿重复支付，可凭单号咨询经办机构。",
            "A person is looking at this order; its money is on record. Do not pay again; ask the bureau with this number.",
        ),
        State::Closed { .. } if !order.strays.is_empty() => (
            "订单已关闭；关闭时或关闭后到账的现金不计入缴费，原路退回，退回时另发短信。",
            "Closed; cash that came in all the same is not kept: it goes back the way it came, and a message says when.",
        ),
        State::Closed { why: Why::Replaced, .. } => (
            "已部分退费：原医保结算已撤销，剩余费用已另行结算，多收部分已退回。",
            "Partly returned: the first settlement is undone, what remains was settled anew, the rest went back.",
        ),
        State::Closed { returned: Some(_), .. } => ("已撤销，款项已全部退回。", "Undone; all money went back."),
        State::Closed { why: Why::PriceRefused { .. }, .. } => {
            ("医院未能计价，订单已关闭，未扣款。", "The hospital could not price the bill; closed, no money moved.")
        }
        State::Closed { why: Why::SettleRefused { .. }, .. } => (
            "医保未能结算，订单已关闭，未扣款。可选择自费（自费支付后需到经办机构手工报销）。",
            "Insurance did not settle; closed, no money moved. You may pay in cash and claim at the bureau later.",
        ),
        State::Closed { .. } => ("订单已关闭，未扣款。", "Closed; no money was kept."),
    }
}
