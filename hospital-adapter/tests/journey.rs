//! The adapter between a HIS and a platform, with real sockets and the real binary.

mod common;

use std::collections::BTreeSet;

use common::adapter::Site;
use common::bill_json;
use common::platform::{Platform, fresh_id};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use schema::ids::OrderId;
use schema::link::{PreSettle, Release, Reply, ToInstitution, ToPlatform};
use schema::refusal::{Code, Refusal};
use serde_json::{Value, json};

fn release(bill_no: &str) -> ToInstitution {
    ToInstitution::Release(Release { order_id: OrderId::from_uuid(uuid::Uuid::nil()), bill_no: bill_no.into() })
}

#[tokio::test]
async fn a_bill_goes_up_and_work_comes_down_and_its_answer_goes_up() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;

    let (status, accepted) = adapter.post("/his/v1/bills", &bill_json("B1")).await;
    assert_eq!((status, &accepted["bill_no"]), (202, &Value::from("B1")), "{accepted}");
    let (frame, ask) = link.hear_ask().await;
    let ToPlatform::Bill(draft) = ask else { unreachable!("a bill was due") };
    assert_eq!(*draft, common::bill("B1"));
    link.reply(&frame, Reply::Done).await;

    let id = fresh_id();
    link.ask(id, release("B1")).await;
    let items = adapter.work().await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["id"], json!(id));
    assert_eq!(items[0]["trace_id"], json!("ab".repeat(16)));
    let (status, first) = adapter.answer(&items[0], json!({ "reply": "done" })).await;
    assert_eq!(status, 200, "{first}");
    let (_, frame, reply) = link.hear_reply().await;
    assert_eq!((frame.re, reply), (Some(id), Reply::Done));
    assert_eq!(frame.trace_id, Some("ab".repeat(16)));

    let (status, again) = adapter.answer(&items[0], json!({ "reply": "done" })).await;
    assert_eq!((status, again), (200, first), "a repeat gets the first acknowledgement");
    assert!(adapter.stop().await, "SIGTERM is a clean end");
}

#[tokio::test]
async fn a_bill_taken_while_the_link_is_down_survives_sigkill_and_keeps_its_id() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let (status, _) = adapter.post("/his/v1/bills", &bill_json("B1")).await;
    assert_eq!(status, 202, "taken without a link");
    adapter.kill().await;

    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    let (first, ask) = link.hear_ask().await;
    assert!(matches!(ask, ToPlatform::Bill(draft) if draft.bill_no == "B1"));
    drop(link);
    let mut link = platform.accept(&site.public_key).await;
    let (second, _) = link.hear_ask().await;
    assert_eq!(second.id, first.id, "the same ask after a reconnect");
    link.reply(&second, Reply::Done).await;
    adapter.all_replied().await;

    // Whatever is said next proves that the bill is not said again.
    drop(link);
    let mut link = platform.accept(&site.public_key).await;
    adapter.post("/his/v1/bills", &bill_json("B2")).await;
    let (_, ask) = link.hear_ask().await;
    assert!(matches!(ask, ToPlatform::Bill(draft) if draft.bill_no == "B2"), "B1 was answered");
}

#[tokio::test]
async fn every_acknowledged_bill_arrives_although_the_adapter_is_killed_again_and_again() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let mut acknowledged = BTreeSet::new();
    for life in 0..5 {
        let adapter = site.start().await;
        let posts: Vec<_> = (0..20).map(|number| format!("B{life}-{number}")).collect();
        let mut posting: FuturesUnordered<_> = posts
            .iter()
            .map(|bill_no| {
                adapter
                    .http
                    .post(format!("{}/his/v1/bills", adapter.url))
                    .bearer_auth(&adapter.api_key)
                    .json(&bill_json(bill_no))
                    .send()
                    .map(move |response| (bill_no, response))
            })
            .collect();
        // Killed with posts on the way, after another number of them each time.
        while let Some((bill_no, response)) = posting.next().await {
            if response.is_ok_and(|response| response.status().as_u16() == 202) {
                acknowledged.insert(bill_no.clone());
            }
            if acknowledged.len() > life * 7 {
                break;
            }
        }
        drop(posting);
        adapter.kill().await;
    }
    let _adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    while !acknowledged.is_empty() {
        let (frame, ask) = link.hear_ask().await;
        let ToPlatform::Bill(draft) = ask else { unreachable!("a bill was due") };
        acknowledged.remove(&draft.bill_no);
        link.reply(&frame, Reply::Done).await;
    }
}

