//! A city whose events go to Kafka: while it is away payments go on, and when it is back everything that happened is
//! there, in order, even if the platform dies over it.

use std::sync::Arc;
use std::time::Duration;

use sandbox::city::{City, Options};
use sandbox::engines::kafka::{Kafka, Shape};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long the broker is away.
const AWAY: Duration = Duration::from_secs(60);

/// What `platform events verify` says: a finding is said by its exit status as well, which is not asked here.
async fn verified(city: &City, wait_s: u32) -> Value {
    let wait = wait_s.to_string();
    city.platform_cli(&["events", "verify", "--wait", &wait], true).await.expect("a report")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_go_on_while_kafka_is_away_and_their_events_catch_up_in_order() {
    let mut kafka = Kafka::start(&Shape::default()).expect("a broker");
    let dir = tempfile::tempdir().expect("a folder");
    let env = [
        ("TONGFU__EVENTS__URL", format!("kafka://{}/tongfu.orders?partitions=3", kafka.bootstrap())),
        ("TONGFU__LIMITS__EVENTS_TIMEOUT_MS", "5000".to_owned()),
    ];
    let options = Options {
        seed: 31,
        payments: Some(60),
        faults_ppm: 0,
        dir: Some(dir.path().to_owned()),
        platform_env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        ..Options::default()
    };
    let city = Arc::new(City::start(options).await.expect("the city starts"));
    city.settle_in().await.expect("people log in");
    city.pay(20, |_| {}).await;
    let before = verified(&city, 60).await;
    assert_eq!((&before["equal"], &before["findings"]), (&json!(true), &json!([])), "{before}");

    kafka.stop().expect("it stops");
    let stopped = Instant::now();
    while stopped.elapsed() < AWAY {
        city.pay(10, |_| {}).await;
    }
    let verdict = city.verdict().await.expect("a verdict");
    assert!(verdict.is_sound() && verdict.unfinished == 0, "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    kafka.again().expect("it starts");
    let after = verified(&city, 120).await;
    assert_eq!((&after["equal"], &after["findings"]), (&json!(true), &json!([])), "{after}");
    let orders = |report: &Value| report["orders"].as_u64().expect("a number");
    assert!(orders(&after) > orders(&before), "people paid while it was away: {after}");

    // The platform dies in the middle of its batches, and the broker in the middle of everything.
    let paying = {
        let city = Arc::clone(&city);
        tokio::spawn(async move { city.pay(20, |_| {}).await })
    };
    for _ in 0..3 {
        city.kill_platform().await.expect("SIGKILL");
        city.restart_platform().await.expect("it starts again");
        tokio::task::block_in_place(|| kafka.kill().and_then(|()| kafka.again()))
            .expect("SIGKILL, and it starts again");
    }
    paying.await.expect("payments end");
    let verdict = city.verdict().await.expect("a verdict");
    assert!(verdict.is_sound() && verdict.unfinished == 0, "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    let last = verified(&city, 120).await;
    assert_eq!((&last["equal"], &last["findings"]), (&json!(true), &json!([])), "{last}");
    println!("{last}");
    let city = Arc::into_inner(city).expect("nobody else holds the city");
    city.stop().await.expect("it stops");
}
