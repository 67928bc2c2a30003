//! Postings, and the proof that the books are sound.

use std::collections::{BTreeMap, HashMap, HashSet};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Text};
use schema::ids::{BillId, EventId, InstitutionCode, OrderId, TenantId};
use schema::money::Fen;
use schema::seal::Lookup;

use super::batch::{Writer, all, batched};
use super::conn::{Conn, NotWritten, on};
use super::tables::posting;
use super::values::{Id, parsed};
use super::{LedgerSums, OrderWrite, StoreError, balances, cash, orders, records, refunds, settlements};
use crate::domain::invariants::{self, Books, Invariant, Violation};
use crate::domain::order::{Order, Why};
use crate::domain::posting::{Account, ByDate, Fund, Posting, sums_to_zero};
use crate::domain::refund::{Refund, RefundState};

batched! {
    /// A line of a decision.
    New inserts "posting" {
        tenant: Id as Binary,
        order_id: Id as Binary,
        version: i64 as BigInt,
        line: i32 as Integer,
        event_id: Id as Binary,
        account: String as Text,
        amount: i64 as BigInt,
        counterparty_at_us: i64 as BigInt,
        at_us: i64 as BigInt,
    } ""
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot(Vec<New>);

impl Lot {
    /// The lines of one decision.
    pub(super) fn postings(&mut self, write: &OrderWrite, lines: &[Posting]) {
        let order = &write.after;
        self.0.extend((0_i32..).zip(lines).map(|(line, entry)| New {
            tenant: order.tenant.into(),
            order_id: order.id.into(),
            version: order.version,
            line,
            event_id: write.event_id.into(),
            account: entry.account.to_string(),
            amount: entry.amount.get(),
            counterparty_at_us: entry.counterparty_at_us,
            at_us: order.updated_at_us,
        }));
    }

    /// Writes it.
    pub(super) fn write<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.0, to)
    }
}

/// Reads the stored form of an account, which [`Account`] prints.
fn account(text: &str) -> Result<Account, StoreError> {
    let unreadable = || StoreError::Damaged(format!("an account does not read back: {text}"));
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    match kind {
        "bureau" => {
            let (insutype, _) = rest.rsplit_once(':').ok_or_else(unreadable)?;
            let fund = [Fund::Pooled, Fund::Other, Fund::Account, Fund::Mulaid].into_iter().find_map(|fund| {
                let account = Account::Bureau { insutype: insutype.to_owned(), fund };
                (account.to_string() == text).then_some(account)
            });
            fund.ok_or_else(unreadable)
        }
        "wallet" => Ok(Account::Wallet { merchant: rest.to_owned() }),
        "payable" => {
            let institution = parsed("a payable account", InstitutionCode::try_from(rest.to_owned()))?;
            Ok(Account::Payable { institution })
        }
        "suspense" if rest.is_empty() => Ok(Account::Suspense),
        _ => Err(unreadable()),
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = posting)]
struct Stored {
    order_id: Id,
    event_id: Id,
    account: String,
    amount: i64,
    counterparty_at_us: i64,
    rolled_up: bool,
}

/// A line of an order.
struct Line {
    order: OrderId,
    event: EventId,
    posting: Posting,
    rolled_up: bool,
}

impl Stored {
    fn read(self) -> Result<Line, StoreError> {
        let posting = Posting {
            account: account(&self.account)?,
            amount: Fen::new(self.amount),
            counterparty_at_us: self.counterparty_at_us,
        };
        let (order, event) = (self.order_id.into(), self.event_id.into());
        Ok(Line { order, event, posting, rolled_up: self.rolled_up })
    }
}

/// The postings of an id range of orders, each order's oldest first.
fn of_orders(conn: &mut Conn, tenant: TenantId, from: OrderId, to: OrderId) -> Result<Vec<Line>, StoreError> {
    let rows = on!(conn, c => posting::table
        .filter(posting::tenant.eq(Id::from(tenant)))
        .filter(posting::order_id.between(Id::from(from), Id::from(to)))
        .order((posting::order_id, posting::version, posting::line))
        .select(Stored::as_select())
        .load(c))?;
    rows.into_iter().map(Stored::read).collect()
}

