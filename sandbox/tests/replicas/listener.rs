//! Somebody who only listens, at one replica.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Response;
use schema::ids::OrderId;
use schema::mobile::Bell;
use schema::personal::{BearerToken, Personal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A bell rings within this time, or it was lost.
const PATIENCE: Duration = Duration::from_secs(15);

/// Hears what is told at one replica about one login, and nothing else.
pub(crate) struct Listener {
    heard: watch::Receiver<BTreeMap<OrderId, (i64, String)>>,
    listening: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Listener {
    /// Listens at `url`.
    pub(crate) async fn at(url: &str, client: &reqwest::Client, token: &BearerToken) -> Listener {
        let events = client.get(format!("{url}/mobile/v1/events")).bearer_auth(token.expose()).send();
        let response = events.await.and_then(Response::error_for_status).expect("events");
        let (ring, heard) = watch::channel(BTreeMap::new());
        let listening = tokio::spawn(async move {
            let mut chunks = response.bytes_stream();
            let mut rest = Vec::new();
            while let Some(Ok(chunk)) = chunks.next().await {
                rest.extend_from_slice(&chunk);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let bell = line.strip_prefix(b"data: ").and_then(|told| serde_json::from_slice(told).ok());
                    if let Some(Bell::Order { order_id, version, state }) = bell {
                        ring.send_modify(|heard: &mut BTreeMap<_, _>| {
                            let known = heard.entry(order_id).or_insert((0, String::new()));
                            *known = known.clone().max((version, state));
                        });
                    }
                }
            }
        });
        Listener { heard, listening }
    }

    /// Waits until it was told that an order is in this state; else says what was heard last.
    pub(crate) async fn hears(&mut self, order: OrderId, state: &str) -> Result<(), Option<(i64, String)>> {
        let told = self.heard.wait_for(|heard| heard.get(&order).is_some_and(|(_, last)| last == state));
        let in_time = tokio::time::timeout(PATIENCE, told).await.is_ok_and(|told| told.is_ok());
        if in_time { Ok(()) } else { Err(self.heard.borrow().get(&order).cloned()) }
    }
}
