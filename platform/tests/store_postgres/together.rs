//! Several processes on one database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _};
use platform::clock::Clock as _;
use platform::domain::order::Event;
use platform::store::{Change, Commit, DeskStore, Subject, Want, Written};

use schema::ids::ProcessId;

use crate::Database;
use crate::store_contract::work::{plan, price_action};
use crate::store_contract::world::{NOON_US, World};

#[test]
fn two_processes_that_decide_on_the_same_orders_are_told_apart_by_their_versions() {
    let database = Database::new();
    let world = World::new(Box::new(database.store()));
    let orders: Vec<_> = (0..64).map(|number| world.open(world.bill(&format!("B{number}"), 1000), false).id).collect();
    // Both have loaded the same versions, and each comes with the orders in another order.
    let changes = |backwards: bool| -> (Vec<Want>, Vec<Option<Change>>) {
        let mut orders = orders.clone();
        if backwards {
            orders.reverse();
        }
        orders
            .iter()
            .map(|order| (world.want(Subject::Order(*order)), Some(world.decide(*order, &Event::Cancelled))))
            .unzip()
    };
    let sides = [changes(false), changes(true)];
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (wants, changes) in sides {
            let (store, done) = (database.store(), &done);
            scope.spawn(move || {
                // One that the server gave up for the other's sake was not written and may be offered again.
                loop {
                    match store.transact(&wants, &mut |_| changes.clone()) {
                        Commit::Committed(written) => {
                            let ours = written.iter().filter(|written| **written == Written::Done).count();
                            done.fetch_add(ours, Ordering::SeqCst);
                            return;
                        }
                        Commit::Refused(error) => println!("refused: {error}"),
                        Commit::Unknown(error) => unreachable!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(done.into_inner(), orders.len(), "each order was cancelled once, by one of them");
    for order in orders {
        assert_eq!(world.order(order).version, 2);
    }
}

#[test]
fn a_binding_that_is_frozen_elsewhere_lets_no_insured_money_go() {
    let database = Database::new();
    let world = World::new(Box::new(database.store()));
    let order = world.open(world.bill("B1", 1000), false);
    let mut change = world.decide(order.id, &Event::Cancelled);
    change.binding = Some((world.binding.id, world.binding.epoch));
    let mut frozen = world.binding_row();
    (frozen.facts.epoch, frozen.facts.frozen) = (2, true);
    let elsewhere: Arc<dyn platform::store::Store> = Arc::new(database.store());
    assert_eq!(elsewhere.put_binding(1, &frozen, None), Ok(true));
    assert_eq!(world.commit(&[world.want(Subject::Order(order.id))], vec![Some(change)]), [Written::Moved]);
    assert_eq!(world.order(order.id).version, 1);
}

#[test]
fn two_processes_that_take_actions_at_once_share_none_and_leave_none() {
    let database = Database::new();
    let world = World::new(Box::new(database.store()));
    let order = world.open(world.bill("B1", 1000), false);
    plan(&world, (0..60).map(|_| price_action(&world, order.id, NOON_US, None)).collect());
    let mut all = thread::scope(|scope| {
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let (store, me) = (database.store(), ProcessId::from_uuid(world.clock.fresh()));
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    loop {
                        let more =
                            platform::store::Store::take_due(&store, me, i64::MAX, 4).expect("the store answers");
                        if more.is_empty() {
                            return mine;
                        }
                        mine.extend(more.into_iter().map(|due| due.action.id));
                    }
                })
            })
            .collect();
        takers.into_iter().flat_map(|taker| taker.join().expect("a taker")).collect::<Vec<_>>()
    });
    assert_eq!(all.len(), 60, "each was taken");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 60, "and by one of them");
    let rest = world.store.take_due(world.me, i64::MAX, 99).expect("the store answers");
    assert_eq!(rest, [], "and none was left");
}

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    waiting: i64,
}

#[test]
fn who_renews_its_lease_while_another_looks_for_the_dead_is_not_dead() {
    let database = Database::new();
    let world = World::new(Box::new(database.store()));
    let order = world.open(world.bill("B1", 1000), false);
    let late = ProcessId::from_uuid(world.clock.fresh());
    world.store.renew_lease(late, NOON_US).expect("a lease");
    plan(&world, vec![price_action(&world, order.id, NOON_US, Some(late))]);
    let mut its = PgConnection::establish(&database.0).expect("a connection");
    its.batch_execute("UPDATE lease SET renewed_at_us = renewed_at_us - 10000000").expect("ten seconds ago");
    let renewing = "BEGIN; UPDATE lease SET renewed_at_us = renewed_at_us + 10000000";
    its.batch_execute(renewing).expect("not committed yet");
    let adopted = thread::scope(|scope| {
        let looking = scope.spawn(|| world.store.adopt(world.me, NOON_US, 4_000, 9).expect("the store answers"));
        somebody_waits_for_a_lock(&database.0, || looking.is_finished());
        its.batch_execute("COMMIT").expect("it lives");
        looking.join().expect("it ends")
    });
    assert_eq!(adopted, [], "it lives, so its actions are its own");
}

/// Until somebody waits for a lock, or it is over.
fn somebody_waits_for_a_lock(url: &str, is_over: impl Fn() -> bool) {
    let mut beside = PgConnection::establish(url).expect("a connection");
    let waits = "SELECT count(*) AS waiting FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while !is_over() {
        let found: Waiting = diesel::sql_query(waits).get_result(&mut beside).expect("an answer");
        if found.waiting > 0 {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_decision_that_waits_for_another_process_is_moved_if_that_one_commits_and_written_if_it_does_not() {
    for (ends, written, state) in [("COMMIT", Written::Moved, "created"), ("ROLLBACK", Written::Done, "closed")] {
        let database = Database::new();
        let world = World::new(Box::new(database.store()));
        let order = world.open(world.bill("B1", 1000), false);
        let cancel = world.decide(order.id, &Event::Cancelled);
        let event = cancel.order.as_ref().expect("a decision").event_id;
        let mut other = PgConnection::establish(&database.0).expect("a connection");
        other.batch_execute("BEGIN; UPDATE orders SET version = version + 1").expect("not committed yet");
        let commit = thread::scope(|scope| {
            let want = world.want(Subject::Order(order.id));
            let deciding = scope.spawn(|| world.store.transact(&[want], &mut |_| vec![Some(cancel.clone())]));
            somebody_waits_for_a_lock(&database.0, || deciding.is_finished());
            other.batch_execute(ends).expect("it lives");
            deciding.join().expect("it ends")
        });
        assert_eq!(commit, Commit::Committed(vec![written]), "{ends}");
        assert_eq!(world.store.landed(world.tenant, &[event]), Ok(written == Written::Done), "{ends}");
        assert_eq!(world.order(order.id).state.place().word(), state, "{ends}");
    }
}
