//! Performs one action: makes the call and brings its answer back to the desk as an event.
//!
//! What each action does stands in the file of its step; this is only the list. An adopted action of a dead process is
//! not performed: [`unknown`] says which event stands for "we do not know", and the table asks.

use std::sync::Arc;
use std::time::Duration;

use schema::ids::EventId;
use schema::refusal::{Code, Refusal};

use super::desk::{Command, Outcome, What};
use super::job::Job;
use super::{Ground, collect, people, price, refund, replace, settle, tell};
use crate::domain::action::Action;
use crate::domain::order::{Event, Order};
use crate::domain::refund::RefundEvent;
use crate::store::DueAction;

/// Performs the action and tells the desk. Returns the desk's refusal of the answer, for the log; whatever happens,
/// the row stays until an answer was decided. `known` is the order as the commit that started the action left it;
/// without it the order is read.
pub async fn perform(ground: &Ground, due: &DueAction, known: Option<Arc<Order>>) -> Result<(), Refusal> {
    // A tenant that this process does not serve yet is no decision: the action stays alive.
    let tenant = ground.tenants.get(due.tenant).map_err(|no| Refusal::new(Code::Overloaded, no.to_string()))?;
    let order = match known {
        Some(order) => order,
        None => stored(ground, due).await?,
    };
    let job = Job { ground, tenant: &tenant, order: &order, row: &due.action, attempts: due.attempts };
    let what = match &due.action.action {
        Action::Price { message } => price::ask(&job, *message).await?,
        Action::Release { message } => price::release(&job, *message).await?,
        Action::Settle { msgid } => settle::settle(&job, msgid).await?,
        Action::SettleDue => job.event(Event::SettleDue),
        Action::Reverse { omsgid, msgid } => settle::reverse(&job, omsgid, msgid).await?,
        Action::AskSettle { omsgid } => settle::ask(&job, omsgid).await?,
        Action::Undo { msgid, setl_id, refund } => settle::undo(&job, msgid, setl_id, *refund).await?,
        Action::AskUndo { setl_id, refund } => settle::ask_undo(&job, setl_id, *refund).await?,
        Action::Prepay { out_trade_no, amount, expires_at_us } => {
            collect::prepay(&job, out_trade_no, *amount, *expires_at_us).await?
        }
        Action::AskWallet { out_trade_no } => collect::ask(&job, out_trade_no).await,
        Action::CloseWallet { out_trade_no } => collect::close(&job, out_trade_no).await,
        Action::ReturnCash { refund } => refund::return_cash(&job, *refund).await?,
        Action::AskReturn { refund } => refund::ask(&job, *refund).await,
        Action::Tell { message } => tell::tell(&job, *message).await?,
        Action::AskTell { message, .. } => tell::ask(&job, *message).await?,
        Action::TellUndone { message, undo_setl_id, cash, carried, whole } => {
            tell::undone(&job, *message, undo_setl_id.as_deref(), (*cash, *carried), *whole).await
        }
        Action::Replace { refund } => replace::open(&job, *refund).await?,
        Action::Resume => replace::resume(&job).await,
        Action::Carry { from, refund, cash } => replace::carry(&job, *from, *refund, *cash).await?,
        Action::NotCarried { from, refund } => replace::let_go(&job, *from, *refund).await?,
        Action::Sms { news, amount } => people::tell_of_money(&job, *news, *amount).await?,
        Action::Ripple { person, except } => price::ripple(&job, *person, *except).await?,
    };
    answer(ground, due, what).await
}

async fn stored(ground: &Ground, due: &DueAction) -> Result<Arc<Order>, Refusal> {
    let (tenant, id) = (due.tenant, due.action.order);
    let order = ground.read(move |store| store.order(tenant, id)).await?;
    order.map(Arc::new).ok_or_else(|| Refusal::new(Code::Internal, format!("action of a missing order {id}")))
}

/// Tells the desk what came of an action. An answer in hand is worth more than asking anew, so while the desk cannot
/// write it is told again; a repeat of what was written is harmless, because the action is answered then.
pub async fn answer(ground: &Ground, due: &DueAction, what: What) -> Result<(), Refusal> {
    let wait = Duration::from_millis(u64::try_from(ground.settings.deadlines.ask_again_ms).unwrap_or(1000));
    let command = Command {
        tenant: due.tenant,
        event_id: EventId::from_uuid(ground.clock.fresh()),
        what,
        answers: Some(due.action.id),
        key: None,
        trace_id: due.action.trace_id.clone(),
    };
    loop {
        match ground.desk.tell(command.clone()).await {
            Outcome::Refused(refusal) if matches!(refusal.code, Code::Overloaded | Code::OutcomeUnknown) => {
                tracing::warn!(%refusal, "the answer is told again");
                tokio::time::sleep(wait).await;
            }
            Outcome::Refused(refusal) => return Err(refusal),
            _ => return Ok(()),
        }
    }
}

/// What an action of a dead process means: it may have happened. `None` for actions that may simply be repeated,
/// because they ask, or carry an id under which a repeat is harmless.
pub fn unknown(due: &DueAction) -> Option<What> {
    let order = due.action.order;
    let event = |event| Some(What::Order(order, event));
    match &due.action.action {
        Action::Price { message } => event(Event::PriceUnknown { message: *message }),
        Action::Settle { .. } => event(Event::SettleUnknown),
        Action::Reverse { .. } => event(Event::ReverseUnknown),
        Action::Undo { refund: Some(refund), .. } => Some(What::Refund(order, *refund, RefundEvent::UndoUnknown)),
        Action::Undo { refund: None, .. } => event(Event::UndoUnknown),
        Action::Prepay { .. } => event(Event::PrepayUnknown),
        Action::ReturnCash { refund } => Some(What::Refund(order, *refund, RefundEvent::CashUnknown)),
        Action::Tell { .. } => event(Event::TellUnknown),
        Action::AskSettle { .. }
        | Action::SettleDue
        | Action::Replace { .. }
        | Action::Resume
        | Action::Carry { .. }
        | Action::NotCarried { .. }
        | Action::AskUndo { .. }
        | Action::AskWallet { .. }
        | Action::CloseWallet { .. }
        | Action::AskReturn { .. }
        | Action::AskTell { .. }
        | Action::Release { .. }
        | Action::TellUndone { .. }
        | Action::Sms { .. }
        | Action::Ripple { .. } => None,
    }
}
