//! Logins, bindings, visit cards.

use std::collections::HashMap;

use diesel::dsl::not;
use diesel::prelude::*;
use schema::ids::{BindingId, ChannelUserId, InstitutionCode, TenantId};
use schema::seal::{Lookup, Sealed};

use super::conn::{Conn, NotWritten, Tx, on};
use super::tables::{binding, channel_user, person_insurance, visit_card};
use super::values::{Hash, Id, parsed};
use super::{BindingRow, CallerKey, ChannelUserRow, InsuranceRow, LoginAnswer, StoreError, VisitCardRow, answers};
use crate::domain::binding::BindingFacts;

// ——— logins ———

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = channel_user, treat_none_as_default_value = false)]
struct StoredUser {
    tenant: Id,
    id: Id,
    channel: Id,
    phone: Hash,
    phone_sealed: Vec<u8>,
    openid: Option<Hash>,
    openid_sealed: Option<Vec<u8>>,
}

impl StoredUser {
    fn read(self) -> ChannelUserRow {
        ChannelUserRow {
            tenant: self.tenant.into(),
            id: self.id.into(),
            channel: self.channel.into(),
            phone: self.phone.into(),
            phone_sealed: Sealed::from_bytes(self.phone_sealed),
            openid: self.openid.map(Lookup::from),
            openid_sealed: self.openid_sealed.map(Sealed::from_bytes),
        }
    }
}

