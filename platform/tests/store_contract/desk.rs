//! Promises of `transact`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use platform::domain::bill::BillState;
use platform::domain::order::{Event, Order};
use platform::domain::refund::RefundAsked;
use platform::store::{Change, Commit, Loaded, Subject, Want, Written};
use proptest::test_runner::{Config, TestRunner};
use schema::ids::{ActionId, OrderId};
use schema::money::Fen;

use super::Engine;
use super::world::World;
use platform::clock::Clock as _;

pub(crate) fn what_was_asked_for_is_loaded(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.settling("B1", 1000);
    let facts = |loaded: &Loaded| loaded.bill.as_ref().expect("the bill").facts.clone();

    let by_order = world.look(world.want(Subject::Order(order.id)));
    assert_eq!(by_order.order.as_ref(), Some(&order));
    assert_eq!(facts(&by_order).order, Some(order.id));
    assert_eq!(by_order.binding.as_ref(), Some(&world.binding), "its own binding comes unasked");
    assert_eq!(by_order.person_held_by, Some(order.id));
    assert_eq!(by_order.trace_id.as_deref(), Some("opened"), "that of the opening, whatever came later");
    assert_eq!((by_order.action_open, by_order.first_answer.as_ref()), (None, None));

    for subject in [Subject::Bill(order.bill.id), Subject::BillNo(world.institution.clone(), "B1".into())] {
        let by_bill = world.look(world.want(subject));
        assert_eq!(facts(&by_bill), facts(&by_order));
        assert_eq!(by_bill.order.as_ref(), Some(&order), "with the order that holds it");
    }

    let other = world.bill("B2", 1);
    let opening = world.look(Want { binding: Some(world.binding.id), ..world.want(Subject::Bill(other)) });
    assert_eq!(opening.binding.as_ref(), Some(&world.binding));
    assert_eq!(opening.person_held_by, Some(order.id), "the person of the binding that was named");
    assert!(opening.order.is_none());

    let unknown = world.look(Want {
        answers: Some(ActionId::from_uuid(world.clock.fresh())),
        key: Some(world.key("k")),
        ..world.want(Subject::Nothing)
    });
    assert_eq!(unknown.action_open, Some(false), "an action that is not there is not open");
    assert!(unknown.bill.is_none() && unknown.order.is_none() && unknown.first_answer.is_none());
}

pub(crate) fn decisions_on_an_overtaken_version_are_left_out(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let price = world.decide(order.id, &world.price(false, 1000));
    let cancel = world.decide(order.id, &Event::Cancelled);
    let late = world.decide(order.id, &Event::WindowClaimed);
    let wants = [world.want(Subject::Order(order.id)), world.want(Subject::Order(order.id))];
    assert_eq!(world.commit(&wants, vec![Some(price), Some(cancel)]), [Written::Done, Written::Moved]);
    assert_eq!(world.commit_one(late), Written::Moved);
    assert_eq!(world.order(order.id).version, 2);
    assert_eq!(world.order(order.id).state.place().word(), "priced");
}

pub(crate) fn two_opens_of_one_bill_in_one_batch_leave_one(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let bill = world.bill("B1", 1000);
    let (one, two) = (world.decide_opening(bill, true), world.decide_opening(bill, false));
    let kept = one.order.as_ref().expect("an order").after.id;
    let late = world.decide_opening(bill, false);
    let wants = [world.want(Subject::Bill(bill)), world.want(Subject::Bill(bill))];
    assert_eq!(world.commit(&wants, vec![Some(one), Some(two)]), [Written::Done, Written::Moved]);
    assert_eq!(world.commit(&wants[..1], vec![Some(late)]), [Written::Moved]);
    assert_eq!(world.look(world.want(Subject::Bill(bill))).order.map(|order| order.id), Some(kept));
    assert_eq!(world.store.orders_of(world.tenant, world.user, 9).expect("orders").len(), 1);
}

