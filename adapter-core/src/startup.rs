//! The composition root: opens everything in order, serves until told to stop, and closes in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use schema::ids::MessageId;
use schema::link::Body;
use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::core::Core;
use crate::journal::{AskKind, Journal, JournalFault};
use crate::keys::{ApiKey, Home, HomeFault};
use crate::link::{self, LinkState};
use crate::metrics::Metrics;
use crate::outbox::{About, Outbox, Outgoing};
use crate::settings::{Settings, WrongSettings};
use crate::work::WorkQueue;
use crate::{callback, http, tidy};

/// The adapter cannot start, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RunFault {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] WrongSettings),
    /// A file of the directory failed.
    #[error(transparent)]
    Home(#[from] HomeFault),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The face could not be opened or failed.
    #[error("the local HTTP face failed at {address} / 本地HTTP服务失败: {source}")]
    Http {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Runs the adapter that lives in `home` until SIGTERM, SIGINT or Ctrl-C. Must be called inside an actix system.
/// `ready` is told the address of the HIS face as soon as it listens. TLS needs a process-wide rustls provider.
pub async fn run(
    home: Home,
    listen: Option<SocketAddr>,
    clock: SharedClock,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), RunFault> {
    let mut settings = Settings::load(home.dir())?;
    if let Some(listen) = listen {
        settings.http.listen = listen;
        settings.check()?;
    }
    crate::logs::start(&settings.log.filter);
    let lock = home.lock()?;
    let journal = Journal::open(&home.journal(), home.vault()?, Arc::clone(&clock))?;
    let api_key = home.api_key()?;
    let core = Arc::new(Core {
        key: home.link_key()?,
        api_key: ApiKey::new(&api_key, &*clock),
        outbox: Outbox::default(),
        work: WorkQueue::default(),
        link: watch::Sender::new(LinkState::default()),
        metrics: Metrics::new(),
        stop: watch::Sender::new(false),
        settings,
        clock,
        home,
        journal,
    });
    remember(&core)?;

    let (server, address) =
        http::serve(&core).map_err(|source| RunFault::Http { address: core.settings.http.listen, source })?;
    let handle = server.handle();
    let serving = tokio::spawn(server);
    let talking = tokio::spawn(link::run(Arc::clone(&core)));
    let calling = tokio::spawn(callback::run(Arc::clone(&core), api_key));
    let tidying = tokio::spawn(tidy::run(Arc::clone(&core)));
    tracing::info!(%address, institution = core.settings.institution.code, "the adapter is ready");
    ready(address);

    told_to_stop().await;
    tracing::info!("stopping");
    core.stop.send_replace(true);
    handle.stop(true).await;
    let served = serving.await;
    for task in [talking, calling, tidying] {
        let _ = tokio::time::timeout(Duration::from_secs(3), task).await;
    }
    drop(core);
    drop(lock);
    match served {
        Ok(Err(source)) => Err(RunFault::Http { address, source }),
        _ => Ok(()),
    }
}

/// Takes up again what the last life of this adapter left open.
fn remember(core: &Arc<Core>) -> Result<(), JournalFault> {
    for ask in core.journal.waiting_asks()? {
        let about = if ask.kind == AskKind::Bill.as_str() {
            About::NewBill(ask.subject)
        } else if ask.kind == AskKind::Refund.as_str() {
            About::Alone
        } else {
            About::OfBill(ask.subject)
        };
        core.outbox.add(Outgoing { id: ask.id, about, trace_id: ask.trace_id, payload: None, durable: true });
    }
    for work in core.journal.waiting_work()? {
        match serde_json::from_str(&work.payload) {
            Ok(Body::ToInstitution { ask }) => core.offer(work.seq, work.id, work.trace_id, work.received_us, ask),
            _ => unreadable(work.id),
        }
    }
    let (outbound, work) = (core.outbox.waiting(), core.work.waiting());
    tracing::info!(outbound, work, "taken up from the journal");
    Ok(())
}

fn unreadable(id: MessageId) {
    tracing::error!(message_id = %id, "a work item of an earlier version cannot be read; the platform will ask again");
}

async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
