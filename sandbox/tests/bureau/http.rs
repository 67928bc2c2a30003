//! The bureau over a real socket.

use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};
use sandbox::bureau::server::{self, Bureau, Running};
use sandbox::bureau::{CallerKind, gateway_signature};
use sandbox::clock::china_now;
use sandbox::fault::{Fault, Rule};
use serde_json::{Value, json};

use crate::world::{WORKER, World, registration, reverse, settle, text};

struct Client {
    http: reqwest::Client,
    url: String,
    nonce: u32,
}

impl Client {
    fn new(running: &Running) -> Client {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Client { http, url: running.url.clone(), nonce: 0 }
    }

    fn headers(&mut self, paasid: &str) -> [(&'static str, String); 4] {
        self.nonce += 1;
        let (timestamp, nonce) = (china_now().timestamp().to_string(), format!("n{}", self.nonce));
        let signature = gateway_signature(&timestamp, &format!("{paasid}-secret"), &nonce);
        [
            ("x-tif-paasid", paasid.to_owned()),
            ("x-tif-timestamp", timestamp),
            ("x-tif-nonce", nonce),
            ("x-tif-signature", signature),
        ]
    }

    async fn send(&self, headers: &[(&str, String)], infno: &str, body: String) -> reqwest::Result<(u16, Value)> {
        let mut request = self.http.post(format!("{}/{infno}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    async fn call(&mut self, paasid: &str, infno: &str, envelope: &Value) -> reqwest::Result<Value> {
        let headers = self.headers(paasid);
        Ok(self.send(&headers, infno, envelope.to_string()).await?.1)
    }

    async fn admin(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.http.post(format!("{}/sandbox/{path}", self.url)).json(body).send().await.expect("answers");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}/sandbox/{path}", self.url)).send().await.expect("answers");
        response.json().await.expect("JSON")
    }
}

fn serve(world: &World) -> Running {
    server::start(Bureau::new(world.core.clone(), 1), "127.0.0.1:0", None).expect("listens")
}

#[tokio::test]
async fn only_fresh_and_rightly_signed_calls_pass_the_gateway() {
    let world = World::new();
    let running = serve(&world);
    let mut client = Client::new(&running);
    let ask = json!({ "data": { "mdtrt_cert_type": "02", "mdtrt_cert_no": "449100199005200011" } });
    let envelope = world.request("1101", "m1", ask).to_string();

    let good = client.headers("his");
    let (status, answer) = client.send(&good, "1101", envelope.clone()).await.expect("answers");
    assert_eq!((status, &answer["infcode"]), (200, &json!(0)), "{answer}");

    let stale = (china_now().timestamp() - 301).to_string();
    let mut tables = vec![("a reused nonce", good.to_vec(), "nonce"), ("no headers", Vec::new(), "x-tif")];
    let mut headers = client.headers("his").to_vec();
    headers[3].1 = headers[3].1.to_uppercase();
    tables.push(("an upper-case signature", headers, "signature"));
    let mut headers = client.headers("his").to_vec();
    headers[2].1 = "other".to_owned();
    tables.push(("another nonce than signed", headers, "signature"));
    let mut headers = client.headers("his").to_vec();
    headers[3].1 = gateway_signature(&stale, "his-secret", &headers[2].1);
    headers[1].1 = stale;
    tables.push(("a stale timestamp", headers, "timestamp"));
    tables.push(("an unknown caller", client.headers("nobody").to_vec(), "paasid"));
    for (case, headers, word) in tables {
        let (status, answer) = client.send(&headers, "1101", envelope.clone()).await.expect("answers");
        assert_eq!((status, &answer["infcode"]), (401, &json!(-1)), "{case}: {answer}");
        assert!(text(&answer["err_msg"]).contains(word), "{case}: {answer}");
    }

    for body in ["", "{", "[]", "\u{0}", &"9".repeat(2 << 20)] {
        let headers = client.headers("his");
        let (status, answer) = client.send(&headers, "2207", body.to_owned()).await.expect("answers");
        assert_eq!((status, &answer["infcode"]), (200, &json!(-1)), "{answer}");
    }
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_lost_answer_breaks_the_connection_and_the_settlement_stands() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let running = serve(&world);
    let mut client = Client::new(&running);
    let rule = json!({ "operation": "2207", "subject": WORKER, "times": 1, "fault": "do-but-do-not-answer" });
    assert_eq!(client.admin("faults", &rule).await.0, 200);

    let envelope = world.request("2207", "m-lost", settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert!(client.call("his", "2207", &envelope).await.is_err(), "no byte of an answer");
    assert_eq!(running.bureau.faults.struck(), 1);
    let records = client.get("records").await;
    assert_eq!((&records[0]["msgid"], &records[0]["live"]), (&json!("m-lost"), &json!(true)));

    let reversal = world.request("2601", "m-rev", reverse("m-lost", WORKER));
    assert_eq!(client.call("his", "2601", &reversal).await.expect("answers")["infcode"], 0);
    let books = client.get("books").await;
    assert_eq!((&books["balanced"], &books["callers"][0]["live_settlements"]), (&json!(true), &json!(0)));
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn more_messages_than_a_bureau_takes_at_once_are_refused_as_busy() {
    let world = World::new();
    let running = serve(&world);
    let (mut one, mut other) = (Client::new(&running), Client::new(&running));
    other.nonce = 100;
    let latency = json!({ "base_ms": 2000, "max_concurrent": 1 });
    let set = one.http.put(format!("{}/sandbox/latency", one.url)).json(&latency).send().await.expect("answers");
    assert_eq!(set.status(), 200);
    let ask = |msgid| {
        let data = json!({ "mdtrt_cert_type": "02", "mdtrt_cert_no": "449100199005200011" });
        world.request("1101", msgid, json!({ "data": data }))
    };
    let (first, second) = (ask("m1"), ask("m2"));
    let answers = tokio::join!(one.call("his", "1101", &first), other.call("his", "1101", &second));
    let mut codes = [answers.0, answers.1].map(|answer| answer.expect("answers")["infcode"].as_i64());
    codes.sort_unstable();
    assert_ne!(codes[0], codes[1], "one of them is busy");
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "and the other is answered");
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_late_commit_happens_although_nobody_was_answered() {
    let mut world = World::new();
    let mdtrt_id = world.priced_visit(WORKER, "OP1");
    let running = serve(&world);
    let mut client = Client::new(&running);
    let fault = Fault::LateCommit { delay_ms: 30 };
    running.bureau.faults.add(Rule {
        operation: "2207".to_owned(),
        subject: None,
        share_ppm: None,
        times: Some(1),
        fault,
    });
    let envelope = world.request("2207", "m-late", settle(&mdtrt_id, WORKER, "1", "INV1"));
    assert!(client.call("his", "2207", &envelope).await.is_err());
    // Its own time passes on the server; asking until then is all a caller can do.
    while client.get("records").await == json!([]) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    running.stop().await.expect("stops");
}

#[tokio::test]
async fn a_person_is_created_over_http_and_bad_requests_are_refused_in_words() {
    let running = serve(&World::new());
    let client = Client::new(&running);
    let person = json!({
        "psn_no": "P7", "certno": "449100196001010077", "psn_name": "王五", "brdy": "1960-01-01", "card_no": "C7",
        "card_password": "1", "balance_fen": 100,
        "insurances": [{ "insutype": "310", "psn_type": "1201", "insuplc_admdvs": "449100" }],
    });
    assert_eq!(client.admin("persons", &json!([person])).await, (200, json!({ "created": 1 })));
    let (status, refusal) = client.admin("persons", &json!({ "psn_no": "P8" })).await;
    assert_eq!((status, &refusal["code"]), (400, &json!(-1)));
    assert_eq!(client.admin("clear-month", &json!({ "month": "July" })).await.0, 400);
    assert_eq!(client.admin("persons/P404/loss", &json!({})).await.0, 400);
    assert!(!text(&client.get("public-key").await["card_public_key"]).is_empty());
    running.stop().await.expect("stops");
}

struct Listener {
    heard: tokio::sync::mpsc::UnboundedSender<(Vec<String>, Vec<u8>)>,
    times: AtomicU32,
}

/// Passes a notice on; the first time it is not ready to take it.
async fn hear(request: HttpRequest, body: web::Bytes, listener: web::Data<Listener>) -> HttpResponse {
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let headers = ["x-bureau-timestamp", "x-bureau-nonce", "x-bureau-signature"].map(header).to_vec();
    listener.heard.send((headers, body.to_vec())).expect("the test listens");
    let first = listener.times.fetch_add(1, Ordering::SeqCst) == 0;
    if first { HttpResponse::ServiceUnavailable().finish() } else { HttpResponse::Ok().finish() }
}

#[tokio::test]
async fn a_loss_is_told_with_a_signature_until_it_is_heard() {
    let (heard, mut ears) = tokio::sync::mpsc::unbounded_channel();
    let data = web::Data::new(Listener { heard, times: AtomicU32::new(0) });
    let listener = HttpServer::new(move || App::new().app_data(data.clone()).route("/notice", web::post().to(hear)))
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .expect("binds");
    let url = format!("http://{}/notice", listener.addrs()[0]);
    let listener = listener.run();
    let handle = listener.handle();
    tokio::spawn(listener);

    let mut world = World::new();
    let mut with_url = registration("tongfu", CallerKind::Platform);
    with_url.notice_url = Some(url);
    world.platform = world.core.register_caller(with_url).expect("registers");
    let (platform, bind, msgid) = (world.platform.clone(), world.bind_input("135790"), world.msgid());
    world.call_as(&platform, "B001", &msgid, bind);
    let running = serve(&world);
    let client = Client::new(&running);
    let (status, notices) = client.admin(&format!("persons/{WORKER}/loss"), &json!({})).await;
    assert_eq!((status, notices.as_array().map(Vec::len)), (200, Some(1)));

    let key = client.get("public-key").await;
    let key = BASE64.decode(text(&key["notice_public_key"])).expect("Base64");
    let key = UnparsedPublicKey::new(&ED25519, key);
    let mut nonces = Vec::new();
    // The first 503 has it told again: the same notice_id, a fresh nonce.
    for _ in 0..2 {
        let (headers, body) = ears.recv().await.expect("told");
        let [timestamp, nonce, signature]: [String; 3] = headers.try_into().expect("three headers");
        let signed = [timestamp.as_bytes(), b"\n", nonce.as_bytes(), b"\n", &body].concat();
        key.verify(&signed, &BASE64.decode(signature).expect("Base64")).expect("the bureau's signature");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&body["kind"], &body["notice_id"]), (&json!("loss"), &notices[0]["notice_id"]));
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
    while !running.bureau.with_core(|core| core.pending_notices()).is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    running.stop().await.expect("stops");
    handle.stop(false).await;
}
