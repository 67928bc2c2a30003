//! The only writer of orders (design.md §4).
//!
//! [`Desk::step`] takes a batch of [`Command`]s of one tenant, loads what they need, decides each with the pure tables
//! of `domain`, and has everything written in **one commit**; only then anybody is answered. Nothing that calls out,
//! waits or is async happens here. In production one thread feeds it with whatever queued while the last commit ran
//! ([`Thread`]); a simulation feeds it batches of its own.
//!
//! A repeated event conflicts on its id; a change that was decided on rows that moved is decided again; a batch with a
//! row that cannot be read or written is halved until that one alone is refused; after an unknown commit the event ids
//! are read back before anyone is answered, and again later if that fails too ([`Desk::look_back`]).

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, FixedOffset};
use schema::bill::LineResult;
use schema::event::{CloudEvent, RefundStep, Transition};
use schema::his::ClaimAnswer;
use schema::ids::{
    ActionId, BillId, BindingId, ChannelUserId, EventId, InstitutionCode, MessageId, OrderId, ProcessId, RefundId,
    TenantId,
};
use schema::mobile::Bell;
use schema::money::Fen;
use schema::refusal::{Code, Refusal};
use schema::seal::Lookup;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::domain::action::{Action, Planned};
use crate::domain::bill::BillState;
use crate::domain::deadline::Rules;
use crate::domain::invariants::{self, Invariant};
use crate::domain::order::{self, Carry, Event, Given, Insured, Order, Owner, Place, State, Why};
use crate::domain::refund::{self, Refund, RefundEvent};
use crate::domain::settlement::Settlement;
use crate::parties::wallet::Account;
use crate::store::{
    CallerKey, Change, Commit, DeskStore, DueAction, Loaded, NewAction, NewBill, NewPrepay, OrderWrite, StoreError,
    Subject, Want, Written,
};

/// Something to be decided.
#[derive(Clone)]
pub struct Command {
    /// Whose.
    pub tenant: TenantId,
    /// This event's id: the same id is decided once.
    pub event_id: EventId,
    /// What.
    pub what: What,
    /// The action that this answers.
    pub answers: Option<ActionId>,
    /// The caller's idempotency key, with how the answer under it reads.
    pub key: Option<(CallerKey, Render)>,
    /// Trace id of whatever caused it.
    pub trace_id: Option<String>,
}

/// Writes the answer that is kept under an idempotency key, inside the commit; none for what need not be kept.
pub type Render = Arc<dyn Fn(&Outcome) -> Option<Vec<u8>> + Send + Sync>;

/// What is to be decided.
#[derive(Clone)]
pub enum What {
    /// A bill came.
    TakeBill(Box<NewBill>),
    /// A payer opens an order.
    Open {
        /// The new order's id.
        order: OrderId,
        /// The bill.
        bill: BillId,
        /// The payer.
        payer: ChannelUserId,
        /// The institution's merchant number.
        merchant: String,
        /// Under which binding and with which use of 个账; none for cash only.
        insured: Option<(BindingId, bool)>,
        /// What a replaced order offers it.
        carry: Option<Box<Carry>>,
    },
    /// Something happened to an order.
    Order(OrderId, Event),
    /// Something happened to a refund.
    Refund(OrderId, RefundId, RefundEvent),
    /// Something happened to the order that paid a bill.
    ByBill(InstitutionCode, String, Event),
    /// The window takes a bill back.
    Claim(InstitutionCode, String),
    /// The action named by `answers` is done; nothing about its order changes.
    ActionDone,
    /// The action named by `answers` is to be tried again at this instant (microseconds UTC).
    Postpone(i64),
    /// The action named by `answers` is done, and this one of the same order takes its place at this instant
    /// (microseconds UTC).
    Instead(OrderId, Box<Action>, i64),
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The order as decided.
    Order(Box<Order>),
    /// Decided now: the answer that is kept under the caller's key.
    Answer(Vec<u8>),
    /// Decided before under the same key: the first answer, byte for byte.
    Repeated(Vec<u8>),
    /// The bill is stored; `true` if it is new.
    Bill(BillId, bool),
    /// What became of a claim.
    Claimed(ClaimAnswer),
    /// The refund that was granted.
    Granted(Box<Refund>),
    /// Done, or had been done before.
    Done,
    /// No.
    Refused(Refusal),
}

/// Whether a refusal is a decision of the tables. What kept the desk from writing is none: the same may be said again.
pub fn decided(refusal: &Refusal) -> bool {
    !matches!(refusal.code, Code::Overloaded | Code::OutcomeUnknown | Code::Internal)
}

impl Outcome {
    /// The order, or the refusal; anything else is a mistake of ours.
    pub fn order(self) -> Result<Order, Refusal> {
        match self {
            Outcome::Order(order) => Ok(*order),
            Outcome::Refused(refusal) => Err(refusal),
            other => Err(Refusal::new(Code::Internal, format!("the desk answered {other:?} to an order's event"))),
        }
    }
}

