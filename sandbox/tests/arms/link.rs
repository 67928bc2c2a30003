//! The link drops at every message it carries, on the way there and on the answer's way back, and nothing is lost or
//! done twice. A killed adapter is the crash test's.

use std::time::Duration;

use sandbox::bureau::seal_card_password;
use sandbox::fault::Fault;
use schema::mobile::Mode;
use schema::personal::Personal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::case::{Case, Sides, soon};
use crate::cutter::Half;
use crate::world::{LAKE, World, fail};
use crate::{Arm, arm};

/// Between two attempts of a cashier.
const AGAIN: Duration = Duration::from_millis(250);

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm("the link drops at a bill, and the bill comes once", |world| async move {
            let _line = world.line.lock().await;
            // Before there is a bill there is no number to go by.
            let member = std::sync::Arc::new(world.somebody(LAKE, |_| true).await);
            let certno = member.person.own.certno.expose().to_owned();
            world.cutter.cut(LAKE, "bill", &certno, Half::Ask);
            world.cutter.cut(LAKE, "bill", &certno, Half::Reply);
            let mut case = Case::again(&world, &member, LAKE).await;
            let cash = case.complete().await;
            all_cut(&world, &certno).await;
            case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
        }),
        arm("the link drops at a question for the price, and it is priced once", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            cut_both(&case, "pre_settle");
            let cash = case.complete().await;
            all_cut(&world, &case.bill_no).await;
            case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
        }),
        arm("the link drops at a release, and the bill is free again", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            case.priced().await;
            cut_both(&case, "release");
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("closed", Some("cancelled"), None).await;
            all_cut(&world, &case.bill_no).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("the link drops at the news of a payment, and it is booked once", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            cut_both(&case, "settled");
            let cash = case.complete().await;
            all_cut(&world, &case.bill_no).await;
            case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
        }),
        arm(
            "the link drops at the question whether a payment was booked, and nothing is refunded",
            |world| async move {
                let _line = world.line.lock().await;
                let mut case = Case::at(&world, LAKE).await;
                case.his_fault("settled", Fault::NeitherDoNorAnswer, Some(1)).await;
                cut_both(&case, "query_payment");
                let view = case.collecting().await;
                case.pay_cash(&view).await;
                case.ends("completed", None, None).await;
                case.happened("tell_unknown").await;
                all_cut(&world, &case.bill_no).await;
                let cash = crate::case::cash_of(&view);
                case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
            },
        ),
        arm("the link drops at the news of an undoing, and it is unbooked once", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            case.complete().await;
            cut_both(&case, "undone");
            case.ask_back(None).await;
            case.refund_becomes("done").await;
            all_cut(&world, &case.bill_no).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("the link drops at a claim of the window, which asks again and gets the bill", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            case.priced().await;
            cut_both(&case, "claim");
            assert_eq!(case.window().await, "released");
            case.ends("closed", Some("taken_by_window"), None).await;
            all_cut(&world, &case.bill_no).await;
            case.sides_become(&Sides { settlements: 1, cash: 0, standing: "paid-at-window" }).await;
        }),
        arm("the link drops at a withdrawal, which is asked again and done", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            case.priced().await;
            cut_both(&case, "withdraw");
            let url = format!("{}/sandbox/window/withdraw", world.url("his"));
            let ask = json!({"institution": LAKE, "bill_no": case.bill_no});
            let answer = until_answered(|| world.outside.post(url.clone(), &ask)).await;
            assert_eq!(answer["claim"], "released");
            case.ends("closed", Some("taken_by_window"), None).await;
            all_cut(&world, &case.bill_no).await;
            case.sides_become(&Sides { settlements: 0, cash: 0, standing: "withdrawn" }).await;
            let refused = case.member.phone().bill(LAKE, &case.bill_no, soon()).await.expect("the bill is listed");
            assert_eq!(refused.state, "withdrawn");
        }),
        arm("the link drops at a refund's asking, and it is given back once", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            case.complete().await;
            cut_both(&case, "refund");
            case.ask_back(None).await;
            case.refund_becomes("done").await;
            all_cut(&world, &case.bill_no).await;
            assert_eq!(case.wallet_row().await["refunds"].as_array().map(Vec::len), Some(1));
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("the link drops at a question about an order, which is asked again and answered", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            case.open(Mode::Insured).await;
            case.shown("priced").await;
            cut_both(&case, "order_query");
            let path = format!("/his/v1/bills/{}/order", case.bill_no);
            let shown = until_answered(|| from_adapter(&world, &path)).await;
            assert_eq!(shown["order_id"], case.order().to_string());
            all_cut(&world, &case.bill_no).await;
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("closed", Some("cancelled"), None).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("the link drops at the day's list, which is asked again and answered", |world| async move {
            let _line = world.line.lock().await;
            let mut case = Case::at(&world, LAKE).await;
            case.complete().await;
            let today = sandbox::clock::china_now().format("%Y-%m-%d").to_string();
            world.cutter.cut(LAKE, "day_list", &today, Half::Ask);
            world.cutter.cut(LAKE, "day_list", &today, Half::Reply);
            let path = format!("/his/v1/orders?date={today}");
            let mut listed = Value::Null;
            let until = soon();
            while !(world.cutter.has_cut_all(LAKE, &today) && listed.is_array()) && Instant::now() < until {
                listed = until_answered(|| from_adapter(&world, &path)).await;
                listed = listed.get("orders").cloned().unwrap_or(listed);
            }
            all_cut(&world, &today).await;
            let rows = listed.as_array().cloned().unwrap_or_default();
            assert!(rows.iter().any(|row| row["order_id"] == case.order().to_string()), "{rows:?}");
        }),
        arm("the link drops at the binding of a visit card, which is asked again and done", |world| async move {
            let _line = world.line.lock().await;
            let case = Case::at(&world, LAKE).await;
            let certno = case.insured().certno.expose().to_owned();
            world.cutter.cut(LAKE, "bind_visit_card", &certno, Half::Ask);
            world.cutter.cut(LAKE, "bind_visit_card", &certno, Half::Reply);
            let keys = world.page(format!("{}/sandbox/public-key", world.bureau(LAKE))).await;
            let key = keys["card_public_key"].as_str().expect("a key");
            let insured = case.insured();
            let binding = json!({"visit_card_no": "JZ0000000001", "psn_name": insured.psn_name.expose(),
                "psn_cert_type": "01", "certno": certno, "card_no": insured.card_no.expose(),
                "sealed_password": seal_card_password(key, &insured.card_password)});
            let url = format!("{}/sandbox/window/visit-card", world.url("his"));
            let ask = json!({"institution": LAKE, "binding": binding});
            until_answered(|| world.outside.post(url.clone(), &ask)).await;
            all_cut(&world, &certno).await;
        }),
    ]
}

