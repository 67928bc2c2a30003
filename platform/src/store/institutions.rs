//! Institutions.

use diesel::prelude::*;
use schema::ids::{InstitutionCode, TenantId};
use schema::sign::PublicKey;

use super::conn::{Conn, on};
use super::tables::institution;
use super::values::{Id, parsed};
use super::{InstitutionRow, StoreError};

#[derive(Insertable, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = institution, primary_key(tenant, code))]
#[diesel(treat_none_as_default_value = false, treat_none_as_null = true)]
struct Stored {
    tenant: Id,
    code: String,
    name: String,
    area: String,
    merchant: String,
    adapter_key: Option<String>,
    suspended: bool,
}

impl Stored {
    fn read(self) -> Result<InstitutionRow, StoreError> {
        let key = self.adapter_key.as_deref().map(PublicKey::parse).transpose();
        Ok(InstitutionRow {
            tenant: self.tenant.into(),
            key: parsed("an institution's adapter key", key)?,
            code: parsed("an institution's code", InstitutionCode::try_from(self.code))?,
            name: self.name,
            area: self.area,
            merchant: self.merchant,
            suspended: self.suspended,
        })
    }
}

pub(super) fn put(conn: &mut Conn, row: &InstitutionRow) -> Result<(), StoreError> {
    let stored = Stored {
        tenant: row.tenant.into(),
        code: row.code.as_str().to_owned(),
        name: row.name.clone(),
        area: row.area.clone(),
        merchant: row.merchant.clone(),
        adapter_key: row.key.as_ref().map(ToString::to_string),
        suspended: row.suspended,
    };
    on!(conn, c => diesel::insert_into(institution::table)
        .values(&stored)
        .on_conflict((institution::tenant, institution::code))
        .do_update()
        .set(&stored)
        .execute(c))?;
    Ok(())
}

pub(super) fn one(
    conn: &mut Conn,
    tenant: TenantId,
    code: &InstitutionCode,
) -> Result<Option<InstitutionRow>, StoreError> {
    let found = on!(conn, c => institution::table
        .filter(institution::tenant.eq(Id::from(tenant)))
        .filter(institution::code.eq(code.as_str()))
        .select(Stored::as_select())
        .get_result(c)
        .optional())?;
    found.map(Stored::read).transpose()
}

pub(super) fn by_key(conn: &mut Conn, key: &PublicKey) -> Result<Vec<InstitutionRow>, StoreError> {
    let found = on!(conn, c => institution::table
        .filter(institution::adapter_key.eq(key.to_string()))
        .order((institution::tenant, institution::code))
        .select(Stored::as_select())
        .load(c))?;
    found.into_iter().map(Stored::read).collect()
}

pub(super) fn of_tenant(conn: &mut Conn, tenant: TenantId) -> Result<Vec<InstitutionRow>, StoreError> {
    let found = on!(conn, c => institution::table
        .filter(institution::tenant.eq(Id::from(tenant)))
        .order(institution::code)
        .select(Stored::as_select())
        .load(c))?;
    found.into_iter().map(Stored::read).collect()
}
