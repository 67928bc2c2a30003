//! The only writer of orders (ARCHITECTURE.md, "How a change becomes true").
//!
//! [`Desk::step`] takes a batch of [`Command`]s of one tenant, loads what they need, decides each with the pure tables
//! of `domain`, and has everything written in **one commit**; only then anybody is answered. Nothing that calls out,
//! waits or is async happens here. In production [`Thread`] feeds it with whatever queued while the last commit ran; a
//! simulation feeds it batches of its own.
//!
//! A repeated event conflicts on its id; a change that was decided on rows that moved is decided again; a batch with a
//! row that cannot be read or written is halved until that one alone is refused; after an unknown commit the event ids
//! are read back before anyone is answered, and again later if that fails too ([`Desk::look_back`]).
//!
//! `command` has what is said to it and what it answers, `thread` its threads, `record` what it publishes, `numbers` the
//! ids of what is sent to bureaus.

mod command;
mod numbers;
mod record;
mod thread;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use schema::bill::LineResult;
use schema::his::ClaimAnswer;
use schema::ids::{ActionId, BillId, BindingId, EventId, MessageId, OrderId, ProcessId, RefundId, TenantId};
use schema::mobile::Bell;
use schema::refusal::{Code, Refusal};
use schema::seal::Lookup;

use crate::clock::Clock;
use crate::domain::action::{Action, Planned};
use crate::domain::bill::{BillFacts, BillState};
use crate::domain::deadline::Rules;
use crate::domain::invariants::{self, Invariant};
use crate::domain::order::{self, Event, Given, Insured, Order, Owner, Place, State, Why};
use crate::domain::refund::{self, Refund, RefundEvent};
use crate::domain::settlement::Settlement;
use crate::parties::wallet::Account;
use crate::store::{
    Change, Commit, DeskStore, DueAction, Loaded, NewAction, NewBill, NewPrepay, OrderWrite, StoreError, Subject, Want,
    Written,
};
use numbers::{Drawn, MessageNumbers};
use record::record;

pub use command::{Aftermath, Command, Door, Outcome, Render, Start, What, decided};
pub use thread::Thread;

/// What the desk must know of a tenant's parties.
pub trait Dialects: Send + Sync {
    /// 5203 finds settlements by visit.
    fn can_ask_by_visit(&self, tenant: TenantId) -> bool;
    /// Under which account its wallet is asked; none for a tenant that is not served.
    fn wallet_account(&self, tenant: TenantId) -> Option<Account>;
}

/// The desk.
pub struct Desk {
    store: Arc<dyn DeskStore>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    me: ProcessId,
    dialects: Arc<dyn Dialects>,
    message_numbers: MessageNumbers,
    unsettled: Mutex<Vec<Unsettled>>,
}

/// An event whose commit is unknown and could not be read back yet.
struct Unsettled {
    tenant: TenantId,
    event_id: EventId,
    aftermath: Aftermath,
}

/// A change whose rows keep moving is decided again this often before its caller is asked to come back.
const ROUNDS_MAX: usize = 8;

