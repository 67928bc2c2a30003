//! People: login, binding at level 1 and 2, visit cards at the window; their undo: unbinding and loss.
//!
//! A loss works at once: the binding's epoch moves in one commit, which the Settling commit of any order checks, and
//! open orders are told. A frozen binding is a *platform* freeze (平台冻结), not the card's 挂失 at the bureau.
//!
//! Nobody lifts a freeze from a phone. What a phone may do is bind anew with a *new* card: the bureau has issued it after
//! the loss and proves it with its password. A lost card stays refused for its person, under whatever binding.

use chrono::Datelike as _;
use schema::his::VisitCardBinding;
use schema::ids::{BindingId, ChannelId, ChannelUserId, EventId, InstitutionCode, TenantId};
use schema::link::Reply;
use schema::mobile::{BindAsk, BindLevel2Ask, BindingView, LoginAsk};
use schema::money::Fen;
use schema::personal::{self, CardNo, CertNo, PersonName, Personal as _, Phone, PsnNo};
use schema::refusal::{Code, Fault, Refusal};
use schema::seal::{Lookup, Sealed};
use serde::{Deserialize, Serialize};

use super::desk::{self, Command, Outcome, What, china_time};
use super::job::Job;
use super::{Ground, Tenant, reply};
use crate::domain::action::News;
use crate::domain::binding::{BindingFacts, LEVEL_INSURED};
use crate::domain::order::{Event, Order};
use crate::ephemeral::Unreachable;
use crate::parties::answer::Answer;
use crate::parties::bureau::{BindRequest, Identity, Insurance, PersonInfo};
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
const MINUTE_MS: i64 = 60_000;
/// How long the key of a login code is known: as long as the count of the phone's messages, which it protects.
const LOGIN_KEY_MS: i64 = DAY_MS;
/// How long a login code may be under way before its request may begin anew. A process may have died with it.
const LOGIN_CODE_UNDER_WAY_MS: i64 = MINUTE_MS;
/// How often a person's bindings are looked at again while they keep changing under a freeze.
const FREEZE_ROUNDS_MAX: usize = 8;

/// The ephemeral store is away: the caller refuses.
pub fn unreachable(error: Unreachable) -> Refusal {
    Refusal::new(Code::Overloaded, error.to_string()).after_s(2)
}

fn digits(ground: &Ground) -> String {
    format!("{:06}", ground.clock.below(1_000_000))
}

/// Why a phone gets a code. Each has its own count: anybody can ask for login codes to any phone, which must not keep
/// its owner from paying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeFor {
    /// Signing in.
    Login,
    /// Authorising a payment.
    Payment,
}

