//! The connection for commands: shared by all, bounded in time, and renewed when it no longer serves.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, RedisResult, cmd};
use tokio::time::{Instant, timeout};

use super::CannotUse;
use crate::ephemeral::Unreachable;

/// Commands that may wait to be written; the crate's 50 make callers wait for each other.
const WAITING_MAX: usize = 1024;
/// A connection that turned read-only is replaced at most this often.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Line {
    client: Client,
    patience: Duration,
    current: Mutex<Current>,
}

struct Current {
    manager: ConnectionManager,
    since: Instant,
}

fn manager(client: &Client, patience: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        // One attempt: while the server is away, everybody is told at once and nobody waits for the next attempt.
        .set_number_of_retries(0)
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience))
        .set_pipeline_buffer_size(WAITING_MAX);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

impl Line {
    pub(super) fn new(client: Client, patience: Duration) -> Result<Line, CannotUse> {
        let manager = manager(&client, patience).map_err(|error| CannotUse::Address(error.to_string()))?;
        let current = Mutex::new(Current { manager, since: Instant::now() });
        Ok(Line { client, patience, current })
    }

    pub(super) fn connection(&self) -> ConnectionManager {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).manager.clone()
    }

    /// Waits for an answer, but not for ever.
    pub(super) async fn bounded<T>(&self, asking: impl Future<Output = RedisResult<T>>) -> Result<T, Unreachable> {
        match timeout(self.patience, asking).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if is_read_only(&error) {
                    self.replace();
                }
                Err(Unreachable(error.to_string()))
            }
            Err(_) => Err(Unreachable("no answer in time".into())),
        }
    }

    /// A primary that was made a replica keeps its connections open and refuses every change on them: the address leads
    /// to another server by now.
    fn replace(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.since.elapsed() < REPLACE_EVERY {
            return;
        }
        match manager(&self.client, self.patience) {
            Ok(manager) => *current = Current { manager, since: Instant::now() },
            Err(error) => tracing::error!(%error, "the connection to Redis cannot be replaced"),
        }
    }

    /// Connects again if need be. The manager begins an attempt only when a command has failed, and hands its outcome
    /// to the next one; so the first of these may still fail for the last attempt's reason.
    pub(super) async fn mend(&self) {
        for _ in 0..2 {
            let mut connection = self.connection();
            let ping: Result<String, _> = self.bounded(async { cmd("PING").query_async(&mut connection).await }).await;
            if ping.is_ok() {
                return;
            }
        }
    }
}

/// Before version 7 an error inside a script came wrapped in another one, so the code alone does not tell.
fn is_read_only(error: &RedisError) -> bool {
    error.code() == Some("READONLY") || error.to_string().contains("READONLY")
}
