//! What every door does alike.

use platform::http::routes::GROUPS;
use platform::http::{Session, SessionKeys};
use schema::ids::{ChannelId, ChannelUserId};
use schema::personal::Personal as _;
use serde_json::json;

use crate::world::{SESSION_KEY, WANG, World, hear};

const SOME_ID: &str = "01890000-0000-7000-8000-000000000000";

fn phone_routes() -> Vec<(&'static str, String)> {
    let phone = GROUPS.iter().find(|group| group.name == "mobile").expect("the phone's group");
    let all = phone
        .routes
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(move |method| (*method, path.replace("{id}", SOME_ID))));
    all.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_phone_route_answers_without_a_credential_of_its_own() {
    let world = World::start().await;
    let foreign = SessionKeys::new(&[1; 32]);
    let ours = SessionKeys::new(&SESSION_KEY);
    let session = |tenant, expires_at_us| Session {
        tenant,
        channel: ChannelId::from_uuid(uuid::Uuid::from_u128(1)),
        user: ChannelUserId::from_uuid(uuid::Uuid::from_u128(2)),
        expires_at_us,
    };
    let nobody = schema::ids::TenantId::from_uuid(uuid::Uuid::from_u128(3));
    let tokens = [
        ("nonsense", "Bearer nonsense".to_owned()),
        ("another key", format!("Bearer {}", foreign.issue(&session(world.cities[0].id, i64::MAX)).expose())),
        ("over", format!("Bearer {}", ours.issue(&session(world.cities[0].id, 1)).expose())),
        ("an unknown tenant", format!("Bearer {}", ours.issue(&session(nobody, i64::MAX)).expose())),
        ("not a bearer", format!("Basic {}", ours.issue(&session(world.cities[0].id, i64::MAX)).expose())),
    ];
    for (method, path) in phone_routes() {
        let bare = || world.request(method, &path).header("idempotency-key", "k").body("{}");
        hear(bare()).await.refused(401, "UNAUTHENTICATED");
        hear(bare().header("x-tongfu-channel", "not a key")).await.refused(401, "UNAUTHENTICATED");
        for (case, token) in &tokens {
            let said = hear(bare().header("authorization", token)).await;
            assert_eq!(said.status, 401, "{method} {path} with {case}");
            assert_eq!(said.header("www-authenticate"), "Bearer");
        }
        // A channel key is no session, and a token in the address is none either.
        if !path.starts_with("/mobile/v1/login") {
            let key = &world.cities[0].channel_key;
            hear(bare().header("x-tongfu-channel", key)).await.refused(401, "UNAUTHENTICATED");
            let token = ours.issue(&session(world.cities[0].id, i64::MAX));
            let path = format!("{path}?token={}&access_token={}", token.expose(), token.expose());
            hear(world.request(method, &path).body("{}")).await.refused(401, "UNAUTHENTICATED");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_address_a_wrong_method_and_a_wrong_id_are_problems_too() {
    let world = World::start().await;
    hear(world.request("GET", "/")).await.refused(404, "NOT_FOUND");
    hear(world.request("POST", "/mobile/v2/orders")).await.refused(404, "NOT_FOUND");
    let said = hear(world.request("PUT", "/mobile/v1/orders")).await;
    said.refused(405, "METHOD_NOT_ALLOWED");
    assert_eq!(said.header("allow"), "GET, POST");
    hear(world.request("GET", "/link/v1")).await.refused(400, "MALFORMED");
    let person = world.sign_in(0, "13800000001").await;
    for (path, code) in [
        ("/mobile/v1/orders/1", "ORDER_UNKNOWN"),
        ("/mobile/v1/orders/%00/receipt", "ORDER_UNKNOWN"),
        ("/mobile/v1/bills/..%2f..%2fetc", "BILL_UNKNOWN"),
        (&format!("/mobile/v1/bills/{SOME_ID}"), "BILL_UNKNOWN"),
    ] {
        person.get(path).await.refused(404, code);
    }
    person.change("DELETE", "/mobile/v1/bindings/x", json!({})).await.refused(404, "BINDING_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_refused_with_everything_wrong_with_it_and_nothing_of_it() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let secret = "441900199001011234";
    let change = |body: String| person.request("POST", "/mobile/v1/bindings").header("idempotency-key", "k").body(body);
    let cases = [
        (String::new(), vec!["psn_name", "psn_cert_type", "certno"]),
        ("[]".into(), vec!["psn_name"]),
        (r#"{"psn_name":"#.into(), vec!["line 1 column 12"]),
        (
            format!(r#"{{"psn_name":{secret},"certno":["{secret}"],"{secret}":1,"extra":2}}"#),
            vec!["psn_name", "certno", "?", "extra", "psn_cert_type"],
        ),
        (
            format!(r#"{{"psn_name":"","psn_cert_type":"","certno":"{secret}!"}}"#),
            vec!["psn_name", "psn_cert_type", "certno"],
        ),
        ("\u{0}\u{1}".into(), vec!["line 1 column 1"]),
    ];
    for (body, places) in cases {
        let said = hear(change(body.clone())).await;
        assert!(matches!(said.status, 400 | 422), "{body}");
        let problem = said.json();
        let found: Vec<&str> =
            problem["faults"].as_array().expect("faults").iter().filter_map(|f| f["at"].as_str()).collect();
        for place in &places {
            assert!(found.contains(place) || (body == "[]" && !found.is_empty()), "{place} in {found:?} for {body}");
        }
        assert!(!String::from_utf8_lossy(&said.bytes).contains(secret), "{problem}");
    }
    // Random bytes never make it fail.
    for seed in 0_u32..64 {
        let bytes: Vec<u8> =
            (0..seed).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 7) as u8).collect();
        let request = person.request("POST", "/mobile/v1/orders").header("idempotency-key", "k").body(bytes);
        assert!(hear(request).await.status < 500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_the_limit_is_refused_whether_announced_or_not() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let large = format!(r#"{{"psn_name":"{}"}}"#, "x".repeat(64 * 1024));
    let ask = || person.request("POST", "/mobile/v1/bindings").header("idempotency-key", "k");
    hear(ask().body(large.clone())).await.refused(413, "TOO_LARGE");
    let chunks =
        large.into_bytes().chunks(8 * 1024).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    hear(ask().body(stream)).await.refused(413, "TOO_LARGE");
    // One byte less than the limit is read.
    let filled = format!("{}{}", "{}", " ".repeat(64 * 1024 - 2));
    hear(ask().body(filled)).await.refused(400, "MALFORMED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_beyond_the_limit_is_refused_signed_or_not_and_announced_or_not() {
    let world = World::start().await;
    let city = &world.cities[0];
    let large = format!(r#"{{"event":"{}"}}"#, "x".repeat(64 * 1024));
    for path in [format!("/wallet/v1/notify/{}", city.id), format!("/bureau/v1/notices/{}", city.id)] {
        let signed = || {
            let request = world.request("POST", &path).header("x-test-wallet", &city.wallet_secret);
            let headers = city.bureau.sign(&large, world.ground.clock.now_us());
            headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
        };
        hear(signed().body(large.clone())).await.refused(413, "TOO_LARGE");
        hear(world.request("POST", &path).body(large.clone())).await.refused(413, "TOO_LARGE");
        let chunks: Vec<_> =
            large.as_bytes().chunks(8 * 1024).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
        let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        hear(signed().body(stream)).await.refused(413, "TOO_LARGE");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_notice_that_says_nothing_readable_is_malformed_and_changes_nothing() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let id = person.bind(WANG).await;
    let proof = json!({ "card_no": format!("C{}", WANG.0), "sealed_password": "right" });
    person.change("POST", &format!("/mobile/v1/bindings/{id}/level2"), proof).await.done(202);
    let city = &world.cities[0];
    let bind_no = crate::outsiders::Registry::bind_no(WANG.0);
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let unfinished = format!(r#"{{"notice_id":"N1","kind":"loss","psn_no":"P1","bind_no":"{bind_no}""#);
    let nameless = format!(r#"{{"notice_id":"N1","kind":"loss","bind_no":["{bind_no}"],"at":"x"}}"#);
    for body in ["", "{}", "[]", "null", "\u{0}", &deep, &unfinished, &nameless] {
        let mut request = world.request("POST", &format!("/bureau/v1/notices/{}", city.id));
        for (name, value) in city.bureau.sign(body, world.ground.clock.now_us()) {
            request = request.header(name, value);
        }
        hear(request.body(body.to_owned())).await.refused(400, "MALFORMED");
    }
    assert_eq!(person.get("/mobile/v1/bindings").await.done(200)[0]["frozen"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_needs_a_usable_key_and_a_key_belongs_to_one_request() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let (certno, name) = WANG;
    let ask = json!({ "psn_name": name, "psn_cert_type": "01", "certno": certno });
    let bare = || person.request("POST", "/mobile/v1/bindings").body(ask.to_string());
    hear(bare()).await.refused(400, "IDEMPOTENCY_KEY_MISSING");
    for key in ["", " ", "a b", &"k".repeat(65)] {
        hear(bare().header("idempotency-key", key)).await.refused(400, "IDEMPOTENCY_KEY_MISSING");
    }
    let first = person.keyed("POST", "/mobile/v1/bindings", "k1", ask.clone()).await;
    first.done(201);
    let second = person.keyed("POST", "/mobile/v1/bindings", "k1", ask.clone()).await;
    assert_eq!((second.status, &second.bytes), (201, &first.bytes));
    let other = json!({ "psn_name": name, "psn_cert_type": "02", "certno": certno });
    person.keyed("POST", "/mobile/v1/bindings", "k1", other).await.refused(422, "IDEMPOTENCY_KEY_REUSED");
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/mobile/v1/bindings/{id}/loss");
    person.keyed("POST", &path, "k1", json!({})).await.refused(422, "IDEMPOTENCY_KEY_REUSED");
    // A key is its caller's own.
    let neighbour = world.sign_in(0, "13800000002").await;
    neighbour.keyed("POST", "/mobile/v1/bindings", "k1", ask).await.done(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_that_a_phone_asks_for_names_its_key() {
    let world = World::start().await;
    let person = world.sign_in(0, "13800000001").await;
    let document = hear(world.request("GET", "/openapi.json")).await.done(200);
    for (method, path) in phone_routes().iter().filter(|(method, _)| *method != "GET") {
        let bare = person.request(method, path).header("x-tongfu-channel", &world.cities[0].channel_key);
        hear(bare.body("{}")).await.refused(400, "IDEMPOTENCY_KEY_MISSING");
        let told = &document["paths"][path.replace(SOME_ID, "{id}")][method.to_lowercase()]["parameters"];
        let told = told.as_array().is_some_and(|told| told.iter().any(|told| told["name"] == "Idempotency-Key"));
        assert!(told, "{method} {path} is said to need one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_id_goes_in_and_comes_out() {
    let world = World::start().await;
    let given = "4bf92f3577b34da6a3ce929d0e0e4736";
    let said = hear(world.request("GET", "/livez").header("x-trace-id", given)).await;
    assert_eq!(said.header("x-trace-id"), given);
    let parent = format!("00-{given}-00f067aa0ba902b7-01");
    let said = hear(world.request("GET", "/nowhere").header("traceparent", parent)).await;
    assert_eq!(said.refused(404, "NOT_FOUND")["trace_id"], given);
    let said = hear(world.request("GET", "/livez").header("x-trace-id", "</script>")).await;
    assert_ne!(said.header("x-trace-id"), "</script>");
    assert_eq!(said.header("x-trace-id").len(), 32);
}

/// `中文 / English`.
fn in_both_languages(what: &str, summary: &serde_json::Value) {
    let (zh, en) = summary.as_str().and_then(|text| text.split_once(" / ")).unwrap_or_default();
    let chinese = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
    assert!(zh.contains(chinese) && !en.contains(chinese) && en.contains(' '), "{what}: {summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_life_readiness_and_figures_without_a_single_id() {
    let world = World::start().await;
    hear(world.request("GET", "/livez")).await.done(200);
    hear(world.request("GET", "/readyz")).await.done(200);
    for path in ["/livez", "/readyz"] {
        let said = hear(world.request("HEAD", path)).await;
        assert_eq!((said.status, said.bytes.len()), (200, 0), "{path}");
    }
    hear(world.request("GET", &format!("/mobile/v1/orders/{SOME_ID}"))).await.refused(401, "UNAUTHENTICATED");
    let said = hear(world.request("GET", "/metrics")).await;
    let text = String::from_utf8(said.bytes).expect("text");
    let route = r#"{method="GET",route="/mobile/v1/orders/{id}",status_class="4xx"} 1"#;
    assert!(text.contains(&format!("tongfu_http_request_duration_seconds_count{route}")), "{text}");
    assert!(text.contains("tongfu_links_up 0"));
    assert!(!text.contains(SOME_ID));
    let document = hear(world.request("GET", "/openapi.json")).await.done(200);
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            in_both_languages(&format!("{method} {path}"), &operation["summary"]);
        }
    }
    assert!(!document.to_string().contains("[`"), "a link that only rustdoc follows: {document}");
    let page = hear(world.request("GET", "/docs")).await;
    assert!(String::from_utf8_lossy(&page.bytes).contains("swagger-ui"));
    world.stopper.stop().await;
}
