//! Where pages begin.

use platform::domain::deadline::Rules;
use platform::domain::order::{Owner, State, Why};

use crate::page::Page;
use crate::paper::{RULES, Shape};
use crate::words::*;

pub(crate) fn insured() -> Page {
    Page::open(Shape::Insured, true, RULES)
}

/// The bureau's dialect finds no settlement by visit.
pub(crate) fn insured_without_question() -> Page {
    Page::open(Shape::Insured, false, RULES)
}

/// Patience ends while the price still holds; no question by visit.
pub(crate) fn settling_without_patience(can_ask_by_visit: bool) -> Page {
    let rules = Rules { patience_ms: 300_000, ..RULES };
    Page::open(Shape::Insured, can_ask_by_visit, rules).then(&[price(MIXED), code(1), authorise(1)])
}

pub(crate) fn cash_only() -> Page {
    Page::open(Shape::CashOnly, true, RULES)
}

pub(crate) fn priced() -> Page {
    insured().then(&[price(MIXED)])
}

pub(crate) fn cash_priced() -> Page {
    cash_only().then(&[price(CASH)])
}

pub(crate) fn settling() -> Page {
    priced().then(&[code(1), authorise(1)])
}

/// The binding is lost, and its orders have not heard of it yet.
pub(crate) fn lost_unheard(mut page: Page) -> Page {
    page.paper.binding.epoch += 1;
    page
}

pub(crate) fn doubting() -> Page {
    settling().then(&[settle_lost()])
}

pub(crate) fn proving() -> Page {
    doubting().then(&[reversed()])
}

pub(crate) fn prepaying() -> Page {
    settling().then(&[settled(MIXED)])
}

pub(crate) fn cash_prepaying() -> Page {
    cash_priced().then(&[tap()])
}

pub(crate) fn collecting() -> Page {
    prepaying().then(&[prepaid()])
}

pub(crate) fn cash_collecting() -> Page {
    cash_prepaying().then(&[prepaid()])
}

pub(crate) fn closing() -> Page {
    collecting().then(&[cancel()])
}

/// As the desk stops an order whose next step would break an invariant.
pub(crate) fn stopped(mut page: Page) -> Page {
    let order = &mut page.paper.order;
    let why = Why::Broken { invariant: "PAY-8".to_owned() };
    order.state = State::Suspended { from: Box::new(order.state.clone()), why, owner: Owner::Finance };
    order.deadline_at_us = None;
    page
}

pub(crate) fn cash_closing() -> Page {
    cash_collecting().then(&[cancel()])
}

pub(crate) fn undoing() -> Page {
    closing().then(&[wallet_closed()])
}

/// A settlement that differed is being undone, to be priced again.
pub(crate) fn undoing_a_difference() -> Page {
    settling().then(&[settled(MORE_CASH)])
}

pub(crate) fn paid_mixed() -> Page {
    collecting().then(&[paid(2_500)])
}

pub(crate) fn paid_without_cash() -> Page {
    insured().then(&[price(NO_CASH), code(1), authorise(1), settled(NO_CASH)])
}

pub(crate) fn paid_in_cash() -> Page {
    cash_collecting().then(&[paid(10_000)])
}

pub(crate) fn returning() -> Page {
    paid_mixed().then(&[rejected()])
}

pub(crate) fn completed() -> Page {
    paid_mixed().then(&[booked()])
}

pub(crate) fn completed_without_cash() -> Page {
    paid_without_cash().then(&[booked()])
}

pub(crate) fn completed_in_cash() -> Page {
    paid_in_cash().then(&[booked()])
}

pub(crate) fn closed() -> Page {
    undoing().then(&[undone()])
}

/// The order for what remained of another, whose payer had authorised 15 yuan of account and 25 in cash.
pub(crate) fn replacement() -> Page {
    Page::replacing(RULES)
}

pub(crate) fn replacement_settling() -> Page {
    replacement().then(&[price(MIXED), resumed()])
}

pub(crate) fn carrying() -> Page {
    replacement_settling().then(&[settled(MIXED)])
}
