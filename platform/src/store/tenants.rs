//! Tenants and their channels.

use diesel::prelude::*;
use schema::ids::{ChannelId, TenantId};
use schema::seal::Sealed;

use super::conn::{Conn, on};
use super::tables::{channel, tenant};
use super::values::{Bytes, Hash, Id};
use super::{ChannelRow, StoreError, TenantRow};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = tenant, treat_none_as_default_value = false)]
struct StoredTenant {
    id: Id,
    area: String,
    name: String,
    current_key: i32,
    parties: Vec<u8>,
}

pub(super) fn add(conn: &mut Conn, row: &TenantRow) -> Result<(), StoreError> {
    let stored = StoredTenant {
        id: row.id.into(),
        area: row.area.clone(),
        name: row.name.clone(),
        current_key: i32::from(row.current_key),
        parties: row.parties.as_bytes().to_vec(),
    };
    on!(conn, c => diesel::insert_into(tenant::table).values(&stored).execute(c))?;
    Ok(())
}

pub(super) fn all(conn: &mut Conn) -> Result<Vec<TenantRow>, StoreError> {
    let rows = on!(conn, c => tenant::table.order(tenant::id).select(StoredTenant::as_select()).load(c))?;
    rows.into_iter()
        .map(|row| {
            let current_key = u16::try_from(row.current_key)
                .map_err(|_| StoreError::Damaged(format!("tenant {} has key number {}", row.name, row.current_key)))?;
            Ok(TenantRow {
                id: row.id.into(),
                area: row.area,
                name: row.name,
                current_key,
                parties: Sealed::from_bytes(row.parties),
            })
        })
        .collect()
}

/// The ids alone: whoever looks something up in every tenant starts here.
pub(super) fn ids(conn: &mut Conn) -> Result<Vec<Id>, StoreError> {
    Ok(on!(conn, c => tenant::table.order(tenant::id).select(tenant::id).load(c))?)
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = channel, treat_none_as_default_value = false)]
struct StoredChannel {
    tenant: Id,
    id: Id,
    name: String,
    key_hash: Hash,
    revoked: bool,
}

impl StoredChannel {
    fn read(self) -> ChannelRow {
        ChannelRow {
            tenant: self.tenant.into(),
            id: self.id.into(),
            name: self.name,
            key_hash: self.key_hash.0,
            revoked: self.revoked,
        }
    }
}

pub(super) fn add_channel(conn: &mut Conn, row: &ChannelRow) -> Result<(), StoreError> {
    let stored = StoredChannel {
        tenant: row.tenant.into(),
        id: row.id.into(),
        name: row.name.clone(),
        key_hash: Bytes(row.key_hash),
        revoked: row.revoked,
    };
    on!(conn, c => diesel::insert_into(channel::table).values(&stored).execute(c))?;
    Ok(())
}

pub(super) fn channel_by_key(conn: &mut Conn, key_hash: &[u8; 32]) -> Result<Option<ChannelRow>, StoreError> {
    let found = on!(conn, c => channel::table
        .filter(channel::key_hash.eq(Bytes(*key_hash)))
        .filter(channel::revoked.eq(false))
        .select(StoredChannel::as_select())
        .get_result(c)
        .optional())?;
    Ok(found.map(StoredChannel::read))
}

pub(super) fn channels(conn: &mut Conn, tenant: TenantId) -> Result<Vec<ChannelRow>, StoreError> {
    let rows = on!(conn, c => channel::table
        .filter(channel::tenant.eq(Id::from(tenant)))
        .order(channel::id)
        .select(StoredChannel::as_select())
        .load(c))?;
    Ok(rows.into_iter().map(StoredChannel::read).collect())
}

/// Revokes a channel; `false` if there is none of this id.
pub(super) fn revoke_channel(conn: &mut Conn, tenant: TenantId, id: ChannelId) -> Result<bool, StoreError> {
    let revoked = on!(conn, c => diesel::update(channel::table)
        .filter(channel::tenant.eq(Id::from(tenant)))
        .filter(channel::id.eq(Id::from(id)))
        .set(channel::revoked.eq(true))
        .execute(c))?;
    Ok(revoked == 1)
}
