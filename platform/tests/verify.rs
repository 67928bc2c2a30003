//! `platform events verify` finds whatever is wrong with a sink, and nothing where nothing is.

#[allow(dead_code, unused_imports, unused_macros, reason = "the city is wanted here, not the promises")]
mod store_contract;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use platform::clock::{Clock as _, SystemClock};
use platform::domain::order::Event;
use platform::errands::publish::publish;
use platform::events::jsonl::{JsonLines, Lines};
use platform::events::verify::{Finding, Report, Wrong, verify};
use platform::events::{At, Found, NotRead, Source};
use platform::store::sql::Access;
use platform::store::sqlite;
use schema::ids::{OrderId, TenantId};
use serde_json::Value;
use store_contract::world::World;
use tempfile::TempDir;

/// Two orders, of two and of three records, all of them published.
struct City {
    dir: TempDir,
    world: World,
    one: OrderId,
    two: OrderId,
}

impl City {
    fn new() -> City {
        let dir = TempDir::new().expect("a directory");
        let store = sqlite::open(dir.path().join("tongfu.db"), Access::Serve).expect("a file");
        let world = World::new(Box::new(store));
        let one = world.open(world.bill("B1", 1000), false).id;
        let two = world.open(world.bill("B2", 1000), false).id;
        world.step(one, &Event::Cancelled);
        world.step(two, &world.price(false, 1000));
        world.step(two, &Event::Cancelled);
        let city = City { dir, world, one, two };
        city.publish();
        city
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("events.jsonl")
    }

    fn publish(&self) {
        let mut sink = JsonLines::open(&self.path()).expect("a file");
        while publish(self.world.store.as_ref(), &mut sink).expect("published") {}
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path()).expect("the sink");
        text.lines().map(str::to_owned).collect()
    }

    /// Puts other lines in the place of the records: one 1, one 2, two 1, two 2, two 3.
    fn instead(&self, lines: impl FnOnce(&[String]) -> Vec<String>) {
        let lines = lines(&self.lines());
        std::fs::write(self.path(), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).expect("written");
    }

    fn report(&self) -> Report {
        let mut source = Lines::open(&self.path()).expect("a file");
        verify(self.world.store.as_ref(), &mut source, Duration::ZERO, &SystemClock::new()).expect("a report")
    }

    /// What is found wrong with other lines.
    fn found(lines: impl FnOnce(&[String]) -> Vec<String>) -> (City, Vec<Finding>) {
        let city = City::new();
        city.instead(lines);
        let findings = city.report().findings;
        (city, findings)
    }
}

fn finding(wrong: Wrong, order: OrderId, sequence: i64, line: Option<u64>) -> Finding {
    Finding { wrong, order: Some(order), sequence: Some(sequence), at: line.map(At::Line) }
}

fn pick(lines: &[String], numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|number| lines[*number].clone()).collect()
}

#[test]
fn what_was_published_is_the_history() {
    let city = City::new();
    let sound = Report { orders: 2, records: 5, read: 5, repeats: 0, findings: vec![] };
    assert_eq!(city.report(), sound);
    // The orders of two orders' records is nobody's business.
    city.instead(|lines| pick(lines, &[2, 0, 3, 1, 4]));
    assert_eq!(city.report(), sound);
}

#[test]
fn exact_repeats_are_harmless() {
    let city = City::new();
    city.instead(|lines| pick(lines, &[0, 1, 0, 1, 2, 3, 2, 3, 4]));
    assert_eq!(city.report(), Report { orders: 2, records: 5, read: 9, repeats: 4, findings: vec![] });
}

#[test]
fn a_gap_is_found() {
    for (lines, missing) in [
        (&[1, 2, 3, 4][..], vec![(true, 1)]),
        (&[0, 1, 2, 3], vec![(false, 3)]),
        (&[0, 3], vec![(true, 2), (false, 1), (false, 3)]),
    ] {
        let (city, findings) = City::found(|all| pick(all, lines));
        let order = |is_one| if is_one { city.one } else { city.two };
        let gap = |(is_one, sequence)| finding(Wrong::Gap, order(is_one), sequence, None);
        assert_eq!(findings, missing.into_iter().map(gap).collect::<Vec<_>>());
    }
}

#[test]
fn what_nobody_has_published_is_told_apart_from_a_gap() {
    let city = City::new();
    let three = city.world.open(city.world.bill("B3", 1000), false).id;
    assert_eq!(city.report().findings, [finding(Wrong::Unpublished, three, 1, None)]);
    city.publish();
    assert_eq!(city.report().findings, []);
}

#[test]
fn records_that_are_published_meanwhile_are_waited_for() {
    let city = City::new();
    city.world.open(city.world.bill("B3", 1000), false);
    let mut source = Lines::open(&city.path()).expect("a file");
    let report = std::thread::scope(|scope| {
        scope.spawn(|| city.publish());
        verify(city.world.store.as_ref(), &mut source, Duration::from_secs(60), &SystemClock::new())
    });
    assert_eq!(report.expect("a report").findings, []);
}

/// A sink whose platform goes on while it is read.
struct Busy<'a>(Lines, &'a City, u32);

impl Source for Busy<'_> {
    fn next(&mut self) -> Result<Option<Found>, NotRead> {
        self.2 += 1;
        if self.2 == 2 {
            self.1.world.step(self.1.world.open(self.1.world.bill("B3", 1000), false).id, &Event::Cancelled);
            self.1.publish();
        }
        self.0.next()
    }
}

