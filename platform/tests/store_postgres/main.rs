//! PostgreSQL keeps the store's contract, whatever two processes do at once.

#[path = "../store_contract/mod.rs"]
mod store_contract;

mod cut;
mod faults;
mod start;
mod together;

use std::sync::LazyLock;

use platform::store::Store;
use platform::store::migrations;
use platform::store::sql::{Access, SqlStore};
use sandbox::engines::postgres::Postgres;
use store_contract::Engine;
use tempfile::TempDir;

pub(crate) struct Server {
    pub(crate) postgres: Postgres,
    pub(crate) migrated: String,
    _dir: TempDir,
}

pub(crate) static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a directory");
    let postgres = Postgres::start(&dir.path().join("pg"), &["max_connections=400"]).expect("a server");
    let migrated = postgres.database(None).expect("a database");
    migrations::migrate(&migrated).expect("migrated");
    Server { postgres, migrated, _dir: dir }
});

pub(crate) struct Database(pub(crate) String);

impl Database {
    pub(crate) fn new() -> Database {
        Database(SERVER.postgres.database(Some(&SERVER.migrated)).expect("a database"))
    }

    pub(crate) fn store(&self) -> SqlStore {
        SqlStore::open_url(&self.0, Access::Serve).expect("it opens")
    }
}

impl Engine for Database {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.store())
    }

    fn keeps(&self) -> bool {
        true
    }
}

store_contract::every_promise!(Database::new);
