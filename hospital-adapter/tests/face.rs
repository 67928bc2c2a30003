//! The HIS face refuses what it must, with everything that is wrong, and never says more than it should.

mod common;

use common::adapter::{Adapter, Site, read};
use common::bill_json;
use common::platform::Platform;
use schema::his::DAY_PAGE;
use schema::ids::OrderId;
use schema::link::{Reply, ToPlatform};
use serde_json::{Value, json};

async fn started() -> (Platform, Site, Adapter) {
    let platform = Platform::listen().await;
    let site = Site::init_with(&platform.url, "[http]\nbody_most_bytes = 65536\n").await;
    let adapter = site.start().await;
    (platform, site, adapter)
}

fn places(problem: &Value) -> Vec<&str> {
    let faults = problem["faults"].as_array().expect("faults");
    faults.iter().map(|fault| fault["at"].as_str().expect("a place")).collect()
}

#[tokio::test]
async fn everything_under_his_needs_the_api_key() {
    let (_platform, _site, adapter) = started().await;
    for path in ["/his/v1/work?wait_s=0", "/his/v1/orders?date=2026-01-01", "/his/v1/nothing"] {
        let url = format!("{}{path}", adapter.url);
        for request in [
            adapter.http.get(&url),
            adapter.http.get(&url).bearer_auth("wrong"),
            adapter.http.get(&url).bearer_auth(""),
            adapter.http.get(&url).header("authorization", adapter.api_key.clone()),
        ] {
            let response = request.send().await.expect("answered");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert!(response.headers().contains_key("x-trace-id"));
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            let (status, problem) = read(response).await;
            assert_eq!((status, &problem["code"]), (401, &json!("UNAUTHENTICATED")), "{path}");
        }
    }
    for path in ["/livez", "/metrics", "/openapi.json", "/docs", "/docs/"] {
        let response = adapter.http.get(format!("{}{path}", adapter.url)).send().await.expect("answered");
        assert_eq!(response.status().as_u16(), 200, "{path} is for whoever watches and reads");
    }
    let response = adapter.http.head(format!("{}/livez", adapter.url)).send().await.expect("answered");
    assert_eq!(response.status().as_u16(), 200, "a look without a body");
    let lower = format!("bearer {}", adapter.api_key);
    let request = adapter.http.get(format!("{}/his/v1/work?wait_s=0", adapter.url)).header("authorization", lower);
    assert_eq!(request.send().await.expect("answered").status().as_u16(), 200, "a scheme has no case");
}

#[tokio::test]
async fn every_call_is_summed_up_in_both_languages_and_no_text_links_into_the_source() {
    let (_platform, _site, adapter) = started().await;
    let (_, document) = adapter.get("/openapi.json").await;
    let chinese = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
    let mut calls = 0;
    for (path, methods) in
        ["paths", "webhooks"].iter().flat_map(|part| document[part].as_object().expect("a part of the document"))
    {
        for (method, operation) in methods.as_object().expect("methods") {
            let summary = operation["summary"].as_str().unwrap_or_default();
            let (zh, en) = summary.split_once(" / ").unwrap_or_default();
            let both = zh.contains(chinese) && !en.contains(chinese) && en.contains(' ');
            assert!(both, "{method} {path}: {summary}");
            calls += 1;
        }
    }
    assert_eq!(calls, 11);
    assert!(!document.to_string().contains("[`"), "a link that only rustdoc follows: {document}");
}

#[tokio::test]
async fn a_faulty_bill_is_refused_with_all_its_faults_of_shape_and_content() {
    let (_platform, _site, adapter) = started().await;
    let mut bill = bill_json("B1");
    bill["amount_fen"] = json!(2999);
    bill["visit"]["dept_name"] = json!("");
    bill["lines"][0]["hosp_appr_flag"] = json!("9");
    let (status, problem) = adapter.post("/his/v1/bills", &bill).await;
    assert_eq!((status, &problem["code"]), (422, &json!("INVALID")));
    assert_eq!(places(&problem), ["visit.dept_name", "lines[0].hosp_appr_flag", "amount_fen"]);

    bill["kind"] = json!("haircut");
    bill["lines"][0]["cnt"] = json!("three");
    let (status, problem) = adapter.post("/his/v1/bills", &bill).await;
    assert_eq!((status, &problem["code"]), (400, &json!("MALFORMED")));
    assert_eq!(places(&problem), ["kind", "lines[0].cnt", "visit.dept_name"]);
    assert!(!problem.to_string().contains("haircut"), "{problem}");
}

