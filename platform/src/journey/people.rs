//! People: login, binding at level 1 and 2, visit cards at the window; their undo: unbinding and loss.
//!
//! A loss works at once: the binding's epoch moves in one commit, which the Settling commit of any order checks, and
//! open orders are told. A frozen binding is a *platform* freeze (平台冻结), not the card's 挂失 at the bureau.

use chrono::Datelike as _;
use schema::his::VisitCardBinding;
use schema::ids::{BindingId, ChannelId, ChannelUserId, EventId, InstitutionCode, TenantId};
use schema::mobile::{BindAsk, BindLevel2Ask, BindingView, LoginAsk};
use schema::money::Fen;
use schema::personal::{self, CardNo, CertNo, PersonName, Personal as _, Phone, PsnNo};
use schema::refusal::{Code, Fault, Refusal};
use schema::seal::{Lookup, Sealed};
use serde::{Deserialize, Serialize};

use super::desk::{Command, What, china_time};
use super::job::Job;
use super::{Ground, Tenant};
use crate::domain::action::News;
use crate::domain::binding::{BindingFacts, LEVEL_INSURED};
use crate::domain::order::Event;
use crate::ephemeral::Unreachable;
use crate::parties::answer::Answer;
use crate::parties::bureau::{BindRequest, Identity, PersonInfo};
use crate::parties::sms::{Sms, SmsText};
use crate::store::{BindingRow, CallerKey, ChannelUserRow, InsuranceRow, VisitCardRow};

/// The insured person behind a binding, sealed at rest for purpose `person`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BoundPerson {
    /// 人员编号.
    #[serde(with = "personal::wire")]
    pub psn_no: PsnNo,
    /// Name.
    #[serde(with = "personal::wire")]
    pub psn_name: PersonName,
    /// Kind of document.
    pub psn_cert_type: String,
    /// Its number.
    #[serde(with = "personal::wire")]
    pub certno: CertNo,
    /// 险种.
    pub insutype: String,
    /// 参保地.
    pub insuplc_admdvs: String,
    /// 社保卡号; level 2.
    #[serde(default, with = "personal::wire_option")]
    pub card_no: Option<CardNo>,
    /// The phone that receives codes; level 2.
    #[serde(default, with = "personal::wire_option")]
    pub phone: Option<Phone>,
}

const PERSON: &str = "person";
/// The purpose of document-number look-ups.
pub const CERTNO: &str = "certno";
/// The purpose of look-ups by 人员编号.
pub const PSN_NO: &str = "psn_no";
/// The purpose under which an insured person's employer is sealed.
const EMP_NAME: &str = "emp_name";
const PHONE: &str = "phone";
const CARD: &str = "card_no";
const DAY_MS: i64 = 86_400_000;

/// The ephemeral store is away: the caller refuses.
pub fn unreachable(error: Unreachable) -> Refusal {
    Refusal::new(Code::Overloaded, error.to_string()).after_s(2)
}

fn digits(ground: &Ground) -> String {
    format!("{:06}", ground.clock.below(1_000_000))
}

/// Counts one more message to a phone today; refuses beyond the limit.
pub async fn count_message(ground: &Ground, tenant: &Tenant, phone: &Phone) -> Result<(), Refusal> {
    let day = china_time(ground.clock.now_us()).num_days_from_ce();
    let key = format!("messages:{}:{day}", hex(&tenant.vault.lookup(PHONE, phone.expose())));
    let sent = ground.ephemeral.count(tenant.id, &key, DAY_MS).await.map_err(unreachable)?;
    if sent > ground.settings.limits.codes_per_day {
        return Err(Refusal::new(Code::RateLimited, "too many messages to one phone today").after_s(3600));
    }
    Ok(())
}

fn hex(lookup: &Lookup) -> String {
    String::from(*lookup)
}

/// The keyed hash of a phone.
pub fn phone_lookup(tenant: &Tenant, phone: &Phone) -> Lookup {
    tenant.vault.lookup(PHONE, phone.expose())
}

