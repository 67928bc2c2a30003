//! The wallet client against the sandbox's wallet.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use platform::clock::{Clock, SetClock, SystemClock};
use platform::parties::answer::{Answer, Refused};
use platform::parties::outbound::{Http, NEVER_SENT, Outbound as _, Request};
use platform::parties::secret::Secret;
use platform::parties::wallet::client::WeChatPay;
use platform::parties::wallet::{
    BadKey, NotBelieved, Notice, PrepayRequest, RefundRequest, RefundState, Taken, TradeState, Wallet, WalletConfig,
};
use sandbox::fault::{Fault, Rule};
use sandbox::wallet::keys::Keys;
use sandbox::wallet::run::{Options, Running, start};
use sandbox::wallet::signature::CheckingKey;
use schema::money::Fen;
use schema::personal::{Openid, Personal as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ear::{Ear, Heard, Then};
use crate::nowhere;
use crate::party_contract::wallet::{Call, PAYER, World as Contract};
use crate::party_contract::{Posted, Trouble, every_promise};

const MERCHANT: &str = "1900000109";
const OPENID: &str = PAYER;

struct World {
    wallet: Running,
    http: Arc<Http>,
    ear: Ear,
    directory: TempDir,
}

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let options = Options {
            listen: "127.0.0.1:0".to_owned(),
            keys: directory.path().to_owned(),
            state: None,
            sp_mchid: "1900007291".to_owned(),
            sp_appid: "wx8888888888888888".to_owned(),
            notify_scale: "0.001".parse().expect("a ratio"),
            refund_delay_ms: 20,
            seed: 0,
            faults: None,
        };
        World {
            wallet: start(options).await.expect("a wallet"),
            http: Arc::new(Http::new().expect("a client")),
            ear: Ear::open(Then::Say(b"HTTP/1.1 204 X\r\n\r\n".to_vec())).await,
            directory,
        }
    }

    fn config(&self) -> WalletConfig {
        let known = &self.wallet.credentials;
        WalletConfig {
            base_url: self.wallet.listening.url.clone(),
            sp_mchid: known.sp_mchid.clone(),
            sp_appid: known.sp_appid.clone(),
            merchant_serial: known.merchant_serial.clone(),
            merchant_private_key_pem: Secret::new(&known.merchant_private_key_pem),
            apiv3_key: Secret::new(&known.apiv3_key),
            wechatpay_public_key_pem: known.wechatpay_public_key_pem.clone(),
            wechatpay_serial: known.wechatpay_serial.clone(),
        }
    }

    fn client(&self) -> WeChatPay {
        self.client_with(self.config(), Arc::new(SystemClock::new()))
    }

    fn client_with(&self, config: WalletConfig, clock: Arc<dyn Clock>) -> WeChatPay {
        let notify_url = format!("{}/wallet/v1/notify/t1", self.ear.url);
        WeChatPay::new(config, self.http.clone(), clock, notify_url).expect("good keys")
    }

    fn fault(&self, operation: &str, fault: Fault) {
        let rule = Rule { operation: operation.to_owned(), subject: None, share_ppm: None, times: Some(1), fault };
        self.wallet.faults.add(rule);
    }

    async fn operate(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.wallet.listening.url);
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let timeout = Duration::from_secs(20);
        let request = Request { method: "POST", url, headers, body: body.to_string().into_bytes(), timeout };
        let response = self.http.send(request).await.expect("an answer");
        assert_eq!(response.status, 200, "{path}");
        serde_json::from_slice(&response.body).expect("JSON")
    }

    async fn tap(&self, prepay_id: &str) {
        self.operate("/sandbox/pay", &json!({ "prepay_id": prepay_id, "openid": OPENID })).await;
    }

    /// Opens an order, pays it, and hears of it.
    async fn paid(&mut self, client: &WeChatPay, out_trade_no: &str) -> (Taken, Heard) {
        let prepay_id = done(client.prepay(&prepay(out_trade_no)).await);
        self.tap(&prepay_id).await;
        let heard = self.ear.next().await;
        match client.open_notice(&heard.headers, &heard.body) {
            Ok(Notice::Paid { merchant, taken }) if merchant == MERCHANT => (taken, heard),
            other => panic!("{other:?}"),
        }
    }
}

#[async_trait]
impl Contract for World {
    fn client(&self) -> Arc<dyn Wallet> {
        Arc::new(World::client(self))
    }