/// Counts one more code to a phone today; refuses beyond the limit of its kind.
pub async fn count_message(ground: &Ground, tenant: &Tenant, code: CodeFor, phone: &Phone) -> Result<(), Refusal> {
    let day = china_time(ground.clock.now_us()).num_days_from_ce();
    let kind = match code {
        CodeFor::Login => "login",
        CodeFor::Payment => "payment",
    };
    let key = format!("messages:{kind}:{}:{day}", hex(&phone_lookup(tenant, phone)));
    let sent = ground.ephemeral.count(tenant.id, &key, DAY_MS).await.map_err(unreachable)?;
    if sent.value > ground.settings.limits.codes_per_day {
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

/// Counts one more login code of a channel; refuses beyond what a minute may bring, so that a stolen channel key cannot
/// flood phones.
async fn pace_channel(ground: &Ground, tenant: &Tenant, channel: ChannelId) -> Result<(), Refusal> {
    let key = format!("login_codes:{channel}");
    let asked = ground.ephemeral.count(tenant.id, &key, MINUTE_MS).await.map_err(unreachable)?;
    if asked.value > ground.settings.limits.login_codes_per_minute {
        return Err(Refusal::new(Code::RateLimited, "too many login codes of one channel").after_s(60));
    }
    Ok(())
}

/// Sends a login code, and none when the request is repeated under its key. The key is kept where the code is: in the
/// ephemeral store, for a day.
pub async fn send_login_code(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    phone: &Phone,
    key: &CallerKey,
) -> Result<(), Refusal> {
    let name = format!("first_answer:{}:{}", key.caller, key.key);
    if sent_before(ground, tenant, &name, key).await? {
        return Ok(());
    }
    if !ground.ephemeral.first(tenant.id, &name, LOGIN_CODE_UNDER_WAY_MS).await.map_err(unreachable)? {
        // It may have ended since it was looked for.
        if sent_before(ground, tenant, &name, key).await? {
            return Ok(());
        }
        return Err(Refusal::new(Code::Overloaded, "the same request is under way").after_s(1));
    }
    let sent = send_new_login_code(ground, tenant, channel, phone).await;
    match &sent {
        Ok(()) => ground.ephemeral.keep(tenant.id, &name, key.request.to_vec(), LOGIN_KEY_MS).await,
        // Refused: nothing was done under this key, and it may be tried again.
        Err(_) => ground.ephemeral.forget(tenant.id, &name).await,
    }
    .map_err(unreachable)?;
    sent
}

/// Whether a code was sent under this key. Refuses a key that was used with another request.
async fn sent_before(ground: &Ground, tenant: &Tenant, name: &str, key: &CallerKey) -> Result<bool, Refusal> {
    match ground.ephemeral.kept(tenant.id, name).await.map_err(unreachable)? {
        None => Ok(false),
        Some(request) if request == key.request => Ok(true),
        Some(_) => Err(Refusal::new(Code::KeyReused, "the key was used with another request")),
    }
}

async fn send_new_login_code(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    phone: &Phone,
) -> Result<(), Refusal> {
    let faults = phone_faults(phone);
    if !faults.is_empty() {
        return Err(Refusal::faulty(Code::Invalid, faults));
    }
    pace_channel(ground, tenant, channel).await?;
    count_message(ground, tenant, CodeFor::Login, phone).await?;
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

/// Who is signed in, and until when: what is kept under a login's key. The token that says so is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// Who.
    pub user: ChannelUserId,
    /// Not after: microseconds UTC.
    pub expires_at_us: i64,
}

/// Logs a phone in. A code is used once; the request that used it gets its first answer again.
pub async fn login(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    ask: &LoginAsk,
    key: CallerKey,
) -> Result<SignedIn, Refusal> {
    if let Some(first) = signed_in_before(ground, tenant, &key).await? {
        return Ok(first);
    }
    match sign_in(ground, tenant, channel, ask, &key).await {
        // Its first may have used the code, or the key, while this one was looking.
        Err(refusal) => signed_in_before(ground, tenant, &key).await?.ok_or(refusal),
        signed_in => signed_in,
    }
}

async fn signed_in_before(ground: &Ground, tenant: &Tenant, key: &CallerKey) -> Result<Option<SignedIn>, Refusal> {
    let damaged = |error| Refusal::new(Code::Internal, format!("a kept answer does not read back: {error}"));
    let first = ground.first_answer(tenant.id, key).await?;
    first.map(|first| serde_json::from_slice(&first).map_err(damaged)).transpose()
}

async fn sign_in(
    ground: &Ground,
    tenant: &Tenant,
    channel: ChannelId,
    ask: &LoginAsk,
    key: &CallerKey,
) -> Result<SignedIn, Refusal> {
    let phone = phone_lookup(tenant, &ask.phone);
    let name = format!("login:{}", hex(&phone));
    let wrong = || Refusal::new(Code::LoginCodeWrong, "wrong, expired or never sent");
    let life_ms = ground.settings.limits.login_code_ms;
    let tries = ground.ephemeral.count(tenant.id, &format!("{name}:tries"), life_ms).await.map_err(unreachable)?;
    if tries.value > ground.settings.limits.code_tries {
        return Err(wrong());
    }
    let kept = ground.ephemeral.kept(tenant.id, &name).await.map_err(unreachable)?.ok_or_else(wrong)?;
    let offered = tenant.vault.lookup("login_code", &format!("{}|{}", ask.phone.expose(), ask.code.expose()));
    if kept != offered.as_bytes() {
        return Err(wrong());
    }
    ground.ephemeral.forget(tenant.id, &name).await.map_err(unreachable)?;
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
    let life_us = ground.settings.limits.session_ms.saturating_mul(1000);
    let expires_at_us = ground.clock.now_us().saturating_add(life_us);
    let key = key.clone();
    let answer = move |user| serde_json::to_vec(&SignedIn { user, expires_at_us }).unwrap_or_default();
    let login = ground.read(move |store| store.channel_user(&row, Some((&key, &answer)))).await?;
    let login = login.ok_or_else(|| Refusal::new(Code::Overloaded, "the key was used meanwhile").after_s(1))?;
    Ok(SignedIn { user: login.id, expires_at_us })
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

/// The insurance to pay from at this place: one in force there, the one that is held before any other.
fn in_force_at<'a>(info: &'a PersonInfo, insuplc_admdvs: &str, held: &str) -> Option<&'a Insurance> {
    let here = || info.insurances.iter().filter(|row| row.active && row.insuplc_admdvs == insuplc_admdvs);
    here().find(|row| row.insutype == held).or_else(|| here().next())
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
/// the phone that is logged in. Refuses a frozen binding, and a card that was reported lost.
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
fn moved(row: BindingRow, frozen: bool) -> BindingRow {
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
async fn refuse_lost_card(ground: &Ground, tenant: &Tenant, of: &BindingRow, card: &CardNo) -> Result<(), Refusal> {
    let rows = bindings_of_human(ground, tenant.id, of).await?;
    let lost: Vec<Option<Lookup>> = rows.iter().filter(|row| row.facts.frozen).map(|row| row.card_no).collect();
    let offered = card_lookup(tenant, card);
    let which_is_known = lost.iter().any(Option::is_some);
    if lost.contains(&Some(offered)) || (!lost.is_empty() && !which_is_known) {
        return Err(Refusal::new(Code::CardFrozen, "the card was reported lost; two people lift that, no phone does"));
    }
    Ok(())
}

async fn put(
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

async fn try_put(
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

/// Tells the open orders that were opened under a binding before it changed. Whoever repeats the change repeats this:
/// the first time may have ended between the two.
async fn lose_orders(ground: &Ground, tenant: TenantId, binding: BindingId) -> Result<(), Refusal> {
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

/// Asks 1101 again when the last answer is too old. A lost card freezes the person here and now; an insurance that is
/// stopped, or followed by another, ends what is open under this binding. One that is stopped is asked about again next
/// time.
pub async fn recheck(ground: &Ground, tenant: &Tenant, binding: BindingId) -> Result<(), Refusal> {
    let row = binding_row(ground, tenant.id, binding).await?;
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
    key: CallerKey,
) -> Result<Reply, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        return reply::kept(&first);
    }
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
    let (kept, response) = (key.clone(), reply::written(&Reply::Done)?);
    if ground.read(move |store| store.put_visit_card(&row, Some((&kept, &response)))).await? {
        return Ok(Reply::Done);
    }
    match ground.first_answer(tenant.id, &key).await? {
        Some(first) => reply::kept(&first),
        None => Err(Refusal::new(Code::Overloaded, "the message was answered meanwhile").after_s(1)),
    }
}

// ——— news of money ———

/// How often a message that got no answer is tried again.
const SMS_ATTEMPTS_MAX: i64 = 8;

/// Tells whoever pays, and the insured person on every phone of theirs, that money moved.
pub async fn tell_of_money(job: &Job<'_>, news: News, amount: Fen) -> Result<What, Refusal> {
    let moved = match news {
        News::InsuranceSettled => "医保部分已支付",
        News::InsuranceUndone => "医保部分已退回",
        News::CashTaken => "现金部分已支付",
        News::CashStray => "收到一笔不应收取的现金，将原路退回",
        News::CashReturned => "现金部分已原路退回",
    };
    let text =
        format!("【统付】您的账单{}{moved}{}元。如非本人操作，请立即挂失。", job.order.bill.bill_no, amount.to_yuan());
    let mut again = false;
    for (message_id, phone) in phones_of(job).await? {
        let sms = Sms { message_id, phone, template: "money_moved", text: SmsText(text.clone()) };
        again |= match job.tenant.sms.send(&sms).await {
            Answer::Done(()) => false,
            Answer::Refused(refused) => refused.busy,
            Answer::Unknown(_) => true,
        };
    }
    // All are sent again: the gateway sends one id once.
    Ok(if again && job.attempts < SMS_ATTEMPTS_MAX { job.again() } else { What::ActionDone })
}

/// To whom, each under a message id that a repeat has too: the phone of the binding that pays, and every other phone
/// that holds this person's card with its password, for somebody else may be paying. None twice.
async fn phones_of(job: &Job<'_>) -> Result<Vec<(String, Phone)>, Refusal> {
    let (tenant, action) = (job.tenant, job.row.id);
    let mut phones: Vec<(String, Phone)> =
        phone_of(job).await?.into_iter().map(|phone| (action.to_string(), phone)).collect();
    let Some(insured) = &job.order.insured else { return Ok(phones) };
    let (tenant_id, person) = (tenant.id, insured.person);
    for row in job.ground.read(move |store| store.bindings_of_person(tenant_id, &person)).await? {
        // A frozen one is told as well: whoever lost a card wants to know most of all.
        if row.facts.level < LEVEL_INSURED {
            continue;
        }
        let Some(phone) = open_person(tenant, &row.sealed)?.phone else { continue };
        if phones.iter().all(|(_, known)| known.expose() != phone.expose()) {
            let own = tenant.vault.lookup(PHONE, phone.expose());
            phones.push((format!("{action}-{}", hex::encode(&own.as_bytes()[..8])), phone));
        }
    }
    Ok(phones)
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
