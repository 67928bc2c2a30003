//! Pre-settle, and its undo: release. Also the ripple: one person's settlement makes their other prices stale.

use std::collections::{BTreeMap, BTreeSet};

use schema::bill::{BillDraft, LineResult};
use schema::ids::{EventId, MessageId, OrderId};
use schema::link::{InsuredPerson, PreSettle, PriceAnswer, Release, Reply, SettleInputs, ToInstitution};
use schema::money::Fen;
use schema::personal::{MdtrtCertNo, Personal as _};
use schema::refusal::{Code, Refusal};
use schema::seal::{Lookup, Sealed};

use super::bills::{self, Hush};
use super::desk::{Command, Outcome, What, decided};
use super::job::Job;
use super::people::{self, BoundPerson};
use super::{Ground, Tenant};
use crate::domain::order::{Echoed, Event, Inputs, Order, PriceCame};
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
            let person = people::insured_person(job.ground, job.tenant, insured).await?;
            Some(insured_person(&person))
        }
        None => None,
    };
    let ask = ToInstitution::PreSettle(PreSettle {
        order_id: job.order.id,
        bill_no: job.order.bill.bill_no.clone(),
        insured: insured_person.is_some(),
        use_account: job.order.insured.as_ref().is_some_and(|insured| insured.use_account),
        insured_person: insured_person.clone(),
    });
    let address = Ground::address(job.tenant.id, &job.order.bill.institution);
    let timeout = job.ground.link_timeout();
    let event = match job.ground.links.ask(&address, message, job.row.trace_id.clone(), ask, timeout).await {
        Answer::Done(Reply::Priced(price)) => price_came(job, insured_person.as_ref(), &price).await?,
        Answer::Done(_) => Event::PriceRefused { words: "医院答复与所问不符".into() },
        // Only the institution's own no ends it; a link that is down is asked again until the deadline.
        Answer::Refused(refused) if refused.busy => Event::PriceUnknown { message },
        Answer::Refused(refused) => {
            let hush = Hush::of(job.ground, job.tenant, job.order.bill.id).await?;
            Event::PriceRefused { words: hush.sentence(&refused.words) }
        }
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

async fn price_came(job: &Job<'_>, sent: Option<&InsuredPerson>, price: &PriceAnswer) -> Result<Event, Refusal> {
    let bill = bills::drafted(job.ground, job.tenant, job.order.bill.id).await?;
    let faults = faults(job.order, sent, &bill, price);
    if !faults.is_empty() {
        tracing::warn!(order = %job.order.id, ?faults, "a price is not what was asked for: the order ends");
    }
    let inputs = match &price.insurance {
        None => None,
        Some(inputs) => Some(Inputs {
            sealed: seal_inputs(job.ground, job.tenant, inputs)?,
            psn_no: job.tenant.vault.lookup(people::PSN_NO, inputs.person.psn_no.expose()),
            insuplc_admdvs: inputs.person.insuplc_admdvs.clone(),
            mdtrt_cert_type: inputs.person.mdtrt_cert_type.clone(),
            mdtrt_cert_no: job.tenant.vault.lookup(MDTRT_CERT_NO, inputs.person.mdtrt_cert_no.expose()),
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
        faults,
    })))
}

/// Everything in a price that is not what was asked for, by place and without values. 2207 spends what stands here
/// under the payer's own code: whatever can be compared with the order and its bill is compared.
fn faults(order: &Order, sent: Option<&InsuredPerson>, bill: &BillDraft, price: &PriceAnswer) -> Vec<String> {
    let mut faults = Vec::new();
    if !price.split.sums_to(order.bill.amount) {
        faults.push("split".to_owned());
    }
    match (sent, &price.insurance) {
        (Some(sent), Some(inputs)) => {
            input_faults(order, sent, bill, price, inputs, &mut faults);
            line_faults(bill, &price.lines, &mut faults);
        }
        (Some(_), None) => faults.push("insurance: missing".to_owned()),
        (None, inputs) => {
            let uncalled_for = [("insurance: not asked for", inputs.is_some()), ("lines", !price.lines.is_empty())];
            faults.extend(uncalled_for.into_iter().filter(|(_, there)| *there).map(|(at, _)| at.to_owned()));
        }
    }
    faults
}

