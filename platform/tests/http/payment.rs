//! One cash payment through every door: bill by link, order by phone, notice by wallet, refund by link.

use futures_util::StreamExt as _;
use schema::his::{ClaimAnswer, DayAsk, RefundAsk};
use schema::ids::OrderId;
use schema::link::{BillNamed, Reply, ToInstitution, ToPlatform};
use schema::money::Fen;
use serde_json::{Value, json};

use crate::adapter::Adapter;
use crate::world::{City, Person, WANG, World, hear};

pub const AMOUNT: i64 = 2500;

pub fn draft(bill_no: &str, (certno, name): (&str, &str)) -> Value {
    json!({
        "bill_no": bill_no, "kind": "outpatient", "amount_fen": AMOUNT,
        "patient": { "psn_name": name, "psn_cert_type": "01", "certno": certno },
        "visit": {
            "ipt_otp_no": "M1", "med_type": "11", "dept_code": "D1", "dept_name": "内科", "atddr_no": "A1",
            "dr_name": "张医生",
        },
        "diagnoses": [],
        "lines": [{
            "feedetl_sn": "1", "medins_list_codg": "X1", "name": "检查", "pric": "12.5", "cnt": "2", "amount_fen": AMOUNT,
        }],
        "issued_at_us": 1, "expires_at_us": 4_000_000_000_000_000_i64,
    })
}

pub fn bill(bill_no: &str, person: (&str, &str)) -> ToPlatform {
    ToPlatform::Bill(serde_json::from_value(draft(bill_no, person)).expect("a draft"))
}

