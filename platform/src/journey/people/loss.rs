//! A loss, by its owner or by the bureau: the person's bindings are frozen, and their open orders hear of it.

use schema::ids::{BindingId, ChannelUserId, EventId, TenantId};
use schema::personal::CardNo;
use schema::refusal::{Code, Refusal};
use schema::seal::Lookup;

use super::binding::try_put;
use super::{binding_row, card_lookup, json, open_person, own_binding, view};
use crate::domain::binding::BindingFacts;
use crate::domain::order::{Event, Order};
use crate::journey::desk::{self, Command, Outcome, What};
use crate::journey::{Ground, Tenant};
use crate::store::{BindingRow, CallerKey};

/// How often a person's bindings are looked at again while they keep changing under a freeze.
const FREEZE_ROUNDS_MAX: usize = 8;

/// The owner reports a loss: online payment for this person is frozen on this platform, at once, at every login.
pub async fn report_loss(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    binding: BindingId,
    key: CallerKey,
) -> Result<Vec<u8>, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        return Ok(first);
    }
    let row = own_binding(ground, tenant, user, binding).await?;
    freeze(ground, tenant, &row, |_| true).await?;
    let frozen = binding_row(ground, tenant.id, binding).await?;
    let response = json(&view(&frozen, &open_person(tenant, &frozen.sealed)?))?;
    // The freeze first, its answer second: a crash between the two repeats a harmless freeze.
    let (wanted, kept, tenant_id) = (key.clone(), response.clone(), tenant.id);
    if ground.read(move |store| store.keep_answer(tenant_id, &wanted, &kept)).await? {
        return Ok(response);
    }
    Ok(ground.first_answer(tenant.id, &key).await?.unwrap_or(response))
}

/// The bureau reports a loss: every binding here that spends with that card is frozen. One that was proved with a newer
/// card is not: the notice may be late.
pub async fn lost_at_bureau(ground: &Ground, tenant: &Tenant, lost: &BindingRow) -> Result<(), Refusal> {
    let card = lost.card_no;
    freeze(ground, tenant, lost, |row| row.card_no.is_some() && row.card_no == card).await
}

/// Freezes the live bindings of the person behind `of` that are `meant`, and tells their open orders.
async fn freeze(
    ground: &Ground,
    tenant: &Tenant,
    of: &BindingRow,
    meant: impl Fn(&BindingRow) -> bool,
) -> Result<(), Refusal> {
    for _ in 0..FREEZE_ROUNDS_MAX {
        let rows = bindings_of_human(ground, tenant.id, of).await?;
        let (frozen, free): (Vec<_>, Vec<_>) =
            rows.into_iter().filter(|row| !row.unbound && meant(row)).partition(|row| row.facts.frozen);
        if free.is_empty() {
            for row in frozen {
                lose_orders(ground, tenant.id, row.facts.id).await?;
            }
            return Ok(());
        }
        for row in free {
            let before_epoch = row.facts.epoch;
            // One that moved meanwhile, or was made meanwhile, is met in the next round.
            try_put(ground, before_epoch, moved(row, true), None).await?;
        }
    }
    Err(Refusal::new(Code::Overloaded, "the person's bindings kept changing").after_s(1))
}

/// The same binding at its next epoch: what was opened under it before spends nothing any more.
pub(super) fn moved(row: BindingRow, frozen: bool) -> BindingRow {
    let facts = BindingFacts { epoch: row.facts.epoch + 1, frozen: row.facts.frozen || frozen, ..row.facts.clone() };
    BindingRow { facts, ..row }
}

/// Every binding of the person behind `of`: the live ones of the insured person, and all of the document, under which
/// the bureau may have named another 参保地 at level 1.
async fn bindings_of_human(ground: &Ground, tenant: TenantId, of: &BindingRow) -> Result<Vec<BindingRow>, Refusal> {
    let (person, certno) = (of.facts.person, of.certno);
    ground
        .read(move |store| {
            let mut rows = store.bindings_of_document(tenant, &certno)?;
            let live = store.bindings_of_person(tenant, &person)?;
            let further: Vec<BindingRow> =
                live.into_iter().filter(|row| rows.iter().all(|known| known.facts.id != row.facts.id)).collect();
            rows.extend(further);
            Ok(rows)
        })
        .await
}

/// Refuses a card that was reported lost here. A loss reported before any card was known holds for every card.
pub(super) async fn refuse_lost_card(
    ground: &Ground,
    tenant: &Tenant,
    of: &BindingRow,
    card: &CardNo,
) -> Result<(), Refusal> {
    let rows = bindings_of_human(ground, tenant.id, of).await?;
    let lost: Vec<Option<Lookup>> = rows.iter().filter(|row| row.facts.frozen).map(|row| row.card_no).collect();
    let offered = card_lookup(tenant, card);
    let which_is_known = lost.iter().any(Option::is_some);
    if lost.contains(&Some(offered)) || (!lost.is_empty() && !which_is_known) {
        return Err(Refusal::new(Code::CardFrozen, "the card was reported lost; two people lift that, no phone does"));
    }
    Ok(())
}

/// Tells the open orders that were opened under a binding before it changed. Whoever repeats the change repeats this:
/// the first time may have ended between the two.
pub(super) async fn lose_orders(ground: &Ground, tenant: TenantId, binding: BindingId) -> Result<(), Refusal> {
    let now = binding_row(ground, tenant, binding).await?.facts;
    for id in ground.read(move |store| store.open_under_binding(tenant, binding)).await? {
        let order = ground.read(move |store| store.order(tenant, id)).await?;
        let older = |order: &Order| {
            !order.flagged && order.insured.as_ref().is_some_and(|insured| now.may_spend(insured.epoch).is_err())
        };
        if !order.is_some_and(|order| older(&order)) {
            continue;
        }
        let command = Command {
            tenant,
            event_id: EventId::from_uuid(ground.clock.fresh()),
            what: What::Order(id, Event::BindingLost),
            answers: None,
            key: None,
            trace_id: None,
        };
        match ground.desk.tell(command).await {
            // An order that has ended meanwhile refuses, which is all right; one that could not be told is told again.
            Outcome::Refused(refusal) if !desk::decided(&refusal) => return Err(refusal),
            _ => {}
        }
    }
    Ok(())
}
