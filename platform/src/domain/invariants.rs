//! What must hold of the books at any moment: one sentence and one check each. Tests, the simulation,
//! `platform ledger verify` and the metrics all ask the same functions, so a night alert names a sentence of this page.

use std::collections::{BTreeMap, BTreeSet};

use schema::ids::TenantId;
use schema::money::{Fen, Overflow};
use schema::split::Split;
use serde::{Deserialize, Serialize};

use super::order::{Legs, Order, State};
use super::posting::{Account, ByDate, Posting};
use super::refund::{Refund, RefundKind, RefundState};

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
    BureauNet = "PAY-5", "What the bureau owes for an order by its postings is its settlements without the undone ones, and what its state says stands.";
    WalletNet = "PAY-6", "What the wallet owes for an order by its postings is the cash that came in without what went back, and what its state and refunds say is held.";
    RefundsWithinPaid = "PAY-7", "No order gives back, or grants, more than was paid for it, and no payment gives back more than itself, over the whole chain of replacements.";
    InsuranceBeforeCash = "PAY-8", "An order with an insurance leg takes cash only behind a settlement, and once that is undone the cash is only on its way back.";
    NumberedWithoutGaps = "PAY-9", "An order's records are numbered from 1 to its version without gaps.";
    ClosedHoldsNothing = "PAY-10", "A closed order holds no insurance and no cash but stray cash on its way back.";
    PaidAsSeen = "PAY-11", "Nobody pays other than what they authorised: neither of an account nor in cash.";
    DatedByItsLegs = "PAY-12", "Every posting has the accounting date of its counterparty's leg: a settlement's, its undo's, a payment's or a return's.";
    BalancesAreSums = "PAY-13", "A balance is the sum of the postings that are marked as rolled up into it.";
}

/// A sentence that does not hold, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Of what: an order's id or a tenant's, never a person.
    pub of: String,
    /// What was found.
    pub found: String,
}

/// A settlement as it is stored, and whether its undo is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsuranceLeg {
    /// 险种.
    pub insutype: String,
    /// Who pays what.
    pub split: Split,
    /// The bureau's accounting time: microseconds UTC.
    pub setl_time_us: i64,
    /// The undo's accounting time: microseconds UTC.
    pub undone_at_us: Option<i64>,
}

/// Cash as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CashLeg {
    /// The wallet's number.
    pub transaction_id: String,
    /// To whom it went.
    pub merchant: String,
    /// How much came in.
    pub amount: Fen,
    /// The wallet's accounting time: microseconds UTC.
    pub success_time_us: i64,
    /// It had no right to stay.
    pub stray: bool,
}

/// Everything stored about one order, as a checker reads it.
#[derive(Debug)]
pub struct Books<'a> {
    /// The order.
    pub order: &'a Order,
    /// Its refunds.
    pub refunds: &'a [Refund],
    /// The refunds of the orders that replace it, one after another: their cash comes out of its payment.
    pub further_refunds: &'a [Refund],
    /// All its postings.
    pub postings: &'a [Posting],
    /// Its settlements.
    pub insurance: &'a [InsuranceLeg],
    /// The cash that came in for it.
    pub cash: &'a [CashLeg],
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
    let (held, net_at_bureau) = (held_insurance(order, books.refunds), net(books.postings, BUREAU));
    let legs = net(&insurance_standing(books), BUREAU);
    if held.is_err() || held != net_at_bureau || held != legs {
        broken(Invariant::BureauNet, format!("held {held:?}, postings {net_at_bureau:?}, legs {legs:?}"));
    }
    let (by_fund, of_legs) = (by_account(books.postings, BUREAU), by_account(&insurance_standing(books), BUREAU));
    if by_fund != of_legs {
        broken(Invariant::BureauNet, format!("postings {by_fund:?}, legs {of_legs:?}"));
    }
    let (held, net_at_wallet) = (held_cash(order, books.refunds), net(books.postings, WALLET));
    let legs = cash_standing(books);
    if held.is_err() || held != net_at_wallet || held != legs {
        broken(Invariant::WalletNet, format!("held {held:?}, postings {net_at_wallet:?}, legs {legs:?}"));
    }
    if gives_back_too_much(order, books.refunds) {
        broken(Invariant::RefundsWithinPaid, format!("refunded {:?}, refunding {:?}", order.refunded, order.refunding));
    }
    for leg in books.cash.iter().filter(|leg| returns_too_much(leg, books)) {
        broken(Invariant::RefundsWithinPaid, format!("{} gives back more than {:?}", leg.transaction_id, leg.amount));
    }
    if !insurance_before_cash(order) || books_cash_on_nothing(books) {
        broken(Invariant::InsuranceBeforeCash, "cash is held without a settled insurance leg".into());
    }
    let (count, highest) = books.records;
    if count != order.version || highest != order.version {
        broken(Invariant::NumberedWithoutGaps, format!("version {}, {count} records up to {highest}", order.version));
    }
    if matches!(order.state, State::Closed { .. }) && net(books.postings, "payable:") != Ok(Fen::ZERO) {
        broken(Invariant::ClosedHoldsNothing, "the institution is still owed something".into());
    }
    if !paid_as_seen(order) {
        let (settled, taken) = (order.state.settled().map(|settled| &settled.split), order.state.taken());
        let authorised = order.authorisation.as_ref().map(|authorisation| &authorisation.split);
        broken(Invariant::PaidAsSeen, format!("settled {settled:?}, taken {taken:?}, authorised {authorised:?}"));
    }
    for line in books.postings.iter().filter(|line| !dated_by_its_leg(line, books)) {
        let found = format!("{} of {:?} is dated {}", line.account, line.amount, line.counterparty_at_us);
        broken(Invariant::DatedByItsLegs, found);
    }
    violations
}

