//! The bench: a whole city on PostgreSQL, Redis and Kafka, and beside it, in turns within one run, `pgbench` writing the
//! very rows that its payments write. Ratios of one run mean something on a noisy machine; figures alone hardly do.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use sandbox::city::{self, City, town};
use sandbox::engines::postgres::Postgres;
use serde_json::{Map, Value, json};

use crate::costs;
use crate::drive::{self, Crowd, Load, PROFILE};
use crate::engines::{Choice, Engines, settle};
use crate::idle::{self, Idle};
use crate::journey::Step;
use crate::peer::Peer;
use crate::scenario::Scenario;
use crate::turn::{Taken, Turn, Turns, less, median, milli, owned, peer_turn, ratio, since, spread, written};
use crate::{nice, own_share, signatures, stored};

/// Payments before the first turn.
const WARM_UP: Duration = Duration::from_secs(60);

/// Seconds at half load before they count.
const CALM: u32 = 8;

/// `loadtest bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// 轮数 / turns of each
    #[arg(long, default_value_t = 3)]
    turns: u32,
    /// 每轮秒数 / seconds a turn
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// 同时支付人数 / payments at a time
    #[arg(long, default_value_t = 128)]
    payers: usize,
    /// 每城人数 / people per city
    #[arg(long, default_value_t = 400)]
    people: u32,
    /// 随机种子 / feeds all dice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// 结果文件 / where the figures go
    #[arg(long, default_value = "target/bench.json")]
    out: PathBuf,
    /// 只由个人账户足够的人支付，不经微信支付 / only people pay whose accounts cover their part: without the wallet's RSA
    #[arg(long)]
    without_cash: bool,
    /// 再存入多少笔已完成的支付后重测 / measures again with so many finished payments more in the store
    #[arg(long, default_value_t = 0)]
    stored: u64,
    /// 单独测量写台的程序 / the program that drives the desk alone (`platform/examples/desk.rs`)
    #[arg(long)]
    desk_bin: Option<PathBuf>,
}

