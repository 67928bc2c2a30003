//! Binding at level 1 and 2, its undo, and asking the bureau about the person again.

use schema::ids::{BindingId, ChannelUserId};
use schema::mobile::{BindAsk, BindLevel2Ask};
use schema::personal::{Personal as _, Phone};
use schema::refusal::{Code, Fault, Refusal};

use super::loss::{lose_orders, lost_at_bureau, moved, refuse_lost_card};
use super::{
    BoundPerson, CERTNO, PHONE, PSN_NO, card_lookup, json, open_person, own_binding, person_lookup, phone_lookup,
    seal_person, view,
};
use crate::domain::binding::{BindingFacts, LEVEL_INSURED};
use crate::journey::{Ground, Tenant};
use crate::parties::answer::Answer;
use crate::parties::bureau::{BindRequest, Bound, Identity, Insurance, PersonInfo};
use crate::store::{BindingRow, CallerKey, InsuranceRow};

/// The purpose under which an insured person's employer is sealed.
const EMP_NAME: &str = "emp_name";

fn identity_faults(ask: &BindAsk) -> Vec<Fault> {
    let mut faults = Vec::new();
    if ask.psn_name.expose().trim().is_empty() || ask.psn_name.expose().chars().count() > 50 {
        faults.push(Fault::new("psn_name", "姓名须为1至50字", "must have 1 to 50 characters"));
    }
    if ask.psn_cert_type.is_empty() || ask.psn_cert_type.len() > 6 {
        faults.push(Fault::new("psn_cert_type", "证件类型有误", "is not a kind of document"));
    }
    let certno = ask.certno.expose();
    if certno.is_empty() || certno.len() > 50 || !certno.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        faults.push(Fault::new("certno", "证件号码有误", "is not a document number"));
    }
    faults
}

async fn ask_person(tenant: &Tenant, identity: &Identity) -> Result<PersonInfo, Refusal> {
    match tenant.bureau.person(None, identity).await {
        Answer::Done(info) if info.psn_name == identity.psn_name => Ok(info),
        Answer::Done(_) => Err(Refusal::new(Code::BindingMismatch, "the bureau knows another name")),
        Answer::Refused(refused) if refused.busy => Err(Refusal::new(Code::BureauUnreachable, refused.code).after_s(5)),
        Answer::Refused(refused) => Err(Refusal::new(Code::BindingMismatch, refused.code).in_words(refused.words)),
        Answer::Unknown(why) => Err(Refusal::new(Code::BureauUnreachable, why).after_s(5)),
    }
}

/// Every insurance that 1101 names: an order may one day be paid from another than the one that is chosen today.
fn insurances(ground: &Ground, tenant: &Tenant, info: &PersonInfo) -> Vec<InsuranceRow> {
    let checked_at_us = ground.clock.now_us();
    info.insurances
        .iter()
        .map(|insurance| InsuranceRow {
            psn_no: tenant.vault.lookup(PSN_NO, info.psn_no.expose()),
            person: person_lookup(tenant, &insurance.insuplc_admdvs, &info.psn_no),
            insutype: insurance.insutype.clone(),
            insuplc_admdvs: insurance.insuplc_admdvs.clone(),
            psn_type: insurance.psn_type.clone(),
            psn_insu_stas: insurance.psn_insu_stas.clone(),
            cvlserv_flag: insurance.cvlserv_flag.clone(),
            active: insurance.active,
            emp_name: insurance
                .emp_name
                .as_ref()
                .map(|name| tenant.vault.seal(ground.clock.nonce(), EMP_NAME, name.expose().as_bytes())),
            checked_at_us,
        })
        .collect()
}