/// A bill of `WANG` and a cash order for it that stands in Collecting.
pub async fn collecting(adapter: &mut Adapter, person: &Person<'_>, bill_no: &str) -> String {
    assert_eq!(adapter.ask(bill(bill_no, WANG)).await, Reply::Done);
    let bills = person.get("/mobile/v1/bills").await.done(200);
    let found = bills.as_array().expect("bills").iter().find(|bill| bill["bill_no"] == bill_no);
    let ask = json!({ "bill_id": found.expect("the bill")["id"], "mode": "cash_only", "use_account": false });
    let order = person.change("POST", "/mobile/v1/orders", ask).await.done(202);
    assert_eq!(order["state"], "created");
    let id = order["id"].as_str().expect("an id").to_owned();
    assert!(matches!(adapter.work().await, ToInstitution::PreSettle(_)));
    person.until(&id, "priced").await;
    person.change("POST", &format!("/mobile/v1/orders/{id}/pay"), json!({})).await.done(202);
    for _ in 0..400 {
        let view = person.get(&format!("/mobile/v1/orders/{id}")).await.done(200);
        if view["wallet"].is_object() {
            return id;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the wallet was never opened");
}

pub fn out_trade_no(order: &str) -> String {
    order.replace('-', "")
}

pub fn paid(order: &str, amount: i64) -> Value {
    json!({ "event": "paid", "out_trade_no": out_trade_no(order), "transaction_id": "T1", "amount": amount })
}

pub async fn notify(world: &World, city: &City, body: &Value) -> crate::world::Said {
    let path = format!("/wallet/v1/notify/{}", city.id);
    hear(world.request("POST", &path).header("x-test-wallet", &city.wallet_secret).body(body.to_string())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cash_payment_goes_through_every_door_and_back() {
    let world = World::start().await;
    let city = &world.cities[0];
    let person = world.sign_in(0, "13800000001").await;
    person.bind(WANG).await;
    let events = person.request("GET", "/mobile/v1/events").send().await.expect("events");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut events = events.bytes_stream();
    let mut adapter = Adapter::connect(&world, city).await;
    let id = collecting(&mut adapter, &person, "B1").await;

    let path = format!("/mobile/v1/orders/{id}");
    let view = person.get(&path).await.done(200);
    assert_eq!(view["wallet"]["package"], format!("prepay_id=prepay-{}", out_trade_no(&id)));
    assert_eq!(view["wallet"]["amount_fen"], AMOUNT);
    person.get(&format!("{path}/receipt")).await.refused(409, "NOT_NOW");
    let claim = adapter.ask(ToPlatform::Claim(BillNamed { bill_no: "B1".into() })).await;
    assert!(matches!(claim, Reply::Claimed(ClaimAnswer::InProgress { .. })), "{claim:?}");

    notify(&world, city, &paid(&id, AMOUNT)).await.done(204);
    assert!(matches!(adapter.work().await, ToInstitution::Settled(_)));
    let view = person.until(&id, "completed").await;
    assert_eq!(view["guidance"]["window"], "3号窗口");
    assert!(view.get("wallet").is_none());
    // The wallet repeats itself.
    notify(&world, city, &paid(&id, AMOUNT)).await.done(204);
    let receipt = person.get(&format!("{path}/receipt")).await.done(200);
    assert_eq!((&receipt["transaction_id"], &receipt["amount_fen"]), (&json!("T1"), &json!(AMOUNT)));
    assert_eq!(receipt["fixmedins_name"], "第1医院");
    assert_eq!(person.get("/mobile/v1/orders").await.done(200)[0]["state"], "completed");

    let claim = adapter.ask(ToPlatform::Claim(BillNamed { bill_no: "B1".into() })).await;
    assert!(matches!(claim, Reply::Claimed(ClaimAnswer::AlreadyPaid { .. })), "{claim:?}");
    let Reply::Orders { orders } = adapter.ask(ToPlatform::OrderQuery(BillNamed { bill_no: "B1".into() })).await else {
        panic!("an order")
    };
    assert_eq!((orders[0].order_id.to_string(), orders[0].state.as_str()), (id.clone(), "completed"));
    let today = platform::journey::desk::china_time(world.ground.clock.now_us()).format("%Y-%m-%d").to_string();
    let Reply::Orders { orders } = adapter.ask(ToPlatform::DayList(DayAsk { date: today.clone(), after: None })).await
    else {
        panic!("a day")
    };
    assert_eq!(orders.len(), 1);
    let after = |order_id| ToPlatform::DayList(DayAsk { date: today.clone(), after: Some(order_id) });
    assert_eq!(adapter.ask(after(orders[0].order_id)).await, Reply::Orders { orders: vec![] }, "the page behind it");
    let Reply::Refused(problem) = adapter.ask(after(OrderId::from_uuid(uuid::Uuid::nil()))).await else {
        panic!("no such order to go on from")
    };
    assert_eq!(problem.faults[0].at, "after");

    let refund = RefundAsk {
        refund_no: "R1".into(),
        bill_no: "B1".into(),
        amount_fen: Some(Fen::new(1000)),
        replaced_by: None,
        reason: "检查取消".into(),
    };
    let Reply::Refund(granted) = adapter.ask(ToPlatform::Refund(refund.clone())).await else { panic!("a refund") };
    assert_eq!(granted.amount_fen, Fen::new(1000));
    let Reply::Refund(again) = adapter.ask(ToPlatform::Refund(refund)).await else { panic!("the same refund") };
    assert_eq!(again.order_id, granted.order_id);
    let (tenant, hospital) = (city.id, city.hospital.clone());
    let store = std::sync::Arc::clone(&world.ground.store);
    let row = store.refund_by_no(tenant, &hospital, "R1").expect("readable").expect("a refund");
    let out_refund_no = platform::journey::refund::out_refund_no(row.id);
    let back = json!({ "event": "refund", "out_refund_no": out_refund_no });
    notify(&world, city, &back).await.done(204);
    notify(&world, city, &back).await.done(204);
    for _ in 0..400 {
        if person.get(&path).await.done(200)["refunded_fen"] == 1000 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(person.get(&path).await.done(200)["refunded_fen"], 1000);

    // Every change rang: bill, then the order's states in order.
    let mut heard = String::new();
    while !heard.contains(r#""state":"completed""#) {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(10), events.next()).await;
        heard.push_str(&String::from_utf8_lossy(&chunk.expect("in time").expect("more").expect("bytes")));
    }
    assert!(heard.contains(r#"data: {"changed":"bill","bill_id":"#), "{heard}");
    let position =
        |state: &str| heard.find(&format!(r#""state":"{state}""#)).unwrap_or_else(|| panic!("{state}: {heard}"));
    let order = ["created", "priced", "collecting", "paid", "completed"].map(position);
    assert!(order.is_sorted(), "{heard}");
    world.stopper.stop().await;
    // The server's stop ends the stream.
    while let Some(chunk) = events.next().await {
        if chunk.is_err() {
            break;
        }
    }
}
