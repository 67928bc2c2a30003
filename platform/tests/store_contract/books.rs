//! Promises of `verify`: silent on sound books, and every kind of broken book found.

use std::collections::BTreeMap;
use std::sync::Arc;

use platform::clock::Clock as _;
use platform::domain::invariants::Invariant;
use platform::domain::order::{Event, Insurance, Legs, State, Taken};
use platform::domain::posting::{Account, Posting};
use platform::domain::refund::{CashBack, Refund, RefundKind, RefundState};
use platform::store::{BalanceRow, Change, OrderWrite, Store, Written};
use schema::ids::{OrderId, RefundId};
use schema::money::Fen;

use super::Engine;
use super::world::{HOUR_US, NOON_US, World};

pub(crate) fn sound_books_are_silent(engine: &dyn Engine) {
    let world = World::new(engine.open());
    world.completed("B1", 1000);
    world.collecting("B2", 501);
    let cash = world.open(world.bill("B3", 1000), false);
    world.step(cash.id, &world.price(false, 1000));
    let closed = world.open(world.bill("B4", 1000), false);
    world.step(closed.id, &Event::Cancelled);
    let sums = world.store.verify(world.tenant).expect("books");
    assert_eq!(sums.violations, []);
    let orders: Vec<(&str, i64)> = sums.orders.iter().map(|(state, count)| (state.as_str(), *count)).collect();
    assert_eq!(orders, [("closed", 1), ("collecting", 1), ("completed", 1), ("priced", 1)]);
    let accounts: Vec<(&str, i64)> = sums.accounts.iter().map(|(name, net)| (name.as_str(), net.get())).collect();
    assert_eq!(
        accounts,
        [
            ("bureau:310:account", 250 + 125),
            ("bureau:310:pooled", 600 + 300),
            ("payable:H44190000001", -1000 - 425),
            ("wallet:1900000109", 150),
        ]
    );
}

pub(crate) fn every_posting_is_rolled_up_once_and_the_balances_are_their_sums(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let balances = |store: &dyn Store| store.balances(world.tenant).expect("balances");
    let sums = |world: &World| world.store.verify(world.tenant).expect("books");
    assert_eq!(world.store.roll_up(99), Ok(0), "there is nothing yet");
    world.completed("B1", 1000);
    world.collecting("B2", 501);
    let mut rolled_up = 0;
    loop {
        // Whatever is rolled up by now: with the rest, it is what the postings sum to.
        let books = sums(&world);
        assert_eq!(books.violations, []);
        let of = |row: &BalanceRow| (row.account.clone(), row.rolled_up.plus(row.rest).expect("a sum"));
        assert_eq!(balances(world.store.as_ref()).iter().map(of).collect::<BTreeMap<_, _>>(), books.accounts);
        match world.store.roll_up(2).expect("the store answers") {
            0 => break,
            some => rolled_up += some,
        }
    }
    assert_eq!(rolled_up, 3 + 2 + 3, "a settlement of two funds, its cash, and another settlement");
    let noon = |row: &BalanceRow| (row.rest, row.through.map(|date| date.to_string()));
    assert!(balances(world.store.as_ref()).iter().all(|row| noon(row) == (Fen::ZERO, Some("2025-11-23".into()))));

    // What comes later is added to its own accounting date, be it an earlier one.
    let order = world.open(world.bill("B3", 1000), false);
    world.step(order.id, &world.price(false, 1000));
    let order = world.step(order.id, &Event::Authorised { offered: None });
    let late = Taken { success_time_us: NOON_US - 24 * HOUR_US, ..world.taken(&order, "T-late") };
    world.step(order.id, &Event::WalletPaid(late));
    assert!(balances(world.store.as_ref()).iter().any(|row| row.rest == Fen::new(1000)));
    assert_eq!(world.store.roll_up(99), Ok(2));
    assert_eq!(sums(&world).violations, []);
    let wallet = |row: &&BalanceRow| row.account == "wallet:1900000109";
    let wallet = balances(world.store.as_ref()).iter().find(wallet).cloned().expect("an account");
    assert_eq!((wallet.rolled_up, wallet.rest), (Fen::new(150 + 1000), Fen::ZERO));
    assert_eq!(wallet.through.map(|date| date.to_string()).as_deref(), Some("2025-11-23"));
}

