//! A city on paper: the outside world with its own records, the post between it and the desk, and a clock.
//!
//! Nothing here asserts: what must never happen is written into [`City::faults`], so that a story can be shortened.

mod outside;

use std::fmt;

use platform::domain::action::Action;
use platform::domain::binding::BindingFacts;
use platform::domain::code::IssuedCode;
use platform::domain::deadline::Rules;
use platform::domain::order::{BilledFor, Carry, Decision, Event, Place, State, Taken, Why};
use platform::domain::refund::{RefundAsked, RefundEvent, RefundKind, RefundState};
use schema::ids::{OrderId, RefundId};
use schema::money::Fen;
use schema::refusal::Code;

use super::paper::{self, Paper, Shape, T0_US};
use outside::{Bureau, Call, Hospital, Late, Wallet};

/// Waits and deadlines short enough that a silent day is few questions.
const RULES: Rules = Rules {
    price_ms: 60_000,
    priced_ms: 600_000,
    code_ms: 120_000,
    code_sends: 3,
    bureau_limit_ms: 30_000,
    after_reversal_ms: 30_000,
    ask_again_ms: 5_000,
    collect_ms: 200_000,
    ask_wallet_ms: 20_000,
    tell_ms: 600_000,
    patience_ms: 300_000,
    refund_ms: 600_000,
};
/// Orders that may be opened in one story.
const ORDERS: usize = 4;
/// Bills that are there from the beginning; those of what remains come after them.
const BILLS: usize = 2;
/// When everybody has fallen silent, this is long enough for every deadline.
const SILENCE_US: i64 = 3_000_000_000;
/// No chain of calls about one order may be denser than its waits, with room for what begins afresh.
const CALLS: usize = 2_000;
/// Past this many steps something turns in a circle.
const STEPS: usize = 20_000;

/// Where a story begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Begin {
    /// Two bills, no order.
    Fresh,
    /// An order of this shape, led honestly to this place.
    At(Shape, Place),
}

impl Begin {
    /// Early as often as late: refunds deserve as many stories as payments.
    pub(crate) const ALL: [Begin; 9] = [
        Begin::Fresh,
        Begin::Fresh,
        Begin::At(Shape::Insured, Place::Priced),
        Begin::At(Shape::Insured, Place::Settling),
        Begin::At(Shape::Insured, Place::Collecting),
        Begin::At(Shape::Insured, Place::Paid),
        Begin::At(Shape::Insured, Place::Completed),
        Begin::At(Shape::CashOnly, Place::Collecting),
        Begin::At(Shape::CashOnly, Place::Completed),
    ];
}

/// How a party treats a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Does it and says so.
    Does,
    /// Does it; the answer is lost.
    DoesAndIsNotHeard,
    /// Does not do it; that is not heard either.
    IsDeaf,
    /// The call arrives long after its caller gave up.
    HearsLate,
    /// Says no.
    Refuses,
    /// Says "busy".
    IsBusy,
    /// Does something else than was asked: another split, an abnormal refund.
    Differs,
    /// Shifts money among funds.
    Shifts,
}

/// Something that happens in the city.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    /// A payer opens an order on a bill.
    Open(usize, Shape),
    /// An action whose time has come is performed.
    Perform(u64, How),
    /// An answer arrives at the desk.
    Deliver(u64),
    /// A call that was given up arrives at its party.
    Arrive(u64),
    /// The process that performed an action dies; what it was told is lost.
    Die(u64),
    /// The payer asks for a code.
    Code(usize),
    /// The payer authorises; `true` with the right code.
    Authorise(usize, bool),
    /// The payer cancels.
    Cancel(usize),
    /// The payer pays in the wallet.
    Pay(usize),
    /// The wallet takes another amount than was asked for.
    PayLess(usize),
    /// The wallet notifies of a payment, perhaps not for the first time.
    Notify(usize),
    /// The wallet notifies of a refund that it made.
    NotifyRefund(RefundId),
    /// The window takes a bill back.
    Claim(usize),
    /// The institution asks money back: all of it, or so many fen.
    AskBack(usize, Option<i64>),
    /// The institution takes a part back and asks for what remains with a new bill.
    Replace(usize),
    /// The person's accumulators moved elsewhere.
    Stale(usize),
    /// The card is lost, and bound anew at once.
    Lose,
    /// So many seconds pass.
    Wait(i64),
    /// Time passes until something is due.
    WaitForWork,
    /// Time passes until an order's deadline, which passes.
    Deadline(usize),
}

