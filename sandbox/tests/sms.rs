//! The SMS gateway over real sockets.

use sandbox::fault::{Fault, Rule};
use sandbox::sms::run::{Options, Running, start};
use serde_json::{Value, json};
use tempfile::TempDir;

struct World {
    running: Running,
    client: reqwest::Client,
    directory: TempDir,
}

impl World {
    async fn new() -> World {
        // The client needs a crypto provider even for plain HTTP; another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = tempfile::tempdir().expect("a directory");
        let running = start(options(&directory)).await.expect("a gateway");
        World { running, client: reqwest::Client::new(), directory }
    }

    async fn send(&self, message: &Value) -> Result<(u16, Value), reqwest::Error> {
        let url = format!("{}/sms/v1/messages", self.running.listening.url);
        let answer = self.client.post(url).header("x-sms-key", "secret").json(message).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    async fn inbox(&self, query: &str) -> Vec<Value> {
        inbox(&self.client, &self.running.listening.url, query).await
    }

    fn fault(&self, fault: Fault) {
        let rule = Rule { operation: "send".into(), subject: None, share_ppm: None, times: Some(1), fault };
        self.running.faults.add(rule);
    }
}

async fn inbox(client: &reqwest::Client, url: &str, query: &str) -> Vec<Value> {
    let answer = client.get(format!("{url}/sandbox/inbox/13800000001{query}")).send().await.expect("an answer");
    let body: Value = answer.json().await.expect("JSON");
    body["messages"].as_array().cloned().expect("a list")
}

fn options(directory: &TempDir) -> Options {
    Options {
        listen: "127.0.0.1:0".into(),
        key: "secret".into(),
        keep: 3,
        state: Some(directory.path().join("sms.json")),
        seed: 0,
        faults: None,
    }
}

fn message(id: &str) -> Value {
    json!({
        "message_id": id, "phone": "13800000001", "template": "pay-code", "params": { "code": "123456" },
        "text": "【统付】验证码 123456",
    })
}

fn ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["message_id"].as_str()).collect()
}

#[tokio::test]
async fn a_message_arrives_once_and_the_newest_are_kept() {
    let world = World::new().await;
    for id in ["m-1", "m-1", "m-2", "m-3", "m-4"] {
        assert_eq!(world.send(&message(id)).await.expect("an answer"), (202, json!({ "accepted": true })));
    }
    let all = world.inbox("").await;
    assert_eq!(ids(&all), ["m-2", "m-3", "m-4"]);
    let after = format!("?after={}", all[1]["seq"]);
    assert_eq!(ids(&world.inbox(&after).await), ["m-4"]);
    let other = json!({ "message_id": "m-1", "phone": "13800000001", "template": "x", "text": "y" });
    assert_eq!(world.send(&other).await.expect("an answer").0, 409);
}

#[tokio::test]
async fn a_reader_who_waits_gets_the_message_when_it_comes() {
    let world = World::new().await;
    let waiting = world.inbox("?wait_ms=20000");
    let sending = async {
        assert_eq!(world.send(&message("m-1")).await.expect("an answer").0, 202);
    };
    let (messages, ()) = tokio::join!(waiting, sending);
    assert_eq!(ids(&messages), ["m-1"]);
    assert_eq!(world.inbox("?after=1&wait_ms=1").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_malformed_or_keyless_message_is_refused_with_every_fault() {
    let world = World::new().await;
    let bad = json!({ "message_id": "", "phone": "+86138", "template": "", "text": "" });
    let (status, refusal) = world.send(&bad).await.expect("an answer");
    assert_eq!(status, 400);
    for field in ["message_id", "phone", "template", "text"] {
        assert!(refusal["message"].as_str().is_some_and(|said| said.contains(field)), "{field} in {refusal}");
    }
    let url = format!("{}/sms/v1/messages", world.running.listening.url);
    let keyless = world.client.post(url).json(&message("m-1")).send().await.expect("an answer");
    assert_eq!(keyless.status().as_u16(), 401);
    assert_eq!(world.inbox("").await, Vec::<Value>::new());
}

#[tokio::test]
async fn faults_break_the_connection_before_or_after_the_message_is_taken() {
    let world = World::new().await;
    world.fault(Fault::NeitherDoNorAnswer);
    world.send(&message("m-1")).await.expect_err("no answer");
    assert_eq!(world.inbox("").await, Vec::<Value>::new());
    world.fault(Fault::DoButDoNotAnswer);
    world.send(&message("m-1")).await.expect_err("no answer");
    assert_eq!(ids(&world.inbox("").await), ["m-1"]);
    world.fault(Fault::Refuse { code: "BLACKLISTED".into(), message: "号码在黑名单".into() });
    let (status, refusal) = world.send(&message("m-2")).await.expect("an answer");
    assert_eq!((status, &refusal["code"]), (422, &json!("BLACKLISTED")));
}

#[tokio::test]
async fn inboxes_survive_a_restart() {
    let world = World::new().await;
    world.send(&message("m-1")).await.expect("an answer");
    world.running.listening.stop().await.expect("saved");
    let running = start(options(&world.directory)).await.expect("a gateway");
    assert_eq!(ids(&inbox(&world.client, &running.listening.url, "").await), ["m-1"]);
}

#[tokio::test]
async fn a_duplicate_arrives_twice_and_a_pretended_message_never() {
    let world = World::new().await;
    world.fault(Fault::Duplicate);
    assert_eq!(world.send(&message("m-1")).await.expect("an answer").0, 202);
    assert_eq!(ids(&world.inbox("").await), ["m-1", "m-1"]);
    world.fault(Fault::AnswerButDoNotDo);
    assert_eq!(world.send(&message("m-2")).await.expect("an answer").0, 202);
    assert_eq!(ids(&world.inbox("").await), ["m-1", "m-1"]);
}

#[tokio::test]
async fn a_storm_about_one_subject_ends_without_the_others() {
    let world = World::new().await;
    for subject in ["13800000001", "13800000002"] {
        world.running.faults.add(Rule {
            operation: "send".into(),
            subject: Some(subject.into()),
            share_ppm: None,
            times: None,
            fault: Fault::Busy,
        });
    }
    let url = format!("{}/sandbox/faults?subject=13800000001", world.running.listening.url);
    assert!(world.client.delete(url).send().await.expect("an answer").status().is_success());
    assert_eq!(world.send(&message("m-1")).await.expect("an answer").0, 202);
    let other = json!({ "message_id": "m-2", "phone": "13800000002", "template": "x", "text": "y" });
    assert_eq!(world.send(&other).await.expect("an answer").0, 429);
}
