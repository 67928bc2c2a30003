//! The first answer under every idempotency key: kept byte for byte, as long as the order.

use diesel::prelude::*;
use schema::ids::{OrderId, TenantId};

use super::conn::{Conn, on};
use super::tables::first_answer;
use super::values::{Bytes, Hash, Id};
use super::{CallerKey, FirstAnswer, StoreError};

#[derive(Insertable)]
#[diesel(table_name = first_answer, treat_none_as_default_value = false)]
struct New<'a> {
    tenant: Id,
    caller: &'a str,
    caller_key: &'a str,
    request: Hash,
    order_id: Option<Id>,
    response: &'a [u8],
}

/// Keeps an answer; `false` if the key already has one.
pub(super) fn keep(
    conn: &mut Conn,
    tenant: TenantId,
    key: &CallerKey,
    order: Option<OrderId>,
    response: &[u8],
) -> Result<bool, diesel::result::Error> {
    let row = New {
        tenant: tenant.into(),
        caller: &key.caller,
        caller_key: &key.key,
        request: Bytes(key.request),
        order_id: order.map(Id::from),
        response,
    };
    let kept = on!(conn, c => diesel::insert_into(first_answer::table)
        .values(&row)
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(kept == 1)
}

pub(super) fn one(conn: &mut Conn, tenant: TenantId, key: &CallerKey) -> Result<Option<FirstAnswer>, StoreError> {
    let found: Option<(Hash, Vec<u8>)> = on!(conn, c => first_answer::table
        .filter(first_answer::tenant.eq(Id::from(tenant)))
        .filter(first_answer::caller.eq(&key.caller))
        .filter(first_answer::caller_key.eq(&key.key))
        .select((first_answer::request, first_answer::response))
        .get_result(c)
        .optional())?;
    Ok(found.map(|(request, response)| FirstAnswer { request: request.0, response }))
}