/// An action's row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    no: u64,
    order: usize,
    action: Action,
    due_at_us: i64,
    /// What the party answered, on its way to the desk.
    answer: Option<Told>,
}

/// What the desk is told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Order(Event),
    Refund(RefundId, RefundEvent),
    /// The action is done and nobody needs to decide anything.
    Nothing,
    /// The person's other prices are stale.
    Ripple,
    /// The order that replaces this one is opened.
    Replacement(RefundId),
}

/// The city.
#[derive(Clone)]
pub(crate) struct City {
    /// What the last move decided, by order.
    pub(crate) decided: Vec<(usize, Decision)>,
    /// What must never happen, and did.
    pub(crate) faults: Vec<String>,
    /// In this story everybody falls silent at the end.
    pub(crate) falls_silent: bool,
    now_us: i64,
    moves: usize,
    papers: Vec<Paper>,
    /// The bill of each order.
    bill_of: Vec<usize>,
    /// The order that holds each bill.
    holders: Vec<Option<usize>>,
    withdrawn: Vec<bool>,
    /// The order that a refund was replaced by.
    replaced: Vec<(RefundId, usize)>,
    person: Option<usize>,
    binding: BindingFacts,
    can_ask_by_visit: bool,
    rows: Vec<Row>,
    numbers: u64,
    calls: Vec<usize>,
    bureau: Bureau,
    wallet: Wallet,
    hospital: Hospital,
    rest: Rest,
}

/// How far the end of a story is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Not begun.
    Story,
    /// Everybody answers again (or nobody does), until this instant.
    Until(i64),
    /// Nothing more happens.
    Over,
}

impl fmt::Debug for City {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<Place> = self.papers.iter().map(Paper::place).collect();
        write!(f, "a city after {} moves, orders {places:?}", self.moves)?;
        write!(f, ", by visit: {}, falls silent: {}", self.can_ask_by_visit, self.falls_silent)
    }
}

impl City {
    /// A city where a story begins.
    pub(crate) fn new(begin: Begin, can_ask_by_visit: bool, falls_silent: bool) -> City {
        let mut city = City {
            decided: Vec::new(),
            faults: Vec::new(),
            falls_silent,
            now_us: T0_US,
            moves: 0,
            papers: Vec::new(),
            bill_of: Vec::new(),
            holders: vec![None; BILLS],
            withdrawn: vec![false; BILLS],
            replaced: Vec::new(),
            person: None,
            binding: paper::binding(),
            can_ask_by_visit,
            rows: Vec::new(),
            numbers: 0,
            calls: Vec::new(),
            bureau: Bureau::default(),
            wallet: Wallet::default(),
            hospital: Hospital::default(),
            rest: Rest::Story,
        };
        if let Begin::At(shape, place) = begin {
            city.lead(shape, place);
        }
        city
    }

    /// Leads the first order honestly to a place.
    fn lead(&mut self, shape: Shape, place: Place) {
        self.open(0, shape);
        while self.papers[0].place() != place && self.faults.is_empty() {
            match self.papers[0].place() {
                Place::Priced => {
                    self.code(0);
                    self.authorise(0, true);
                }
                Place::Collecting => {
                    self.wallet.pay(0, self.now_us);
                    self.notify(0);
                }
                _ => match self.rows.iter().find(|row| row.due_at_us <= self.now_us).map(|row| row.no) {
                    Some(no) => {
                        self.perform(no, How::Does);
                        self.deliver(no);
                    }
                    None => self.faults.push(format!("an honest story does not come to {place:?}")),
                },
            }
        }
    }

