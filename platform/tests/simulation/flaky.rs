//! A store whose commits are sometimes unknown: half of them landed, half did not, and sometimes nobody can say which.

use std::sync::Arc;

use platform::clock::Clock as _;
use platform::store::{Commit, Decide, DeskStore, Store, StoreError, Want};
use schema::ids::{EventId, TenantId};

use crate::clock::SimClock;

pub struct Flaky {
    pub store: Arc<dyn Store>,
    pub clock: Arc<SimClock>,
    /// Unknown commits in a hundred.
    pub share: u32,
    /// Readings back that fail, in a hundred.
    pub unread: u32,
}

impl DeskStore for Flaky {
    fn transact(&self, wants: &[Want], decide: Decide<'_>) -> Commit {
        let unknown = || Commit::Unknown(StoreError::Unavailable("the connection broke during the commit".into()));
        if !self.clock.percent(self.share) {
            return self.store.transact(wants, decide);
        }
        if self.clock.below(2) == 0 {
            return unknown();
        }
        match self.store.transact(wants, decide) {
            Commit::Committed(_) => unknown(),
            other => other,
        }
    }

    fn landed(&self, tenant: TenantId, events: &[EventId]) -> Result<bool, StoreError> {
        if self.clock.percent(self.unread) {
            return Err(StoreError::Unavailable("no connection to read back on".into()));
        }
        self.store.landed(tenant, events)
    }
}
