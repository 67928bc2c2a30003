//! Two platform processes on one Redis server, and what their callers see when that server is away or has forgotten.

use std::time::Duration;

use futures_util::StreamExt as _;
use sandbox::engines::redis::Redis;
use schema::link::{Reply, ToInstitution};
use schema::refusal::Code;
use serde_json::json;

use crate::adapter::Adapter;
use crate::code::{PHONE, Payment};
use crate::insured::{card, priced, proved};
use crate::link::again;
use crate::payment::{AMOUNT, bill, collecting, notify, paid};
use crate::world::{Said, WANG, World, hear, way_to};

/// A server of our own, since it is stopped and emptied.
fn server() -> Redis {
    Redis::own(&[]).expect("a Redis server (apt-get install redis-server)")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_at_one_replica_pays_at_an_institution_whose_link_is_at_another() {
    let server = server();
    let here = World::on(way_to(&server).await, |_| {}, 10).await;
    let there = here.replica(way_to(&server).await).await;
    let person = here.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let events = person.request("GET", "/mobile/v1/events").send().await.expect("events");
    let mut events = events.bytes_stream();
    let city = &here.cities[0];
    let mut adapter = Adapter::connect(&there, city).await;
    let order = collecting(&mut adapter, &person, "B1").await;
    // The wallet's notice comes to the other one.
    notify(&there, city, &paid(&order, AMOUNT)).await.done(204);
    assert!(matches!(adapter.work().await, ToInstitution::Settled(_)));
    person.until(&order, "completed").await;

    let mut heard = String::new();
    let mut rung =
        ["created", "priced", "collecting", "paid", "completed"].map(|state| format!(r#""state":"{state}""#)).to_vec();
    rung.push(r#""changed":"bill""#.to_owned());
    while !rung.iter().all(|bell| heard.contains(bell)) {
        let chunk = tokio::time::timeout(Duration::from_secs(20), events.next()).await;
        let chunk = chunk.unwrap_or_else(|_| panic!("only this was heard: {heard}"));
        heard.push_str(&String::from_utf8_lossy(&chunk.expect("more").expect("bytes")));
    }

    // Whoever was rung is shown what rang, wherever it was decided, or what came after it; and nobody else is.
    let mut told = heard.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|bell| bell.contains(&order));
    let bell: serde_json::Value = serde_json::from_str(told.next_back().expect("a bell")).expect("JSON");
    let version = bell["version"].as_i64().expect("a version");
    let stranger = here.sign_in(0, "13800000002").await;
    for (version, least) in [(1, 1), (version, version), (version + 100, version)] {
        let path = format!("/mobile/v1/orders/{order}?version={version}");
        let view = person.get(&path).await.done(200);
        assert!(view["version"].as_i64() >= Some(least), "{version}: {view}");
        stranger.get(&path).await.refused_as(Code::OrderUnknown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_has_one_link_over_both_replicas() {
    let server = server();
    let here = World::on(way_to(&server).await, |_| {}, 10).await;
    let there = here.replica(way_to(&server).await).await;
    let city = &here.cities[0];
    let mut first = Adapter::connect(&there, city).await;
    for world in [&there, &here] {
        let problem = Adapter::try_connect(world, city).await.map(|_| ()).expect_err("refused");
        assert_eq!(problem.code, Code::AlreadyConnected);
        assert!(problem.retry_after_s.is_some());
    }
    assert_eq!(first.ask(bill("B1", WANG)).await, Reply::Done);
    let next = first.fresh();
    first.socket.close(None).await.expect("closed");
    let mut second = again(&here, city).await;
    assert_eq!(second.ask_as(next, bill("B2", WANG)).await, Reply::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_dies_with_the_memory_of_its_tries() {
    let mut server = server();
    let world = World::on(way_to(&server).await, |_| {}, 10).await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let payment = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    let code = payment.code().await;
    server.kill().expect("killed");
    server.start().expect("started");
    ready(&world).await;
    payment.refused(PHONE, &code, &card(), Code::CodeExpired).await;
    let next = payment.code().await;
    payment.pay(PHONE, &next, &card()).await.done(202);
}

async fn ready(world: &World) {
    for _ in 0..1_000 {
        if hear(world.request("GET", "/readyz")).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never became ready again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_callers_are_told_to_come_back_and_then_they_are_served() {
    let mut server = server();
    let world = World::on(way_to(&server).await, |_| {}, 10).await;
    let city = &world.cities[0];
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, city).await;
    let payment = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    let code = payment.code().await;
    let before = payment.stands();
    server.kill().expect("killed");

    let later = |said: Said| {
        said.refused_as(Code::Overloaded);
        assert!(said.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    };
    let login = world.request("POST", "/mobile/v1/login/code").header("x-tongfu-channel", &city.channel_key);
    let login = login.header("idempotency-key", "while-redis-is-away");
    later(hear(login.body(json!({ "phone": "13800000009" }).to_string())).await);
    later(person.change("POST", &payment.path("code"), json!({})).await);
    later(payment.pay(PHONE, &code, &card()).await);
    later(hear(world.request("GET", "/readyz")).await);
    hear(world.request("GET", "/livez")).await.done(200);
    assert_eq!(payment.stands(), before, "nothing moved");
    let other = Adapter::try_connect(&world, &world.cities[1]).await.map(|_| ()).expect_err("nobody knows");
    assert_eq!(other.code, Code::Overloaded);
    assert!(other.retry_after_s.is_some());
    // What needs no Redis goes on, the adapter that is here included.
    person.get("/mobile/v1/bills").await.done(200);
    assert_eq!(adapter.ask(bill("B2", WANG)).await, Reply::Done);

    server.start().expect("started");
    ready(&world).await;
    world.sign_in(0, "13800000009").await;
    let next = payment.code().await;
    payment.pay(PHONE, &next, &card()).await.done(202);
}