#[test]
fn what_is_written_while_the_sink_is_read_is_no_strangers() {
    let city = City::new();
    let mut source = Busy(Lines::open(&city.path()).expect("a file"), &city, 0);
    let report = verify(city.world.store.as_ref(), &mut source, Duration::ZERO, &SystemClock::new()).expect("a report");
    assert_eq!(report, Report { orders: 2, records: 5, read: 7, repeats: 0, findings: vec![] });
}

/// A record with something else at one place.
fn with(record: &str, at: &str, value: impl Into<Value>) -> String {
    let mut record: Value = serde_json::from_str(record).expect("a record");
    *record.pointer_mut(at).expect("it is there") = value.into();
    record.to_string()
}

#[test]
fn a_foreign_event_is_found() {
    let stranger = OrderId::from_uuid(SystemClock::new().fresh());
    let nowhere = TenantId::from_uuid(SystemClock::new().fresh());
    let (city, findings) = City::found(|lines| {
        let mut lines = lines.to_vec();
        lines.push(with(&lines[4], "/subject", stranger.to_string()));
        lines.push(with(&lines[1], "/sequence", 3));
        lines.push(with(&lines[1], "/sequence", 0));
        lines.push(with(&with(&lines[0], "/subject", stranger.to_string()), "/tenantid", nowhere.to_string()));
        lines.extend(["{\"id\":".to_owned(), String::new(), "{}".to_owned()]);
        lines
    });
    let nobodys = |line| Finding { wrong: Wrong::Foreign, order: None, sequence: None, at: Some(At::Line(line)) };
    let expected = [
        finding(Wrong::Foreign, stranger, 3, Some(6)),
        finding(Wrong::Foreign, city.one, 3, Some(7)),
        finding(Wrong::Foreign, city.one, 0, Some(8)),
        finding(Wrong::Foreign, stranger, 1, Some(9)),
        nobodys(10),
        nobodys(11),
        nobodys(12),
    ];
    assert_eq!(findings, expected);
}

#[test]
fn a_changed_record_and_a_changed_repeat_are_found() {
    let (city, findings) = City::found(|lines| {
        let mut lines = lines.to_vec();
        lines.push(with(&lines[1], "/data/amount_fen", 999));
        lines
    });
    assert_eq!(findings, [finding(Wrong::Changed, city.one, 2, Some(6))]);

    let (city, findings) = City::found(|lines| {
        let mut lines = lines.to_vec();
        lines[3] = with(&lines[3], "/tenantid", OrderId::from_uuid(SystemClock::new().fresh()).to_string());
        lines
    });
    let expected = [finding(Wrong::Changed, city.two, 2, Some(4)), finding(Wrong::Gap, city.two, 2, None)];
    assert_eq!(findings, expected, "what stands in its place does not make it there");
}

#[test]
fn a_record_behind_a_later_one_of_its_order_is_found() {
    let (city, findings) = City::found(|lines| pick(lines, &[1, 0, 4, 3, 2, 0, 4]));
    let late = |order, sequence, line| finding(Wrong::OutOfOrder, order, sequence, Some(line));
    assert_eq!(findings, [late(city.one, 1, 2), late(city.two, 2, 4), late(city.two, 1, 5)]);
}

/// The same lines, said to be in a place that is not theirs.
struct Elsewhere(Lines, OrderId);

impl Source for Elsewhere {
    fn next(&mut self) -> Result<Option<Found>, NotRead> {
        self.0.next()
    }

    fn is_home(&self, _: &Found, order: OrderId) -> bool {
        order != self.1
    }
}

#[test]
fn a_record_that_is_not_where_its_order_belongs_is_found() {
    let city = City::new();
    let mut source = Elsewhere(Lines::open(&city.path()).expect("a file"), city.one);
    let report = verify(city.world.store.as_ref(), &mut source, Duration::ZERO, &SystemClock::new()).expect("a report");
    let misplaced = |sequence| finding(Wrong::Misplaced, city.one, sequence, u64::try_from(sequence).ok());
    assert_eq!(report.findings, [misplaced(1), misplaced(2)]);
}

#[test]
fn the_command_says_what_it_found_and_fails_where_anything_is_wrong() {
    let city = City::new();
    let (one, path) = (city.one, city.path());
    let run = |dir: &TempDir, events_url: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_platform"))
            .args(["--json", "events", "verify", "--wait", "0"])
            .current_dir(dir.path())
            .env("TONGFU__EVENTS__URL", events_url)
            .output()
            .expect("the binary runs");
        let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        (output.status.success(), serde_json::from_slice::<Value>(&said).expect("JSON"))
    };
    let url = format!("file:{}", path.display());
    let (success, report) = run(&city.dir, &url);
    let sound =
        serde_json::json!({ "equal": true, "orders": 2, "records": 5, "read": 5, "repeats": 0, "findings": [] });
    assert_eq!((success, report), (true, sound));

    city.instead(|lines| pick(lines, &[0, 2, 3, 4]));
    let (success, report) = run(&city.dir, &url);
    assert!(!success && report["equal"] == false, "{report}");
    let gap = serde_json::json!([{
        "finding": "gap", "sentence": Wrong::Gap.sentence(), "order": one, "sequence": 2, "at": null,
    }]);
    assert_eq!(report["findings"], gap);

    let (success, refusal) = run(&city.dir, "file:nowhere.jsonl");
    assert!(!success && refusal["code"] == "UNAVAILABLE", "{refusal}");
    let sentence = refusal["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("events.url file:nowhere.jsonl"), "{sentence}");
    assert!(!city.dir.path().join("nowhere.jsonl").exists(), "looking makes nothing");
}