/// Card and password, proved by the bureau, which records the binding. A repeat is harmless: the bureau records one
/// binding per person and channel.
pub(super) async fn proved(tenant: &Tenant, request: &BindRequest) -> Result<Bound, Refusal> {
    match tenant.bureau.bind(request).await {
        Answer::Done(bound) => Ok(bound),
        Answer::Refused(refused) if refused.busy => Err(Refusal::new(Code::BureauUnreachable, refused.code).after_s(5)),
        Answer::Refused(refused) => Err(Refusal::new(Code::CardPasswordWrong, refused.code).in_words(refused.words)),
        Answer::Unknown(why) => Err(Refusal::new(Code::BureauUnreachable, why).after_s(5)),
    }
}

/// The insurance to pay from at this place: one in force there, the one that is held before any other.
fn in_force_at<'a>(info: &'a PersonInfo, insuplc_admdvs: &str, held: &str) -> Option<&'a Insurance> {
    let here = || info.insurances.iter().filter(|row| row.active && row.insuplc_admdvs == insuplc_admdvs);
    here().find(|row| row.insutype == held).or_else(|| here().next())
}

/// Level 1: name and document match at the bureau (1101). Answers the binding as JSON.
///
/// Refuses with Invalid (every fault of the identity at once), BindingMismatch (the bureau knows nobody by this
/// document, another name, or no insurance), InsuranceStopped (none is in force), CardFrozen (the card is lost there),
/// BindingExists (this login holds a live binding of the document), and BureauUnreachable, to be tried again after 5 s.
pub async fn bind(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    ask: &BindAsk,
    key: CallerKey,
) -> Result<Vec<u8>, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        return Ok(first);
    }
    let faults = identity_faults(ask);
    if !faults.is_empty() {
        return Err(Refusal::faulty(Code::Invalid, faults));
    }
    let identity = Identity {
        psn_cert_type: ask.psn_cert_type.clone(),
        certno: ask.certno.clone(),
        psn_name: ask.psn_name.clone(),
    };
    let info = ask_person(tenant, &identity).await?;
    if info.blocked {
        let stopped = !info.insurances.iter().any(|insurance| insurance.active);
        let code = if stopped { Code::InsuranceStopped } else { Code::CardFrozen };
        return Err(Refusal::new(code, "the bureau has blocked this person's card or insurance"));
    }
    let insurance = info
        .insurances
        .iter()
        .find(|insurance| insurance.active)
        .or(info.insurances.first())
        .ok_or_else(|| Refusal::new(Code::BindingMismatch, "the bureau knows no insurance"))?;
    let person = BoundPerson {
        psn_no: info.psn_no.clone(),
        psn_name: ask.psn_name.clone(),
        psn_cert_type: ask.psn_cert_type.clone(),
        certno: ask.certno.clone(),
        insutype: insurance.insutype.clone(),
        insuplc_admdvs: insurance.insuplc_admdvs.clone(),
        card_no: None,
        phone: None,
    };
    let row = BindingRow {
        tenant: tenant.id,
        facts: BindingFacts {
            id: BindingId::from_uuid(ground.clock.fresh()),
            epoch: 1,
            level: 1,
            frozen: false,
            person: person_lookup(tenant, &person.insuplc_admdvs, &person.psn_no),
        },
        channel_user: user,
        certno: tenant.vault.lookup(CERTNO, ask.certno.expose()),
        sealed: seal_person(ground, tenant, &person)?,
        unbound: false,
        phone: None,
        card_no: None,
        bind_no: None,
        checked_at_us: ground.clock.now_us(),
        created_at_us: ground.clock.now_us(),
        insurances: Some(insurances(ground, tenant, &info)),
    };
    let response = json(&view(&row, &person))?;
    let (kept, kept_key) = (response.clone(), key.clone());
    let added = ground.read(move |store| store.add_binding(&row, Some((&kept_key, &kept)))).await?;
    if added {
        return Ok(response);
    }
    match ground.first_answer(tenant.id, &key).await? {
        Some(first) => Ok(first),
        None => Err(Refusal::new(Code::BindingExists, "this login holds a live binding of this document")),
    }
}