/// What is to happen once a batch is durable: never before.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// Actions this process has started with the commit.
    pub start: Vec<Start>,
    /// Phones to wake.
    pub bells: Vec<(TenantId, ChannelUserId, Bell)>,
    /// There are new records to publish.
    pub records: bool,
    /// New bills: whoever watches their patients is to be woken.
    pub bills: Vec<(TenantId, BillId, Lookup)>,
    /// Orders that were changed: (state before, state after, event), for counting.
    pub moves: Vec<(&'static str, &'static str, &'static str)>,
    /// How many events the commit carried.
    pub batch: usize,
    /// How many were refused because a row could not be read or written.
    pub damaged: usize,
}

/// An action that this process has started with a commit.
#[derive(Debug, Clone)]
pub struct Start {
    /// The action.
    pub due: DueAction,
    /// Its order as the commit left it.
    pub order: Arc<Order>,
    /// The clock's steady reading before the commit: from then on the action was this process's.
    pub since: std::time::Duration,
}

/// What the desk must know of a tenant's parties.
pub trait Dialects: Send + Sync {
    /// 5203 finds settlements by visit.
    fn can_ask_by_visit(&self, tenant: TenantId) -> bool;
    /// Under which account its wallet is asked; none for a tenant that is not served.
    fn wallet_account(&self, tenant: TenantId) -> Option<Account>;
}

/// Ways to the desk.
#[async_trait]
pub trait Door: Send + Sync {
    /// A request from outside: shed with `OVERLOADED` when too many wait.
    async fn ask(&self, command: Command) -> Outcome;
    /// An answer from a party or a wallet's notice: never shed.
    async fn tell(&self, command: Command) -> Outcome;
    /// Sets going what commits of unknown outcome turn out to have left ([`Desk::look_back`]).
    async fn look_back(&self);
}

/// The desk.
pub struct Desk {
    store: Arc<dyn DeskStore>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    me: ProcessId,
    dialects: Arc<dyn Dialects>,
    message_numbers: AtomicU64,
    unsettled: Mutex<Vec<Unsettled>>,
}

/// An event whose commit is unknown and could not be read back yet.
struct Unsettled {
    tenant: TenantId,
    event_id: EventId,
    aftermath: Aftermath,
}

/// The platform's own range of message sequence numbers, 5000–8999: HIS of the same institution number from 0001, and
/// questions that move nothing have 9000–9999 (`parties/bureau`).
const FIRST_MESSAGE_NUMBER: u64 = 5000;
const MESSAGE_NUMBERS: u64 = 4000;
/// A change whose rows keep moving is decided again this often before its caller is asked to come back.
const ROUNDS_MAX: usize = 8;

struct Pending {
    command: Command,
    outcome: Option<Outcome>,
    /// What was decided in the round under way.
    decided: Option<Decided>,
}

struct Decided {
    outcome: Outcome,
    aftermath: Aftermath,
}

impl Desk {
    /// A desk for this process.
    pub fn new(
        store: Arc<dyn DeskStore>,
        clock: Arc<dyn Clock>,
        rules: Rules,
        me: ProcessId,
        dialects: Arc<dyn Dialects>,
    ) -> Desk {
        let start = u64::from(clock.below(MESSAGE_NUMBERS as u32));
        let message_numbers = AtomicU64::new(start);
        Desk { store, clock, rules, me, dialects, message_numbers, unsettled: Mutex::default() }
    }

    /// Decides a batch of one tenant's commands in one commit (more only where rows moved in between).
    /// The outcomes are in the commands' order and durable.
    pub fn step(&self, commands: Vec<Command>) -> (Vec<Outcome>, Aftermath) {
        let mut pending: Vec<Pending> =
            commands.into_iter().map(|command| Pending { command, outcome: None, decided: None }).collect();
        let mut aftermath = Aftermath { batch: pending.len(), ..Aftermath::default() };
        for _ in 0..ROUNDS_MAX {
            let open: Vec<usize> = (0..pending.len()).filter(|&at| pending[at].outcome.is_none()).collect();
            if open.is_empty() {
                break;
            }
            self.round(&mut pending, &open, &mut aftermath);
        }
        let outcomes = pending
            .into_iter()
            .map(|pending| {
                pending.outcome.unwrap_or_else(|| {
                    Outcome::Refused(Refusal::new(Code::Overloaded, "its rows kept moving").after_s(1))
                })
            })
            .collect();
        (outcomes, aftermath)
    }

    fn round(&self, pending: &mut [Pending], open: &[usize], aftermath: &mut Aftermath) {
        for &at in open {
            pending[at].decided = None;
        }
        let wants: Vec<Want> = open.iter().map(|&at| want(&pending[at].command)).collect();
        let commit = self.store.transact(&wants, &mut |loaded| {
            open.iter()
                .zip(loaded)
                .map(|(&at, loaded)| {
                    let (change, decided) = self.decide(&pending[at].command, &loaded);
                    pending[at].decided = Some(decided);
                    change
                })
                .collect()
        });
        let written = match commit {
            Commit::Committed(written) => written,
            Commit::Refused(error) => return self.refused(pending, open, aftermath, error),
            // Durable events keep what was decided; the others are decided again in the next round, where keys, bills
            // and closed actions make a repeat harmless.
            Commit::Unknown(error) => match self.read_back(pending, open) {
                Some(landed) => landed,
                None => return self.unknown(pending, open, &error),
            },
        };
        for (&at, written) in open.iter().zip(written) {
            let Some(decided) = pending[at].decided.take() else { continue };
            if written == Written::Done {
                aftermath.merge(decided.aftermath);
                pending[at].outcome = Some(decided.outcome);
            }
        }
    }

