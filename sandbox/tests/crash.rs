//! SIGKILL at random moments through many payments with faults, first of the platform, then of the adapters, then of
//! both: afterwards every order has ended, the books agree from every side, and nobody was charged twice.
//!
//! The programs are real: `make test` builds them before the tests run. `PAYMENTS=1000` for a longer night.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sandbox::city::{City, Options};

fn payments() -> u32 {
    std::env::var("PAYMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigkill_at_random_moments_every_order_ends_and_nobody_is_charged_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let options =
        Options { seed: 300, payments: Some(payments()), dir: Some(dir.path().to_owned()), ..Options::default() };
    let city = Arc::new(City::start(options).await.expect("the city starts"));
    city.settle_in().await.expect("people log in");
    city.set_faults(10_000).await.expect("faults");
    let hospitals: Vec<String> = city
        .places()
        .await
        .into_iter()
        .filter_map(|(name, _, _)| name.strip_prefix("adapter-").map(str::to_owned))
        .collect();
    assert!(!hospitals.is_empty(), "{:?}", city.places().await);

    let paying = {
        let city = Arc::clone(&city);
        tokio::spawn(async move { city.pay(payments(), |_| {}).await })
    };
    let mut dice = ChaCha8Rng::seed_from_u64(300);
    let mut kills = 0_u32;
    while !paying.is_finished() {
        tokio::time::sleep(Duration::from_millis(dice.random_range(300..2_500))).await;
        let hospital = &hospitals[dice.random_range(0..hospitals.len())];
        let (platform, adapter) = match kills % 3 {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        if platform {
            city.kill_platform().await.expect("SIGKILL");
        }
        if adapter {
            city.kill_adapter(hospital).await.expect("SIGKILL");
        }
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..600))).await;
        if platform {
            city.restart_platform().await.expect("it starts again");
        }
        if adapter {
            city.restart_adapter(hospital).await.expect("it starts again");
        }
        kills += 1;
    }
    paying.await.expect("payments end");
    city.set_faults(0).await.expect("the storm is over");
    let verdict = city.verdict().await.expect("a verdict");
    println!("{kills} kills over {} payments: {}", payments(), serde_json::to_string(&verdict).expect("JSON"));
    assert!(kills >= 3, "not each of the three kinds of kill was tried: {kills}");
    assert!(verdict.is_at_rest(), "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    assert!(verdict.completed * 2 > verdict.payments, "storms in which hardly anybody pays prove little: {verdict:?}");
    assert!(verdict.is_sound(), "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    let city = Arc::into_inner(city).expect("nobody else holds the city");
    city.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_payments_without_faults_end_right_from_every_side() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options {
        seed: 10,
        payments: Some(10),
        faults_ppm: 0,
        plain: true,
        dir: Some(dir.path().to_owned()),
        ..Options::default()
    };
    let city = City::start(options).await.expect("the city starts");
    city.settle_in().await.expect("people log in");
    city.pay(10, |_| {}).await;
    let verdict = city.verdict().await.expect("a verdict");
    assert!(verdict.is_sound(), "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    assert_eq!(verdict.completed, 10, "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    city.stop().await.expect("it stops");
}
