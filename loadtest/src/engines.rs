//! The engines under the platform: the embedded ones, or real servers started for this run.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use sandbox::engines::postgres::Postgres;

/// Which engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// SQLite, memory, a file.
    Embedded,
    /// Servers.
    Real,
}

/// Engines that run. Dropping them stops them.
#[derive(Debug)]
pub(crate) struct Engines {
    postgres: Option<Postgres>,
    settings: Vec<(String, String)>,
}

impl Engines {
    /// Starts what is chosen in this folder.
    pub(crate) fn start(choice: Choice, dir: &Path) -> io::Result<Engines> {
        if choice == Choice::Embedded {
            return Ok(Engines { postgres: None, settings: Vec::new() });
        }
        // As a database administrator would set up a small machine; nothing that could lose a commit.
        let tuned = ["shared_buffers=512MB", "max_connections=100", "wal_compression=on", "max_wal_size=4GB"];
        let postgres = Postgres::start(&dir.join("postgres"), &tuned)?;
        let url = postgres.database(None)?;
        let settings = vec![("TONGFU__STORE__URL".to_owned(), url)];
        Ok(Engines { postgres: Some(postgres), settings })
    }

    /// The platform's settings, as environment.
    pub(crate) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Their process ids.
    pub(crate) fn pids(&self) -> BTreeMap<String, u32> {
        let postgres = self.postgres.as_ref().and_then(Postgres::pid);
        postgres.map(|pid| ("postgres".to_owned(), pid)).into_iter().collect()
    }
}