    /// Nothing of a batch was written.
    ///
    /// One row that cannot be read or written refuses the whole batch, so it is halved until that row stands alone. A
    /// store that is locked, full or gone refuses every half alike: trying on would only keep everybody waiting, so all
    /// are told at once to come back.
    fn refused(&self, pending: &mut [Pending], open: &[usize], aftermath: &mut Aftermath, error: StoreError) {
        if let StoreError::Damaged(why) = &error {
            if open.len() > 1 {
                let (first, second) = open.split_at(open.len() / 2);
                self.round(pending, first, aftermath);
                self.round(pending, second, aftermath);
                return;
            }
            tracing::warn!(why, "an event is refused alone: a row cannot be read or written");
            aftermath.damaged += open.len();
        }
        let refusal = super::unavailable(error);
        for &at in open {
            pending[at].outcome = Some(Outcome::Refused(refusal.clone()));
        }
    }

    /// Nobody can say whether a batch is durable. Its callers are told so; what it may have set going is kept until
    /// somebody can, because the actions it may have started are marked as this process's and nobody else starts them.
    fn unknown(&self, pending: &mut [Pending], open: &[usize], error: &StoreError) {
        let mut unsettled = self.unsettled();
        for &at in open {
            let Pending { command, outcome, decided } = &mut pending[at];
            *outcome = Some(Outcome::Refused(Refusal::new(Code::OutcomeUnknown, error.to_string())));
            if let Some(Decided { aftermath, .. }) = decided.take()
                && !aftermath.is_empty()
            {
                unsettled.push(Unsettled { tenant: command.tenant, event_id: command.event_id, aftermath });
            }
        }
    }

    fn unsettled(&self) -> MutexGuard<'_, Vec<Unsettled>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether [`Desk::look_back`] has anything to look for.
    pub fn has_unsettled(&self) -> bool {
        !self.unsettled().is_empty()
    }

    /// Reads back what no one could say at the time, and returns what is to happen because of what did land. What
    /// still cannot be read is kept for the next time. May be called beside [`Desk::step`].
    pub fn look_back(&self) -> Aftermath {
        let waiting = std::mem::take(&mut *self.unsettled());
        let mut aftermath = Aftermath::default();
        for event in waiting {
            match self.store.landed(event.tenant, &[event.event_id]) {
                Ok(true) => aftermath.merge(event.aftermath),
                // Nothing of it is there: its caller was told "unknown" and asks again.
                Ok(false) => {}
                Err(_) => self.unsettled().push(event),
            }
        }
        aftermath
    }

    /// Event by event, whether a batch whose commit was unknown is durable. `None` while nobody can say.
    fn read_back(&self, pending: &[Pending], open: &[usize]) -> Option<Vec<Written>> {
        open.iter()
            .map(|&at| {
                let command = &pending[at].command;
                let landed = self.store.landed(command.tenant, &[command.event_id]).ok()?;
                Some(if landed { Written::Done } else { Written::Moved })
            })
            .collect()
    }

    fn decide(&self, command: &Command, loaded: &Loaded) -> (Option<Change>, Decided) {
        if let (Some((key, _)), Some(first)) = (&command.key, &loaded.first_answer) {
            let outcome = if first.request == key.request {
                Outcome::Repeated(first.response.clone())
            } else {
                Outcome::Refused(Refusal::new(Code::KeyReused, "the key was used with another request"))
            };
            return (None, Decided { outcome, aftermath: Aftermath::default() });
        }
        if loaded.action_open == Some(false) {
            // Somebody else has answered this action: whatever this answer says is already known. Money that moved says
            // so aloud: the bureau's own list must be looked at.
            if let What::Order(order, Event::SettleDone(_)) = &command.what {
                tracing::error!(%order, "a settlement came for an action that was answered without it");
            }
            return (None, Decided { outcome: Outcome::Done, aftermath: Aftermath::default() });
        }
        let decided = match &command.what {
            What::TakeBill(bill) => self.take_bill(command, bill, loaded),
            What::Open { .. } => self.open(command, loaded),
            What::Order(_, event) | What::ByBill(_, _, event) => self.order_event(command, event, loaded),
            What::Refund(_, refund, event) => self.refund_event(command, *refund, event, loaded),
            What::Claim(..) => self.claim(command, loaded),
            What::ActionDone => Ok((Change::default(), Outcome::Done, Aftermath::default())),
            What::Instead(order, action, due_at_us) => {
                let action = NewAction {
                    id: ActionId::from_uuid(self.clock.fresh()),
                    order: *order,
                    action: action.as_ref().clone(),
                    due_at_us: *due_at_us,
                    started_by: None,
                    trace_id: command.trace_id.clone(),
                };
                Ok((Change { actions: vec![action], ..Change::default() }, Outcome::Done, Aftermath::default()))
            }
            What::Postpone(due_at_us) => {
                let change =
                    Change { postponed: command.answers.map(|action| (action, *due_at_us)), ..Change::default() };
                return (Some(change), Decided { outcome: Outcome::Done, aftermath: Aftermath::default() });
            }
        };
        match decided {
            Ok((mut change, outcome, aftermath)) => {
                change.answered = command.answers;
                let answer = command.key.as_ref().and_then(|(key, render)| Some((key.clone(), render(&outcome)?)));
                let outcome = match &answer {
                    Some((_, response)) => Outcome::Answer(response.clone()),
                    None => outcome,
                };
                change.first_answer = answer;
                (Some(change), Decided { outcome, aftermath })
            }
            // A refusal changes nothing and is not kept; but the action it answers is answered.
            Err(refusal) => {
                let change = command.answers.map(|action| Change { answered: Some(action), ..Change::default() });
                (change, Decided { outcome: Outcome::Refused(refusal), aftermath: Aftermath::default() })
            }
        }
    }

