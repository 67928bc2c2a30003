//! The desk on a real store in a file, when something about the store or the books is wrong: a row that does not read
//! back, a commit nobody knows the outcome of, an invariant that would break, a message number that was used before.

#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "only its world is wanted; its promises have their own test"
)]
mod store_contract;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use platform::clock::Clock as _;
use platform::domain::action::Action;
use platform::domain::order::{Event, Order, State, Undone, Why};
use platform::domain::refund::{RefundAsked, RefundEvent, RefundState};
use platform::journey::desk::{Command, Desk, Dialects, Door as _, Outcome, Thread, What};
use platform::journey::reply;
use platform::parties::wallet::Account;
use platform::store::sql::Access;
use platform::store::sqlite;
use platform::store::{CallerKey, Commit, Decide, DeskStore, Store, StoreError, Want};
use schema::his::ClaimAnswer;
use schema::ids::{BindingId, EventId, OrderId, ProcessId, TenantId};
use schema::link::Reply;
use schema::refusal::Code;
use store_contract::world::{RULES, World};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct Plain;

impl Dialects for Plain {
    fn can_ask_by_visit(&self, _: TenantId) -> bool {
        true
    }

    fn wallet_account(&self, _: TenantId) -> Option<Account> {
        None
    }
}

/// The real store behind a connection that can be told to fail.
struct Faulty {
    store: Arc<dyn Store>,
    attempts: AtomicUsize,
    gone: AtomicBool,
    /// Commits land but are not heard of, and cannot be read back.
    mute: AtomicBool,
    /// Commits do not land, are not heard of, and cannot be read back.
    torn: AtomicBool,
    /// No commit gets anywhere until it is over.
    slow: AtomicBool,
    /// The bindings that changes were to be held to, change by change.
    held_to: Mutex<Vec<Option<(BindingId, i64)>>>,
}

impl Faulty {
    fn new(store: Arc<dyn Store>) -> Arc<Faulty> {
        let no = || AtomicBool::new(false);
        let (attempts, held_to) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Faulty { store, attempts, gone: no(), mute: no(), torn: no(), slow: no(), held_to })
    }

    fn is(&self, fault: &AtomicBool) -> bool {
        fault.load(Ordering::Relaxed)
    }

    fn attempts(&self) -> usize {
        self.attempts.swap(0, Ordering::Relaxed)
    }
}

fn unheard() -> StoreError {
    StoreError::Unavailable("the connection broke".into())
}

impl DeskStore for Faulty {
    fn transact(&self, wants: &[Want], decide: Decide<'_>) -> Commit {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        while self.is(&self.slow) {
            std::thread::yield_now();
        }
        if self.is(&self.gone) {
            return Commit::Refused(unheard());
        }
        if self.is(&self.torn) {
            // The decisions are made and die with the connection.
            let commit = self.store.transact(wants, &mut |loaded| {
                decide(loaded);
                vec![None; wants.len()]
            });
            assert!(matches!(commit, Commit::Committed(_)), "{commit:?}");
            return Commit::Unknown(unheard());
        }
        let mut decide = |loaded| {
            let changes = decide(loaded);
            self.held_to.lock().expect("not poisoned").extend(changes.iter().flatten().map(|change| change.binding));
            changes
        };
        match self.store.transact(wants, &mut decide) {
            Commit::Committed(_) if self.is(&self.mute) => Commit::Unknown(unheard()),
            commit => commit,
        }
    }

    fn landed(&self, tenant: TenantId, events: &[EventId]) -> Result<bool, StoreError> {
        if self.is(&self.mute) || self.is(&self.torn) {
            return Err(unheard());
        }
        self.store.landed(tenant, events)
    }
}

struct City {
    world: World,
    faulty: Arc<Faulty>,
    dir: TempDir,
}

impl City {
    fn new() -> City {
        let dir = TempDir::new().expect("a directory");
        let store = sqlite::open(dir.path().join("tongfu.db"), Access::Serve).expect("a file");
        let world = World::new(Box::new(store));
        let faulty = Faulty::new(Arc::clone(&world.store));
        City { world, faulty, dir }
    }

