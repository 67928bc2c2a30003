//! HTTP: the only floor that names actix. Handlers authenticate, read strictly, call one journey and write its answer.
//!
//! [`routes`] is the whole URL table. The layers around every route: [`trace`] (trace id, log line, metrics, problem
//! details), then the extractors of `caller`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpRequest, HttpServer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::journey::Ground;
use crate::metrics::Metrics;
use crate::parties::link::across::Across;
use crate::parties::link::hub::Hub;

mod answer;
mod bureau;
mod caller;
mod docs;
mod faults;
mod health;
mod link;
mod mobile;
pub mod routes;
mod session;
mod trace;
mod wallet;

pub use session::{Session, SessionKeys, channel_key_hash};

/// How often an adapter is told to ping, in seconds, unless [`Shared::with_heartbeat_s`] says otherwise.
pub const HEARTBEAT_S: u64 = 10;

/// What every handler stands on; put together once in `startup`.
pub struct Shared {
    ground: Arc<Ground>,
    links: Arc<Across>,
    sessions: SessionKeys,
    metrics: Arc<Metrics>,
    alive: Box<dyn Fn() -> bool + Send + Sync>,
    heartbeat_s: u64,
    stopping: watch::Sender<bool>,
}

impl Shared {
    /// `links` must be the ground's own; `session_key` is derived from the master secret for this purpose alone,
    /// and the same on every replica.
    pub fn new(ground: Arc<Ground>, links: Arc<Across>, metrics: Arc<Metrics>, session_key: [u8; 32]) -> Shared {
        Shared {
            ground,
            links,
            sessions: SessionKeys::new(&session_key),
            metrics,
            alive: Box::new(|| true),
            heartbeat_s: HEARTBEAT_S,
            stopping: watch::Sender::new(false),
        }
    }

    /// Lets `/livez` ask whether the threads that nothing works without still run.
    pub fn with_alive(mut self, alive: impl Fn() -> bool + Send + Sync + 'static) -> Shared {
        self.alive = Box::new(alive);
        self
    }

    /// Lets adapters ping every so many seconds instead of [`HEARTBEAT_S`].
    pub fn with_heartbeat_s(mut self, heartbeat_s: u64) -> Shared {
        self.heartbeat_s = heartbeat_s.max(1);
        self
    }

    /// The links of this process.
    fn hub(&self) -> &Arc<Hub> {
        self.links.hub()
    }

    fn of(request: &HttpRequest) -> Arc<Shared> {
        let shared = request.app_data::<Data<Shared>>().expect("configure puts it there");
        Arc::clone(shared)
    }

    /// Resolves once the server is to stop: whoever talks on without end (events, links) ends then.
    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in `self`: waiting cannot fail before it is told.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

/// Everything under one layer.
pub fn configure(config: &mut ServiceConfig, shared: Data<Shared>) {
    config
        .app_data(shared)
        .service(web::scope("").wrap(from_fn(trace::traced)).configure(routes::configure).configure(docs::configure));
}

/// A server that is listening.
pub struct Server {
    inner: actix_web::dev::Server,
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// Stops a [`Server`].
#[derive(Clone)]
pub struct Stopper {
    handle: ServerHandle,
    shared: Arc<Shared>,
}

/// How long requests under way may take to end once the server is to stop.
const SHUTDOWN_S: u64 = 5;

/// Serves on `listener` with `workers` threads until SIGINT or SIGTERM, then stops politely.
pub async fn serve(shared: Shared, listener: TcpListener, workers: usize) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let server = start(shared, listener, workers)?;
    let stopper = server.stopper();
    let mut running = std::pin::pin!(server.run());
    tokio::select! {
        ended = &mut running => return ended,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    let (ended, ()) = tokio::join!(running, stopper.stop());
    ended
}

/// A server on `listener` with `workers` threads (0: one per core). Signals are the caller's business.
pub fn start(shared: Shared, listener: TcpListener, workers: usize) -> std::io::Result<Server> {
    let address = listener.local_addr()?;
    let shared = Arc::new(shared);
    let data = Data::from(Arc::clone(&shared));
    let server = HttpServer::new(move || App::new().configure(|config| configure(config, data.clone())))
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .shutdown_timeout(SHUTDOWN_S)
        .disable_signals();
    let server = if workers > 0 { server.workers(workers) } else { server };
    Ok(Server { inner: server.listen(listener)?.run(), shared, address })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper { handle: self.inner.handle(), shared: Arc::clone(&self.shared) }
    }

    /// Serves until stopped.
    pub async fn run(self) -> std::io::Result<()> {
        self.inner.await
    }
}

impl Stopper {
    /// Takes no new connections, ends events and links, and lets requests under way end.
    pub async fn stop(&self) {
        self.shared.stopping.send_replace(true);
        self.handle.stop(true).await;
    }
}
