//! Promises about counters, guards and values.

use std::sync::Arc;

use platform::ephemeral::{Count, Ephemeral};
use tokio::task::JoinSet;

use super::{Engine, tenant};

const KEY: &str = "code:0190-aa:tries";
const LIFE_MS: i64 = 60_000;

async fn count(state: &Arc<dyn Ephemeral>, life_ms: i64) -> u32 {
    state.count(tenant(1), KEY, life_ms).await.expect("it answers").value
}

async fn epoch(state: &Arc<dyn Ephemeral>) -> u64 {
    state.epoch(tenant(1)).await.expect("it answers")
}

async fn first(state: &Arc<dyn Ephemeral>, life_ms: i64) -> bool {
    state.first(tenant(1), KEY, life_ms).await.expect("it answers")
}

async fn keep(state: &Arc<dyn Ephemeral>, value: &[u8], life_ms: i64) {
    state.keep(tenant(1), KEY, value.to_vec(), life_ms).await.expect("it answers");
}

async fn kept(state: &Arc<dyn Ephemeral>) -> Option<Vec<u8>> {
    state.kept(tenant(1), KEY).await.expect("it answers")
}

pub(crate) async fn the_epoch_changes_with_forgetting_and_with_nothing_else(engine: &dyn Engine) {
    let state = engine.open();
    let before = epoch(&state).await;
    count(&state, LIFE_MS).await;
    keep(&state, b"x", LIFE_MS).await;
    state.forget(tenant(1), KEY).await.expect("it answers");
    engine.pass_ms(30 * 86_400_000).await;
    assert_eq!(epoch(&state).await, before, "nothing was lost that was to be kept");
    assert_eq!(epoch(&engine.open()).await, before, "another replica sees the same");

    count(&state, LIFE_MS).await;
    keep(&state, b"x", LIFE_MS).await;
    assert!(first(&state, LIFE_MS).await);
    engine.forget_everything().await;
    let state = engine.open();
    assert_ne!(epoch(&state).await, before);
    assert_eq!((count(&state, LIFE_MS).await, kept(&state).await, first(&state, LIFE_MS).await), (1, None, true));
}

pub(crate) async fn a_count_says_its_epoch_before_and_after_forgetting(engine: &dyn Engine) {
    let state = engine.open();
    let counted = state.count(tenant(1), KEY, LIFE_MS).await.expect("it answers");
    assert_eq!(counted, Count { value: 1, epoch: epoch(&state).await });
    engine.forget_everything().await;
    let state = engine.open();
    let again = state.count(tenant(1), KEY, LIFE_MS).await.expect("it answers");
    assert_eq!(again, Count { value: 1, epoch: epoch(&state).await }, "the first look after it says so");
    assert_ne!(again.epoch, counted.epoch);
}

pub(crate) async fn a_counter_counts_and_lives_from_its_first_use(engine: &dyn Engine) {
    let state = engine.open();
    assert_eq!(count(&state, LIFE_MS).await, 1);
    engine.pass_ms(LIFE_MS - 1_000).await;
    assert_eq!(count(&state, LIFE_MS).await, 2, "a later use does not prolong it");
    engine.pass_ms(1_000).await;
    assert_eq!(count(&state, LIFE_MS).await, 1, "its life is over to the millisecond");
    assert_eq!(count(&state, LIFE_MS).await, 2);
}

pub(crate) async fn no_count_is_given_twice_however_many_count_at_once(engine: &dyn Engine) {
    const AT_ONCE: u32 = 16;
    const EACH: u32 = 40;
    let mut counting = JoinSet::new();
    for _ in 0..AT_ONCE {
        let state = engine.open();
        counting.spawn(async move {
            let mut given = Vec::new();
            for _ in 0..EACH {
                given.push(count(&state, LIFE_MS).await);
                tokio::task::yield_now().await;
            }
            given
        });
    }
    let mut given: Vec<u32> = counting.join_all().await.concat();
    given.sort_unstable();
    assert_eq!(given, (1..=AT_ONCE * EACH).collect::<Vec<_>>());
}

pub(crate) async fn only_the_first_of_many_passes_a_guard(engine: &dyn Engine) {
    let mut passing = JoinSet::new();
    for _ in 0..32 {
        let state = engine.open();
        passing.spawn(async move { first(&state, LIFE_MS).await });
    }
    let passed = passing.join_all().await;
    assert_eq!(passed.into_iter().filter(|passed| *passed).count(), 1);
}

