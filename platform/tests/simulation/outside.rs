//! The outside of a simulated city: the sandbox's own bureau, wallet, SMS gateway and hospitals, in memory, reached
//! through the platform's own seams, with lost answers, repeats, delays and calls that execute late.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use platform::clock::Clock as _;
use platform::parties::answer::{Answer, Refused};
use platform::parties::link::{Address, Links};
use platform::parties::outbound::{Failure, Outbound, Request, Response};
use platform::parties::sms::{Sms, SmsGateway};
use platform::parties::wallet::{
    Account, NotBelieved, Notice, PrepayRequest, RefundRequest, RefundState, Taken, TradeState, Wallet,
};
use sandbox::bureau::core::Reception;
use sandbox::fault::Fault;
use sandbox::wallet::order::{Lateness, PayRequest};
use schema::ids::{InstitutionCode, MessageId};
use schema::link::{Reply, ToInstitution};
use schema::mobile::WalletView;
use schema::money::Fen;
use schema::personal::{Openid, Personal as _};
use serde_json::{Value, json};

use crate::clock::SimClock;

/// How unkind the outside is, in percent of calls.
#[derive(Clone, Copy)]
pub struct Weather {
    pub lost: u32,
    pub late: u32,
    pub busy: u32,
    pub differ: u32,
    pub refused: u32,
}

impl Weather {
    pub const FAIR: Weather = Weather { lost: 0, late: 0, busy: 0, differ: 0, refused: 0 };
    pub const ROUGH: Weather = Weather { lost: 12, late: 5, busy: 5, differ: 4, refused: 3 };
}

/// Everything outside the platform.
pub struct Outside {
    pub clock: Arc<SimClock>,
    weather: Mutex<Weather>,
    /// How many calls came from the platform.
    pub calls: AtomicUsize,
    /// An institution that hears everything and says nothing.
    pub silent: Mutex<Option<InstitutionCode>>,
    /// Questions that it has not answered yet, and the most there ever were.
    pub unanswered: Mutex<(usize, usize)>,
    pub bureau: Mutex<sandbox::bureau::Core>,
    pub platform_caller: sandbox::bureau::Caller,
    pub hospital_caller: sandbox::bureau::Caller,
    pub wallet: Mutex<sandbox::wallet::core::Core>,
    pub sms: Mutex<sandbox::sms::core::Core>,
    pub his: Mutex<sandbox::his::Core>,
}

impl Outside {
    pub fn new(
        clock: Arc<SimClock>,
        weather: Weather,
        bureau: sandbox::bureau::Core,
        platform_caller: sandbox::bureau::Caller,
        hospital_caller: sandbox::bureau::Caller,
        his: sandbox::his::Core,
    ) -> Outside {
        let settings = sandbox::wallet::core::Settings {
            sp_mchid: SP.into(),
            sp_appid: "wx8888888888888888".into(),
            refund_delay_ms: 3_000,
        };
        Outside {
            clock,
            weather: Mutex::new(weather),
            calls: AtomicUsize::new(0),
            silent: Mutex::default(),
            unanswered: Mutex::default(),
            bureau: Mutex::new(bureau),
            platform_caller,
            hospital_caller,
            wallet: Mutex::new(sandbox::wallet::core::Core::new(settings)),
            sms: Mutex::new(sandbox::sms::core::Core::new(50)),
            his: Mutex::new(his),
        }
    }

    /// The storm is over.
    pub fn calm(&self) {
        *self.weather.lock().expect("one thread") = Weather::FAIR;
    }

    fn weather(&self) -> Weather {
        *self.weather.lock().expect("one thread")
    }

