//! Whole cities of payments in one thread, with paused time: the real desk, actions and errands on SQLite in memory,
//! against the sandbox's own counterparties, with lost answers, repeats, delays, unknown commits, and crashes of the
//! platform at any await. Same seed, same story. The checkers are not the workers: the invariants read stored rows,
//! and the money is counted from the bureau's and the wallet's own records.
//!
//! `SEEDS=1000 cargo test -p platform --test simulation` for more; `SEED=17` for one, told aloud.

#![allow(unreachable_pub, missing_docs, reason = "a test binary has no outside")]

mod batches;
mod city;
mod clock;
mod flaky;
mod outside;
#[path = "../../../schema/tests/records/mod.rs"]
mod records;
mod town;

use outside::Weather;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(200)).collect(),
    }
}

#[test]
fn in_fair_weather_every_payment_completes() {
    let verdict = city::run(7, Weather::FAIR, city::Trouble::NONE);
    assert_eq!(verdict.faults(), Vec::<String>::new());
    let orders: usize = verdict.orders.values().sum();
    assert!(orders >= 10, "ten people have at least a bill each, {orders} orders");
    assert_eq!(verdict.ended("completed"), orders, "{:?}", verdict.orders);
}

#[test]
fn in_any_weather_with_crashes_every_order_ends_and_the_books_hold() {
    let mut wrong = Vec::new();
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    let mut kinds = std::collections::BTreeSet::<String>::new();
    let mut reasons = std::collections::BTreeMap::<String, usize>::new();
    let mut together = 0;
    // A story is one thread's, whatever runs beside it.
    let half = |odd: u64| {
        let seeds = seeds().into_iter().filter(move |seed| seed % 2 == odd);
        seeds.map(|seed| (seed, city::run(seed, Weather::ROUGH, city::Trouble::FULL))).collect::<Vec<_>>()
    };
    let verdicts = std::thread::scope(|scope| {
        let halves = [0, 1].map(|odd| scope.spawn(move || half(odd)));
        halves.into_iter().flat_map(|half| half.join().expect("its stories end")).collect::<Vec<_>>()
    });
    for (seed, verdict) in verdicts {
        for (state, count) in &verdict.orders {
            *ends.entry(state.clone()).or_default() += count;
        }
        for (reason, count) in &verdict.suspended {
            *reasons.entry(reason.clone()).or_default() += count;
        }
        together += verdict.together;
        kinds.extend(verdict.kinds.iter().cloned());
        wrong.extend(verdict.faults().into_iter().map(|fault| format!("seed {seed}: {fault}")));
    }
    println!("ends over all seeds: {ends:?}; suspended for {reasons:?}; {together} batches of more than one");
    println!("records: {kinds:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (all, completed) = (ends.values().sum::<usize>(), ends.get("completed").copied().unwrap_or(0));
    assert!(completed * 2 > all, "storms in which hardly anybody pays prove little: {ends:?}");
    assert!(together > 0, "nothing ever met in one batch");
    if seeds().len() >= 100 {
        for kind in ["created", "priced", "settling", "collecting", "paid", "completed", "undoing", "closed"] {
            assert!(kinds.contains(&format!("cn.tongfu.order.{kind}.v1")), "no record of {kind} was read: {kinds:?}");
        }
        assert!(kinds.contains("done"), "no refund's step was read: {kinds:?}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| city::run(seed, Weather::ROUGH, city::Trouble::FULL).story;
    assert_eq!(story(3), story(3));
    assert_ne!(story(3), story(4));
}
