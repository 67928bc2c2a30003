//! The open loop: payments arrive on their own clock, and whoever is late is late from the moment of their arrival.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sandbox::city::options::{COMPRESSED, Profile};
use sandbox::city::plan::CITIES;
use sandbox::city::{self, City};
use sandbox::people::payment::Member;
use schema::money::Fen;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engines::{Choice, Engines};
use crate::figures::Figures;
use crate::idle::{self, Idle};
use crate::journey;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::{Options, costs, lost, nice, own_share};

/// Real deadlines would outlive the run; the compressed ones are so short that a busy machine would pass them.
pub(crate) const PROFILE: Profile = Profile {
    price_ms: 60_000,
    priced_ms: 60_000,
    code_ms: 60_000,
    collect_ms: 60_000,
    ask_wallet_ms: 5_000,
    ask_again_ms: 2_000,
    tell_ms: 60_000,
    party_timeout_ms: 30_000,
    link_timeout_ms: 45_000,
    person_ms: 120_000,
    ..COMPRESSED
};

/// An account that pays whatever a bench comes to.
pub(crate) const COVERS: Fen = Fen::new(1_000_000_000);

/// People who are free, and what is seen.
pub(crate) struct Crowd {
    free: Mutex<Free>,
    figures: Mutex<Figures>,
}

/// By city.
pub(crate) type Free = BTreeMap<&'static str, VecDeque<Arc<Member>>>;

impl Crowd {
    /// These people, and nothing seen yet.
    pub(crate) fn of(free: Free) -> Arc<Crowd> {
        Arc::new(Crowd { free: Mutex::new(free), figures: Mutex::default() })
    }

