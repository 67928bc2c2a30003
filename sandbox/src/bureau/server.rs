//! The core behind HTTP: `POST /<infno>` for callers, `/sandbox/…` for the operator. One lock around one core.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::core::{Core, Reception, Saved};
use super::envelope;
use super::gateway::{Gateway, Headers};
use super::refusal::Refusal;
use super::{admin_http, notice};
use crate::clock::china_now;
use crate::fault::Faults;
use crate::http::{fault_routes, hang_up};
use crate::serve::{Listening, listen};

/// The largest body that is read, bytes. The interface's own limit on `input` is far below.
const MAX_BODY: usize = 1 << 20;

/// A core shared by its server, its errands and whoever started it in process.
pub struct Bureau {
    core: Mutex<Core>,
    gateway: Mutex<Gateway>,
    in_flight: AtomicUsize,
    saved_revision: Mutex<Option<u64>>,
    late_bell: Notify,
    /// Rung when a notice was queued.
    pub(super) notice_bell: Notify,
    /// The fault rules; operations are the infnos, and `loss` for notices.
    pub faults: Arc<Faults>,
}

impl Bureau {
    /// Shares a core. `seed` feeds the dice of shared fault rules.
    pub fn new(core: Core, seed: u64) -> Arc<Bureau> {
        Arc::new(Bureau {
            core: Mutex::new(core),
            gateway: Mutex::new(Gateway::default()),
            in_flight: AtomicUsize::new(0),
            saved_revision: Mutex::new(None),
            late_bell: Notify::new(),
            notice_bell: Notify::new(),
            faults: Arc::new(Faults::new(seed)),
        })
    }

    /// Looks at or changes the core under its lock. Keep it short: every message waits for it.
    pub fn with_core<R>(&self, act: impl FnOnce(&mut Core) -> R) -> R {
        act(&mut self.core.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What to write to disk; none when that was written before.
    fn changed(&self) -> Option<Saved> {
        let mut saved_revision = self.saved_revision.lock().unwrap_or_else(PoisonError::into_inner);
        self.with_core(|core| {
            let revision = core.revision();
            (saved_revision.replace(revision) != Some(revision)).then(|| core.saved())
        })
    }

    fn refuse(&self, envelope: &Value, refusal: Refusal) -> Value {
        self.with_core(|core| core.respond(envelope, china_now(), Err(refusal)))
    }
}

/// A bureau that listens. Dropping it leaves it running; see [`Running::stop`].
pub struct Running {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The core behind it.
    pub bureau: Arc<Bureau>,
    listening: Listening,
    errands: [JoinHandle<()>; 2],
}

impl Running {
    /// Stops listening, lets calls in hand finish for a second, ends the errands, saves the state.
    pub async fn stop(self) -> io::Result<()> {
        self.errands.iter().for_each(JoinHandle::abort);
        self.listening.stop().await
    }
}

/// Starts to listen on `address` (`127.0.0.1:0` for any free port), on the current tokio runtime. The state is kept
/// in `state` when given.
pub fn start(bureau: Arc<Bureau>, address: &str, state: Option<PathBuf>) -> io::Result<Running> {
    let serving = Arc::clone(&bureau);
    let saving = Arc::clone(&bureau);
    let routes = move |config: &mut web::ServiceConfig| {
        config
            .app_data(web::Data::from(Arc::clone(&serving)))
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .configure(fault_routes(Arc::clone(&serving.faults)))
            .configure(admin_http::routes)
            .route("/{infno}", web::post().to(receive));
    };
    // A second installation of the same provider by another party in this process is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
    let client = client.map_err(io::Error::other)?;
    let listening = listen(address, routes, state, move || saving.changed())?;
    let errands =
        [tokio::spawn(execute_late(Arc::clone(&bureau))), tokio::spawn(notice::deliver(Arc::clone(&bureau), client))];
    Ok(Running { url: listening.url.clone(), bureau, listening, errands })
}

/// Executes what faults have put off, each when it is due.
async fn execute_late(bureau: Arc<Bureau>) {
    loop {
        let Some(due) = bureau.with_core(|core| core.next_due()) else {
            bureau.late_bell.notified().await;
            continue;
        };
        let wait = (due - china_now()).to_std().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(wait) => { bureau.with_core(|core| core.run_due(china_now())); }
            () = bureau.late_bell.notified() => {}
        }
    }
}

/// Counts a message in and, however it ends, out.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize) -> (InFlight<'a>, usize) {
        let others = count.fetch_add(1, Ordering::SeqCst);
        (InFlight(count), others)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn receive(
    bureau: web::Data<Bureau>,
    request: HttpRequest,
    infno: web::Path<String>,
    body: Result<Bytes, actix_web::Error>,
) -> HttpResponse {
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let headers = Headers {
        paasid: header("x-tif-paasid"),
        timestamp: header("x-tif-timestamp"),
        nonce: header("x-tif-nonce"),
        signature: header("x-tif-signature"),
    };
    let admitted = bureau.with_core(|core| {
        let mut gateway = bureau.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        gateway.admit(&core.state().callers, &headers, china_now().timestamp())
    });
    let caller = match admitted {
        Ok(caller) => caller,
        Err(why) => {
            let refusal = bureau.refuse(&json!({}), Refusal::malformed(why));
            return HttpResponse::Unauthorized().json(refusal);
        }
    };
    let Ok(body) = body else {
        let why = "报文过大或不完整 the body is too large or incomplete";
        return HttpResponse::Ok().json(bureau.refuse(&json!({}), Refusal::malformed(why)));
    };
    let envelope: Value = match serde_json::from_slice(&body) {
        Ok(envelope) => envelope,
        Err(error) => {
            let why = format!("报文不是JSON the body is no JSON: {error}");
            return HttpResponse::Ok().json(bureau.refuse(&json!({}), Refusal::malformed(why)));
        }
    };

    let (_in_flight, others) = InFlight::enter(&bureau.in_flight);
    let config = bureau.with_core(|core| Arc::clone(core.config()));
    if config.latency.max_concurrent > 0 && others >= config.latency.max_concurrent {
        return HttpResponse::Ok().json(bureau.refuse(&envelope, Refusal::busy()));
    }
    let fault = bureau.faults.strike(&infno, envelope::psn_no(&envelope["input"]).unwrap_or_default());
    let latency_ms = *config.latency.by_infno_ms.get(infno.as_str()).unwrap_or(&config.latency.base_ms);
    pause(latency_ms / 2).await;
    let (reception, has_late) = bureau.with_core(|core| {
        let reception = core.receive(&caller, &infno, &envelope, china_now(), fault.as_ref());
        (reception, core.next_due().is_some())
    });
    if has_late {
        bureau.late_bell.notify_one();
    }
    match reception {
        Reception::Answer { envelope, after_ms } => {
            pause(latency_ms.div_ceil(2) + after_ms).await;
            HttpResponse::Ok().json(envelope)
        }
        Reception::NoAnswer => hang_up(),
    }
}

async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}
