//! The engines under the platform: the embedded ones, or real servers started for this run.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use sandbox::engines::kafka::{self, Kafka};
use sandbox::engines::postgres::Postgres;
use sandbox::engines::redis::Redis;

/// Which engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// SQLite, memory, a file.
    Embedded,
    /// PostgreSQL, Redis and Kafka.
    Real,
}

const STORE_URL: &str = "TONGFU__STORE__URL";

/// Engines that run. Dropping them stops them.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    servers: Option<(Postgres, Redis, Kafka)>,
    settings: Vec<(String, String)>,
}

/// Has a database look at once after what has been written, as it otherwise does over the next minutes.
pub(crate) fn settle(postgres: &Postgres, url: &str) -> io::Result<()> {
    ["VACUUM ANALYZE", "CHECKPOINT"].into_iter().try_for_each(|settle| postgres.ask(url, settle).map(drop))
}

/// As a database administrator would set up a small machine; nothing that could lose a commit.
const POSTGRES: [&str; 4] = ["shared_buffers=512MB", "max_connections=100", "wal_compression=on", "max_wal_size=4GB"];

impl Engines {
    /// Starts what is chosen in this folder.
    pub(crate) fn start(choice: Choice, dir: &Path) -> io::Result<Engines> {
        if choice == Choice::Embedded {
            return Ok(Engines::default());
        }
        let postgres = Postgres::start(&dir.join("postgres"), &POSTGRES)?;
        let redis = Redis::obtain()?;
        let java = ["-Xmx512m", "-XX:+UseSerialGC"].map(str::to_owned).to_vec();
        let kafka = Kafka::start(&kafka::Shape { java, front: None })?;
        let settings = [
            (STORE_URL, postgres.database(None)?),
            ("TONGFU__EPHEMERAL__URL", redis.url().to_owned()),
            ("TONGFU__EVENTS__URL", format!("kafka://{}/tongfu-load?partitions=4", kafka.bootstrap())),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(Engines { servers: Some((postgres, redis, kafka)), settings })
    }

    /// The database server; none where the store is embedded.
    pub(crate) fn postgres(&self) -> Option<&Postgres> {
        self.servers.as_ref().map(|(postgres, ..)| postgres)
    }

    /// The platform's database; none where the store is embedded.
    pub(crate) fn store_url(&self) -> Option<&str> {
        let (_, url) = self.settings.iter().find(|(name, _)| name == STORE_URL)?;
        Some(url)
    }

    /// Has the database gather its statistics: plans made for empty tables are bad ones for full tables, and one that has
    /// run for a day has them.
    pub(crate) fn gather_statistics(&self) -> io::Result<()> {
        match (self.postgres(), self.store_url()) {
            (Some(postgres), Some(url)) => postgres.ask(url, "ANALYZE").map(drop),
            _ => Ok(()),
        }
    }

    /// The platform's settings, as environment.
    pub(crate) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Their process ids.
    pub(crate) fn pids(&self) -> BTreeMap<String, u32> {
        let Some((postgres, redis, kafka)) = &self.servers else { return BTreeMap::new() };
        let pids = [("postgres", postgres.pid()), ("redis", redis.pid()), ("kafka", kafka.pid())];
        pids.into_iter().filter_map(|(name, pid)| Some((name.to_owned(), pid?))).collect()
    }
}
