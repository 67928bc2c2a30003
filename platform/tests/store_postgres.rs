//! PostgreSQL keeps the store's contract, whatever two processes do at once.

mod store_contract;

use std::sync::LazyLock;

use platform::store::Store;
use platform::store::migrations;
use platform::store::sql::{Access, SqlStore};
use sandbox::engines::postgres::Postgres;
use store_contract::Engine;
use tempfile::TempDir;

struct Server {
    postgres: Postgres,
    migrated: String,
    _dir: TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a directory");
    let postgres = Postgres::start(&dir.path().join("pg"), &["max_connections=400"]).expect("a server");
    let migrated = postgres.database(None).expect("a database");
    migrations::migrate(&migrated).expect("migrated");
    Server { postgres, migrated, _dir: dir }
});

struct Database(String);

impl Database {
    fn new() -> Database {
        Database(SERVER.postgres.database(Some(&SERVER.migrated)).expect("a database"))
    }

    fn store(&self) -> SqlStore {
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
