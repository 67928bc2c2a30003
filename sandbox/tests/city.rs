//! A whole city of real processes, looked at from every side: the records it published, the codes its bills are
//! written with, and the bills that carry nothing but a visit card.

#[path = "../../schema/tests/records/mod.rs"]
mod records;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use sandbox::city::verdict::Verdict;
use sandbox::city::{City, Options};
use serde_json::Value;

/// Runs a city without faults to its end; what is said of it lies in its folder.
async fn lived(dir: &Path, payments: u32, options: Options) -> (Verdict, Value) {
    let options = Options { payments: Some(payments), faults_ppm: 0, dir: Some(dir.to_owned()), ..options };
    let city = City::start(options).await.expect("the city starts");
    city.settle_in().await.expect("people log in");
    city.pay(payments, |_| {}).await;
    let verdict = city.verdict().await.expect("a verdict");
    let orders = city.platform_cli(&["order", "list", "--most", "10000"], false).await.expect("orders");
    city.stop().await.expect("it stops");
    assert!(verdict.is_sound(), "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    (verdict, orders)
}

fn json_in(dir: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join(name)).expect("a file")).expect("JSON")
}

/// Every bill of every hospital, as the HIS kept it.
fn bills(dir: &Path) -> Vec<Value> {
    let hospitals = json_in(dir, "his/state.json");
    let hospitals = hospitals.as_object().expect("hospitals").values();
    hospitals.flat_map(|state| state["bills"].as_object().expect("bills").values().cloned()).collect()
}