    /// Late calls of the bureau and refunds of the wallet happen when their time has come.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.clock.china();
            self.bureau.lock().expect("one thread").run_due(now);
            self.wallet.lock().expect("one thread").advance(now);
        }
    }

    fn bureau_fault(&self, infno: &str) -> Option<Fault> {
        let weather = self.weather();
        let settles = infno == "2207";
        let changes = settles || infno == "2208";
        if self.clock.percent(weather.lost) {
            let delay_ms = u64::from(self.clock.below(4000));
            return Some(match self.clock.below(if settles { 4 } else { 2 }) {
                0 => Fault::NeitherDoNorAnswer,
                1 => Fault::DoButDoNotAnswer,
                2 => Fault::LateCommit { delay_ms },
                _ => Fault::ExecuteAfterReversal { delay_ms },
            });
        }
        if self.clock.percent(weather.busy) {
            return Some(Fault::Busy);
        }
        if settles && self.clock.percent(weather.differ) {
            return Some(Fault::Differ);
        }
        if changes && self.clock.percent(weather.refused) {
            return Some(Fault::Refuse { code: "2009".into(), message: "不予受理".into() });
        }
        None
    }

    /// What happens to a call to anybody else.
    fn luck(&self) -> Luck {
        if self.clock.percent(self.weather().lost) {
            return if self.clock.percent(50) { Luck::Lost } else { Luck::DoneUnheard };
        }
        Luck::Fair
    }

    /// A call of the platform sets out.
    async fn arrive(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.travel().await;
    }

    async fn say_nothing(&self, timeout: Duration) -> Answer<Reply> {
        {
            let (now, most) = &mut *self.unanswered.lock().expect("one thread");
            *now += 1;
            *most = (*most).max(*now);
        }
        tokio::time::sleep(timeout).await;
        self.unanswered.lock().expect("one thread").0 -= 1;
        Answer::Unknown("no answer on the link".into())
    }

    async fn travel(&self) {
        let most_ms = if self.clock.percent(self.weather().late) { 3000 } else { 40 };
        self.clock.pause(most_ms).await;
    }

    /// A person pays in the wallet; `late` even though the order is closed.
    pub fn pay(&self, prepay_id: &str, openid: &Openid, late: bool) -> bool {
        let request = PayRequest { prepay_id: prepay_id.into(), openid: openid.expose().into(), at_most_fen: None };
        let lateness = if late { Lateness::Lands } else { Lateness::Refused };
        let now = self.clock.china();
        self.wallet.lock().expect("one thread").pay(&request, lateness, now).is_ok()
    }

    /// The newest six digits a phone was sent.
    pub fn newest_code(&self, phone: &str) -> Option<String> {
        let sms = self.sms.lock().expect("one thread");
        let mut codes = sms.inbox(phone, 0).into_iter().filter(|message| message.message.text.contains("验证码"));
        codes.next_back().map(|message| message.message.text.chars().filter(char::is_ascii_digit).take(6).collect())
    }

    fn wallet_call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).expect("json") };
        let reply = self.wallet.lock().expect("one thread").handle(method, path, &body, self.clock.china());
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    async fn wallet_answer(&self, method: &str, path: &str, body: Value) -> Answer<(u16, Value)> {
        self.arrive().await;
        match self.luck() {
            Luck::Lost => Answer::Unknown("lost on the way".into()),
            Luck::DoneUnheard => {
                self.wallet_call(method, path, &body);
                Answer::Unknown("no answer".into())
            }
            Luck::Fair => {
                let (status, value) = self.wallet_call(method, path, &body);
                if status < 300 || status == 404 {
                    Answer::Done((status, value))
                } else {
                    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                    Answer::Refused(Refused { code: text("code"), words: text("message"), busy: false })
                }
            }
        }
    }
}

enum Luck {
    Fair,
    Lost,
    DoneUnheard,
}

#[async_trait]
impl Outbound for Outside {
    /// Only the bureau is reached this way, through the platform's real client and mapping.
    async fn send(&self, request: Request) -> Result<Response, Failure> {
        self.arrive().await;
        let infno = request.url.rsplit('/').next().unwrap_or_default().to_owned();
        let envelope: Value = serde_json::from_slice(&request.body).expect("the client sends JSON");
        let fault = self.bureau_fault(&infno);
        let reception = self.bureau.lock().expect("one thread").receive(
            &self.platform_caller,
            &infno,
            &envelope,
            self.clock.china(),
            fault.as_ref(),
        );
        match reception {
            Reception::Answer { envelope, after_ms } => {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                self.travel().await;
                let body = serde_json::to_vec(&envelope).expect("json");
                Ok(Response { status: 200, headers: Vec::new(), body })
            }
            Reception::NoAnswer => Err(Failure::Lost("the connection broke".into())),
        }
    }
}

