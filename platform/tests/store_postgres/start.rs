//! What a database must be before anybody serves on it.

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use platform::store::migrations;
use platform::store::sql::{Access, OpenError, SqlStore};
use sandbox::engines::postgres::Postgres;
use tempfile::TempDir;

use crate::{Database, SERVER};

fn refused(url: &str) -> OpenError {
    SqlStore::open_url(url, Access::Serve).expect_err("it is refused")
}

#[test]
fn tables_that_nobody_migrated_are_refused_and_nobody_migrates_them_by_serving() {
    let url = SERVER.postgres.database(None).expect("a database");
    let pending = migrations::status(&url).expect("it says").pending;
    assert!(!pending.is_empty());
    let why = refused(&url);
    assert!(matches!(&why, OpenError::Older(_)) && why.to_string().contains("platform migrate"), "{why}");
    assert_eq!(migrations::status(&url).expect("it says").pending, pending, "looking and refusing changed nothing");
}

#[test]
fn of_two_that_migrate_at_once_one_does_it_and_both_find_it_done() {
    let url = SERVER.postgres.database(None).expect("a database");
    let done: Vec<_> = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| migrations::migrate(&url).expect("migrated")));
        both.into_iter().map(|one| one.join().expect("no panic")).collect()
    });
    let found = migrations::status(&url).expect("it says");
    assert_eq!(done.concat(), found.applied, "by one of them, once");
    assert!(found.pending.is_empty() && found.unknown.is_empty());
    SqlStore::open_url(&url, Access::Serve).expect("it is served");
}

#[test]
fn tables_of_a_newer_program_are_refused_and_left_alone() {
    let database = Database::new();
    let mut conn = PgConnection::establish(&database.0).expect("a connection");
    conn.batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')").expect("newer");
    let why = refused(&database.0);
    assert!(matches!(&why, OpenError::Newer(version) if version.contains("2999")), "{why}");
    let why = migrations::migrate(&database.0).expect_err("it is not migrated either").to_string();
    assert!(why.contains("29991231000000"), "{why}");
}

#[test]
fn a_server_that_could_lose_what_it_acknowledged_is_refused() {
    if !SERVER.postgres.is_ours() {
        println!("the server was given: its settings are not ours to change");
        return;
    }
    let dir = TempDir::new().expect("a directory");
    let careless = Postgres::start(&dir.path().join("pg"), &["fsync=off"]).expect("a server");
    let why = refused(&careless.database(None).expect("a database")).to_string();
    assert!(why.contains("fsync") && why.contains("请改为on"), "{why}");
}

#[test]
fn a_server_that_is_not_there_is_said_so_in_time_and_without_its_password() {
    let (told, why) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(refused("postgres://tongfu:geheim@127.0.0.1:1/city").to_string()));
    let why = why.recv_timeout(Duration::from_secs(30)).expect("it says so");
    assert!(why.contains("127.0.0.1") && !why.contains("geheim"), "{why}");
    let why = refused(&SERVER.migrated.replace("/tongfu_", "/nowhere_")).to_string();
    assert!(why.contains("nowhere_"), "{why}");
}