#[tokio::test]
async fn the_same_bill_again_is_harmless_and_other_content_is_refused() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    for _ in 0..2 {
        assert_eq!(adapter.post("/his/v1/bills", &bill_json("B1")).await.0, 202);
    }
    let mut other = bill_json("B1");
    other["visit"]["dept_name"] = json!("外科");
    let (status, problem) = adapter.post("/his/v1/bills", &other).await;
    assert_eq!((status, &problem["code"]), (409, &json!("BILL_CHANGED")));

    let mut link = platform.accept(&site.public_key).await;
    let (frame, _) = link.hear_ask().await;
    link.reply(&frame, Reply::Refused(Refusal::new(Code::BillPatientMismatch, "test").problem(None))).await;
    // The refusal reaches the HIS when it asks about the bill again.
    loop {
        let (status, problem) = adapter.post("/his/v1/bills", &bill_json("B1")).await;
        if status == 422 {
            assert_eq!(problem["code"], "BILL_PATIENT_MISMATCH");
            return;
        }
        assert_eq!(status, 202);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_busy_platform_gets_the_bill_again_with_the_same_id() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    adapter.post("/his/v1/bills", &bill_json("B1")).await;
    let (first, _) = link.hear_ask().await;
    let busy = Refusal::new(Code::Overloaded, "test").after_s(1).problem(None);
    link.reply(&first, Reply::Refused(busy)).await;
    let (second, _) = link.hear_ask().await;
    assert_eq!(second.id, first.id);
}

#[tokio::test]
async fn a_bill_that_was_refused_is_asked_anew_with_the_same_or_other_content() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    let refusal = |code: Code| Reply::Refused(Refusal::new(code, "test").problem(None));
    assert_eq!(adapter.post("/his/v1/bills", &bill_json("B1")).await.0, 202);
    let (first, _) = link.hear_ask().await;
    link.reply(&first, refusal(Code::InstitutionUnknown)).await;
    adapter.all_replied().await;
    let (status, problem) = adapter.post("/his/v1/bills", &bill_json("B1")).await;
    assert_eq!((status, &problem["code"]), (403, &json!("INSTITUTION_UNKNOWN")), "the refusal is heard first");

    let same = bill_json("B1");
    let (again, second) = tokio::join!(adapter.post("/his/v1/bills", &same), async {
        let (second, _) = link.hear_ask().await;
        link.reply(&second, refusal(Code::Invalid)).await;
        second
    });
    assert_ne!(second.id, first.id, "a new question");
    assert_eq!((again.0, &again.1["code"]), (422, &json!("INVALID")), "and its answer is waited for");

    let mut other = bill_json("B1");
    other["visit"]["dept_name"] = json!("外科");
    assert_eq!(adapter.post("/his/v1/bills", &other).await.0, 202, "what was refused fixes no content");
    let (third, ask) = link.hear_ask().await;
    assert!(matches!(ask, ToPlatform::Bill(draft) if draft.visit.dept_name == "外科"));
    link.reply(&third, Reply::Done).await;
    adapter.all_replied().await;
    assert_eq!(adapter.post("/his/v1/bills", &other).await.0, 202);
    let (status, problem) = adapter.post("/his/v1/bills", &bill_json("B1")).await;
    assert_eq!((status, &problem["code"]), (409, &json!("BILL_CHANGED")), "what was taken does");
}

#[tokio::test]
async fn a_busy_his_is_offered_the_work_again_and_any_other_refusal_is_final() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    let refused = |code: Code| {
        let mut reply = serde_json::to_value(Refusal::new(code, "test").after_s(1).problem(None)).expect("serialises");
        reply["reply"] = json!("refused");
        reply
    };
    let id = fresh_id();
    link.ask(id, release("B1")).await;
    for code in [Code::Overloaded, Code::Internal] {
        let items = adapter.work().await;
        assert_eq!(items[0]["id"], json!(id), "under the same id");
        let (status, put_back) = adapter.answer(&items[0], refused(code)).await;
        assert_eq!((status, &put_back["offered_again_after_ms"]), (202, &json!(1000)), "{put_back}");
    }
    let items = adapter.work().await;
    assert_eq!(adapter.answer(&items[0], json!({ "reply": "done" })).await.0, 200);
    let (_, frame, reply) = link.hear_reply().await;
    assert_eq!((frame.re, reply), (Some(id), Reply::Done), "the platform has heard of no refusal");
    assert_eq!(adapter.answer(&items[0], refused(Code::Overloaded)).await.0, 200, "answered is answered");

    let id = fresh_id();
    link.ask(id, release("B2")).await;
    let items = adapter.work().await;
    assert_eq!(adapter.answer(&items[0], refused(Code::HospitalRefused)).await.0, 200);
    let (_, frame, reply) = link.hear_reply().await;
    assert_eq!(frame.re, Some(id));
    assert!(matches!(reply, Reply::Refused(problem) if problem.code == Code::HospitalRefused));
}