fn cut_both(case: &Case, word: &'static str) {
    case.world.cutter.cut(LAKE, word, &case.bill_no, Half::Ask);
    case.world.cutter.cut(LAKE, word, &case.bill_no, Half::Reply);
}

/// Waits until the line has dropped as often as it was to.
async fn all_cut(world: &World, about: &str) {
    let until = soon();
    while !world.cutter.has_cut_all(LAKE, about) && Instant::now() < until {
        tokio::time::sleep(AGAIN).await;
    }
    assert!(world.cutter.has_cut_all(LAKE, about), "the line did not drop about {about}");
}

/// Asks until somebody answers. Fails with a refusal.
async fn until_answered<F: Future<Output = Option<(u16, Value)>>>(ask: impl Fn() -> F) -> Value {
    let until = soon();
    loop {
        match ask().await {
            Some((200 | 202, body)) => return body,
            None | Some((503, _)) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
            other => fail(&format!("refused, or nobody answers: {other:?}")),
        }
    }
}

async fn from_adapter(world: &World, path: &str) -> Option<(u16, Value)> {
    let url = format!("{}{path}", world.url(&sandbox::city::town::adapter_name(LAKE)));
    let key = world.city.adapter_api_key(LAKE).expect("a key");
    let response = world.outside.client().get(url).bearer_auth(key).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.json().await.unwrap_or(Value::Null)))
}
