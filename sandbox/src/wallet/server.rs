//! The wallet over HTTP: APIv3's signatures both ways, fault rules, and the sandbox's own pages.
//!
//! Every request runs to its end even when the caller hangs up, as a real wallet's would: a caller that gave up
//! waiting must ask what happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, FixedOffset};
use schema::money::{Fen, Ratio4};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::Call;
use super::core::{Core, CoreReply};
use super::keys::Keys;
use super::notice::Notice;
use super::order::{Lateness, PayRequest, Receipt};
use super::post;
use super::refund::RefundStatus;
use super::refusal::Refusal;
use super::resource::Apiv3Key;
use super::signature::{Authorization, BadKey, CheckingKey, SigningKey, answer_text, request_text};
use crate::clock::{china_now, random_hex};
use crate::fault::{Fault, Faults};
use crate::http::{self, Course};

/// The furthest a request's timestamp may lie from now, in seconds.
const TIMESTAMP_TOLERANCE_S: i64 = 300;
/// The largest body accepted.
const LARGEST_BODY: usize = 256 * 1024;

/// What survives a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Saved {
    /// The wallet itself.
    pub core: Core,
    /// Notifications nobody has heard yet, by id.
    pub unheard: BTreeMap<String, Notice>,
}

#[derive(Debug)]
struct State {
    saved: Saved,
    changed: bool,
}

/// The wallet as a server holds it.
#[derive(Debug)]
pub struct Wallet {
    state: Mutex<State>,
    credentials: super::keys::Credentials,
    merchant_key: CheckingKey,
    wechatpay_key: SigningKey,
    pub(super) apiv3_key: Apiv3Key,
    pub(super) faults: Arc<Faults>,
    pub(super) client: reqwest::Client,
    notify_scale: Ratio4,
    runtime: tokio::runtime::Handle,
    refund_accepted: tokio::sync::Notify,
}

/// The four headers under which the wallet signs.
#[derive(Debug, Clone)]
pub(super) struct SignedHeaders {
    pub(super) timestamp: String,
    pub(super) nonce: String,
    pub(super) signature: String,
    pub(super) serial: String,
}

