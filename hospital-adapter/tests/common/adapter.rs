//! The real binary in a directory of its own.

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const BINARY: &str = env!("CARGO_BIN_EXE_hospital-adapter");
pub(crate) const INSTITUTION: &str = "H44190000001";

/// A directory made by `init`.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) public_key: String,
    pub(crate) api_key: String,
}

impl Site {
    /// Initialises an adapter for a platform at this link URL. Waits are short so that reconnecting takes no time.
    pub(crate) async fn init(link_url: &str) -> Site {
        Site::init_with(link_url, "").await
    }

    /// The same with more settings.
    pub(crate) async fn init_with(link_url: &str, settings: &str) -> Site {
        let dir = TempDir::new().expect("a directory");
        let (done, printed) =
            run(&dir, &["init", "--institution", INSTITUTION, "--platform", link_url, "--json"]).await;
        assert!(done, "init failed: {printed}");
        let printed: Value = serde_json::from_str(&printed).expect("init prints JSON");
        let config = dir.path().join("config.toml");
        let text = std::fs::read_to_string(&config).expect("a config");
        let quick = "reconnect_first_ms = 20\nreconnect_most_ms = 100\nresend_ms = 1000\nanswer_wait_ms = 3000\n";
        std::fs::write(&config, format!("{text}{quick}{settings}")).expect("written");
        let take = |name: &str| printed[name].as_str().expect("a text").to_owned();
        Site { public_key: take("public_key"), api_key: take("api_key"), dir }
    }

    /// Starts `run` and waits until it is ready.
    pub(crate) async fn start(&self) -> Adapter {
        let mut child = command(&self.dir, &["run", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let line = BufReader::new(stdout).lines().next_line().await.expect("readable").expect("a ready line");
        let ready: Value = serde_json::from_str(&line).expect("the ready line is JSON");
        assert_eq!(ready["ready"], "hospital-adapter");
        let url = ready["url"].as_str().expect("a url").to_owned();
        Adapter { child, url, api_key: self.api_key.clone(), http: client() }
    }

    /// Runs `doctor --json`; the exit status and what it printed.
    pub(crate) async fn doctor(&self) -> (bool, Value) {
        let (healthy, printed) = run(&self.dir, &["doctor", "--json"]).await;
        (healthy, serde_json::from_str(&printed).expect("doctor prints JSON"))
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

fn command(dir: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--dir").arg(dir.path());
    command
}

/// Runs the binary to its end.
pub(crate) async fn run(dir: &TempDir, arguments: &[&str]) -> (bool, String) {
    let output = command(dir, arguments).output().await.expect("the binary runs");
    (output.status.success(), String::from_utf8(output.stdout).expect("UTF-8"))
}

/// A running adapter as its HIS sees it.
pub(crate) struct Adapter {
    child: Child,
    pub(crate) url: String,
    pub(crate) api_key: String,
    pub(crate) http: reqwest::Client,
}

impl Adapter {
    /// POSTs JSON; status and body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.api_key).json(body);
        read(request.send().await.expect("answered")).await
    }

    /// GETs; status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.api_key);
        read(request.send().await.expect("answered")).await
    }

    /// Polls until there is work; the items.
    pub(crate) async fn work(&self) -> Vec<Value> {
        let (status, items) = self.get("/his/v1/work?wait_s=30&most=10").await;
        assert_eq!(status, 200, "{items}");
        items.as_array().expect("a list").clone()
    }

    /// Waits until no ask of this institution is without reply.
    pub(crate) async fn all_replied(&self) {
        loop {
            let (_, text) = self.get("/metrics").await;
            if text.as_str().expect("text").contains("tongfu_adapter_outbound_waiting 0") {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Answers a work item.
    pub(crate) async fn answer(&self, item: &Value, reply: Value) -> (u16, Value) {
        let id = item["id"].as_str().expect("an id");
        self.post(&format!("/his/v1/work/{id}/answer"), &json!({ "reply": reply })).await
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM, and the exit status.
    pub(crate) async fn stop(mut self) -> bool {
        let id = self.child.id().expect("running").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs");
        assert!(sent.success());
        self.child.wait().await.expect("ended").success()
    }
}

pub(crate) async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
