//! The peer: `pgbench`, which writes the very rows that payments of this city wrote ([`crate::rows`]).

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sandbox::city::{self, City};
use sandbox::engines::postgres::Postgres;
use sandbox::engines::redis::Redis;
use tokio::time::Instant;

use crate::drive::{Free, PROFILE};
use crate::journey;
use crate::rows::{Keys, Script, script, transactions};

/// Payments whose rows are taken: some are for cash only, some spend an account, some have a child's bill.
const PAYMENTS: usize = 8;
/// As many as a city's replicas would have.
const CLIENTS: &str = "16";
/// People per city; enough of them can pay without cash.
const CITY: u32 = 80;
const SLOT: &str = "tongfu";
/// What happens beside a payment (records are published, messages sent) is done by then.
const BESIDE: Duration = Duration::from_secs(20);

/// Scripts, and the database they begin with.
pub(crate) struct Peer {
    dir: PathBuf,
    scripts: Vec<Script>,
}

/// What `pgbench` did.
pub(crate) struct Run {
    /// Payments written.
    pub(crate) payments: u64,
    /// For so long.
    pub(crate) took: Duration,
}

impl Peer {
    /// Lets a few of these people pay in a small city whose database tells what it writes.
    pub(crate) async fn of_a_city(dir: &Path, options: city::Options, people: fn(&City) -> Free) -> io::Result<Peer> {
        let (postgres, url) = telling(dir)?;
        let redis = Redis::obtain()?;
        let records = dir.join("records.jsonl");
        let platform_env = [
            ("TONGFU__STORE__URL", url.clone()),
            ("TONGFU__EPHEMERAL__URL", redis.url().to_owned()),
            ("TONGFU__EVENTS__URL", format!("file:{}", records.display())),
        ];
        let platform_env = platform_env.map(|(name, value)| (name.to_owned(), value)).into();
        let options = city::Options { dir: Some(dir.join("city")), platform_env, people: Some(CITY), ..options };
        let city = City::start(options).await?;
        city.settle_in().await?;
        let scripts = payments(&city, people(&city), &postgres, &url).await?;
        city.stop().await?;
        Peer::kept(dir, scripts, &postgres, &url)
    }

    /// The same of whatever `pay` does with a database that `migrate` has made, by itself, given a number.
    pub(crate) fn of_one_at_a_time(
        dir: &Path,
        migrate: impl Fn(&str) -> io::Result<()>,
        pay: impl Fn(&str, u64) -> io::Result<()>,
    ) -> io::Result<Peer> {
        let (postgres, url) = telling(dir)?;
        migrate(&url)?;
        let keys = keys(&postgres, &url)?;
        listen(&postgres, &url)?;
        let mut scripts = Vec::with_capacity(PAYMENTS);
        for number in 0..PAYMENTS as u64 {
            pay(&url, number)?;
            scripts.push(script(&transactions(heard(&postgres, &url)?.lines()), &keys));
        }
        Peer::kept(dir, scripts, &postgres, &url)
    }

    fn kept(dir: &Path, scripts: Vec<Script>, postgres: &Postgres, url: &str) -> io::Result<Peer> {
        postgres.ask(url, &format!("SELECT pg_drop_replication_slot('{SLOT}')"))?;
        let peer = Peer { dir: dir.to_owned(), scripts };
        for (number, script) in peer.scripts.iter().enumerate() {
            std::fs::write(peer.script(number), &script.text)?;
        }
        finished(Command::new(postgres.programs().join("pg_dump")).arg("--file").arg(peer.dump()).arg(url))?;
        Ok(peer)
    }

    fn script(&self, number: usize) -> PathBuf {
        self.dir.join(format!("payment-{number}.sql"))
    }

    fn dump(&self) -> PathBuf {
        self.dir.join("begin.sql")
    }

    /// Transactions and rows of all scripts together, and how many scripts there are.
    pub(crate) fn size(&self) -> (usize, usize, usize) {
        let sum = |of: fn(&Script) -> usize| self.scripts.iter().map(of).sum();
        (sum(|script| script.transactions), sum(|script| script.rows), self.scripts.len())
    }

    /// A database as it was before the first payment.
    pub(crate) fn database(&self, postgres: &Postgres) -> io::Result<String> {
        let url = postgres.database(None)?;
        finished(Command::new(postgres.programs().join("psql")).args(["-qX", "-d", &url, "-f"]).arg(self.dump()))?;
        postgres.ask(&url, "ANALYZE")?;
        Ok(url)
    }

