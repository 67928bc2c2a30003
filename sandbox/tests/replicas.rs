//! Two platforms on PostgreSQL, Redis and Kafka, and everything under them taken away in turn while people pay:
//! afterwards every order has ended, the books agree from every side, nobody was charged twice, and the topic is the
//! store's history.
//!
//! The programs and the servers are real: `make test` builds and installs them before the tests run.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sandbox::city::town::{PLATFORM, replica_name};
use sandbox::city::{City, Options};
use sandbox::engines::kafka::{Kafka, Shape};
use sandbox::engines::postgres::Postgres;
use sandbox::engines::redis::Redis;
use tempfile::TempDir;

/// Each of these cities takes a whole machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What happens to the engines, one after another.
const BLOWS: u32 = 6;

/// A city of two platforms with its engines.
struct Province {
    city: Arc<City>,
    postgres: Postgres,
    redis: Redis,
    kafka: Kafka,
    _dir: TempDir,
}

impl Province {
    async fn found(seed: u64, payments: u32) -> Province {
        let dir = tempfile::tempdir().expect("a folder");
        let postgres = Postgres::start(&dir.path().join("postgres"), &[]).expect("PostgreSQL");
        let redis = Redis::own(&[]).expect("Redis");
        let kafka = Kafka::start(&Shape::default()).expect("Kafka");
        let settings = [
            ("TONGFU__STORE__URL", postgres.database(None).expect("a database")),
            ("TONGFU__EPHEMERAL__URL", redis.url().to_owned()),
            ("TONGFU__EVENTS__URL", format!("kafka://{}/tongfu?partitions=3", kafka.bootstrap())),
        ];
        let city = City::start(Options {
            seed,
            payments: Some(payments),
            dir: Some(dir.path().join("city")),
            platform_env: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            replicas: 2,
            ..Options::default()
        })
        .await
        .expect("the city starts");
        city.settle_in().await.expect("people log in");
        Province { city: Arc::new(city), postgres, redis, kafka, _dir: dir }
    }

    /// Payments go on for as long as there are blows to come.
    async fn keep_paying(&self, paying: &mut tokio::task::JoinHandle<()>, more_to_come: bool) -> bool {
        if paying.is_finished() && more_to_come {
            std::mem::replace(paying, self.pay(40)).await.expect("payments end");
        }
        more_to_come || !paying.is_finished()
    }

    fn pay(&self, payments: u32) -> tokio::task::JoinHandle<()> {
        let city = Arc::clone(&self.city);
        tokio::spawn(async move { city.pay(payments, |_| {}).await })
    }

    async fn signal(&self, name: &str, signal: Signal) {
        let pid = self.city.pid(name).await.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.expect("it runs"), signal).expect("a signal");
    }

    /// Everything has ended and agrees.
    async fn prove(self) {
        let verdict = self.city.verdict().await.expect("a verdict");
        let shown = serde_json::to_string_pretty(&verdict).expect("JSON");
        println!("{shown}");
        assert!(verdict.is_at_rest(), "{shown}");
        assert!(verdict.is_sound(), "{shown}");
        assert!(verdict.completed * 2 > verdict.payments, "{shown}");
        let fallen = self.city.fallen().await;
        assert!(fallen.is_empty(), "{fallen:?} ended by themselves");
        // The last records may still be on their way.
        let topic = self.city.platform_cli(&["events", "verify", "--wait", "60"], true).await.expect("it says");
        assert!(topic["findings"].as_array().is_some_and(Vec::is_empty), "{topic:#}");
        let city = Arc::into_inner(self.city).expect("nobody else holds the city");
        city.stop().await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_two_platforms_serves_anybody_and_either_may_be_killed_or_stopped_under_load() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let province = Province::found(41, 160).await;
    let mut paying = province.pay(160);
    let second = replica_name(2);
    let mut round = 0_u32;
    // Each of both is killed, and each is stopped.
    while province.keep_paying(&mut paying, round < 6).await {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let name = if round.is_multiple_of(2) { second.as_str() } else { PLATFORM };
        if round % 3 == 2 {
            // Longer than its lease: the other one adopts what it held, and it must notice when it wakes.
            province.signal(name, Signal::STOP).await;
            tokio::time::sleep(Duration::from_millis(6_000)).await;
            province.signal(name, Signal::CONT).await;
        } else {
            province.city.kill(name).await.expect("SIGKILL");
            tokio::time::sleep(Duration::from_millis(300)).await;
            province.city.restart(name).await.expect("it starts again");
        }
        round += 1;
    }
    paying.await.expect("payments end");
    assert!(round >= 6, "only {round} blows");
    province.prove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_redis_and_kafka_may_go_away_under_load_and_come_back() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut province = Province::found(42, 160).await;
    if !province.postgres.is_ours() {
        println!("the server was given: it is not ours to stop");
        return;
    }
    let mut paying = province.pay(160);
    let mut round = 0_u32;
    while province.keep_paying(&mut paying, round < BLOWS).await {
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        match round % BLOWS {
            0 => {
                province.postgres.crash().expect("PostgreSQL crashes");
                tokio::time::sleep(Duration::from_millis(1_000)).await;
                province.postgres.again().expect("PostgreSQL comes back");
            }
            1 => {
                // Nothing of it is on disk: whoever comes back has forgotten everything.
                province.redis.kill().expect("Redis dies");
                tokio::time::sleep(Duration::from_millis(1_000)).await;
                province.redis.start().expect("Redis comes back");
            }
            2 => {
                province.kafka.kill().expect("Kafka dies");
                tokio::time::sleep(Duration::from_millis(5_000)).await;
                province.kafka.again().expect("Kafka comes back");
            }
            3 => {
                for _ in 0..10 {
                    province.postgres.cut().expect("every connection is ended");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            4 => province.redis.flush().expect("Redis forgets everything"),
            _ => {
                province.redis.stop().expect("Redis stops");
                tokio::time::sleep(Duration::from_millis(1_000)).await;
                province.redis.start().expect("Redis comes back");
            }
        }
        round += 1;
    }
    paying.await.expect("payments end");
    assert!(round >= BLOWS, "only {round} blows");
    province.prove().await;
}