pub(crate) fn those_who_roll_up_at_once_add_no_posting_twice(engine: &dyn Engine) {
    let world = World::new(engine.open());
    for number in 0..8 {
        world.completed(&format!("B{number}"), 1000);
    }
    let store = world.store.as_ref();
    let added: usize = std::thread::scope(|scope| {
        let roller = || {
            let mut mine = 0;
            loop {
                match store.roll_up(3).expect("the store answers") {
                    0 => return mine,
                    some => mine += some,
                }
            }
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(roller)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a roller")).sum()
    });
    assert_eq!(added, 8 * 5);
    let books = store.verify(world.tenant).expect("books");
    assert_eq!(books.violations, []);
    let balances = store.balances(world.tenant).expect("balances");
    assert!(balances.iter().all(|row| row.rest.is_zero() && books.accounts.get(&row.account) == Some(&row.rolled_up)));
}

/// The order row of a change.
fn write(change: &mut Change) -> &mut OrderWrite {
    change.order.as_mut().expect("an order")
}

fn suspense(amount: i64) -> Posting {
    Posting { account: Account::Suspense, amount: Fen::new(amount), counterparty_at_us: 0 }
}

/// The change by which an order's settlement is undone.
fn undoing(world: &World) -> Change {
    let order = world.collecting("B", 1000);
    world.clock.advance_ms(1000);
    world.step(order.id, &Event::Cancelled);
    world.step(order.id, &Event::WalletClosed);
    world.decide(order.id, &Event::UndoDone(world.undone("S-B")))
}

type Break = fn(&World) -> Change;

/// One way each to break a sentence of the invariants, past the domain's own rules.
const BREAKS: &[(Invariant, &str, Break)] = &[
    (Invariant::SplitSums, "a price beyond its bill", |world| {
        let order = world.open(world.bill("B", 1000), false);
        let mut change = world.decide(order.id, &world.price(false, 1000));
        if let Some(price) = &mut write(&mut change).after.price {
            price.split.cash_fen = Fen::new(1001);
        }
        change
    }),
    (Invariant::PostingsBalance, "one line without its other side", |world| {
        let order = world.open(world.bill("B", 1000), false);
        Change { postings: vec![suspense(5)], ..world.decide(order.id, &Event::Cancelled) }
    }),
    (Invariant::PostingsBalance, "two commits that balance only together", |world| {
        let order = world.open(world.bill("B", 1000), false);
        let price = world.decide(order.id, &world.price(false, 1000));
        assert_eq!(world.commit_one(Change { postings: vec![suspense(5)], ..price }), Written::Done);
        Change { postings: vec![suspense(-5)], ..world.decide(order.id, &Event::Cancelled) }
    }),
    (Invariant::OneOpenOrderPerBill, "an order open again without its bill", |world| {
        let order = world.open(world.bill("B", 1000), false);
        let price = world.price(false, 1000);
        let mut change = world.decide(order.id, &price);
        world.step(order.id, &Event::Cancelled);
        write(&mut change).before = 2;
        write(&mut change).after.version = 3;
        write(&mut change).record.sequence = 3;
        change
    }),
    (Invariant::OneOpenOrderPerBill, "a bill held by an order that pays another", |world| {
        let order = world.open(world.bill("B", 1000), false);
        let mut change = world.decide(order.id, &world.price(false, 1000));
        write(&mut change).after.bill.id = world.bill("B'", 1000);
        change
    }),
    (Invariant::OneOrderPerPerson, "money moves without the claim", |world| {
        let (order, tap) = world.coded("B", 1000);
        Change { person: None, ..world.decide(order.id, &tap) }
    }),
    (Invariant::OneOrderPerPerson, "a claim of nobody's order", |world| {
        let nobody = OrderId::from_uuid(world.clock.fresh());
        Change { person: Some((world.binding.person, nobody, true)), ..Change::default() }
    }),
    (Invariant::OneOrderPerPerson, "a claim of a cash-only order", |world| {
        let order = world.open(world.bill("B", 1000), false);
        Change { person: Some((world.binding.person, order.id, true)), ..Change::default() }
    }),
    (Invariant::BureauNet, "a settlement without postings", |world| {
        let order = world.settling("B", 1000);
        let settled = Event::SettleDone(Box::new(world.settlement(&order, "S1")));
        Change { postings: vec![], ..world.decide(order.id, &settled) }
    }),
    (Invariant::BureauNet, "a settlement without its row", |world| {
        let order = world.settling("B", 1000);
        let settled = Event::SettleDone(Box::new(world.settlement(&order, "S1")));
        Change { settlement: None, ..world.decide(order.id, &settled) }
    }),
    (Invariant::BureauNet, "a row that says another sum than its postings", |world| {
        let order = world.settling("B", 1000);
        let settled = Event::SettleDone(Box::new(world.settlement(&order, "S1")));
        let mut change = world.decide(order.id, &settled);
        if let Some(settlement) = &mut change.settlement {
            settlement.split.fund_fen = Fen::new(601);
        }
        change
    }),
    (Invariant::BureauNet, "a row that says another fund than its postings", |world| {
        let order = world.settling("B", 1000);
        let settled = Event::SettleDone(Box::new(world.settlement(&order, "S1")));
        let mut change = world.decide(order.id, &settled);
        if let Some(settlement) = &mut change.settlement {
            let split = &mut settlement.split;
            (split.fund_fen, split.other_funds_fen) = (Fen::new(500), Fen::new(100));
        }
        change
    }),
    (Invariant::BureauNet, "an undo without its row", |world| Change { undone: None, ..undoing(world) }),
    (Invariant::BureauNet, "an undo of a settlement that stands", |world| {
        let order = world.completed("B", 1000);
        let flagged = world.decide(order.id, &world.whole_refund());
        Change { undone: Some(("S-B".into(), world.undone("S-B"))), ..flagged }
    }),
    (Invariant::BureauNet, "an undo of nothing", |world| {
        let order = world.open(world.bill("B", 1000), false);
        Change { undone: Some(("S-none".into(), world.undone("S-none"))), ..world.decide(order.id, &Event::Cancelled) }
    }),
    (Invariant::WalletNet, "cash that came in and is booked nowhere", |world| {
        let order = world.open(world.bill("B", 1000), false);
        let order = world.step(order.id, &world.price(false, 1000));
        world.step(order.id, &Event::Cancelled);
        let stray = world.decide(order.id, &Event::WalletPaid(world.taken(&order, "T1")));
        let forgotten = Refund { kind: RefundKind::Part, ..stray.refunds[0].clone() };
        assert_eq!(world.commit_one(Change { postings: vec![], ..stray }), Written::Done);
        Change { refunds: vec![forgotten], ..Change::default() }
    }),
    (Invariant::WalletNet, "a return that its payment never had", |world| {
        let order = world.completed("B", 1000);
        let mut change = world.decide(order.id, &world.whole_refund());
        change.refunds[0].returned_at_us = Some(world.clock.now_us());
        change
    }),
    (Invariant::WalletNet, "cash without postings", |world| {
        let order = world.collecting("B", 1000);
        let paid = Event::WalletPaid(world.taken(&order, "T1"));
        Change { postings: vec![], ..world.decide(order.id, &paid) }
    }),
    (Invariant::RefundsWithinPaid, "more given back than was paid", |world| {
        let order = world.collecting("B", 1000);
        let mut change = world.decide(order.id, &Event::WalletPaid(world.taken(&order, "T1")));
        write(&mut change).after.refunded = Fen::new(1001);
        change
    }),
    (Invariant::RefundsWithinPaid, "a refund granted before anything was paid", |world| {
        let order = world.collecting("B", 1000);
        let mut change = world.decide(order.id, &Event::WalletNotPaid);
        write(&mut change).after.refunding = Fen::new(1);
        change
    }),
    (Invariant::RefundsWithinPaid, "what the hospital bore given back", |world| {
        let order = world.collecting("B", 1000);
        let mut change = world.decide(order.id, &Event::WalletPaid(world.taken(&order, "T1")));
        if let State::Paid { legs: Legs { insurance: Insurance::Settled(settled), .. }, .. } =
            &mut write(&mut change).after.state
        {
            (settled.split.fund_fen, settled.split.hospital_fen) = (Fen::new(500), Fen::new(100));
        }
        write(&mut change).after.refunded = Fen::new(901);
        change
    }),
    (Invariant::RefundsWithinPaid, "a payment that gives back more than itself", |world| {
        let order = world.completed("B", 1000);
        let mut change = world.decide(order.id, &world.whole_refund());
        if let Some(cash) = &mut change.refunds[0].cash {
            cash.amount = Fen::new(151);
        }
        change
    }),
    (Invariant::RefundsWithinPaid, "a payment that gives back too much with its replacement", |world| {
        let order = world.completed("B", 1000);
        let rest = world.open(world.bill("B-rest", 500), false);
        world.step(rest.id, &world.price(false, 500));
        let rest = world.step(rest.id, &Event::Authorised { offered: None });
        let rest = world.step(rest.id, &Event::WalletPaid(world.taken(&rest, "T-rest")));
        // The first 150 in cash are shared: 75 go back, 75 are carried over; but the replacement gives 76 of them back.
        let mut replaced = world.decide(order.id, &world.whole_refund());
        let refund = &mut replaced.refunds[0];
        refund.id = RefundId::from_uuid(rest.id.uuid());
        (refund.kind, refund.replaced_by) = (RefundKind::Replace, Some(rest.bill.clone()));
        let cash = refund.cash.as_mut().expect("cash");
        cash.amount = Fen::new(75);
        let taken = cash.taken.clone();
        assert_eq!(world.commit_one(replaced), Written::Done);
        let carried = Refund {
            id: RefundId::from_uuid(world.clock.fresh()),
            order: rest.id,
            refund_no: None,
            kind: RefundKind::Part,
            amount: Fen::new(76),
            settled: None,
            cash: Some(CashBack { taken, amount: Fen::new(76) }),
            replaced_by: None,
            state: RefundState::ReturningCash,
            ..world.store.story(order.id).expect("readable").expect("there").refunds[0].clone()
        };
        Change { refunds: vec![carried], ..Change::default() }
    }),
    (Invariant::InsuranceBeforeCash, "cash that stays although its settlement is undone", |world| {
        let order = world.collecting("B", 1000);
        let paid = world.decide(order.id, &Event::WalletPaid(world.taken(&order, "T1")));
        Change { undone: Some(("S-B".into(), world.undone("S-B"))), ..paid }
    }),
    (Invariant::InsuranceBeforeCash, "cash without the insurance leg", |world| {
        let order = world.collecting("B", 1000);
        let mut change = world.decide(order.id, &Event::WalletPaid(world.taken(&order, "T1")));
        if let State::Paid { legs: Legs { insurance, .. }, .. } = &mut write(&mut change).after.state {
            *insurance = Insurance::CashOnly;
        }
        change
    }),
    (Invariant::NumberedWithoutGaps, "a record that skips a number", |world| {
        let order = world.open(world.bill("B", 1000), false);
        let mut change = world.decide(order.id, &Event::Cancelled);
        write(&mut change).record.sequence = 3;
        change
    }),
    (Invariant::ClosedHoldsNothing, "a closed order that still owes", |world| {
        let order = world.open(world.bill("B", 1000), false);
        let owed = Account::Payable { institution: world.institution.clone() };
        let postings = vec![suspense(5), Posting { account: owed, amount: Fen::new(-5), counterparty_at_us: 0 }];
        Change { postings, ..world.decide(order.id, &Event::Cancelled) }
    }),
    (Invariant::PaidAsSeen, "paid other than authorised", |world| {
        let order = world.collecting("B", 1000);
        let mut change = world.decide(order.id, &Event::WalletPaid(world.taken(&order, "T1")));
        if let Some(authorisation) = &mut write(&mut change).after.authorisation {
            authorisation.split.cash_fen = Fen::new(149);
        }
        change
    }),
    (Invariant::PaidAsSeen, "a cash-only order that paid other than authorised", |world| {
        let order = world.open(world.bill("B", 1000), false);
        world.step(order.id, &world.price(false, 1000));
        let order = world.step(order.id, &Event::Authorised { offered: None });
        let mut change = world.decide(order.id, &Event::WalletPaid(world.taken(&order, "T1")));
        if let Some(authorisation) = &mut write(&mut change).after.authorisation {
            authorisation.split.cash_fen = Fen::new(999);
        }
        change
    }),
    (Invariant::PaidAsSeen, "cash asked for what nobody authorised", |world| {
        let order = world.collecting("B", 1000);
        let mut change = world.decide(order.id, &Event::WalletNotPaid);
        write(&mut change).after.authorisation = None;
        change
    }),
    (Invariant::DatedByItsLegs, "a settlement booked on another day", |world| {
        let order = world.settling("B", 1000);
        let settled = Event::SettleDone(Box::new(world.settlement(&order, "S1")));
        let mut change = world.decide(order.id, &settled);
        change.postings.iter_mut().for_each(|line| line.counterparty_at_us += 1);
        change
    }),
    (Invariant::DatedByItsLegs, "cash booked on the day of the settlement", |world| {
        let order = world.collecting("B", 1000);
        let setl_time_us = order.state.settled().expect("a settlement").setl_time_us;
        world.clock.advance_ms(1000);
        let mut change = world.decide(order.id, &Event::WalletPaid(world.taken(&order, "T1")));
        change.postings.iter_mut().for_each(|line| line.counterparty_at_us = setl_time_us);
        change
    }),
    (Invariant::DatedByItsLegs, "an undo booked on another day", |world| {
        let mut change = undoing(world);
        change.postings.iter_mut().for_each(|line| line.counterparty_at_us -= 7);
        change
    }),
];

pub(crate) fn every_kind_of_broken_book_is_found(engine: &dyn Engine) {
    for (seed, (invariant, how, break_it)) in (1..).zip(BREAKS) {
        let world = World::seeded(Arc::from(engine.open()), seed);
        let before = world.store.verify(world.tenant).expect("books").violations;
        assert_eq!(before, []);
        let change = break_it(&world);
        assert_eq!(world.commit_one(change), Written::Done, "{how}");
        let found = world.store.verify(world.tenant).expect("books").violations;
        assert!(found.iter().any(|violation| violation.invariant == *invariant), "{how}: {found:?}");
    }
    let shown: std::collections::BTreeSet<Invariant> = BREAKS.iter().map(|(invariant, _, _)| *invariant).collect();
    // No decision writes a balance: only a hand in the tables breaks one, which each engine's own tests are.
    let by_decisions = Invariant::ALL.iter().copied().filter(|invariant| *invariant != Invariant::BalancesAreSums);
    assert_eq!(shown, by_decisions.collect(), "every sentence has a way to break it");
}