/// Finds or makes a login and keeps the answer; none (and the caller rolls back) if the key was used before.
pub(super) fn channel_user(
    tx: &mut Tx<'_>,
    row: &ChannelUserRow,
    answer: Option<(&CallerKey, LoginAnswer<'_>)>,
) -> Result<Option<ChannelUserRow>, StoreError> {
    let login = login(tx, row)?;
    let answer = answer.map(|(key, answer)| (key, answer(login.id)));
    let answer = answer.as_ref().map(|(key, response)| (*key, response.as_slice()));
    Ok(answered(tx, row.tenant, answer)?.then_some(login))
}

fn login(tx: &mut Tx<'_>, row: &ChannelUserRow) -> Result<ChannelUserRow, StoreError> {
    let stored = StoredUser {
        tenant: row.tenant.into(),
        id: row.id.into(),
        channel: row.channel.into(),
        phone: (&row.phone).into(),
        phone_sealed: row.phone_sealed.as_bytes().to_vec(),
        openid: row.openid.as_ref().map(Hash::from),
        openid_sealed: row.openid_sealed.as_ref().map(|sealed| sealed.as_bytes().to_vec()),
    };
    let made = on!(tx, c => diesel::insert_into(channel_user::table)
        .values(&stored)
        .on_conflict((channel_user::tenant, channel_user::channel, channel_user::phone))
        .do_nothing()
        .execute(c))?;
    if made == 1 {
        return Ok(row.clone());
    }
    let mut known = on!(tx, c => channel_user::table
        .filter(channel_user::tenant.eq(stored.tenant))
        .filter(channel_user::channel.eq(stored.channel))
        .filter(channel_user::phone.eq(stored.phone))
        .select(StoredUser::as_select())
        .get_result(c))?;
    if stored.openid_sealed.is_some() {
        on!(tx, c => diesel::update(channel_user::table)
            .filter(channel_user::tenant.eq(known.tenant))
            .filter(channel_user::id.eq(known.id))
            .set((
                channel_user::openid.eq(&stored.openid),
                channel_user::openid_sealed.eq(&stored.openid_sealed),
            ))
            .execute(c))?;
        known.openid = stored.openid;
        known.openid_sealed = stored.openid_sealed;
    }
    Ok(known.read())
}

pub(super) fn channel_user_by_id(
    conn: &mut Conn,
    tenant: TenantId,
    id: ChannelUserId,
) -> Result<Option<ChannelUserRow>, StoreError> {
    let found = on!(conn, c => channel_user::table
        .filter(channel_user::tenant.eq(Id::from(tenant)))
        .filter(channel_user::id.eq(Id::from(id)))
        .select(StoredUser::as_select())
        .get_result(c)
        .optional())?;
    Ok(found.map(StoredUser::read))
}

// ——— bindings ———

#[derive(Insertable, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = binding, primary_key(tenant, id))]
#[diesel(treat_none_as_default_value = false, treat_none_as_null = true)]
struct StoredBinding {
    tenant: Id,
    id: Id,
    epoch: i64,
    level: i16,
    frozen: bool,
    person: Hash,
    channel_user: Id,
    certno: Hash,
    unbound: bool,
    phone: Option<Hash>,
    card_no: Option<Hash>,
    bind_no: Option<String>,
    checked_at_us: i64,
    created_at_us: i64,
    sealed: Vec<u8>,
}

impl From<&BindingRow> for StoredBinding {
    fn from(row: &BindingRow) -> StoredBinding {
        StoredBinding {
            tenant: row.tenant.into(),
            id: row.facts.id.into(),
            epoch: row.facts.epoch,
            level: row.facts.level,
            frozen: row.facts.frozen,
            person: (&row.facts.person).into(),
            channel_user: row.channel_user.into(),
            certno: (&row.certno).into(),
            unbound: row.unbound,
            phone: row.phone.as_ref().map(Hash::from),
            card_no: row.card_no.as_ref().map(Hash::from),
            bind_no: row.bind_no.clone(),
            checked_at_us: row.checked_at_us,
            created_at_us: row.created_at_us,
            sealed: row.sealed.as_bytes().to_vec(),
        }
    }
}

impl StoredBinding {
    fn read(self) -> BindingRow {
        BindingRow {
            tenant: self.tenant.into(),
            facts: BindingFacts {
                id: self.id.into(),
                epoch: self.epoch,
                level: self.level,
                frozen: self.frozen,
                person: self.person.into(),
            },
            channel_user: self.channel_user.into(),
            certno: self.certno.into(),
            sealed: Sealed::from_bytes(self.sealed),
            unbound: self.unbound,
            phone: self.phone.map(Lookup::from),
            card_no: self.card_no.map(Lookup::from),
            bind_no: self.bind_no,
            checked_at_us: self.checked_at_us,
            created_at_us: self.created_at_us,
            insurances: None,
        }
    }
}

/// Adds a binding and keeps the answer; `false` (and the caller rolls back) if either was there before.
pub(super) fn add_binding(
    tx: &mut Tx<'_>,
    row: &BindingRow,
    answer: Option<(&CallerKey, &[u8])>,
) -> Result<bool, StoreError> {
    let stored = StoredBinding::from(row);
    let added = on!(tx, c => diesel::insert_into(binding::table)
        .values(&stored)
        .on_conflict_do_nothing()
        .execute(c))?;
    replace_insurances(tx, row)?;
    Ok(added == 1 && answered(tx, row.tenant, answer)?)
}

/// Changes a binding and keeps the answer; `false` (and the caller rolls back) if either has moved.
pub(super) fn put_binding(
    tx: &mut Tx<'_>,
    before_epoch: i64,
    row: &BindingRow,
    answer: Option<(&CallerKey, &[u8])>,
) -> Result<bool, StoreError> {
    let stored = StoredBinding::from(row);
    let changed = on!(tx, c => diesel::update(binding::table)
        .filter(binding::tenant.eq(stored.tenant))
        .filter(binding::id.eq(stored.id))
        .filter(binding::epoch.eq(before_epoch))
        .set(&stored)
        .execute(c))?;
    replace_insurances(tx, row)?;
    Ok(changed == 1 && answered(tx, row.tenant, answer)?)
}

fn answered(tx: &mut Tx<'_>, tenant: TenantId, answer: Option<(&CallerKey, &[u8])>) -> Result<bool, StoreError> {
    match answer {
        Some((key, response)) => answers::keep(tx, tenant, key, response),
        None => Ok(true),
    }
}

pub(super) fn binding(conn: &mut Conn, tenant: TenantId, id: BindingId) -> Result<Option<BindingRow>, StoreError> {
    let found = on!(conn, c => binding::table
        .filter(binding::tenant.eq(Id::from(tenant)))
        .filter(binding::id.eq(Id::from(id)))
        .select(StoredBinding::as_select())
        .get_result(c)
        .optional())?;
    Ok(found.map(StoredBinding::read))
}

/// The columns of [`facts`].
pub(super) type StoredFacts = (Id, i64, i16, bool, bool, Hash);

/// What the desk decides by, to whom an ended binding is a frozen one.
pub(super) fn facts((id, epoch, level, frozen, unbound, person): StoredFacts) -> BindingFacts {
    BindingFacts { id: id.into(), epoch, level, frozen: frozen || unbound, person: person.into() }
}

/// Bindings by id; none of the sealed rest is read.
pub(super) fn binding_facts(
    conn: &mut Conn,
    tenant: TenantId,
    ids: &[BindingId],
) -> Result<HashMap<BindingId, BindingFacts>, StoreError> {
    let found: Vec<StoredFacts> = on!(conn, c => binding::table
        .filter(binding::tenant.eq(Id::from(tenant)))
        .filter(binding::id.eq_any(ids.iter().copied().map(Id::from)))
        .select((
            binding::id,
            binding::epoch,
            binding::level,
            binding::frozen,
            binding::unbound,
            binding::person,
        ))
        .load(c))?;
    Ok(found.into_iter().map(facts).map(|facts| (facts.id, facts)).collect())
}

/// Bindings under which insured money is let go in a batch: they stay as they were seen until it is committed.
#[derive(Default)]
pub(super) struct Guards(Vec<(Id, Id, i64)>);

impl Guards {
    /// A binding and the epoch at which it was seen.
    pub(super) fn guard(&mut self, tenant: TenantId, id: BindingId, epoch: i64) {
        self.0.push((tenant.into(), id.into(), epoch));
    }

    /// Holds them; moved if one is at another epoch.
    ///
    /// SQLite: nobody else writes meanwhile. PostgreSQL: shared row locks, in one order for every process.
    pub(super) fn hold(&self, conn: &mut Conn) -> Result<(), NotWritten> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows = binding::table
            .filter(binding::tenant.eq_any(self.0.iter().map(|(tenant, ..)| *tenant)))
            .filter(binding::id.eq_any(self.0.iter().map(|(_, id, _)| *id)))
            .order(binding::id);
        let columns = (binding::tenant, binding::id, binding::epoch);
        let found: Vec<(Id, Id, i64)> = match conn {
            Conn::Sqlite(c) => rows.select(columns).load(c)?,
            Conn::Postgres(c) => rows.select(columns).for_share().load(&mut **c)?,
        };
        if self.0.iter().all(|seen| found.contains(seen)) { Ok(()) } else { Err(NotWritten::Moved) }
    }
}