    fn merchants(&self) -> [String; 2] {
        [MERCHANT.to_owned(), "1900000999".to_owned()]
    }

    fn trouble(&self, call: Call, trouble: Trouble) {
        let refuse = |code: &str| Fault::Refuse { code: code.to_owned(), message: "沙箱故障".to_owned() };
        let operation = match call {
            Call::Prepay => "prepay",
            Call::Query => "query",
            Call::Close => "close",
            Call::Refund => "refund",
            Call::QueryRefund => "refund-query",
        };
        self.fault(
            operation,
            match trouble {
                Trouble::AnswerLost => Fault::DoButDoNotAnswer,
                Trouble::QuestionLost => Fault::NeitherDoNorAnswer,
                Trouble::Refused => refuse("NO_AUTH"),
                // Its SYSTEM_ERROR may have been done; only its limits say that nothing was.
                Trouble::Busy => refuse("FREQUENCY_LIMITED"),
            },
        );
    }

    async fn pay(&self, prepay_id: &str) -> bool {
        let url = format!("{}/sandbox/pay", self.wallet.listening.url);
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let body = json!({ "prepay_id": prepay_id, "openid": OPENID }).to_string().into_bytes();
        let request = Request { method: "POST", url, headers, body, timeout: Duration::from_secs(20) };
        self.http.send(request).await.expect("an answer").status == 200
    }

    async fn posted(&mut self) -> Posted {
        let heard = self.ear.next().await;
        (heard.headers, heard.body)
    }

    async fn withdraw(&self, merchant: &str, fen: i64) {
        self.operate(&format!("/sandbox/merchants/{merchant}/withdraw"), &json!({ "fen": fen })).await;
    }

    async fn deposit(&self, merchant: &str, fen: i64) {
        self.operate(&format!("/sandbox/merchants/{merchant}/deposit"), &json!({ "fen": fen })).await;
    }

    fn deserted(&self) -> Arc<dyn Wallet> {
        let config = WalletConfig { base_url: nowhere(), ..self.config() };
        Arc::new(self.client_with(config, Arc::new(SystemClock::new())))
    }
}

mod promises {
    super::every_promise!(wallet in super::World::new);
}

fn prepay(out_trade_no: &str) -> PrepayRequest {
    PrepayRequest {
        merchant: MERCHANT.to_owned(),
        out_trade_no: out_trade_no.to_owned(),
        description: "第一人民医院 门诊缴费".to_owned(),
        amount: Fen::new(10_500),
        expires_at_us: 4_102_444_800_000_001,
        payer: Openid::new(OPENID),
        attach: "bill-1".to_owned(),
    }
}

fn refund(out_trade_no: &str, out_refund_no: &str, amount: i64) -> RefundRequest {
    RefundRequest {
        merchant: MERCHANT.to_owned(),
        out_trade_no: out_trade_no.to_owned(),
        out_refund_no: out_refund_no.to_owned(),
        amount: Fen::new(amount),
        paid: Fen::new(10_500),
        reason: "退费".to_owned(),
    }
}

#[track_caller]
fn done<T: std::fmt::Debug>(answer: Answer<T>) -> T {
    match answer {
        Answer::Done(value) => value,
        other => panic!("{other:?}"),
    }
}

/// `done`, `unknown`, or the refusal's code with a star where they were busy.
fn outcome<T>(answer: Answer<T>) -> String {
    match answer {
        Answer::Refused(Refused { code, busy, .. }) => format!("{code}{}", if busy { "*" } else { "" }),
        other => other.word().to_owned(),
    }
}

