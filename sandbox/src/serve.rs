//! Listening, with the state kept on disk beside it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::snapshot;

/// How often a changed state is written.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// A state is written whole, and a large one less often: writing takes one part of so many of the time.
const SAVE_SHARE: u32 = 20;

/// A server that listens, and the errand that saves its state.
#[derive(Debug)]
pub struct Listening {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    server: ServerHandle,
    serving: JoinHandle<io::Result<()>>,
    saving: JoinHandle<()>,
    saver: Saver,
}

struct Saver(Arc<dyn Fn() -> io::Result<()> + Send + Sync>);

impl std::fmt::Debug for Saver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Saver")
    }
}

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Serves `routes` at `address`. `changed` says what to write to `state`, `None` when nothing changed; it is asked
/// every two seconds or, as the state grows, less often, and once at the end.
pub fn listen<S: Serialize + 'static>(
    address: &str,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    state: Option<PathBuf>,
    changed: impl Fn() -> Option<S> + Send + Sync + 'static,
) -> io::Result<Listening> {
    let server = HttpServer::new(move || App::new().configure(routes.clone()))
        .workers(2)
        // As gateways do: whoever calls ends its idle connections earlier, or loses a request now and then.
        .keep_alive(KEEP_ALIVE)
        // One that was opened for nothing yet is idle as well.
        .client_request_timeout(KEEP_ALIVE)
        .disable_signals()
        .shutdown_timeout(1)
        .bind(address)?;
    let bound = server.addrs().first().copied().ok_or_else(|| io::Error::other("no address was bound"))?;
    let server = server.run();
    let handle = server.handle();
    // One writer at a time: the last save, at the end, may meet one of the errand's still in hand.
    let writing = Mutex::new(());
    let save: Arc<dyn Fn() -> io::Result<()> + Send + Sync> = Arc::new(move || {
        let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state, changed()) {
            (Some(file), Some(content)) => snapshot::save(file, &content),
            (None, _) | (_, None) => Ok(()),
        }
    });
    let errand = Arc::clone(&save);
    let saving = tokio::spawn(async move {
        let mut wait = SAVE_EVERY;
        loop {
            tokio::time::sleep(wait).await;
            let (save, began) = (Arc::clone(&errand), Instant::now());
            let saved = tokio::task::spawn_blocking(move || save()).await;
            if let Ok(Err(error)) = saved {
                tracing::error!(%error, "the state could not be saved");
            }
            wait = SAVE_EVERY.max(began.elapsed() * SAVE_SHARE);
        }
    });
    Ok(Listening {
        url: format!("http://{bound}"),
        server: handle,
        serving: tokio::spawn(server),
        saving,
        saver: Saver(save),
    })
}

impl Listening {
    /// Stops accepting, lets requests in hand finish for a second, saves the state.
    pub async fn stop(self) -> io::Result<()> {
        self.server.stop(true).await;
        self.serving.await.map_err(io::Error::other)??;
        self.saving.abort();
        (self.saver.0)()
    }
}
