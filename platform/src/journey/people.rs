//! People: login, binding at level 1 and 2, visit cards at the window; their undo: unbinding and loss. Here is what the
//! files below share: whose a binding is, and how a person is sealed, found again and shown.
//!
//! A loss works at once: the binding's epoch moves in one commit, which the Settling commit of any order checks, and
//! open orders are told. A frozen binding is a *platform* freeze (平台冻结), not the card's 挂失 at the bureau.
//!
//! Nobody lifts a freeze from a phone. What a phone may do is bind anew with a *new* card: the bureau has issued it after
//! the loss and proves it with its password. A lost card stays refused for its person, under whatever binding.

mod binding;
mod login;
mod loss;
mod news;
mod visit_card;

use chrono::Datelike as _;
use schema::ids::{BindingId, ChannelUserId, TenantId};
use schema::mobile::BindingView;
use schema::personal::{self, CardNo, CertNo, PersonName, Personal as _, Phone, PsnNo};
use schema::refusal::{Code, Refusal};
use schema::seal::{Lookup, Sealed};
use serde::{Deserialize, Serialize};

use super::desk::china_time;
use super::{Ground, Tenant};
use crate::domain::order::Insured;
use crate::ephemeral::Unreachable;
use crate::store::BindingRow;

pub use binding::{bind, bind_level2, recheck, unbind};
pub use login::{SignedIn, login, send_login_code};
pub use loss::{lost_at_bureau, report_loss};
pub use news::tell_of_money;
pub use visit_card::{VISIT_CARD, bind_visit_card};

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
const PHONE: &str = "phone";
const CARD: &str = "card_no";
const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// The ephemeral store is away: the caller refuses.
pub fn unreachable(error: Unreachable) -> Refusal {
    Refusal::new(Code::Overloaded, error.to_string()).after_s(2)
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

/// The keyed hash of an insured person: (参保地, 人员编号).
pub fn person_lookup(tenant: &Tenant, insuplc_admdvs: &str, psn_no: &PsnNo) -> Lookup {
    tenant.vault.lookup(PERSON, &format!("{insuplc_admdvs}|{}", psn_no.expose()))
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

/// The person under whose binding an order was opened, as they were then; as they are now, if the binding has changed
/// since: nothing is spent under it any more.
pub async fn insured_person(ground: &Ground, tenant: &Tenant, insured: &Insured) -> Result<BoundPerson, Refusal> {
    open_person(tenant, &ground.sealed_person(tenant.id, insured.binding, insured.epoch).await?)
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
