//! The generator itself, on a small city: what it says of a run that is sound, and of one that is not.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

fn run(out: &Path, arguments: &[&str]) -> (Output, Value) {
    let ran = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        // What it keeps of a run in which something is off goes with the test.
        .env("TMPDIR", out)
        .args(["--seconds", "6", "--warm-up", "1", "--out"])
        .arg(out)
        .args(arguments)
        .output()
        .expect("the binary runs");
    let report = std::fs::read(out.join("load.json")).unwrap_or_default();
    let report = serde_json::from_slice(&report).unwrap_or_else(|_| {
        unreachable!("no report: {}\n{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr))
    });
    (ran, report)
}

#[test]
fn a_run_on_real_engines_proves_books_and_topic_and_leaves_a_report_a_page_and_a_plot() {
    let dir = TempDir::new().expect("a folder");
    let (ran, report) = run(dir.path(), &["--rate", "3", "--people", "20"]);
    assert_eq!((ran.status.code(), &report["wrong"]), (Some(0), &json!([])), "{report:#}");
    assert_eq!((&report["scenario"], &report["books_balance"]), (&json!("steady"), &json!(true)), "{report:#}");
    let payments = &report["payments"];
    assert!(payments["completed"].as_u64() > Some(0) && payments["completed"] == payments["arrived"], "{report:#}");
    for step in ["open", "code", "pay", "whole"] {
        assert!(payments["steps"][step]["p99_us"].as_u64() > Some(0), "{step}: {report:#}");
    }
    for step in ["open", "pay"] {
        assert!(report["own_share_ms"][step]["answers"].as_f64() > Some(0.0), "{step}: {report:#}");
    }
    let page = std::fs::read_to_string(dir.path().join("load.md")).expect("a page");
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), page.trim());
    assert!(page.contains("| whole"), "{page}");
    let plot = std::fs::read_to_string(dir.path().join("load.svg")).expect("a plot");
    assert!(plot.starts_with("<svg") && plot.contains("completed") && plot.contains("p99"), "{plot}");
}

#[test]
fn a_run_that_measured_nothing_ends_with_another_status_and_says_why() {
    let dir = TempDir::new().expect("a folder");
    let (ran, report) = run(dir.path(), &["--engines", "embedded", "--rate", "400", "--people", "12"]);
    let wrong = report["wrong"].to_string();
    assert!(ran.status.code() == Some(1) && wrong.contains("nobody free"), "{report:#}");
    assert_eq!(report["books_balance"], true, "too few people are no fault of the books");
    assert!(String::from_utf8_lossy(&ran.stdout).contains("something is off"));
}
