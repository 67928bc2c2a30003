//! The city in which all arms are lived, and what they share: people, the list of orders, others' records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandbox::city::options::{COMPRESSED, Profile};
use sandbox::city::plan::CITIES;
use sandbox::city::{City, Options};
use sandbox::fault::{Fault, Rule};
use sandbox::people::outside::Outside;
use sandbox::people::payment::Member;
use sandbox::people::person::Person;
use schema::ids::OrderId;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cutter::Cutter;

/// 东湾市第一人民医院: where most arms are lived.
pub(crate) const FIRST: &str = "H44910100001";
/// 东湾市松湖医院: whose link drops.
pub(crate) const LAKE: &str = "H44910200002";
/// 恩江州中心医院: where people have a deductible, and the purse belongs to one arm at a time.
pub(crate) const FAR: &str = "H42910100001";
/// The far hospital's own merchant number at the wallet.
pub(crate) const FAR_MERCHANT: &str = "1900000201";

/// How long anything may take that does happen. Nobody waits for it to be over: everybody waits for a state.
pub(crate) const PATIENCE: Duration = Duration::from_secs(75);
/// Between two looks at the list of orders.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// How many people log in at the same time: a stampede would cost the first orders their deadlines.
const AT_THE_DOOR: usize = 4;
/// How often a person asks for a login code that does not come.
const ASKS_AT_THE_DOOR: usize = 4;
/// How long they wait for it each time.
const WAIT_AT_THE_DOOR: Duration = Duration::from_secs(20);

/// Every deadline is really reached, and none by a busy machine: patience is longer or shorter than in other cities as
/// that demands.
const DEADLINES: Profile = Profile {
    price_ms: 20_000,
    priced_ms: 30_000,
    code_ms: 15_000,
    bureau_limit_ms: 3_000,
    collect_ms: 18_000,
    tell_ms: 18_000,
    patience_ms: 30_000,
    refund_ms: 30_000,
    party_timeout_ms: 3_000,
    link_timeout_ms: 3_000,
    ..COMPRESSED
};

/// An order as the platform lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The public word.
    pub(crate) state: String,
    /// The place in the table.
    pub(crate) place: String,
    /// Why, where there is a reason.
    pub(crate) why: Option<String>,
}

/// The city.
pub(crate) struct World {
    pub(crate) city: City,
    pub(crate) outside: Outside,
    pub(crate) cutter: Arc<Cutter>,
    /// The far hospital's purse.
    pub(crate) purse: tokio::sync::Mutex<()>,
    /// The line to the lake: it drops for one arm at a time, or nobody there would get a price in time.
    pub(crate) line: tokio::sync::Mutex<()>,
    door: tokio::sync::Semaphore,
    urls: BTreeMap<String, String>,
    crowds: Mutex<BTreeMap<&'static str, VecDeque<Person>>>,
    listed: watch::Receiver<BTreeMap<String, Listed>>,
    listing: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// The area a hospital's patients are insured in.
fn area(hospital: &str) -> &'static str {
    let city = CITIES.iter().find(|city| city.hospitals.iter().any(|plan| plan.code == hospital));
    city.expect("a hospital of the plan").admdvs
}

impl World {
    /// Founds the city and starts it. Nobody is logged in yet.
    pub(crate) async fn found() -> World {
        let dir = tempfile::tempdir().expect("a folder");
        let cutter = Cutter::listen().await;
        let options = Options {
            seed: 9,
            faults_ppm: 0,
            plain: true,
            people: Some(220),
            concurrency: 1,
            dir: Some(dir.path().to_owned()),
            link_via: Some(cutter.url.clone()),
            profile: Some(DEADLINES),
            ..Options::default()
        };
        let city = City::start(options).await.expect("the city starts");
        cutter.leads_to(&city.platform_url().await.expect("the platform listens"));
        let urls = city.places().await.into_iter().map(|(name, url, _)| (name, url)).collect();
        let crowds = CITIES.iter().map(|plan| (plan.admdvs, city.crowd(plan.admdvs).into())).collect();
        let (shown, listed) = watch::channel(BTreeMap::new());
        let outside = city.outside().clone();
        let listing = tokio::spawn(list(city.platform_cli_recipe(&["order", "list", "--most", "100000"]), shown));
        World {
            city,
            outside,
            cutter,
            purse: tokio::sync::Mutex::default(),
            line: tokio::sync::Mutex::default(),
            door: tokio::sync::Semaphore::new(AT_THE_DOOR),
            urls,
            crowds: Mutex::new(crowds),
            listed,
            listing,
            _dir: dir,
        }
    }

    /// The books from every side; then everything stops.
    pub(crate) async fn prove(self) {
        let verdict = self.city.verdict().await.expect("a verdict");
        let shown = serde_json::to_string_pretty(&verdict).expect("JSON");
        assert!(verdict.is_sound(), "{shown}");
        assert_eq!(self.city.fallen().await, Vec::<String>::new(), "somebody fell");
        self.listing.abort();
        self.city.stop().await.expect("it stops");
    }