#[tokio::test]
async fn bad_requests_are_refused_in_their_own_words() {
    let (_platform, _site, adapter) = started().await;
    let big = json!({ "bill_no": "x".repeat(70_000) });
    for (method, path, body, status, code) in [
        ("POST", "/his/v1/bills", big, 413, "TOO_LARGE"),
        ("POST", "/his/v1/bills", json!("no bill"), 400, "MALFORMED"),
        ("GET", "/his/v1/bills", Value::Null, 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/his/v1/work", Value::Null, 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/his/v1/elsewhere", Value::Null, 404, "NOT_FOUND"),
        ("GET", "/elsewhere", Value::Null, 404, "NOT_FOUND"),
        ("GET", "/his/v1/work?wait_s=61&most=x", Value::Null, 422, "INVALID"),
        ("GET", "/his/v1/orders?date=2026-13-01", Value::Null, 422, "INVALID"),
        ("GET", "/his/v1/orders", Value::Null, 422, "INVALID"),
        ("GET", "/his/v1/orders?date=1&date=2", Value::Null, 400, "MALFORMED"),
        ("POST", "/his/v1/work/nonsense/answer", json!({ "reply": { "reply": "done" } }), 404, "NOT_FOUND"),
        (
            "POST",
            "/his/v1/work/01a20a9b-d327-7306-aef1-26bdc120de39/answer",
            json!({ "reply": { "reply": "done" } }),
            404,
            "NOT_FOUND",
        ),
        ("POST", "/his/v1/bills/%20/claim", Value::Null, 422, "INVALID"),
        ("POST", "/his/v1/refunds", json!({ "refund_no": "", "bill_no": "", "reason": "" }), 422, "INVALID"),
        ("GET", "/his/v1/refunds/R1", Value::Null, 404, "NOT_FOUND"),
        ("POST", "/his/v1/visit-cards", json!({}), 400, "MALFORMED"),
    ] {
        let url = format!("{}{path}", adapter.url);
        let request = adapter.http.request(method.parse().expect("a method"), url).bearer_auth(&adapter.api_key);
        let response = request.json(&body).send().await.expect("answered");
        assert_eq!(response.headers().contains_key("allow"), status == 405, "{method} {path}");
        let (got, problem) = read(response).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{method} {path}: {problem}");
        assert_eq!(problem["trace_id"].as_str().map(str::len), Some(32), "{problem}");
    }
}

#[tokio::test]
async fn a_trace_id_travels_up_and_comes_back() {
    let (platform, site, adapter) = started().await;
    let mut link = platform.accept(&site.public_key).await;
    let trace = "0123456789abcdef".repeat(2);
    let request = adapter.http.post(format!("{}/his/v1/bills", adapter.url)).bearer_auth(&adapter.api_key);
    let response = request.header("x-trace-id", &trace).json(&bill_json("B1")).send().await.expect("answered");
    assert_eq!(response.headers()["x-trace-id"], trace.as_str());
    let (frame, _) = link.hear_ask().await;
    assert_eq!(frame.trace_id, Some(trace.clone()));
    let request = adapter.http.get(format!("{}/livez", adapter.url)).header("x-trace-id", trace.to_uppercase());
    let response = request.send().await.expect("answered");
    assert_eq!(response.headers()["x-trace-id"], trace.as_str(), "upper case is the same trace");
}

#[tokio::test]
async fn a_day_of_many_orders_is_fetched_page_by_page() {
    let (platform, site, adapter) = started().await;
    let mut link = platform.accept(&site.public_key).await;
    let order = |number: usize| {
        let order_id = OrderId::from_uuid(uuid::Uuid::from_u128(number as u128));
        json!({ "order_id": order_id, "bill_no": format!("B{number}"), "state": "paid", "amount_fen": 1,
            "refunded_fen": 0, "created_at_us": number, "updated_at_us": number })
    };
    let page = |numbers: std::ops::Range<usize>| Reply::Orders {
        orders: numbers.map(|number| serde_json::from_value(order(number)).expect("an order")).collect(),
    };
    let platform_side = async {
        let mut asked = Vec::new();
        for numbers in [0..DAY_PAGE, DAY_PAGE..2 * DAY_PAGE, 0..0] {
            let (frame, ask) = link.hear_ask().await;
            let ToPlatform::DayList(day) = ask else { unreachable!("a day was due") };
            asked.push(day.after);
            link.reply(&frame, page(numbers)).await;
        }
        asked
    };
    let (asked, (status, orders)) = tokio::join!(platform_side, adapter.get("/his/v1/orders?date=2026-02-28"));
    let last = |number: usize| Some(OrderId::from_uuid(uuid::Uuid::from_u128(number as u128)));
    assert_eq!(asked, [None, last(DAY_PAGE - 1), last(2 * DAY_PAGE - 1)]);
    assert_eq!((status, orders), (200, (0..2 * DAY_PAGE).map(order).collect()));
}