    fn take_bill(&self, command: &Command, bill: &NewBill, loaded: &Loaded) -> Result<Parts, Refusal> {
        if let Some(stored) = &loaded.bill {
            if stored.content == bill.content {
                stored.facts.may_come_again()?;
                return Ok((Change::default(), Outcome::Bill(stored.facts.id, false), Aftermath::default()));
            }
            return Err(Refusal::new(Code::BillChanged, format!("bill {} has other content", stored.facts.id)));
        }
        let aftermath =
            Aftermath { bills: vec![(command.tenant, bill.facts.id, bill.patient)], ..Aftermath::default() };
        let change = Change { new_bill: Some(bill.clone()), ..Change::default() };
        Ok((change, Outcome::Bill(bill.facts.id, true), aftermath))
    }

    fn open(&self, command: &Command, loaded: &Loaded) -> Result<Parts, Refusal> {
        let What::Open { order: id, bill: _, payer, merchant, insured, carry } = &command.what else {
            return Err(Refusal::new(Code::Internal, "no order is opened here"));
        };
        let bill = loaded.bill.as_ref().ok_or_else(|| Refusal::new(Code::BillUnknown, "no such bill"))?;
        let insured = match (*insured, &loaded.binding) {
            (None, _) => None,
            (Some((binding, use_account)), Some(facts)) => {
                Some(Insured { binding, epoch: facts.epoch, person: facts.person, use_account })
            }
            (Some(_), None) => return Err(Refusal::new(Code::BindingUnknown, "no such binding")),
        };
        let msgid = self.message_number(&bill.facts.institution);
        let fresh = self.fresh(&msgid);
        let given = self.given(&bill.facts, loaded, command.tenant, &fresh);
        let carry = carry.as_deref().cloned();
        let decision = order::open(*id, command.tenant, *payer, merchant, insured, carry, &given)?;
        let seen = Seen { before: None, event: "opened", event_doc: "{}".to_owned() };
        self.write(command, seen, decision, loaded, Brought::default())
    }

    fn order_event(&self, command: &Command, event: &Event, loaded: &Loaded) -> Result<Parts, Refusal> {
        let (order, bill) = found(loaded)?;
        let msgid = self.message_number(&order.bill.institution);
        let fresh = self.fresh(&msgid);
        let given = self.given(&bill.facts, loaded, command.tenant, &fresh);
        let decision = order::next(order, event, &given)?;
        let seen = Seen { before: Some(order), event: event.kind(), event_doc: doc(event)? };
        let brought = match event {
            Event::SettleDone(settlement) | Event::SettleFound(settlement) => {
                Brought { settlement: Some(settlement.clone()), ..Brought::default() }
            }
            Event::UndoDone(undone) | Event::UndoFound(undone) => {
                let undone = order.state.settled().map(|settled| (settled.setl_id.clone(), undone.clone()));
                Brought { undone, ..Brought::default() }
            }
            Event::PriceCame(came) => {
                let number = decision.next.price.as_ref().map(|price| price.number);
                Brought { price_lines: number.map(|number| (number, came.lines.clone())), ..Brought::default() }
            }
            _ => Brought::default(),
        };
        let (change, outcome, aftermath) = self.write(command, seen, decision, loaded, brought)?;
        let granted = change.refunds.first().filter(|_| matches!(event, Event::RefundAsked(_)));
        let outcome = granted.map_or(outcome, |refund| Outcome::Granted(Box::new(refund.clone())));
        Ok((change, outcome, aftermath))
    }

    fn refund_event(
        &self,
        command: &Command,
        id: RefundId,
        event: &RefundEvent,
        loaded: &Loaded,
    ) -> Result<Parts, Refusal> {
        let (order, bill) = found(loaded)?;
        let refund = loaded
            .refunds
            .iter()
            .find(|refund| refund.id == id)
            .ok_or_else(|| Refusal::new(Code::Internal, format!("order {} has no refund {id}", order.id)))?;
        let msgid = self.message_number(&order.bill.institution);
        let fresh = self.fresh(&msgid);
        let given = self.given(&bill.facts, loaded, command.tenant, &fresh);
        let decided = refund::next(refund, event, order, &given)?;
        let event_doc = doc(event)?;
        // A refund's step is a step of its order: the order learns the end, and counts every step in between.
        let order_decision = match &decided.ended {
            Some(ended) => order::next(order, &Event::RefundEnded(ended.clone()), &given)?,
            None => order::Decision {
                next: Order { version: order.version + 1, updated_at_us: given.now_us, ..order.clone() },
                postings: Vec::new(),
                actions: Vec::new(),
                refund: None,
            },
        };
        let decision = order::Decision {
            postings: decided.postings.into_iter().chain(order_decision.postings).collect(),
            actions: decided.actions.into_iter().chain(order_decision.actions).collect(),
            ..order_decision
        };
        let seen = Seen { before: Some(order), event: event.kind(), event_doc };
        let undone = match (event, &refund.settled) {
            (RefundEvent::UndoDone(undone), Some(settled)) => Some((settled.setl_id.clone(), undone.clone())),
            _ => None,
        };
        let brought = Brought { refund: Some(decided.next), undone, ..Brought::default() };
        self.write(command, seen, decision, loaded, brought)
    }

