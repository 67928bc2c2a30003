//! Ephemeral state in Redis (or Valkey), for many processes.
//!
//! **Keys.** `{tenant}:kind:key`. What stands in braces is all that a Cluster hashes, so whatever belongs to one tenant
//! lies in one slot: each operation is one command or one script there, and what a slot forgets it forgets together
//! with that tenant's epoch. Every key but the epoch's own has a life and goes by itself.
//!
//! | key | holds |
//! | --- | --- |
//! | `{tenant}:epoch` | a random word, written by whoever finds none |
//! | `{tenant}:count:…`, `first:…`, `keep:…` | counters, guards, values |
//! | `{tenant}:hold:…` | process and turn that hold it |
//!
//! Channels: `tongfu:bells` for all, `tongfu:mail:PROCESS` for each.
//!
//! **The epoch** is made of that word and of the server's replication id, read in the same script that counts. A flush
//! takes the word. The replication id is new with every start and with every promotion, so a server that comes back
//! from an older snapshot, or a replica that takes over without the last changes, is another epoch although it still
//! has the word. Throwing single keys away is refused at the start ([`fit`]).
//!
//! **Away.** Nothing waits longer than the patience it was given; whether a change that was not answered was made is
//! not known, which [`Unreachable`] says. Connections mend themselves ([`line`], [`ear`]).

mod ear;
mod fit;
mod line;
mod ringer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo as _, Script, ScriptInvocation, cmd};
use ring::digest;
use schema::ids::{ChannelUserId, ProcessId, TenantId};
use schema::mobile::Bell;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::ear::Ear;
use self::line::Line;
use self::ringer::Ringer;
use super::bells::Listener;
use super::{Count, Ephemeral, Hold, Unreachable};
use crate::clock::Clock;

pub use self::fit::CannotUse;

const BELLS: &str = "tongfu:bells";
const MAIL: &str = "tongfu:mail:";

/// A tenant's word, and what the server calls its own history.
const LOOK: &str = "
redis.call('SET', KEYS[1], ARGV[1], 'NX')
local word = redis.call('GET', KEYS[1])
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')";

const COUNT: &str = "
local value = redis.call('INCR', KEYS[2])
if value == 1 then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end";

const HOLD: &str = "
local taken = {}
for i, key in ipairs(KEYS) do
  local turn = tonumber(ARGV[i + 2])
  local held = redis.call('GET', key)
  if held and string.sub(held, 1, 36) ~= ARGV[1] then
    taken[i] = 0
  else
    if held then turn = math.max(turn, tonumber(string.sub(held, 38))) end
    redis.call('SET', key, ARGV[1] .. ' ' .. string.format('%d', turn), 'PX', ARGV[2])
    taken[i] = 1
  end
end
return taken";

const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Ephemeral state in Redis.
pub struct Redis {
    clock: Arc<dyn Clock>,
    line: Arc<Line>,
    ear: Arc<Ear>,
    ringer: Ringer,
    scripts: Scripts,
    /// What runs as long as this does.
    _tasks: JoinSet<()>,
}

struct Scripts {
    epoch: Script,
    count: Script,
    hold: Script,
    release: Script,
}

/// A Redis address without the password in it, for people and logs.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

impl Redis {
    /// Connects; refuses a server that cannot be reached or does not do for us. No operation will wait longer than
    /// `patience` for it.
    pub async fn open(url: &str, patience: Duration, clock: Arc<dyn Clock>) -> Result<Redis, CannotUse> {
        let not_read = |error: redis::RedisError| CannotUse::Address(error.to_string());
        let address = url.into_connection_info().map_err(not_read)?;
        // Without the first, small commands wait for each other's acknowledgement; without the second, a server whose
        // machine is gone is waited for until the kernel gives up, a quarter of an hour later.
        let tcp = address.tcp_settings().clone().set_nodelay(true).set_user_timeout(patience * 2);
        let client = Client::open(address.set_tcp_settings(tcp)).map_err(not_read)?;
        let line = Arc::new(Line::new(client.clone(), patience)?);
        fit::check(&line).await?;

        let by = clock.fresh();
        let ear = Arc::new(Ear::new(client, Arc::clone(&line), by));
        let first = ear.subscribe().await.map_err(|error| CannotUse::Refuses(error.0))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&ear).run(ear.stand(first)));
        let ringer = Ringer::start(by, Arc::clone(&line), &mut tasks);
        let scripts = Scripts {
            epoch: Script::new(&format!("{LOOK}\nreturn {{ word, history }}")),
            count: Script::new(&format!("{LOOK}{COUNT}\nreturn {{ value, word, history }}")),
            hold: Script::new(HOLD),
            release: Script::new(RELEASE),
        };
        let redis = Redis { clock, line, ear, ringer, scripts, _tasks: tasks };
        redis.ready().await.map_err(|error| CannotUse::Refuses(error.0))?;
        Ok(redis)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unreachable> {
        let mut connection = self.line.connection();
        self.line.bounded(async { command.query_async(&mut connection).await }).await
    }

    async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Unreachable> {
        let mut connection = self.line.connection();
        self.line.bounded(async { script.invoke_async(&mut connection).await }).await
    }

    /// A word that nobody has used before.
    fn word(&self) -> String {
        self.clock.fresh().simple().to_string()
    }
}

