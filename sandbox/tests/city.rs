//! A whole city of real processes, looked at from every side: the records it published, the codes its bills are
//! written with, and the bills that carry nothing but a visit card.

#[path = "../../schema/tests/records/mod.rs"]
mod records;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use sandbox::city::founding::Programs;
use sandbox::city::options::COMPRESSED;
use sandbox::city::plan::CITIES;
use sandbox::city::verdict::Verdict;
use sandbox::city::{City, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::{Duration, Instant, timeout};

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
    assert_eq!(summary["deadlines_ms"], json!(COMPRESSED), "the profile it lived by");
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

/// `sandbox city --dir DIR` without a number of payments, as `make city` types it: what it says, line by line.
struct Living {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Name, address and process of everything it started.
    places: Vec<(String, String, i32)>,
}

/// How long the city may keep silent.
const SAYS_WITHIN: Duration = Duration::from_secs(150);

impl Living {
    fn begin(dir: &Path) -> Living {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .args(["city", "--people", "12", "--dir"])
            .arg(dir)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Living { child, lines, places: Vec::new() }
    }

    async fn line(&mut self) -> Option<String> {
        timeout(SAYS_WITHIN, self.lines.next_line()).await.expect("it says something").expect("readable")
    }

    /// Reads on to the line with this in it.
    async fn until(&mut self, word: &str) -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        while said.last().is_none_or(|line| !line.contains(word)) {
            let line = self.line().await;
            assert!(line.is_some(), "it ended without {word}: {said:#?}");
            said.extend(line);
        }
        said
    }

    /// Everything it says while it starts: where everything is, and the deadlines.
    async fn opens(&mut self, dir: &Path) {
        let said = self.until("Ctrl-C").await;
        let text = said.join("\n");
        for place in CITIES.iter().flat_map(|city| city.hospitals.iter().map(|hospital| hospital.code)) {
            assert!(text.contains(place), "{place}: {text}");
        }
        assert!(text.contains(&dir.display().to_string()) && text.contains("虚构"), "{text}");
        let profile = said.iter().find_map(|line| line.split_once("deadlines are compressed (ms): "));
        let (_, profile) = profile.expect("the deadlines");
        assert_eq!(serde_json::from_str::<Value>(profile).expect("JSON"), json!(COMPRESSED));
        // `  平台 platform: http://127.0.0.1:4711 (pid 42)`
        for line in said.iter().filter(|line| line.contains("(pid ")) {
            let (what, rest) = line.split_once(": ").expect("a name");
            let (url, pid) = rest.split_once(" (pid ").expect("an address");
            let name = what.rsplit(' ').next().expect("a name").to_owned();
            self.places.push((name, url.to_owned(), pid.trim_end_matches(')').parse().expect("a number")));
        }
        let names: BTreeSet<&str> = self.places.iter().map(|(name, ..)| name.as_str()).collect();
        let adapters = CITIES.iter().flat_map(|city| city.hospitals).map(|plan| format!("adapter-{}", plan.code));
        let bureaus = CITIES.iter().map(|city| format!("bureau-{}", city.admdvs));
        let expected: Vec<String> =
            adapters.chain(bureaus).chain(["platform", "wallet", "sms", "his"].map(str::to_owned)).collect();
        assert_eq!(names, expected.iter().map(String::as_str).collect());
        assert!(self.places.iter().all(|(.., pid)| runs(*pid)), "{:?}", self.places);
    }

    /// One line of each payment that ended, with who pays what.
    async fn payments(&mut self, count: usize) {
        let mut told = 0;
        while told < count {
            let line = self.line().await.expect("it lives until Ctrl-C");
            let (before, after) = line.split_once(" → ").expect("how it ended");
            assert!(CITIES.iter().any(|city| city.hospitals.iter().any(|plan| line.starts_with(plan.code))), "{line}");
            assert!(["完成", "关闭", "挂起", "未结束"].iter().any(|word| after.starts_with(word)), "{line}");
            told += usize::from(before.contains(" ¥") && before.contains(" = "));
        }
    }

    /// Ctrl-C: it proves its books and ends well, and nothing it started is left.
    async fn interrupted(mut self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it lives");
        kill_process(pid, Signal::INT).expect("a signal");
        let said = self.until("已停止").await.join("\n");
        assert!(said.contains(r#""books_balance": true"#), "{said}");
        let status = timeout(SAYS_WITHIN, self.child.wait()).await.expect("it ends").expect("a status");
        assert!(status.success(), "{status}: {said}");
        let left: Vec<_> = self.places.iter().filter(|(.., pid)| runs(*pid)).collect();
        assert!(left.is_empty(), "still there: {left:?}");
    }
}

/// A test that fails leaves no city behind.
impl Drop for Living {
    fn drop(&mut self) {
        let own = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        for pid in own.into_iter().chain(self.places.iter().map(|(.., pid)| *pid).filter(|pid| runs(*pid))) {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }
}

/// Whether one of our programs runs under this number.
fn runs(pid: i32) -> bool {
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    ["platform", "hospital-adapter", "sandbox"].iter().any(|name| command.contains(name))
}

/// `GET /metrics` of a platform, once.
async fn metrics(url: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let ask = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.expect("sent");
    let mut said = String::new();
    stream.read_to_string(&mut said).await.expect("an answer");
    said
}

/// Platform and adapters log JSON only, and one trace id leads from the phone to the hospital's system.
fn told_by_every_log(dir: &Path) {
    let log = |name: &str| std::fs::read_to_string(dir.join(format!("logs/{name}.log"))).expect("a log");
    let traces = |name: &str| -> BTreeSet<String> {
        let entries = log(name).lines().map(|line| serde_json::from_str(line).expect(line)).collect::<Vec<Value>>();
        let of = |entry: &Value| ["/trace_id", "/span/trace_id"].map(|at| entry.pointer(at).cloned());
        let found = entries.iter().flat_map(of).flatten();
        found.filter_map(|trace| trace.as_str().map(str::to_owned)).collect()
    };
    let (platform, his) = (traces("platform"), log("his"));
    let hospitals = CITIES.iter().flat_map(|city| city.hospitals);
    let adapters: BTreeSet<String> = hospitals.flat_map(|plan| traces(&format!("adapter-{}", plan.code))).collect();
    let whole: Vec<&String> = platform.intersection(&adapters).filter(|trace| his.contains(trace.as_str())).collect();
    assert!(!whole.is_empty(), "no trace leads through all of them: {platform:?} {adapters:?}");
}

/// Order ids by the platform's own list.
fn orders_of(dir: &Path) -> BTreeSet<String> {
    let ran = Command::new(Programs::find(&Options::default()).expect("built").platform)
        .arg("--config")
        .arg(dir.join("platform/platform.toml"))
        .args(["--json", "order", "list", "--most", "100000"])
        .output()
        .expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let listed: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let ids = listed.as_array().expect("orders").iter().filter_map(|order| order["id"].as_str());
    ids.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_city_that_lives_tells_its_payments_until_it_is_interrupted_and_goes_on_later() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut first = Living::begin(dir.path());
    first.opens(dir.path()).await;
    let (_, platform, _) = first.places.iter().find(|(name, ..)| name == "platform").cloned().expect("a platform");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !metrics(&platform).await.lines().any(|line| line == "tongfu_books_balanced 1") {
        assert!(Instant::now() < deadline, "nobody has looked at the books: {}", metrics(&platform).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    first.payments(3).await;
    first.interrupted().await;
    told_by_every_log(dir.path());
    let before = orders_of(dir.path());
    assert!(before.len() >= 3, "{before:?}");

    let mut again = Living::begin(dir.path());
    again.opens(dir.path()).await;
    again.payments(3).await;
    again.interrupted().await;
    let after = orders_of(dir.path());
    assert!(before.is_subset(&after) && after.len() >= before.len() + 3, "{before:?}\n{after:?}");
}