fn taken(value: &Value) -> Taken {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Taken {
        out_trade_no: text("out_trade_no"),
        transaction_id: text("transaction_id"),
        amount: Fen::new(value["amount"]["total"].as_i64().expect("an amount")),
        success_time_us: instant(&value["success_time"]),
    }
}

fn instant(value: &Value) -> i64 {
    let text = value.as_str().expect("a time");
    chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339").timestamp_micros()
}

fn refund_state((status, value): (u16, Value)) -> RefundState {
    match (status, value["status"].as_str()) {
        (404, _) => RefundState::Nothing,
        (_, Some("SUCCESS")) => RefundState::Returned { success_time_us: instant(&value["success_time"]) },
        (_, Some("PROCESSING")) => RefundState::Processing,
        (_, other) => RefundState::Abnormal(other.unwrap_or("?").into()),
    }
}

const SP: &str = "1900007291";

/// The wallet's seam straight onto the sandbox's wallet core: signatures have their own tests.
#[async_trait]
impl Wallet for Outside {
    fn account(&self) -> Account {
        Account { sp_mchid: SP.into(), sp_appid: "wx8888888888888888".into() }
    }

    async fn prepay(&self, request: &PrepayRequest) -> Answer<String> {
        let expires = platform::journey::desk::china_time(request.expires_at_us);
        let body = json!({
            "sp_appid": "wx8888888888888888", "sp_mchid": SP, "sub_mchid": request.merchant,
            "description": request.description, "out_trade_no": request.out_trade_no,
            "time_expire": expires.to_rfc3339_opts(chrono::SecondsFormat::Secs, false),
            "notify_url": "http://platform.sim/wallet", "attach": request.attach,
            "amount": { "total": request.amount.get(), "currency": "CNY" },
            "payer": { "sp_openid": request.payer.expose() },
        });
        let answer = self.wallet_answer("POST", "/v3/pay/partner/transactions/jsapi", body).await;
        answer.map(|(_, value)| value["prepay_id"].as_str().unwrap_or_default().to_owned())
    }

    async fn query(&self, merchant: &str, out_trade_no: &str) -> Answer<TradeState> {
        let path =
            format!("/v3/pay/partner/transactions/out-trade-no/{out_trade_no}?sp_mchid={SP}&sub_mchid={merchant}");
        let answer = self.wallet_answer("GET", &path, Value::Null).await;
        answer.map(|(status, value)| match (status, value["trade_state"].as_str()) {
            (404, _) => TradeState::Nothing,
            (_, Some("SUCCESS" | "REFUND")) => TradeState::Paid(taken(&value)),
            (_, Some("NOTPAY")) => TradeState::NotPaid,
            (_, Some("CLOSED")) => TradeState::Closed,
            (_, other) => TradeState::Unclear(other.unwrap_or("?").into()),
        })
    }

    async fn close(&self, merchant: &str, out_trade_no: &str) -> Answer<()> {
        let path = format!("/v3/pay/partner/transactions/out-trade-no/{out_trade_no}/close");
        self.wallet_answer("POST", &path, json!({ "sp_mchid": SP, "sub_mchid": merchant })).await.map(|_| ())
    }

    async fn refund(&self, request: &RefundRequest) -> Answer<RefundState> {
        let body = json!({
            "sub_mchid": request.merchant, "out_trade_no": request.out_trade_no,
            "out_refund_no": request.out_refund_no, "reason": request.reason,
            "amount": { "refund": request.amount.get(), "total": request.paid.get(), "currency": "CNY" },
        });
        self.wallet_answer("POST", "/v3/refund/domestic/refunds", body).await.map(refund_state)
    }

