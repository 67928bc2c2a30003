//! A platform process is killed under load: how long what it held stands still.

use std::io;
use std::time::Duration;

use sandbox::city::{City, town};
use sandbox::engines::postgres::Postgres;
use serde_json::{Value, json};
use tokio::time::Instant;

/// A lease that was not renewed for so long is no living process's; nobody has adopted anything of it by then.
const SILENT: Duration = Duration::from_millis(2500);
/// How long what it held is watched.
const WATCHED: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What became of the actions that a killed process held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost {
    /// How many there were.
    held: usize,
    /// From the kill until the last of them was another process's.
    adopted: Option<Duration>,
    /// From the kill until the last of them was answered, and its order goes on.
    answered: Option<Duration>,
}

/// Everything that a killed process held moves again within this.
const SOON: Duration = Duration::from_secs(5);

impl Lost {
    /// Whether all of it moved again soon enough.
    pub(crate) fn is_soon(&self) -> bool {
        self.answered.is_some_and(|answered| answered <= SOON)
    }

    pub(crate) fn json(&self) -> Value {
        let ms = |time: Option<Duration>| time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        json!({"held": self.held, "adopted_ms": ms(self.adopted), "answered_ms": ms(self.answered)})
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("{} ms", time.as_millis()));
        let (adopted, answered) = (ms(self.adopted), ms(self.answered));
        write!(
            f,
            "a killed process held {} actions: all adopted after {adopted}, all answered after {answered}",
            self.held
        )
    }
}

/// Kills one of several replicas after `wait`, watches, and starts it again.
pub(crate) async fn lose(city: &City, postgres: &Postgres, url: &str, wait: Duration) -> io::Result<Lost> {
    tokio::time::sleep(wait).await;
    let name = town::replica_name(2);
    let killed = Instant::now();
    city.kill(&name).await?;
    tokio::time::sleep_until(killed + SILENT).await;
    let silent = format!(
        "renewed_at_us < (extract(epoch FROM clock_timestamp()) * 1000000)::int8 - {}",
        (SILENT - Duration::from_millis(500)).as_micros()
    );
    let held = format!(
        "SELECT encode(a.id, 'hex') FROM action a JOIN lease l ON l.process = a.started_by WHERE NOT a.done AND {silent}"
    );
    let held: Vec<String> = postgres.ask(url, &held)?.lines().map(|id| format!("'\\x{id}'")).collect();
    let mut lost = Lost { held: held.len(), adopted: None, answered: None };
    if held.is_empty() {
        (lost.adopted, lost.answered) = (Some(Duration::ZERO), Some(Duration::ZERO));
    }
    let look = format!(
        "SELECT count(*) FILTER (WHERE l.process IS NOT NULL AND {silent}), count(*) FROM action a \
         LEFT JOIN lease l ON l.process = a.started_by WHERE NOT a.done AND a.id IN ({})",
        held.join(", ")
    );
    while lost.answered.is_none() && killed.elapsed() < WATCHED {
        let told = postgres.ask(url, &look)?;
        let mut counts = told.trim().split('|').filter_map(|count| count.parse::<u64>().ok());
        let (Some(theirs), Some(open)) = (counts.next(), counts.next()) else {
            return Err(io::Error::other(format!("two counts were expected: {told}")));
        };
        let now = killed.elapsed();
        lost.adopted = lost.adopted.or((theirs == 0).then_some(now));
        lost.answered = (open == 0).then_some(now);
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    city.restart(&name).await?;
    Ok(lost)
}