/// An order's postings, oldest first.
pub(super) fn of_order(conn: &mut Conn, tenant: TenantId, order: OrderId) -> Result<Vec<Posting>, StoreError> {
    Ok(of_orders(conn, tenant, order, order)?.into_iter().map(|line| line.posting).collect())
}

/// How many orders are held in memory at once.
const PAGE: i64 = 500;

/// Sums one tenant's books and checks every sentence of [`invariants`]. Everything must be read from one snapshot:
/// the transaction is the caller's.
pub(super) fn verify(conn: &mut Conn, tenant: TenantId) -> Result<LedgerSums, StoreError> {
    let mut claims = Claims {
        bills: orders::held_bills(conn, tenant)?.into_iter().collect(),
        persons: orders::held_persons(conn, tenant)?.into_iter().collect(),
    };
    let mut sums = LedgerSums::default();
    let mut rolled_up = ByDate::new();
    let mut after = None;
    loop {
        let page = orders::page(conn, tenant, after, PAGE)?;
        let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
        let (from, to) = (first.id, last.id);
        let mut counts: HashMap<OrderId, (i64, i64)> = records::counts(conn, tenant, from, to)?
            .into_iter()
            .map(|(order, count, highest)| (order, (count, highest)))
            .collect();
        let mut given_back: HashMap<OrderId, Vec<_>> = HashMap::new();
        for refund in refunds::of_orders(conn, tenant, from, to)? {
            given_back.entry(refund.order).or_default().push(refund);
        }
        let mut further = along_the_chain(conn, tenant, given_back.values().flatten())?;
        let mut insurance: HashMap<OrderId, Vec<_>> = HashMap::new();
        for (order, leg) in settlements::legs(conn, tenant, from, to)? {
            insurance.entry(order).or_default().push(leg);
        }
        let mut taken: HashMap<OrderId, Vec<_>> = HashMap::new();
        for (order, leg) in cash::legs(conn, tenant, from, to)? {
            taken.entry(order).or_default().push(leg);
        }
        let mut lines: HashMap<OrderId, Vec<(EventId, Posting)>> = HashMap::new();
        for Line { order, event, posting, rolled_up: marked } in of_orders(conn, tenant, from, to)? {
            if marked {
                balances::add_up(&mut rolled_up, &posting)?;
            }
            lines.entry(order).or_default().push((event, posting));
        }
        for order in &page {
            let state = order.state.place().word();
            *sums.orders.entry(state.to_owned()).or_default() += 1;
            *sums.results.entry((state, order.state.why().map_or("none", Why::word))).or_default() += 1;
            let (events, postings): (Vec<EventId>, Vec<Posting>) =
                lines.remove(&order.id).unwrap_or_default().into_iter().unzip();
            check_commits(order, &events, &postings, &mut sums.violations);
            add_up(&mut sums.accounts, &postings)?;
            let (bill_held_by_it, person_held_by_it) = claims.account_for(order);
            sums.violations.extend(invariants::check(&Books {
                order,
                refunds: &given_back.remove(&order.id).unwrap_or_default(),
                further_refunds: &further.remove(&order.id).unwrap_or_default(),
                postings: &postings,
                insurance: &insurance.remove(&order.id).unwrap_or_default(),
                cash: &taken.remove(&order.id).unwrap_or_default(),
                records: counts.remove(&order.id).unwrap_or((0, 0)),
                bill_held_by_it,
                person_held_by_it,
            }));
        }
        after = Some(to);
    }
    claims.report_orphans(&mut sums.violations);
    for (setl_id, order) in settlements::undos_of_nothing(conn, tenant)? {
        sums.violations.push(Violation {
            invariant: Invariant::BureauNet,
            of: order.to_string(),
            found: format!("{setl_id} is undone and was never settled for this order"),
        });
    }
    let kept = balances::by_date(conn, tenant)?;
    sums.violations.extend(invariants::balances_are_sums(tenant, &kept, &rolled_up));
    let total = Fen::sum(sums.accounts.values().copied());
    if total != Ok(Fen::ZERO) {
        sums.violations.push(Violation {
            invariant: Invariant::PostingsBalance,
            of: tenant.to_string(),
            found: format!("all postings of the tenant sum to {total:?}"),
        });
    }
    Ok(sums)
}

