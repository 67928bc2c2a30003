//! What is said to the desk, what it answers, and what is to happen once a batch is durable.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schema::bill::LineResult;
use schema::his::ClaimAnswer;
use schema::ids::{ActionId, BillId, BindingId, ChannelUserId, EventId, InstitutionCode, OrderId, RefundId, TenantId};
use schema::mobile::Bell;
use schema::refusal::{Code, Refusal};
use schema::seal::{Lookup, Sealed};

use crate::domain::action::Action;
use crate::domain::order::{Carry, Event, Order};
use crate::domain::refund::{Refund, RefundEvent};
use crate::store::{CallerKey, DueAction, NewBill};

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
    /// Orders as the commit left them.
    pub orders: Vec<Arc<Order>>,
    /// Prices that came: the order, the price's number, and the bureau's word on every line.
    pub priced: Vec<(TenantId, OrderId, u32, Vec<LineResult>)>,
    /// Settlements that came: the `setl_id`, and the bureau's whole reply, sealed.
    pub replied: Vec<(TenantId, String, Sealed)>,
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
    pub since: Duration,
}

/// Ways to the desk.
#[async_trait]
pub trait Door: Send + Sync {
    /// A request from outside: shed with `OVERLOADED` when too many wait.
    async fn ask(&self, command: Command) -> Outcome;
    /// An answer from a party or a wallet's notice: never shed.
    async fn tell(&self, command: Command) -> Outcome;
    /// Sets going what commits of unknown outcome turn out to have left ([`super::Desk::look_back`]).
    async fn look_back(&self);
}

impl Aftermath {
    pub(super) fn merge(&mut self, other: Aftermath) {
        self.start.extend(other.start);
        self.orders.extend(other.orders);
        self.priced.extend(other.priced);
        self.replied.extend(other.replied);
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
