//! Work by callback, for an HIS that would rather be called: each item is POSTed to `callback.url` with the API key
//! as bearer token and the trace in `X-Trace-Id`; the response body is the answer. Repeated until a 2xx with an answer
//! that fits came, or the HIS answered in the other way. A refusal with `again: later` (or code `INTERNAL` or
//! `OUTCOME_UNKNOWN`) is no answer: it is called again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use reqwest::{Client, redirect};
use schema::his::{WorkAnswer, WorkItem};
use schema::ids::MessageId;
use schema::refusal::Refusal;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::core::Core;
use crate::http;
use crate::settings::ms;
use crate::work_answer::{self, Given};

/// How long one wait for work lasts before it is begun anew; nothing depends on it.
const WAIT: Duration = Duration::from_secs(3600);

struct Caller {
    core: Arc<Core>,
    client: Client,
    api_key: String,
    waits: Mutex<HashMap<MessageId, ExponentialBackoff>>,
}

/// Calls the HIS until the adapter stops. Returns at once if no callback is set.
pub(crate) async fn run(core: Arc<Core>, api_key: String) {
    if core.settings.callback.url.is_empty() {
        return;
    }
    // The HIS is a neighbour: no proxy stands between, and the key goes nowhere but to the address that was set.
    let client = Client::builder()
        .timeout(ms(core.settings.callback.timeout_ms))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(detail = %error, "callbacks cannot be made");
            return;
        }
    };
    let slots = Arc::new(Semaphore::new(core.settings.callback.at_once));
    let caller = Arc::new(Caller { core, client, api_key, waits: Mutex::default() });
    // While a call runs its item is on offer to nobody else.
    let quiet = ms(caller.core.settings.callback.timeout_ms) + Duration::from_secs(5);
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let items = tokio::select! {
            items = caller.core.work.wait(1, quiet, Instant::now() + WAIT) => items,
            () = caller.core.stopped() => return,
        };
        if let Some(item) = items.into_iter().next() {
            let caller = Arc::clone(&caller);
            tokio::spawn(async move {
                caller.deliver(&item).await;
                drop(slot);
            });
        }
    }
}

impl Caller {
    async fn deliver(&self, item: &WorkItem) {
        match self.call(item).await {
            Ok(()) => {
                self.waits.lock().unwrap_or_else(PoisonError::into_inner).remove(&item.id);
            }
            Err(why) => {
                let wait = self.next_wait(item.id);
                tracing::warn!(trace_id = item.trace_id, message_id = %item.id, detail = why, "a callback failed");
                self.core.work.hold(item.id, wait);
            }
        }
    }

    fn next_wait(&self, id: MessageId) -> Duration {
        let settings = &self.core.settings.callback;
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = waits.entry(id).or_insert_with(|| {
            ExponentialBuilder::new()
                .with_jitter()
                .with_jitter_seed(self.core.clock.seed())
                .with_min_delay(ms(settings.retry_first_ms))
                .with_max_delay(ms(settings.retry_most_ms))
                .without_max_times()
                .build()
        });
        wait.next().unwrap_or_else(|| ms(settings.retry_most_ms))
    }

    async fn call(&self, item: &WorkItem) -> Result<(), String> {
        let mut request = self.client.post(&self.core.settings.callback.url).bearer_auth(&self.api_key).json(item);
        if let Some(trace_id) = &item.trace_id {
            request = request.header(http::TRACE_HEADER.as_str(), trace_id);
        }
        let mut response = request.send().await.map_err(|error| error.without_url().to_string())?;
        if !response.status().is_success() {
            return Err(format!("the HIS answered {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            if body.len() + chunk.len() > self.core.settings.http.body_most_bytes {
                return Err("the HIS's answer is too large".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        let answer: WorkAnswer = http::parse(&body).map_err(|misshapen| Refusal::from(misshapen).to_string())?;
        match work_answer::give(&self.core, item.id, answer.reply).await.map_err(|refusal| refusal.to_string())? {
            Given::Kept(_) => Ok(()),
            Given::PutBack(_) => Err("the HIS cannot answer now".to_owned()),
        }
    }
}
