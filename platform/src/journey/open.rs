//! A payer opens an order for a bill; its undo: cancel.

use schema::ids::{ChannelUserId, EventId, OrderId};
use schema::mobile::{Mode, OrderAsk};
use schema::refusal::{Code, Refusal};

use super::bills::Stands;
use super::desk::{Command, Outcome, What};
use super::{Ground, Tenant, bills, view};
use crate::domain::binding::LEVEL_INSURED;
use crate::domain::order::{Event, Order};
use crate::store::CallerKey;

/// Opens an order. Refuses a bill of nobody bound to this login, one that cannot be paid or is being paid, and insured
/// money under a binding that may not spend it. Answers the order as decided, as JSON.
pub async fn open(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    ask: &OrderAsk,
    key: CallerKey,
    trace_id: Option<String>,
) -> Result<Vec<u8>, Refusal> {
    match opening(ground, tenant, user, ask).await {
        Ok(what) => {
            let command = Command {
                tenant: tenant.id,
                event_id: EventId::from_uuid(ground.clock.fresh()),
                what,
                answers: None,
                key: Some((key, view::render())),
                trace_id,
            };
            answered(ground.desk.ask(command).await)
        }
        Err(refusal) => ground.unless_answered(tenant.id, &key, refusal).await,
    }
}

async fn opening(ground: &Ground, tenant: &Tenant, user: ChannelUserId, ask: &OrderAsk) -> Result<What, Refusal> {
    let Stands { stated, institution, bindings } = bills::to_be_paid(ground, tenant, user, ask.bill_id).await?;
    let insured = match ask.mode {
        Mode::CashOnly => None,
        Mode::Insured => {
            let binding = bindings
                .into_iter()
                .filter(|binding| binding.certno == stated.patient)
                .max_by_key(|binding| (binding.facts.level, binding.created_at_us))
                .ok_or_else(|| Refusal::new(Code::BindingUnknown, "nobody is bound for this patient"))?;
            if binding.facts.level < LEVEL_INSURED {
                return Err(Refusal::new(Code::BindingLevelTooLow, "the binding is at level 1"));
            }
            Some((binding.facts.id, ask.use_account))
        }
    };
    Ok(What::Open {
        order: OrderId::from_uuid(ground.clock.fresh()),
        bill: ask.bill_id,
        payer: user,
        merchant: institution.merchant,
        insured,
        carry: None,
    })
}

/// The payer cancels. The answer is the order as decided, as JSON.
///
/// Created and Priced close at once, and so does a Settling whose bureau is busy; Prepaying and Collecting close the
/// wallet order and undo the insurance leg first. Refuses with OrderUnknown (another login's), and with NotNow
/// everywhere else (2207 is out, the order is paid, or is being undone): nothing changes then.
pub async fn cancel(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    order: OrderId,
    key: CallerKey,
    trace_id: Option<String>,
) -> Result<Vec<u8>, Refusal> {
    own(ground, tenant, user, order).await?;
    let command = Command {
        tenant: tenant.id,
        event_id: EventId::from_uuid(ground.clock.fresh()),
        what: What::Order(order, Event::Cancelled),
        answers: None,
        key: Some((key, view::render())),
        trace_id,
    };
    answered(ground.desk.ask(command).await)
}

/// An order of this payer. Refuses others' as unknown.
pub async fn own(ground: &Ground, tenant: &Tenant, user: ChannelUserId, id: OrderId) -> Result<Order, Refusal> {
    let tenant_id = tenant.id;
    let order = ground.read(move |store| store.order(tenant_id, id)).await?;
    order
        .filter(|order| order.payer == user)
        .ok_or_else(|| Refusal::new(Code::OrderUnknown, "no such order for this login"))
}

/// The bytes of an answer, first or repeated.
pub fn answered(outcome: Outcome) -> Result<Vec<u8>, Refusal> {
    match outcome {
        Outcome::Answer(bytes) | Outcome::Repeated(bytes) => Ok(bytes),
        Outcome::Refused(refusal) => Err(refusal),
        other => Err(Refusal::new(Code::Internal, format!("the desk answered {other:?}"))),
    }
}