impl SignedHeaders {
    pub(super) fn named(&self) -> [(&'static str, &str); 4] {
        [
            ("Wechatpay-Timestamp", &self.timestamp),
            ("Wechatpay-Nonce", &self.nonce),
            ("Wechatpay-Signature", &self.signature),
            ("Wechatpay-Serial", &self.serial),
        ]
    }
}

/// Why a wallet did not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// A key of the directory is unusable.
    #[error("an RSA key is unusable: {0}")]
    Rsa(#[from] BadKey),
    /// The APIv3 key has not 32 characters.
    #[error("the APIv3 key has not 32 characters")]
    Apiv3,
    /// No HTTP client could be built.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl Wallet {
    /// A wallet on the current tokio runtime. `notify_scale` stretches the schedule of repeated notifications (1 is
    /// WeChat Pay's own). Notifications still unheard in `saved` are taken up again.
    pub fn start(
        saved: Saved,
        keys: &Keys,
        faults: Arc<Faults>,
        notify_scale: Ratio4,
    ) -> Result<Arc<Wallet>, NotStarted> {
        // Another party of the same process may have installed it already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unheard: Vec<Notice> = saved.unheard.values().cloned().collect();
        let wallet = Arc::new(Wallet {
            state: Mutex::new(State { saved, changed: false }),
            credentials: keys.credentials.clone(),
            merchant_key: CheckingKey::from_pem(&keys.merchant_public_key_pem)?,
            wechatpay_key: SigningKey::from_pem(&keys.wechatpay_private_key_pem)?,
            apiv3_key: Apiv3Key::new(&keys.credentials.apiv3_key).ok_or(NotStarted::Apiv3)?,
            faults,
            client: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?,
            notify_scale,
            runtime: tokio::runtime::Handle::current(),
            refund_accepted: tokio::sync::Notify::new(),
        });
        for notice in unheard {
            wallet.runtime.spawn(post::deliver(Arc::clone(&wallet), notice));
        }
        wallet.runtime.spawn(settle_refunds(Arc::clone(&wallet)));
        Ok(wallet)
    }

    /// What to save, if anything changed since the last call.
    pub fn changed(&self) -> Option<Saved> {
        let mut state = self.lock();
        std::mem::take(&mut state.changed).then(|| state.saved.clone())
    }

    /// Runs `act` on the core, keeps that it changed, and sends what it tells.
    fn with_core<T>(self: &Arc<Wallet>, act: impl FnOnce(&mut Core) -> (T, Vec<Notice>)) -> T {
        let mut state = self.lock();
        state.changed = true;
        let (answer, notices) = act(&mut state.saved.core);
        for notice in &notices {
            state.saved.unheard.insert(notice.id.clone(), notice.clone());
        }
        drop(state);
        for notice in notices {
            self.runtime.spawn(post::deliver(Arc::clone(self), notice));
        }
        answer
    }

    pub(super) fn forget_notice(&self, id: &str) {
        let mut state = self.lock();
        state.saved.unheard.remove(id);
        state.changed = true;
    }

    pub(super) fn scaled(&self, seconds: u64) -> Duration {
        let ten_thousandths = u64::try_from(self.notify_scale.units()).unwrap_or_default();
        Duration::from_micros(seconds * ten_thousandths * 100)
    }

    pub(super) fn signed_headers(&self, body: &[u8], now: DateTime<FixedOffset>) -> SignedHeaders {
        let (timestamp, nonce) = (now.timestamp(), random_hex(16));
        SignedHeaders {
            signature: self.wechatpay_key.sign(&answer_text(timestamp, &nonce, body)),
            timestamp: timestamp.to_string(),
            nonce,
            serial: self.credentials.wechatpay_serial.clone(),
        }
    }

    fn check_signature(&self, request: &Asked, now: DateTime<FixedOffset>) -> Result<(), Refusal> {
        let refused = |why: &str| Err(Refusal::new("SIGN_ERROR", &format!("签名错误: {why}")));
        let Some(said) = request.authorization.as_deref().and_then(Authorization::parse) else {
            return refused("Authorization 缺失或格式不正确");
        };
        if said.mchid != self.credentials.sp_mchid || said.serial_no != self.credentials.merchant_serial {
            return refused("商户号或证书序列号不匹配");
        }
        if said.timestamp.abs_diff(now.timestamp()) > TIMESTAMP_TOLERANCE_S.unsigned_abs() {
            return refused("时间戳与当前时间相差超过 5 分钟");
        }
        let text =
            request_text(&request.method, &request.path_and_query, said.timestamp, &said.nonce_str, &request.body);
        if self.merchant_key.holds(&text, &said.signature) { Ok(()) } else { refused("签名与签名串不符") }
    }

    fn signed(&self, reply: &CoreReply) -> HttpResponse {
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = HttpResponse::build(status);
        for (name, value) in self.signed_headers(&reply.body, china_now()).named() {
            answer.insert_header((name, value));
        }
        answer.insert_header(("Request-Id", random_hex(16)));
        if reply.body.is_empty() {
            answer.finish()
        } else {
            answer.content_type("application/json; charset=utf-8").body(reply.body.clone())
        }
    }

    fn refused(&self, refusal: &Refusal) -> HttpResponse {
        let body = refusal.body().to_string().into_bytes();
        self.signed(&CoreReply { status: refusal.status, body, notices: Vec::new() })
    }

    /// Performs a call. A rule on `refund-settle` whose refusal has the code `ABNORMAL` or `CLOSED` makes a refund end
    /// so.
    fn perform(self: &Arc<Wallet>, call: &Call) -> CoreReply {
        let reply = self.with_core(|core| {
            if let Call::Refund(request) = call
                && let Some(Fault::Refuse { code, .. }) = self.faults.strike("refund-settle", &core.subject(call))
            {
                let outcome = if code == "CLOSED" { RefundStatus::Closed } else { RefundStatus::Abnormal };
                core.destine(&request.out_refund_no, outcome);
            }
            let mut reply = core.perform(call, china_now());
            let notices = std::mem::take(&mut reply.notices);
            (reply, notices)
        });
        if matches!(call, Call::Refund(_)) {
            self.refund_accepted.notify_one();
        }
        reply
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles refunds when they are due, for as long as the process lives.
async fn settle_refunds(wallet: Arc<Wallet>) {
    loop {
        let due = wallet.lock().saved.core.next_due();
        let wait = due.map(|at| (at - china_now()).to_std().unwrap_or(Duration::ZERO));
        match wait {
            Some(wait) => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = wallet.refund_accepted.notified() => {}
                }
                wallet.with_core(|core| ((), core.advance(china_now())));
            }
            None => wallet.refund_accepted.notified().await,
        }
    }
}

/// A request out of actix's hands, so that it can outlive its connection.
struct Asked {
    method: String,
    path_and_query: String,
    authorization: Option<String>,
    body: Bytes,
}

/// APIv3 and the sandbox's pages.
pub fn routes(wallet: Arc<Wallet>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(web::PayloadConfig::new(LARGEST_BODY))
            .configure(http::fault_routes(Arc::clone(&wallet.faults)))
            .app_data(web::Data::from(wallet))
            .route("/sandbox/pay", web::post().to(pay))
            .route("/sandbox/records", web::get().to(records))
            .route("/sandbox/books", web::get().to(books))
            .route("/sandbox/merchants/{sub_mchid}/withdraw", web::post().to(withdraw))
            .route("/sandbox/merchants/{sub_mchid}/deposit", web::post().to(deposit))
            .default_service(web::to(apiv3));
    }
}