    /// Every move that is possible now; likelier ones several times.
    pub(crate) fn moves(&self) -> Vec<Move> {
        let mut moves = vec![Move::Wait(1), Move::WaitForWork];
        let mut add = |times: usize, what: Move| moves.extend(std::iter::repeat_n(what, times));
        for row in &self.rows {
            match &row.answer {
                Some(_) => {
                    add(6, Move::Deliver(row.no));
                    add(1, Move::Die(row.no));
                }
                None if row.due_at_us <= self.now_us => {
                    for (times, how) in hows(&row.action) {
                        add(*times, Move::Perform(row.no, *how));
                    }
                }
                None => add(1, Move::WaitForWork),
            }
        }
        for no in self.late_numbers() {
            add(2, Move::Arrive(no));
        }
        for bill in 0..self.holders.len() {
            if bill < BILLS && self.holders[bill].is_none() && !self.withdrawn[bill] && self.papers.len() < ORDERS {
                add(6, Move::Open(bill, Shape::Insured));
                add(2, Move::Open(bill, Shape::CashOnly));
            }
            add(1, Move::Claim(bill));
        }
        for (at, paper) in self.papers.iter().enumerate() {
            match paper.place() {
                Place::Created => add(1, Move::Cancel(at)),
                Place::Priced => {
                    add(4, Move::Code(at));
                    add(8, Move::Authorise(at, true));
                    add(1, Move::Authorise(at, false));
                    add(1, Move::Cancel(at));
                    add(1, Move::Stale(at));
                }
                Place::Prepaying | Place::Collecting => add(2, Move::Cancel(at)),
                Place::Paid => {
                    add(1, Move::AskBack(at, None));
                    add(1, Move::Replace(at));
                }
                Place::Completed => {
                    add(2, Move::AskBack(at, None));
                    add(2, Move::AskBack(at, Some(4_000)));
                    add(3, Move::Replace(at));
                }
                Place::Suspended => {
                    add(1, Move::Cancel(at));
                    add(1, Move::AskBack(at, None));
                    add(1, Move::Replace(at));
                }
                _ => {}
            }
            if paper.order.deadline_at_us.is_some() {
                add(1, Move::Deadline(at));
            }
            if self.wallet.payable(at) {
                add(6, Move::Pay(at));
                add(1, Move::PayLess(at));
            }
            if self.wallet.taken(at).is_some() {
                add(2, Move::Notify(at));
            }
        }
        for refund in self.wallet.returned() {
            add(1, Move::NotifyRefund(refund));
        }
        if self.binding.epoch < 3 {
            add(1, Move::Lose);
        }
        moves
    }

    /// Whether a move is still possible in a story that was shortened.
    pub(crate) fn allows(&self, what: &Move) -> bool {
        let order = |at: &usize| *at < self.papers.len();
        match what {
            Move::Open(bill, _) => {
                *bill < BILLS && self.holders[*bill].is_none() && !self.withdrawn[*bill] && self.papers.len() < ORDERS
            }
            Move::Perform(no, _) => {
                self.row(*no).is_some_and(|row| row.answer.is_none() && row.due_at_us <= self.now_us)
            }
            Move::Deliver(no) | Move::Die(no) => self.row(*no).is_some_and(|row| row.answer.is_some()),
            Move::Arrive(no) => self.late_numbers().contains(no),
            Move::Pay(at) | Move::PayLess(at) => self.wallet.payable(*at),
            Move::Notify(at) => self.wallet.taken(*at).is_some(),
            Move::NotifyRefund(refund) => self.wallet.returned().contains(refund),
            Move::Deadline(at) => order(at) && self.papers[*at].order.deadline_at_us.is_some(),
            Move::Code(at)
            | Move::Authorise(at, _)
            | Move::Cancel(at)
            | Move::Stale(at)
            | Move::AskBack(at, _)
            | Move::Replace(at) => order(at),
            Move::Claim(bill) => *bill < self.holders.len(),
            Move::Lose | Move::Wait(_) | Move::WaitForWork => true,
        }
    }

    /// Lets something happen.
    pub(crate) fn make(&mut self, what: &Move) {
        self.moves += 1;
        self.decided.clear();
        match what {
            Move::Open(bill, shape) => self.open(*bill, *shape),
            Move::Perform(no, how) => self.perform(*no, *how),
            Move::Deliver(no) => self.deliver(*no),
            Move::Arrive(no) => self.arrive(*no),
            Move::Die(no) => self.die(*no),
            Move::Code(at) => self.code(*at),
            Move::Authorise(at, right) => self.authorise(*at, *right),
            Move::Cancel(at) => self.tell(*at, &Event::Cancelled),
            Move::Pay(at) => self.wallet.pay(*at, self.now_us),
            Move::PayLess(at) => self.wallet.pay_less(*at, self.now_us),
            Move::Notify(at) => self.notify(*at),
            Move::NotifyRefund(refund) => self.notify_refund(*refund),
            Move::Claim(bill) => self.claim(*bill),
            Move::AskBack(at, fen) => self.ask_back(*at, *fen),
            Move::Replace(at) => self.replace(*at),
            Move::Stale(at) => self.tell(*at, &Event::PriceStale),
            Move::Lose => self.lose(),
            Move::Wait(seconds) => self.pass_to(self.now_us + seconds * 1_000_000),
            Move::WaitForWork => {
                if let Some(due) = self.next_due() {
                    self.pass_to(due.max(self.now_us));
                }
            }
            Move::Deadline(at) => {
                if let Some(deadline) = self.papers[*at].order.deadline_at_us {
                    self.pass_to(deadline.max(self.now_us));
                    self.tell(*at, &Event::DeadlinePassed);
                }
            }
        }
        self.look_around();
    }