    fn claim(&self, command: &Command, loaded: &Loaded) -> Result<Parts, Refusal> {
        let bill = loaded.bill.as_ref().ok_or_else(|| Refusal::new(Code::BillUnknown, "no such bill"))?;
        let released = |change: Change, aftermath| Ok((change, Outcome::Claimed(ClaimAnswer::Released), aftermath));
        match (&loaded.order, bill.facts.state) {
            (_, BillState::Withdrawn) => released(Change::default(), Aftermath::default()),
            (None, BillState::Paid) => {
                Err(Refusal::new(Code::Internal, format!("bill {} is paid by no order", bill.facts.id)))
            }
            (None, BillState::Open | BillState::Expired) => released(
                Change { bill: Some((bill.facts.id, BillState::Withdrawn, None)), ..Change::default() },
                Aftermath::default(),
            ),
            (Some(order), _) => match self.order_event(command, &Event::WindowClaimed, loaded) {
                Ok((change, _, aftermath)) => released(change, aftermath),
                Err(refusal) => {
                    let order_id = order.id;
                    let answer = match refusal.code {
                        Code::InProgress => ClaimAnswer::InProgress { order_id },
                        Code::BillNotPayable => ClaimAnswer::AlreadyPaid { order_id },
                        _ => return Err(refusal),
                    };
                    Ok((Change::default(), Outcome::Claimed(answer), Aftermath::default()))
                }
            },
        }
    }

    /// Turns a decision into what is written and what happens afterwards.
    fn write(
        &self,
        command: &Command,
        written: Seen<'_>,
        decision: order::Decision,
        loaded: &Loaded,
        brought: Brought,
    ) -> Result<Parts, Refusal> {
        let (decision, brought) = match invariants::broken_by(&decision.next, &decision.postings) {
            None => (decision, brought),
            // One order whose books would not hold is stopped; nobody else's is. Nothing that the event brought is
            // written beside it, or a refund would be done while the books do not say so: history keeps the event.
            Some(broken) => (halted(written.before, decision, broken)?, Brought::default()),
        };
        let order::Decision { next, postings, actions, refund } = decision;
        let refunds: Vec<Refund> = brought.refund.into_iter().chain(refund).collect();
        let from = written.before.map(|order| order.state.place().word());
        let to = next.state.place().word();
        let person = person_claim(written.before, &next, loaded)?;
        let binding = spends_under(&actions, loaded);
        let bill = bill_change(written.before, &next);
        let prepay = self.prepay(command.tenant, &actions);
        // Whatever happens to an order later (a wallet's notice, a deadline) goes by the trace under which it was opened.
        let opened_under = written.before.and(loaded.trace_id.as_ref());
        let trace_id = opened_under.or(command.trace_id.as_ref()).cloned();
        let actions = self.planned(&trace_id, &next, actions);
        let mut aftermath = Aftermath { records: true, ..Aftermath::default() };
        aftermath.start = started(command.tenant, &next, &actions, self.clock.steady());
        let bell = Bell::Order { order_id: next.id, version: next.version, state: to.to_owned() };
        aftermath.bells.push((command.tenant, next.payer, bell));
        aftermath.moves.push((from.unwrap_or("new"), to, written.event));
        let record = record(command.event_id, written.event, from, &next, refunds.last());
        let change = Change {
            order: Some(OrderWrite {
                before: written.before.map_or(0, |order| order.version),
                after: next.clone(),
                event_id: command.event_id,
                event: written.event,
                event_doc: written.event_doc,
                from,
                record,
                trace_id,
            }),
            bill,
            person,
            binding,
            refunds,
            postings,
            settlement: brought.settlement,
            undone: brought.undone,
            price_lines: brought.price_lines,
            prepay,
            actions,
            ..Change::default()
        };
        Ok((change, Outcome::Order(Box::new(next)), aftermath))
    }

    /// What the wallet is to be asked, and under which account.
    fn prepay(&self, tenant: TenantId, actions: &[Planned]) -> Option<NewPrepay> {
        let account = self.dialects.wallet_account(tenant)?;
        actions.iter().find_map(|planned| match &planned.action {
            Action::Prepay { out_trade_no, amount, expires_at_us } => Some(NewPrepay {
                out_trade_no: out_trade_no.clone(),
                sp_mchid: account.sp_mchid.clone(),
                appid: account.sp_appid.clone(),
                amount: *amount,
                expires_at_us: *expires_at_us,
            }),
            _ => None,
        })
    }

