//! Which tables a database has and which this program needs. `migrations/README.md` says how they change.

use diesel::backend::Backend;
use diesel::migration::MigrationSource;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};

use super::sql::{OpenError, Place, engine, place};
use super::{postgres, sqlite};

/// What of the migrations a database has.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Migrations {
    /// In the database, and known.
    pub applied: Vec<String>,
    /// Known, and not in the database.
    pub pending: Vec<String>,
    /// In the database, and not known: a newer program made them.
    pub unknown: Vec<String>,
}

impl Migrations {
    /// Refuses what is not exactly this program's.
    pub(super) fn exact(self, how: &str) -> Result<(), OpenError> {
        match (self.unknown.is_empty(), self.pending.is_empty()) {
            (false, _) => Err(OpenError::Newer(self.unknown.join(", "))),
            (true, false) => Err(OpenError::Older(how.to_owned())),
            (true, true) => Ok(()),
        }
    }
}

/// Compares what is embedded with what is applied.
pub(super) fn compare<DB: Backend>(
    embedded: EmbeddedMigrations,
    applied: impl FnOnce() -> Result<Vec<String>, OpenError>,
) -> Result<Migrations, OpenError> {
    let known = MigrationSource::<DB>::migrations(&embedded).map_err(engine)?;
    let known: Vec<String> = known.iter().map(|migration| migration.name().version().to_string()).collect();
    let found = applied()?;
    let mut unknown: Vec<String> = found.iter().filter(|version| !known.contains(version)).cloned().collect();
    unknown.sort();
    let (applied, pending) = known.into_iter().partition(|version| found.contains(version));
    Ok(Migrations { applied, pending, unknown })
}

/// What diesel's own table of a database says.
pub(super) fn applied<DB: Backend>(conn: &mut impl MigrationHarness<DB>) -> Result<Vec<String>, OpenError> {
    let found = conn.applied_migrations().map_err(engine)?;
    Ok(found.into_iter().map(|version| version.to_string()).collect())
}

/// What of the migrations the database at this URL has. Changes nothing.
pub fn status(url: &str) -> Result<Migrations, OpenError> {
    match place(url)? {
        Place::File(path) => sqlite::status(path),
        Place::Server => postgres::status(url),
    }
}

/// Applies what is pending, all or nothing, and says what it was. Two that start at once take turns.
pub fn migrate(url: &str) -> Result<Vec<String>, OpenError> {
    match place(url)? {
        Place::File(path) => sqlite::migrate(path),
        Place::Server => postgres::migrate(url),
    }
}