/// A folder in the shape of the national codes, with rows of our own: drugs, services, diagnoses.
fn write_codes(dir: &Path) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut drugs = "national_code,generic_name\n".to_owned();
    for number in 0..60 {
        // 西药 have 23 characters, 中成药 20.
        let code = if number % 3 == 0 {
            format!("ZA99ZZZ{number:04}{:09}", 900_000_000 + number)
        } else {
            format!("XA99ZZZ{number:03}Z001019{:06}", 900_000 + number)
        };
        writeln!(drugs, "{code},\"虚构药品{number}号, 片\"").expect("a text");
        codes.insert(code);
    }
    let mut services = "national_code,name\n".to_owned();
    for number in 0..40 {
        let code = format!("0099{number:011}");
        writeln!(services, "{code},虚构项目{number}").expect("a text");
        codes.insert(code);
    }
    let mut diagnoses = "system,code,name,chapter\n".to_owned();
    for number in 0..20 {
        let system = if number % 4 == 0 { "中医诊断" } else { "西医诊断" };
        writeln!(diagnoses, "{system},Q{number:02}.,虚构诊断{number},虚构").expect("a text");
    }
    for (name, text) in [("drugs.csv", drugs), ("service-items.csv", services), ("icd10-categories.csv", diagnoses)] {
        std::fs::write(dir.join(name), text).expect("writable");
    }
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bills_are_written_with_the_codes_of_a_folder_and_settle() {
    let (dir, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let codes = write_codes(folder.path());
    let catalogue = Some(folder.path().to_owned());
    let (verdict, _) = lived(dir.path(), 12, Options { seed: 12, plain: true, catalogue, ..Options::default() }).await;
    assert_eq!(verdict.completed, 12, "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    assert!(verdict.fund_fen["fund"] > 0, "the bureau pays its share: {:?}", verdict.fund_fen);

    let bills = bills(dir.path());
    assert_eq!(bills.len(), 12);
    let lines = bills.iter().flat_map(|bill| bill["draft"]["lines"].as_array().expect("lines"));
    let written: Vec<&str> = lines.filter_map(|line| line["med_list_codg"].as_str()).collect();
    assert!(written.len() >= 12, "{written:?}");
    let strange: Vec<&&str> = written.iter().filter(|code| !codes.contains(**code)).collect();
    assert!(strange.is_empty(), "not of the folder: {strange:?}");
    let diagnosed = bills.iter().flat_map(|bill| bill["draft"]["diagnoses"].as_array().expect("diagnoses"));
    assert!(diagnosed.clone().count() >= 12);
    assert!(diagnosed.into_iter().all(|row| row["diag_name"].as_str().is_some_and(|name| name.contains("虚构诊断"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_bound_at_the_window_pays_bills_that_carry_nothing_but_the_visit_card() {
    let dir = tempfile::tempdir().expect("a folder");
    let (verdict, _) = lived(dir.path(), 24, Options { seed: 5, plain: true, ..Options::default() }).await;
    assert_eq!(verdict.completed, 24, "{}", serde_json::to_string_pretty(&verdict).expect("JSON"));
    let bills = bills(dir.path());
    let (by_card, by_document): (Vec<&Value>, Vec<&Value>) = bills.iter().partition(|bill| bill["by_card"] == true);
    assert!(by_card.len() >= 3 && by_document.len() >= 3, "{} by card of {}", by_card.len(), bills.len());
    for bill in &by_card {
        assert_eq!(bill["standing"]["standing"], "booked", "{bill}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_of_a_city_is_what_its_schema_says_and_numbered_without_gaps() {
    let dir = tempfile::tempdir().expect("a folder");
    let (_, orders) = lived(dir.path(), 40, Options { seed: 9, ..Options::default() }).await;
    let published = std::fs::read_to_string(dir.path().join("platform/events.jsonl")).expect("the sink");
    let seen = records::read(published.lines());
    assert_eq!(seen.faults, Vec::<String>::new());
    for order in orders.as_array().expect("orders") {
        let id = order["id"].as_str().expect("an id");
        assert_eq!(seen.orders.get(id).copied(), order["version"].as_i64(), "{order}");
    }
    assert_eq!(seen.orders.len(), orders.as_array().map_or(0, Vec::len));
    for state in ["created", "priced", "settling", "collecting", "paid", "completed", "closed"] {
        assert!(seen.types.contains(&format!("cn.tongfu.order.{state}.v1")), "{state}: {:?}", seen.types);
    }
}

/// `sandbox city --payments N --json` at the default share of faults, as anybody types it.
fn typed(dir: &Path, payments: u32, seed: u32) -> Value {
    let ran = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["city", "--json", "--payments", &payments.to_string(), "--seed", &seed.to_string(), "--dir"])
        .arg(dir)
        .output()
        .expect("it runs");
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}: {said}\n{complained}", ran.status);
    let summary: Value = serde_json::from_str(&said).expect("one JSON object");
    for key in [
        "payments",
        "completed",
        "closed",
        "suspended",
        "unfinished",
        "orders_unfinished",
        "refunds_unfinished",
        "refunds_suspended",
        "charged_twice",
        "faults_injected",
    ] {
        assert!(summary[key].is_u64(), "{key}: {summary}");
    }
    assert_eq!(summary["books_balance"], true, "{summary}");
    assert!(summary["fund_fen"]["fund"].is_i64() && summary["elapsed_s"].is_number(), "{summary}");
    assert_eq!(summary["payments"], payments);
    for key in ["unfinished", "orders_unfinished", "refunds_unfinished", "charged_twice"] {
        assert_eq!(summary[key], 0, "{key}: {summary}");
    }
    let completed = summary["completed"].as_u64().expect("a number");
    assert!(completed * 2 > u64::from(payments), "{summary}");
    assert!(summary["faults_injected"].as_u64() > Some(0), "{summary}");
    summary
}

#[test]
fn the_command_proves_its_books_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().expect("a folder");
    let orders = |summary: &Value| -> i64 {
        summary["orders"].as_object().expect("orders").values().filter_map(Value::as_i64).sum()
    };
    let first = typed(dir.path(), 40, 18);
    let second = typed(dir.path(), 20, 19);
    assert!(orders(&second) >= orders(&first) + 20, "{first}\n{second}");
    assert!(second["fund_fen"]["fund"].as_i64() > first["fund_fen"]["fund"].as_i64(), "{first}\n{second}");
}