    /// Where a child listens.
    pub(crate) fn url(&self, name: &str) -> &str {
        self.urls.get(name).map(String::as_str).expect("a child of the city")
    }

    /// The bureau of a hospital's area.
    pub(crate) fn bureau(&self, hospital: &str) -> &str {
        self.url(&format!("bureau-{}", area(hospital)))
    }

    /// Somebody nobody has met yet who fits, logged in, bound at level 2.
    pub(crate) async fn somebody(&self, hospital: &str, fits: impl Fn(&Person) -> bool) -> Member {
        let area = area(hospital);
        let person = {
            let mut crowds = self.crowds.lock().unwrap_or_else(PoisonError::into_inner);
            let crowd = crowds.get_mut(area).expect("a crowd");
            let at = crowd.iter().position(|person| !person.level_1_only && person.child.is_none() && fits(person));
            at.and_then(|at| crowd.remove(at)).expect("enough people")
        };
        let entrance = self.city.entrance(area).await.expect("a way in");
        let _turn = self.door.acquire().await.expect("the door is never closed");
        let mut last = None;
        for _ in 0..ASKS_AT_THE_DOOR {
            let deadline = Instant::now() + WAIT_AT_THE_DOOR;
            match Member::settle_in(person.clone(), &entrance, &self.outside, deadline).await {
                Ok(member) => return member,
                Err(trouble) => last = Some(trouble),
            }
        }
        fail(&format!("a person cannot log in: {last:?}"))
    }

    /// Something goes wrong at a counterparty (by its address), `times` times or until the storm ends.
    pub(crate) async fn fault(&self, url: &str, operation: &str, subject: &str, fault: Fault, times: Option<u32>) {
        let rule =
            Rule { operation: operation.to_owned(), subject: Some(subject.to_owned()), share_ppm: None, times, fault };
        let page = format!("{url}/sandbox/faults");
        let posted = until_heard(|| async {
            self.outside.post(page.clone(), &json!(rule)).await.filter(|(status, _)| *status == 200)
        });
        posted.await;
    }

    /// The storm about one subject is over.
    pub(crate) async fn calm(&self, url: &str, subject: &str) {
        let url = format!("{url}/sandbox/faults?subject={subject}");
        let sent = until_heard(|| async {
            let sent = self.outside.client().delete(&url).send().await.ok()?;
            sent.status().is_success().then_some(())
        });
        sent.await;
    }

    /// A page of a counterparty.
    pub(crate) async fn page(&self, url: String) -> Value {
        let page = until_heard(|| async { self.outside.client().get(&url).send().await.ok()?.json().await.ok() });
        page.await
    }

    /// Waits until the platform lists an order so that it fits. Fails with what is listed instead.
    pub(crate) async fn listed(&self, order: OrderId, what: &str, fits: impl Fn(&Listed) -> bool) -> Listed {
        let mut listed = self.listed.clone();
        let key = order.to_string();
        let found = listed.wait_for(|orders| orders.get(&key).is_some_and(&fits));
        if let Ok(Ok(orders)) = tokio::time::timeout(PATIENCE, found).await {
            return orders.get(&key).cloned().unwrap_or_default();
        }
        let instead = self.listed.borrow().get(&key).cloned();
        let events = self.events(order).await;
        fail(&format!("wanted {what}, listed is {instead:?} after {events:?}"))
    }

    /// `platform order show`.
    pub(crate) async fn story(&self, order: OrderId) -> Value {
        self.city.platform_cli(&["order", "show", &order.to_string()], false).await.expect("the order's story")
    }

    /// What happened to an order, oldest first.
    pub(crate) async fn events(&self, order: OrderId) -> Vec<String> {
        let story = self.story(order).await;
        let rows = story["history"].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["event"].as_str().map(str::to_owned)).collect()
    }
}

/// Asks a counterparty until it answers: a busy machine lets a request run out of time now and then.
async fn until_heard<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        if Instant::now() >= until {
            fail("a counterparty does not answer");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The trial fails.
#[expect(clippy::panic, reason = "a trial fails by panicking, and not every failure is a comparison")]
pub(crate) fn fail(why: &str) -> ! {
    panic!("{why}")
}

/// Looks at the list of orders for everybody.
async fn list(question: sandbox::city::child::Recipe, shown: watch::Sender<BTreeMap<String, Listed>>) {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    loop {
        if let Ok(rows) = question.answer(false).await {
            let rows = rows.as_array().cloned().unwrap_or_default();
            let orders = rows.iter().map(|row| {
                let listed = Listed {
                    state: text(row, "state"),
                    place: text(row, "place"),
                    why: row["why"].as_str().map(str::to_owned),
                };
                (text(row, "id"), listed)
            });
            let orders = orders.collect();
            shown.send_if_modified(|before| {
                let changed = *before != orders;
                *before = orders;
                changed
            });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