#[tokio::test]
async fn orders_refunds_and_bindings_are_asked_and_answered() {
    let (platform, site, adapter) = started().await;
    let mut link = platform.accept(&site.public_key).await;
    let order_id = OrderId::from_uuid(uuid::Uuid::nil());
    let order = json!({ "order_id": order_id, "bill_no": "B 1/2", "state": "paid", "amount_fen": 1, "refunded_fen": 0,
        "created_at_us": 1, "updated_at_us": 2 });
    let orders = Reply::Orders { orders: vec![serde_json::from_value(order.clone()).expect("an order")] };

    let platform_side = async {
        let (frame, ask) = link.hear_ask().await;
        assert!(matches!(ask, ToPlatform::OrderQuery(named) if named.bill_no == "B 1/2"));
        link.reply(&frame, orders.clone()).await;
        let (frame, ask) = link.hear_ask().await;
        assert!(matches!(ask, ToPlatform::DayList(day) if day.date == "2026-02-28"));
        link.reply(&frame, orders.clone()).await;
        let refund = |state: &str| {
            let view = json!({ "refund_no": "R1", "order_id": order_id, "state": state, "amount_fen": 1 });
            Reply::Refund(serde_json::from_value(view).expect("a refund"))
        };
        let (first, ask) = link.hear_ask().await;
        assert!(matches!(ask, ToPlatform::Refund(ask) if ask.refund_no == "R1"));
        link.reply(&first, refund("returning_cash")).await;
        let (second, _) = link.hear_ask().await;
        assert_ne!(second.id, first.id, "looking again is a new question");
        link.reply(&second, refund("done")).await;
        let (frame, ask) = link.hear_ask().await;
        assert!(matches!(ask, ToPlatform::BindVisitCard(_)));
        link.reply(&frame, Reply::Done).await;
    };
    let his_side = async {
        assert_eq!(adapter.get("/his/v1/bills/B%201%2F2/order").await, (200, order.clone()));
        assert_eq!(adapter.get("/his/v1/orders?date=2026-02-28").await, (200, json!([order])));
        let ask = json!({ "refund_no": "R1", "bill_no": "B1", "reason": "退药" });
        let (status, view) = adapter.post("/his/v1/refunds", &ask).await;
        assert_eq!((status, &view["state"]), (202, &json!("returning_cash")));
        let mut other = ask.clone();
        other["amount_fen"] = json!(1);
        let (status, problem) = adapter.post("/his/v1/refunds", &other).await;
        assert_eq!((status, &problem["code"]), (409, &json!("REFUND_CHANGED")));
        for _ in 0..2 {
            let (status, view) = adapter.get("/his/v1/refunds/R1").await;
            assert_eq!((status, &view["state"]), (200, &json!("done")), "the second time without asking");
        }
        let binding = json!({ "visit_card_no": "V1", "psn_name": "王小明", "psn_cert_type": "01",
            "certno": "441900199001011234", "card_no": "A1", "sealed_password": "c2VhbGVk" });
        assert_eq!(adapter.post("/his/v1/visit-cards", &binding).await.0, 204);
    };
    tokio::join!(platform_side, his_side);
    for entry in std::fs::read_dir(site.dir.path()).expect("a directory") {
        let bytes = std::fs::read(entry.expect("an entry").path()).unwrap_or_default();
        let found = bytes.windows(8).any(|window| window == b"c2VhbGVk");
        assert!(!found, "a card's password is never stored");
    }
}

#[tokio::test]
async fn a_query_without_a_link_says_so_and_is_not_kept() {
    let (_platform, _site, adapter) = started().await;
    let (status, problem) = adapter.get("/his/v1/bills/B1/order").await;
    assert_eq!((status, &problem["code"]), (503, &json!("PLATFORM_UNREACHABLE")));
    let (_, text) = adapter.get("/metrics").await;
    assert!(text.as_str().expect("text").contains("tongfu_adapter_outbound_waiting 0"), "{text}");
}
