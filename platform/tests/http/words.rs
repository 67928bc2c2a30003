//! A hospital's own words reach phones and the record: never with its patient in them.

use schema::his::{Guidance, RefundAsk};
use schema::ids::OrderId;
use schema::link::{Reply, ToInstitution, ToPlatform};
use schema::refusal::{Code, Refusal};
use serde_json::json;

use crate::adapter::Adapter;
use crate::insured::{card, opened, priced, proved};
use crate::payment::{AMOUNT, collecting, notify, paid};
use crate::world::{WANG, World};

fn names(text: &str) -> bool {
    text.contains(WANG.1) || text.contains(WANG.0) || text.contains("13800000001")
}

/// The order's whole record, as an operator reads it.
fn record(world: &World, order: &str) -> String {
    let id: OrderId = order.parse().expect("an id");
    let story = world.ground.store.story(id).expect("readable").expect("a story");
    format!("{}{}", json!(story.order), json!(story.history))
}

fn refused() -> Reply {
    let said = format!("患者{}（{}）电话13800000001欠费", WANG.1, WANG.0);
    Reply::Refused(Refusal::new(Code::HospitalRefused, "test").in_words(said).problem(None))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_price_names_nobody() {
    let world = World::start().await;
    let (person, _) = proved(&world, "13800000001").await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    adapter.instead = Some(Box::new(|ask| matches!(ask, ToInstitution::PreSettle(_)).then(refused)));
    let (_, order) = opened(&mut adapter, &person, "B1").await;
    adapter.work().await;
    let reason = person.until(&order, "closed").await["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("患者***（***）电话***欠费"), "{reason}");
    assert!(!names(&record(&world, &order)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_payment_names_nobody() {
    let world = World::start().await;
    let city = &world.cities[0];
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, city).await;
    let order = collecting(&mut adapter, &person, "B1").await;
    adapter.instead = Some(Box::new(|ask| matches!(ask, ToInstitution::Settled(_)).then(refused)));
    notify(&world, city, &paid(&order, AMOUNT)).await.done(204);
    adapter.work().await;
    let reason = person.until(&order, "undoing").await["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("患者***（***）电话***欠费"), "{reason}");
    assert!(!names(&record(&world, &order)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bureaus_refusal_to_settle_names_nobody() {
    let world = World::start().await;
    let (person, _) = proved(&world, "13800000001").await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let order = priced(&mut adapter, &person, "B1").await;
    let path = format!("/mobile/v1/orders/{order}");
    person.change("POST", &format!("{path}/code"), json!({})).await.done(202);
    let code = world.cities[0].inbox.code("13800000001");
    let ask = json!({ "phone": "13800000001", "code": code, "card_no": card() });
    person.change("POST", &format!("{path}/pay"), ask).await.done(202);
    let reason = person.until(&order, "closed").await["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.starts_with("settle_refused") && reason.contains("***") && reason.contains("不结算"), "{reason}");
    assert!(!names(&record(&world, &order)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guidance_and_the_reason_of_a_refund_name_nobody() {
    let world = World::start().await;
    let city = &world.cities[0];
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, city).await;
    let order = collecting(&mut adapter, &person, "B1").await;
    adapter.instead = Some(Box::new(|ask| {
        let guidance = Guidance {
            window: Some(format!("{}请到3号窗口", WANG.1)),
            queue_no: Some(format!("202605200001-{}", WANG.0)),
            message: Some(format!("凭{}取药", WANG.0)),
            ..Guidance::default()
        };
        matches!(ask, ToInstitution::Settled(_)).then_some(Reply::Booked(guidance))
    }));
    notify(&world, city, &paid(&order, AMOUNT)).await.done(204);
    adapter.work().await;
    let guidance = person.until(&order, "completed").await["guidance"].clone();
    assert_eq!(guidance["window"], "***请到3号窗口");
    assert_eq!(guidance["queue_no"], "202605200001-***", "a queue number keeps its own digits");
    assert_eq!(guidance["message"], "凭***取药");

    let ask = RefundAsk {
        refund_no: "R1".into(),
        bill_no: "B1".into(),
        amount_fen: None,
        replaced_by: None,
        reason: format!("{}未做检查，联系13800000001", WANG.1),
    };
    for _ in 0..2 {
        let reply = adapter.ask(ToPlatform::Refund(ask.clone())).await;
        assert!(matches!(reply, Reply::Refund(_)), "the same refund again is the same: {reply:?}");
    }
    let refund = world.ground.store.refund_by_no(city.id, &city.hospital, "R1").expect("readable").expect("a refund");
    assert_eq!(refund.reason, "***未做检查，联系***");
    assert!(!names(&record(&world, &order)));
}