/// PAY-13 of one tenant: what its balances say, and what the postings that are marked as rolled up sum to.
pub fn balances_are_sums(tenant: TenantId, balances: &ByDate, marked: &ByDate) -> Vec<Violation> {
    let keys: BTreeSet<_> = balances.keys().chain(marked.keys()).collect();
    let amount = |sums: &ByDate, key| sums.get(key).copied().unwrap_or(Fen::ZERO);
    keys.into_iter()
        .filter(|key| amount(balances, key) != amount(marked, key))
        .map(|key| Violation {
            invariant: Invariant::BalancesAreSums,
            of: tenant.to_string(),
            found: format!(
                "{} of {}: balance {:?}, postings {:?}",
                key.0,
                key.1,
                amount(balances, key),
                amount(marked, key)
            ),
        })
        .collect()
}

/// The first sentence that a decision would break by itself: what the order would be, and what would be posted with
/// it. Everything else needs the stored rows ([`check`]).
pub fn broken_by(next: &Order, postings: &[Posting]) -> Option<Invariant> {
    let sound = [
        (Invariant::PostingsBalance, postings_balance(postings)),
        (Invariant::SplitSums, split_sums(next)),
        (Invariant::InsuranceBeforeCash, insurance_before_cash(next)),
    ];
    sound.into_iter().find(|(_, holds)| !holds).map(|(invariant, _)| invariant)
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

/// PAY-11 of one order: where the payer's money is held, or is being asked for, it is what they authorised. An order
/// whose settlement is being undone pays nothing.
pub fn paid_as_seen(order: &Order) -> bool {
    let pays = !matches!(order.state.stood(), State::UndoingInsurance { .. } | State::AskingUndo { .. });
    let (settled, taken) = (order.state.settled(), order.state.taken());
    if !pays || (settled.is_none() && taken.is_none()) {
        return true;
    }
    order.authorisation.as_ref().is_some_and(|authorised| {
        settled.is_none_or(|settled| !super::split::differs_for_the_payer(&authorised.split, &settled.split))
            && taken.is_none_or(|taken| taken.amount == authorised.split.cash_fen)
    })
}

/// PAY-8 of what is stored: cash came in and stays, although its insurance leg was undone or never settled.
fn books_cash_on_nothing(books: &Books<'_>) -> bool {
    let order = books.order;
    let on_its_way_back = books.refunds.iter().any(|refund| refund.kind != RefundKind::Stray && !refused(refund));
    order.insured.is_some()
        && order.state.taken().is_some()
        && !on_its_way_back
        && books.insurance.iter().all(|leg| leg.undone_at_us.is_some())
}

/// What can be given back of an order as it stands: nothing before it is paid.
fn can_go_back(order: &Order) -> Result<Fen, Overflow> {
    match paid_legs(order) {
        Some(legs) => super::refund::refundable(legs),
        None => Ok(Fen::ZERO),
    }
}

/// Both legs of an order that is, or was, paid.
fn paid_legs(order: &Order) -> Option<&Legs> {
    match order.state.stood() {
        State::Paid { legs, .. }
        | State::Completed { legs, .. }
        | State::Returning { legs, .. }
        | State::Closed { returned: Some(legs), .. } => Some(legs),
        _ => None,
    }
}

fn gives_back_too_much(order: &Order, refunds: &[Refund]) -> bool {
    let own = refunds.iter().filter(|refund| refund.kind != RefundKind::Stray && !refused(refund));
    let granted = Fen::sum(own.map(|refund| refund.amount));
    let said = order.refunded.plus(order.refunding);
    let limit = can_go_back(order);
    let within = |sum: Result<Fen, Overflow>| matches!((sum, &limit), (Ok(sum), Ok(limit)) if sum <= *limit);
    order.refunded.is_negative() || order.refunding.is_negative() || !within(granted) || !within(said)
}

fn returns_too_much(leg: &CashLeg, books: &Books<'_>) -> bool {
    let chain = books.refunds.iter().chain(books.further_refunds);
    let back = chain.filter(|refund| !refused(refund)).filter_map(|refund| refund.cash.as_ref());
    let of_this = back.filter(|cash| cash.taken.transaction_id == leg.transaction_id);
    !Fen::sum(of_this.map(|cash| cash.amount)).is_ok_and(|sum| sum <= leg.amount)
}

fn refused(refund: &Refund) -> bool {
    matches!(refund.state, RefundState::Refused { .. })
}

/// What the stored settlements that are not undone would post at the bureau.
fn insurance_standing(books: &Books<'_>) -> Vec<Posting> {
    let standing = books.insurance.iter().filter(|leg| leg.undone_at_us.is_none());
    let institution = &books.order.bill.institution;
    standing
        .flat_map(|leg| {
            // A leg beyond the range of money has no postings, which is then a difference.
            super::posting::insurance_settled(&leg.split, &leg.insutype, institution, leg.setl_time_us)
                .unwrap_or_default()
        })
        .collect()
}

/// The stored cash that came in, without what the stored refunds say went back. A replacement gives back out of the
/// payment of the order that it replaces: less than nothing then, as in its postings.
fn cash_standing(books: &Books<'_>) -> Result<Fen, Overflow> {
    let came = Fen::sum(books.cash.iter().map(|leg| leg.amount))?;
    let back = books.refunds.iter().filter(|refund| refund.returned_at_us.is_some());
    came.minus(Fen::sum(back.filter_map(|refund| refund.cash.as_ref()).map(|cash| cash.amount))?)
}

/// PAY-12 of one line.
fn dated_by_its_leg(line: &Posting, books: &Books<'_>) -> bool {
    let at_us = line.counterparty_at_us;
    let legs = paid_legs(books.order);
    let taken = books.order.state.taken().or(legs.and_then(|legs| legs.cash.as_ref()));
    let by_bureau = books.insurance.iter().any(|leg| leg.setl_time_us == at_us || leg.undone_at_us == Some(at_us));
    let by_wallet = books.cash.iter().any(|leg| leg.success_time_us == at_us)
        || books.refunds.iter().any(|refund| refund.returned_at_us == Some(at_us))
        || taken.is_some_and(|taken| taken.success_time_us == at_us);
    match &line.account {
        Account::Bureau { .. } => by_bureau,
        Account::Wallet { .. } | Account::Suspense => by_wallet,
        Account::Payable { .. } => by_bureau || by_wallet,
    }
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

const BUREAU: &str = "bureau:";
const WALLET: &str = "wallet:";

fn net(postings: &[Posting], account_prefix: &str) -> Result<Fen, Overflow> {
    Fen::sum(by_account(postings, account_prefix)?.into_values())
}

/// The accounts with this prefix that are not level.
fn by_account(postings: &[Posting], account_prefix: &str) -> Result<BTreeMap<String, Fen>, Overflow> {
    let mut accounts: BTreeMap<String, Fen> = BTreeMap::new();
    for posting in postings {
        let account = posting.account.to_string();
        if account.starts_with(account_prefix) {
            let net = accounts.entry(account).or_default();
            *net = net.plus(posting.amount)?;
        }
    }
    accounts.retain(|_, net| !net.is_zero());
    Ok(accounts)
}