pub(crate) fn a_bill_can_be_opened_again_once_its_order_has_closed(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let bill = world.bill("B1", 1000);
    let first = world.open(bill, false);
    // The decision says nothing of the bill: its row follows the claim by itself.
    let closing = world.decide(first.id, &Event::Cancelled);
    assert_eq!(closing.bill, None);
    assert_eq!(world.commit_one(closing), Written::Done);
    let free = world.look(world.want(Subject::Bill(bill)));
    assert_eq!(free.bill.map(|bill| (bill.facts.state, bill.facts.order)), Some((BillState::Open, None)));
    let row = world.store.bill(world.tenant, bill).expect("the store answers").expect("the bill");
    assert_eq!(row.last_order, Some(first.id), "lists still know the order that ended");
    let second = world.open(bill, true);
    let row = world.store.bill(world.tenant, bill).expect("the store answers").expect("the bill");
    assert_eq!((row.bill.facts.order, row.last_order), (Some(second.id), Some(second.id)));
    assert_eq!(world.store.verify(world.tenant).expect("books").violations, []);
}

pub(crate) fn a_bill_that_moved_since_it_was_read_is_noticed(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let bill = world.bill("B1", 1000);
    let commit =
        world.store.transact(&[world.want(Subject::Bill(bill)), world.want(Subject::Bill(bill))], &mut |loaded| {
            let withdrawn = Change { bill: Some((bill, BillState::Withdrawn, None)), ..Change::default() };
            vec![Some(withdrawn), Some(world.opening(&loaded[1], false))]
        });
    assert_eq!(commit, Commit::Committed(vec![Written::Done, Written::Moved]));
    let facts = world.look(world.want(Subject::Bill(bill))).bill.expect("the bill").facts;
    assert_eq!((facts.state, facts.order), (BillState::Withdrawn, None));
}

pub(crate) fn an_insured_person_is_held_by_one_order_at_a_time(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let (one, tap_one) = world.coded("B1", 1000);
    let (two, tap_two) = world.coded("B2", 2000);
    let both = [world.want(Subject::Order(one.id)), world.want(Subject::Order(two.id))];
    let commit = world.store.transact(&both, &mut |loaded| {
        assert_eq!(loaded[1].person_held_by, None);
        vec![Some(world.decided(&loaded[0], &tap_one)), Some(world.decided(&loaded[1], &tap_two))]
    });
    assert_eq!(commit, Commit::Committed(vec![Written::Done, Written::Moved]));
    assert_eq!(world.look(both[1].clone()).person_held_by, Some(one.id));
    assert_eq!(world.order(two.id).state.place().word(), "priced");

    // The claim is the order's own however often it is taken by one that knows, and nobody else can give it up.
    let person = world.binding.person;
    let take = |order| Change { person: Some((person, order, true)), ..Change::default() };
    let leave = |order| Change { person: Some((person, order, false)), ..Change::default() };
    assert_eq!(world.commit(&both[..1], vec![Some(take(one.id))]), vec![Written::Done]);
    assert_eq!(world.commit_one(leave(two.id)), Written::Done);
    assert_eq!(world.commit_one(take(two.id)), Written::Moved);
    assert_eq!(world.commit_one(leave(one.id)), Written::Done);
    assert_eq!(world.commit_one(take(two.id)), Written::Done);
}

pub(crate) fn a_repeated_event_is_left_out(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let other = world.open(world.bill("B2", 1000), false);
    let price = world.decide(order.id, &world.price(false, 1000));
    let event = price.order.as_ref().expect("an order").event_id;
    assert_eq!(world.store.landed(world.tenant, &[event]), Ok(false));
    assert_eq!(world.commit_one(price), Written::Done);
    assert_eq!(world.store.landed(world.tenant, &[event]), Ok(true));

    let mut repeat = world.decide(other.id, &Event::Cancelled);
    if let Some(write) = &mut repeat.order {
        write.event_id = event;
    }
    assert_eq!(world.commit_one(repeat), Written::Moved);
    assert_eq!(world.order(other.id), other);
}

pub(crate) fn the_first_answer_is_kept_byte_for_byte(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let response = b"{ \"state\" : \"closed\", \"zh\": \"\xe5\xb7\xb2\xe5\x85\xb3\xe9\x97\xad\" }\n\0".to_vec();
    let key = world.key("key-1");
    let cancel =
        Change { first_answer: Some((key.clone(), response.clone())), ..world.decide(order.id, &Event::Cancelled) };
    assert_eq!(world.commit_one(cancel), Written::Done);

    let want = Want { key: Some(key.clone()), ..world.want(Subject::Nothing) };
    let kept = world.look(want).first_answer.expect("the answer");
    assert_eq!((kept.request, &kept.response), (key.request, &response));
    assert_eq!(world.store.first_answer(world.tenant, &key), Ok(Some(kept)));

    let other = world.open(world.bill("B2", 1000), false);
    let repeat = Change { first_answer: Some((key, b"another".to_vec())), ..world.decide(other.id, &Event::Cancelled) };
    assert_eq!(world.commit_one(repeat), Written::Moved);
    assert_eq!(world.order(other.id), other, "the effect goes with its key");
}

