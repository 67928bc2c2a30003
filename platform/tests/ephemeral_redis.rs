//! Ephemeral state in Redis keeps the contract, and says so when the server is away, has forgotten, or does not do.

mod ephemeral_contract;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ephemeral_contract::links::{self, Process};
use ephemeral_contract::{Engine, tenant};
use platform::clock::{Clock, SystemClock};
use platform::ephemeral::bells::{Heard, Listener};
use platform::ephemeral::redis::{CannotUse, Redis};
use platform::ephemeral::{Count, Ephemeral, Hold, Unreachable};
use platform::parties::answer::Answer;
use redis::{FromRedisValue, cmd};
use sandbox::engines;
use schema::ids::{BillId, ChannelUserId};
use schema::link::Reply;
use schema::mobile::Bell;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::block_in_place;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(1);
/// In which anything that is going to happen has happened.
const LONG: Duration = Duration::from_secs(30);
const KEY: &str = "tries:1";
const LIFE_MS: i64 = 60_000;

/// Waits where nothing can be awaited.
fn wait<T>(what: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(what))
}

/// A server. Where it is one that was given, its tests take turns at it.
struct Server {
    redis: Mutex<engines::redis::Redis>,
    _turn: Option<SemaphorePermit<'static>>,
}

static TURN: Semaphore = Semaphore::const_new(1);

impl Server {
    fn new() -> Server {
        let redis = engines::redis::Redis::obtain().expect("a Redis server (apt-get install redis-server)");
        let turn = (!redis.is_ours()).then(|| wait(TURN.acquire()).expect("never closed"));
        let server = Server { redis: Mutex::new(redis), _turn: turn };
        if server._turn.is_some() {
            server.empty();
        }
        server
    }

    /// One that a test may stop; `None`, and says so, where the server is somebody else's.
    fn to_be_stopped() -> Option<Server> {
        let server = Server::new();
        let ours = server.redis().is_ours();
        if !ours {
            eprintln!("skipped: it stops the server, and {} is not ours to stop", engines::redis::GIVEN);
        }
        ours.then_some(server)
    }

    /// Settings of our own, so a server of our own.
    fn with(settings: &[(&str, &str)]) -> Server {
        let redis = engines::redis::Redis::own(settings).expect("a Redis server (apt-get install redis-server)");
        Server { redis: Mutex::new(redis), _turn: None }
    }

    /// The only node of a Cluster, with all its slots.
    fn node() -> Server {
        let server = Server::with(&[("cluster-enabled", "yes"), ("cluster-require-full-coverage", "no")]);
        server.tell::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        let standing = || server.tell::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        while !standing() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn redis(&self) -> MutexGuard<'_, engines::redis::Redis> {
        self.redis.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self) -> String {
        self.redis().url().to_owned()
    }

    /// An operator's command.
    fn tell<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_connection().expect("it answers");
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).expect("an operator may")
    }

    fn empty(&self) {
        self.tell::<()>(&["FLUSHALL"]);
    }

    fn replica(&self) -> Arc<Redis> {
        self.patient_replica(PATIENCE)
    }

    fn patient_replica(&self, patience: Duration) -> Arc<Redis> {
        let url = self.url();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Arc::new(wait(Redis::open(&url, patience, clock)).expect("it does for us"))
    }
}

#[async_trait]
impl Engine for Server {
    fn open(&self) -> Arc<dyn Ephemeral> {
        self.replica()
    }

    async fn forget_everything(&self) {
        self.empty();
    }

    /// Time cannot be moved on there; everything's end can be moved here.
    async fn pass_ms(&self, ms: i64) {
        for key in self.tell::<Vec<String>>(&["KEYS", "*"]) {
            let left_ms: i64 = self.tell(&["PTTL", &key]);
            if left_ms >= 0 {
                self.tell::<()>(&["PEXPIRE", &key, &(left_ms - ms).to_string()]);
            }
        }
    }
}

ephemeral_contract::every_promise!(Server::new);

async fn epoch(state: &Redis) -> Result<u64, Unreachable> {
    state.epoch(tenant(1)).await
}

