//! Promises about the bell that wakes phones.

use std::sync::Arc;
use std::time::Duration;

use platform::ephemeral::Ephemeral;
use platform::ephemeral::bells::{Heard, Listener};
use schema::ids::{BillId, ChannelUserId};
use schema::mobile::Bell;
use uuid::Uuid;

use super::{Engine, tenant};

/// More than any listener may be behind.
const MANY: u128 = 2_000;

fn login(number: u128) -> ChannelUserId {
    ChannelUserId::from_uuid(Uuid::from_u128(number))
}

fn bell(number: u128) -> Bell {
    Bell::Bill { bill_id: BillId::from_uuid(Uuid::from_u128(number)) }
}

fn rung(number: u128) -> Option<Heard> {
    Some(Heard::Bell(bell(number)))
}

/// What is heard next; fails when nothing is in a time in which any engine would have delivered.
async fn heard(listener: &mut Listener) -> Option<Heard> {
    tokio::time::timeout(Duration::from_secs(20), listener.next()).await.expect("a bell in time")
}

pub(crate) async fn a_bell_is_heard_by_everyone_who_listens_for_that_login(engine: &dyn Engine) {
    let (here, there) = (engine.open(), engine.open());
    let mut listeners =
        [here.listen(tenant(1), login(1)), here.listen(tenant(1), login(1)), there.listen(tenant(1), login(1))];
    for number in 1..=3 {
        here.ring(tenant(1), login(1), bell(number));
    }
    for listener in &mut listeners {
        for number in 1..=3 {
            assert_eq!(heard(listener).await, rung(number), "in the order they were rung");
        }
    }
}

pub(crate) async fn nobody_else_hears_it(engine: &dyn Engine) {
    let state = engine.open();
    let mut neighbour = state.listen(tenant(1), login(2));
    let mut abroad = state.listen(tenant(2), login(1));
    state.ring(tenant(1), login(1), bell(1));
    state.ring(tenant(1), login(2), bell(2));
    state.ring(tenant(2), login(1), bell(3));
    assert_eq!(heard(&mut neighbour).await, rung(2));
    assert_eq!(heard(&mut abroad).await, rung(3));
}

pub(crate) async fn a_bell_that_nobody_hears_is_harmless(engine: &dyn Engine) {
    let state = engine.open();
    state.ring(tenant(1), login(1), bell(1));
    drop(state.listen(tenant(1), login(1)));
    state.ring(tenant(1), login(1), bell(2));
    let mut late = state.listen(tenant(1), login(1));
    state.ring(tenant(1), login(1), bell(3));
    assert_eq!(heard(&mut late).await, rung(3), "a bell is for those who listen when it rings");
}

pub(crate) async fn who_falls_behind_is_told_and_hears_the_newest(engine: &dyn Engine) {
    let state = engine.open();
    let mut slow = state.listen(tenant(1), login(1));
    let mut brisk = state.listen(tenant(1), login(1));
    for number in 0..MANY {
        state.ring(tenant(1), login(1), bell(number));
        assert_eq!(heard(&mut brisk).await, rung(number), "whoever keeps up misses nothing");
    }
    assert_eq!(heard(&mut slow).await, Some(Heard::Missed), "it is told that it missed some");
    let mut newest = None;
    while newest != rung(MANY - 1) {
        newest = heard(&mut slow).await;
        assert_ne!(newest, Some(Heard::Missed), "it is told once");
    }
}

pub(crate) async fn ringing_never_waits_for_anyone(engine: &dyn Engine) {
    let state: Arc<dyn Ephemeral> = engine.open();
    let _deaf = state.listen(tenant(1), login(1));
    let ringing = tokio::task::spawn_blocking(move || {
        for number in 0..MANY {
            state.ring(tenant(1), login(1), bell(number));
        }
    });
    tokio::time::timeout(Duration::from_secs(20), ringing).await.expect("it did not wait").expect("it did not panic");
}
