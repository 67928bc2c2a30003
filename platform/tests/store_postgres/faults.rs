//! Commits that are cut off, and a server that goes away.

use std::collections::HashSet;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use platform::clock::Clock as _;
use platform::domain::invariants::Invariant;
use platform::domain::order::Event;
use platform::store::migrations;
use platform::store::sql::{Access, SqlStore};
use platform::store::{Change, Commit, StoreError, Subject};
use sandbox::engines::postgres::Postgres;
use schema::ids::{ActionId, ProcessId};
use tempfile::TempDir;

use crate::Database;
use crate::cut::{Cut, Wire};
use crate::store_contract::work::{plan, price_action};
use crate::store_contract::world::{NOON_US, World};

#[test]
fn a_balance_that_is_not_the_sum_of_its_postings_is_found() {
    let database = Database::new();
    let world = World::new(Box::new(database.store()));
    world.completed("B1", 1000);
    assert_eq!(world.store.roll_up(99), Ok(5));
    assert_eq!(world.store.verify(world.tenant).expect("books").violations, []);
    let mut hand = PgConnection::establish(&database.0).expect("a connection");
    hand.batch_execute("UPDATE balance SET amount = amount + 1 WHERE account = 'wallet:1900000109'").expect("broken");
    let found = world.store.verify(world.tenant).expect("books").violations;
    let invariants: Vec<Invariant> = found.iter().map(|violation| violation.invariant).collect();
    assert_eq!(invariants, [Invariant::BalancesAreSums], "{found:?}");
}

