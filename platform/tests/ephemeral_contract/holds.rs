//! Promises about what one process at a time may have.

use std::sync::Arc;

use platform::ephemeral::{Ephemeral, Hold};
use schema::ids::ProcessId;
use tokio::task::JoinSet;

use super::{Engine, process, tenant};

const KEY: &str = "link:H44190000001";
const LIFE_MS: i64 = 60_000;

fn turn(turn: u64) -> Hold {
    Hold { key: KEY.into(), turn }
}

async fn hold(state: &Arc<dyn Ephemeral>, process: ProcessId, at: u64) -> bool {
    state.hold(tenant(1), process, &[turn(at)], LIFE_MS).await.expect("it answers") == [true]
}

async fn holder(state: &Arc<dyn Ephemeral>) -> Option<ProcessId> {
    state.holder(tenant(1), KEY).await.expect("it answers")
}

async fn release(state: &Arc<dyn Ephemeral>, process: ProcessId, at: u64) {
    state.release(tenant(1), process, &turn(at)).await.expect("it answers");
}

pub(crate) async fn one_process_has_a_hold_however_many_want_it_at_once(engine: &dyn Engine) {
    let mut wanting = JoinSet::new();
    for number in 1..=32 {
        let state = engine.open();
        wanting.spawn(async move { hold(&state, process(number), 1).await.then_some(process(number)) });
    }
    let had: Vec<ProcessId> = wanting.join_all().await.into_iter().flatten().collect();
    assert_eq!(had.len(), 1);
    assert_eq!(holder(&engine.open()).await, Some(had[0]));
}

pub(crate) async fn a_hold_is_its_processs_until_its_life_is_over_and_renewing_prolongs_it(engine: &dyn Engine) {
    let (here, there) = (engine.open(), engine.open());
    assert_eq!(holder(&here).await, None);
    assert!(hold(&here, process(1), 1).await);
    engine.pass_ms(LIFE_MS - 1_000).await;
    assert!(!hold(&there, process(2), 1).await, "being refused does not prolong it");
    assert!(hold(&here, process(1), 1).await, "renewed");
    engine.pass_ms(LIFE_MS - 1_000).await;
    assert!(!hold(&there, process(2), 1).await);
    assert_eq!(holder(&there).await, Some(process(1)));
    engine.pass_ms(1_000).await;
    assert_eq!(holder(&there).await, None);
    assert!(hold(&there, process(2), 1).await);
    assert!(!hold(&here, process(1), 1).await, "whoever comes too late finds another's");
}

pub(crate) async fn a_hold_that_is_given_up_is_free_at_once_and_only_its_holder_gives_it_up(engine: &dyn Engine) {
    let state = engine.open();
    release(&state, process(1), 1).await;
    assert!(hold(&state, process(1), 1).await);
    release(&state, process(2), 1).await;
    assert!(!hold(&state, process(2), 1).await, "it was not the other's to give up");
    release(&state, process(1), 1).await;
    assert_eq!(holder(&state).await, None);
    assert!(hold(&state, process(2), 1).await);
}

pub(crate) async fn a_later_turn_of_one_process_replaces_an_earlier_one_and_not_the_reverse(engine: &dyn Engine) {
    let state = engine.open();
    assert!(hold(&state, process(1), 1).await);
    assert!(hold(&state, process(1), 2).await);
    assert!(hold(&state, process(1), 1).await, "it is still the process's");
    release(&state, process(1), 1).await;
    assert_eq!(holder(&state).await, Some(process(1)), "the later turn stands");
    release(&state, process(1), 2).await;
    assert_eq!(holder(&state).await, None);
    assert!(hold(&state, process(1), 1).await, "what was given up may be taken by any turn");
    release(&state, process(1), 1).await;
    assert_eq!(holder(&state).await, None);
}

pub(crate) async fn many_holds_are_answered_one_by_one(engine: &dyn Engine) {
    let state = engine.open();
    let holds: Vec<Hold> = (0..300).map(|number| Hold { key: format!("link:{number}"), turn: number }).collect();
    for number in [3_usize, 299] {
        let taken = state.hold(tenant(1), process(2), &holds[number..=number], LIFE_MS).await;
        assert_eq!(taken, Ok(vec![true]));
    }
    let taken = state.hold(tenant(1), process(1), &holds, LIFE_MS).await.expect("it answers");
    let refused: Vec<usize> = (0..300).filter(|number| !taken[*number]).collect();
    assert_eq!((taken.len(), refused), (300, vec![3, 299]));
    assert_eq!(state.hold(tenant(1), process(1), &[], LIFE_MS).await, Ok(vec![]));
}

pub(crate) async fn a_hold_is_one_tenants_and_no_counter_guard_or_value(engine: &dyn Engine) {
    let state = engine.open();
    assert!(hold(&state, process(1), 1).await);
    assert_eq!(state.holder(tenant(2), KEY).await, Ok(None));
    assert_eq!(state.hold(tenant(2), process(2), &[turn(1)], LIFE_MS).await, Ok(vec![true]));
    assert_eq!(state.count(tenant(1), KEY, LIFE_MS).await.map(|count| count.value), Ok(1));
    assert_eq!(state.first(tenant(1), KEY, LIFE_MS).await, Ok(true));
    assert_eq!(state.kept(tenant(1), KEY).await, Ok(None));
    state.forget(tenant(1), KEY).await.expect("it answers");
    assert_eq!(holder(&state).await, Some(process(1)), "forgetting gives no hold up");
}
