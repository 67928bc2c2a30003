//! The bureau as a process.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

async fn bureau(state: &std::path::Path) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["bureau", "--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("starts");
    let stdout = child.stdout.take().expect("piped");
    let line = BufReader::new(stdout).lines().next_line().await.expect("readable").expect("a ready line");
    let ready: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(ready["ready"], "bureau");
    (child, ready["url"].as_str().expect("a URL").to_owned())
}

async fn terminate(mut child: Child) {
    let pid = child.id().expect("running").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs").success());
    assert!(child.wait().await.expect("ends").success());
}

#[tokio::test]
async fn a_restarted_bureau_knows_its_people_and_keeps_its_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("bureau.json");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut seen = Vec::new();
    for created in [1, 0] {
        let (child, url) = bureau(&state).await;
        let person = json!({
            "psn_no": "P1", "certno": "449100196001010077", "psn_name": "王五", "brdy": "1960-01-01", "card_no": "C1",
            "card_password": "1", "insurances": [{ "insutype": "310", "psn_type": "1201", "insuplc_admdvs": "449100" }],
        });
        let answer = http.post(format!("{url}/sandbox/persons")).json(&person).send().await.expect("answers");
        assert_eq!(answer.json::<Value>().await.expect("JSON"), json!({ "created": created }));
        let key = http.get(format!("{url}/sandbox/public-key")).send().await.expect("answers");
        seen.push(key.json::<Value>().await.expect("JSON"));
        terminate(child).await;
    }
    assert_eq!(seen[0], seen[1]);
}
