//! What may be lost without losing money: try counters, login codes, replay guards, rate limits, and the bell that
//! wakes phones after a commit. In process here; Redis behind the same [`Ephemeral`] later.

use async_trait::async_trait;
use schema::ids::{ChannelUserId, TenantId};
use schema::mobile::Bell;
use tokio::sync::broadcast;

pub mod memory;

/// The ephemeral store could not be reached: the caller refuses rather than guesses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ephemeral store cannot be reached: {0}")]
pub struct Unreachable(pub String);

/// Ephemeral state. Every change is atomic; every key is one tenant's. A counter, a guard and a value under the same key
/// are three things. `platform/tests/ephemeral_contract` says all of it in tests that any implementation must pass.
#[async_trait]
pub trait Ephemeral: Send + Sync {
    /// Changes whenever the store has forgotten: a code issued under another epoch is dead (design.md §5.7).
    async fn epoch(&self) -> Result<u64, Unreachable>;

    /// Adds one to a counter that lives `life_ms` milliseconds from its first use; the new value.
    async fn count(&self, tenant: TenantId, key: &str, life_ms: i64) -> Result<u32, Unreachable>;

    /// `true` for the first caller within `life_ms` milliseconds, `false` for every other: a replay guard.
    async fn first(&self, tenant: TenantId, key: &str, life_ms: i64) -> Result<bool, Unreachable>;

    /// Keeps a value for `life_ms` milliseconds from now, replacing an older one.
    async fn keep(&self, tenant: TenantId, key: &str, value: Vec<u8>, life_ms: i64) -> Result<(), Unreachable>;

    /// Reads a kept value.
    async fn kept(&self, tenant: TenantId, key: &str) -> Result<Option<Vec<u8>>, Unreachable>;

    /// Forgets whatever is under a key, a guard included.
    async fn forget(&self, tenant: TenantId, key: &str) -> Result<(), Unreachable>;

    /// Wakes whoever listens for this login. Never fails and never waits: a missed bell is made good by GET.
    fn ring(&self, tenant: TenantId, user: ChannelUserId, bell: Bell);

    /// Listens for one login. A listener that falls behind misses bells, and is told that it has.
    fn listen(&self, tenant: TenantId, user: ChannelUserId) -> broadcast::Receiver<Bell>;
}