    /// Writes for so long; every script as often as every other. `from` is a number that no run on this database had.
    pub(crate) fn run(&self, postgres: &Postgres, url: &str, time: Duration, from: u64) -> io::Result<Run> {
        let mut pgbench = Command::new(postgres.programs().join("pgbench"));
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--client", CLIENTS, "--jobs=2", "--random-seed=1"]);
        pgbench.arg(format!("--time={}", time.as_secs())).arg(format!("--define=i={from}"));
        for number in 0..self.scripts.len() {
            pgbench.arg("--file").arg(self.script(number));
        }
        let output = pgbench.arg(url).output()?;
        let told = String::from_utf8_lossy(&output.stdout);
        let failed = || io::Error::other(format!("pgbench: {told}{}", String::from_utf8_lossy(&output.stderr)));
        let number = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let payments = number("number of transactions actually processed:").ok_or_else(failed)?;
        if !output.status.success() || number("number of failed transactions:").is_some_and(|failed| failed > 0) {
            return Err(failed());
        }
        Ok(Run { payments, took: time })
    }
}

/// A server that tells what it writes, with an empty database.
fn telling(dir: &Path) -> io::Result<(Postgres, String)> {
    std::fs::create_dir_all(dir)?;
    let postgres = Postgres::start(&dir.join("postgres"), &["wal_level=logical"])?;
    let url = postgres.database(None)?;
    Ok((postgres, url))
}

fn listen(postgres: &Postgres, url: &str) -> io::Result<()> {
    postgres.ask(url, &format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'test_decoding')")).map(drop)
}

/// What was written since the last time.
fn heard(postgres: &Postgres, url: &str) -> io::Result<String> {
    postgres.ask(url, &format!("SELECT data FROM pg_logical_slot_get_changes('{SLOT}', NULL, NULL)"))
}

async fn payments(city: &City, mut people: Free, postgres: &Postgres, url: &str) -> io::Result<Vec<Script>> {
    let keys = keys(postgres, url)?;
    // Quiet first: whatever setting up the city still writes is no payment's.
    quiet(postgres, url).await?;
    listen(postgres, url)?;
    let mut scripts = Vec::with_capacity(PAYMENTS);
    let hospitals = crate::drive::hospitals();
    for number in 0..PAYMENTS {
        let (admdvs, institution) = hospitals[number % hospitals.len()];
        let member = people.get_mut(admdvs).and_then(std::collections::VecDeque::pop_front);
        let member = member.ok_or_else(|| io::Error::other("nobody is free"))?;
        let told = journey::pay(&member, institution, city.outside(), Instant::now(), PROFILE.person()).await;
        if let Some(why) = told.failed {
            return Err(io::Error::other(format!("a payment whose rows were wanted failed: {why}")));
        }
        quiet(postgres, url).await?;
        scripts.push(script(&transactions(heard(postgres, url)?.lines()), &keys));
    }
    Ok(scripts)
}

/// Waits until nothing is under way and every record is published.
async fn quiet(postgres: &Postgres, url: &str) -> io::Result<()> {
    let open = "SELECT (SELECT count(*) FROM record WHERE NOT published) \
                + (SELECT count(*) FROM action WHERE NOT done AND started_by IS NOT NULL)";
    let until = tokio::time::Instant::now() + BESIDE;
    while postgres.ask(url, open)?.trim() != "0" {
        if tokio::time::Instant::now() > until {
            return Err(io::Error::other("a payment whose rows were wanted never came to rest"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Every unique index, the primary key first.
fn keys(postgres: &Postgres, url: &str) -> io::Result<Keys> {
    let told = postgres.ask(
        url,
        "SELECT t.relname || ' ' || string_agg(a.attname, ',' ORDER BY k.place) FROM pg_index i \
         JOIN pg_class t ON t.oid = i.indrelid AND t.relnamespace = 'public'::regnamespace \
         CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum \
         WHERE i.indisunique GROUP BY t.relname, i.indexrelid, i.indisprimary ORDER BY t.relname, i.indisprimary DESC",
    )?;
    let mut keys = Keys::new();
    for line in told.lines() {
        if let Some((table, columns)) = line.split_once(' ') {
            keys.entry(table.to_owned()).or_default().push(columns.split(',').map(str::to_owned).collect());
        }
    }
    Ok(keys)
}

fn finished(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
}
