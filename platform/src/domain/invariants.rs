//! What must hold of the books at any moment: one sentence and one check each. Tests, the simulation,
//! `platform ledger verify` and the metrics all ask the same functions, so a night alert names a sentence of this page.

use schema::money::{Fen, Overflow};
use serde::{Deserialize, Serialize};

use super::order::{Order, State};
use super::posting::Posting;
use super::refund::{Refund, RefundKind};

macro_rules! invariants {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $sentence:literal;)*) => {
        /// The list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Invariant {
            $(#[doc = $sentence] #[serde(rename = $id)] $name,)*
        }

        impl Invariant {
            /// Every invariant.
            pub const ALL: &'static [Invariant] = &[$(Invariant::$name),*];

            /// The stable id.
            pub const fn id(self) -> &'static str { match self { $(Invariant::$name => $id),* } }

            /// The sentence.
            pub const fn sentence(self) -> &'static str { match self { $(Invariant::$name => $sentence),* } }
        }
    };
}

invariants! {
    SplitSums = "PAY-1", "A split has no negative share and sums to its bill.";
    PostingsBalance = "PAY-2", "The postings of every commit sum to zero.";
    OneOpenOrderPerBill = "PAY-3", "A bill has at most one open order, and an open order holds its bill.";
    OneOrderPerPerson = "PAY-4", "An insured person has at most one insured order between Settling and Paid or Closed.";
    BureauNet = "PAY-5", "What the bureau owes for an order is the insurance leg that the order's state says stands.";
    WalletNet = "PAY-6", "What the wallet owes for an order is the cash that the order's state and refunds say is held.";
    RefundsWithinPaid = "PAY-7", "No order gives back, or grants, more than was paid.";
    InsuranceBeforeCash = "PAY-8", "An order with an insurance leg holds cash only while that leg is settled.";
    NumberedWithoutGaps = "PAY-9", "An order's records are numbered from 1 to its version without gaps.";
    ClosedHoldsNothing = "PAY-10", "A closed order holds no insurance and no cash but stray cash on its way back.";
    PaidAsSeen = "PAY-11", "Nobody pays other than what they authorised.";
}

/// A sentence that does not hold, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Of what: an order's id, never a person.
    pub of: String,
    /// What was found.
    pub found: String,
}

/// Everything stored about one order, as a checker reads it.
#[derive(Debug)]
pub struct Books<'a> {
    /// The order.
    pub order: &'a Order,
    /// Its refunds.
    pub refunds: &'a [Refund],
    /// All its postings.
    pub postings: &'a [Posting],
    /// How many records were written, and the highest number among them.
    pub records: (i64, i64),
    /// The order that holds its bill.
    pub bill_held_by_it: bool,
    /// The person claim is held by it.
    pub person_held_by_it: bool,
}

/// Checks every sentence that can be checked on one order.
pub fn check(books: &Books<'_>) -> Vec<Violation> {
    let order = books.order;
    let mut violations = Vec::new();
    let mut broken = |invariant: Invariant, found: String| {
        violations.push(Violation { invariant, of: order.id.to_string(), found });
    };
    if !split_sums(order) {
        let settled = order.state.settled().map(|settled| &settled.split);
        let priced = order.price.as_ref().map(|price| &price.split);
        broken(Invariant::SplitSums, format!("{priced:?}, settled {settled:?}, against {:?}", order.bill.amount));
    }
    if !postings_balance(books.postings) {
        broken(Invariant::PostingsBalance, "the order's postings do not sum to zero".into());
    }
    let place = order.state.place();
    if place.holds_bill() != books.bill_held_by_it {
        broken(Invariant::OneOpenOrderPerBill, format!("{} holds bill: {}", place.word(), books.bill_held_by_it));
    }
    if order.insured.is_some() && order.state.holds_person() != books.person_held_by_it {
        broken(Invariant::OneOrderPerPerson, format!("{} holds person: {}", place.word(), books.person_held_by_it));
    }
    match (held_insurance(order, books.refunds), net(books.postings, "bureau:")) {
        (Ok(held), Ok(net)) if held == net => {}
        (held, net) => broken(Invariant::BureauNet, format!("held {held:?}, postings {net:?}")),
    }
    match (held_cash(order, books.refunds), net(books.postings, "wallet:")) {
        (Ok(held), Ok(net)) if held == net => {}
        (held, net) => broken(Invariant::WalletNet, format!("held {held:?}, postings {net:?}")),
    }
    if order.refunded.is_negative() || order.refunding.is_negative() || gives_back_too_much(order) {
        broken(Invariant::RefundsWithinPaid, format!("refunded {:?}, refunding {:?}", order.refunded, order.refunding));
    }
    if !insurance_before_cash(order) {
        broken(Invariant::InsuranceBeforeCash, "cash is held without a settled insurance leg".into());
    }
    let (count, highest) = books.records;
    if count != order.version || highest != order.version {
        broken(Invariant::NumberedWithoutGaps, format!("version {}, {count} records up to {highest}", order.version));
    }
    if matches!(order.state, State::Closed { .. }) && net(books.postings, "payable:") != Ok(Fen::ZERO) {
        broken(Invariant::ClosedHoldsNothing, "the institution is still owed something".into());
    }
    if matches!(order.state, State::Paid { .. } | State::Completed { .. })
        && let (Some(authorised), Some(settled)) = (&order.authorisation, order.state.settled())
        && super::split::differs_for_the_payer(&authorised.split, &settled.split)
    {
        broken(Invariant::PaidAsSeen, format!("{:?} against {:?}", settled.split, authorised.split));
    }
    violations
}