/// Rolling up whose commit is cut off adds no posting twice, whether or not it is there.
#[test]
fn postings_that_were_rolled_up_in_a_commit_of_unknown_outcome_are_added_once() {
    for cut in [Cut::Before, Cut::After] {
        let database = Database::new();
        let wire = Wire::to(&database.0);
        let world = World::new(Box::new(SqlStore::open_url(&wire.url, Access::Serve).expect("it opens")));
        world.completed("B1", 1000);
        wire.cut(cut);
        // Whatever is said of the commit that is cut off, the next looks end it; while its server process is still there,
        // the postings that it holds are left to it.
        let rest = || world.store.balances(world.tenant).map(|rows| rows.iter().any(|row| !row.rest.is_zero()));
        for _ in 0..2_000 {
            if world.store.roll_up(99) == Ok(0) && rest() == Ok(false) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let books = world.store.verify(world.tenant).expect("books");
        assert_eq!(books.violations, []);
        let balances = world.store.balances(world.tenant).expect("balances");
        assert!(
            balances.iter().all(|row| row.rest.is_zero() && books.accounts.get(&row.account) == Some(&row.rolled_up))
        );
    }
}

/// How a decision goes to the server: as one statement, as several because it holds a binding, or with another.
const WAYS: [(bool, usize); 3] = [(false, 1), (true, 1), (false, 2)];

/// Tries to cancel orders over a wire that is cut at the commit; what was said, what was there, and where they stand.
fn cut_cancels(cut: Cut, (holds_binding, orders): (bool, usize)) -> (Commit, Result<bool, StoreError>, &'static str) {
    let database = Database::new();
    let wire = Wire::to(&database.0);
    let store = SqlStore::open_url(&wire.url, Access::Serve).expect("it opens");
    let world = World::new(Box::new(store));
    let orders: Vec<_> = (0..orders).map(|at| world.open(world.bill(&format!("B{at}"), 1000), false)).collect();
    let cancels: Vec<_> = orders
        .iter()
        .map(|order| Change {
            binding: holds_binding.then_some((world.binding.id, world.binding.epoch)),
            ..world.decide(order.id, &Event::Cancelled)
        })
        .collect();
    let event = cancels[0].order.as_ref().expect("a decision").event_id;
    let wants: Vec<_> = orders.iter().map(|order| world.want(Subject::Order(order.id))).collect();
    wire.cut(cut);
    let commit = world.store.transact(&wants, &mut |_| cancels.iter().cloned().map(Some).collect());
    let landed = loop {
        match world.store.landed(world.tenant, &[event]) {
            // The server process is just being ended.
            Err(StoreError::Unavailable(_)) => {}
            certain => break certain,
        }
    };
    (commit, landed, world.order(orders[0].id).state.place().word())
}

#[test]
fn a_commit_that_the_server_never_heard_is_unknown_and_then_certainly_not_there() {
    for way in WAYS {
        let (commit, landed, state) = cut_cancels(Cut::Before, way);
        assert!(matches!(commit, Commit::Unknown(_)), "{way:?}: {commit:?}");
        assert_eq!((landed, state), (Ok(false), "created"), "{way:?}");
    }
}

#[test]
fn a_commit_whose_answer_is_lost_is_unknown_and_then_certainly_there() {
    for way in WAYS {
        let (commit, landed, state) = cut_cancels(Cut::After, way);
        assert!(matches!(commit, Commit::Unknown(_)), "{way:?}: {commit:?}");
        assert_eq!((landed, state), (Ok(true), "closed"), "{way:?}");
    }
}

/// Taking actions whose commit is cut off must not lose them: they would be marked as this process's for ever.
#[test]
fn actions_that_were_taken_in_a_commit_of_unknown_outcome_are_given_at_the_next_call() {
    for cut in [Cut::Before, Cut::After] {
        let database = Database::new();
        let wire = Wire::to(&database.0);
        let world = World::new(Box::new(SqlStore::open_url(&wire.url, Access::Serve).expect("it opens")));
        let order = world.open(world.bill("B1", 1000), false);
        let due: Vec<_> = (0..3).map(|_| price_action(&world, order.id, NOON_US, None)).collect();
        plan(&world, due.clone());
        let take = || world.store.take_due(world.me, i64::MAX, 99);
        wire.cut(cut);
        assert!(take().is_err(), "the commit was cut off");
        // Whoever looks only when something is due must come for them: their rows may say that they are taken.
        let next_us = world.store.next_due().expect("the store answers").expect("they are due");
        assert!(next_us <= NOON_US, "{next_us}");
        let taken = loop {
            match take() {
                Err(StoreError::Unavailable(_)) => {}
                Err(other) => unreachable!("{other}"),
                Ok(taken) if taken.is_empty() => {}
                Ok(taken) => break taken,
            }
        };
        let ids = |actions: &mut dyn Iterator<Item = ActionId>| actions.collect::<HashSet<_>>();
        assert_eq!(ids(&mut taken.iter().map(|due| due.action.id)), ids(&mut due.iter().map(|due| due.id)));
        assert!(taken.iter().all(|due| due.action.started_by == Some(world.me)));
        assert_eq!(take(), Ok(Vec::new()), "once");
    }
}

/// What was adopted may have happened, so it must never come out among what is sent.
#[test]
fn actions_that_were_adopted_in_a_commit_of_unknown_outcome_are_given_as_adopted_only() {
    for cut in [Cut::Before, Cut::After] {
        let database = Database::new();
        let wire = Wire::to(&database.0);
        let world = World::new(Box::new(SqlStore::open_url(&wire.url, Access::Serve).expect("it opens")));
        let order = world.open(world.bill("B1", 1000), false);
        let dead = ProcessId::from_uuid(world.clock.fresh());
        let left = price_action(&world, order.id, NOON_US, Some(dead));
        plan(&world, vec![left.clone()]);
        let adopt = || world.store.adopt(world.me, NOON_US, 4_000, 99);
        wire.cut(cut);
        assert!(adopt().is_err(), "the commit was cut off");
        assert_eq!(world.store.take_due(world.me, i64::MAX, 99), Ok(Vec::new()), "nothing of it is due");
        let adopted = loop {
            match adopt() {
                Err(StoreError::Unavailable(_)) => {}
                Err(other) => unreachable!("{other}"),
                Ok(adopted) if adopted.is_empty() => {}
                Ok(adopted) => break adopted,
            }
        };
        assert_eq!(adopted.iter().map(|due| due.action.id).collect::<Vec<_>>(), [left.id]);
        assert_eq!(adopt(), Ok(Vec::new()), "once");
    }
}

/// A text that PostgreSQL cannot keep is one event's fault: those beside it are written when the batch is halved.
#[test]
fn a_text_with_a_nul_is_a_damaged_row_and_not_a_broken_server() {
    let database = Database::new();
    let world = World::new(Box::new(database.store()));
    let order = world.open(world.bill("B1", 1000), false);
    let mut cancel = world.decide(order.id, &Event::Cancelled);
    if let Some(write) = &mut cancel.order {
        write.event_doc = "\"盒\u{0}\"".into();
    }
    let want = world.want(Subject::Order(order.id));
    let commit = world.store.transact(&[want], &mut |_| vec![Some(cancel.clone())]);
    assert!(matches!(commit, Commit::Refused(StoreError::Damaged(_))), "{commit:?}");
    let by_number = world.want(Subject::BillNo(world.institution.clone(), "B\u{0}".into()));
    let commit = world.store.transact(&[by_number], &mut |_| vec![None]);
    assert!(matches!(commit, Commit::Refused(StoreError::Damaged(_))), "{commit:?}");
}

/// Server processes are ended at random while batches are committed: whatever was said of an event is true.
#[test]
fn what_was_said_of_a_commit_is_true_whenever_the_server_process_is_ended() {
    let database = Database::new();
    let world = World::new(Box::new(database.store()));
    let orders: Vec<_> = (0..40).map(|number| world.open(world.bill(&format!("B{number}"), 1000), false).id).collect();
    let url = database.0.clone();
    let killer = std::thread::spawn(move || {
        let mut conn = PgConnection::establish(&url).expect("a connection");
        for _ in 0..40 {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                        WHERE datname = current_database() AND pid <> pg_backend_pid()";
            conn.batch_execute(kill).expect("they are ended");
        }
    });
    let mut unknown = 0;
    for order in orders {
        let want = world.want(Subject::Order(order));
        let mut event = None;
        let commit = world.store.transact(&[want], &mut |loaded| {
            let cancel = world.decided(&loaded[0], &Event::Cancelled);
            event = cancel.order.as_ref().map(|write| write.event_id);
            vec![Some(cancel)]
        });
        let landed = event.is_some_and(|event| {
            loop {
                if let Ok(landed) = world.store.landed(world.tenant, &[event]) {
                    break landed;
                }
            }
        });
        match commit {
            Commit::Committed(_) => assert!(landed, "{order} was said to be committed"),
            Commit::Refused(_) => assert!(!landed, "{order} was said to be refused"),
            Commit::Unknown(_) => unknown += 1,
        }
        let state = loop {
            if let Ok(Some(order)) = world.store.order(world.tenant, order) {
                break order.state.place().word();
            }
        };
        assert_eq!(state == "closed", landed, "{order}: what was read back stays true");
    }
    killer.join().expect("the killer");
    println!("{unknown} commits were unknown");
}

#[test]
fn a_server_that_crashed_and_is_back_is_used_again_and_has_everything_that_was_committed() {
    let dir = TempDir::new().expect("a directory");
    let mut server = Postgres::start(&dir.path().join("pg"), &[]).expect("a server");
    if !server.is_ours() {
        println!("the server was given: it is not ours to stop");
        return;
    }
    let url = server.database(None).expect("a database");
    migrations::migrate(&url).expect("migrated");
    let world = World::new(Box::new(SqlStore::open_url(&url, Access::Serve).expect("it opens")));
    let orders: HashSet<_> =
        (0..8).map(|number| world.open(world.bill(&format!("B{number}"), 1000), false).id).collect();
    server.crash().expect("it crashes");
    assert!(matches!(
        world.store.order(world.tenant, *orders.iter().next().expect("one")),
        Err(StoreError::Unavailable(_))
    ));
    let any = *orders.iter().next().expect("one");
    let refused = world.store.transact(&[world.want(Subject::Order(any))], &mut |_| vec![None]);
    assert!(matches!(refused, Commit::Refused(StoreError::Unavailable(_))), "{refused:?}");
    server.again().expect("it starts again");
    for order in &orders {
        assert_eq!(world.order(*order).version, 1);
    }
    world.step(any, &Event::Cancelled);
    assert_eq!(world.order(any).state.place().word(), "closed");
}