    fn planned(&self, trace_id: &Option<String>, order: &Order, planned: Vec<Planned>) -> Vec<NewAction> {
        let now_us = self.clock.now_us();
        planned
            .into_iter()
            .map(|planned| NewAction {
                id: ActionId::from_uuid(self.clock.fresh()),
                order: order.id,
                action: planned.action,
                due_at_us: planned.due_at_us,
                started_by: (planned.due_at_us <= now_us).then_some(self.me),
                trace_id: trace_id.clone(),
            })
            .collect()
    }

    fn given<'a>(
        &'a self,
        bill: &'a crate::domain::bill::BillFacts,
        loaded: &'a Loaded,
        tenant: TenantId,
        fresh: &'a Fresh,
    ) -> Given<'a> {
        Given {
            now_us: self.clock.now_us(),
            rules: &self.rules,
            can_ask_by_visit: self.dialects.can_ask_by_visit(tenant),
            bill,
            binding: loaded.binding.as_ref(),
            msgid: &fresh.msgid,
            message: fresh.message,
            refund: fresh.refund,
        }
    }

    fn fresh(&self, msgid: &str) -> Fresh {
        Fresh {
            msgid: msgid.to_owned(),
            message: MessageId::from_uuid(self.clock.fresh()),
            refund: RefundId::from_uuid(self.clock.fresh()),
        }
    }

    /// Two processes of one platform may draw the same one, and so may one process after a restart or 4000 messages
    /// within a second; the commit notices, and the event is decided again with the next.
    ///
    /// 发送方报文ID: institution (12) ‖ yyyyMMddHHmmss in China ‖ four digits of our own range.
    fn message_number(&self, institution: &InstitutionCode) -> String {
        let number = self.message_numbers.fetch_add(1, Ordering::Relaxed) % MESSAGE_NUMBERS + FIRST_MESSAGE_NUMBER;
        format!("{institution}{}{number:04}", china_time(self.clock.now_us()).format("%Y%m%d%H%M%S"))
    }
}

struct Fresh {
    msgid: String,
    message: MessageId,
    refund: RefundId,
}

type Parts = (Change, Outcome, Aftermath);

/// What an event brought for tables of its own.
#[derive(Default)]
struct Brought {
    refund: Option<Refund>,
    settlement: Option<Box<Settlement>>,
    /// 结算ID of what was undone, and how.
    undone: Option<(String, order::Undone)>,
    price_lines: Option<(u32, Vec<LineResult>)>,
}

fn started(tenant: TenantId, order: &Order, actions: &[NewAction], since: std::time::Duration) -> Vec<Start> {
    let started: Vec<&NewAction> = actions.iter().filter(|action| action.started_by.is_some()).collect();
    if started.is_empty() {
        return Vec::new();
    }
    let shared = Arc::new(order.clone());
    let due = |action: &NewAction| DueAction {
        tenant,
        action: action.clone(),
        institution: order.bill.institution.clone(),
        attempts: 0,
    };
    started.into_iter().map(|action| Start { due: due(action), order: Arc::clone(&shared), since }).collect()
}

/// The event as history keeps it, and the order it was decided upon.
struct Seen<'a> {
    before: Option<&'a Order>,
    event: &'static str,
    event_doc: String,
}

/// An instant as clocks in China show it (UTC+8, no summer time).
pub fn china_time(at_us: i64) -> DateTime<FixedOffset> {
    let offset = FixedOffset::east_opt(8 * 3600).expect("eight hours are a valid offset");
    DateTime::from_timestamp_micros(at_us).unwrap_or_default().with_timezone(&offset)
}

fn want(command: &Command) -> Want {
    let (subject, binding) = match &command.what {
        What::TakeBill(bill) => (Subject::BillNo(bill.facts.institution.clone(), bill.facts.bill_no.clone()), None),
        What::Open { bill, insured, .. } => (Subject::Bill(*bill), insured.map(|(binding, _)| binding)),
        What::Order(order, _) | What::Refund(order, _, _) => (Subject::Order(*order), None),
        What::ByBill(institution, bill_no, _) | What::Claim(institution, bill_no) => {
            (Subject::BillNo(institution.clone(), bill_no.clone()), None)
        }
        What::ActionDone | What::Postpone(_) | What::Instead(..) => (Subject::Nothing, None),
    };
    Want {
        tenant: command.tenant,
        subject,
        binding,
        answers: command.answers,
        key: command.key.as_ref().map(|(key, _)| key.clone()),
    }
}

fn found(loaded: &Loaded) -> Result<(&Order, &crate::store::StoredBill), Refusal> {
    match (&loaded.order, &loaded.bill) {
        (Some(order), Some(bill)) => Ok((order, bill)),
        (None, Some(_)) => Err(Refusal::new(Code::OrderUnknown, "no order for this bill")),
        _ => Err(Refusal::new(Code::OrderUnknown, "no such order")),
    }
}

fn doc<T: serde::Serialize>(event: &T) -> Result<String, Refusal> {
    serde_json::to_string(event)
        .map_err(|error| Refusal::new(Code::Internal, format!("an event cannot be written down: {error}")))
}