struct Pending {
    command: Command,
    /// Whether the caller's key is looked for. Hardly any key comes twice, and whoever asked has just looked: at first
    /// the commit itself notices one that is known. What keeps nothing under its key is decided again after a look.
    looks: bool,
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
        let message_numbers = MessageNumbers::starting_at(clock.below(numbers::COUNT));
        Desk { store, clock, rules, me, dialects, message_numbers, unsettled: Mutex::default() }
    }

    /// Decides a batch of one tenant's commands in one commit (more only where rows moved in between).
    /// The outcomes are in the commands' order and durable.
    pub fn step(&self, commands: Vec<Command>) -> (Vec<Outcome>, Aftermath) {
        let mut pending: Vec<Pending> = commands
            .into_iter()
            .map(|command| Pending { command, looks: false, outcome: None, decided: None })
            .collect();
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
        let wants: Vec<Want> = open.iter().map(|&at| want(&pending[at])).collect();
        let commit = self.store.transact(&wants, &mut |loaded| {
            open.iter()
                .zip(loaded)
                .map(|(&at, loaded)| {
                    let Pending { command, looks, decided, .. } = &mut pending[at];
                    let (change, made) = self.decide(command, &loaded);
                    let keeps = change.as_ref().is_some_and(|change| change.first_answer.is_some());
                    let again = command.key.is_some() && !*looks && !keeps;
                    *decided = Some(made).filter(|_| !again);
                    change.filter(|_| !again)
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
            pending[at].looks = true;
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
            let Pending { command, outcome, decided, .. } = &mut pending[at];
            *outcome = Some(Outcome::Refused(Refusal::new(Code::OutcomeUnknown, error.to_string()).after_s(1)));
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
        let fresh = self.fresh(&bill.facts);
        let given = self.given(&bill.facts, loaded, command.tenant, &fresh);
        let carry = carry.as_deref().cloned();
        let decision = order::open(*id, command.tenant, *payer, merchant, insured, carry, &given)?;
        let seen = Seen { before: None, event: "opened", event_doc: "{}".to_owned() };
        self.write(command, seen, decision, loaded, Brought::default(), &fresh)
    }

    fn order_event(&self, command: &Command, event: &Event, loaded: &Loaded) -> Result<Parts, Refusal> {
        let (order, bill) = found(loaded)?;
        let fresh = self.fresh(&bill.facts);
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
        let (change, outcome, mut aftermath) = self.write(command, seen, decision, loaded, brought, &fresh)?;
        let priced =
            change.price_lines.iter().map(|(number, lines)| (command.tenant, order.id, *number, lines.clone()));
        aftermath.priced.extend(priced);
        let replied = change.settlement.iter().map(|came| (command.tenant, came.setl_id.clone(), came.reply.clone()));
        aftermath.replied.extend(replied);
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
        let fresh = self.fresh(&bill.facts);
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
        self.write(command, seen, decision, loaded, brought, &fresh)
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
        fresh: &Fresh<'_>,
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
        fresh.number.used_by(&actions);
        let mut aftermath = Aftermath { records: true, ..Aftermath::default() };
        let left = Arc::new(next.clone());
        aftermath.start = started(command.tenant, &left, &actions, self.clock.steady());
        aftermath.orders.push(left);
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
        bill: &'a BillFacts,
        loaded: &'a Loaded,
        tenant: TenantId,
        fresh: &'a Fresh<'_>,
    ) -> Given<'a> {
        Given {
            now_us: self.clock.now_us(),
            rules: &self.rules,
            can_ask_by_visit: self.dialects.can_ask_by_visit(tenant),
            bill,
            binding: loaded.binding.as_ref(),
            msgid: &fresh.number.msgid,
            message: fresh.message,
            refund: fresh.refund,
        }
    }

    fn fresh(&self, bill: &BillFacts) -> Fresh<'_> {
        Fresh {
            number: self.message_numbers.draw(&bill.institution, self.clock.now_us()),
            message: MessageId::from_uuid(self.clock.fresh()),
            refund: RefundId::from_uuid(self.clock.fresh()),
        }
    }
}

struct Fresh<'a> {
    number: Drawn<'a>,
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

fn started(tenant: TenantId, order: &Arc<Order>, actions: &[NewAction], since: Duration) -> Vec<Start> {
    let due = |action: &NewAction| DueAction {
        tenant,
        action: action.clone(),
        institution: order.bill.institution.clone(),
        attempts: 0,
    };
    let started = actions.iter().filter(|action| action.started_by.is_some());
    started.map(|action| Start { due: due(action), order: Arc::clone(order), since }).collect()
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

fn want(pending: &Pending) -> Want {
    let command = &pending.command;
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
        key: command.key.as_ref().filter(|_| pending.looks).map(|(key, _)| key.clone()),
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
