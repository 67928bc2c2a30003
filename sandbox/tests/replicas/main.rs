//! Two platforms on PostgreSQL, Redis and Kafka, and everything under them taken away in turn while people pay:
//! afterwards every order has ended, the books agree from every side, nobody was charged twice, and the topic is the
//! store's history.
//!
//! The programs and the servers are real: `make test` builds and installs them before the tests run.

mod listener;
mod onlooker;
mod province;

use std::time::Duration;

use rustix::process::Signal;
use sandbox::city::plan::CITIES;
use sandbox::city::town::{PLATFORM, replica_name};
use sandbox::people::payment::Ending;
use sandbox::people::story::Story;

use listener::Listener;
use onlooker::Onlooker;
use province::Province;

/// Each of these cities takes a whole machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What happens to the engines, one after another.
const BLOWS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_is_served_by_both_platforms_in_turn_and_hears_at_either_what_the_other_decides() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let province = Province::found(40, 12).await;
    let city = &province.city;
    let (area, hospitals) = (CITIES[0].admdvs, CITIES[0].hospitals);
    let members = city.take_everybody().remove(area).expect("people of the area");
    let member = members.iter().find(|member| !member.person.level_1_only).expect("somebody who pays insured");
    let client = city.outside().client();
    let mut listeners = Vec::new();
    for url in city.platform_urls() {
        listeners.push(Listener::at(&url, client, member.phone().token()).await);
    }
    assert_eq!(listeners.len(), 2);
    for turn in 0..6 {
        let hospital = hospitals[turn % hospitals.len()].code;
        let story = Story::plain(turn % 2 == 0);
        for ended in member.live(&story, hospital, city.outside(), Duration::from_secs(60)).await {
            assert_eq!((ended.ending, ended.broken.as_slice()), (Ending::Completed, [].as_slice()), "{ended:?}");
            for order in ended.orders {
                for listener in &mut listeners {
                    assert_eq!(listener.hears(order, "completed").await, Ok(()), "order {order}");
                }
            }
        }
    }
    drop((listeners, members));
    let topic = city.platform_cli(&["events", "verify", "--wait", "60"], true).await.expect("it says");
    assert!(topic["findings"].as_array().is_some_and(Vec::is_empty), "{topic:#}");
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
    let onlooker = Onlooker::of(&province.city).await;
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
    let seen = onlooker.told().await;
    println!("{seen:#?}");
    assert!(seen.unclear.is_empty() && seen.answers > 0 && !seen.later.is_empty(), "{seen:#?}");
    province.prove().await;
}