/// The keyed hash of a card number.
pub fn card_lookup(tenant: &Tenant, card: &CardNo) -> Lookup {
    tenant.vault.lookup(CARD, card.expose())
}

/// A mobile phone number of the mainland.
pub fn phone_faults(phone: &Phone) -> Vec<Fault> {
    let text = phone.expose();
    let sound = text.len() == 11 && text.starts_with('1') && text.bytes().all(|byte| byte.is_ascii_digit());
    if sound {
        Vec::new()
    } else {
        vec![Fault::new("phone", "须为11位手机号码", "must be an 11-digit mobile number")]
    }
}

// ——— login ———

/// Sends a login code.
pub async fn send_login_code(ground: &Ground, tenant: &Tenant, phone: &Phone) -> Result<(), Refusal> {
    let faults = phone_faults(phone);
    if !faults.is_empty() {
        return Err(Refusal::faulty(Code::Invalid, faults));
    }
    count_message(ground, tenant, phone).await?;
    let digits = digits(ground);
    let hash = tenant.vault.lookup("login_code", &format!("{}|{digits}", phone.expose()));
    let key = format!("login:{}", hex(&phone_lookup(tenant, phone)));
    let life_ms = ground.settings.limits.login_code_ms;
    ground.ephemeral.forget(tenant.id, &format!("{key}:tries")).await.map_err(unreachable)?;
    ground.ephemeral.keep(tenant.id, &key, hash.as_bytes().to_vec(), life_ms).await.map_err(unreachable)?;
    let text = format!("【统付】登录验证码{digits}，{}分钟内有效。请勿告诉他人。", life_ms / 60_000);
    let sms = Sms {
        message_id: ground.clock.fresh().to_string(),
        phone: phone.clone(),
        template: "login_code",
        text: SmsText(text),
    };
    match tenant.sms.send(&sms).await {
        // A message whose fate is unknown may well arrive.
        Answer::Done(()) | Answer::Unknown(_) => Ok(()),
        Answer::Refused(refused) => Err(Refusal::new(Code::SmsUnreachable, refused.code)),
    }
}

/// Logs a phone in.
pub async fn login(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    ask: &LoginAsk,
) -> Result<ChannelUserRow, Refusal> {
    let phone = phone_lookup(tenant, &ask.phone);
    let key = format!("login:{}", hex(&phone));
    let wrong = || Refusal::new(Code::LoginCodeWrong, "wrong, expired or never sent");
    let life_ms = ground.settings.limits.login_code_ms;
    let tries = ground.ephemeral.count(tenant.id, &format!("{key}:tries"), life_ms).await.map_err(unreachable)?;
    if tries > ground.settings.limits.code_tries {
        return Err(wrong());
    }
    let kept = ground.ephemeral.kept(tenant.id, &key).await.map_err(unreachable)?.ok_or_else(wrong)?;
    let offered = tenant.vault.lookup("login_code", &format!("{}|{}", ask.phone.expose(), ask.code.expose()));
    if kept != offered.as_bytes() {
        return Err(wrong());
    }
    ground.ephemeral.forget(tenant.id, &key).await.map_err(unreachable)?;
    let seal = |purpose: &str, text: &str| tenant.vault.seal(ground.clock.nonce(), purpose, text.as_bytes());
    let row = ChannelUserRow {
        tenant: tenant.id,
        id: ChannelUserId::from_uuid(ground.clock.fresh()),
        channel,
        phone,
        phone_sealed: seal(PHONE, ask.phone.expose()),
        openid: ask.openid.as_ref().map(|openid| tenant.vault.lookup(super::collect::OPENID, openid.expose())),
        openid_sealed: ask.openid.as_ref().map(|openid| seal(super::collect::OPENID, openid.expose())),
    };
    ground.read(move |store| store.channel_user(&row)).await
}

// ——— binding ———

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