    /// What was seen since the last time.
    pub(crate) fn take_figures(&self) -> Figures {
        std::mem::take(&mut *lock(&self.figures))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How payments arrive, and for how long.
pub(crate) struct Load {
    pub(crate) scenario: Scenario,
    /// Mean arrivals a second.
    pub(crate) rate: u32,
    /// Seconds before counting, and seconds that count.
    pub(crate) warm_up: u32,
    pub(crate) seconds: u32,
    pub(crate) seed: u64,
}

/// Until there are as many payments at a time as there are to be.
const RAMP: Duration = Duration::from_secs(3);

/// What was seen of a press.
pub(crate) struct Pressed<T> {
    /// Payments that were completed between the two marks.
    pub(crate) payments: u64,
    pub(crate) took: Duration,
    /// What was marked before and after.
    pub(crate) marks: [T; 2],
}

/// As many payments at a time as there are `payers`, each following the last at once: the most that the city can do.
/// Counted is what lies between two marks, when all of them are under way; then the last ones are let end.
pub(crate) async fn press<T>(
    city: &Arc<City>,
    crowd: &Arc<Crowd>,
    payers: usize,
    time: Duration,
    mark: impl Fn() -> io::Result<T>,
) -> io::Result<Pressed<T>> {
    let hospitals = hospitals();
    let began = Instant::now();
    let over = Arc::new(AtomicBool::new(false));
    let mut under_way = JoinSet::new();
    for number in 0..payers {
        let (city, crowd, hospitals) = (Arc::clone(city), Arc::clone(crowd), hospitals.clone());
        let over = Arc::clone(&over);
        under_way.spawn(async move {
            let mut turn = number;
            while !over.load(Ordering::Relaxed) {
                let (admdvs, institution) = hospitals[turn % hospitals.len()];
                turn += 1;
                let member = lock(&crowd.free).get_mut(admdvs).and_then(VecDeque::pop_front);
                let Some(member) = member else {
                    lock(&crowd.figures).nobody_free += 1;
                    return;
                };
                lock(&crowd.figures).arrived(began.elapsed(), true);
                let told = journey::pay(&member, institution, city.outside(), Instant::now(), PROFILE.person()).await;
                lock(&crowd.free).entry(admdvs).or_default().push_back(member);
                lock(&crowd.figures).ended(began.elapsed(), true, told);
            }
        });
    }
    tokio::time::sleep(RAMP).await;
    let (before, marked) = (mark()?, Instant::now());
    let already = lock(&crowd.figures).completed;
    tokio::time::sleep_until(marked + time).await;
    let payments = lock(&crowd.figures).completed - already;
    let took = marked.elapsed();
    let after = mark()?;
    over.store(true, Ordering::Relaxed);
    while under_way.join_next().await.is_some() {}
    Ok(Pressed { payments, took, marks: [before, after] })
}

/// Runs the scenario and proves the books.
pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let dir = std::env::temp_dir().join(format!("tongfu-load-{}", std::process::id()));
    let ground = nice::Ground::make(dir, options.engines == Choice::Embedded)?;
    let engines = Engines::start(options.engines, ground.dir())?;
    let city = City::start(city::Options {
        seed: options.seed,
        people: Some(options.people),
        dir: Some(ground.city()),
        platform_bin: options.platform_bin.clone(),
        profile: Some(PROFILE),
        platform_env: engines.settings().to_vec(),
        replicas: options.scenario.replicas(options.replicas),
        plain: true,
        ..city::Options::default()
    })
    .await?;
    city.settle_in().await?;
    let crowd = Crowd::of(everybody(&city));
    options.scenario.prepare(&city).await?;
    let mut pids = city.pids().await;
    pids.extend(engines.pids());
    nice::give_way(&pids)?;
    let idle = match (options.scenario, pids.get(city::town::PLATFORM)) {
        (Scenario::ManyInstitutions, Some(pid)) => Some(Idle::connect(&city, *pid, idle::LINKS).await?),
        _ => None,
    };

    let city = Arc::new(city);
    let load = options.load();
    let a_third_in = Duration::from_secs((load.warm_up + load.seconds / 3).into());
    let losing = async {
        match (options.scenario, engines.postgres(), engines.store_url()) {
            (Scenario::LostReplica, Some(postgres), Some(url)) => {
                lost::lose(&city, postgres, url, a_third_in).await.map(Some)
            }
            _ => Ok(None),
        }
    };
    let half_warm = Duration::from_secs(load.warm_up.into()) / 2;
    let knowing = async {
        tokio::time::sleep(half_warm).await;
        engines.gather_statistics()
    };
    let answered = own_share::seen(&city).await?;
    let ((before, took), lost, known) = tokio::join!(arrive(&load, &city, &crowd, &pids), losing, knowing);
    known?;
    let lost = lost?;
    // A process that was killed has forgotten what it answered.
    let own_share = match &lost {
        None => own_share::seen(&city).await?.since(&answered),
        Some(_) => serde_json::Value::Null,
    };
    let spent = costs::spent(&pids);
    let peak_kib = pids.get(city::town::PLATFORM).and_then(|pid| costs::peak_kib(*pid));
    city.set_faults(0).await?;
    let verdict = city.verdict().await?;
    let topic = topic(&city).await?;
    let fallen = city.fallen().await;
    let Ok(city) = Arc::try_unwrap(city) else { return Err(io::Error::other("somebody still pays")) };
    city.stop().await?;
    drop(engines);
    let figures = crowd.take_figures();
    let mut report = Report::new(options, figures, verdict, fallen, took, &before, &spent, peak_kib);
    report.topic = topic;
    report.bytes_per_idle_link = idle.map(|idle| idle.bytes_per_link);
    report.lost = lost;
    report.own_share_ms = own_share;
    if report.is_sound() {
        ground.remove()?;
    } else {
        eprintln!("现场保留在 everything is kept in {}", ground.dir().display());
    }
    Ok(report)
}

/// What `platform events verify` finds: nothing, where the topic is the store's history. The last records may be on their
/// way for a minute.
pub(crate) async fn topic(city: &City) -> io::Result<Vec<String>> {
    let told = city.platform_cli(&["events", "verify", "--wait", "60"], true).await?;
    match told["findings"].as_array() {
        Some(findings) => Ok(findings.iter().map(|finding| format!("events: {finding}")).collect()),
        None => Ok(vec![format!("events: {told}")]),
    }
}

/// Where people are treated: city and institution.
pub(crate) fn hospitals() -> Vec<(&'static str, &'static str)> {
    CITIES.iter().flat_map(|plan| plan.hospitals.iter().map(|hospital| (plan.admdvs, hospital.code))).collect()
}

/// Everybody who lives in a city.
pub(crate) fn everybody(city: &City) -> Free {
    let mut everybody = city.take_everybody();
    CITIES.iter().map(|plan| (plan.admdvs, everybody.remove(plan.admdvs).unwrap_or_default().into())).collect()
}

/// Those whose accounts pay whatever the fund does not, in a city founded with accounts of [`COVERS`]: no wallet has a
/// part.
pub(crate) fn without_cash(city: &City) -> Free {
    let covers = |member: &Arc<Member>| {
        let person = &member.person;
        !person.level_1_only && person.own.register.balance_fen >= COVERS
    };
    let mut free = everybody(city);
    free.values_mut().for_each(|members| members.retain(covers));
    free
}

/// Lets payments arrive and waits for the last; what had been spent when counting began, and how long was counted.
pub(crate) async fn arrive(
    load: &Load,
    city: &Arc<City>,
    crowd: &Arc<Crowd>,
    pids: &BTreeMap<String, u32>,
) -> (costs::Spent, Duration) {
    let mut dice = ChaCha8Rng::seed_from_u64(load.seed);
    let hospitals = hospitals();
    let warm = Duration::from_secs(load.warm_up.into());
    let end = warm + Duration::from_secs(load.seconds.into());
    let began = Instant::now();
    let mut before = None;
    let mut at = Duration::ZERO;
    let mut under_way = JoinSet::new();
    loop {
        at = load.scenario.next(at, load.rate, &mut dice);
        if at >= end {
            break;
        }
        tokio::time::sleep_until(began + at).await;
        let counts = at >= warm;
        if counts && before.is_none() {
            before = Some(costs::spent(pids));
        }
        let (admdvs, institution) = hospitals[dice.random_range(0..hospitals.len())];
        let member = lock(&crowd.free).get_mut(admdvs).and_then(VecDeque::pop_front);
        let Some(member) = member else {
            lock(&crowd.figures).nobody_free += 1;
            continue;
        };
        let aside = load.scenario.stands_aside(institution);
        if !aside {
            lock(&crowd.figures).arrived(at, counts);
        }
        let (city, crowd) = (Arc::clone(city), Arc::clone(crowd));
        under_way.spawn(async move {
            let told = journey::pay(&member, institution, city.outside(), began + at, PROFILE.person()).await;
            lock(&crowd.free).entry(admdvs).or_default().push_back(member);
            let mut figures = lock(&crowd.figures);
            if aside {
                figures.aside(told);
            } else {
                figures.ended(began.elapsed(), counts, told);
            }
        });
    }
    tokio::time::sleep_until(began + end).await;
    while under_way.join_next().await.is_some() {}
    (before.unwrap_or_default(), began.elapsed().saturating_sub(warm))
}