/// One insured order per person at a time between Settling and the end of the undoing. Refuses while another holds it.
fn person_claim(
    before: Option<&Order>,
    next: &Order,
    loaded: &Loaded,
) -> Result<Option<(Lookup, OrderId, bool)>, Refusal> {
    let Some(insured) = &next.insured else { return Ok(None) };
    let held = before.is_some_and(|order| order.state.holds_person());
    let holds = next.state.holds_person();
    if holds && let Some(other) = loaded.person_held_by.filter(|other| *other != next.id) {
        return Err(Refusal::new(Code::PersonBusy, format!("order {other} holds the person")).after_s(5));
    }
    Ok((held != holds).then_some((insured.person, next.id, holds)))
}

/// The binding, at the epoch that was seen, under which this step lets insured money go.
fn spends_under(actions: &[Planned], loaded: &Loaded) -> Option<(BindingId, i64)> {
    let settles = actions.iter().any(|planned| matches!(planned.action, Action::Settle { .. }));
    let binding = loaded.binding.as_ref().filter(|_| settles)?;
    Some((binding.id, binding.epoch))
}

/// What the order's step means for its bill.
fn bill_change(before: Option<&Order>, next: &Order) -> Option<(BillId, BillState, Option<OrderId>)> {
    let bill = next.bill.id;
    let from = before.map(|order| order.state.place());
    let paid = |place: Place| matches!(place, Place::Paid | Place::Completed | Place::Returning);
    let place = next.state.place();
    match &next.state {
        _ if from.is_none() => Some((bill, BillState::Open, Some(next.id))),
        State::Closed { .. } if from == Some(Place::Closed) => None,
        State::Closed { why: Why::TakenByWindow, .. } | State::Closed { returned: Some(_), .. } => {
            Some((bill, BillState::Withdrawn, None))
        }
        State::Closed { .. } => Some((bill, BillState::Open, None)),
        _ if paid(place) && !from.is_some_and(paid) => Some((bill, BillState::Paid, Some(next.id))),
        _ => None,
    }
}

fn halted(before: Option<&Order>, decision: order::Decision, invariant: Invariant) -> Result<order::Decision, Refusal> {
    let invariant = invariant.id();
    let Some(before) = before else {
        return Err(Refusal::new(Code::Internal, format!("{invariant} would be broken by opening")));
    };
    tracing::error!(invariant, order = %before.id, "an invariant would be broken: the order is suspended");
    let from = Box::new(before.state.stood().clone());
    let why = Why::Broken { invariant: invariant.to_owned() };
    Ok(order::Decision {
        next: Order {
            state: State::Suspended { from, why, owner: Owner::Finance },
            version: decision.next.version,
            updated_at_us: decision.next.updated_at_us,
            deadline_at_us: None,
            ..before.clone()
        },
        postings: Vec::new(),
        actions: Vec::new(),
        refund: None,
    })
}

fn record(
    event_id: EventId,
    event: &'static str,
    from: Option<&'static str>,
    order: &Order,
    refund: Option<&Refund>,
) -> CloudEvent {
    let to = order.state.place().word();
    CloudEvent {
        specversion: "1.0".into(),
        id: event_id,
        kind: format!("cn.tongfu.order.{to}.v1"),
        source: format!("/tongfu/{}", order.tenant),
        subject: order.id,
        time: DateTime::from_timestamp_micros(order.updated_at_us)
            .unwrap_or_default()
            .to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        tenantid: order.tenant,
        sequence: order.version,
        datacontenttype: "application/json".into(),
        dataschema: format!("order-{to}.v1.json"),
        data: Transition {
            version: order.version,
            event: event.to_owned(),
            from: from.map(str::to_owned),
            to: to.to_owned(),
            institution: order.bill.institution.clone(),
            bill_no: order.bill.bill_no.clone(),
            amount_fen: order.bill.amount,
            split: order.state.settled().map(|s| s.split).or(order.price.as_ref().map(|price| price.split)),
            setl_id: order.state.settled().map(|settled| settled.setl_id.clone()),
            transaction_id: order.state.taken().map(|taken| taken.transaction_id.clone()),
            refunded_fen: order.refunded,
            reason: order.state.why().map(|why| why.word().to_owned()),
            refund: refund.map(|refund| RefundStep {
                refund_id: refund.id,
                refund_no: refund.refund_no.clone(),
                state: refund.state.word().to_owned(),
                amount_fen: refund.amount,
                cash_fen: refund.cash.as_ref().map_or(Fen::ZERO, |cash| cash.amount),
            }),
        },
    }
}

impl Aftermath {
    fn merge(&mut self, other: Aftermath) {
        self.start.extend(other.start);
        self.bells.extend(other.bells);
        self.bills.extend(other.bills);
        self.moves.extend(other.moves);
        self.records |= other.records;
        self.damaged += other.damaged;
    }

    /// Nothing to do afterwards.
    pub fn is_empty(&self) -> bool {
        self.start.is_empty() && self.bells.is_empty() && self.bills.is_empty() && !self.records
    }
}

struct Queued {
    command: Command,
    from_outside: bool,
    answer: oneshot::Sender<Outcome>,
}

