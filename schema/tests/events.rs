//! The schemas of published records say what the types beside them write, and refuse what lacks what its state needs.

mod asyncapi;
mod records;
mod sample;

use sample::{STATES, record};
use schema::event::SCHEMAS;
use serde_json::{Value, json};

fn with(state: &str, at: &str, value: Value) -> Value {
    let mut record = record(state);
    *record.pointer_mut(at).expect("it is there") = value;
    record
}

fn without(state: &str, name: &str) -> Value {
    let mut record = record(state);
    record["data"].as_object_mut().expect("an object").remove(name).expect("it is there");
    record
}

#[test]
fn every_type_has_one_schema_and_every_file_is_named() {
    let mut named: Vec<String> = SCHEMAS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/events")).expect("the folder");
    let mut files: Vec<String> =
        folder.map(|file| file.expect("a file").file_name().into_string().expect("a name")).collect();
    named.sort();
    files.sort();
    assert_eq!(named, files);
    let mut expected: Vec<String> = STATES.iter().map(|state| format!("order-{state}.v1.json")).collect();
    expected.push("order.v1.json".to_owned());
    expected.sort();
    assert_eq!(named, expected);
}

#[test]
fn what_is_written_is_what_the_schema_says() {
    for state in STATES {
        assert_eq!(records::faults(&record(state)), Vec::<String>::new(), "{state}");
    }
}

#[test]
fn a_record_without_what_its_state_needs_is_refused() {
    for (state, needed) in [
        ("priced", "split"),
        ("settling", "split"),
        ("collecting", "split"),
        ("paid", "split"),
        ("completed", "split"),
        ("undoing", "reason"),
        ("undoing", "split"),
        ("suspended", "reason"),
        ("closed", "reason"),
        ("closed", "from"),
    ] {
        assert_ne!(records::faults(&without(state, needed)), Vec::<String>::new(), "{state} without {needed}");
    }
    for state in ["paid", "completed"] {
        let mut unpaid = without(state, "setl_id");
        assert_eq!(records::faults(&unpaid), Vec::<String>::new(), "cash alone will do");
        unpaid["data"].as_object_mut().expect("an object").remove("transaction_id");
        assert_ne!(records::faults(&unpaid), Vec::<String>::new(), "{state} without any money");
    }
}

#[test]
fn a_record_with_what_its_state_cannot_have_is_refused() {
    for (state, name) in [
        ("created", "setl_id"),
        ("priced", "transaction_id"),
        ("settling", "setl_id"),
        ("collecting", "transaction_id"),
        ("paid", "reason"),
        ("closed", "setl_id"),
    ] {
        let mut record = record(state);
        record["data"][name] = json!("x1");
        assert_ne!(records::faults(&record), Vec::<String>::new(), "{state} with {name}");
    }
}

#[test]
fn a_malformed_record_is_refused() {
    for (at, value) in [
        ("/type", json!("cn.tongfu.order.priced.v1")),
        ("/dataschema", json!("order.v1.json")),
        ("/dataschema", json!("order-lost.v1.json")),
        ("/sequence", json!(0)),
        ("/time", json!("yesterday")),
        ("/data/to", json!("priced")),
        ("/data/amount_fen", json!(1.5)),
        ("/data/split/cash_fen", json!(-1)),
        ("/data/refund/state", json!("lost")),
        ("/data/institution", json!("H1")),
        ("/data/from", json!("prepaying")),
    ] {
        assert_ne!(records::faults(&with("paid", at, value)), Vec::<String>::new(), "{at}");
    }
    let mut more = record("paid");
    more["data"]["psn_name"] = json!("王小明");
    assert_ne!(records::faults(&more), Vec::<String>::new(), "nothing personal slips in");
}

#[test]
fn a_gap_or_a_changed_repeat_in_a_stream_is_noticed() {
    let line = |sequence: i64, event: &str| {
        let mut record = with("priced", "/sequence", json!(sequence));
        record["data"]["version"] = json!(sequence);
        record["data"]["event"] = json!(event);
        record.to_string()
    };
    let first = {
        let mut record = record("created");
        record["sequence"] = json!(1);
        record["data"]["version"] = json!(1);
        record["data"].as_object_mut().expect("an object").remove("from");
        record.to_string()
    };
    let faults = |lines: &[&String]| records::read(lines.iter().map(|line| line.as_str())).faults.len();
    assert_eq!(faults(&[&first, &line(2, "a"), &line(2, "a"), &line(3, "b")]), 0, "a repeat is harmless");
    assert_eq!(faults(&[&first, &line(3, "b")]), 1, "a gap");
    assert_eq!(faults(&[&line(2, "a")]), 1, "it does not begin at 1");
    assert_eq!(faults(&[&first, &line(2, "a"), &line(2, "b")]), 1, "a repeat that differs");
}
