//! Pre-settle, and its undo: release. Also the ripple: one person's settlement makes their other prices stale.

use schema::ids::{EventId, MessageId, OrderId};
use schema::link::{InsuredPerson, PreSettle, PriceAnswer, Release, Reply, SettleInputs, ToInstitution};
use schema::personal::{MdtrtCertNo, Personal as _};
use schema::refusal::{Code, Refusal};
use schema::seal::{Lookup, Sealed};

use super::desk::{Command, What};
use super::job::Job;
use super::people::{self, BoundPerson};
use super::{Ground, Tenant};
use crate::domain::order::{Echoed, Event, Inputs, PriceCame};
use crate::parties::answer::Answer;

/// The purpose under which 2207's inputs are sealed.
pub const SETTLE_INPUTS: &str = "settle_inputs";

/// The purpose of look-ups by what was shown for treatment.
const MDTRT_CERT_NO: &str = "mdtrt_cert_no";

/// 就诊凭证类型 02: the identity document.
const BY_IDENTITY: &str = "02";

/// Asks the institution for the price.
pub async fn ask(job: &Job<'_>, message: MessageId) -> Result<What, Refusal> {
    let insured_person = match &job.order.insured {
        Some(insured) => {
            let person = people::bound_person(job.ground, job.tenant, insured.binding).await?;
            Some(insured_person(&person))
        }
        None => None,
    };
    let ask = ToInstitution::PreSettle(PreSettle {
        order_id: job.order.id,
        bill_no: job.order.bill.bill_no.clone(),
        insured: insured_person.is_some(),
        use_account: job.order.insured.as_ref().is_some_and(|insured| insured.use_account),
        insured_person,
    });
    let address = Ground::address(job.tenant.id, &job.order.bill.institution);
    let timeout = job.ground.link_timeout();
    let event = match job.ground.links.ask(&address, message, job.row.trace_id.clone(), ask, timeout).await {
        Answer::Done(Reply::Priced(price)) => price_came(job.ground, job.tenant, &price)?,
        Answer::Done(_) => Event::PriceRefused { words: "医院答复与所问不符".into() },
        // Only the institution's own no ends it; a link that is down is asked again until the deadline.
        Answer::Refused(refused) if refused.busy => Event::PriceUnknown { message },
        Answer::Refused(refused) => Event::PriceRefused { words: refused.words },
        Answer::Unknown(_) => Event::PriceUnknown { message },
    };
    Ok(job.event(event))
}

fn insured_person(person: &BoundPerson) -> InsuredPerson {
    InsuredPerson {
        psn_no: person.psn_no.clone(),
        insutype: person.insutype.clone(),
        insuplc_admdvs: person.insuplc_admdvs.clone(),
        mdtrt_cert_type: BY_IDENTITY.into(),
        mdtrt_cert_no: MdtrtCertNo::new(person.certno.expose()),
    }
}

fn price_came(ground: &Ground, tenant: &Tenant, price: &PriceAnswer) -> Result<Event, Refusal> {
    let inputs = match &price.insurance {
        None => None,
        Some(inputs) => Some(Inputs {
            sealed: seal_inputs(ground, tenant, inputs)?,
            psn_no: tenant.vault.lookup(people::PSN_NO, inputs.person.psn_no.expose()),
            insuplc_admdvs: inputs.person.insuplc_admdvs.clone(),
            mdtrt_cert_type: inputs.person.mdtrt_cert_type.clone(),
            mdtrt_cert_no: tenant.vault.lookup(MDTRT_CERT_NO, inputs.person.mdtrt_cert_no.expose()),
            med_type: inputs.med_type.clone(),
            psn_setlway: inputs.psn_setlway.clone(),
            acct_used: inputs.use_account,
            mdtrt_id: inputs.mdtrt_id.clone(),
            chrg_bchno: inputs.chrg_bchno.clone(),
            invono: inputs.invono.clone(),
            insutype: inputs.person.insutype.clone(),
            echoed: Echoed {
                medfee_sumamt: inputs.medfee_sumamt_fen,
                fulamt_ownpay_amt: inputs.fulamt_ownpay_fen,
                overlmt_selfpay: inputs.overlmt_selfpay_fen,
                preselfpay_amt: inputs.preselfpay_fen,
                inscp_scp_amt: inputs.inscp_scp_fen,
            },
        }),
    };
    Ok(Event::PriceCame(Box::new(PriceCame {
        split: price.split,
        inputs,
        lines: price.lines.clone(),
        valid_until_us: price.valid_until_us,
    })))
}

fn seal_inputs(ground: &Ground, tenant: &Tenant, inputs: &SettleInputs) -> Result<Sealed, Refusal> {
    let plain = serde_json::to_vec(inputs)
        .map_err(|error| Refusal::new(Code::Internal, format!("2207's inputs cannot be written: {error}")))?;
    Ok(tenant.vault.seal(ground.clock.nonce(), SETTLE_INPUTS, &plain))
}

/// Lets the institution give up what pre-settling left at the bureau; repeated until it says so.
pub async fn release(job: &Job<'_>, message: MessageId) -> Result<What, Refusal> {
    let ask = ToInstitution::Release(Release { order_id: job.order.id, bill_no: job.order.bill.bill_no.clone() });
    let address = Ground::address(job.tenant.id, &job.order.bill.institution);
    let timeout = job.ground.link_timeout();
    Ok(match job.ground.links.ask(&address, message, job.row.trace_id.clone(), ask, timeout).await {
        Answer::Done(_) => What::ActionDone,
        Answer::Refused(refused) if !refused.busy => What::ActionDone,
        Answer::Refused(_) | Answer::Unknown(_) => job.again(),
    })
}

/// Sends the person's other priced orders back to be priced anew.
pub async fn ripple(job: &Job<'_>, person: Lookup, except: OrderId) -> Result<What, Refusal> {
    let tenant = job.tenant.id;
    let stale = job.ground.read(move |store| store.priced_of_person(tenant, &person)).await?;
    for order in stale.into_iter().filter(|order| *order != except) {
        let command = Command {
            tenant,
            event_id: EventId::from_uuid(job.ground.clock.fresh()),
            what: What::Order(order, Event::PriceStale),
            answers: None,
            key: None,
            trace_id: job.row.trace_id.clone(),
        };
        // One that moved on meanwhile refuses, which is all right: its price is used or gone.
        let _ = job.ground.desk.tell(command).await;
    }
    Ok(What::ActionDone)
}