#[tokio::test]
async fn an_order_is_opened_paid_told_and_given_back() {
    let mut world = World::new().await;
    let client = world.client();
    let prepay_id = done(client.prepay(&prepay("TRADE-1")).await);
    assert_eq!(done(client.prepay(&prepay("TRADE-1")).await), prepay_id, "a repeat is harmless");
    assert_eq!(done(client.query(MERCHANT, "TRADE-1").await), TradeState::NotPaid);

    let (taken, heard) = world.paid(&client, "TRADE-1").await;
    assert_eq!((taken.out_trade_no.as_str(), taken.amount), ("TRADE-1", Fen::new(10_500)));
    assert_eq!(done(client.query(MERCHANT, "TRADE-1").await), TradeState::Paid(taken.clone()));
    assert!(heard.line.starts_with("POST /wallet/v1/notify/t1 "), "{}", heard.line);
    assert_eq!(outcome(client.close(MERCHANT, "TRADE-1").await), "ORDERPAID");

    let state = done(client.refund(&refund("TRADE-1", "R-1", 500)).await);
    assert!(matches!(state, RefundState::Processing | RefundState::Returned { .. }), "{state:?}");
    let told = world.ear.next().await;
    let Ok(Notice::Refund { merchant, out_refund_no, state }) = client.open_notice(&told.headers, &told.body) else {
        panic!("a refund is told")
    };
    assert_eq!((merchant.as_str(), out_refund_no.as_str()), (MERCHANT, "R-1"));
    assert!(matches!(state, RefundState::Returned { .. }), "{state:?}");
    assert_eq!(done(client.query_refund(MERCHANT, "R-1").await), state);
    assert_eq!(done(client.refund(&refund("TRADE-1", "R-1", 500)).await), state, "a repeat gives nothing back twice");
    assert_eq!(done(client.query(MERCHANT, "TRADE-1").await), TradeState::Paid(taken), "it was paid all the same");
    assert_eq!(outcome(client.refund(&refund("TRADE-1", "R-2", 10_001)).await), "INVALID_REQUEST");
}