    // ——— people ———

    fn open(&mut self, bill: usize, shape: Shape) {
        let at = self.papers.len();
        let numbers = (at as u128 + 1, bill as u128 + 1);
        let opened = Paper::open(numbers, shape, (self.binding.clone(), self.can_ask_by_visit), RULES, self.now_us);
        match opened {
            Ok((paper, decision)) => self.opened(bill, paper, decision),
            Err(refusal) => self.faults.push(format!("an open bill was not opened: {refusal:?}")),
        }
    }

    fn code(&mut self, at: usize) {
        let Some(price) = &self.papers[at].order.price else { return };
        let code = IssuedCode {
            hash: paper::hash(1),
            price_number: price.number,
            expires_at_us: self.now_us + RULES.code_ms * 1000,
            tries_epoch: 1,
        };
        self.tell(at, &Event::CodeIssued { code });
    }

    fn authorise(&mut self, at: usize, right: bool) {
        let insured = self.papers[at].order.insured.is_some();
        let offered = insured.then(|| paper::hash(if right { 1 } else { 2 }));
        self.tell(at, &Event::Authorised { offered });
    }

    fn notify(&mut self, at: usize) {
        if let Some(taken) = self.taken(at) {
            self.tell(at, &Event::WalletPaid(taken));
        }
    }

    fn notify_refund(&mut self, refund: RefundId) {
        let returned = self.wallet.returned_at(refund);
        let of = self.papers.iter().position(|paper| paper.refunds.iter().any(|known| known.id == refund));
        if let (Some(at), Some(success_time_us)) = (of, returned) {
            self.tell_refund(at, refund, &RefundEvent::CashReturned { success_time_us });
        }
    }

    fn claim(&mut self, bill: usize) {
        match self.holders[bill] {
            Some(at) => {
                self.tell(at, &Event::WindowClaimed);
            }
            None => self.withdrawn[bill] = true,
        }
    }

    fn ask_back(&mut self, at: usize, fen: Option<i64>) {
        let asked =
            RefundAsked { refund_no: None, amount: fen.map(Fen::new), replaced_by: None, reason: "退药".into() };
        self.tell(at, &Event::RefundAsked(asked));
    }

    /// A bill of what remains comes, and the institution asks for the exchange.
    fn replace(&mut self, at: usize) {
        let bill = self.holders.len();
        let facts = paper::bill(remaining(bill));
        self.holders.push(None);
        self.withdrawn.push(false);
        let remains = BilledFor {
            id: facts.id,
            bill_no: facts.bill_no,
            institution: facts.institution,
            merchant: paper::MERCHANT.to_owned(),
            amount: facts.amount,
            expires_at_us: facts.expires_at_us,
        };
        let asked =
            RefundAsked { refund_no: None, amount: None, replaced_by: Some(remains), reason: "退部分药".into() };
        self.tell(at, &Event::RefundAsked(asked));
    }

    /// Opens the order for what remains, unless its bill was taken back or the card was lost (journey/replace.rs).
    fn open_replacement(&mut self, from: usize, id: RefundId) {
        let paper = &self.papers[from];
        let Some(refund) = paper.refunds.iter().find(|refund| refund.id == id) else { return };
        if refund.state != RefundState::Replacing || self.replaced.iter().any(|(known, _)| *known == id) {
            return;
        }
        let remains = refund.replaced_by.clone().expect("the bill of what remains");
        let bill = (BILLS..self.holders.len())
            .find(|bill| paper::bill(remaining(*bill)).id == remains.id)
            .expect("a bill of this story");
        let (insured, authorisation) = (paper.order.insured.clone(), paper.order.authorisation.clone());
        let State::Completed { legs, .. } = &paper.order.state else { return };
        let carry = Carry {
            from: paper.order.id,
            refund: id,
            epoch: insured.expect("an insured order").epoch,
            authorisation: authorisation.expect("it was authorised"),
            cash: legs.cash.clone(),
        };
        let at = self.papers.len();
        let numbers = (at as u128 + 1, remaining(bill));
        let bound = (self.binding.clone(), self.can_ask_by_visit);
        let free = self.holders[bill].is_none() && !self.withdrawn[bill];
        match Paper::replace(numbers, carry, bound, RULES, self.now_us) {
            Ok((paper, decision)) if free => {
                self.replaced.push((id, at));
                self.opened(bill, paper, decision);
            }
            _ => self.tell_refund(from, id, &RefundEvent::NotCarried),
        }
    }

