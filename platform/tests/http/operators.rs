//! What operators' machines are told: figures, and whether this process lives.

use std::sync::atomic::Ordering;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use platform::errands::measure;
use schema::link::{Reply, ToInstitution};
use schema::refusal::{Code, Refusal};

use crate::adapter::Adapter;
use crate::insured::{cash_in, proved};
use crate::payment::{AMOUNT, collecting, notify, paid};
use crate::world::{WANG, World, hear};

const PHONE: &str = "13800000001";

/// `GET /metrics` after somebody has looked at the books.
async fn figures(world: &World) -> String {
    measure::round(&world.ground, &world.metrics).await.expect("the books can be looked at");
    let said = hear(world.request("GET", "/metrics")).await;
    assert_eq!(said.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    said.done(200);
    String::from_utf8(said.bytes).expect("text")
}

/// The value behind a name with its labels.
fn value(figures: &str, name: &str) -> Option<f64> {
    let line = figures.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_count_a_payment_and_say_when_the_books_are_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("tongfu.db");
    let world = World::in_file(&path, |_| {}).await;
    let city = &world.cities[0];
    let before = figures(&world).await;
    assert_eq!(value(&before, r#"tongfu_orders{result="none",state="completed"}"#), None);
    assert_eq!(value(&before, "tongfu_books_balanced"), Some(1.0));
    let person = world.sign_in(0, PHONE).await;
    person.bind(WANG).await;
    let mut adapter = Adapter::connect(&world, city).await;
    let order = collecting(&mut adapter, &person, "B1").await;
    notify(&world, city, &paid(&order, AMOUNT)).await.done(204);
    assert!(matches!(adapter.work().await, ToInstitution::Settled(_)));
    person.until(&order, "completed").await;

    let after = figures(&world).await;
    for (name, count) in [
        (r#"tongfu_orders{result="none",state="completed"}"#, 1.0),
        ("tongfu_books_balanced", 1.0),
        (r#"tongfu_party_calls_total{call="person",party="bureau",result="done"}"#, 1.0),
        (r#"tongfu_party_calls_total{call="pre_settle",party="institution",result="done"}"#, 1.0),
        (r#"tongfu_party_calls_total{call="prepay",party="wallet",result="done"}"#, 1.0),
        ("tongfu_links_up", 1.0),
    ] {
        assert_eq!(value(&after, name), Some(count), "{name}:\n{after}");
    }
    let commits = value(&after, "tongfu_desk_batch_size_count");
    assert!(commits > Some(4.0), "an order takes more commits than {commits:?}");

    // A hand in the tables.
    let mut hand = SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("the file opens");
    let off = "UPDATE posting SET amount = amount + 1 WHERE account LIKE 'wallet:%'";
    hand.batch_execute(off).expect("changed");
    assert_eq!(value(&figures(&world).await, "tongfu_books_balanced"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_waits_for_a_person_is_counted_by_how_long_it_waits() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("tongfu.db");
    let world = World::in_file(&path, |settings| settings.deadlines.refund_ms = 1000).await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    // The hospital books nothing, and the bureau of these tests takes nothing back.
    adapter.instead = Some(Box::new(|ask| match ask {
        ToInstitution::Settled(_) => {
            Some(Reply::Refused(Refusal::new(Code::HospitalRefused, "no such visit").problem(None)))
        }
        _ => None,
    }));
    let order = cash_in(&world, &mut adapter, &person, PHONE, "B1").await;
    tokio::select! {
        never = adapter.works() => never,
        _ = person.until(&order, "suspended") => {}
    }
    let waiting = |figures: &str| {
        ["under_1h", "under_1d", "1d_or_more"]
            .map(|age| value(figures, &format!(r#"tongfu_suspended{{age_bucket="{age}"}}"#)))
    };
    assert_eq!(waiting(&figures(&world).await), [Some(1.0), Some(0.0), Some(0.0)]);
    // Since the day before yesterday, as a hand in the tables has it.
    let mut hand = SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("the file opens");
    hand.batch_execute(
        "UPDATE orders SET doc = json_set(doc, '$.entered_at_us', json_extract(doc, '$.entered_at_us') - 172800000000)",
    )
    .expect("changed");
    assert_eq!(waiting(&figures(&world).await), [Some(0.0), Some(0.0), Some(1.0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_lost_a_thread_asks_to_be_restarted() {
    let world = World::start().await;
    for path in ["/livez", "/readyz"] {
        hear(world.request("GET", path)).await.done(200);
        assert_eq!(hear(world.request("HEAD", path)).await.status, 200);
    }
    world.alive.store(false, Ordering::Relaxed);
    for path in ["/livez", "/readyz"] {
        hear(world.request("GET", path)).await.refused(503, "OVERLOADED");
        assert_eq!(hear(world.request("HEAD", path)).await.status, 503);
    }
    // What is under way goes on to be heard of.
    hear(world.request("GET", "/metrics")).await.done(200);
}
