//! The wallet over real sockets: signatures, notifications, faults, restarts.

mod merchant;

use merchant::{Ear, Merchant};
use sandbox::fault::{Fault, Rule};
use sandbox::wallet::run::{Options, Running, start};
use sandbox::wallet::signature::{answer_text, request_text};
use serde_json::json;
use tempfile::TempDir;

struct World {
    running: Running,
    merchant: Merchant,
    directory: TempDir,
}

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let running = start(options(&directory)).await.expect("a wallet");
        let merchant = Merchant::new(&running.credentials, &running.listening.url);
        World { running, merchant, directory }
    }

    /// One strike of `fault` on `operation`.
    fn fault(&self, operation: &str, fault: Fault) {
        let rule = Rule { operation: operation.into(), subject: None, share_ppm: None, times: Some(1), fault };
        self.running.faults.add(rule);
    }
}

fn options(directory: &TempDir) -> Options {
    Options {
        listen: "127.0.0.1:0".into(),
        keys: directory.path().join("keys"),
        state: Some(directory.path().join("state.json")),
        sp_mchid: "1900007291".into(),
        sp_appid: "wx1".into(),
        notify_scale: "0.001".parse().expect("a ratio"),
        refund_delay_ms: 20,
        seed: 0,
        faults: None,
    }
}

#[test]
fn the_signed_texts_are_those_of_the_documents() {
    assert_eq!(
        request_text("GET", "/v3/refund/domestic/refunds/123123123123", 1554208460, "593BEC0C930BF1AF", b""),
        b"GET\n/v3/refund/domestic/refunds/123123123123\n1554208460\n593BEC0C930BF1AF\n\n"
    );
    assert_eq!(
        request_text("POST", "/v3/pay/partner/transactions/jsapi?a=1", 1, "n", br#"{"a":1}"#),
        b"POST\n/v3/pay/partner/transactions/jsapi?a=1\n1\nn\n{\"a\":1}\n"
    );
    assert_eq!(answer_text(1554209980, "c5ac7061fccab6bf", b"{}"), b"1554209980\nc5ac7061fccab6bf\n{}\n");
    assert_eq!(answer_text(1, "n", b""), b"1\nn\n\n");
}

#[tokio::test]
async fn an_order_is_placed_paid_told_refunded_and_told_again() {
    let world = World::new().await;
    let mut ear = Ear::open(&[]);
    let order = world.merchant.order("ORDER-1", 4200, &ear.url);
    let prepay_id = world.merchant.place(order).await;
    assert_eq!(world.merchant.query("ORDER-1").await.body["trade_state"], "NOTPAY");
    let (status, receipt) = world.merchant.tap(&prepay_id).await.expect("an answer");
    assert_eq!(status, 200, "{receipt}");

    let notice = ear.next_verified(&world.merchant).await;
    assert_eq!(
        (&notice["event_type"], &notice["resource_type"]),
        (&json!("TRANSACTION.SUCCESS"), &json!("encrypt-resource"))
    );
    let told = world.merchant.opened(&notice);
    let asked = world.merchant.query("ORDER-1").await.body;
    assert_eq!(told, asked, "the notice and the query tell the same");
    assert_eq!(told["transaction_id"], receipt["transaction_id"]);
    assert_eq!(
        told["amount"],
        json!({ "total": 4200, "payer_total": 4200, "currency": "CNY", "payer_currency": "CNY" })
    );
    let by_id = format!(
        "/v3/pay/partner/transactions/id/{}?sp_mchid=1900007291&sub_mchid=1900000109",
        receipt["transaction_id"].as_str().expect("a number")
    );
    assert_eq!(world.merchant.ask("GET", &by_id, None).await.body, asked);

    let refund = json!({
        "sub_mchid": "1900000109", "out_trade_no": "ORDER-1", "out_refund_no": "R-1", "notify_url": ear.url,
        "amount": { "refund": 4200, "total": 4200, "currency": "CNY" },
    });
    let accepted = world.merchant.ask("POST", "/v3/refund/domestic/refunds", Some(refund)).await;
    assert_eq!((accepted.status, &accepted.body["status"]), (200, &json!("PROCESSING")));
    let notice = ear.next_verified(&world.merchant).await;
    assert_eq!(notice["event_type"], "REFUND.SUCCESS");
    assert_eq!(world.merchant.opened(&notice)["refund_status"], "SUCCESS");
    let shown = world.merchant.ask("GET", "/v3/refund/domestic/refunds/R-1?sub_mchid=1900000109", None).await;
    assert_eq!(shown.body["status"], "SUCCESS");
    assert_eq!(world.merchant.query("ORDER-1").await.body["trade_state"], "REFUND");
    let books = world.merchant.sandbox("/sandbox/books").await;
    assert_eq!((&books["net_fen"], &books["balanced"]), (&json!(0), &json!(true)));
}

#[tokio::test]
async fn a_request_with_a_wrong_signature_is_answered_sign_error() {
    let world = World::new().await;
    let path = "/v3/pay/partner/transactions/out-trade-no/ORDER-1?sp_mchid=1900007291&sub_mchid=1900000109";
    let now = sandbox::clock::china_now().timestamp();
    let stale = world.merchant.authorization("GET", path, "", now - 301);
    let foreign = world.merchant.authorization("GET", "/other", "", now);
    let valid = world.merchant.authorization("GET", path, "", now);
    let swapped = valid.replace("mchid=\"1900007291\"", "mchid=\"1900007292\"");
    for header in ["", "Bearer x", &stale, &foreign, &swapped, "WECHATPAY2-SHA256-RSA2048 mchid=\"1\""] {
        let request = world.merchant.client.get(format!("{}{path}", world.merchant.url));
        let answer = request.header("Authorization", header).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 401, "{header}");
        assert_eq!(answer.json::<serde_json::Value>().await.expect("JSON")["code"], "SIGN_ERROR");
    }
    let request = world.merchant.client.get(format!("{}{path}", world.merchant.url));
    let answer = request.header("Authorization", valid).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 404);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_in_the_wallets_own_words() {
    let world = World::new().await;
    let url = format!("{}/v3/pay/partner/transactions/jsapi", world.merchant.url);
    let answer = world.merchant.client.post(url).body("x".repeat(300_000)).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 400);
    assert_eq!(answer.json::<serde_json::Value>().await.expect("JSON")["code"], "PARAM_ERROR");
}