pub(crate) fn an_answered_action_closes_once(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let opening = world.decide_opening(world.bill("B1", 1000), false);
    let order = opening.order.as_ref().expect("an order").after.id;
    let action = opening.actions[0].id;
    assert_eq!(world.commit_one(opening), Written::Done);
    let open = || {
        let want = Want { answers: Some(action), ..world.want(Subject::Order(order)) };
        world.look(want).action_open
    };
    assert_eq!(open(), Some(true));
    let price = Change { answered: Some(action), ..world.decide(order, &world.price(false, 1000)) };
    assert_eq!(world.commit_one(price), Written::Done);
    assert_eq!(open(), Some(false));

    let before = world.order(order);
    let again = Change { answered: Some(action), ..world.decide(order, &Event::Cancelled) };
    assert_eq!(world.commit_one(again), Written::Moved);
    let later = Change { postponed: Some((action, world.clock.now_us())), ..world.decide(order, &Event::Cancelled) };
    assert_eq!(world.commit_one(later), Written::Moved, "a closed action is not tried again");
    assert_eq!(world.order(order), before);
}

pub(crate) fn a_repeated_bill_number_is_left_out(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let first = world.bill("B1", 1000);
    let again = Change { new_bill: Some(world.new_bill("B1", 2000)), ..Change::default() };
    assert_eq!(world.commit_one(again), Written::Moved);
    let row = world.store.bill_by_no(world.tenant, &world.institution, "B1").expect("the store answers");
    assert_eq!(row.map(|row| (row.bill.facts.id, row.bill.facts.amount)), Some((first, Fen::new(1000))));
}

pub(crate) fn a_repeated_refund_number_is_left_out(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let (one, two) = (world.completed("B1", 1000), world.completed("B2", 1000));
    let asked = Event::RefundAsked(RefundAsked {
        refund_no: Some("R1".into()),
        amount: None,
        replaced_by: None,
        reason: "退药".into(),
    });
    assert_eq!(world.commit_one(world.decide(one.id, &asked)), Written::Done);
    assert_eq!(world.commit_one(world.decide(two.id, &asked)), Written::Moved);
    assert_eq!(world.order(two.id), two);
}

pub(crate) fn what_moved_leaves_nothing_and_its_neighbours_are_written(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let orders: Vec<Order> = (0..3).map(|n| world.open(world.bill(&format!("B{n}"), 1000), false)).collect();
    let mut changes: Vec<Change> = orders.iter().map(|order| world.decide(order.id, &Event::Cancelled)).collect();
    // The second loses only at the very end, over its key: everything before it must go too.
    let key = world.key("taken");
    assert_eq!(world.store.keep_answer(world.tenant, &key, b"first"), Ok(true));
    changes[1].first_answer = Some((key, b"second".to_vec()));
    let lost = changes[1].order.as_ref().expect("an order").event_id;
    let wants: Vec<Want> = orders.iter().map(|order| world.want(Subject::Order(order.id))).collect();
    let written = world.commit(&wants, changes.into_iter().map(Some).collect());
    assert_eq!(written, [Written::Done, Written::Moved, Written::Done]);
    assert_eq!(world.store.landed(world.tenant, &[lost]), Ok(false));
    let story = world.store.story(orders[1].id).expect("the store answers").expect("a story");
    assert_eq!(story.order, orders[1]);
    assert_eq!((story.history.len(), story.actions.len()), (1, 1));
    for order in [&orders[0], &orders[2]] {
        assert_eq!(world.order(order.id).state.place().word(), "closed");
    }
    assert_eq!(world.store.verify(world.tenant).expect("books").violations, []);
}