#[tokio::test]
async fn work_survives_sigkill_before_and_after_its_answer() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    let id = fresh_id();
    link.ask(id, release("B1")).await;
    let seen = adapter.work().await;
    adapter.kill().await;

    let adapter = site.start().await;
    assert_eq!(adapter.work().await, seen, "offered again, under the same id");
    let mut link = platform.accept(&site.public_key).await;
    let (status, first) = adapter.answer(&seen[0], json!({ "reply": "done" })).await;
    assert_eq!(status, 200);
    let (text, ..) = link.hear_reply().await;
    adapter.kill().await;

    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    link.ask(id, release("B1")).await;
    let (again, ..) = link.hear_reply().await;
    assert_eq!(again, text, "byte for byte, without asking the HIS");
    let refused = Refusal::new(Code::HospitalRefused, "test").problem(None);
    let (status, acknowledged) = adapter
        .answer(
            &seen[0],
            json!({ "reply": "refused", "status": 422,
        "type": refused.kind, "title": "x", "title_en": "x", "code": "HOSPITAL_REFUSED", "again": "never" }),
        )
        .await;
    assert_eq!((status, acknowledged), (200, first), "the first answer counts");
}

#[tokio::test]
async fn an_answer_given_while_the_link_is_down_is_sent_when_it_is_up() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    let id = fresh_id();
    link.ask(id, release("B1")).await;
    let items = adapter.work().await;
    drop(link);
    loop {
        if adapter.get("/readyz").await.0 == 503 {
            break;
        }
    }
    assert_eq!(adapter.answer(&items[0], json!({ "reply": "done" })).await.0, 200);
    let mut link = platform.accept(&site.public_key).await;
    let (_, frame, _) = link.hear_reply().await;
    assert_eq!(frame.re, Some(id));
}

#[tokio::test]
async fn a_claim_waits_behind_its_bill_and_gets_the_answer_that_came_meanwhile() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    adapter.post("/his/v1/bills", &bill_json("B1")).await;
    let (status, problem) = adapter.post("/his/v1/bills/B1/claim", &Value::Null).await;
    assert_eq!((status, &problem["code"]), (503, &json!("OUTCOME_UNKNOWN")));
    assert!(problem["title"].as_str().expect("a title").contains("勿在窗口收费"), "{problem}");

    let mut link = platform.accept(&site.public_key).await;
    let (bill, ask) = link.hear_ask().await;
    assert!(matches!(ask, ToPlatform::Bill(_)), "the bill goes first");
    link.reply(&bill, Reply::Done).await;
    let (claim, ask) = link.hear_ask().await;
    assert!(matches!(ask, ToPlatform::Claim(named) if named.bill_no == "B1"));
    link.reply(&claim, Reply::Claimed(schema::his::ClaimAnswer::Released)).await;
    let (status, answer) = adapter.post("/his/v1/bills/B1/claim", &Value::Null).await;
    assert_eq!((status, answer), (200, json!({ "claim": "released" })));
    // What the window has is not payable online any more, and nobody is told that it was taken.
    let (status, problem) = adapter.post("/his/v1/bills", &bill_json("B1")).await;
    assert_eq!((status, &problem["code"]), (409, &json!("BILL_NOT_PAYABLE")), "{problem}");
    assert!(problem["title"].as_str().is_some_and(|title| title.contains("新的账单号")), "{problem}");
}

#[tokio::test]
async fn a_price_that_does_not_sum_to_its_bill_is_refused_at_the_face() {
    let platform = Platform::listen().await;
    let site = Site::init(&platform.url).await;
    let adapter = site.start().await;
    let mut link = platform.accept(&site.public_key).await;
    adapter.post("/his/v1/bills", &bill_json("B1")).await;
    let (bill, _) = link.hear_ask().await;
    link.reply(&bill, Reply::Done).await;
    link.ask(
        fresh_id(),
        ToInstitution::PreSettle(PreSettle {
            order_id: OrderId::from_uuid(uuid::Uuid::nil()),
            bill_no: "B1".into(),
            insured: false,
            use_account: false,
            insured_person: None,
        }),
    )
    .await;
    let items = adapter.work().await;
    let price = |cash_fen: i64| {
        json!({ "reply": "priced", "valid_until_us": 1, "split": { "fund_fen": 0, "other_funds_fen": 0,
            "account_own_fen": 0, "account_mulaid_fen": 0, "hospital_fen": 0, "cash_fen": cash_fen } })
    };
    let (status, problem) = adapter.answer(&items[0], price(2999)).await;
    assert_eq!((status, &problem["faults"][0]["at"]), (422, &json!("reply.split")));
    let (status, problem) = adapter.answer(&items[0], json!({ "reply": "done" })).await;
    assert_eq!((status, &problem["faults"][0]["at"]), (422, &json!("reply.reply")));
    assert_eq!(adapter.answer(&items[0], price(3000)).await.0, 200);
}