#[tokio::test]
async fn a_connection_hung_up_really_breaks_and_what_was_done_stays_done() {
    let world = World::new().await;
    world.merchant.place(world.merchant.order("ORDER-1", 100, "http://127.0.0.1:1/n")).await;
    let (path, body) = world.merchant.closing("ORDER-1");

    world.fault("close", Fault::NeitherDoNorAnswer);
    let broken = world.merchant.try_ask("POST", &path, body.clone()).await.expect_err("no answer");
    assert!(broken.is_request() && broken.status().is_none(), "{broken:?}");
    assert_eq!(world.merchant.query("ORDER-1").await.body["trade_state"], "NOTPAY");

    world.fault("close", Fault::AnswerButDoNotDo);
    assert_eq!(world.merchant.ask("POST", &path, body.clone()).await.status, 204);
    assert_eq!(world.merchant.query("ORDER-1").await.body["trade_state"], "NOTPAY");

    world.fault("close", Fault::DoButDoNotAnswer);
    world.merchant.try_ask("POST", &path, body.clone()).await.expect_err("no answer");
    assert_eq!(world.merchant.query("ORDER-1").await.body["trade_state"], "CLOSED");

    world.fault("close", Fault::Busy);
    let busy = world.merchant.ask("POST", &path, body.clone()).await;
    assert_eq!((busy.status, &busy.body["code"]), (500, &json!("SYSTEM_ERROR")));
    world.fault("close", Fault::Refuse { code: "FREQUENCY_LIMITED".into(), message: "频率超限".into() });
    assert_eq!(world.merchant.ask("POST", &path, body.clone()).await.status, 429);
    world.fault("close", Fault::Delay { delay_ms: 5 });
    assert_eq!(world.merchant.ask("POST", &path, body).await.status, 204);
}