/// The refunds of whatever replaces the orders of these refunds, by the order at the beginning of each chain: a
/// replacement gives back out of the payment of the order it replaces, and may be replaced itself.
fn along_the_chain<'a>(
    conn: &mut Conn,
    tenant: TenantId,
    refunds: impl Iterator<Item = &'a Refund>,
) -> Result<HashMap<OrderId, Vec<Refund>>, StoreError> {
    let mut further: HashMap<OrderId, Vec<Refund>> = HashMap::new();
    let mut seen = HashSet::new();
    let replaced = |refund: &Refund| !matches!(refund.state, RefundState::Refused { .. });
    let link = |refund: &Refund| refund.replacement().filter(|_| replaced(refund));
    let mut links: Vec<(OrderId, OrderId)> = refunds.filter_map(|refund| Some((refund.order, link(refund)?))).collect();
    while !links.is_empty() {
        // Books that are broken may go round in a circle.
        links.retain(|step| seen.insert(*step));
        let replacements: Vec<OrderId> = links.iter().map(|(_, replacement)| *replacement).collect();
        let found = refunds::of_many(conn, tenant, &replacements)?;
        let mut next = Vec::new();
        for (first, replacement) in links {
            let of = found.get(&replacement).cloned().unwrap_or_default();
            next.extend(of.iter().filter_map(link).map(|replacement| (first, replacement)));
            further.entry(first).or_default().extend(of);
        }
        links = next;
    }
    Ok(further)
}

/// PAY-2: the lines of every single commit balance, not only those of the order as a whole.
fn check_commits(order: &Order, events: &[EventId], postings: &[Posting], violations: &mut Vec<Violation>) {
    let mut at = 0;
    for lines in events.chunk_by(|one, other| one == other) {
        let (event, next) = (lines[0], at + lines.len());
        if !sums_to_zero(&postings[at..next]) {
            violations.push(Violation {
                invariant: Invariant::PostingsBalance,
                of: order.id.to_string(),
                found: format!("the postings of event {event} do not sum to zero"),
            });
        }
        at = next;
    }
}

fn add_up(accounts: &mut BTreeMap<String, Fen>, postings: &[Posting]) -> Result<(), StoreError> {
    for line in postings {
        let net = accounts.entry(line.account.to_string()).or_default();
        *net = net.plus(line.amount).map_err(|overflow| StoreError::Damaged(overflow.to_string()))?;
    }
    Ok(())
}

/// Claims that no order has accounted for yet.
struct Claims {
    bills: HashMap<BillId, OrderId>,
    persons: HashMap<Lookup, OrderId>,
}

impl Claims {
    /// Whether the order holds its bill and its insured person.
    fn account_for(&mut self, order: &Order) -> (bool, bool) {
        let bill = self.bills.get(&order.bill.id) == Some(&order.id);
        if bill {
            self.bills.remove(&order.bill.id);
        }
        let person = order.insured.as_ref().map(|insured| insured.person);
        let held = person.filter(|person| self.persons.get(person) == Some(&order.id));
        if let Some(person) = &held {
            self.persons.remove(person);
        }
        (bill, held.is_some())
    }

    /// What is left is held by an order that is not there, or not about it.
    fn report_orphans(self, violations: &mut Vec<Violation>) {
        let bills = self.bills.into_iter().collect::<BTreeMap<_, _>>();
        violations.extend(bills.into_iter().map(|(bill, order)| Violation {
            invariant: Invariant::OneOpenOrderPerBill,
            of: order.to_string(),
            found: format!("bill {bill} is held by an order that does not pay it"),
        }));
        let persons = self.persons.into_iter().collect::<BTreeMap<_, _>>();
        violations.extend(persons.into_values().map(|order| Violation {
            invariant: Invariant::OneOrderPerPerson,
            of: order.to_string(),
            found: "an insured person is held by an order that is not theirs".into(),
        }));
    }
}
