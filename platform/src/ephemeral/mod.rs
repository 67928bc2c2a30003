//! What may be lost without losing money: try counters, login codes and the keys of their requests, rate limits,
//! presence, letters from process to process, and the bell that wakes phones after a commit. In this process, or in
//! Redis for many of them.

use async_trait::async_trait;
use schema::ids::{ChannelUserId, ProcessId, TenantId};
use schema::mobile::Bell;
use tokio::sync::mpsc;

pub mod bells;
pub mod memory;
pub mod redis;

use bells::Listener;

/// The ephemeral store could not be reached: the caller refuses rather than guesses. What was to be changed may have
/// been changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ephemeral store cannot be reached: {0}")]
pub struct Unreachable(pub String);

/// What a counter has come to, and the epoch in which it was counted: one look, so that no forgetting fits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The new value.
    pub value: u32,
    /// The tenant's epoch.
    pub epoch: u64,
}

/// Something that one process at a time may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What.
    pub key: String,
    /// Which of the process's turns at it this is: a later one replaces an earlier one of the same process.
    pub turn: u64,
}

/// Ephemeral state. Every change is atomic; every key is one tenant's. A counter, a guard, a value and a hold under the
/// same key are four things. `platform/tests/ephemeral_contract` says all of it in tests that any implementation must
/// pass.
#[async_trait]
pub trait Ephemeral: Send + Sync {
    /// Whether it answers now and would take a change.
    async fn ready(&self) -> Result<(), Unreachable>;

    /// Changes whenever something of the tenant's may have been forgotten: a code issued under another epoch is dead.
    async fn epoch(&self, tenant: TenantId) -> Result<u64, Unreachable>;

    /// Adds one to a counter that lives `life_ms` milliseconds from its first use.
    async fn count(&self, tenant: TenantId, key: &str, life_ms: i64) -> Result<Count, Unreachable>;

    /// `true` for the first caller within `life_ms` milliseconds, `false` for every other: the first one's is
    /// under way.
    async fn first(&self, tenant: TenantId, key: &str, life_ms: i64) -> Result<bool, Unreachable>;

    /// Keeps a value for `life_ms` milliseconds from now, replacing an older one.
    async fn keep(&self, tenant: TenantId, key: &str, value: Vec<u8>, life_ms: i64) -> Result<(), Unreachable>;

    /// Reads a kept value.
    async fn kept(&self, tenant: TenantId, key: &str) -> Result<Option<Vec<u8>>, Unreachable>;

    /// Forgets whatever was counted, guarded or kept under a key.
    async fn forget(&self, tenant: TenantId, key: &str) -> Result<(), Unreachable>;

    /// Takes holds for a process, or prolongs its own, until `life_ms` milliseconds from now; for each, whether it is
    /// the process's now. Another's stays another's until it is released or its life is over.
    async fn hold(
        &self,
        tenant: TenantId,
        process: ProcessId,
        holds: &[Hold],
        life_ms: i64,
    ) -> Result<Vec<bool>, Unreachable>;

    /// Gives a hold up; changes nothing if it is another process's, or a later turn's.
    async fn release(&self, tenant: TenantId, process: ProcessId, hold: &Hold) -> Result<(), Unreachable>;

    /// Which process has it.
    async fn holder(&self, tenant: TenantId, key: &str) -> Result<Option<ProcessId>, Unreachable>;

    /// Sends a letter to a process. It may be lost on the way and nobody is told: whoever needs an answer sends it
    /// again. Letters are kept nowhere, but whoever reads the engine's wire reads them: seal what is personal.
    async fn send(&self, to: ProcessId, letter: Vec<u8>) -> Result<(), Unreachable>;

    /// The letters to a process from now on, in the order in which each sender sent them. Who asks later for the same
    /// process's letters gets them instead.
    async fn mail(&self, of: ProcessId) -> Result<mpsc::Receiver<Vec<u8>>, Unreachable>;

    /// Wakes whoever listens for this login, in whichever process. Never fails and never waits: a missed bell is made
    /// good by GET.
    fn ring(&self, tenant: TenantId, user: ChannelUserId, bell: Bell);

    /// Listens for one login.
    fn listen(&self, tenant: TenantId, user: ChannelUserId) -> Listener;
}

/// How many letters may wait for a slow reader; more are lost.
const LETTERS_MAX: usize = 4096;
