//! Promises about links over all processes, which stand on holds and letters.

use std::sync::Arc;
use std::time::Duration;

use platform::clock::SystemClock;
use platform::ephemeral::Ephemeral;
use platform::parties::answer::{Answer, Refused};
use platform::parties::link::across::{Across, NotLetIn, PRESENCE_MS, Post};
use platform::parties::link::hub::Live;
use platform::parties::link::{Address, Links as _};
use schema::ids::{InstitutionCode, MessageId, OrderId};
use schema::link::{Body, Frame, QueryPayment, Reply, ToInstitution};
use schema::refusal::{Code, Refusal};
use schema::seal::Vault;
use schema::sign::{PublicKey, SigningKey};
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use super::{Engine, process, tenant};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One platform process, as far as links go.
pub(crate) struct Process {
    pub(crate) across: Arc<Across>,
    post: JoinSet<()>,
}

impl Process {
    pub(crate) async fn start(engine: &dyn Engine, number: u128) -> Process {
        let (across, post) = open(engine.open(), number, [5; 32]).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(post.run());
        Process { across, post: tasks }
    }

    /// Dies, and says nothing to anybody.
    async fn kill(&mut self) {
        self.post.shutdown().await;
    }

    pub(crate) fn ask(&self, message: u128) -> JoinHandle<Answer<Reply>> {
        self.ask_within(message, PATIENCE)
    }

    fn ask_within(&self, message: u128, timeout: Duration) -> JoinHandle<Answer<Reply>> {
        let across = Arc::clone(&self.across);
        tokio::spawn(async move {
            let ask = ToInstitution::QueryPayment(QueryPayment { order_id: order(), bill_no: "B1".into() });
            across.ask(&hospital(), id(message), Some("0af7".into()), ask, timeout).await
        })
    }
}

async fn open(state: Arc<dyn Ephemeral>, number: u128, letters: [u8; 32]) -> (Arc<Across>, Post) {
    let letters = Vault::derive(&letters, tenant(0), 0);
    let key = SigningKey::from_seed([1; 32]);
    Across::open(process(number), key, letters, state, Arc::new(SystemClock::new())).await.expect("it answers")
}

fn order() -> OrderId {
    OrderId::from_uuid(Uuid::from_u128(1))
}

