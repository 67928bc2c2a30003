//! Partial return of an insured order (the end of ARCHITECTURE.md's "One payment"): 2208, then an order that replaces
//! it for what remains.
//!
//! | who | says | to whom |
//! | --- | --- | --- |
//! | the replaced order's refund, once 2208 is done | open | a new order with that refund's id |
//! | the replacement, priced within what was authorised | resume | itself |
//! | the replacement, settled | carry so much cash | the replaced order's refund |
//! | the replacement, ended or priced higher | carry nothing | the replaced order's refund |
//!
//! Nobody outside is called. Each word is an action row, because the two orders may be decided in two batches and no commit
//! holds both; saying it twice changes nothing.

use schema::ids::{EventId, OrderId, RefundId};
use schema::money::Fen;
use schema::refusal::{Code, Refusal};

use super::desk::{self, Command, Outcome, What};
use super::job::Job;
use crate::domain::order::{Carry, Event, State};
use crate::domain::refund::{Refund, RefundEvent, RefundState};

/// Opens the replacement. Where it cannot be opened (its bill was taken back, the card was lost), nothing is carried.
pub async fn open(job: &Job<'_>, id: RefundId) -> Result<What, Refusal> {
    let refund = refund(job, id).await?;
    // Adopted late, the replaced order may have ended already: there is nothing left to open.
    if refund.state != RefundState::Replacing {
        return Ok(What::ActionDone);
    }
    let (Some(remains), Some(replacement)) = (&refund.replaced_by, refund.replacement()) else {
        return Err(Refusal::new(Code::Internal, format!("refund {id} has nothing to be replaced by")));
    };
    let (Some(insured), Some(authorisation), State::Completed { legs, .. }) =
        (&job.order.insured, &job.order.authorisation, job.order.state.stood())
    else {
        return Err(Refusal::new(Code::Internal, format!("refund {id} has nothing to be replaced by")));
    };
    let carry = Carry {
        from: job.order.id,
        refund: id,
        epoch: insured.epoch,
        authorisation: authorisation.clone(),
        cash: legs.cash.clone(),
    };
    let what = What::Open {
        order: replacement,
        bill: remains.id,
        payer: job.order.payer,
        merchant: remains.merchant.clone(),
        insured: Some((insured.binding, insured.use_account)),
        carry: Some(Box::new(carry)),
    };
    let Some(refusal) = refused(tell(job, what).await) else { return Ok(What::ActionDone) };
    if !desk::decided(&refusal) {
        return Ok(job.again());
    }
    let tenant = job.tenant.id;
    let opened = job.ground.read(move |store| store.order(tenant, replacement)).await?;
    Ok(match opened {
        Some(_) => What::ActionDone,
        None => What::Refund(job.order.id, id, RefundEvent::NotCarried),
    })
}

/// Goes on under what was authorised for the replaced order. Waits while another order holds the person; any other
/// refusal means that the order has moved on by itself.
pub async fn resume(job: &Job<'_>) -> What {
    match refused(tell(job, job.event(Event::Resumed)).await) {
        Some(refusal) if refusal.code == Code::PersonBusy || !desk::decided(&refusal) => job.again(),
        _ => What::ActionDone,
    }
}

/// Claims cash from the replaced order.
pub async fn carry(job: &Job<'_>, from: OrderId, id: RefundId, cash: Fen) -> Result<What, Refusal> {
    let told = refused(tell(job, What::Refund(from, id, RefundEvent::Carried { cash })).await);
    if told.is_none() {
        return Ok(job.event(Event::CashCarried));
    }
    Ok(match refund(job, id).await?.carried {
        Some(carried) if carried == cash => job.event(Event::CashCarried),
        Some(_) => job.event(Event::CarryRefused),
        None => job.again(),
    })
}

/// Lets the replaced order give all its cash back.
pub async fn let_go(job: &Job<'_>, from: OrderId, id: RefundId) -> Result<What, Refusal> {
    let told = refused(tell(job, What::Refund(from, id, RefundEvent::NotCarried)).await);
    if told.is_none() || refund(job, id).await?.state != RefundState::Replacing {
        return Ok(What::ActionDone);
    }
    Ok(job.again())
}

async fn refund(job: &Job<'_>, id: RefundId) -> Result<Refund, Refusal> {
    let tenant = job.tenant.id;
    let refund = job.ground.read(move |store| store.refund(tenant, id)).await?;
    refund.ok_or_else(|| Refusal::new(Code::Internal, format!("refund {id} is missing")))
}

async fn tell(job: &Job<'_>, what: What) -> Outcome {
    let command = Command {
        tenant: job.tenant.id,
        event_id: EventId::from_uuid(job.ground.clock.fresh()),
        what,
        answers: None,
        key: None,
        trace_id: job.row.trace_id.clone(),
    };
    job.ground.desk.tell(command).await
}

fn refused(outcome: Outcome) -> Option<Refusal> {
    match outcome {
        Outcome::Refused(refusal) => Some(refusal),
        _ => None,
    }
}