pub(crate) async fn a_guard_stands_until_its_life_is_over(engine: &dyn Engine) {
    let state = engine.open();
    assert!(first(&state, LIFE_MS).await);
    engine.pass_ms(LIFE_MS - 1_000).await;
    assert!(!first(&state, LIFE_MS).await, "a repeat does not prolong it either");
    engine.pass_ms(1_000).await;
    assert!(first(&state, LIFE_MS).await);
    assert!(!first(&state, LIFE_MS).await);
}

pub(crate) async fn a_value_is_kept_replaced_and_forgotten(engine: &dyn Engine) {
    let state = engine.open();
    assert_eq!(kept(&state).await, None);
    keep(&state, b"one", LIFE_MS).await;
    assert_eq!(kept(&state).await.as_deref(), Some(b"one".as_slice()));
    assert_eq!(kept(&state).await.as_deref(), Some(b"one".as_slice()), "reading takes nothing away");
    keep(&state, b"another", LIFE_MS).await;
    assert_eq!(kept(&state).await.as_deref(), Some(b"another".as_slice()));
    for _ in 0..2 {
        state.forget(tenant(1), KEY).await.expect("forgetting what is not there is harmless");
        assert_eq!(kept(&state).await, None);
    }
    keep(&state, b"again", LIFE_MS).await;
    engine.pass_ms(LIFE_MS).await;
    assert_eq!(kept(&state).await, None, "its life is over");
}

pub(crate) async fn a_replaced_value_lives_from_its_replacement(engine: &dyn Engine) {
    let state = engine.open();
    keep(&state, b"long", 10 * LIFE_MS).await;
    keep(&state, b"short", LIFE_MS).await;
    engine.pass_ms(LIFE_MS).await;
    assert_eq!(kept(&state).await, None, "the shorter life replaced the longer one");
    keep(&state, b"short", LIFE_MS).await;
    engine.pass_ms(LIFE_MS / 2).await;
    keep(&state, b"long", 10 * LIFE_MS).await;
    engine.pass_ms(5 * LIFE_MS).await;
    assert_eq!(kept(&state).await.as_deref(), Some(b"long".as_slice()));
}

pub(crate) async fn a_counter_a_guard_and_a_value_under_one_key_are_apart(engine: &dyn Engine) {
    let state = engine.open();
    assert_eq!((count(&state, LIFE_MS).await, kept(&state).await), (1, None), "a counter is no value");
    assert!(first(&state, LIFE_MS).await, "a counter is no guard");
    assert_eq!(kept(&state).await, None, "a guard is no value");
    keep(&state, b"\x07", LIFE_MS).await;
    assert_eq!(count(&state, LIFE_MS).await, 2, "a value is no counter");
}

pub(crate) async fn forgetting_frees_the_key_for_all_three(engine: &dyn Engine) {
    let state = engine.open();
    count(&state, LIFE_MS).await;
    first(&state, LIFE_MS).await;
    keep(&state, b"x", LIFE_MS).await;
    state.forget(tenant(1), KEY).await.expect("it answers");
    assert_eq!((count(&state, LIFE_MS).await, kept(&state).await, first(&state, LIFE_MS).await), (1, None, true));
}

pub(crate) async fn tenants_share_no_key(engine: &dyn Engine) {
    let state = engine.open();
    count(&state, LIFE_MS).await;
    first(&state, LIFE_MS).await;
    keep(&state, b"x", LIFE_MS).await;
    let other = tenant(2);
    assert_eq!(state.count(other, KEY, LIFE_MS).await.map(|count| count.value), Ok(1));
    assert_eq!(state.first(other, KEY, LIFE_MS).await, Ok(true));
    assert_eq!(state.kept(other, KEY).await, Ok(None));
    state.forget(other, KEY).await.expect("it answers");
    assert_eq!(kept(&state).await.as_deref(), Some(b"x".as_slice()));
    assert_eq!(count(&state, LIFE_MS).await, 2);
}

pub(crate) async fn any_bytes_are_kept_as_they_are(engine: &dyn Engine) {
    let state = engine.open();
    let all: Vec<u8> = (0..=u8::MAX).cycle().take(10_000).collect();
    for value in [b"".as_slice(), b"\xff\x00\r\n", b"42", &all] {
        keep(&state, value, LIFE_MS).await;
        assert_eq!(kept(&state).await.as_deref(), Some(value));
    }
}

pub(crate) async fn two_ways_lead_to_the_same_state(engine: &dyn Engine) {
    let (one, other) = (engine.open(), engine.open());
    assert_eq!((count(&one, LIFE_MS).await, count(&other, LIFE_MS).await), (1, 2));
    assert_eq!((first(&one, LIFE_MS).await, first(&other, LIFE_MS).await), (true, false));
    keep(&one, b"seen by both", LIFE_MS).await;
    assert_eq!(kept(&other).await.as_deref(), Some(b"seen by both".as_slice()));
}