/// Level 2: card and payment password, proved by the bureau, which records the binding. The code's phone is fixed to
/// the phone that is logged in. What was opened under the binding before hears that it changed.
///
/// Refuses with BindingUnknown (another login's, or ended), BindingFrozen (a frozen binding is never proved again),
/// CardFrozen (the card was reported lost here), CardPasswordWrong (the bureau's no), InsuranceStopped or
/// BindingMismatch (the card belongs elsewhere, and 1101 shows nothing in force there, or another name), and
/// BureauUnreachable, to be tried again after 5 s.
pub async fn bind_level2(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    binding: BindingId,
    ask: &BindLevel2Ask,
    key: CallerKey,
) -> Result<Vec<u8>, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        lose_orders(ground, tenant.id, binding).await?;
        return Ok(first);
    }
    let row = own_binding(ground, tenant, user, binding).await?;
    if row.facts.frozen {
        return Err(Refusal::new(Code::BindingFrozen, "a frozen binding is never proved again: it takes a new one"));
    }
    refuse_lost_card(ground, tenant, &row, &ask.card_no).await?;
    let mut person = open_person(tenant, &row.sealed)?;
    let tenant_id = tenant.id;
    let login = ground.read(move |store| store.channel_user_by_id(tenant_id, user)).await?;
    let login = login.ok_or_else(|| Refusal::new(Code::Unauthenticated, "the login is gone"))?;
    let phone = tenant
        .vault
        .open_text(PHONE, &login.phone_sealed)
        .map(Phone::new)
        .map_err(|error| Refusal::new(Code::Internal, format!("a phone does not open: {error}")))?;
    let request = BindRequest {
        identity: Identity {
            psn_cert_type: person.psn_cert_type.clone(),
            certno: person.certno.clone(),
            psn_name: person.psn_name.clone(),
        },
        card_no: ask.card_no.clone(),
        sealed_password: ask.sealed_password.clone(),
        channel_no: login.channel.to_string(),
    };
    let bound = proved(tenant, &request).await?;
    let mut row = row;
    if person.insuplc_admdvs != bound.insuplc_admdvs {
        // The card belongs elsewhere than the first insurance that 1101 had named: what it pays from is in force there.
        let info = ask_person(tenant, &request.identity).await?;
        let there = in_force_at(&info, &bound.insuplc_admdvs, &person.insutype).ok_or_else(|| {
            Refusal::new(Code::InsuranceStopped, "1101 shows no insurance in force where the card is")
        })?;
        person.insutype = there.insutype.clone();
        row.insurances = Some(insurances(ground, tenant, &info));
    }
    person.card_no = Some(ask.card_no.clone());
    person.insuplc_admdvs = bound.insuplc_admdvs.clone();
    person.psn_no = bound.psn_no.clone();
    person.phone = Some(phone.clone());
    let before_epoch = row.facts.epoch;
    let row = BindingRow {
        facts: BindingFacts {
            epoch: before_epoch + 1,
            level: LEVEL_INSURED,
            frozen: false,
            person: person_lookup(tenant, &person.insuplc_admdvs, &person.psn_no),
            ..row.facts.clone()
        },
        sealed: seal_person(ground, tenant, &person)?,
        phone: Some(phone_lookup(tenant, &phone)),
        card_no: Some(card_lookup(tenant, &ask.card_no)),
        bind_no: Some(bound.bind_no),
        checked_at_us: ground.clock.now_us(),
        ..row
    };
    let response = json(&view(&row, &person))?;
    put(ground, before_epoch, row, Some((key, response.clone()))).await?;
    lose_orders(ground, tenant.id, binding).await?;
    Ok(response)
}

