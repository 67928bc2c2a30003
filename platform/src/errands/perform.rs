//! Makes the calls that actions stand for. Each institution and each bureau has its own bound on calls under way, so
//! a slow one delays only its own orders. While this process's lease does not hold, nothing is sent ([`Lease`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schema::ids::{InstitutionCode, TenantId};
use schema::refusal::Refusal;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Span};

use super::lease::Lease;
use crate::domain::action::Action;
use crate::domain::order::Order;
use crate::journey::Ground;
use crate::journey::desk::decided;
use crate::journey::perform::{answer, perform, unknown};
use crate::store::{DueAction, NewAction};

/// Performs actions in tasks of their own.
pub struct Performer {
    ground: Arc<Ground>,
    lease: Lease,
    bounds: Mutex<HashMap<Party, Arc<Semaphore>>>,
    calls: Mutex<JoinSet<()>>,
}

/// Whom an action calls, as far as back-pressure goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Party {
    Bureau(TenantId),
    Wallet(TenantId),
    Sms(TenantId),
    Institution(TenantId, InstitutionCode),
    Nobody,
}

impl Performer {
    /// A performer on this ground. It sends nothing before the lease was renewed ([`super::adopt`]).
    pub fn new(ground: Arc<Ground>) -> Arc<Performer> {
        let ground = Arc::new(ground.patient());
        let lease = Lease::new(Arc::clone(&ground.clock));
        Arc::new(Performer { ground, lease, bounds: Mutex::default(), calls: Mutex::default() })
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Starts one action that this process has marked as its own; `order` as the commit that did so left it, `since`
    /// the steady reading before that commit.
    pub fn start(self: &Arc<Self>, due: DueAction, order: Option<Arc<Order>>, since: Duration) {
        let (performer, span) = (Arc::clone(self), span(&due));
        self.spawn(async move { performer.run(due, order, since).await }.instrument(span));
    }

    /// Takes over an action of a dead process: it may have happened, so it is asked about and never sent again.
    pub fn adopt(self: &Arc<Self>, due: DueAction, since: Duration) {
        let (performer, span) = (Arc::clone(self), span(&due));
        let instead = async move {
            if unknown(&due).is_some() {
                performer.ask_instead(&due, since).await;
            } else {
                performer.run(due, None, since).await;
            }
        };
        self.spawn(instead.instrument(span));
    }

    /// Waits until the calls under way have been answered, at most `patience`. What is left then is dropped where it
    /// stands; whoever adopts it asks.
    pub async fn finish(&self, patience: Duration) {
        let mut calls = std::mem::take(&mut *self.calls());
        let all = async { while calls.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("calls were still under way at the end: they will be asked about");
        }
    }

    /// Drops every call where it stands, as a crash would.
    pub fn abandon(&self) {
        self.calls().abort_all();
    }

    fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        let mut calls = self.calls();
        while calls.try_join_next().is_some() {}
        calls.spawn(call);
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, due: DueAction, order: Option<Arc<Order>>, since: Duration) {
        match self.call(&due, order, since).await {
            Some(Err(refusal)) if decided(&refusal) => {
                tracing::debug!(%refusal, "late answer");
            }
            Some(Err(refusal)) => {
                tracing::warn!(%refusal, "not answered");
                self.ask_instead(&due, since).await;
            }
            Some(Ok(())) | None => {}
        }
    }

    /// Makes the call when its party has room and the lease holds; `None` if it is no longer ours to make.
    async fn call(&self, due: &DueAction, order: Option<Arc<Order>>, since: Duration) -> Option<Result<(), Refusal>> {
        let bound = self.bound(due);
        let at_once = bound.try_acquire();
        // While this one waits the order may move on, so it is read again.
        let order = order.filter(|_| at_once.is_ok());
        let _permit = match at_once {
            Ok(permit) => Ok(permit),
            Err(_) => bound.acquire().await,
        };
        let called = self.lease.while_held(&self.ground, due, since, perform(&self.ground, due, order)).await;
        if called.is_none() {
            tracing::warn!("is another process's now");
        }
        called
    }

    /// The call may have been made but its answer was not decided: what the desk hears instead is "unknown", or the
    /// same harmless question again, until it decides.
    async fn ask_instead(&self, due: &DueAction, since: Duration) {
        let wait = Duration::from_millis(u64::try_from(self.ground.settings.deadlines.ask_again_ms).unwrap_or(1000));
        loop {
            let outcome = match unknown(due) {
                Some(what) => Some(answer(&self.ground, due, what).await),
                None => {
                    tokio::time::sleep(wait).await;
                    self.call(due, None, since).await
                }
            };
            match outcome {
                None | Some(Ok(())) => return,
                Some(Err(refusal)) if decided(&refusal) => return,
                Some(Err(refusal)) => {
                    tracing::warn!(%refusal, "again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn bound(&self, due: &DueAction) -> Arc<Semaphore> {
        let limits = &self.ground.settings.limits;
        let party = party(due);
        let most = match party {
            Party::Bureau(_) => limits.bureau_calls,
            Party::Wallet(_) | Party::Sms(_) => limits.bureau_calls * 4,
            Party::Institution(..) => limits.institution_calls,
            Party::Nobody => Semaphore::MAX_PERMITS,
        };
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bounds.entry(party).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }
}

/// What every line about an action says: whose payment it belongs to, and which step of it.
fn span(due: &DueAction) -> Span {
    let NewAction { order, action, trace_id, .. } = &due.action;
    tracing::info_span!("action", trace_id, %order, action = action.kind())
}

fn party(due: &DueAction) -> Party {
    let tenant = due.tenant;
    match &due.action.action {
        Action::Settle { .. }
        | Action::Reverse { .. }
        | Action::AskSettle { .. }
        | Action::Undo { .. }
        | Action::AskUndo { .. } => Party::Bureau(tenant),
        Action::Prepay { .. }
        | Action::AskWallet { .. }
        | Action::CloseWallet { .. }
        | Action::ReturnCash { .. }
        | Action::AskReturn { .. } => Party::Wallet(tenant),
        Action::Sms { .. } => Party::Sms(tenant),
        Action::Price { .. }
        | Action::Release { .. }
        | Action::Tell { .. }
        | Action::AskTell { .. }
        | Action::TellUndone { .. } => Party::Institution(tenant, due.institution.clone()),
        Action::Ripple { .. }
        | Action::SettleDue
        | Action::Replace { .. }
        | Action::Resume
        | Action::Carry { .. }
        | Action::NotCarried { .. } => Party::Nobody,
    }
}
