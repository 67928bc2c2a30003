//! Who reads of it when money moves.

use std::time::Duration;

use schema::link::ToInstitution;
use serde_json::json;

use crate::adapter::Adapter;
use crate::insured::{cash_in, proved};
use crate::world::{WANG, World};

const PAYER: &str = "13800000001";
const OWN: &str = "13800000002";

/// Who was told in these words, as soon as it is these and nobody else.
async fn told(world: &World, word: &str, phones: &[&str]) {
    let inbox = &world.cities[0].inbox;
    for _ in 0..400 {
        if inbox.told(word) == phones {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{word}: {:?} instead of {phones:?}", inbox.told(word));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insured_person_for_whom_somebody_else_pays_reads_of_it_on_their_own_phone() {
    let world = World::start().await;
    proved(&world, OWN).await;
    // Who only may look, and who gave the card back, are told nothing.
    world.sign_in(0, "13800000003").await.bind(WANG).await;
    let (left, binding) = proved(&world, "13800000004").await;
    left.change("DELETE", &format!("/mobile/v1/bindings/{binding}"), json!({})).await.done(202);

    let (payer, _) = proved(&world, PAYER).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let order = cash_in(&world, &mut adapter, &payer, PAYER, "B1").await;
    assert!(matches!(adapter.work().await, ToInstitution::Settled(_)));
    payer.until(&order, "completed").await;
    told(&world, "医保部分已支付", &[PAYER, OWN]).await;
    told(&world, "现金部分已支付", &[PAYER, OWN]).await;
    // Nothing comes later either: all news has been told.
    for _ in 0..400 {
        let story = world.ground.store.story(order.parse().expect("an id")).expect("readable").expect("a story");
        if story.actions.iter().filter(|action| action.kind == "sms").all(|action| action.done) {
            told(&world, "B1", &[PAYER, PAYER, OWN, PAYER, OWN]).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("an action that never ends");
}