/// The owner takes the binding back.
pub async fn unbind(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    binding: BindingId,
    key: CallerKey,
) -> Result<Vec<u8>, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        lose_orders(ground, tenant.id, binding).await?;
        return Ok(first);
    }
    let row = own_binding(ground, tenant, user, binding).await?;
    let person = open_person(tenant, &row.sealed)?;
    let bind_no = row.bind_no.clone();
    let before_epoch = row.facts.epoch;
    let ended = BindingRow { unbound: true, ..moved(row, false) };
    let response = json(&view(&ended, &person))?;
    put(ground, before_epoch, ended, Some((key, response.clone()))).await?;
    lose_orders(ground, tenant.id, binding).await?;
    // That it is ended here is what protects. The bureau is told once: a record that it keeps spends nothing, since only
    // this platform sends 2207 for it, and the person's next proof takes its place.
    if let Some(bind_no) = bind_no
        && !matches!(tenant.bureau.unbind(&bind_no, &person.psn_no).await, Answer::Done(()))
    {
        tracing::warn!(%binding, "the bureau keeps its record of a binding that is ended here");
    }
    Ok(response)
}

pub(super) async fn put(
    ground: &Ground,
    before_epoch: i64,
    row: BindingRow,
    answer: Option<(CallerKey, Vec<u8>)>,
) -> Result<(), Refusal> {
    if try_put(ground, before_epoch, row, answer).await? {
        return Ok(());
    }
    Err(Refusal::new(Code::Overloaded, "the binding changed meanwhile").after_s(1))
}

pub(super) async fn try_put(
    ground: &Ground,
    before_epoch: i64,
    row: BindingRow,
    answer: Option<(CallerKey, Vec<u8>)>,
) -> Result<bool, Refusal> {
    ground
        .read(move |store| {
            let answer = answer.as_ref().map(|(key, response)| (key, response.as_slice()));
            store.put_binding(before_epoch, &row, answer)
        })
        .await
}

/// Asks 1101 again when the last answer is too old. A lost card freezes the person here and now; an insurance that is
/// stopped, or followed by another, ends what is open under this binding. One that is stopped is asked about again next
/// time.
pub async fn recheck(ground: &Ground, tenant: &Tenant, row: BindingRow) -> Result<(), Refusal> {
    let binding = row.facts.id;
    let age_ms = (ground.clock.now_us() - row.checked_at_us) / 1000;
    if age_ms <= ground.settings.limits.recheck_person_ms {
        return Ok(());
    }
    let mut person = open_person(tenant, &row.sealed)?;
    let identity = Identity {
        psn_cert_type: person.psn_cert_type.clone(),
        certno: person.certno.clone(),
        psn_name: person.psn_name.clone(),
    };
    let info = ask_person(tenant, &identity).await?;
    let before_epoch = row.facts.epoch;
    let row = BindingRow { insurances: Some(insurances(ground, tenant, &info)), ..row };
    let checked = |row| BindingRow { checked_at_us: ground.clock.now_us(), ..row };
    let in_force = in_force_at(&info, &person.insuplc_admdvs, &person.insutype).filter(|_| !info.blocked);
    if let Some(in_force) = in_force {
        if in_force.insutype == person.insutype {
            return put(ground, before_epoch, checked(row), None).await;
        }
        // What is priced would be paid from an insurance that ended.
        person.insutype = in_force.insutype.clone();
        let row = BindingRow { sealed: seal_person(ground, tenant, &person)?, ..checked(moved(row, false)) };
        put(ground, before_epoch, row, None).await?;
        lose_orders(ground, tenant.id, binding).await?;
        return Err(Refusal::new(Code::BindingFrozen, "1101 shows another insurance: it takes a new order"));
    }
    if info.blocked && info.insurances.iter().any(|insurance| insurance.active) {
        lost_at_bureau(ground, tenant, &row).await?;
        return Err(Refusal::new(Code::BindingFrozen, "1101 shows a lost card"));
    }
    put(ground, before_epoch, moved(row, false), None).await?;
    lose_orders(ground, tenant.id, binding).await?;
    Err(Refusal::new(Code::InsuranceStopped, "1101 shows no insurance in force"))
}