#[tokio::test]
async fn a_payment_lands_after_close_only_under_its_fault() {
    let world = World::new().await;
    let mut ear = Ear::open(&[]);
    let prepay_id = world.merchant.place(world.merchant.order("ORDER-1", 100, &ear.url)).await;
    let (path, body) = world.merchant.closing("ORDER-1");
    assert_eq!(world.merchant.ask("POST", &path, body).await.status, 204);
    let (status, refusal) = world.merchant.tap(&prepay_id).await.expect("an answer");
    assert_eq!((status, &refusal["code"]), (400, &json!("ORDERCLOSED")));
    world.fault("pay-after-close", Fault::Delay { delay_ms: 0 });
    assert_eq!(world.merchant.tap(&prepay_id).await.expect("an answer").0, 200);
    let notice = ear.next_verified(&world.merchant).await;
    assert_eq!(world.merchant.opened(&notice)["trade_state"], "SUCCESS");
}

#[tokio::test]
async fn a_notification_is_repeated_under_its_id_until_it_is_answered_200_or_204() {
    let world = World::new().await;
    let mut ear = Ear::open(&[500, 401, 200]);
    let prepay_id = world.merchant.place(world.merchant.order("ORDER-1", 100, &ear.url)).await;
    world.merchant.tap(&prepay_id).await.expect("an answer");
    let first = ear.next_verified(&world.merchant).await;
    for _ in 0..2 {
        let repeat = ear.next_verified(&world.merchant).await;
        assert_eq!(repeat["id"], first["id"]);
        assert_eq!(world.merchant.opened(&repeat), world.merchant.opened(&first));
    }
}

#[tokio::test]
async fn a_probe_fails_verification_and_a_duplicate_comes_twice() {
    let world = World::new().await;
    let mut ear = Ear::open(&[]);
    world.fault("notify-probe", Fault::Duplicate);
    world.fault("notify", Fault::Duplicate);
    let prepay_id = world.merchant.place(world.merchant.order("ORDER-1", 100, &ear.url)).await;
    world.merchant.tap(&prepay_id).await.expect("an answer");
    let (headers, body) = ear.next().await;
    let signature = headers["Wechatpay-Signature"].to_str().expect("text");
    assert!(signature.starts_with("WECHATPAY/SIGNTEST/"), "{signature}");
    assert!(!world.merchant.signed_by_the_wallet(&headers, &body));
    let first = ear.next_verified(&world.merchant).await;
    assert_eq!(ear.next_verified(&world.merchant).await["id"], first["id"]);
}

#[tokio::test]
async fn an_event_never_told_is_still_found_by_asking() {
    let world = World::new().await;
    let mut ear = Ear::open(&[]);
    world.fault("notify", Fault::NeverNotify);
    let silent = world.merchant.place(world.merchant.order("ORDER-1", 100, &ear.url)).await;
    world.merchant.tap(&silent).await.expect("an answer");
    while world.running.faults.struck() == 0 {
        tokio::task::yield_now().await;
    }
    let told = world.merchant.place(world.merchant.order("ORDER-2", 100, &ear.url)).await;
    world.merchant.tap(&told).await.expect("an answer");
    let notice = ear.next_verified(&world.merchant).await;
    assert_eq!(world.merchant.opened(&notice)["out_trade_no"], "ORDER-2");
    assert_eq!(world.merchant.query("ORDER-1").await.body["trade_state"], "SUCCESS");
}

#[tokio::test]
async fn keys_and_orders_and_unheard_notices_survive_a_restart() {
    let world = World::new().await;
    let mut ear = Ear::open(&[]);
    world.fault("notify", Fault::Delay { delay_ms: 3_600_000 });
    let prepay_id = world.merchant.place(world.merchant.order("ORDER-1", 100, &ear.url)).await;
    world.merchant.tap(&prepay_id).await.expect("an answer");
    let before = world.running.credentials.clone();
    world.running.listening.stop().await.expect("saved");

    let running = start(options(&world.directory)).await.expect("a wallet");
    assert_eq!(running.credentials, before);
    let merchant = Merchant::new(&running.credentials, &running.listening.url);
    assert_eq!(merchant.query("ORDER-1").await.body["trade_state"], "SUCCESS");
    let notice = ear.next_verified(&merchant).await;
    assert_eq!(merchant.opened(&notice)["out_trade_no"], "ORDER-1");
}