/// The keyed hash of an insured person: (参保地, 人员编号).
pub fn person_lookup(tenant: &Tenant, insuplc_admdvs: &str, psn_no: &PsnNo) -> Lookup {
    tenant.vault.lookup(PERSON, &format!("{insuplc_admdvs}|{}", psn_no.expose()))
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

/// Level 1: name and document match at the bureau.
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
        return Err(Refusal::new(Code::BindingFrozen, "the bureau has blocked this person's card or insurance"));
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
/// the phone that is logged in.
pub async fn bind_level2(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    binding: BindingId,
    ask: &BindLevel2Ask,
    key: CallerKey,
) -> Result<Vec<u8>, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        return Ok(first);
    }
    let row = own_binding(ground, tenant, user, binding).await?;
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
    let bound = match tenant.bureau.bind(&request).await {
        Answer::Done(bound) => bound,
        Answer::Refused(refused) if refused.busy => {
            return Err(Refusal::new(Code::BureauUnreachable, refused.code).after_s(5));
        }
        Answer::Refused(refused) => {
            return Err(Refusal::new(Code::CardPasswordWrong, refused.code).in_words(refused.words));
        }
        // A repeat of the proof is harmless: the bureau records one binding per person and channel.
        Answer::Unknown(why) => return Err(Refusal::new(Code::BureauUnreachable, why).after_s(5)),
    };
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
    stop(ground, tenant, user, binding, key, true).await
}

/// The owner reports a loss: online payment for this person is frozen on this platform, at once.
pub async fn report_loss(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    binding: BindingId,
    key: CallerKey,
) -> Result<Vec<u8>, Refusal> {
    stop(ground, tenant, user, binding, key, false).await
}

async fn stop(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    binding: BindingId,
    key: CallerKey,
    unbound: bool,
) -> Result<Vec<u8>, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        return Ok(first);
    }
    let row = own_binding(ground, tenant, user, binding).await?;
    let person = open_person(tenant, &row.sealed)?;
    let bind_no = row.bind_no.clone();
    let (before_epoch, stopped) = stopped(row, unbound);
    let response = json(&view(&stopped, &person))?;
    put(ground, before_epoch, stopped, Some((key, response.clone()))).await?;
    lose_orders(ground, tenant.id, binding).await?;
    if let (true, Some(bind_no)) = (unbound, bind_no) {
        // Our own freeze is what protects; the bureau's record follows when it answers.
        let _ = tenant.bureau.unbind(&bind_no, &person.psn_no).await;
    }
    Ok(response)
}

fn stopped(row: BindingRow, unbound: bool) -> (i64, BindingRow) {
    let before = row.facts.epoch;
    let facts = BindingFacts { epoch: before + 1, frozen: true, ..row.facts.clone() };
    (before, BindingRow { facts, unbound: row.unbound || unbound, ..row })
}

/// The bureau reports a loss: every binding of that person here is frozen.
pub async fn lost_at_bureau(ground: &Ground, tenant: &Tenant, person: Lookup) -> Result<(), Refusal> {
    let tenant_id = tenant.id;
    for row in ground.read(move |store| store.bindings_of_person(tenant_id, &person)).await? {
        let binding = row.facts.id;
        let (before_epoch, stopped) = stopped(row, false);
        put(ground, before_epoch, stopped, None).await?;
        lose_orders(ground, tenant_id, binding).await?;
    }
    Ok(())
}

async fn put(
    ground: &Ground,
    before_epoch: i64,
    row: BindingRow,
    answer: Option<(CallerKey, Vec<u8>)>,
) -> Result<(), Refusal> {
    let written = ground
        .read(move |store| {
            let answer = answer.as_ref().map(|(key, response)| (key, response.as_slice()));
            store.put_binding(before_epoch, &row, answer)
        })
        .await?;
    if written { Ok(()) } else { Err(Refusal::new(Code::Overloaded, "the binding changed meanwhile").after_s(1)) }
}