pub(super) fn bindings_of(
    conn: &mut Conn,
    tenant: TenantId,
    user: ChannelUserId,
) -> Result<Vec<BindingRow>, StoreError> {
    let found = on!(conn, c => binding::table
        .filter(binding::tenant.eq(Id::from(tenant)))
        .filter(binding::channel_user.eq(Id::from(user)))
        .filter(not(binding::unbound))
        .order((binding::created_at_us, binding::id))
        .select(StoredBinding::as_select())
        .load(c))?;
    Ok(found.into_iter().map(StoredBinding::read).collect())
}

pub(super) fn binding_by_bind_no(
    conn: &mut Conn,
    tenant: TenantId,
    bind_no: &str,
) -> Result<Option<BindingRow>, StoreError> {
    let found = on!(conn, c => binding::table
        .filter(binding::tenant.eq(Id::from(tenant)))
        .filter(binding::bind_no.eq(bind_no))
        // A bureau may number a binding per person and channel: the newest that shares one was proved with its card.
        .order((binding::created_at_us.desc(), binding::id.desc()))
        .select(StoredBinding::as_select())
        .first(c)
        .optional())?;
    Ok(found.map(StoredBinding::read))
}

pub(super) fn bindings_of_person(
    conn: &mut Conn,
    tenant: TenantId,
    person: &Lookup,
) -> Result<Vec<BindingRow>, StoreError> {
    let found = on!(conn, c => binding::table
        .filter(binding::tenant.eq(Id::from(tenant)))
        .filter(binding::person.eq(Hash::from(person)))
        .filter(not(binding::unbound))
        .order((binding::created_at_us, binding::id))
        .select(StoredBinding::as_select())
        .load(c))?;
    Ok(found.into_iter().map(StoredBinding::read).collect())
}

pub(super) fn bindings_of_document(
    conn: &mut Conn,
    tenant: TenantId,
    certno: &Lookup,
) -> Result<Vec<BindingRow>, StoreError> {
    let found = on!(conn, c => binding::table
        .filter(binding::tenant.eq(Id::from(tenant)))
        .filter(binding::certno.eq(Hash::from(certno)))
        .order((binding::created_at_us, binding::id))
        .select(StoredBinding::as_select())
        .load(c))?;
    Ok(found.into_iter().map(StoredBinding::read).collect())
}

pub(super) fn watchers(conn: &mut Conn, tenant: TenantId, certno: &Lookup) -> Result<Vec<ChannelUserId>, StoreError> {
    let found: Vec<Id> = on!(conn, c => binding::table
        .filter(binding::tenant.eq(Id::from(tenant)))
        .filter(binding::certno.eq(Hash::from(certno)))
        .filter(not(binding::unbound))
        .select(binding::channel_user)
        .distinct()
        .order(binding::channel_user)
        .load(c))?;
    Ok(found.into_iter().map(ChannelUserId::from).collect())
}

// ——— insurances ———

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = person_insurance, treat_none_as_default_value = false)]
struct StoredInsurance {
    tenant: Id,
    certno: Hash,
    line: i32,
    psn_no: Hash,
    person: Hash,
    insutype: String,
    insuplc_admdvs: String,
    psn_type: String,
    psn_insu_stas: String,
    cvlserv_flag: String,
    active: bool,
    emp_name: Option<Vec<u8>>,
    checked_at_us: i64,
}

