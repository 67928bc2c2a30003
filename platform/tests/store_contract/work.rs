//! Promises about actions, leases, deadlines and records.

use std::collections::HashSet;

use platform::clock::Clock as _;
use platform::domain::order::{Event, Order};
use platform::store::{Change, DueAction, NewAction, Written};
use schema::ids::{ActionId, MessageId, OrderId, ProcessId, TenantId};

use platform::domain::action::Action;

use super::Engine;
use super::world::{NOON_US, RULES, World};

pub(crate) fn price_action(world: &World, order: OrderId, due_at_us: i64, started_by: Option<ProcessId>) -> NewAction {
    NewAction {
        id: ActionId::from_uuid(world.clock.fresh()),
        order,
        action: Action::Price { message: MessageId::from_uuid(world.clock.fresh()) },
        due_at_us,
        started_by,
        trace_id: Some("t".into()),
    }
}

pub(crate) fn plan(world: &World, actions: Vec<NewAction>) {
    assert_eq!(world.commit_one(Change { actions, ..Change::default() }), Written::Done);
}

fn ids(taken: &[DueAction]) -> Vec<ActionId> {
    taken.iter().map(|due| due.action.id).collect()
}

pub(crate) fn due_actions_are_taken_once(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let due = price_action(&world, order.id, NOON_US + 10, None);
    let later = price_action(&world, order.id, NOON_US + 30, None);
    let sooner = price_action(&world, order.id, NOON_US + 5, None);
    plan(&world, vec![due.clone(), later.clone(), sooner.clone()]);
    assert_eq!(world.store.next_due(), Ok(Some(NOON_US + 5)));

    let take = |now_us, most| world.store.take_due(world.me, now_us, most).expect("the store answers");
    assert_eq!(take(NOON_US + 4, 9), []);
    let first = take(NOON_US + 29, 1);
    assert_eq!(ids(&first), [sooner.id], "earliest first, and no more than asked for");
    assert_eq!((first[0].tenant, first[0].attempts), (world.tenant, 0));
    assert_eq!(first[0].action, NewAction { started_by: Some(world.me), ..sooner });
    assert_eq!(ids(&take(NOON_US + 29, 9)), [due.id]);
    assert_eq!(take(NOON_US + 29, 9), []);
    assert_eq!(ids(&take(NOON_US + 30, 9)), [later.id]);
    // What the desk started itself is nobody's to take.
    assert_eq!(take(i64::MAX, 9), []);
}

