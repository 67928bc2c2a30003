//! Makes the calls that actions stand for. Each institution and each bureau has its own bound on calls under way, so
//! a slow one delays only its own orders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schema::ids::TenantId;
use schema::refusal::{Code, Refusal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::domain::action::Action;
use crate::journey::Ground;
use crate::journey::perform::{answer, perform, unknown};
use crate::store::DueAction;

/// Performs actions in tasks of their own.
pub struct Performer {
    ground: Arc<Ground>,
    bounds: Mutex<HashMap<Party, Arc<Semaphore>>>,
    calls: Mutex<JoinSet<()>>,
}

/// Whom an action calls, as far as back-pressure goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Party {
    Bureau(TenantId),
    Wallet(TenantId),
    Sms(TenantId),
    /// An institution's bound is its link's own queue.
    Institution,
    Nobody,
}

impl Performer {
    /// A performer on this ground.
    pub fn new(ground: Arc<Ground>) -> Arc<Performer> {
        Arc::new(Performer { ground, bounds: Mutex::default(), calls: Mutex::default() })
    }

    /// Starts one action that this process has marked as its own.
    pub fn start(self: &Arc<Self>, due: DueAction) {
        let performer = Arc::clone(self);
        self.spawn(async move { performer.run(due).await });
    }

    /// Takes over an action of a dead process: it may have happened, so it is asked about and never sent again.
    pub fn adopt(self: &Arc<Self>, due: DueAction) {
        let performer = Arc::clone(self);
        self.spawn(async move {
            if unknown(&due).is_some() {
                performer.ask_instead(&due).await;
            } else {
                performer.run(due).await;
            }
        });
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

    async fn run(&self, due: DueAction) {
        let bound = self.bound(&due);
        let permit = bound.acquire().await;
        let outcome = perform(&self.ground, &due).await;
        drop(permit);
        if let Err(refusal) = outcome {
            if decided(&refusal) {
                tracing::debug!(action = due.action.action.kind(), order = %due.action.order, %refusal, "late answer");
            } else {
                tracing::warn!(action = due.action.action.kind(), order = %due.action.order, %refusal, "not answered");
                self.ask_instead(&due).await;
            }
        }
    }

    /// The call may have been made but its answer was not decided: what the desk hears instead is "unknown", or the
    /// same harmless question again, until it decides.
    async fn ask_instead(&self, due: &DueAction) {
        let wait = Duration::from_millis(u64::try_from(self.ground.settings.deadlines.ask_again_ms).unwrap_or(1000));
        loop {
            let outcome = match unknown(due) {
                Some(what) => answer(&self.ground, due, what).await,
                None => {
                    tokio::time::sleep(wait).await;
                    perform(&self.ground, due).await
                }
            };
            match outcome {
                Ok(()) => return,
                Err(refusal) if decided(&refusal) => return,
                Err(refusal) => {
                    tracing::warn!(action = due.action.action.kind(), order = %due.action.order, %refusal, "again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn bound(&self, due: &DueAction) -> Arc<Semaphore> {
        let limits = &self.ground.settings.limits;
        let party = party(due.tenant, &due.action.action);
        let most = match party {
            Party::Bureau(_) => limits.bureau_calls,
            Party::Wallet(_) | Party::Sms(_) => limits.bureau_calls * 4,
            Party::Institution | Party::Nobody => Semaphore::MAX_PERMITS,
        };
        let mut bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bounds.entry(party).or_insert_with(|| Arc::new(Semaphore::new(most))))
    }
}

fn party(tenant: TenantId, action: &Action) -> Party {
    match action {
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
        | Action::TellUndone { .. } => Party::Institution,
        Action::Ripple { .. }
        | Action::SettleDue
        | Action::Replace { .. }
        | Action::Resume
        | Action::Carry { .. }
        | Action::NotCarried { .. } => Party::Nobody,
    }
}

/// The desk has decided (and closed the action) unless it could not write.
fn decided(refusal: &Refusal) -> bool {
    !matches!(refusal.code, Code::Overloaded | Code::OutcomeUnknown | Code::Internal)
}