/// Replaces what is known of a person's insurances by what 1101 has just said, if it was asked.
fn replace_insurances(tx: &mut Tx<'_>, row: &BindingRow) -> Result<(), StoreError> {
    let Some(insurances) = &row.insurances else { return Ok(()) };
    let (tenant, certno) = (Id::from(row.tenant), Hash::from(&row.certno));
    on!(tx, c => diesel::delete(person_insurance::table)
        .filter(person_insurance::tenant.eq(tenant))
        .filter(person_insurance::certno.eq(certno))
        .execute(c))?;
    for (line, insurance) in (0_i32..).zip(insurances) {
        let stored = StoredInsurance {
            tenant,
            certno,
            line,
            psn_no: (&insurance.psn_no).into(),
            person: (&insurance.person).into(),
            insutype: insurance.insutype.clone(),
            insuplc_admdvs: insurance.insuplc_admdvs.clone(),
            psn_type: insurance.psn_type.clone(),
            psn_insu_stas: insurance.psn_insu_stas.clone(),
            cvlserv_flag: insurance.cvlserv_flag.clone(),
            active: insurance.active,
            emp_name: insurance.emp_name.as_ref().map(|sealed| sealed.as_bytes().to_vec()),
            checked_at_us: insurance.checked_at_us,
        };
        on!(tx, c => diesel::insert_into(person_insurance::table).values(&stored).execute(c))?;
    }
    Ok(())
}

pub(super) fn insurances(conn: &mut Conn, tenant: TenantId, certno: &Lookup) -> Result<Vec<InsuranceRow>, StoreError> {
    let found: Vec<StoredInsurance> = on!(conn, c => person_insurance::table
        .filter(person_insurance::tenant.eq(Id::from(tenant)))
        .filter(person_insurance::certno.eq(Hash::from(certno)))
        .order(person_insurance::line)
        .select(StoredInsurance::as_select())
        .load(c))?;
    Ok(found
        .into_iter()
        .map(|row| InsuranceRow {
            psn_no: row.psn_no.into(),
            person: row.person.into(),
            insutype: row.insutype,
            insuplc_admdvs: row.insuplc_admdvs,
            psn_type: row.psn_type,
            psn_insu_stas: row.psn_insu_stas,
            cvlserv_flag: row.cvlserv_flag,
            active: row.active,
            emp_name: row.emp_name.map(Sealed::from_bytes),
            checked_at_us: row.checked_at_us,
        })
        .collect())
}

// ——— visit cards ———

#[derive(Insertable, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = visit_card, primary_key(tenant, institution, card), treat_none_as_default_value = false)]
struct StoredCard {
    tenant: Id,
    institution: String,
    card: Hash,
    certno: Hash,
    psn_name_masked: String,
    bind_no: String,
    created_at_us: i64,
}

/// Binds a visit card and keeps the answer; `false` (and the caller rolls back) if the key was used before.
pub(super) fn put_visit_card(
    tx: &mut Tx<'_>,
    row: &VisitCardRow,
    answer: Option<(&CallerKey, &[u8])>,
) -> Result<bool, StoreError> {
    let stored = StoredCard {
        tenant: row.tenant.into(),
        institution: row.institution.as_str().to_owned(),
        card: (&row.visit_card).into(),
        certno: (&row.certno).into(),
        psn_name_masked: row.psn_name_masked.clone(),
        bind_no: row.bind_no.clone(),
        created_at_us: row.created_at_us,
    };
    on!(tx, c => diesel::insert_into(visit_card::table)
        .values(&stored)
        .on_conflict((visit_card::tenant, visit_card::institution, visit_card::card))
        .do_update()
        .set(&stored)
        .execute(c))?;
    answered(tx, row.tenant, answer)
}

pub(super) fn visit_card(
    conn: &mut Conn,
    tenant: TenantId,
    institution: &InstitutionCode,
    card: &Lookup,
) -> Result<Option<VisitCardRow>, StoreError> {
    let found = on!(conn, c => visit_card::table
        .filter(visit_card::tenant.eq(Id::from(tenant)))
        .filter(visit_card::institution.eq(institution.as_str()))
        .filter(visit_card::card.eq(Hash::from(card)))
        .select(StoredCard::as_select())
        .get_result(c)
        .optional())?;
    found
        .map(|row| {
            Ok(VisitCardRow {
                tenant: row.tenant.into(),
                institution: parsed("a visit card's institution", InstitutionCode::try_from(row.institution))?,
                visit_card: row.card.into(),
                certno: row.certno.into(),
                psn_name_masked: row.psn_name_masked,
                bind_no: row.bind_no,
                created_at_us: row.created_at_us,
            })
        })
        .transpose()
}