/// Runs it, prints it and leaves it in a file.
pub(crate) async fn run(options: &Options) -> io::Result<ExitCode> {
    let dir = std::env::temp_dir().join(format!("tongfu-bench-{}", std::process::id()));
    let ground = nice::Ground::make(dir, false)?;
    let dir = ground.dir();
    eprintln!("取样 taking the rows of a few payments");
    let own = city::Options {
        seed: options.seed,
        profile: Some(PROFILE),
        plain: true,
        account: options.without_cash.then_some(drive::COVERS),
        ..city::Options::default()
    };
    let people = if options.without_cash { drive::without_cash } else { drive::everybody };
    let peer = Peer::of_a_city(&dir.join("peer"), own.clone(), people).await?;
    let engines = Engines::start(Choice::Real, dir)?;
    let postgres = engines.postgres().ok_or_else(|| io::Error::other("no database server"))?;
    let url = engines.store_url().ok_or_else(|| io::Error::other("no database"))?.to_owned();
    let beside = peer.database(postgres)?;
    let city = City::start(city::Options {
        people: Some(options.people),
        dir: Some(ground.city()),
        platform_env: engines.settings().to_vec(),
        ..own
    })
    .await?;
    city.settle_in().await?;
    let crowd = Crowd::of(people(&city));
    let mut pids = city.pids().await;
    pids.extend(engines.pids());
    nice::give_way(&pids)?;
    // Before any load: afterwards links would find room in what the load has left.
    let per_link = match pids.get(town::PLATFORM) {
        Some(pid) => Some(Idle::connect(&city, *pid, idle::LINKS).await?.bytes_per_link),
        None => None,
    };
    let (city, time) = (Arc::new(city), Duration::from_secs(options.seconds.into()));

    eprintln!("热身 warming up");
    let costs_ns = signatures::costs_ns()?;
    // A broker on a virtual machine compiles itself for the first minute, and the database has no statistics yet.
    drive::press(&city, &crowd, options.payers, WARM_UP, || Ok(())).await?;
    engines.gather_statistics()?;
    peer.run(postgres, &beside, Duration::from_secs(5), 0)?;
    crowd.take_figures();
    let turns = Turns {
        city: Arc::clone(&city),
        crowd: Arc::clone(&crowd),
        pids: &pids,
        postgres,
        url: &url,
        peer: &peer,
        beside: &beside,
        payers: options.payers,
        time,
    };
    let mut sheet = Sheet::at(&options.out)?;
    let signed = signatures::counted(&city).await?;
    let Taken { whole, peer: rows, completed, again } = turns.take(0..options.turns).await?;
    let signed_since = signatures::counted(&city).await?;
    let by_wallet = options.without_cash && signatures::made_by_rsa(&signed, &signed_since) > 0;
    let signed = signatures::report(&signed, &signed_since, &costs_ns, completed);
    tell(&mut sheet, &whole, &rows, &peer);
    sheet.tell("signatures", signed);
    if options.without_cash {
        sheet.tell("a_wallet_had_a_part", json!(by_wallet));
    }
    sheet.tell("authorised_again", json!(again));
    sheet.tell("bytes_per_idle_link", json!(per_link));
    sheet.keep()?;
    let top_milli = median(&whole, Turn::per_s_milli);
    let rate = u32::try_from(top_milli / 2000).unwrap_or(1).max(1);
    eprintln!("半载 half of the top rate: {rate}/s");
    let half = |seconds| Load { scenario: Scenario::Steady, rate, warm_up: 0, seconds, seed: options.seed };
    // What the last turn has left behind is not this load's.
    settle(postgres, &url)?;
    drive::arrive(&half(CALM), &city, &crowd, &pids).await;
    crowd.take_figures();
    let before = own_share::seen(&city).await?;
    drive::arrive(&half(options.seconds), &city, &crowd, &pids).await;
    sheet.tell("half_rate_per_s", json!(rate));
    sheet.tell("own_share_ms_at_half_rate", own_share::seen(&city).await?.since(&before));
    sheet.tell("phones_share_ms_at_half_rate", phones_share(&crowd.take_figures()));
    sheet.keep()?;
    if options.stored > 0 {
        sheet.tell("stored", with_stored(&turns, options.stored, options.turns, (&whole, &rows)).await?);
    }
    drop(turns);
    sheet.tell("platform_peak_kib", json!(pids.get(town::PLATFORM).and_then(|pid| costs::peak_kib(*pid))));
    sheet.keep()?;
    let verdict = city.verdict().await?;
    let topic = drive::topic(&city).await?;
    let sound = verdict.is_sound() && verdict.is_at_rest() && topic.is_empty() && !by_wallet;
    sheet.tell("topic_findings", json!(topic));
    sheet.tell("books_balance", json!(verdict.books_balance && verdict.sides_agree));
    sheet.tell("charged_twice", json!(verdict.charged_twice));
    sheet.keep()?;
    let Ok(city) = Arc::try_unwrap(city) else { return Err(io::Error::other("somebody still pays")) };
    city.stop().await?;

    if let Some((desks, peers)) = desk_alone(options, dir, postgres, &pids, time)? {
        let ratio = ratio(median(&desks, Turn::per_s_milli), median(&peers, Turn::per_s_milli));
        sheet.tell("store_ratio", milli(ratio));
        sheet.tell("desk_payments_per_s", spread(&desks, Turn::per_s_milli));
        sheet.tell("pgbench_desk_rows_payments_per_s", spread(&peers, Turn::per_s_milli));
        let cpu = |turn: &Turn| turn.cpu_us(&["generator", "postgres"]);
        sheet.tell("desk_cpu_ms_per_payment", spread(&desks, cpu));
        sheet.tell("pgbench_desk_rows_cpu_ms_per_payment", spread(&peers, cpu));
    }
    drop(engines);
    sheet.tell("complete", json!(true));
    println!("{}", sheet.keep()?);
    if sound {
        ground.remove()?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The figures, in their file as soon as there are any: a run takes half an hour, and its last part may fail.
struct Sheet<'a> {
    figures: Map<String, Value>,
    path: &'a Path,
}

impl<'a> Sheet<'a> {
    /// An empty one. What an earlier run left there is gone at once: it would pass for this one's.
    fn at(path: &'a Path) -> io::Result<Sheet<'a>> {
        let mut sheet = Sheet { figures: Map::new(), path };
        sheet.tell("complete", json!(false));
        sheet.keep()?;
        Ok(sheet)
    }

    fn tell(&mut self, name: &str, figure: Value) {
        self.figures.insert(name.to_owned(), figure);
    }

    /// Leaves what there is in the file; the text of it.
    fn keep(&self) -> io::Result<String> {
        let text = serde_json::to_string_pretty(&self.figures)?;
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(self.path, &text)?;
        Ok(text)
    }
}

/// What `make bench` is asked about first.
fn tell(sheet: &mut Sheet<'_>, whole: &[Turn], rows: &[Turn], peer: &Peer) {
    let (transactions, changed, scripts) = peer.size();
    let per_script = |number: usize| milli((number * 1000 / scripts.max(1)) as u64);
    sheet.tell("payments_per_s", spread(whole, Turn::per_s_milli));
    sheet.tell("pgbench_payments_per_s", spread(rows, Turn::per_s_milli));
    sheet.tell("pgbench_transactions_per_payment", per_script(transactions));
    sheet.tell("pgbench_rows_per_payment", per_script(changed));
    let peer_cpu = |turn: &Turn| turn.cpu_us(&["generator", "postgres"]);
    let whole_cpu = |turn: &Turn| turn.cpu_us(&["platform", "postgres", "redis", "kafka"]);
    sheet.tell("cpu_ratio", milli(ratio(median(rows, peer_cpu), median(whole, whole_cpu))));
    sheet.tell("pgbench_cpu_ms_per_payment", spread(rows, peer_cpu));
    let mut cpu = Map::new();
    for group in ["platform", "postgres", "redis", "kafka", "adapters", "sandbox", "generator"] {
        cpu.insert(group.into(), spread(whole, |turn: &Turn| turn.cpu_us(&[group])));
    }
    sheet.tell("cpu_ms_per_payment", Value::Object(cpu));
    for (place, name) in ["wal_bytes_per_payment", "commits_per_payment", "flushes_per_payment"].into_iter().enumerate()
    {
        let of = |turn: &Turn| turn.written[place] * 1000 / turn.payments.max(1);
        sheet.tell(name, json!({"city": spread(whole, of), "pgbench": spread(rows, of)}));
    }
}

/// Turns as before, with so many finished payments more in the store. `kept` is what is left of the throughput, each set
/// of turns measured by the peer's in the same minutes, whose own database stays as it was.
async fn with_stored(
    turns: &Turns<'_>,
    orders: u64,
    number: u32,
    (empty, beside_empty): (&[Turn], &[Turn]),
) -> io::Result<Value> {
    eprintln!("存入 storing {orders} payments");
    let took = stored::fill(turns.postgres, turns.url, orders)?;
    eprintln!("存入用时 took {} s", took.as_secs());
    // As before the first turns: a store that has run for years has in memory what it works with.
    drive::press(&turns.city, &turns.crowd, turns.payers, WARM_UP, || Ok(())).await?;
    turns.crowd.take_figures();
    let Taken { whole, peer, .. } = turns.take(number..2 * number).await?;
    let of_peer =
        |whole: &[Turn], peer: &[Turn]| ratio(median(whole, Turn::per_s_milli), median(peer, Turn::per_s_milli));
    Ok(json!({
        "orders": orders,
        "payments_per_s": spread(&whole, Turn::per_s_milli),
        "pgbench_payments_per_s": spread(&peer, Turn::per_s_milli),
        "cpu_ms_per_payment_postgres": spread(&whole, |turn: &Turn| turn.cpu_us(&["postgres"])),
        "kept": milli(ratio(of_peer(&whole, &peer), of_peer(empty, beside_empty))),
    }))
}

/// The same answers as the phones see them.
fn phones_share(half: &crate::figures::Figures) -> Value {
    let mut steps = Map::new();
    for step in [Step::Open, Step::Pay] {
        if let Some([p50, p95, p99, _]) = half.percentiles(step) {
            steps.insert(step.name().into(), json!({"p50": milli(p50), "p95": milli(p95), "p99": milli(p99)}));
        }
    }
    Value::Object(steps)
}

/// The desk and PostgreSQL alone, and `pgbench` on the rows that the desk alone writes, in turns.
fn desk_alone(
    options: &Options,
    dir: &Path,
    postgres: &Postgres,
    pids: &BTreeMap<String, u32>,
    time: Duration,
) -> io::Result<Option<(Vec<Turn>, Vec<Turn>)>> {
    let Some(program) = &options.desk_bin else { return Ok(None) };
    eprintln!("写台 the desk alone");
    let drive = |url: &str, payments: u64, at_once: u64, seed: u64| -> io::Result<Duration> {
        let mut desk = Command::new(program);
        desk.args(["--url", url]).arg(format!("--payments={payments}"));
        let output = desk.arg(format!("--at-once={at_once}")).arg(format!("--seed={seed}")).output()?;
        let told: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| io::Error::other(format!("{error}: {}", String::from_utf8_lossy(&output.stderr))))?;
        if told["books_balance"] != json!(true) {
            return Err(io::Error::other("the desk's books are off"));
        }
        Ok(Duration::from_micros(told["took_us"].as_u64().unwrap_or_default()))
    };
    let migrate = |url: &str| drive_migration(options, url);
    let peer = Peer::of_one_at_a_time(&dir.join("desk"), migrate, |url, seed| drive(url, 1, 1, 100 + seed).map(drop))?;
    let (url, beside) = (postgres.database(None)?, peer.database(postgres)?);
    migrate(&url)?;
    let only: BTreeMap<String, u32> = pids.iter().filter(|(name, _)| *name == "postgres").map(owned).collect();
    let many = u64::from(options.seconds) * 1_000;
    drive(&url, many, 256, 1)?;
    peer.run(postgres, &beside, Duration::from_secs(5), 0)?;
    let (mut desks, mut peers) = (Vec::new(), Vec::new());
    for turn in 0..options.turns {
        let (before, wrote, ended) = (costs::spent(&only), written(postgres, &url)?, costs::of_ended_ms());
        let took = drive(&url, many, 256, 2 + u64::from(turn))?;
        let mut cpu_ms = less(&costs::spent(&only), &before);
        cpu_ms.insert("generator", costs::of_ended_ms() - ended);
        desks.push(Turn { payments: many, took, cpu_ms, written: since(&written(postgres, &url)?, &wrote) });
        peers.push(peer_turn(&peer, postgres, &beside, time, u64::from(turn + 1) * 10_000_000, pids)?);
    }
    Ok(Some((desks, peers)))
}

/// Makes the tables, as an operator does.
fn drive_migration(options: &Options, url: &str) -> io::Result<()> {
    let beside = std::env::current_exe()?.with_file_name("platform");
    let config = options.out.with_extension("toml");
    std::fs::write(&config, format!("[store]\nurl = \"{url}\"\n[ephemeral]\nurl = \"redis://127.0.0.1:1\"\n"))?;
    let output = Command::new(beside).arg("--config").arg(&config).arg("migrate").output()?;
    std::fs::remove_file(&config)?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("platform migrate: {}", String::from_utf8_lossy(&output.stderr))))
}