    fn opened(&mut self, bill: usize, paper: Paper, decision: Decision) {
        let at = self.papers.len();
        self.papers.push(paper);
        self.bill_of.push(bill);
        self.calls.push(0);
        self.holders[bill] = Some(at);
        self.plan(at, &decision);
        self.decided.push((at, decision));
    }

    /// The replaced order hears what is kept; what the replacement then knows of it.
    fn told_of_carry(&mut self, from: OrderId, refund: RefundId, event: &RefundEvent) -> Option<Fen> {
        let from = self.papers.iter().position(|paper| paper.order.id == from)?;
        self.tell_refund(from, refund, event);
        self.papers[from].refunds.iter().find(|known| known.id == refund)?.carried
    }

    fn lose(&mut self) {
        self.binding.epoch += 1;
        for at in 0..self.papers.len() {
            self.papers[at].binding = self.binding.clone();
            let over = matches!(self.papers[at].place(), Place::Completed | Place::Closed);
            if !over && self.papers[at].order.insured.is_some() {
                self.tell(at, &Event::BindingLost);
                let order = &self.papers[at].order;
                let heard = order.flagged || matches!(order.state, State::Closed { .. });
                if !heard {
                    self.faults.push(format!("order {at} did not hear of the loss in {:?}", order.state));
                }
            }
        }
    }

    // ——— the desk ———

    fn tell(&mut self, at: usize, event: &Event) {
        let mut after = self.papers[at].clone();
        let decided = after.event(event, self.now_us);
        self.take(at, after, decided, event.kind());
    }

    fn tell_refund(&mut self, at: usize, refund: RefundId, event: &RefundEvent) {
        let mut after = self.papers[at].clone();
        let decided = after.refund_event(refund, event, self.now_us);
        self.take(at, after, decided, event.kind());
    }

    /// What the desk does with a decision: claims first, then everything in one commit, or nothing.
    fn take(
        &mut self,
        at: usize,
        after: Paper,
        decided: Result<Decision, schema::refusal::Refusal>,
        event: &'static str,
    ) {
        let decision = match decided {
            Ok(decision) => decision,
            Err(refusal) if refusal.code == Code::Internal => {
                self.faults.push(format!("{event}: {}", refusal.detail));
                return;
            }
            Err(_) => return,
        };
        let holds = after.order.insured.is_some() && after.order.state.holds_person();
        match self.person {
            Some(other) if holds && other != at => {
                if !matches!(event, "authorised" | "resumed") {
                    self.faults.push(format!("{event} of order {at} was refused because {other} holds the person"));
                }
                return;
            }
            Some(holder) if !holds && holder == at => self.person = None,
            None if holds => self.person = Some(at),
            _ => {}
        }
        let bill = self.bill_of[at];
        if let State::Closed { why, returned } = &after.order.state
            && self.holders[bill] == Some(at)
        {
            self.holders[bill] = None;
            self.withdrawn[bill] = *why == Why::TakenByWindow || returned.is_some();
        }
        self.papers[at] = after;
        self.plan(at, &decision);
        self.decided.push((at, decision));
    }

    fn plan(&mut self, at: usize, decision: &Decision) {
        for planned in &decision.actions {
            self.numbers += 1;
            let (no, action, due_at_us) = (self.numbers, planned.action.clone(), planned.due_at_us);
            self.rows.push(Row { no, order: at, action, due_at_us, answer: None });
        }
    }

    // ——— the post ———

    fn row(&self, no: u64) -> Option<&Row> {
        self.rows.iter().find(|row| row.no == no)
    }

    fn perform(&mut self, no: u64, how: How) {
        let Some(row) = self.row(no).cloned() else { return };
        self.calls[row.order] += 1;
        let answer = self.call(&row, how);
        if let Some(row) = self.rows.iter_mut().find(|row| row.no == no) {
            row.answer = Some(answer);
        }
    }

    fn deliver(&mut self, no: u64) {
        let Some(at) = self.rows.iter().position(|row| row.no == no) else { return };
        let row = self.rows.remove(at);
        let held_by_another = self.person.is_some_and(|holder| holder != row.order);
        match row.answer {
            Some(Told::Order(Event::Resumed)) if held_by_another => {
                // The performer tries again while somebody else holds the person.
                let due_at_us = self.now_us + RULES.ask_again_ms * 1000;
                self.rows.push(Row { due_at_us, answer: None, ..row });
            }
            Some(Told::Replacement(refund)) => self.open_replacement(row.order, refund),
            Some(Told::Order(event)) => self.tell(row.order, &event),
            Some(Told::Refund(refund, event)) => self.tell_refund(row.order, refund, &event),
            Some(Told::Ripple) => {
                for other in (0..self.papers.len()).filter(|other| *other != row.order) {
                    if self.papers[other].place() == Place::Priced && self.papers[other].order.insured.is_some() {
                        self.tell(other, &Event::PriceStale);
                    }
                }
            }
            Some(Told::Nothing) | None => {}
        }
    }

