//! A city of two platforms on PostgreSQL, Redis and Kafka.

use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use sandbox::city::{City, Options};
use sandbox::engines::kafka::{Kafka, Shape};
use sandbox::engines::postgres::Postgres;
use sandbox::engines::redis::Redis;
use tempfile::TempDir;

/// The city and what it stands on.
pub(crate) struct Province {
    pub(crate) city: Arc<City>,
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) kafka: Kafka,
    _dir: TempDir,
}

impl Province {
    pub(crate) async fn found(seed: u64, payments: u32) -> Province {
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
    pub(crate) async fn keep_paying(&self, paying: &mut tokio::task::JoinHandle<()>, more_to_come: bool) -> bool {
        if paying.is_finished() && more_to_come {
            std::mem::replace(paying, self.pay(40)).await.expect("payments end");
        }
        more_to_come || !paying.is_finished()
    }

    pub(crate) fn pay(&self, payments: u32) -> tokio::task::JoinHandle<()> {
        let city = Arc::clone(&self.city);
        tokio::spawn(async move { city.pay(payments, |_| {}).await })
    }

    pub(crate) async fn signal(&self, name: &str, signal: Signal) {
        let pid = self.city.pid(name).await.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.expect("it runs"), signal).expect("a signal");
    }

    /// Everything has ended and agrees.
    pub(crate) async fn prove(self) {
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
