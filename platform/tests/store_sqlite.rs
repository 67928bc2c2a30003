//! SQLite keeps the store's contract, in memory and in a file, and guards its file.

mod store_contract;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use platform::domain::invariants::Invariant;
use platform::domain::order::Event;
use platform::store::sql::{Access, OpenError, SqlStore};
use platform::store::sqlite;
use platform::store::{Change, Commit, DeskStore, Store, StoreError, Subject, Want};
use schema::ids::OrderId;
use store_contract::Engine;
use store_contract::world::World;
use tempfile::TempDir;

struct Memory;

impl Engine for Memory {
    fn open(&self) -> Box<dyn Store> {
        Box::new(sqlite::memory().expect("memory"))
    }

    fn keeps(&self) -> bool {
        false
    }
}

struct InFile(TempDir);

impl InFile {
    fn new() -> InFile {
        InFile(TempDir::new().expect("a directory"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("tongfu.db")
    }
}

impl Engine for InFile {
    fn open(&self) -> Box<dyn Store> {
        Box::new(sqlite::open(self.path(), Access::Serve).expect("a file"))
    }

    fn keeps(&self) -> bool {
        true
    }
}

mod memory {
    fn engine() -> super::Memory {
        super::Memory
    }

    super::store_contract::every_promise!(engine);
}

mod file {
    use super::InFile;

    super::store_contract::every_promise!(InFile::new);
}

#[test]
fn a_second_server_is_refused_and_told_who_holds_the_file() {
    let file = InFile::new();
    let first = file.open();
    let second = sqlite::open(file.path(), Access::Serve);
    let Err(error @ OpenError::Held { .. }) = second else { unreachable!("two servers on one file: {second:?}") };
    let (pid, lock) = (std::process::id().to_string(), format!("{}.lock", file.path().display()));
    assert!(error.to_string().contains(&pid) && error.to_string().contains(&lock), "{error}");
    drop(first);
    sqlite::open(file.path(), Access::Serve).expect("the lock ends with its holder");
}

#[test]
fn set_up_commands_work_beside_a_server_and_lookers_change_nothing() {
    let file = InFile::new();
    let missing = sqlite::open(file.path(), Access::ReadOnly);
    assert!(matches!(missing, Err(OpenError::Missing(_))), "{missing:?}");
    assert!(!file.path().exists());

    let world = World::new(file.open());
    let admin = sqlite::open(file.path(), Access::Admin).expect("beside the server");
    let other =
        platform::store::InstitutionRow { code: "P44190000002".parse().expect("a code"), ..world.institution_row() };
    admin.put_institution(&other).expect("a short transaction");
    assert_eq!(world.store.institution(world.tenant, &other.code), Ok(Some(other.clone())));

    let looker = sqlite::open(file.path(), Access::ReadOnly).expect("beside the server");
    assert_eq!(looker.institutions(world.tenant).map(|rows| rows.len()), Ok(2));
    assert!(matches!(looker.put_institution(&other), Err(StoreError::Unavailable(_))));
    let commit = looker.transact(&[world.want(Subject::Nothing)], &mut |_| vec![Some(Change::default())]);
    assert!(matches!(commit, Commit::Refused(_)), "{commit:?}");
}

#[test]
fn a_balance_that_is_not_the_sum_of_its_postings_is_found() {
    let file = InFile::new();
    let world = World::new(file.open());
    world.completed("B1", 1000);
    assert_eq!(world.store.roll_up(99), Ok(5));
    let path = file.path().display().to_string();
    let mut hand = SqliteConnection::establish(&path).expect("the file opens");
    for break_it in [
        "UPDATE balance SET amount = amount + 1 WHERE account = 'wallet:1900000109'",
        "UPDATE balance SET accounted_on = '2025-11-22' WHERE account = 'wallet:1900000109'",
        "DELETE FROM balance WHERE account = 'wallet:1900000109'",
        "UPDATE posting SET rolled_up = 0 WHERE account = 'wallet:1900000109'",
    ] {
        hand.batch_execute(&format!("CREATE TABLE kept AS SELECT * FROM balance; {break_it}")).expect("broken");
        let found = world.store.verify(world.tenant).expect("books").violations;
        let invariants: Vec<Invariant> = found.iter().map(|violation| violation.invariant).collect();
        assert!(
            !found.is_empty() && invariants.iter().all(|broken| *broken == Invariant::BalancesAreSums),
            "{break_it}: {found:?}"
        );
        hand.batch_execute(
            "DELETE FROM balance; INSERT INTO balance SELECT * FROM kept; DROP TABLE kept; UPDATE posting SET rolled_up = 1",
        )
        .expect("mended");
        assert_eq!(world.store.verify(world.tenant).expect("books").violations, []);
    }
    // Thrown away with their marks, balances come back the same.
    let before = world.store.balances(world.tenant);
    hand.batch_execute("DELETE FROM balance; UPDATE posting SET rolled_up = 0").expect("forgotten");
    assert_ne!(world.store.balances(world.tenant), before);
    while world.store.roll_up(1).expect("the store answers") > 0 {}
    assert_eq!(world.store.balances(world.tenant), before);
}

#[test]
fn a_url_names_a_file_or_memory_and_nothing_else() {
    let file = InFile::new();
    let url = format!("sqlite:{}", file.path().display());
    drop(SqlStore::open_url(&url, Access::Serve).expect("a file"));
    assert!(file.path().exists());
    drop(SqlStore::open_url("sqlite::memory:", Access::Serve).expect("memory"));
    for wrong in ["", "sqlite:", "postgres://localhost/tongfu", "/tmp/tongfu.db"] {
        assert!(SqlStore::open_url(wrong, Access::Serve).is_err(), "{wrong}");
    }
}

/// Where the child of [`a_killed_process_loses_nothing_it_acknowledged`] writes.
const CHILD_WRITES: &str = "TONGFU_TEST_STORE";

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    if let Ok(path) = std::env::var(CHILD_WRITES) {
        return write_until_killed(Path::new(&path));
    }
    let file = InFile::new();
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_killed_process_loses_nothing_it_acknowledged", "--nocapture"])
        .env(CHILD_WRITES, file.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let acknowledged: Vec<OrderId> = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("committed ").and_then(|id| id.parse().ok()))
        .take(300)
        .collect();
    child.kill().expect("SIGKILL, in the middle of whatever it does");
    child.wait().expect("gone");
    assert_eq!(acknowledged.len(), 300);

    let store = file.open();
    let tenant = store.tenants().expect("tenants")[0].id;
    for order in acknowledged {
        let order = store.order(tenant, order).expect("the store answers").expect("an acknowledged order");
        assert_eq!(order.version, 2);
    }
    assert_eq!(store.verify(tenant).expect("books").violations, [], "nothing is half-written");
}

fn write_until_killed(path: &Path) {
    let world = World::new(Box::new(sqlite::open(path, Access::Serve).expect("a file")));
    for round in 0.. {
        let bills: Vec<_> = (0..16).map(|n| world.bill(&format!("B{round}-{n}"), 1000)).collect();
        let wants: Vec<Want> = bills.iter().map(|bill| world.want(Subject::Bill(*bill))).collect();
        let mut opened = Vec::new();
        world.store.transact(&wants, &mut |loaded| {
            let changes: Vec<Change> = loaded.iter().map(|loaded| world.opening(loaded, false)).collect();
            opened = changes.iter().filter_map(|change| change.order.as_ref().map(|write| write.after.id)).collect();
            changes.into_iter().map(Some).collect()
        });
        let wants: Vec<Want> = opened.iter().map(|order| world.want(Subject::Order(*order))).collect();
        let commit = world.store.transact(&wants, &mut |loaded| {
            loaded.iter().map(|loaded| Some(world.decided(loaded, &Event::Cancelled))).collect()
        });
        assert!(matches!(commit, Commit::Committed(_)), "{commit:?}");
        for order in opened {
            println!("committed {order}");
        }
    }
}