/// PAY-1 of one order: the price it shows, and the settlement it stands on, sum to its bill. A settlement that does not
/// is on its way to be undone and nothing stands on it.
pub fn split_sums(order: &Order) -> bool {
    let amount = order.bill.amount;
    let stands = !matches!(order.state.stood(), State::UndoingInsurance { .. } | State::AskingUndo { .. });
    order.price.as_ref().is_none_or(|price| price.split.sums_to(amount))
        && (!stands || order.state.settled().is_none_or(|settled| settled.split.sums_to(amount)))
}

/// PAY-2 of one commit, or of several whole ones.
pub fn postings_balance(postings: &[Posting]) -> bool {
    super::posting::sums_to_zero(postings)
}

/// PAY-8 of one order: what it says of its cash needs a settlement beside it.
pub fn insurance_before_cash(order: &Order) -> bool {
    order.insured.is_none() || order.state.taken().is_none() || order.state.settled().is_some()
}

fn gives_back_too_much(order: &Order) -> bool {
    let limit = order.bill.amount;
    order.refunded.plus(order.refunding).map_or(true, |sum| sum > limit)
}

/// What the bureau owes for this order according to its state and refunds.
pub fn held_insurance(order: &Order, refunds: &[Refund]) -> Result<Fen, Overflow> {
    let undone = refunds
        .iter()
        .any(|refund| matches!(refund.kind, RefundKind::Whole | RefundKind::Replace) && refund.undone.is_some());
    match order.state.settled() {
        Some(settled) if !undone => settled.split.insurance(),
        _ => Ok(Fen::ZERO),
    }
}

/// What the wallet owes for this order according to its state and refunds, stray cash included. Cash stays with the
/// order at whose wallet payment it came in: a replacement's own is less by what was carried in, and a replaced
/// order's more by what was carried out.
pub fn held_cash(order: &Order, refunds: &[Refund]) -> Result<Fen, Overflow> {
    let closed = matches!(order.state, State::Closed { .. });
    let own = match order.state.taken() {
        Some(taken) => taken.amount,
        None => order.carried_out,
    };
    let own = own.minus(order.carried_in)?;
    refunds.iter().try_fold(own, |held, refund| {
        let Some(cash) = &refund.cash else { return Ok(held) };
        match (refund.kind, refund.returned_at_us) {
            (RefundKind::Stray, None) => held.plus(cash.amount),
            (RefundKind::Stray, Some(_)) => Ok(held),
            // A closed order no longer counts the cash it gave back.
            (RefundKind::Whole | RefundKind::Replace | RefundKind::Part, Some(_)) if !closed => held.minus(cash.amount),
            _ => Ok(held),
        }
    })
}

fn net(postings: &[Posting], account_prefix: &str) -> Result<Fen, Overflow> {
    Fen::sum(
        postings
            .iter()
            .filter(|posting| posting.account.to_string().starts_with(account_prefix))
            .map(|posting| posting.amount),
    )
}