async fn apiv3(request: HttpRequest, body: Result<Bytes, actix_web::Error>, wallet: web::Data<Wallet>) -> HttpResponse {
    let wallet = wallet.into_inner();
    let Ok(body) = body else {
        return wallet.refused(&Refusal::new("PARAM_ERROR", "参数错误: 请求体不完整或过大"));
    };
    let header = request.headers().get("Authorization").and_then(|value| value.to_str().ok());
    let asked = Asked {
        method: request.method().to_string(),
        path_and_query: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        authorization: header.map(str::to_owned),
        body,
    };
    match wallet.runtime.clone().spawn(answer(Arc::clone(&wallet), asked)).await {
        Ok(Some(reply)) => wallet.signed(&reply),
        Ok(None) | Err(_) => http::hang_up(),
    }
}

/// The reply to one request, or `None` to hang up.
async fn answer(wallet: Arc<Wallet>, asked: Asked) -> Option<CoreReply> {
    let refuse = |refusal: Refusal| {
        Some(CoreReply { status: refusal.status, body: refusal.body().to_string().into_bytes(), notices: Vec::new() })
    };
    if let Err(refusal) = wallet.check_signature(&asked, china_now()) {
        return refuse(refusal);
    }
    let call = match Call::read(&asked.method, &asked.path_and_query, &asked.body) {
        Ok(call) => call,
        Err(refusal) => return refuse(refusal),
    };
    let subject = wallet.lock().saved.core.subject(&call);
    match http::course(&wallet.faults, call.operation(), &subject).await {
        Course::Act | Course::Differ => Some(wallet.perform(&call)),
        Course::ActTwice => {
            wallet.perform(&call);
            Some(wallet.perform(&call))
        }
        Course::ActThenHangUp => {
            wallet.perform(&call);
            None
        }
        Course::HangUpThenAct(delay_ms) => {
            let later = Arc::clone(&wallet);
            wallet.runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                later.perform(&call);
            });
            None
        }
        Course::HangUp => None,
        Course::Pretend => Some(wallet.with_core(|core| (core.pretend(&call, china_now()), Vec::new()))),
        Course::Refuse { code, message } => refuse(Refusal::new(&code, &message)),
        Course::Busy => refuse(Refusal::new("SYSTEM_ERROR", "系统繁忙，请用相同参数重试")),
    }
}