    fn desk(&self) -> Desk {
        let clock = Arc::clone(&self.world.clock) as Arc<dyn platform::clock::Clock>;
        Desk::new(Arc::clone(&self.faulty) as _, clock, RULES, self.world.me, Arc::new(Plain))
    }

    fn command(&self, what: What) -> Command {
        Command {
            tenant: self.world.tenant,
            event_id: EventId::from_uuid(self.world.clock.fresh()),
            what,
            answers: None,
            key: None,
            trace_id: None,
        }
    }

    fn happens(&self, order: OrderId, event: Event) -> Command {
        self.command(What::Order(order, event))
    }

    fn orders(&self, count: usize) -> Vec<Order> {
        let bill = |n| self.world.bill(&format!("B{n}"), 1000);
        (0..count).map(|n| self.world.open(bill(n), false)).collect()
    }

    fn cancels(&self, orders: &[Order]) -> Vec<Command> {
        orders.iter().map(|order| self.happens(order.id, Event::Cancelled)).collect()
    }

    /// Changes rows behind the store's back, as a bad disk or a hand would.
    fn tamper(&self, statement: &str, order: OrderId) {
        let path: PathBuf = self.dir.path().join("tongfu.db");
        let mut conn = SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("the file opens");
        let id = order.uuid().simple();
        conn.batch_execute(&format!("{statement} WHERE hex(id) = upper('{id}')")).expect("a statement");
        let touched: i64 = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>("changes()"))
            .get_result(&mut conn)
            .expect("a count");
        assert_eq!(touched, 1);
    }
}

use diesel::RunQueryDsl as _;