fn input_faults(
    order: &Order,
    sent: &InsuredPerson,
    bill: &BillDraft,
    price: &PriceAnswer,
    inputs: &SettleInputs,
    faults: &mut Vec<String>,
) {
    let use_account = order.insured.as_ref().is_some_and(|insured| insured.use_account);
    let spared = |share: Fen| use_account || share.is_zero();
    let summed = |of: fn(&LineResult) -> Fen, told: Fen| Fen::sum(price.lines.iter().map(of)) == Ok(told);
    let person = &inputs.person;
    for (at, fits) in [
        ("insurance.person.psn_no", person.psn_no == sent.psn_no),
        ("insurance.person.insutype", person.insutype == sent.insutype),
        ("insurance.person.insuplc_admdvs", person.insuplc_admdvs == sent.insuplc_admdvs),
        ("insurance.person.mdtrt_cert_type", person.mdtrt_cert_type == sent.mdtrt_cert_type),
        ("insurance.person.mdtrt_cert_no", person.mdtrt_cert_no == sent.mdtrt_cert_no),
        ("insurance.use_account", inputs.use_account == use_account),
        ("split.account_own_fen", spared(price.split.account_own_fen)),
        ("split.account_mulaid_fen", spared(price.split.account_mulaid_fen)),
        ("insurance.med_type", inputs.med_type == bill.visit.med_type),
        ("insurance.medfee_sumamt_fen", inputs.medfee_sumamt_fen == order.bill.amount),
        ("insurance.fulamt_ownpay_fen", summed(|line| line.fulamt_ownpay_fen, inputs.fulamt_ownpay_fen)),
        ("insurance.overlmt_selfpay_fen", summed(|line| line.overlmt_fen, inputs.overlmt_selfpay_fen)),
        ("insurance.preselfpay_fen", summed(|line| line.preselfpay_fen, inputs.preselfpay_fen)),
        ("insurance.inscp_scp_fen", summed(|line| line.inscp_scp_fen, inputs.inscp_scp_fen)),
    ] {
        if !fits {
            faults.push(at.to_owned());
        }
    }
}

/// The longest of a line's flags is a code of six characters.
const FLAG_MAX: usize = 6;

/// The bill's own lines, each once and with its amount: then their sum is the bill's.
fn line_faults(bill: &BillDraft, lines: &[LineResult], faults: &mut Vec<String>) {
    let own: BTreeMap<&str, Fen> = bill.lines.iter().map(|line| (line.feedetl_sn.as_str(), line.amount_fen)).collect();
    let mut seen = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        match own.get(line.feedetl_sn.as_str()) {
            None => faults.push(format!("lines[{at}].feedetl_sn: not on the bill")),
            Some(_) if !seen.insert(line.feedetl_sn.as_str()) => {
                faults.push(format!("lines[{at}].feedetl_sn: repeated"));
            }
            Some(amount) if *amount != line.amount_fen => faults.push(format!("lines[{at}].amount_fen")),
            Some(_) => {}
        }
        for (name, value) in line.flags.said() {
            if value.chars().count() > FLAG_MAX || value.chars().any(char::is_control) {
                faults.push(format!("lines[{at}].flags.{name}"));
            }
        }
    }
    if seen.len() < own.len() {
        faults.push(format!("lines: {} missing", own.len() - seen.len()));
    }
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
        Answer::Done(Reply::Done) => What::ActionDone,
        Answer::Refused(refused) if refused.code == Code::HospitalRefused.as_str() => What::ActionDone,
        Answer::Done(_) | Answer::Refused(_) | Answer::Unknown(_) => job.again(),
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
        match job.ground.desk.tell(command).await {
            Outcome::Refused(refusal) if !decided(&refusal) => return Ok(job.again()),
            _ => {}
        }
    }
    Ok(What::ActionDone)
}