fn admin(answer: Result<serde_json::Value, Refusal>) -> HttpResponse {
    match answer {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
            HttpResponse::build(status).json(refusal.body())
        }
    }
}

async fn pay(body: Bytes, wallet: web::Data<Wallet>) -> HttpResponse {
    let wallet = wallet.into_inner();
    let request: PayRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(fault) => return admin(Err(Refusal::new("PARAM_ERROR", &format!("参数错误: {fault}")))),
    };
    match wallet.runtime.clone().spawn(tap(Arc::clone(&wallet), request)).await {
        Ok(Some(paid)) => admin(paid.map(|receipt| json!(receipt))),
        Ok(None) | Err(_) => http::hang_up(),
    }
}

/// A person taps "pay" (`POST /sandbox/pay`); `None` hangs up. Any rule on `pay-after-close` lets the payment land on
/// an order that is closed or expired; rules on `pay` delay it, refuse it, break it off, only show it as paid, or take
/// another amount.
async fn tap(wallet: Arc<Wallet>, request: PayRequest) -> Option<Result<Receipt, Refusal>> {
    let known = wallet.lock().saved.core.order_by_prepay_id(&request.prepay_id).cloned();
    let number = known.map(|order| order.request.out_trade_no).unwrap_or_default();
    let course = http::course(&wallet.faults, "pay", &number).await;
    match course {
        Course::Refuse { code, message } => return Some(Err(Refusal::new(&code, &message))),
        Course::Busy => return Some(Err(Refusal::new("SYSTEM_ERROR", "系统繁忙，请稍后重试"))),
        Course::HangUp => return None,
        Course::HangUpThenAct(delay_ms) => tokio::time::sleep(Duration::from_millis(delay_ms)).await,
        Course::Pretend => {
            return Some(wallet.with_core(|core| (core.pretend_to_pay(&request, china_now()), Vec::new())));
        }
        Course::Differ => wallet.with_core(|core| (core.misprice(&number), Vec::new())),
        Course::Act | Course::ActTwice | Course::ActThenHangUp => {}
    }
    let pay_with = |lateness| {
        wallet.with_core(|core| {
            let paid = core.pay(&request, lateness, china_now());
            (paid, core.take_notices())
        })
    };
    let mut paid = pay_with(Lateness::Refused);
    let too_late = |refusal: &Refusal| ["ORDERCLOSED", "ORDER_EXPIRED"].contains(&refusal.code.as_str());
    if paid.as_ref().is_err_and(too_late) && wallet.faults.strike("pay-after-close", &number).is_some() {
        paid = pay_with(Lateness::Lands);
    }
    (course != Course::ActThenHangUp).then_some(paid)
}

async fn records(wallet: web::Data<Wallet>) -> HttpResponse {
    admin(wallet.lock().saved.core.records())
}

async fn books(wallet: web::Data<Wallet>) -> HttpResponse {
    admin(wallet.lock().saved.core.books().map(|books| json!(books)))
}

#[derive(Deserialize)]
struct Moved {
    fen: Fen,
}

async fn withdraw(sub_mchid: web::Path<String>, moved: web::Json<Moved>, wallet: web::Data<Wallet>) -> HttpResponse {
    move_money(&sub_mchid, moved.fen, &wallet.into_inner(), Core::withdraw)
}

async fn deposit(sub_mchid: web::Path<String>, moved: web::Json<Moved>, wallet: web::Data<Wallet>) -> HttpResponse {
    move_money(&sub_mchid, moved.fen, &wallet.into_inner(), Core::deposit)
}

fn move_money(
    sub_mchid: &str,
    fen: Fen,
    wallet: &Arc<Wallet>,
    act: fn(&mut Core, &str, Fen) -> Result<(), Refusal>,
) -> HttpResponse {
    if fen.is_negative() || fen.is_zero() {
        return admin(Err(Refusal::new("PARAM_ERROR", "参数错误: fen 必须大于 0")));
    }
    admin(wallet.with_core(|core| (act(core, sub_mchid, fen), Vec::new())).map(|()| json!({ "moved_fen": fen })))
}