fn key(tenant: TenantId, kind: &str, key: &str) -> String {
    format!("{{{tenant}}}:{kind}:{key}")
}

fn epoch_key(tenant: TenantId) -> String {
    format!("{{{tenant}}}:epoch")
}

fn epoch(word: &str, history: &str) -> u64 {
    let hash = digest::digest(&digest::SHA256, format!("{word}|{history}").as_bytes());
    let mut first = [0_u8; 8];
    first.copy_from_slice(&hash.as_ref()[..8]);
    u64::from_be_bytes(first)
}

/// Redis refuses a life of nothing.
fn life(life_ms: i64) -> i64 {
    life_ms.max(1)
}

fn held_by(process: ProcessId, turn: u64) -> String {
    format!("{process} {turn}")
}

#[async_trait]
impl Ephemeral for Redis {
    async fn ready(&self) -> Result<(), Unreachable> {
        if !self.ear.listens() {
            return Err(Unreachable("the subscription is being mended".into()));
        }
        // The same script as for any tenant: a server that has turned read-only, or is full, refuses it.
        self.epoch(TenantId::from_uuid(Uuid::nil())).await.map(|_| ())
    }

    async fn epoch(&self, tenant: TenantId) -> Result<u64, Unreachable> {
        let (word, history): (String, String) =
            self.run(self.scripts.epoch.key(epoch_key(tenant)).arg(self.word())).await?;
        Ok(epoch(&word, &history))
    }

    async fn count(&self, tenant: TenantId, name: &str, life_ms: i64) -> Result<Count, Unreachable> {
        let mut script = self.scripts.count.key(epoch_key(tenant));
        script.key(key(tenant, "count", name)).arg(self.word()).arg(life(life_ms));
        let (value, word, history): (u64, String, String) = self.run(&script).await?;
        Ok(Count { value: u32::try_from(value).unwrap_or(u32::MAX), epoch: epoch(&word, &history) })
    }

    async fn first(&self, tenant: TenantId, name: &str, life_ms: i64) -> Result<bool, Unreachable> {
        let mut set = cmd("SET");
        set.arg(key(tenant, "first", name)).arg("").arg("NX").arg("PX").arg(life(life_ms));
        self.ask(&set).await
    }

    async fn keep(&self, tenant: TenantId, name: &str, value: Vec<u8>, life_ms: i64) -> Result<(), Unreachable> {
        let mut set = cmd("SET");
        set.arg(key(tenant, "keep", name)).arg(value).arg("PX").arg(life(life_ms));
        self.ask(&set).await
    }

    async fn kept(&self, tenant: TenantId, name: &str) -> Result<Option<Vec<u8>>, Unreachable> {
        self.ask(cmd("GET").arg(key(tenant, "keep", name))).await
    }

    async fn forget(&self, tenant: TenantId, name: &str) -> Result<(), Unreachable> {
        let mut forget = cmd("DEL");
        for kind in ["count", "first", "keep"] {
            forget.arg(key(tenant, kind, name));
        }
        self.ask(&forget).await
    }

    async fn hold(
        &self,
        tenant: TenantId,
        process: ProcessId,
        holds: &[Hold],
        life_ms: i64,
    ) -> Result<Vec<bool>, Unreachable> {
        let mut script = self.scripts.hold.prepare_invoke();
        script.arg(process.to_string()).arg(life(life_ms));
        for hold in holds {
            script.key(key(tenant, "hold", &hold.key)).arg(hold.turn);
        }
        self.run(&script).await
    }

    async fn release(&self, tenant: TenantId, process: ProcessId, hold: &Hold) -> Result<(), Unreachable> {
        let mut script = self.scripts.release.key(key(tenant, "hold", &hold.key));
        script.arg(held_by(process, hold.turn));
        self.run(&script).await
    }

    async fn holder(&self, tenant: TenantId, name: &str) -> Result<Option<ProcessId>, Unreachable> {
        let held: Option<String> = self.ask(cmd("GET").arg(key(tenant, "hold", name))).await?;
        let process = held.map(|held| held.split(' ').next().unwrap_or_default().parse());
        process.transpose().map_err(|_| Unreachable("a hold cannot be read".into()))
    }

    async fn send(&self, to: ProcessId, letter: Vec<u8>) -> Result<(), Unreachable> {
        // How many heard it is not asked: in a Cluster only those at the same node would be counted.
        self.ask(cmd("PUBLISH").arg(format!("{MAIL}{to}")).arg(letter)).await
    }

    async fn mail(&self, of: ProcessId) -> Result<mpsc::Receiver<Vec<u8>>, Unreachable> {
        self.ear.mail(of).await
    }

    fn ring(&self, tenant: TenantId, user: ChannelUserId, bell: Bell) {
        // Who listens here hears it without Redis; the ear lets pass what its own process rang.
        self.ringer.ring(tenant, user, &bell);
        self.ear.bells.ring(tenant, user, bell);
    }

    fn listen(&self, tenant: TenantId, user: ChannelUserId) -> Listener {
        self.ear.bells.listen(tenant, user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, plain) in [
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("redis://:s3cret@redis.example:6379", "redis://redis.example:6379"),
            ("redis://user:p@ss@redis.example", "redis://redis.example"),
        ] {
            assert_eq!(shown(url), plain);
        }
    }
}