/// Tells the open orders under a binding that it has changed.
async fn lose_orders(ground: &Ground, tenant: TenantId, binding: BindingId) -> Result<(), Refusal> {
    for order in ground.read(move |store| store.open_under_binding(tenant, binding)).await? {
        let command = Command {
            tenant,
            event_id: EventId::from_uuid(ground.clock.fresh()),
            what: What::Order(order, Event::BindingLost),
            answers: None,
            key: None,
            trace_id: None,
        };
        // An order that has ended meanwhile refuses, which is all right.
        let _ = ground.desk.tell(command).await;
    }
    Ok(())
}

/// Asks 1101 again when the last answer is too old; a lost card freezes the binding here and now.
pub async fn recheck(ground: &Ground, tenant: &Tenant, binding: BindingId) -> Result<(), Refusal> {
    let row = binding_row(ground, tenant.id, binding).await?;
    let age_ms = (ground.clock.now_us() - row.checked_at_us) / 1000;
    if age_ms <= ground.settings.limits.recheck_person_ms {
        return Ok(());
    }
    let person = open_person(tenant, &row.sealed)?;
    let identity = Identity {
        psn_cert_type: person.psn_cert_type.clone(),
        certno: person.certno.clone(),
        psn_name: person.psn_name.clone(),
    };
    let info = ask_person(tenant, &identity).await?;
    let before_epoch = row.facts.epoch;
    let row = BindingRow { insurances: Some(insurances(ground, tenant, &info)), ..row };
    if info.blocked {
        let (before_epoch, stopped) = stopped(row, false);
        put(ground, before_epoch, stopped, None).await?;
        lose_orders(ground, tenant.id, binding).await?;
        return Err(Refusal::new(Code::BindingFrozen, "1101 shows a lost card or a stopped insurance"));
    }
    put(ground, before_epoch, BindingRow { checked_at_us: ground.clock.now_us(), ..row }, None).await
}

/// A login's live bindings.
pub async fn bindings(ground: &Ground, tenant: &Tenant, user: ChannelUserId) -> Result<Vec<BindingView>, Refusal> {
    let tenant_id = tenant.id;
    let rows = ground.read(move |store| store.bindings_of(tenant_id, user)).await?;
    rows.iter().map(|row| Ok(view(row, &open_person(tenant, &row.sealed)?))).collect()
}

/// A binding of this login. Refuses others' as unknown.
pub async fn own_binding(
    ground: &Ground,
    tenant: &Tenant,
    user: ChannelUserId,
    binding: BindingId,
) -> Result<BindingRow, Refusal> {
    let row = binding_row(ground, tenant.id, binding).await?;
    if row.channel_user != user || row.unbound {
        return Err(Refusal::new(Code::BindingUnknown, "the binding is another login's, or ended"));
    }
    Ok(row)
}

/// One binding of a tenant.
pub async fn binding_row(ground: &Ground, tenant: TenantId, binding: BindingId) -> Result<BindingRow, Refusal> {
    let row = ground.read(move |store| store.binding(tenant, binding)).await?;
    row.ok_or_else(|| Refusal::new(Code::BindingUnknown, format!("no binding {binding}")))
}

/// The person behind a binding.
pub async fn bound_person(ground: &Ground, tenant: &Tenant, binding: BindingId) -> Result<BoundPerson, Refusal> {
    let row = binding_row(ground, tenant.id, binding).await?;
    open_person(tenant, &row.sealed)
}

fn seal_person(ground: &Ground, tenant: &Tenant, person: &BoundPerson) -> Result<Sealed, Refusal> {
    Ok(tenant.vault.seal(ground.clock.nonce(), PERSON, &json(person)?))
}