pub(crate) fn two_takers_never_share_an_action(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let actions: Vec<NewAction> = (0..200).map(|n| price_action(&world, order.id, NOON_US + n, None)).collect();
    let all: HashSet<ActionId> = actions.iter().map(|action| action.id).collect();
    plan(&world, actions);
    let store = world.store.as_ref();
    let takers: Vec<ProcessId> = (0..3).map(|_| ProcessId::from_uuid(world.clock.fresh())).collect();
    let taken: Vec<ActionId> = std::thread::scope(|scope| {
        let threads: Vec<_> = takers
            .iter()
            .map(|taker| {
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    loop {
                        let some = store.take_due(*taker, NOON_US + 200, 7).expect("the store answers");
                        if some.is_empty() {
                            return mine;
                        }
                        mine.extend(ids(&some));
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a taker")).collect()
    });
    assert_eq!(taken.len(), all.len(), "none twice");
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), all, "none forgotten");
}

pub(crate) fn a_postponed_action_comes_again(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let action = price_action(&world, order.id, NOON_US, Some(world.me));
    plan(&world, vec![action.clone()]);
    for attempts in 1..=2 {
        let due_at_us = NOON_US + attempts * 1000;
        let again = Change { postponed: Some((action.id, due_at_us)), ..Change::default() };
        assert_eq!(world.commit_one(again), Written::Done);
        let other = ProcessId::from_uuid(world.clock.fresh());
        assert_eq!(world.store.take_due(other, due_at_us - 1, 9), Ok(vec![]));
        let taken = world.store.take_due(other, due_at_us, 9).expect("the store answers");
        assert_eq!(ids(&taken), [action.id]);
        assert_eq!((taken[0].attempts, taken[0].action.due_at_us), (attempts, due_at_us));
    }
    let answered = Change { answered: Some(action.id), ..Change::default() };
    assert_eq!(world.commit_one(answered), Written::Done);
    let story = world.store.story(order.id).expect("the store answers").expect("a story");
    let last = story.actions.last().expect("the action");
    assert_eq!((last.kind.as_str(), last.done, last.attempts), ("price", true, 2));
}

pub(crate) fn only_the_actions_of_the_dead_are_adopted(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let order = world.open(world.bill("B1", 1000), false);
    let process = || ProcessId::from_uuid(world.clock.fresh());
    let (living, dead, never_renewed) = (process(), process(), process());
    let of = |who| price_action(&world, order.id, NOON_US, who);
    let (lost, lost_too, working, waiting, finished) =
        (of(Some(dead)), of(Some(never_renewed)), of(Some(living)), of(None), of(Some(dead)));
    plan(&world, vec![lost.clone(), lost_too.clone(), working, waiting, finished.clone()]);
    let answered = Change { answered: Some(finished.id), ..Change::default() };
    assert_eq!(world.commit_one(answered), Written::Done);

    let renew = |who, now_us| world.store.renew_lease(who, now_us).expect("a lease");
    let adopt = |now_us, dead_after_ms, most| {
        world.store.adopt(world.me, now_us, dead_after_ms, most).expect("the store answers")
    };
    renew(dead, NOON_US);
    renew(living, NOON_US);
    let at_once = adopt(NOON_US, 60_000, 9);
    assert_eq!(ids(&at_once), [lost_too.id], "who never had a lease is dead; who had one a moment ago is not");
    // A store with a clock of its own goes by that one: time passes on both until the silent one is dead.
    let (mut now_us, mut later) = (NOON_US, Vec::new());
    while later.is_empty() {
        now_us += 20_000;
        renew(living, now_us);
        later = adopt(now_us, 1_000, 1);
    }
    assert_eq!(ids(&later), [lost.id]);
    assert!(at_once.iter().chain(&later).all(|due| due.action.started_by == Some(world.me)));
    assert_eq!(adopt(now_us, 1_000, 9), [], "they are mine now, and the living keeps its own");
}

pub(crate) fn deadlines_that_passed_are_found(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let early = world.open(world.bill("B1", 1000), false);
    world.clock.advance_ms(1000);
    let late = world.open(world.bill("B2", 1000), false);
    let deadline = early.deadline_at_us.expect("a deadline");
    let past = |now_us, most| world.store.past_deadline(now_us, most).expect("the store answers");
    assert_eq!(past(deadline - 1, 9), []);
    assert_eq!(past(deadline, 9), [(world.tenant, early.id)]);
    assert_eq!(past(deadline + 1_000_000, 9), [(world.tenant, early.id), (world.tenant, late.id)]);
    assert_eq!(past(deadline + 1_000_000, 1), [(world.tenant, early.id)]);
    assert_eq!(world.store.next_due(), Ok(Some(deadline)));
    world.step(early.id, &Event::Cancelled);
    assert_eq!(past(i64::MAX, 9), [(world.tenant, late.id)], "a closed order waits for nothing");
}

pub(crate) fn a_deadline_that_moved_is_found_when_it_passes_and_not_before(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let past = |now_us| world.store.past_deadline(now_us, 9).expect("the store answers");
    let until = |order: &Order| order.deadline_at_us.expect("a deadline");
    let opened_until = NOON_US + RULES.price_ms * 1000;
    let (priced, tap) = world.coded("B1", 1000);
    let found = [(world.tenant, priced.id)];
    assert!(until(&priced) > opened_until, "it moves away");
    assert_eq!(world.store.next_due(), Ok(Some(opened_until)));
    assert_eq!(past(opened_until), []);
    assert_eq!(world.store.next_due(), Ok(Some(until(&priced))), "nobody looks in vain twice");
    assert_eq!(past(until(&priced) - 1), []);
    assert_eq!(past(until(&priced)), found);

    let settling = world.step(priced.id, &tap);
    assert!(until(&settling) < until(&priced), "it comes closer");
    assert_eq!(past(until(&settling) - 1), []);
    assert_eq!(past(until(&settling)), found);
}

pub(crate) fn records_are_published_in_sequence_and_once(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let one = world.open(world.bill("B1", 1000), false).id;
    let two = world.open(world.bill("B2", 1000), false).id;
    world.step(two, &world.price(false, 1000));
    world.step(one, &Event::Cancelled);
    let waiting = |most| -> Vec<(OrderId, i64)> {
        let records = world.store.unpublished(most).expect("the store answers");
        for unpublished in &records {
            let event: schema::event::CloudEvent = serde_json::from_str(&unpublished.record).expect("a record");
            assert_eq!((event.subject, event.sequence), (unpublished.order, unpublished.sequence));
            assert_eq!(unpublished.tenant, world.tenant);
        }
        records.into_iter().map(|unpublished| (unpublished.order, unpublished.sequence)).collect()
    };
    assert_eq!(waiting(9), [(one, 1), (one, 2), (two, 1), (two, 2)]);
    assert_eq!(waiting(3), [(one, 1), (one, 2), (two, 1)]);
    world.store.mark_published(&[(world.tenant, one, 1), (world.tenant, two, 1)]).expect("marked");
    assert_eq!(waiting(9), [(one, 2), (two, 2)]);
    world.store.mark_published(&[(world.tenant, one, 1), (world.tenant, one, 2)]).expect("marking twice is harmless");
    assert_eq!(waiting(9), [(two, 2)]);
}

pub(crate) fn every_record_can_be_read_again_page_by_page(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let one = world.open(world.bill("B1", 1000), false).id;
    let two = world.open(world.bill("B2", 1000), false).id;
    world.step(two, &world.price(false, 1000));
    world.step(one, &Event::Cancelled);
    world.step(two, &Event::Cancelled);
    let waiting = world.store.unpublished(9).expect("the store answers");
    assert_eq!(world.store.records_waiting(), Ok(5));
    world.store.mark_published(&[(world.tenant, one, 1), (world.tenant, two, 2)]).expect("marked");
    assert_eq!(world.store.records_waiting(), Ok(3));

    let page = |after, most| world.store.records(world.tenant, after, most).expect("the store answers");
    let all = page(None, 9);
    let places: Vec<(OrderId, i64)> = all.iter().map(|recorded| (recorded.order, recorded.sequence)).collect();
    assert_eq!(places, [(one, 1), (one, 2), (two, 1), (two, 2), (two, 3)]);
    let published: Vec<bool> = all.iter().map(|recorded| recorded.published).collect();
    assert_eq!(published, [true, false, false, true, false]);
    for (recorded, unpublished) in all.iter().zip(&waiting) {
        assert_eq!(recorded.record, unpublished.record, "byte for byte");
    }
    for most in 1..=4 {
        let mut paged = page(None, most);
        while let Some(last) = paged.last().map(|recorded| (recorded.order, recorded.sequence)) {
            match page(Some(last), most) {
                next if next.is_empty() => break,
                next => paged.extend(next),
            }
        }
        assert_eq!(paged, all, "{most} at a time");
    }
    let nobody = TenantId::from_uuid(world.clock.fresh());
    assert_eq!(world.store.records(nobody, None, 9), Ok(vec![]));
}

pub(crate) fn a_duty_has_one_holder_until_it_grows_old(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let (me, other) = (world.me, ProcessId::from_uuid(world.clock.fresh()));
    let hold = |name, who, now_us, dead_after_ms| {
        world.store.hold_duty(name, who, now_us, dead_after_ms).expect("the store answers")
    };
    assert!(hold("publish", me, NOON_US, 60_000), "nobody held it");
    assert!(!hold("publish", other, NOON_US, 60_000));
    assert!(hold("reconcile", other, NOON_US, 60_000), "each duty is a matter of its own");
    assert!(hold("publish", me, NOON_US, 60_000), "renewed");
    // A store with a clock of its own goes by that one: time passes on both until the duty is too old.
    let mut now_us = NOON_US;
    while !hold("publish", other, now_us, 500) {
        now_us += 20_000;
    }
    assert!(!hold("publish", me, now_us, 60_000), "it is the other's now");
    assert!(hold("publish", other, now_us + 90_000_000, 500), "nobody else wanted it in the meantime");
    assert!(!hold("reconcile", me, now_us, 60_000), "and each grows old by itself");
}

pub(crate) fn of_many_that_want_a_duty_at_once_one_has_it(engine: &dyn Engine) {
    let world = World::new(engine.open());
    let store = world.store.as_ref();
    let takers: Vec<ProcessId> = (0..4).map(|_| ProcessId::from_uuid(world.clock.fresh())).collect();
    for round in 0..20 {
        let name = format!("duty {round}");
        let holders = std::thread::scope(|scope| {
            let hold = |who: ProcessId| {
                let name = &name;
                move || store.hold_duty(name, who, NOON_US, 60_000)
            };
            let threads: Vec<_> = takers.iter().map(|who| scope.spawn(hold(*who))).collect();
            let held = threads.into_iter().map(|thread| thread.join().expect("a taker").expect("the store answers"));
            held.filter(|held| *held).count()
        });
        assert_eq!(holders, 1, "round {round}");
    }
}