    /// The performer died with the answer in its hands: whoever adopts the row asks, or repeats what may be repeated.
    fn die(&mut self, no: u64) {
        let Some(row) = self.rows.iter_mut().find(|row| row.no == no) else { return };
        row.answer = outside::unknown(&row.action);
        if row.answer.is_some() {
            self.deliver(no);
        }
    }

    fn late_numbers(&self) -> Vec<u64> {
        self.bureau.late.iter().chain(&self.wallet.late).map(|late| late.no).collect()
    }

    fn next_due(&self) -> Option<i64> {
        self.rows.iter().filter(|row| row.answer.is_none()).map(|row| row.due_at_us).min()
    }

    /// Time passes. A call that a party may still execute is executed by the party's own limit at the latest.
    fn pass_to(&mut self, now_us: i64) {
        while let Some(no) = self.bureau.late.iter().find(|late| late.by_us <= now_us).map(|late| late.no) {
            self.arrive(no);
        }
        self.now_us = now_us;
    }

    // ——— what must never happen ———

    fn look_around(&mut self) {
        let mut faults = Vec::new();
        for (at, paper) in self.papers.iter().enumerate() {
            let bill = self.holders[self.bill_of[at]] == Some(at);
            faults
                .extend(paper.broken(bill, self.person == Some(at)).into_iter().map(|it| format!("order {at}: {it}")));
            faults.extend(self.hangs(at));
            faults.extend(self.believes_wrongly(at));
            if self.calls[at] > CALLS {
                faults.push(format!("order {at} made {} calls", self.calls[at]));
            }
        }
        for bill in 0..self.holders.len() {
            let orders = (0..self.papers.len()).filter(|at| self.bill_of[*at] == bill);
            let live: usize = orders.map(|at| self.bureau.live_of(at).count()).sum();
            if live > 1 {
                faults.push(format!("bill {bill} is settled {live} times at the bureau"));
            }
        }
        self.faults.extend(faults);
    }

    /// Whoever waits has somebody to hear from.
    fn hangs(&self, at: usize) -> Option<String> {
        let paper = &self.papers[at];
        let asks = |row: &&Row| row.order == at && !outside::only_tells(&row.action);
        let waiting = self.rows.iter().filter(asks).count();
        // A refund that is being replaced hears of it from an order that is still under way.
        let replacing = |id: RefundId| {
            let order = self.replaced.iter().find(|(known, _)| *known == id).map(|(_, at)| &self.papers[*at].order);
            order.is_some_and(|order| order.carry.is_some())
        };
        let of_refund =
            |id: RefundId| self.rows.iter().any(|row| outside::refund_of(&row.action) == Some(id)) || replacing(id);
        let order_hangs = match &paper.order.state {
            State::Completed { .. } | State::Closed { .. } | State::Priced { .. } => false,
            // A person decides; nobody outside can say anything new.
            State::Suspended { from, why: Why::UndoRefused { .. }, .. } if from.place() == Place::Paid => false,
            State::Suspended { .. } => waiting == 0,
            _ => waiting == 0 || paper.order.deadline_at_us.is_none(),
        };
        if order_hangs {
            return Some(format!("order {at} waits for nobody in {:?}", paper.order.state));
        }
        let hanging = paper.refunds.iter().find(|refund| {
            !matches!(refund.state, RefundState::Done | RefundState::Refused { .. }) && !of_refund(refund.id)
        });
        hanging.map(|refund| format!("refund of order {at} waits for nobody in {:?}", refund.state))
    }

    /// What an order acts upon is true outside.
    fn believes_wrongly(&self, at: usize) -> Option<String> {
        let paper = &self.papers[at];
        // Carried cash is held where it came in.
        let untouched = paper.refunds.is_empty() && paper.order.carried_in.is_zero();
        let (needs_insurance, needs_cash) = match paper.place() {
            Place::Prepaying | Place::Collecting | Place::ClosingWallet => (true, false),
            Place::Paid | Place::Completed => (untouched, untouched),
            _ => (false, false),
        };
        let settled = paper.order.state.settled();
        if needs_insurance && settled.is_some_and(|settled| !self.bureau.is_live(&settled.setl_id)) {
            return Some(format!("order {at} takes an insurance leg for settled that is not"));
        }
        if needs_cash && paper.order.state.taken().is_some() && self.wallet.holds(at).is_zero() {
            return Some(format!("order {at} takes cash for paid that is not"));
        }
        None
    }

