//! Ephemeral state in this process. It forgets when the process ends, which its epoch says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use schema::ids::{ChannelUserId, ProcessId, TenantId};
use schema::mobile::Bell;
use tokio::sync::mpsc;

use super::bells::{Bells, Listener};
use super::{Count, Ephemeral, Hold, LETTERS_MAX, Unreachable};
use crate::clock::Clock;

/// Expired keys are swept when the table has grown by this much.
const SWEEP_EVERY: usize = 4096;

/// In-process ephemeral state.
pub struct Memory {
    clock: Arc<dyn Clock>,
    epoch: u64,
    inner: Mutex<Inner>,
    bells: Bells,
}

#[derive(Default)]
struct Inner {
    kept: HashMap<(TenantId, Kind, String), Kept>,
    swept_at: usize,
    held: HashMap<(TenantId, String), Held>,
    mail: HashMap<ProcessId, mpsc::Sender<Vec<u8>>>,
}

struct Held {
    process: ProcessId,
    turn: u64,
    until_us: i64,
}

/// What is under a key: the three are apart even under the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Counter,
    Guard,
    Value,
}

const KINDS: [Kind; 3] = [Kind::Counter, Kind::Guard, Kind::Value];

struct Kept {
    value: Vec<u8>,
    count: u32,
    until_us: i64,
}

impl Memory {
    /// Empty, with an epoch of its own.
    pub fn new(clock: Arc<dyn Clock>) -> Memory {
        let mut epoch = [0_u8; 8];
        clock.fill(&mut epoch);
        Memory { clock, epoch: u64::from_be_bytes(epoch), inner: Mutex::default(), bells: Bells::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live entry under a key, made if it is absent or expired; and whether it was made.
    fn with<T>(
        &self,
        (tenant, kind, key): (TenantId, Kind, &str),
        life_ms: i64,
        then: impl FnOnce(&mut Kept, bool) -> T,
    ) -> T {
        let now_us = self.clock.now_us();
        let mut inner = self.lock();
        if inner.kept.len() > inner.swept_at + SWEEP_EVERY {
            inner.kept.retain(|_, kept| kept.until_us > now_us);
            inner.swept_at = inner.kept.len();
        }
        let fresh = || Kept { value: Vec::new(), count: 0, until_us: until_us(now_us, life_ms) };
        let mut made = false;
        let entry = inner.kept.entry((tenant, kind, key.to_owned())).or_insert_with(|| {
            made = true;
            fresh()
        });
        if entry.until_us <= now_us {
            *entry = fresh();
            made = true;
        }
        then(entry, made)
    }
}

fn until_us(now_us: i64, life_ms: i64) -> i64 {
    now_us.saturating_add(life_ms.saturating_mul(1000))
}

#[async_trait]
impl Ephemeral for Memory {
    async fn ready(&self) -> Result<(), Unreachable> {
        Ok(())
    }

    async fn epoch(&self, _: TenantId) -> Result<u64, Unreachable> {
        Ok(self.epoch)
    }

    async fn count(&self, tenant: TenantId, key: &str, life_ms: i64) -> Result<Count, Unreachable> {
        let value = self.with((tenant, Kind::Counter, key), life_ms, |kept, _| {
            kept.count = kept.count.saturating_add(1);
            kept.count
        });
        Ok(Count { value, epoch: self.epoch })
    }

    async fn first(&self, tenant: TenantId, key: &str, life_ms: i64) -> Result<bool, Unreachable> {
        Ok(self.with((tenant, Kind::Guard, key), life_ms, |_, made| made))
    }

    async fn keep(&self, tenant: TenantId, key: &str, value: Vec<u8>, life_ms: i64) -> Result<(), Unreachable> {
        let until_us = until_us(self.clock.now_us(), life_ms);
        self.with((tenant, Kind::Value, key), life_ms, |kept, _| {
            kept.value = value;
            kept.until_us = until_us;
        });
        Ok(())
    }

    async fn kept(&self, tenant: TenantId, key: &str) -> Result<Option<Vec<u8>>, Unreachable> {
        let now_us = self.clock.now_us();
        let inner = self.lock();
        let kept = inner.kept.get(&(tenant, Kind::Value, key.to_owned()));
        Ok(kept.filter(|kept| kept.until_us > now_us).map(|kept| kept.value.clone()))
    }

    async fn forget(&self, tenant: TenantId, key: &str) -> Result<(), Unreachable> {
        let mut inner = self.lock();
        for kind in KINDS {
            inner.kept.remove(&(tenant, kind, key.to_owned()));
        }
        Ok(())
    }

    async fn hold(
        &self,
        tenant: TenantId,
        process: ProcessId,
        holds: &[Hold],
        life_ms: i64,
    ) -> Result<Vec<bool>, Unreachable> {
        let now_us = self.clock.now_us();
        let until_us = until_us(now_us, life_ms);
        let mut inner = self.lock();
        let taken = holds.iter().map(|Hold { key, turn }| {
            let held = inner.held.entry((tenant, key.clone())).or_insert(Held { process, turn: *turn, until_us });
            let ours = held.process == process;
            let free = held.until_us <= now_us;
            if ours || free {
                let turn = if ours && !free { held.turn.max(*turn) } else { *turn };
                *held = Held { process, turn, until_us };
            }
            ours || free
        });
        Ok(taken.collect())
    }

    async fn release(&self, tenant: TenantId, process: ProcessId, hold: &Hold) -> Result<(), Unreachable> {
        let key = (tenant, hold.key.clone());
        let mut inner = self.lock();
        if inner.held.get(&key).is_some_and(|held| held.process == process && held.turn == hold.turn) {
            inner.held.remove(&key);
        }
        Ok(())
    }

    async fn holder(&self, tenant: TenantId, key: &str) -> Result<Option<ProcessId>, Unreachable> {
        let now_us = self.clock.now_us();
        let inner = self.lock();
        let held = inner.held.get(&(tenant, key.to_owned()));
        Ok(held.filter(|held| held.until_us > now_us).map(|held| held.process))
    }

    async fn send(&self, to: ProcessId, letter: Vec<u8>) -> Result<(), Unreachable> {
        let mut inner = self.lock();
        if let Some(mail) = inner.mail.get(&to) {
            match mail.try_send(letter) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => tracing::warn!(%to, "a letter is lost: its reader is slow"),
                Err(mpsc::error::TrySendError::Closed(_)) => drop(inner.mail.remove(&to)),
            }
        }
        Ok(())
    }

    async fn mail(&self, of: ProcessId) -> Result<mpsc::Receiver<Vec<u8>>, Unreachable> {
        let (letters, mail) = mpsc::channel(LETTERS_MAX);
        self.lock().mail.insert(of, letters);
        Ok(mail)
    }

    fn ring(&self, tenant: TenantId, user: ChannelUserId, bell: Bell) {
        self.bells.ring(tenant, user, bell);
    }

    fn listen(&self, tenant: TenantId, user: ChannelUserId) -> Listener {
        self.bells.listen(tenant, user)
    }
}
