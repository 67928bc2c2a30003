//! What an action's step has at hand while it is performed.

use super::desk::What;
use super::{Ground, Tenant};
use crate::domain::order::{Event, Order};
use crate::store::NewAction;

/// One action under way.
pub struct Job<'a> {
    /// The ground.
    pub ground: &'a Ground,
    /// The tenant.
    pub tenant: &'a Tenant,
    /// The order as it was committed with the action, or as it is stored now.
    pub order: &'a Order,
    /// The action's row.
    pub row: &'a NewAction,
    /// How often it was postponed.
    pub attempts: i64,
}

impl Job<'_> {
    /// Something about the order happened.
    pub fn event(&self, event: Event) -> What {
        What::Order(self.order.id, event)
    }

    /// Tries the same row again, later and later.
    pub fn again(&self) -> What {
        let wait_ms = self.ground.settings.deadlines.ask_again_ms << self.attempts.clamp(0, 6);
        What::Postpone(self.ground.clock.now_us() + wait_ms.min(300_000) * 1000)
    }
}