    // ——— the end ———

    /// One step towards the end of the story: everybody answers truthfully again, or nobody answers any more. Returns
    /// false once all is at rest, having noted whatever is not.
    pub(crate) fn come_to_rest(&mut self) -> bool {
        self.decided.clear();
        self.moves += 1;
        match self.rest {
            Rest::Story => {
                // Long enough for every deadline, and for one of the rare questions about what is suspended.
                self.rest = Rest::Until(self.now_us + SILENCE_US);
                true
            }
            Rest::Over => false,
            Rest::Until(end_us) => {
                if self.moves > STEPS {
                    self.faults.push("it never ends".into());
                    self.rest = Rest::Over;
                } else if !self.next_step(end_us) {
                    self.judge();
                    self.rest = Rest::Over;
                }
                self.look_around();
                true
            }
        }
    }

    fn next_step(&mut self, end_us: i64) -> bool {
        let how = if self.falls_silent { How::IsDeaf } else { How::Does };
        if let Some(no) = self.rows.iter().find(|row| row.answer.is_some()).map(|row| row.no) {
            self.deliver(no);
            return true;
        }
        if let Some(no) = self.late_numbers().first() {
            self.arrive(*no);
            return true;
        }
        if !self.falls_silent
            && let Some(at) = (0..self.papers.len()).find(|at| self.unheard(*at))
        {
            self.notify(at);
            return true;
        }
        if let Some(no) = self.rows.iter().find(|row| row.due_at_us <= self.now_us).map(|row| row.no) {
            self.perform(no, how);
            return true;
        }
        let deadlines =
            self.papers.iter().enumerate().filter_map(|(at, paper)| Some((paper.order.deadline_at_us?, at)));
        let deadline = deadlines.min();
        let next_us = [self.next_due(), deadline.map(|(at_us, _)| at_us)].into_iter().flatten().min();
        match next_us {
            Some(next_us) if next_us <= end_us => {
                self.pass_to(next_us.max(self.now_us));
                if let Some((_, at)) = deadline.filter(|(at_us, _)| *at_us <= self.now_us) {
                    self.tell(at, &Event::DeadlinePassed);
                }
                true
            }
            _ => false,
        }
    }

    /// A payment that the order does not know of: sooner or later the wallet's notice comes through.
    fn unheard(&self, at: usize) -> bool {
        let Some(taken) = self.taken(at) else { return false };
        let order = &self.papers[at].order;
        let returned = match &order.state {
            State::Closed { returned: Some(legs), .. } => legs.cash.as_ref(),
            _ => None,
        };
        order.state.taken().or(returned).is_none() && !order.strays.contains(&taken.transaction_id)
    }

    fn taken(&self, at: usize) -> Option<Taken> {
        let order = &self.papers[at].order;
        let (number, amount, success_time_us) = self.wallet.taken(at)?;
        Some(Taken {
            out_trade_no: platform::domain::order::out_trade_no(order.id),
            transaction_id: format!("T{number}"),
            amount,
            paid: amount,
            success_time_us,
        })
    }

    fn judge(&mut self) {
        let mut faults = Vec::new();
        for (at, paper) in self.papers.iter().enumerate() {
            let ended = match &paper.order.state {
                State::Completed { .. } | State::Closed { .. } => true,
                State::Suspended { why, .. } => match why {
                    Why::UndoRefused { .. } => true,
                    Why::RefundStuck => for_a_person(paper) || self.falls_silent,
                    _ => self.falls_silent,
                },
                _ => false,
            };
            if !ended {
                faults.push(format!("order {at} has not ended: {:?}", paper.order.state));
            }
            // A suspended refund ends by itself once everybody answers, unless the wallet will not make it.
            let open = paper.refunds.iter().find(|refund| match refund.state {
                RefundState::Done | RefundState::Refused { .. } => false,
                RefundState::Suspended { .. } => !self.wallet.is_abnormal(refund.id),
                _ => true,
            });
            if let Some(refund) = open.filter(|_| !self.falls_silent) {
                faults.push(format!("a refund of order {at} has not ended: {:?}", refund.state));
            }
            let closed = paper.place() == Place::Closed;
            if !self.falls_silent && closed && self.hospital.believes_paid(at) {
                faults.push(format!("the hospital takes order {at} for paid"));
            }
            if paper.place() == Place::Completed && !self.hospital.booked(at) {
                faults.push(format!("the hospital has not booked order {at}"));
            }
        }
        if !self.falls_silent && self.person.is_some() {
            faults.push("the person is held for ever".into());
        }
        self.faults.extend(faults);
    }