#[tokio::test]
async fn what_the_wallet_does_not_know_is_nothing_and_what_is_closed_stays_closed() {
    let world = World::new().await;
    let client = world.client();
    assert_eq!(done(client.query(MERCHANT, "NO-SUCH-1").await), TradeState::Nothing);
    assert_eq!(done(client.query_refund(MERCHANT, "NO-SUCH-1").await), RefundState::Nothing);
    assert_eq!(outcome(client.close(MERCHANT, "NO-SUCH-1").await), "done");
    done(client.prepay(&prepay("TRADE-2")).await);
    assert_eq!(done(client.query("1900000999", "TRADE-2").await), TradeState::Nothing, "another institution's");
    for _ in 0..2 {
        assert_eq!(outcome(client.close(MERCHANT, "TRADE-2").await), "done");
    }
    assert_eq!(done(client.query(MERCHANT, "TRADE-2").await), TradeState::Closed);
    assert_eq!(outcome(client.prepay(&prepay("TRADE-2")).await), "ORDERCLOSED");
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_the_question_afterwards_tells() {
    let world = World::new().await;
    let client = world.client();
    world.fault("prepay", Fault::DoButDoNotAnswer);
    assert_eq!(outcome(client.prepay(&prepay("TRADE-3")).await), "unknown");
    assert_eq!(done(client.query(MERCHANT, "TRADE-3").await), TradeState::NotPaid);
    world.fault("prepay", Fault::NeitherDoNorAnswer);
    assert_eq!(outcome(client.prepay(&prepay("TRADE-4")).await), "unknown");
    assert_eq!(done(client.query(MERCHANT, "TRADE-4").await), TradeState::Nothing);
    world.fault("close", Fault::DoButDoNotAnswer);
    assert_eq!(outcome(client.close(MERCHANT, "TRADE-3").await), "unknown");
    assert_eq!(done(client.query(MERCHANT, "TRADE-3").await), TradeState::Closed);
    // An answer that comes after our patience is lost as well.
    let impatient = world.client().with_timeout(Duration::from_millis(200));
    world.fault("query", Fault::Delay { delay_ms: 5_000 });
    assert_eq!(outcome(impatient.query(MERCHANT, "TRADE-3").await), "unknown");
}

#[tokio::test]
async fn every_no_has_its_kind() {
    let mut world = World::new().await;
    let client = world.client();
    world.paid(&client, "TRADE-5").await;
    let limited = || Fault::Refuse { code: "FREQUENCY_LIMITED".to_owned(), message: "频率超限".to_owned() };
    for (operation, fault, expected) in [
        ("prepay", limited(), "FREQUENCY_LIMITED*"),
        ("refund", limited(), "FREQUENCY_LIMITED*"),
        ("close", limited(), "FREQUENCY_LIMITED*"),
        ("query", limited(), "FREQUENCY_LIMITED*"),
        // 500 SYSTEM_ERROR: it may have been done before they stumbled.
        ("prepay", Fault::Busy, "unknown"),
        ("refund", Fault::Busy, "unknown"),
        ("close", Fault::Busy, "unknown"),
        ("refund-query", Fault::Busy, "unknown"),
        ("refund", Fault::Refuse { code: "NOT_ENOUGH".to_owned(), message: "余额不足".to_owned() }, "NOT_ENOUGH"),
    ] {
        world.fault(operation, fault.clone());
        let told = match operation {
            "prepay" => outcome(client.prepay(&prepay("TRADE-6")).await),
            "refund" => outcome(client.refund(&refund("TRADE-5", "R-5", 1)).await),
            "close" => outcome(client.close(MERCHANT, "TRADE-6").await),
            "query" => outcome(client.query(MERCHANT, "TRADE-5").await),
            _ => outcome(client.query_refund(MERCHANT, "R-5").await),
        };
        assert_eq!(told, expected, "{operation}: {fault:?}");
    }
    // Really not enough: the institution has taken its money to the bank.
    world.operate(&format!("/sandbox/merchants/{MERCHANT}/withdraw"), &json!({ "fen": 10_500 })).await;
    assert_eq!(outcome(client.refund(&refund("TRADE-5", "R-5", 1)).await), "NOT_ENOUGH");

    for code in ["ABNORMAL", "CLOSED"] {
        world.operate(&format!("/sandbox/merchants/{MERCHANT}/deposit"), &json!({ "fen": 1 })).await;
        world.fault("refund-settle", Fault::Refuse { code: code.to_owned(), message: String::new() });
        let number = format!("R-{code}");
        done(client.refund(&refund("TRADE-5", &number, 1)).await);
        let told = world.ear.next().await;
        let state = RefundState::Abnormal(code.to_owned());
        let (merchant, out_refund_no) = (MERCHANT.to_owned(), number.clone());
        let expected = Notice::Refund { merchant, out_refund_no, state: state.clone() };
        assert_eq!(client.open_notice(&told.headers, &told.body), Ok(expected));
        assert_eq!(done(client.query_refund(MERCHANT, &number).await), state);
    }

    world.wallet.listening.stop().await.expect("it stops");
    assert_eq!(outcome(client.prepay(&prepay("TRADE-7")).await), format!("{NEVER_SENT}*"));
}

#[tokio::test]
async fn nothing_unsigned_is_believed_in_either_direction() {
    let mut world = World::new().await;
    let stranger = Keys::generate("1900007291", "wx1").expect("keys").credentials;
    let clock = || -> Arc<dyn Clock> { Arc::new(SystemClock::new()) };

    // Our own key is not the one the wallet knows: it refuses, in an answer that verifies.
    let merchant_private_key_pem = Secret::new(&stranger.merchant_private_key_pem);
    let impostor = world.client_with(WalletConfig { merchant_private_key_pem, ..world.config() }, clock());
    assert_eq!(outcome(impostor.query(MERCHANT, "TRADE-8").await), "SIGN_ERROR");

    // The wallet's key or its name is another one: whatever it answers is unknown.
    let wechatpay_public_key_pem = stranger.wechatpay_public_key_pem.clone();
    let wrong_key = world.client_with(WalletConfig { wechatpay_public_key_pem, ..world.config() }, clock());
    let wechatpay_serial = "PUB_KEY_ID_0000".to_owned();
    let wrong_serial = world.client_with(WalletConfig { wechatpay_serial, ..world.config() }, clock());
    let client = world.client();
    let (_, notice) = world.paid(&client, "TRADE-8").await;
    for other in [&wrong_key, &wrong_serial] {
        assert_eq!(outcome(other.query(MERCHANT, "TRADE-8").await), "unknown");
        assert_eq!(outcome(other.close(MERCHANT, "TRADE-8").await), "unknown");
        assert_eq!(other.open_notice(&notice.headers, &notice.body), Err(NotBelieved::Signature));
    }

    // A notice is good for five minutes, for these bytes, and for whoever holds the APIv3 key.
    let now_us = SystemClock::new().now_us();
    for (minutes, believed) in [(-6, false), (-4, true), (4, true), (6, false)] {
        let set = SetClock::new(now_us + minutes * 60_000_000, 1);
        let later = world.client_with(world.config(), set);
        assert_eq!(later.open_notice(&notice.headers, &notice.body).is_ok(), believed, "{minutes} minutes off");
    }
    let mut changed = notice.body.clone();
    changed.push(b' ');
    assert_eq!(client.open_notice(&notice.headers, &changed), Err(NotBelieved::Signature));
    let unsigned: Vec<_> = notice.headers.iter().filter(|(name, _)| name != "wechatpay-signature").cloned().collect();
    assert_eq!(client.open_notice(&unsigned, &notice.body), Err(NotBelieved::Signature));
    let apiv3_key = Secret::new("0".repeat(32));
    let cannot_open = world.client_with(WalletConfig { apiv3_key, ..world.config() }, clock());
    let malformed = NotBelieved::Malformed("the resource does not open".to_owned());
    assert_eq!(cannot_open.open_notice(&notice.headers, &notice.body), Err(malformed));

    // Signed by the wallet, and about somebody else's account or app.
    done(client.refund(&refund("TRADE-8", "R-8", 1)).await);
    let back = world.ear.next().await;
    let other = |sp_mchid: &str, sp_appid: &str| {
        let (sp_mchid, sp_appid) = (sp_mchid.to_owned(), sp_appid.to_owned());
        world.client_with(WalletConfig { sp_mchid, sp_appid, ..world.config() }, clock())
    };
    let config = world.config();
    let about = |what: &str| Err(NotBelieved::Malformed(format!("the answer is about another {what}")));
    let foreign = other("1900007292", &config.sp_appid);
    assert_eq!(foreign.open_notice(&notice.headers, &notice.body), about("sp_mchid"));
    assert_eq!(foreign.open_notice(&back.headers, &back.body), about("sp_mchid"));
    assert_eq!(other(&config.sp_mchid, "wx1").open_notice(&notice.headers, &notice.body), about("sp_appid"));
}

#[tokio::test]
async fn a_probe_fails_and_the_notice_behind_it_is_heard() {
    let mut world = World::new().await;
    let client = world.client();
    world.fault("notify-probe", Fault::Duplicate);
    let prepay_id = done(client.prepay(&prepay("TRADE-9")).await);
    world.tap(&prepay_id).await;
    let probe = world.ear.next().await;
    assert_eq!(client.open_notice(&probe.headers, &probe.body), Err(NotBelieved::Signature));
    let notice = world.ear.next().await;
    assert!(matches!(client.open_notice(&notice.headers, &notice.body), Ok(Notice::Paid { .. })));
}

#[tokio::test]
async fn the_phone_is_handed_a_signature_the_wallet_can_check() {
    let world = World::new().await;
    let view = world.client().client_sign("wx26112221580621e9b071c00d9e093b0000", Fen::new(10_500));
    assert_eq!(view.package, "prepay_id=wx26112221580621e9b071c00d9e093b0000");
    assert_eq!((view.sign_type.as_str(), view.amount_fen), ("RSA", Fen::new(10_500)));
    let text = format!("{}\n{}\n{}\n{}\n", view.app_id, view.time_stamp, view.nonce_str, view.package);
    let pem = std::fs::read_to_string(world.directory.path().join("merchant-public-key.pem")).expect("a key");
    assert!(CheckingKey::from_pem(&pem).expect("a key").holds(text.as_bytes(), &view.pay_sign));
}

#[tokio::test]
async fn unusable_keys_are_refused_before_anything_is_sent_and_no_key_is_ever_shown() {
    let world = World::new().await;
    let refused = |config: WalletConfig| {
        let clock = Arc::new(SystemClock::new());
        WeChatPay::new(config, world.http.clone(), clock, String::new()).err()
    };
    let config = world.config();
    let public = Secret::new(&config.wechatpay_public_key_pem);
    let private = config.merchant_private_key_pem.expose().to_owned();
    for (changed, expected) in [
        (WalletConfig { merchant_private_key_pem: public, ..config.clone() }, BadKey::Private),
        (WalletConfig { wechatpay_public_key_pem: private, ..config.clone() }, BadKey::Public),
        (WalletConfig { apiv3_key: Secret::new("short"), ..config.clone() }, BadKey::Apiv3),
    ] {
        assert_eq!(refused(changed), Some(expected));
    }
    let shown = format!("{config:?}");
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains(config.apiv3_key.expose()), "{shown}");
    let stored = serde_json::to_string(&config).expect("serialises");
    assert_eq!(serde_json::from_str::<WalletConfig>(&stored).expect("comes back"), config);
}
