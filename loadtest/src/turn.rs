//! One turn of something that pays, and what it cost.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sandbox::city::City;
use sandbox::engines::postgres::Postgres;
use serde_json::{Value, json};

use crate::costs::{self, Spent};
use crate::drive::{self, Crowd, Pressed};
use crate::peer::Peer;

/// One turn of something that pays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn {
    pub(crate) payments: u64,
    pub(crate) took: Duration,
    pub(crate) cpu_ms: BTreeMap<&'static str, u64>,
    /// WAL bytes, commits, flushes.
    pub(crate) written: [u64; 3],
}

impl Turn {
    /// Payments a second, in thousandths.
    pub(crate) fn per_s_milli(&self) -> u64 {
        self.payments * 1_000_000 / u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Processor microseconds of these groups a payment.
    pub(crate) fn cpu_us(&self, groups: &[&str]) -> u64 {
        let ms: u64 = groups.iter().filter_map(|group| self.cpu_ms.get(group)).sum();
        ms * 1000 / self.payments.max(1)
    }
}

/// What a database server has written so far: WAL bytes, commits of one database, flushes of the WAL.
pub(crate) fn written(postgres: &Postgres, url: &str) -> io::Result<[u64; 3]> {
    let told = postgres.ask(
        url,
        "SELECT pg_stat_force_next_flush(); SELECT wal_bytes::int8 || ' ' || (SELECT xact_commit FROM pg_stat_database \
         WHERE datname = current_database()) || ' ' || wal_sync FROM pg_stat_wal",
    )?;
    let mut numbers = told.split_whitespace().filter_map(|word| word.parse().ok());
    let mut next = || numbers.next().unwrap_or(0);
    Ok([next(), next(), next()])
}

pub(crate) fn less(after: &Spent, before: &Spent) -> BTreeMap<&'static str, u64> {
    after.iter().map(|(group, ms)| (*group, ms.saturating_sub(before.get(group).copied().unwrap_or(0)))).collect()
}

/// Everything that takes turns.
pub(crate) struct Turns<'a> {
    pub(crate) city: Arc<City>,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) pids: &'a BTreeMap<String, u32>,
    pub(crate) postgres: &'a Postgres,
    /// The city's database.
    pub(crate) url: &'a str,
    pub(crate) peer: &'a Peer,
    /// The peer's.
    pub(crate) beside: &'a str,
    pub(crate) payers: usize,
    pub(crate) time: Duration,
}

/// Turns of the whole city and of the peer, and how many payments were completed and authorised anew in them.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) whole: Vec<Turn>,
    pub(crate) peer: Vec<Turn>,
    pub(crate) completed: u64,
    pub(crate) again: u64,
}

impl Turns<'_> {
    /// Takes these turns, by their numbers: no number twice on one database.
    pub(crate) async fn take(&self, numbers: std::ops::Range<u32>) -> io::Result<Taken> {
        let mut taken = Taken::default();
        for number in numbers {
            eprintln!("第{}轮 turn {}", number + 1, number + 1);
            let mark = || Ok((costs::spent(self.pids), written(self.postgres, self.url)?));
            let pressed = drive::press(&self.city, &self.crowd, self.payers, self.time, mark).await?;
            let Pressed { payments, took, marks: [(spent, wrote), (after, written)] } = pressed;
            let (cpu_ms, written) = (less(&after, &spent), since(&written, &wrote));
            taken.whole.push(Turn { payments, took, cpu_ms, written });
            let seen = self.crowd.take_figures();
            taken.completed += seen.completed;
            taken.again += seen.again;
            if !seen.failed.is_empty() {
                eprintln!("未完成 not completed: {:?}", seen.failed);
            }
            let from = u64::from(number + 1) * 10_000_000;
            taken.peer.push(peer_turn(self.peer, self.postgres, self.beside, self.time, from, self.pids)?);
        }
        Ok(taken)
    }
}

/// A turn of the peer alone; `from` is a number that no run on this database had.
pub(crate) fn peer_turn(
    peer: &Peer,
    postgres: &Postgres,
    url: &str,
    time: Duration,
    from: u64,
    pids: &BTreeMap<String, u32>,
) -> io::Result<Turn> {
    let only: BTreeMap<String, u32> = pids.iter().filter(|(name, _)| *name == "postgres").map(owned).collect();
    let (before, wrote, ended) = (costs::spent(&only), written(postgres, url)?, costs::of_ended_ms());
    let run = peer.run(postgres, url, time, from)?;
    let mut cpu_ms = less(&costs::spent(&only), &before);
    // Here the generator is `pgbench`.
    cpu_ms.insert("generator", costs::of_ended_ms() - ended);
    Ok(Turn { payments: run.payments, took: run.took, cpu_ms, written: since(&written(postgres, url)?, &wrote) })
}

pub(crate) fn owned((name, pid): (&String, &u32)) -> (String, u32) {
    (name.clone(), *pid)
}

pub(crate) fn since(after: &[u64; 3], before: &[u64; 3]) -> [u64; 3] {
    std::array::from_fn(|place| after[place].saturating_sub(before[place]))
}

pub(crate) fn median(turns: &[Turn], of: impl Fn(&Turn) -> u64) -> u64 {
    let mut values: Vec<u64> = turns.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Thousandths.
pub(crate) fn ratio(of: u64, to: u64) -> u64 {
    of * 1000 / to.max(1)
}

/// Thousandths as a JSON number.
pub(crate) fn milli(value: u64) -> Value {
    let text = format!("{}.{:03}", value / 1000, value % 1000);
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// The median of the turns, the least and the most, from thousandths.
pub(crate) fn spread(turns: &[Turn], of: impl Fn(&Turn) -> u64) -> Value {
    let values: Vec<u64> = turns.iter().map(&of).collect();
    let of_all = |pick: Option<u64>| milli(pick.unwrap_or(0));
    json!({
        "median": milli(median(turns, &of)),
        "min": of_all(values.iter().copied().min()), "max": of_all(values.iter().copied().max()),
    })
}