pub(crate) fn a_failure_refuses_the_whole_batch(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let sound = world.decide(order.id, &Event::Cancelled);
    let mut of_nobody = world.new_bill("B2", 1000);
    of_nobody.facts.institution = "H99999999999".parse().expect("a code");
    let unsound = Change { new_bill: Some(of_nobody), ..Change::default() };
    let wants = [world.want(Subject::Order(order.id)), world.want(Subject::Nothing)];
    let mut changes = Some(vec![Some(sound), Some(unsound)]);
    let commit = world.store.transact(&wants, &mut |_| changes.take().expect("decide is called once"));
    assert!(matches!(commit, Commit::Refused(_)), "{commit:?}");
    assert_eq!(world.order(order.id), order);

    let short = world.store.transact(&wants, &mut |_| vec![None]);
    assert!(matches!(short, Commit::Refused(_)), "one decision for two wants: {short:?}");
}

pub(crate) fn a_crash_inside_a_batch_leaves_nothing(engine: &dyn Engine) {
    let mut world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let want = world.want(Subject::Order(order.id));
    let crash = catch_unwind(AssertUnwindSafe(|| {
        world.store.transact(std::slice::from_ref(&want), &mut |_| std::panic::resume_unwind(Box::new("crash")))
    }));
    assert!(crash.is_err());
    if engine.keeps() {
        world = world.reopened(engine);
    }
    assert_eq!(world.order(order.id), order);
    assert_eq!(world.step(order.id, &Event::Cancelled).version, 2, "and the store goes on");
}

pub(crate) fn committed_rows_survive_reopening(engine: &dyn Engine) {
    if !engine.keeps() {
        return;
    }
    let world = World::new(engine.open());
    let order = world.completed("B1", 1000);
    let (story, sums) = (world.store.story(order.id), world.store.verify(world.tenant));
    let world = world.reopened(engine);
    assert_eq!(format!("{:?}", world.store.story(order.id)), format!("{story:?}"));
    assert_eq!(format!("{:?}", world.store.verify(world.tenant)), format!("{sums:?}"));
    assert_eq!(world.store.tenants().expect("tenants").len(), 1);
}

/// Whatever is thrown at a few orders in batches, each version is written by the first that decided on it, the counts
/// say so, and the books stay sound.
pub(crate) fn any_mix_of_decisions_keeps_the_first_of_each_version(engine: &dyn Engine) {
    const ORDERS: usize = 4;
    let world = World::new(engine.open());
    let round = std::cell::Cell::new(0);
    let batches = proptest::collection::vec(proptest::collection::vec((0..ORDERS, 0_u8..3), 1..12), 1..5);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&batches, |batches| {
        round.set(round.get() + 1);
        let orders: Vec<OrderId> =
            (0..ORDERS).map(|n| world.open(world.bill(&format!("B{}-{n}", round.get()), 1000), false).id).collect();
        let mut versions: HashMap<OrderId, i64> = orders.iter().map(|order| (*order, 1)).collect();
        for batch in &batches {
            let wants: Vec<Want> = batch.iter().map(|(at, _)| world.want(Subject::Order(orders[*at]))).collect();
            let mut expected = Vec::new();
            let commit = world.store.transact(&wants, &mut |loaded| {
                let mut first = std::collections::HashSet::new();
                let decide = |(loaded, (at, kind)): (&Loaded, &(usize, u8))| {
                    let order = loaded.order.as_ref().expect("the order");
                    let event = match (order.state.place().word(), kind) {
                        ("created", 0) => world.price(false, 1000),
                        ("priced", 0) => Event::PriceStale,
                        ("created" | "priced", 1) => Event::Cancelled,
                        _ => {
                            expected.push(Written::Done);
                            return None;
                        }
                    };
                    let id = orders[*at];
                    let wins = first.insert(id);
                    expected.push(if wins { Written::Done } else { Written::Moved });
                    if wins && let Some(version) = versions.get_mut(&id) {
                        *version += 1;
                    }
                    Some(world.decided(loaded, &event))
                };
                loaded.iter().zip(batch).map(decide).collect()
            });
            proptest::prop_assert_eq!(commit, Commit::Committed(expected));
        }
        for (order, version) in &versions {
            proptest::prop_assert_eq!(world.order(*order).version, *version);
        }
        proptest::prop_assert_eq!(world.store.verify(world.tenant).expect("books").violations, vec![]);
        Ok(())
    });
    assert_eq!(outcome, Ok(()));
}