fn place(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Order(order) => order.state.place().word().to_owned(),
        Outcome::Refused(refusal) => refusal.code.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_row_that_does_not_read_back_harms_nobody_else_of_its_batch() {
    for bad in [vec![0], vec![5], vec![7], vec![2, 3], (0..8).collect()] {
        let city = City::new();
        let orders = city.orders(8);
        for &at in &bad {
            city.tamper("UPDATE orders SET doc = '{'", orders[at].id);
        }
        let (outcomes, aftermath) = city.desk().step(city.cancels(&orders));
        let places: Vec<String> = outcomes.iter().map(place).collect();
        let expected: Vec<&str> =
            (0..8).map(|at| if bad.contains(&at) { Code::Internal.as_str() } else { "closed" }).collect();
        assert_eq!(places, expected, "damaged: {bad:?}");
        assert_eq!(aftermath.damaged, bad.len());
        assert_eq!(aftermath.bells.len(), 8 - bad.len());
        let attempts = city.faulty.attempts();
        assert!(attempts <= 15, "halving eight needs at most fifteen commits: {attempts}");
    }
}

#[test]
fn a_store_that_is_gone_is_asked_once_for_the_whole_batch() {
    let city = City::new();
    let orders = city.orders(8);
    city.faulty.gone.store(true, Ordering::Relaxed);
    let (outcomes, aftermath) = city.desk().step(city.cancels(&orders));
    assert!(outcomes.iter().all(|outcome| place(outcome) == Code::Overloaded.as_str()), "{outcomes:?}");
    assert_eq!((city.faulty.attempts(), aftermath.damaged), (1, 0));
}

#[test]
fn what_an_unread_commit_had_started_is_started_once_it_can_be_read() {
    let city = City::new();
    let (order, tap) = city.world.coded("B1", 1000);
    let desk = city.desk();
    city.faulty.mute.store(true, Ordering::Relaxed);
    let (outcomes, aftermath) = desk.step(vec![city.happens(order.id, tap)]);
    assert_eq!(place(&outcomes[0]), Code::OutcomeUnknown.as_str());
    assert!(aftermath.is_empty() && desk.has_unsettled(), "nothing goes on while nobody knows");
    assert!(desk.look_back().is_empty() && desk.has_unsettled(), "it still cannot be read");
    assert_eq!(city.world.order(order.id).state.place().word(), "settling", "it had landed");

    city.faulty.mute.store(false, Ordering::Relaxed);
    let late = desk.look_back();
    let kinds: Vec<_> = late.start.iter().map(|start| (start.due.action.action.kind(), start.order.id)).collect();
    assert_eq!(kinds, [("settle", order.id)]);
    assert_eq!((late.records, late.bells.len()), (true, 1));
    assert!(!desk.has_unsettled() && desk.look_back().is_empty(), "and only once");
}

#[test]
fn an_unread_commit_that_left_nothing_starts_nothing() {
    let city = City::new();
    let (order, tap) = city.world.coded("B1", 1000);
    let desk = city.desk();
    city.faulty.torn.store(true, Ordering::Relaxed);
    let (outcomes, _) = desk.step(vec![city.happens(order.id, tap.clone())]);
    assert_eq!(place(&outcomes[0]), Code::OutcomeUnknown.as_str());
    city.faulty.torn.store(false, Ordering::Relaxed);
    assert!(desk.look_back().is_empty() && !desk.has_unsettled());
    let (outcomes, aftermath) = desk.step(vec![city.happens(order.id, tap)]);
    assert_eq!((place(&outcomes[0]).as_str(), aftermath.start.len()), ("settling", 1), "and it can be asked again");
}

#[tokio::test]
async fn the_desks_thread_sets_going_what_it_finds_when_it_looks_back() {
    let city = City::new();
    let (order, tap) = city.world.coded("B1", 1000);
    let (after, mut commits) = mpsc::unbounded_channel();
    let thread = Thread::start(city.desk(), 1, 8, 8, after).expect("a thread");
    city.faulty.mute.store(true, Ordering::Relaxed);
    let outcome = thread.tell(city.happens(order.id, tap)).await;
    assert_eq!(place(&outcome), Code::OutcomeUnknown.as_str());
    assert!(commits.recv().await.expect("a commit").is_empty());
    thread.look_back().await;
    assert!(commits.recv().await.expect("a look").is_empty());
    city.faulty.mute.store(false, Ordering::Relaxed);
    thread.look_back().await;
    assert_eq!(commits.recv().await.expect("a look").start.len(), 1);
    thread.look_back().await;
    assert!(commits.try_recv().is_err(), "there is nothing left to look for");
}

#[test]
fn a_decision_that_would_break_an_invariant_suspends_that_one_order_and_nothing_of_it_is_written() {
    let city = City::new();
    let neighbour = city.orders(1).remove(0);
    let paid = city.world.completed("B-paid", 1000);
    let whole = RefundAsked { refund_no: Some("R1".into()), amount: None, replaced_by: None, reason: "退药".into() };
    city.world.step(paid.id, &Event::RefundAsked(whole));
    let before = city.world.store.story(paid.id).expect("readable").expect("a story");
    let refund = before.refunds[0].clone();
    assert!(matches!(refund.state, RefundState::UndoingInsurance { .. }), "{refund:?}");
    // Its price no longer sums to its bill: whatever is decided about it now would be built on that.
    city.tamper("UPDATE orders SET doc = json_set(doc, '$.price.split.cash_fen', 151)", paid.id);

    let undone =
        Undone { msgid: None, inf_refmsgid: None, undo_setl_id: "U1".into(), setl_time_us: city.world.clock.now_us() };
    let desk = city.desk();
    let (outcomes, aftermath) = desk.step(vec![
        city.command(What::Refund(paid.id, refund.id, RefundEvent::UndoDone(undone))),
        city.happens(neighbour.id, Event::Cancelled),
    ]);
    assert_eq!((place(&outcomes[0]).as_str(), place(&outcomes[1]).as_str()), ("suspended", "closed"));
    let after = city.world.store.story(paid.id).expect("readable").expect("a story");
    let State::Suspended { why, from, .. } = &after.order.state else { panic!("{:?}", after.order.state) };
    assert_eq!((why, from.as_ref()), (&Why::Broken { invariant: "PAY-1".into() }, &before.order.state));
    assert_eq!(after.refunds, before.refunds, "the refund is not done while the books do not say so");
    assert_eq!(after.postings, before.postings);
    assert_eq!(after.actions, before.actions);
    assert!(aftermath.start.iter().all(|start| start.order.id == neighbour.id), "{:?}", aftermath.start);
    assert_eq!(after.history.len(), before.history.len() + 1, "but it is told");

    // What still comes is not built on it either, and it stays clear where the order stood.
    let (outcomes, _) = desk.step(vec![city.happens(paid.id, Event::WalletPaid(city.world.taken(&paid, "T-again")))]);
    if let Outcome::Order(order) = &outcomes[0] {
        assert!(matches!(&order.state, State::Suspended { from, .. } if **from == before.order.state));
    }
}

/// A change that an institution asks for under the message `id`.
fn asked(city: &City, id: &str, what: What) -> (CallerKey, Command) {
    let mut request = [0; 32];
    request[..id.len()].copy_from_slice(id.as_bytes());
    let key = CallerKey { caller: "adapter:H44190000001".into(), key: id.into(), request };
    (key.clone(), Command { key: Some((key, reply::render())), ..city.command(what) })
}

#[test]
fn what_an_institution_asks_for_and_its_first_answer_are_one_commit() {
    let city = City::new();
    let desk = city.desk();
    let paid = city.world.completed("B-paid", 1000);
    let institution = &paid.bill.institution;
    let refund = RefundAsked { refund_no: Some("R1".into()), amount: None, replaced_by: None, reason: "退药".into() };
    let claim = |bill_no: &str| What::Claim(institution.clone(), bill_no.into());
    let asks = [
        asked(&city, "bill", What::TakeBill(Box::new(city.world.new_bill("B-new", 1000)))),
        asked(&city, "claim", claim("B-new")),
        asked(&city, "refund", What::ByBill(institution.clone(), "B-paid".into(), Event::RefundAsked(refund))),
    ];
    for (key, ask) in asks {
        let kept = || city.world.store.first_answer(city.world.tenant, &key).expect("readable");
        city.faulty.torn.store(true, Ordering::Relaxed);
        let again = Command { event_id: EventId::from_uuid(city.world.clock.fresh()), ..ask.clone() };
        let (outcomes, _) = desk.step(vec![again]);
        assert_eq!((place(&outcomes[0]).as_str(), kept()), ("OUTCOME_UNKNOWN", None), "neither is there");
        city.faulty.torn.store(false, Ordering::Relaxed);

        let (outcomes, _) = desk.step(vec![ask.clone()]);
        let Outcome::Answer(first) = &outcomes[0] else { panic!("{}: {outcomes:?}", key.key) };
        assert_eq!(kept().map(|kept| kept.response).as_ref(), Some(first), "both are");
        let again = Command { event_id: EventId::from_uuid(city.world.clock.fresh()), ..ask };
        let (outcomes, _) = desk.step(vec![again]);
        assert!(matches!(&outcomes[0], Outcome::Repeated(again) if again == first), "{outcomes:?}");
        assert!(reply::kept(first).is_ok_and(|reply| !matches!(reply, Reply::Refused(_))));
    }
    let (key, again) = asked(&city, "again", claim("B-paid"));
    let (outcomes, _) = desk.step(vec![again]);
    assert!(matches!(&outcomes[0], Outcome::Claimed(ClaimAnswer::AlreadyPaid { .. })), "{outcomes:?}");
    assert_eq!(city.world.store.first_answer(city.world.tenant, &key), Ok(None), "it may become another answer");
}

#[test]
fn every_2207_is_held_to_the_binding_under_which_it_was_decided() {
    let city = City::new();
    let (order, tap) = city.world.coded("B1", 1000);
    let desk = city.desk();
    let busy = Event::SettleRefused { words: "系统繁忙".into(), busy: true };
    for event in [tap, busy, Event::SettleDue] {
        let (outcomes, _) = desk.step(vec![city.happens(order.id, event)]);
        assert_eq!(place(&outcomes[0]), "settling");
    }
    let binding = Some((city.world.binding.id, city.world.binding.epoch));
    assert_eq!(*city.faulty.held_to.lock().expect("not poisoned"), [binding, None, binding]);
}

#[test]
fn a_message_number_that_was_used_before_is_drawn_again() {
    let city = City::new();
    let (one, tap_one) = city.world.coded("B1", 1000);
    let desk = city.desk();
    let (_, aftermath) = desk.step(vec![city.happens(one.id, tap_one)]);
    let State::Settling { msgid: first, .. } = city.world.order(one.id).state else { panic!("it settles") };
    // The person of the first order is let go, so that the second may settle within the same second.
    desk.step(vec![city.happens(one.id, Event::SettleRefused { words: "不予受理".into(), busy: false })]);
    let (two, tap_two) = city.world.coded("B2", 1000);
    // Another process has drawn the number that is next here.
    let number: u32 = first[26..].parse().expect("digits");
    let next = format!("{}{:04}", &first[..26], 5000 + (number + 1 - 5000) % 4000);
    let sent = OrderId::from_uuid(aftermath.start[0].due.action.id.uuid());
    city.tamper(&format!("UPDATE action SET msgid = '{next}'"), sent);
    city.faulty.attempts();
    let (outcomes, aftermath) = desk.step(vec![city.happens(two.id, tap_two)]);
    assert_eq!((place(&outcomes[0]).as_str(), aftermath.start.len()), ("settling", 1));
    assert_eq!(city.faulty.attempts(), 2, "the first number was taken");
    let State::Settling { msgid: second, .. } = city.world.order(two.id).state else { panic!("it settles") };
    assert_eq!(first[..26], second[..26], "the same institution and second");
    assert!(second != first && second != next, "{first} {next} {second}");
}

#[tokio::test]
async fn that_an_action_is_done_goes_with_the_next_batch_and_by_itself_where_none_comes() {
    let city = City::new();
    let order = city.orders(1).remove(0);
    let (after, mut commits) = mpsc::unbounded_channel();
    // No more than one at a time, so that nothing but lingering brings two together.
    let thread = Thread::start(city.desk(), 1, 1, 8, after).expect("a thread");
    let done = || city.command(What::ActionDone);
    let (done_first, cancelled) =
        tokio::join!(thread.tell(done()), thread.tell(city.happens(order.id, Event::Cancelled)));
    assert!(matches!((&done_first, &cancelled), (Outcome::Done, Outcome::Order(_))), "{done_first:?} {cancelled:?}");
    assert_eq!(commits.recv().await.expect("a commit").batch, 2, "one commit for both");
    assert!(matches!(thread.tell(done()).await, Outcome::Done));
    assert_eq!(commits.recv().await.expect("a commit").batch, 1);
}

#[tokio::test]
async fn a_batch_begins_beside_the_one_under_way_and_every_event_is_in_one_of_them() {
    const ORDERS: usize = 4;
    let city = City::new();
    let orders = city.orders(ORDERS);
    let (after, mut commits) = mpsc::unbounded_channel();
    let thread = Thread::start(city.desk(), 2, ORDERS, 8, after).expect("threads");
    let begun = |count| {
        let attempts = &city.faulty.attempts;
        async move {
            while attempts.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
        }
    };
    city.faulty.slow.store(true, Ordering::Relaxed);
    let mut waiting = Vec::new();
    for (number, cancel) in city.cancels(&orders).into_iter().enumerate() {
        let thread = Arc::clone(&thread);
        waiting.push(tokio::spawn(async move { thread.tell(cancel).await }));
        if number == 0 {
            begun(1).await;
        }
    }
    begun(2).await;
    city.faulty.slow.store(false, Ordering::Relaxed);
    for task in waiting {
        assert_eq!(place(&task.await.expect("an outcome")), "closed");
    }
    let mut events = 0;
    while events < ORDERS {
        events += commits.recv().await.expect("a commit").batch;
    }
    assert_eq!(events, ORDERS);
    assert!(commits.try_recv().is_err());
}

#[tokio::test]
async fn a_full_queue_turns_callers_away_and_never_an_answer() {
    const ROOM: usize = 2;
    let city = City::new();
    let orders = city.orders(ROOM + 4);
    let (after, _commits) = mpsc::unbounded_channel();
    let thread = Thread::start(city.desk(), 1, 1, ROOM, after).expect("a thread");
    let begins = |command: Command| {
        let thread = Arc::clone(&thread);
        tokio::spawn(async move { thread.ask(command).await })
    };
    let mut cancels = city.cancels(&orders).into_iter();
    let mut next = || cancels.next().expect("an order");

    // A commit that takes long, and as many callers behind it as there is room for.
    city.faulty.slow.store(true, Ordering::Relaxed);
    let mut waiting = vec![begins(next())];
    while city.faulty.attempts.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..ROOM {
        waiting.push(begins(next()));
        tokio::task::yield_now().await;
    }
    let turned_away = thread.ask(next()).await;
    let Outcome::Refused(refusal) = &turned_away else { panic!("there was room: {turned_away:?}") };
    assert_eq!((refusal.code, refusal.code.status(), refusal.retry_after_s), (Code::Overloaded, 503, Some(1)));
    // What a party answered is taken all the same, and so is what comes behind it.
    let answers: Vec<_> = [next(), next()]
        .map(|answer| {
            let thread = Arc::clone(&thread);
            tokio::spawn(async move { thread.tell(answer).await })
        })
        .into();
    tokio::task::yield_now().await;
    assert!(answers.iter().chain(&waiting).all(|task| !task.is_finished()), "nobody is answered before the commit");
    city.faulty.slow.store(false, Ordering::Relaxed);
    for task in waiting.into_iter().chain(answers) {
        let outcome = task.await.expect("answered");
        assert!(matches!(outcome, Outcome::Order(_)), "{outcome:?}");
    }
    let states = |order: &Order| city.world.order(order.id).state.place().word();
    let moved: Vec<&str> = orders.iter().map(states).collect();
    assert_eq!(
        moved,
        ["closed", "closed", "closed", "created", "closed", "closed"],
        "who was turned away moved nothing"
    );
    // There is room again.
    let again = thread.ask(city.cancels(&orders[3..4]).remove(0)).await;
    assert!(matches!(again, Outcome::Order(_)), "{again:?}");
}

/// HIS of the same institution number from 0001: an id of ours is never one of theirs.
#[test]
fn message_numbers_of_settlements_are_the_platforms_own() {
    let city = City::new();
    let desk = city.desk();
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..6 {
        let (order, tap) = city.world.coded(&format!("B{n}"), 1000);
        let (outcomes, aftermath) = desk.step(vec![city.happens(order.id, tap)]);
        let msgids: Vec<&str> = aftermath
            .start
            .iter()
            .filter_map(|start| match &start.due.action.action {
                Action::Settle { msgid } => Some(msgid.as_str()),
                _ => None,
            })
            .collect();
        let [msgid] = msgids[..] else { panic!("one settlement: {outcomes:?} {msgids:?}") };
        assert_eq!((msgid.len(), msgid.starts_with(city.world.institution.as_str())), (30, true), "{msgid}");
        let number: u32 = msgid[26..].parse().expect("digits");
        assert!((5000..=8999).contains(&number), "{msgid}");
        seen.insert(number);
        // The person's claim goes with the order.
        desk.step(vec![city.happens(order.id, Event::SettleRefused { words: "不予受理".into(), busy: false })]);
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn an_action_that_does_not_read_back_holds_no_other_up() {
    let city = City::new();
    let orders = city.orders(3);
    city.tamper("UPDATE action SET doc = '{', started_by = NULL", action_of(&city, orders[1].id));
    for order in [&orders[0], &orders[2]] {
        city.tamper("UPDATE action SET started_by = NULL", action_of(&city, order.id));
    }
    let other = ProcessId::from_uuid(city.world.clock.fresh());
    let taken = city.world.store.take_due(other, city.world.clock.now_us(), 9).expect("the others are taken");
    let of: Vec<OrderId> = taken.iter().map(|due| due.action.order).collect();
    assert_eq!(of, [orders[0].id, orders[2].id]);
    assert_eq!(city.world.store.take_due(other, city.world.clock.now_us(), 9), Ok(vec![]), "it is looked at once");
}

fn action_of(city: &City, order: OrderId) -> OrderId {
    use diesel::sql_types::Binary;
    let path = city.dir.path().join("tongfu.db");
    let mut conn = SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("the file opens");
    let sql = format!("(SELECT id FROM action WHERE hex(order_id) = upper('{}'))", order.uuid().simple());
    let id: Vec<u8> = diesel::select(diesel::dsl::sql::<Binary>(&sql)).get_result(&mut conn).expect("one action");
    OrderId::from_uuid(uuid::Uuid::from_slice(&id).expect("16 bytes"))
}