    /// What the bureau owes for an order, by its own records.
    pub(crate) fn bureau_owes(&self, at: usize) -> Fen {
        let live = self.bureau.live_of(at).map(|settled| settled.split.insurance().expect("small amounts"));
        Fen::sum(live).expect("small amounts")
    }

    /// Stray cash that the wallet would not give back: a person makes it good.
    pub(crate) fn stray_left(&self, at: usize) -> Fen {
        let strays = self.papers[at]
            .refunds
            .iter()
            .filter(|refund| refund.kind == RefundKind::Stray && matches!(refund.state, RefundState::Suspended { .. }));
        Fen::sum(strays.map(|refund| refund.amount)).expect("small amounts")
    }

    /// Cash that came over from the replaced order, less what went over to the replacement.
    pub(crate) fn carried(&self, at: usize) -> Fen {
        let paper = &self.papers[at];
        let out = paper.refunds.iter().filter_map(|refund| refund.carried).map(Fen::negated);
        Fen::sum(out.chain([paper.order.carried_in])).expect("small amounts")
    }

    /// What the wallet holds for an order, by its own records.
    pub(crate) fn wallet_holds(&self, at: usize) -> Fen {
        self.wallet.holds(at)
    }

    /// Keeps a call on its way if it is to arrive late.
    fn late(&mut self, how: How, late: Late) {
        match &late.what {
            _ if how != How::HearsLate => {}
            Call::Settle(..) | Call::Undo(_) => self.bureau.late.push(late),
            Call::Prepay(_) | Call::Return(..) => self.wallet.late.push(late),
        }
    }
}

/// The number of the bill of what remains that lies at this place.
const fn remaining(bill: usize) -> u128 {
    paper::FIRST_REMAINING + bill as u128
}

/// A refund of this order that the wallet would not make.
fn for_a_person(paper: &Paper) -> bool {
    paper.refunds.iter().any(|refund| matches!(refund.state, RefundState::Suspended { .. }))
}

/// What may become of a call, and how likely.
fn hows(action: &Action) -> &'static [(usize, How)] {
    use How::{Differs, Does, DoesAndIsNotHeard, HearsLate, IsBusy, IsDeaf, Refuses, Shifts};
    match action {
        Action::Price { .. } => &[(20, Does), (1, IsDeaf), (1, Refuses), (1, Differs)],
        Action::Settle { .. } => &[
            (12, Does),
            (2, DoesAndIsNotHeard),
            (2, IsDeaf),
            (2, HearsLate),
            (1, Refuses),
            (2, IsBusy),
            (2, Differs),
            (1, Shifts),
        ],
        Action::Undo { .. } => {
            &[(6, Does), (2, DoesAndIsNotHeard), (2, IsDeaf), (2, HearsLate), (2, Refuses), (1, IsBusy)]
        }
        Action::Reverse { .. } => &[(6, Does), (2, DoesAndIsNotHeard), (2, IsDeaf)],
        Action::Prepay { .. } => {
            &[(10, Does), (2, DoesAndIsNotHeard), (2, IsDeaf), (2, HearsLate), (1, Refuses), (1, IsBusy)]
        }
        Action::CloseWallet { .. } => &[(6, Does), (2, DoesAndIsNotHeard), (2, IsDeaf)],
        Action::ReturnCash { .. } => {
            &[(6, Does), (2, DoesAndIsNotHeard), (2, IsDeaf), (2, HearsLate), (2, Refuses), (1, IsBusy), (1, Differs)]
        }
        Action::Tell { .. } => &[(6, Does), (2, DoesAndIsNotHeard), (2, IsDeaf), (2, Refuses)],
        Action::AskSettle { .. }
        | Action::AskUndo { .. }
        | Action::AskWallet { .. }
        | Action::AskReturn { .. }
        | Action::AskTell { .. } => &[(6, Does), (1, IsDeaf)],
        Action::Release { .. }
        | Action::TellUndone { .. }
        | Action::Sms { .. }
        | Action::Ripple { .. }
        | Action::SettleDue
        | Action::Replace { .. }
        | Action::Resume
        | Action::Carry { .. }
        | Action::NotCarried { .. } => &[(4, Does)],
    }
}