fn id(number: u128) -> MessageId {
    MessageId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn hospital() -> Address {
    let institution: InstitutionCode = "H44190000001".parse().expect("a code");
    Address { tenant: tenant(1), institution }
}

fn adapter() -> PublicKey {
    SigningKey::from_seed([2; 32]).public()
}

pub(crate) async fn connect(process: &Process) -> Result<Live, NotLetIn> {
    process.across.connect(hospital(), adapter()).await
}

/// The next question at an adapter, which is signed by the platform whoever sends it.
pub(crate) async fn question(live: &mut Live) -> Frame {
    let frame = tokio::time::timeout(PATIENCE, live.frames.recv()).await.expect("in time").expect("the link lives");
    frame.verify(&SigningKey::from_seed([1; 32]).public()).expect("the platform's");
    frame
}

fn offline() -> Answer<Reply> {
    Answer::Refused(Refused { code: "OFFLINE".into(), words: "医院系统暂时未连接".into(), busy: true })
}

pub(crate) async fn any_process_reaches_an_adapter_wherever_its_link_is(engine: &dyn Engine) {
    let (here, there) = (Process::start(engine, 1).await, Process::start(engine, 2).await);
    let mut live = connect(&there).await.expect("let in");
    for (message, asker) in [(1, &here), (2, &there), (3, &here)] {
        let answer = asker.ask(message);
        let frame = question(&mut live).await;
        assert_eq!((frame.id, frame.trace_id.as_deref()), (id(message), Some("0af7")));
        assert!(matches!(frame.body(), Ok(Body::ToInstitution { ask: ToInstitution::QueryPayment(_) })));
        there.across.hub().answered(&hospital(), frame.id, Reply::Done);
        assert_eq!(answer.await.expect("it ends"), Answer::Done(Reply::Done));
    }
}

pub(crate) async fn what_an_institution_says_to_another_process_is_what_it_said(engine: &dyn Engine) {
    let (here, there) = (Process::start(engine, 1).await, Process::start(engine, 2).await);
    let mut live = connect(&there).await.expect("let in");
    for (message, code) in [(1, Code::HospitalRefused), (2, Code::Overloaded), (3, Code::Internal)] {
        let problem = Refusal::new(code, "test").problem(None);
        let mut answers = Vec::new();
        for asker in [&here, &there] {
            let answer = asker.ask(message);
            let frame = question(&mut live).await;
            there.across.hub().answered(&hospital(), frame.id, Reply::Refused(problem.clone()));
            answers.push(answer.await.expect("it ends"));
        }
        assert_eq!(answers[0], answers[1], "{code}");
        assert_eq!(matches!(answers[0], Answer::Unknown(_)), code == Code::Internal);
    }
}

pub(crate) async fn an_institution_has_one_link_over_all_processes(engine: &dyn Engine) {
    let (here, there) = (Process::start(engine, 1).await, Process::start(engine, 2).await);
    let live = connect(&there).await.expect("let in");
    let (second_there, second_here) = tokio::join!(connect(&there), connect(&here));
    assert_eq!(second_there.err(), Some(NotLetIn::Connected));
    assert_eq!(second_here.err(), Some(NotLetIn::Connected), "however long it waits at the door");
    assert!(there.across.hub().is_up(&hospital()));
    // At the door while the first leaves: let in without having to come again.
    let waiting = tokio::spawn({
        let across = Arc::clone(&here.across);
        async move { across.connect(hospital(), adapter()).await }
    });
    drop(live);
    let mut live = waiting.await.expect("it ends").expect("let in");
    let answer = there.ask(1);
    let frame = question(&mut live).await;
    here.across.hub().answered(&hospital(), frame.id, Reply::Done);
    assert_eq!(answer.await.expect("it ends"), Answer::Done(Reply::Done));
}

pub(crate) async fn a_new_key_takes_the_link_from_the_one_it_replaced_wherever_it_is(engine: &dyn Engine) {
    let (here, there) = (Process::start(engine, 1).await, Process::start(engine, 2).await);
    let mut old = connect(&there).await.expect("let in");
    let new_key = SigningKey::from_seed([3; 32]).public();
    let connecting = here.across.connect(hospital(), new_key.clone());
    let giving_way = async {
        let end = tokio::time::timeout(PATIENCE, old.frames.recv()).await.expect("in time");
        assert!(end.is_none(), "the old link is down");
        drop(old);
    };
    let (live, ()) = tokio::join!(connecting, giving_way);
    assert_eq!(live.expect("let in").key, new_key);
}

pub(crate) async fn a_dead_process_blocks_its_adapters_no_longer_than_its_presence_lives(engine: &dyn Engine) {
    const { assert!(PRESENCE_MS <= 4_000) };
    let (here, mut there) = (Process::start(engine, 1).await, Process::start(engine, 2).await);
    let _live = connect(&there).await.expect("let in");
    there.kill().await;
    engine.pass_ms(PRESENCE_MS).await;
    let mut live = connect(&here).await.expect("let in");
    let answer = here.ask(1);
    let frame = question(&mut live).await;
    here.across.hub().answered(&hospital(), frame.id, Reply::Done);
    assert_eq!(answer.await.expect("it ends"), Answer::Done(Reply::Done));
}

pub(crate) async fn a_process_that_was_away_too_long_drops_what_another_has_taken(engine: &dyn Engine) {
    let here = Process::start(engine, 1).await;
    let (across, post) = open(engine.open(), 2, [5; 32]).await;
    let mut stale = across.connect(hospital(), adapter()).await.expect("let in");
    engine.pass_ms(PRESENCE_MS).await;
    let mut live = connect(&here).await.expect("let in");
    // It comes back, and finds out.
    let mut tasks = JoinSet::new();
    tasks.spawn(post.run());
    let end = tokio::time::timeout(PATIENCE, stale.frames.recv()).await.expect("in time");
    assert!(end.is_none(), "its link is down");
    drop(stale);
    let there = Process { across, post: tasks };
    let answer = there.ask(1);
    let frame = question(&mut live).await;
    here.across.hub().answered(&hospital(), frame.id, Reply::Done);
    assert_eq!(answer.await.expect("it ends"), Answer::Done(Reply::Done));
}

pub(crate) async fn who_asks_for_an_institution_that_nobody_has_hears_that_nothing_was_sent(engine: &dyn Engine) {
    let here = Process::start(engine, 1).await;
    assert_eq!(here.ask(1).await.expect("it ends"), offline());
}

pub(crate) async fn a_question_is_asked_again_where_the_adapter_has_gone(engine: &dyn Engine) {
    let (asker, mut dying, next) =
        (Process::start(engine, 1).await, Process::start(engine, 2).await, Process::start(engine, 3).await);
    let _live = connect(&dying).await.expect("let in");
    // It dies with the question in its hands.
    dying.kill().await;
    let its = engine.open();
    let mut hands = its.mail(process(2)).await.expect("it answers");
    let answer = asker.ask(1);
    tokio::time::timeout(PATIENCE, hands.recv()).await.expect("in time").expect("the question");
    engine.pass_ms(PRESENCE_MS).await;
    let mut live = connect(&next).await.expect("let in");
    assert_eq!(question(&mut live).await.id, id(1));
    next.across.hub().answered(&hospital(), id(1), Reply::Done);
    assert_eq!(answer.await.expect("it ends"), Answer::Done(Reply::Done));
}

pub(crate) async fn a_silent_adapter_elsewhere_is_an_unknown_outcome(engine: &dyn Engine) {
    let (here, there) = (Process::start(engine, 1).await, Process::start(engine, 2).await);
    let mut live = connect(&there).await.expect("let in");
    let answer = here.ask_within(1, Duration::from_millis(300));
    let frame = question(&mut live).await;
    assert!(matches!(answer.await.expect("it ends"), Answer::Unknown(_)));
    // Asked again under the same id, it gives its answer.
    let answer = here.ask(1);
    assert_eq!(question(&mut live).await.id, frame.id);
    there.across.hub().answered(&hospital(), frame.id, Reply::Done);
    assert_eq!(answer.await.expect("it ends"), Answer::Done(Reply::Done));
}

pub(crate) async fn a_link_that_has_just_gone_is_offline_elsewhere_too(engine: &dyn Engine) {
    let (here, there) = (Process::start(engine, 1).await, Process::start(engine, 2).await);
    let live = connect(&there).await.expect("let in");
    // Down, but still held: as between its end and its release.
    there.across.hub().disconnect_unless(&hospital(), None);
    assert_eq!(here.ask(1).await.expect("it ends"), offline());
    assert_eq!(there.ask(2).await.expect("it ends"), offline());
    drop(live);
}

pub(crate) async fn a_forged_letter_reaches_no_adapter(engine: &dyn Engine) {
    let there = Process::start(engine, 2).await;
    let mut live = connect(&there).await.expect("let in");
    engine.open().send(process(2), b"not a letter".to_vec()).await.expect("it answers");
    // Somebody who reaches the ephemeral store, and has not the platform's secret.
    let (forger, _post) = open(engine.open(), 3, [6; 32]).await;
    let ask = ToInstitution::QueryPayment(QueryPayment { order_id: order(), bill_no: "B1".into() });
    let answer = forger.ask(&hospital(), id(1), None, ask, Duration::from_millis(300)).await;
    assert!(matches!(answer, Answer::Unknown(_)));
    let here = Process::start(engine, 1).await;
    let answer = here.ask(2);
    assert_eq!(question(&mut live).await.id, id(2), "the first that reaches it is the platform's own");
    there.across.hub().answered(&hospital(), id(2), Reply::Done);
    assert_eq!(answer.await.expect("it ends"), Answer::Done(Reply::Done));
}
