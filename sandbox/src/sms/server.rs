//! The gateway over HTTP. Every request runs to its end even when the caller hangs up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::core::{Core, Message, Refusal};
use crate::clock::china_now;
use crate::fault::Faults;
use crate::http::{self, Course};

/// The longest a reader of an inbox may wait, in milliseconds.
const LONGEST_WAIT_MS: u64 = 60_000;

/// The gateway as a server holds it.
#[derive(Debug)]
pub struct Gateway {
    core: Mutex<Core>,
    key: String,
    faults: Arc<Faults>,
    newest: watch::Sender<u64>,
    runtime: tokio::runtime::Handle,
    saved_seq: Mutex<u64>,
}

impl Gateway {
    /// A gateway on the current tokio runtime; callers prove themselves by `x-sms-key: key`.
    pub fn start(core: Core, key: &str, faults: Arc<Faults>) -> Arc<Gateway> {
        let seq = core.last_seq();
        Arc::new(Gateway {
            core: Mutex::new(core),
            key: key.to_owned(),
            faults,
            newest: watch::Sender::new(seq),
            runtime: tokio::runtime::Handle::current(),
            saved_seq: Mutex::new(seq),
        })
    }

    /// What to save, if a message was taken since the last call.
    pub fn changed(&self) -> Option<Core> {
        let core = self.lock();
        let mut saved_seq = self.saved_seq.lock().unwrap_or_else(PoisonError::into_inner);
        if *saved_seq == core.last_seq() {
            return None;
        }
        *saved_seq = core.last_seq();
        Some(core.clone())
    }

    fn take(&self, message: &Message) -> Answer {
        let (taken, newest) = {
            let mut core = self.lock();
            (core.send(message, china_now()), core.last_seq())
        };
        self.newest.send_replace(newest);
        match taken {
            Ok(()) => Answer::Accepted,
            Err(refusal @ Refusal::Malformed(_)) => Answer::refused(400, "MALFORMED", &refusal.to_string()),
            Err(refusal @ Refusal::OtherContent) => Answer::refused(409, "OTHER_CONTENT", &refusal.to_string()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Answer {
    Accepted,
    Refused { status: u16, code: String, message: String },
}

impl Answer {
    fn refused(status: u16, code: &str, message: &str) -> Answer {
        Answer::Refused { status, code: code.to_owned(), message: message.to_owned() }
    }

    fn over_http(self) -> HttpResponse {
        match self {
            Answer::Accepted => HttpResponse::Accepted().json(json!({ "accepted": true })),
            Answer::Refused { status, code, message } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                HttpResponse::build(status).json(json!({ "code": code, "message": message }))
            }
        }
    }
}

/// The gateway's URL table.
pub fn routes(gateway: Arc<Gateway>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(web::PayloadConfig::new(64 * 1024))
            .configure(http::fault_routes(Arc::clone(&gateway.faults)))
            .app_data(web::Data::from(gateway))
            .route("/sms/v1/messages", web::post().to(send))
            .route("/sandbox/inbox/{phone}", web::get().to(inbox));
    }
}

async fn send(
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
    gateway: web::Data<Gateway>,
) -> HttpResponse {
    let gateway = gateway.into_inner();
    let key = request.headers().get("x-sms-key").map(|value| value.as_bytes());
    if key != Some(gateway.key.as_bytes()) {
        return Answer::refused(401, "BAD_KEY", "x-sms-key 不正确 the key is wrong").over_http();
    }
    let body = body.unwrap_or_default();
    let message: Message = match serde_json::from_slice(&body) {
        Ok(message) => message,
        Err(fault) => return Answer::refused(400, "MALFORMED", &fault.to_string()).over_http(),
    };
    match gateway.runtime.clone().spawn(answer(Arc::clone(&gateway), message)).await {
        Ok(Some(answer)) => answer.over_http(),
        Ok(None) | Err(_) => http::hang_up(),
    }
}

/// The answer to one message, or `None` to hang up. The subject of fault rules on `send` is the phone.
async fn answer(gateway: Arc<Gateway>, message: Message) -> Option<Answer> {
    match http::course(&gateway.faults, "send", &message.phone).await {
        Course::Act | Course::Differ => Some(gateway.take(&message)),
        Course::ActTwice => {
            let answer = gateway.take(&message);
            if matches!(answer, Answer::Accepted) {
                gateway.newest.send_replace(gateway.lock().arrive_again(&message, china_now()));
            }
            Some(answer)
        }
        Course::ActThenHangUp => {
            gateway.take(&message);
            None
        }
        Course::HangUpThenAct(delay_ms) => {
            let later = Arc::clone(&gateway);
            gateway.runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                later.take(&message);
            });
            None
        }
        Course::HangUp => None,
        Course::Pretend => Some(Answer::Accepted),
        Course::Refuse { code, message } => Some(Answer::Refused { status: 422, code, message }),
        Course::Busy => Some(Answer::refused(429, "BUSY", "发送过于频繁 too many messages, try again")),
    }
}

#[derive(Deserialize)]
struct Reading {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

/// `GET /sandbox/inbox/{phone}?after=SEQ&wait_ms=MS`: waits that long for a message when there is none yet.
async fn inbox(phone: web::Path<String>, reading: web::Query<Reading>, gateway: web::Data<Gateway>) -> HttpResponse {
    let mut newest = gateway.newest.subscribe();
    let deadline = tokio::time::Instant::now() + Duration::from_millis(reading.wait_ms.min(LONGEST_WAIT_MS));
    loop {
        let messages = gateway.lock().inbox(&phone, reading.after);
        let waits_on = messages.is_empty()
            && tokio::time::timeout_at(deadline, newest.changed()).await.is_ok_and(|changed| changed.is_ok());
        if !waits_on {
            return HttpResponse::Ok().json(json!({ "messages": messages }));
        }
    }
}
