//! Promises about lists, searches and stories.

use platform::clock::Clock as _;
use platform::domain::order::Event;
use platform::domain::refund::{RefundAsked, RefundState};
use platform::store::{Change, Subject};
use schema::ids::{OrderId, TenantId};
use schema::money::Fen;

use super::Engine;
use super::world::{HOUR_US, NOON_US, World};

pub(crate) fn bills_are_listed_newest_first(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let mut bills = Vec::new();
    for bill_no in ["B1", "B2", "B3"] {
        bills.push(world.bill(bill_no, 1000));
        world.clock.advance_ms(1000);
    }
    let list = |patients: &[_], most| -> Vec<_> {
        let rows = world.store.bills_of(world.tenant, patients, most).expect("bills");
        rows.into_iter().map(|row| row.bill.facts.bill_no).collect()
    };
    let stranger = world.vault.lookup("certno", "nobody");
    assert_eq!(list(&[stranger, world.certno()], 9), ["B3", "B2", "B1"]);
    assert_eq!(list(&[world.certno()], 2), ["B3", "B2"]);
    assert!(list(&[stranger], 9).is_empty() && list(&[], 9).is_empty());

    let row = world.store.bill(world.tenant, bills[0]).expect("the store answers").expect("the bill");
    assert_eq!((row.bill.psn_name_masked.as_str(), row.bill.content), ("王*明", [5; 32]));
    assert_eq!(world.vault.open_text("bill", &row.bill.sealed).as_deref(), Ok("{\"whole\":\"bill\"}"));
}

pub(crate) fn orders_are_found_by_payer_institution_state_person_and_binding(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let cash = world.open(world.bill("B1", 1000), false);
    world.clock.advance_ms(1000);
    let priced = world.open(world.bill("B2", 1000), true);
    let priced = world.step(priced.id, &world.price(true, 1000));
    world.clock.advance_ms(1000);
    let closed = world.open(world.bill("B3", 1000), true);
    let closed = world.step(closed.id, &Event::Cancelled);

    let found = |orders: Result<Vec<platform::domain::order::Order>, _>| -> Vec<OrderId> {
        let orders: Vec<_> = orders.expect("orders");
        orders.into_iter().map(|order| order.id).collect()
    };
    let (store, tenant, institution) = (&world.store, world.tenant, &world.institution);
    assert_eq!(found(store.orders_of(tenant, world.user, 9)), [closed.id, priced.id, cash.id]);
    assert_eq!(found(store.orders_of(tenant, world.user, 1)), [closed.id]);
    let until = closed.created_at_us;
    assert_eq!(found(store.orders_between(tenant, institution, NOON_US, until, 9)), [cash.id, priced.id]);
    assert_eq!(found(store.orders_between(tenant, institution, NOON_US + 1, until + 1, 9)), [priced.id, closed.id]);
    assert_eq!(found(store.orders_in(Some("closed"), 9)), [closed.id]);
    assert_eq!(found(store.orders_in(None, 2)), [cash.id, priced.id], "oldest first");
    assert_eq!(store.priced_of_person(tenant, &world.binding.person), Ok(vec![priced.id]));
    assert_eq!(store.open_under_binding(tenant, world.binding.id), Ok(vec![priced.id]));
}

pub(crate) fn a_payment_leaves_rows_to_search(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.completed("B1", 1000);
    let lines = world.store.price_lines(world.tenant, order.id, 1).expect("lines");
    let Event::PriceCame(came) = world.price(true, 1000) else { unreachable!("it is a price") };
    assert_eq!(lines, came.lines);
    assert_eq!(world.store.price_lines(world.tenant, order.id, 2), Ok(vec![]));
    let reply = world.store.settlement_reply(world.tenant, "S-B1").expect("the store answers").expect("a reply");
    assert_eq!(world.vault.open_text("settle_reply", &reply).as_deref(), Ok("S-B1"));
    assert_eq!(world.store.settlement_reply(world.tenant, "S-none"), Ok(None));

    let story = world.store.story(order.id).expect("the store answers").expect("a story");
    let events: Vec<&str> = story.history.iter().map(|row| row.event.as_str()).collect();
    let walked = ["opened", "price_came", "code_issued", "authorised", "settle_done", "prepay_done", "wallet_paid"];
    assert_eq!(events[..7], walked);
    let states: Vec<(Option<&str>, &str)> =
        story.history.iter().map(|row| (row.from.as_deref(), row.to.as_str())).collect();
    assert_eq!(states[0], (None, "created"));
    assert_eq!(states[7], (Some("paid"), "completed"));
    assert_eq!(story.history[6].doc["transaction_id"], "T-B1");
    let lines: Vec<(String, i64)> =
        story.postings.iter().map(|line| (line.account.to_string(), line.amount.get())).collect();
    assert_eq!(
        lines,
        [
            ("bureau:310:pooled".to_owned(), 600),
            ("bureau:310:account".to_owned(), 250),
            ("payable:H44190000001".to_owned(), -850),
            ("wallet:1900000109".to_owned(), 150),
            ("payable:H44190000001".to_owned(), -150),
        ]
    );
    let kinds: Vec<&str> = story.actions.iter().map(|action| action.kind.as_str()).collect();
    assert!(["price", "settle", "prepay", "tell"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

pub(crate) fn a_refund_is_found_and_follows_its_order(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.completed("B1", 1000);
    let asked = RefundAsked { refund_no: Some("R1".into()), amount: None, replaced_by: None, reason: "退药".into() };
    let mut change = world.decide(order.id, &Event::RefundAsked(asked));
    let refund = change.refunds[0].clone();
    assert_eq!(world.commit_one(change.clone()), platform::store::Written::Done);
    let find = || world.store.refund(world.tenant, refund.id).expect("the store answers").expect("the refund");
    assert_eq!(find(), refund);
    let by_no = world.store.refund_by_no(world.tenant, &world.institution, "R1").expect("the store answers");
    assert_eq!(by_no.as_ref(), Some(&refund));

    let moved = platform::domain::refund::Refund { state: RefundState::ReturningCash, ..refund.clone() };
    change = Change { refunds: vec![moved.clone()], ..Change::default() };
    assert_eq!(world.commit_one(change), platform::store::Written::Done);
    assert_eq!(find(), moved);
    assert_eq!(world.look(world.want(Subject::Order(order.id))).refunds, [moved]);
    assert_eq!(world.order(order.id).refunding, Fen::new(1000));
}

pub(crate) fn nothing_is_seen_from_another_tenant(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.completed("B1", 1000);
    let other = TenantId::from_uuid(world.clock.fresh());
    let (store, person) = (&world.store, &world.binding.person);
    assert_eq!(store.order(other, order.id), Ok(None));
    assert!(store.bill(other, order.bill.id).expect("the store answers").is_none());
    assert!(store.bills_of(other, &[world.certno()], 9).expect("bills").is_empty());
    assert_eq!(store.orders_of(other, world.user, 9), Ok(vec![]));
    assert_eq!(store.orders_between(other, &world.institution, 0, NOON_US + HOUR_US, 9), Ok(vec![]));
    assert_eq!(store.settlement_reply(other, "S-B1"), Ok(None));
    assert!(store.binding(other, world.binding.id).expect("the store answers").is_none());
    assert!(store.bindings_of_person(other, person).expect("bindings").is_empty());
    assert_eq!(store.institution(other, &world.institution), Ok(None));
    let want = platform::store::Want { tenant: other, ..world.want(Subject::Order(order.id)) };
    assert!(world.look(want).order.is_none());
    assert!(store.verify(other).expect("books").orders.is_empty());
}
