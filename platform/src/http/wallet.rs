//! What the wallet tells by itself. A notice is believed because of its signature alone; the address only says whose
//! key to check it with.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schema::ids::{EventId, OrderId, TenantId};
use schema::refusal::{Code, Refusal};

use super::Shared;
use super::answer::{Answer, to_its_end};
use super::caller::{body, headers, id};
use super::trace::Trace;
use crate::domain::order::Event;
use crate::journey::desk::{self, Command, Outcome, What};
use crate::journey::{Ground, collect, refund};
use crate::parties::wallet::{NotBelieved, Notice, RefundState};

/// 204 once decided, or decided before; 401 for what the wallet did not sign; 5xx only where the desk could not
/// decide, so that the wallet repeats it.
pub(super) async fn notify(
    shared: Data<Shared>,
    request: HttpRequest,
    tenant: Path<String>,
    payload: Payload,
    trace: Trace,
) -> Answer {
    let ground = &shared.ground;
    let tenant = ground.tenants.get(id::<TenantId>(&tenant, Code::NotFound)?)?;
    let bytes = body(&request, payload.into_inner()).await?;
    let notice = tenant.wallet.open_notice(&headers(&request), &bytes).map_err(|error| match error {
        NotBelieved::Signature => Refusal::new(Code::SignatureWrong, "a wallet notice is not signed by the wallet"),
        NotBelieved::Malformed(why) => Refusal::new(Code::Malformed, why),
    })?;
    let ground = Arc::clone(ground);
    to_its_end(async move { act(&ground, tenant.id, notice, trace).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn act(ground: &Ground, tenant: TenantId, notice: Notice, trace: Trace) -> Result<(), Refusal> {
    let Some(what) = meaning(ground, tenant, notice).await? else { return Ok(()) };
    let command = Command {
        tenant,
        event_id: EventId::from_uuid(ground.clock.fresh()),
        what,
        answers: None,
        key: None,
        trace_id: trace.id(),
    };
    match ground.desk.tell(command).await {
        Outcome::Refused(refusal) => known(refusal),
        _ => Ok(()),
    }
}

/// What the notice says happened; none where it says nothing we act on.
async fn meaning(ground: &Ground, tenant: TenantId, notice: Notice) -> Result<Option<What>, Refusal> {
    match notice {
        Notice::Paid { merchant, taken } => {
            let order: OrderId = taken
                .out_trade_no
                .parse()
                .map_err(|_| Refusal::new(Code::OrderUnknown, "the wallet names a payment that is none of ours"))?;
            goes_to(ground, tenant, order, &merchant).await?;
            Ok(Some(What::Order(order, Event::WalletPaid(collect::ours(taken)))))
        }
        Notice::Refund { state: RefundState::Processing | RefundState::Nothing, .. } => Ok(None),
        Notice::Refund { merchant, out_refund_no, state } => {
            let unknown = || Refusal::new(Code::OrderUnknown, "the wallet names a refund that is none of ours");
            let refund = refund::refund_of(&out_refund_no).ok_or_else(unknown)?;
            let found = ground.read(move |store| store.refund(tenant, refund)).await?.ok_or_else(unknown)?;
            goes_to(ground, tenant, found.order, &merchant).await?;
            Ok(Some(What::Refund(found.order, refund, refund::state_event(state))))
        }
        Notice::Other(word) => {
            tracing::info!(word, "a wallet notice says nothing we act on");
            Ok(None)
        }
    }
}

/// Refuses money of another merchant than the one this order pays: it is signed, but it is not this order's.
async fn goes_to(ground: &Ground, tenant: TenantId, order: OrderId, merchant: &str) -> Result<(), Refusal> {
    // Whose merchant it pays never changes.
    let known = match ground.at_hand(tenant, order) {
        Some(order) => Some(order),
        None => ground.read(move |store| store.order(tenant, order)).await?.map(Arc::new),
    };
    let known =
        known.ok_or_else(|| Refusal::new(Code::OrderUnknown, "the wallet names an order that is none of ours"))?;
    if known.bill.merchant == merchant {
        return Ok(());
    }
    tracing::error!(%order, "a wallet notice names another merchant than the order's");
    Err(Refusal::new(Code::OrderUnknown, "the wallet names another merchant than the order's"))
}

/// A refusal of the tables means that this was known; only what kept the desk from deciding goes back to the wallet.
fn known(refusal: Refusal) -> Result<(), Refusal> {
    if !desk::decided(&refusal) || refusal.code == Code::OrderUnknown {
        return Err(refusal);
    }
    tracing::info!(%refusal, "a wallet notice said what was known");
    Ok(())
}