/// Asks until it answers, as whoever was told to come back does.
async fn epoch_again(state: &Redis) -> u64 {
    let asking = async {
        loop {
            if let Ok(epoch) = epoch(state).await {
                return epoch;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, asking).await.expect("it is back")
}

async fn until_ready(state: &Redis) {
    let asking = async {
        while state.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, asking).await.expect("it is ready again");
}

/// Everything that asks the server.
async fn everything(state: &Redis) -> Vec<Result<(), Unreachable>> {
    let process = ephemeral_contract::process(1);
    let hold = Hold { key: KEY.into(), turn: 1 };
    let holds: Vec<Hold> = (1..=5).map(|number| Hold { key: format!("link:{number}"), turn: 1 }).collect();
    vec![
        state.ready().await,
        state.epoch(tenant(1)).await.map(|_| ()),
        state.count(tenant(1), KEY, LIFE_MS).await.map(|_| ()),
        state.first(tenant(1), KEY, LIFE_MS).await.map(|_| ()),
        state.keep(tenant(1), KEY, vec![1], LIFE_MS).await,
        state.kept(tenant(1), KEY).await.map(|_| ()),
        state.forget(tenant(1), KEY).await,
        state.hold(tenant(1), process, &holds, LIFE_MS).await.map(|_| ()),
        state.holder(tenant(1), KEY).await.map(|_| ()),
        state.release(tenant(1), process, &hold).await,
        state.send(process, vec![1]).await,
        state.mail(process).await.map(|_| ()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_unreachable_and_one_that_is_back_is_another_epoch() {
    let Some(server) = Server::to_be_stopped() else { return };
    let state = server.replica();
    let before = epoch(&state).await.expect("it answers");
    assert!(everything(&state).await.iter().all(Result::is_ok));
    server.redis().kill().expect("killed");
    let answers = tokio::time::timeout(LONG, everything(&state)).await.expect("nobody waits");
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    server.redis().start().expect("started");
    assert_ne!(epoch_again(&state).await, before);
    until_ready(&state).await;
    assert!(everything(&state).await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_keeps_nobody_waiting_and_serves_on_when_it_goes_on() {
    let Some(server) = Server::to_be_stopped() else { return };
    let state = server.patient_replica(PATIENCE / 10);
    let before = epoch(&state).await.expect("it answers");
    server.redis().pause().expect("stopped");
    let answers = tokio::time::timeout(LONG, everything(&state)).await.expect("nobody waits for ever");
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    server.redis().resume().expect("goes on");
    assert_eq!(epoch_again(&state).await, before, "it has forgotten nothing");
    until_ready(&state).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_is_another_epoch_for_every_tenant() {
    let server = Server::new();
    let state = server.replica();
    let look = async || (state.epoch(tenant(1)).await.expect("yes"), state.epoch(tenant(2)).await.expect("yes"));
    let before = look().await;
    assert_eq!(look().await, before);
    server.empty();
    let after = look().await;
    assert!(after.0 != before.0 && after.1 != before.1);
    assert_eq!(look().await, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_from_an_older_snapshot_is_another_epoch() {
    let server = Server::with(&[("save", "3600 1000000")]);
    let state = server.replica();
    let count = async || state.count(tenant(1), KEY, LIFE_MS).await.expect("it answers");
    let first = count().await;
    server.tell::<()>(&["SAVE"]);
    assert_eq!(count().await, Count { value: 2, epoch: first.epoch });
    server.redis().kill().expect("killed");
    server.redis().start().expect("started");
    epoch_again(&state).await;
    let again = count().await;
    assert_eq!(again.value, 2, "the second try is forgotten, the first is not: it was a snapshot");
    assert_ne!(again.epoch, first.epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_turns_replica_is_unreachable_and_one_that_is_promoted_is_another_epoch() {
    let server = Server::with(&[]);
    let state = server.replica();
    let before = epoch(&state).await.expect("it answers");
    // Of a primary that nobody answers for: it keeps what it has, and takes no changes.
    server.tell::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(state.ready().await.is_err());
    assert!(state.count(tenant(1), KEY, LIFE_MS).await.is_err());
    let url = server.url();
    let refused = Redis::open(&url, PATIENCE, Arc::new(SystemClock::new())).await.err();
    assert_eq!(refused, Some(CannotUse::Replica));
    server.tell::<()>(&["REPLICAOF", "NO", "ONE"]);
    assert_ne!(epoch_again(&state).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_a_primary_that_was_demoted_is_made_anew() {
    let server = Server::with(&[]);
    let state = server.replica();
    let clients = || server.tell::<String>(&["CLIENT", "LIST"]);
    let ids = |list: &str| -> Vec<String> {
        let ours = list.lines().filter(|line| !line.contains("cmd=client"));
        ours.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    };
    epoch(&state).await.expect("it answers");
    let before = ids(&clients());
    server.tell::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    let renewed = async {
        loop {
            assert!(epoch(&state).await.is_err());
            if ids(&clients()).iter().any(|id| !before.contains(id)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, renewed).await.expect("the address may lead elsewhere by now");
}

fn login() -> ChannelUserId {
    ChannelUserId::from_uuid(Uuid::from_u128(1))
}

fn bell(number: u128) -> Bell {
    Bell::Bill { bill_id: BillId::from_uuid(Uuid::from_u128(number)) }
}

async fn heard(listener: &mut Listener) -> Option<Heard> {
    tokio::time::timeout(LONG, listener.next()).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_are_told_that_they_may_have_missed_something_and_then_hear_on() {
    let Some(server) = Server::to_be_stopped() else { return };
    let (here, there) = (server.replica(), server.replica());
    let mut listener = there.listen(tenant(1), login());
    here.ring(tenant(1), login(), bell(1));
    assert_eq!(heard(&mut listener).await, Some(Heard::Bell(bell(1))));
    server.redis().kill().expect("killed");
    server.redis().start().expect("started");
    assert_eq!(heard(&mut listener).await, Some(Heard::Missed));
    epoch(&there).await.expect("whoever is told to look is answered");
    until_ready(&here).await;
    here.ring(tenant(1), login(), bell(2));
    assert_eq!(heard(&mut listener).await, Some(Heard::Bell(bell(2))), "it is told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_that_could_not_be_published_is_told_of_where_nothing_broke() {
    let server = Server::new();
    let (here, there) = (server.replica(), server.replica());
    let mut listener = there.listen(tenant(1), login());
    // Commands are cut off, subscriptions stand.
    server.tell::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    here.ring(tenant(1), login(), bell(1));
    assert_eq!(heard(&mut listener).await, Some(Heard::Missed));
    here.ring(tenant(1), login(), bell(2));
    assert_eq!(heard(&mut listener).await, Some(Heard::Bell(bell(2))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bells_of_this_process_are_heard_here_while_the_server_is_away() {
    let Some(server) = Server::to_be_stopped() else { return };
    let state = server.replica();
    let mut listener = state.listen(tenant(1), login());
    server.redis().kill().expect("killed");
    state.ring(tenant(1), login(), bell(1));
    assert_eq!(heard(&mut listener).await, Some(Heard::Bell(bell(1))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_come_again_after_the_server_was_away() {
    let Some(server) = Server::to_be_stopped() else { return };
    let (here, there) = (server.replica(), server.replica());
    let process = ephemeral_contract::process(1);
    let mut mail = there.mail(process).await.expect("it answers");
    server.redis().kill().expect("killed");
    server.redis().start().expect("started");
    until_ready(&here).await;
    until_ready(&there).await;
    here.send(process, b"x".to_vec()).await.expect("it answers");
    assert_eq!(tokio::time::timeout(LONG, mail.recv()).await.expect("in time"), Some(b"x".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_comes_although_the_server_went_away_while_it_was_waited_for() {
    let Some(server) = Server::to_be_stopped() else { return };
    let (here, there) = (Process::start(&server, 1).await, Process::start(&server, 2).await);
    let mut live = links::connect(&there).await.expect("let in");
    let answer = here.ask(1);
    let frame = links::question(&mut live).await;
    server.redis().kill().expect("killed");
    there.across.hub().answered(&links::hospital(), frame.id, Reply::Done);
    server.redis().start().expect("started");
    assert_eq!(answer.await.expect("it ends"), Answer::Done(Reply::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_touches_two_slots_of_a_cluster() {
    let server = Server::node();
    let client = redis::Client::open(server.url()).expect("an address");
    let mut connection = client.get_connection().expect("it answers");
    let refused = cmd("MGET").arg(&["one", "two"]).exec(&mut connection).expect_err("two slots");
    assert_eq!(refused.code(), Some("CROSSSLOT"));
    let state = server.replica();
    for answer in everything(&state).await {
        answer.expect("one slot");
    }
    let other = server.replica();
    let mut listener = other.listen(tenant(1), login());
    state.ring(tenant(1), login(), bell(1));
    assert_eq!(heard(&mut listener).await, Some(Heard::Bell(bell(1))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_begins_with_its_tenant_and_only_epochs_stay() {
    let server = Server::new();
    let state = server.replica();
    everything(&state).await;
    state.count(tenant(1), KEY, LIFE_MS).await.expect("it answers");
    state.first(tenant(1), KEY, LIFE_MS).await.expect("it answers");
    state.keep(tenant(1), KEY, vec![1], LIFE_MS).await.expect("it answers");
    let hold = Hold { key: KEY.into(), turn: 1 };
    state.hold(tenant(1), ephemeral_contract::process(1), &[hold], LIFE_MS).await.expect("it answers");
    let keys = server.tell::<Vec<String>>(&["KEYS", "*"]);
    assert_eq!(keys.len(), 11, "{keys:?}");
    for key in keys {
        let lives_ms: i64 = server.tell(&["PTTL", &key]);
        let tenant = [tenant(0), tenant(1)].into_iter().find(|tenant| key.starts_with(&format!("{{{tenant}}}:")));
        assert!(tenant.is_some(), "{key}");
        assert_eq!(lives_ms < 0, key.ends_with("}:epoch"), "{key} lives {lives_ms} ms");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_do_is_refused_at_the_start() {
    let refused = async |url: &str| {
        let opened = Redis::open(url, PATIENCE, Arc::new(SystemClock::new())).await;
        opened.err().expect("refused")
    };
    let port = engines::child::free_port().expect("a port");
    assert!(matches!(refused(&format!("redis://127.0.0.1:{port}")).await, CannotUse::Away(_)));
    assert!(matches!(refused("redis://").await, CannotUse::Address(_)));
    assert!(matches!(refused("redis://127.0.0.1:6379/one").await, CannotUse::Address(_)));

    let evicts = Server::with(&[("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")]);
    assert_eq!(refused(&evicts.url()).await, CannotUse::Evicts("allkeys-lru".into()));

    let locked = Server::with(&[("requirepass", "s3cret")]);
    let url = locked.url();
    assert!(matches!(refused(&url).await, CannotUse::Away(_)));
    let url = url.replace("redis://", "redis://:s3cret@");
    let client = redis::Client::open(url.as_str()).expect("an address");
    let mut connection = client.get_connection().expect("it answers");
    let limits: [&[&str]; 2] = [&["-eval", "-evalsha"], &["-subscribe"]];
    for limit in limits {
        let mut account = cmd("ACL");
        account.arg("SETUSER").arg("limited").arg("reset").arg("on").arg(">pass").arg("~*").arg("&*").arg("+@all");
        account.arg(limit).exec(&mut connection).expect("an operator may");
        let url = url.replace(":s3cret@", "limited:pass@");
        assert!(matches!(refused(&url).await, CannotUse::Refuses(_)), "{limit:?}");
    }

    // A Cluster of several primaries: the node knows of a second one, which need not live.
    let node = Server::node();
    node.tell::<()>(&["CLUSTER", "DELSLOTSRANGE", "0", "16383"]);
    assert_eq!(refused(&node.url()).await, CannotUse::Cluster(0));
}
