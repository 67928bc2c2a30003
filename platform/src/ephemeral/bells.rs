//! Who listens in this process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use schema::ids::{ChannelUserId, TenantId};
use schema::mobile::Bell;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many bells a slow listener may be behind.
const BELLS_MAX: usize = 64;
/// Logins that nobody listens for any more are swept when the table has grown by this much.
const SWEEP_EVERY: usize = 1024;

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A bell.
    Bell(Bell),
    /// Some bells may have been missed: look at everything.
    Missed,
}

/// Listens for one login.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Heard>);

impl Listener {
    /// The next bell. A listener that falls behind misses bells, and is told that it has; so is every listener where
    /// bells may have been lost on their way here. `None` once the store is gone.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.0.recv().await {
            Ok(heard) => Some(heard),
            Err(RecvError::Lagged(_)) => Some(Heard::Missed),
            Err(RecvError::Closed) => None,
        }
    }
}

/// The listeners of this process.
#[derive(Default)]
pub(super) struct Bells {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    open: HashMap<(TenantId, ChannelUserId), broadcast::Sender<Heard>>,
    swept_at: usize,
}

impl Bells {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listen(&self, tenant: TenantId, user: ChannelUserId) -> Listener {
        let mut inner = self.lock();
        if inner.open.len() > inner.swept_at + SWEEP_EVERY {
            inner.open.retain(|_, listeners| listeners.receiver_count() > 0);
            inner.swept_at = inner.open.len();
        }
        let listeners = inner.open.entry((tenant, user)).or_insert_with(|| broadcast::channel(BELLS_MAX).0);
        Listener(listeners.subscribe())
    }

    pub(super) fn ring(&self, tenant: TenantId, user: ChannelUserId, bell: Bell) {
        let mut inner = self.lock();
        if let Some(listeners) = inner.open.get(&(tenant, user))
            && listeners.send(Heard::Bell(bell)).is_err()
        {
            inner.open.remove(&(tenant, user));
        }
    }

    /// Tells everybody that bells may have been lost.
    pub(super) fn missed(&self) {
        self.lock().open.retain(|_, listeners| listeners.send(Heard::Missed).is_ok());
    }
}
