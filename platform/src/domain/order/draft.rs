//! A decision in the making, and what every handler needs to write one.

use schema::money::{Fen, Overflow};
use schema::refusal::{Code as No, Refusal};

use super::event::Event;
use super::facts::{Carry, Order};
use super::state::{Owner, Place, State, Why};
use super::{Decision, Given};
use crate::domain::action::{Action, News, Planned};
use crate::domain::deadline::Rules;
use crate::domain::posting::Posting;
use crate::domain::refusal::beyond_money;

/// A decision in the making: keeps clock, version and deadline right in one place.
pub(super) struct Draft<'a> {
    pub(super) decision: Decision,
    pub(super) given: &'a Given<'a>,
    came_from: &'static str,
}

impl<'a> Draft<'a> {
    pub(super) fn of(order: &Order, given: &'a Given<'a>) -> Draft<'a> {
        let decision = Decision { next: order.clone(), postings: Vec::new(), actions: Vec::new(), refund: None };
        Draft { decision, given, came_from: order.state.place().word() }
    }

    pub(super) fn to(mut self, state: State) -> Self {
        self.decision.next.state = state;
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Order)) -> Self {
        change(&mut self.decision.next);
        self
    }

    pub(super) fn now(self, action: Action) -> Self {
        self.later(0, action)
    }

    /// Asks again, the more seldom the longer the state has lasted.
    pub(super) fn again(self, action: Action) -> Self {
        let wait_ms = self.given.rules.ask_again_after_ms(self.decision.next.entered_at_us, self.given.now_us);
        self.later(wait_ms, action)
    }

    pub(super) fn later(mut self, ms: i64, action: Action) -> Self {
        let due_at_us = Rules::in_ms(self.given.now_us, ms);
        self.decision.actions.push(Planned { action, due_at_us });
        self
    }

    pub(super) fn post(mut self, lines: Result<Vec<Posting>, Overflow>) -> Result<Self, Refusal> {
        self.decision.postings.extend(lines.map_err(beyond_money)?);
        Ok(self)
    }

    pub(super) fn sms(self, news: News, amount: Fen) -> Self {
        self.now(Action::Sms { news, amount })
    }

    pub(super) fn ripple(self) -> Self {
        let except = self.decision.next.id;
        match self.decision.next.insured.as_ref().map(|insured| insured.person) {
            Some(person) => self.now(Action::Ripple { person, except }),
            None => self,
        }
    }

    pub(super) fn release(self) -> Self {
        let message = self.given.message;
        self.now(Action::Release { message })
    }

    pub(super) fn decide(mut self) -> Result<Decision, Refusal> {
        let now_us = self.given.now_us;
        let next = &mut self.decision.next;
        let entered = next.state.place().word();
        if entered != self.came_from || next.version == 0 {
            next.entered_at_us = now_us;
        }
        // Whichever way a replacement ends before it used what was offered, the replaced order hears of it.
        if next.state.place() == Place::Closed
            && let Some(carry) = next.carry.take()
        {
            self.decision.actions.push(not_carried(&carry, now_us));
        }
        let next = &mut self.decision.next;
        next.version += 1;
        next.updated_at_us = now_us;
        next.deadline_at_us = deadline(next, self.given.rules);
        Ok(self.decision)
    }
}

/// When the state's time is over. Every waiting state has an end, so nothing waits unseen.
pub(super) fn deadline(order: &Order, rules: &Rules) -> Option<i64> {
    let after = |ms: i64| Some(Rules::in_ms(order.entered_at_us, ms));
    match order.state.place() {
        Place::Created => after(rules.price_ms),
        Place::Priced => order.price.as_ref().map(|price| price.valid_until_us),
        Place::Settling | Place::Doubting | Place::Proving => after(rules.patience_ms),
        Place::Prepaying | Place::Collecting => after(rules.collect_ms),
        Place::Carrying => after(rules.patience_ms),
        Place::Paid => after(rules.tell_ms),
        Place::ClosingWallet | Place::UndoingInsurance | Place::AskingUndo => after(rules.patience_ms),
        Place::Returning => after(rules.refund_ms),
        Place::Completed | Place::Suspended | Place::Closed => None,
    }
}

/// The pair is in the table but the state lacks the data: cannot happen, and must not panic over money.
pub(super) fn inconsistent(order: &Order, event: &Event) -> Refusal {
    Refusal::new(No::Internal, format!("{} has no data for {}", order.state.place().word(), event.kind()))
}

pub(super) fn not_carried(carry: &Carry, now_us: i64) -> Planned {
    Planned { action: Action::NotCarried { from: carry.from, refund: carry.refund }, due_at_us: now_us }
}

pub(super) fn closed(why: Why) -> State {
    State::Closed { why, returned: None }
}

pub(super) fn not_early(order: &Order, given: &Given<'_>) -> Result<(), Refusal> {
    match order.deadline_at_us {
        Some(deadline) if given.now_us >= deadline => Ok(()),
        _ => Err(Refusal::new(No::NotNow, "the deadline has not passed")),
    }
}

pub(super) fn suspend<'a>(draft: Draft<'a>, from: State, why: Why, owner: Owner) -> Draft<'a> {
    draft.to(State::Suspended { from: Box::new(from), why, owner })
}
