//! The link breaks at every message, speaks nonsense, or falls silent; nothing is lost and nothing happens twice.

mod common;

use common::adapter::Site;
use common::bill_json;
use common::platform::{Platform, fresh_id};
use schema::ids::OrderId;
use schema::link::{Body, Frame, Release, Reply, ToInstitution, ToPlatform};
use schema::refusal::Code;
use schema::sign::SigningKey;
use serde_json::json;

fn release() -> ToInstitution {
    ToInstitution::Release(Release { order_id: OrderId::from_uuid(uuid::Uuid::nil()), bill_no: "B1".into() })
}

#[tokio::test]
async fn the_link_may_break_at_every_message_of_a_bill_and_of_work() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    adapter.post("/his/v1/bills", &bill_json("B1")).await;

    platform.hang_up_before_challenge().await;
    platform.hang_up_before_welcome().await;
    drop(platform.accept(&site.public_key).await);
    let mut link = platform.accept(&site.public_key).await;
    let (first, _) = link.hear_ask().await;
    drop(link);
    let mut link = platform.accept(&site.public_key).await;
    let (again, _) = link.hear_ask().await;
    assert_eq!(again.id, first.id, "no reply came, so it is asked again");
    link.reply(&again, Reply::Done).await;
    adapter.all_replied().await;

    let work = fresh_id();
    link.ask(work, release()).await;
    drop(link);
    let mut link = platform.accept(&site.public_key).await;
    link.ask(work, release()).await;
    link.ask(work, release()).await;
    let items = adapter.work().await;
    assert_eq!(items.len(), 1, "the same work asked three times is one item");
    assert_eq!(adapter.answer(&items[0], json!({ "reply": "done" })).await.0, 200);
    let (text, ..) = link.hear_reply().await;
    drop(link);
    let mut link = platform.accept(&site.public_key).await;
    link.ask(work, release()).await;
    let (again, ..) = link.hear_reply().await;
    assert_eq!(again, text);
    let (status, none) = adapter.get("/his/v1/work?wait_s=0").await;
    assert_eq!((status, none), (200, json!([])), "the HIS is not asked again");
}

#[tokio::test]
async fn a_frame_with_another_signature_is_refused_and_does_nothing() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    let stranger = SigningKey::from_seed([1; 32]);
    let id = fresh_id();
    let forged = Frame::signed(&stranger, id, None, None, &Body::ToInstitution { ask: release() }).expect("a frame");
    link.send(&forged).await;
    let (_, frame, reply) = link.hear_reply().await;
    assert_eq!(frame.re, Some(id));
    assert!(matches!(reply, Reply::Refused(problem) if problem.code == Code::SignatureWrong));
    assert_eq!(adapter.get("/his/v1/work?wait_s=0").await.1, json!([]));
}

#[tokio::test]
async fn nonsense_is_survived_and_what_is_not_understood_is_refused() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    link.send_text("not JSON".to_owned()).await;
    link.send_text("{}".to_owned()).await;
    let mut strange =
        Frame::signed(&platform.key, fresh_id(), None, None, &Body::Reply { reply: Reply::Done }).expect("a frame");
    strange.payload = schema::link::Payload(r#"{"body":"to_institution","ask":{"ask":"dance"}}"#.to_owned());
    strange.sig = platform.key.sign(&strange.signed_bytes());
    link.send(&strange).await;
    let (_, frame, reply) = link.hear_reply().await;
    assert_eq!(frame.re, Some(strange.id));
    assert!(matches!(reply, Reply::Refused(problem) if problem.code == Code::Malformed));

    let wrong_way =
        Body::ToPlatform { ask: ToPlatform::DayList(schema::his::DayAsk { date: "x".into(), after: None }) };
    link.send(&Frame::signed(&platform.key, fresh_id(), None, None, &wrong_way).expect("a frame")).await;
    let (_, _, reply) = link.hear_reply().await;
    assert!(matches!(reply, Reply::Refused(problem) if problem.code == Code::Malformed));
    // A reply to nothing is ignored; the conversation goes on.
    link.reply(&strange, Reply::Done).await;
    adapter.post("/his/v1/bills", &bill_json("B1")).await;
    assert!(matches!(link.hear_ask().await.1, ToPlatform::Bill(_)));
}

#[tokio::test]
async fn the_adapter_pings_and_gives_up_on_a_platform_that_falls_silent() {
    let mut platform = Platform::listen().await;
    platform.heartbeat_s = 1;
    let site = Site::init(&platform.url).await;
    let _adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    link.hear_ping().await;
    // Nobody reads this link any more, so no ping is answered: a new connection must come.
    let _again = platform.accept(&site.public_key).await;
}

#[tokio::test]
async fn a_second_adapter_in_the_same_directory_does_not_start() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let _adapter = site.start().await;
    let (started, _) = common::adapter::run(&site.dir, &["run", "--listen", "127.0.0.1:0"]).await;
    assert!(!started);
}