    async fn query_refund(&self, merchant: &str, out_refund_no: &str) -> Answer<RefundState> {
        let path = format!("/v3/refund/domestic/refunds/{out_refund_no}?sub_mchid={merchant}");
        self.wallet_answer("GET", &path, Value::Null).await.map(refund_state)
    }

    fn client_sign(&self, prepay_id: &str, amount: Fen) -> WalletView {
        WalletView {
            app_id: String::new(),
            time_stamp: String::new(),
            nonce_str: String::new(),
            package: format!("prepay_id={prepay_id}"),
            sign_type: "RSA".into(),
            pay_sign: String::new(),
            amount_fen: amount,
        }
    }

    fn open_notice(&self, _: &[(String, String)], _: &[u8]) -> Result<Notice, NotBelieved> {
        Err(NotBelieved::Malformed("notices come by the people's tasks here".into()))
    }
}

#[async_trait]
impl SmsGateway for Outside {
    async fn send(&self, sms: &Sms) -> Answer<()> {
        self.arrive().await;
        let message = sandbox::sms::core::Message {
            message_id: sms.message_id.clone(),
            phone: sms.phone.expose().into(),
            template: sms.template.into(),
            params: BTreeMap::new(),
            text: sms.text.0.clone(),
        };
        let luck = self.luck();
        if !matches!(luck, Luck::Lost) {
            let sent = self.sms.lock().expect("one thread").send(&message, self.clock.china());
            assert!(sent.is_ok(), "the gateway takes every message");
        }
        if matches!(luck, Luck::Fair) { Answer::Done(()) } else { Answer::Unknown("no answer".into()) }
    }
}

struct Port<'a>(&'a Outside);

impl sandbox::his::BureauPort for Port<'_> {
    fn call(&mut self, infno: &str, envelope: &Value) -> Option<Value> {
        let outside = self.0;
        let answer = outside.bureau.lock().expect("one thread").handle(
            &outside.hospital_caller,
            infno,
            envelope,
            outside.clock.china(),
        );
        // The hospital's own line to the bureau is a little kinder than ours.
        (!outside.clock.percent(outside.weather().lost / 6)).then_some(answer)
    }
}

#[async_trait]
impl Links for Outside {
    /// The link, the adapter and the HIS: a repeat of a message gets the first answer.
    async fn ask(
        &self,
        address: &Address,
        message: MessageId,
        _: Option<String>,
        ask: ToInstitution,
        timeout: Duration,
    ) -> Answer<Reply> {
        self.arrive().await;
        if self.silent.lock().expect("one thread").as_ref() == Some(&address.institution) {
            return self.say_nothing(timeout).await;
        }
        let luck = self.luck();
        if matches!(luck, Luck::Lost) {
            if self.clock.percent(50) {
                return Answer::Refused(Refused { code: "OFFLINE".into(), words: String::new(), busy: true });
            }
            tokio::time::sleep(timeout).await;
            return Answer::Unknown("no answer on the link".into());
        }
        if matches!(ask, ToInstitution::Settled(_)) && self.clock.percent(self.weather().refused) {
            // Once in a while the HIS wants nothing of a bill that is paid.
            return Answer::Refused(Refused {
                code: "HOSPITAL_REFUSED".into(),
                words: "处方已作废".into(),
                busy: false,
            });
        }
        let reply = self.his.lock().expect("one thread").perform(message, &ask, &mut Port(self), self.clock.china());
        self.travel().await;
        match (luck, reply) {
            (Luck::Fair, Some(Reply::Refused(problem))) => {
                Answer::Refused(Refused { code: problem.code.to_string(), words: problem.title, busy: false })
            }
            (Luck::Fair, Some(reply)) => Answer::Done(reply),
            _ => {
                tokio::time::sleep(timeout).await;
                Answer::Unknown("no answer on the link".into())
            }
        }
    }
}