pub(super) fn open_person(tenant: &Tenant, sealed: &Sealed) -> Result<BoundPerson, Refusal> {
    let damaged = |why: String| Refusal::new(Code::Internal, format!("a person does not read back: {why}"));
    let plain = tenant.vault.open(PERSON, sealed).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_slice(&plain).map_err(|error| damaged(error.to_string()))
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

fn view(row: &BindingRow, person: &BoundPerson) -> BindingView {
    BindingView {
        id: row.facts.id,
        psn_name: person.psn_name.masked(),
        certno: person.certno.masked(),
        level: u8::try_from(row.facts.level).unwrap_or(0),
        insutype: person.insutype.clone(),
        insuplc_admdvs: person.insuplc_admdvs.clone(),
        frozen: row.facts.frozen,
        phone: person.phone.as_ref().map(Phone::masked),
    }
}

// ——— visit cards ———

/// The purpose of visit-card look-ups.
pub const VISIT_CARD: &str = "visit_card_no";

/// Binds a visit card at the window to the insured person who is present with card and password (普洱).
pub async fn bind_visit_card(
    ground: &Ground,
    tenant: &Tenant,
    institution: &InstitutionCode,
    ask: &VisitCardBinding,
) -> Result<(), Refusal> {
    let request = BindRequest {
        identity: Identity {
            psn_cert_type: ask.psn_cert_type.clone(),
            certno: ask.certno.clone(),
            psn_name: ask.psn_name.clone(),
        },
        card_no: ask.card_no.clone(),
        sealed_password: ask.sealed_password.clone(),
        channel_no: institution.to_string(),
    };
    let bound = match tenant.bureau.bind(&request).await {
        Answer::Done(bound) => bound,
        Answer::Refused(refused) if refused.busy => {
            return Err(Refusal::new(Code::BureauUnreachable, refused.code).after_s(5));
        }
        Answer::Refused(refused) => {
            return Err(Refusal::new(Code::CardPasswordWrong, refused.code).in_words(refused.words));
        }
        Answer::Unknown(why) => return Err(Refusal::new(Code::BureauUnreachable, why).after_s(5)),
    };
    let row = VisitCardRow {
        tenant: tenant.id,
        institution: institution.clone(),
        visit_card: tenant.vault.lookup(VISIT_CARD, ask.visit_card_no.expose()),
        certno: tenant.vault.lookup(CERTNO, ask.certno.expose()),
        psn_name_masked: ask.psn_name.masked(),
        bind_no: bound.bind_no,
        created_at_us: ground.clock.now_us(),
    };
    ground.read(move |store| store.put_visit_card(&row)).await
}

// ——— news of money ———

/// How often a message that got no answer is tried again.
const SMS_ATTEMPTS_MAX: i64 = 8;

/// Tells the insured person (the payer, for cash only) that their money moved.
pub async fn tell_of_money(job: &Job<'_>, news: News, amount: Fen) -> Result<What, Refusal> {
    let Some(phone) = phone_of(job).await? else { return Ok(What::ActionDone) };
    let moved = match news {
        News::InsuranceSettled => "医保部分已支付",
        News::InsuranceUndone => "医保部分已退回",
        News::CashTaken => "现金部分已支付",
        News::CashReturned => "现金部分已原路退回",
    };
    let text =
        format!("【统付】您的账单{}{moved}{}元。如非本人操作，请立即挂失。", job.order.bill.bill_no, amount.to_yuan());
    let sms = Sms { message_id: job.row.id.to_string(), phone, template: "money_moved", text: SmsText(text) };
    Ok(match job.tenant.sms.send(&sms).await {
        Answer::Done(()) => What::ActionDone,
        Answer::Refused(refused) if !refused.busy => What::ActionDone,
        Answer::Refused(_) | Answer::Unknown(_) if job.attempts >= SMS_ATTEMPTS_MAX => What::ActionDone,
        Answer::Refused(_) | Answer::Unknown(_) => job.again(),
    })
}

async fn phone_of(job: &Job<'_>) -> Result<Option<Phone>, Refusal> {
    if let Some(insured) = &job.order.insured
        && let Some(phone) = bound_person(job.ground, job.tenant, insured.binding).await?.phone
    {
        return Ok(Some(phone));
    }
    let (tenant, payer) = (job.tenant.id, job.order.payer);
    let login = job.ground.read(move |store| store.channel_user_by_id(tenant, payer)).await?;
    Ok(login.and_then(|login| job.tenant.vault.open_text(PHONE, &login.phone_sealed).ok()).map(Phone::new))
}