/// The desk on threads of its own, one a lane. A batch is whatever queued in a lane while its last commit ran.
///
/// A lane is (tenant, hash of the order, or of the bill where no order is named): what belongs together mostly meets in
/// one batch. Nothing depends on it: two lanes, or two processes, that decide on one order are told apart by its version.
pub struct Thread {
    desk: Arc<Desk>,
    after: mpsc::UnboundedSender<Aftermath>,
    lanes: Vec<mpsc::UnboundedSender<Queued>>,
    from_outside: Arc<AtomicUsize>,
    from_outside_max: usize,
    handles: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Thread {
    /// Starts the threads. What is to happen after each commit goes to `after`, in commit order within a lane.
    pub fn start(
        desk: Desk,
        lanes: usize,
        batch_max: usize,
        from_outside_max: usize,
        after: mpsc::UnboundedSender<Aftermath>,
    ) -> std::io::Result<Arc<Thread>> {
        let from_outside = Arc::new(AtomicUsize::new(0));
        let desk = Arc::new(desk);
        let mut queues = Vec::with_capacity(lanes);
        let mut handles = Vec::with_capacity(lanes);
        for number in 0..lanes.max(1) {
            let (queue, waiting) = mpsc::unbounded_channel::<Queued>();
            let lane = Lane {
                desk: Arc::clone(&desk),
                from_outside: Arc::clone(&from_outside),
                after: after.clone(),
                batch_max,
            };
            queues.push(queue);
            handles.push(std::thread::Builder::new().name(format!("desk-{number}")).spawn(move || lane.run(waiting))?);
        }
        let handles = Mutex::new(handles);
        Ok(Arc::new(Thread { desk, after, lanes: queues, from_outside, from_outside_max, handles }))
    }

    /// Whether a thread has ended (a bug: none ever does while the process lives).
    pub fn is_dead(&self) -> bool {
        let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().any(std::thread::JoinHandle::is_finished)
    }

    fn lane(&self, command: &Command) -> &mpsc::UnboundedSender<Queued> {
        let mut hasher = std::hash::DefaultHasher::new();
        command.tenant.hash(&mut hasher);
        match &command.what {
            What::Order(order, _) | What::Refund(order, _, _) | What::Open { order, .. } => order.hash(&mut hasher),
            What::TakeBill(bill) => bill.facts.bill_no.hash(&mut hasher),
            What::ByBill(_, bill_no, _) | What::Claim(_, bill_no) => bill_no.hash(&mut hasher),
            What::ActionDone | What::Postpone(_) | What::Instead(..) => command.event_id.hash(&mut hasher),
        }
        &self.lanes[usize::try_from(hasher.finish() % self.lanes.len() as u64).unwrap_or(0)]
    }

    async fn queue(&self, command: Command, from_outside: bool) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let gone = || Outcome::Refused(Refusal::new(Code::OutcomeUnknown, "the desk has stopped"));
        if self.lane(&command).send(Queued { command, from_outside, answer }).is_err() {
            return gone();
        }
        outcome.await.unwrap_or_else(|_| gone())
    }
}

/// One thread's work.
struct Lane {
    desk: Arc<Desk>,
    from_outside: Arc<AtomicUsize>,
    after: mpsc::UnboundedSender<Aftermath>,
    batch_max: usize,
}

impl Lane {
    fn run(&self, mut waiting: mpsc::UnboundedReceiver<Queued>) {
        let mut batch = Vec::with_capacity(self.batch_max);
        while waiting.blocking_recv_many(&mut batch, self.batch_max) > 0 {
            let outside = batch.iter().filter(|queued| queued.from_outside).count();
            self.from_outside.fetch_sub(outside, Ordering::Relaxed);
            for (_, queued) in by_tenant(batch.drain(..)) {
                let (commands, answers): (Vec<_>, Vec<_>) =
                    queued.into_iter().map(|queued| (queued.command, queued.answer)).unzip();
                let (outcomes, aftermath) = self.desk.step(commands);
                if !aftermath.is_empty() || aftermath.batch > 0 {
                    let _ = self.after.send(aftermath);
                }
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _ = answer.send(outcome);
                }
            }
        }
    }
}

fn by_tenant(queued: impl Iterator<Item = Queued>) -> BTreeMap<TenantId, Vec<Queued>> {
    let mut tenants: BTreeMap<TenantId, Vec<Queued>> = BTreeMap::new();
    for queued in queued {
        tenants.entry(queued.command.tenant).or_default().push(queued);
    }
    tenants
}

#[async_trait]
impl Door for Thread {
    async fn ask(&self, command: Command) -> Outcome {
        if self.from_outside.fetch_add(1, Ordering::Relaxed) >= self.from_outside_max {
            self.from_outside.fetch_sub(1, Ordering::Relaxed);
            return Outcome::Refused(Refusal::new(Code::Overloaded, "the desk's queue is full").after_s(1));
        }
        self.queue(command, true).await
    }

    async fn tell(&self, command: Command) -> Outcome {
        self.queue(command, false).await
    }

    async fn look_back(&self) {
        if !self.desk.has_unsettled() {
            return;
        }
        // Only reads, so the thread that writes need not stop for it.
        let (desk, after) = (Arc::clone(&self.desk), self.after.clone());
        let looked = tokio::task::spawn_blocking(move || after.send(desk.look_back()).is_ok());
        if looked.await.is_err() {
            tracing::error!("looking back at unknown commits ended early");
        }
    }
}
