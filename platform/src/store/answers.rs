//! The first answer under every idempotency key: kept byte for byte, as long as the order.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Binary, Nullable, Text};
use schema::ids::{OrderId, TenantId};

use super::batch::{Writer, all, batched, write};
use super::conn::{Conn, NotWritten, on};
use super::tables::first_answer;
use super::values::{Bytes, Hash, Id};
use super::{CallerKey, FirstAnswer, StoreError};

batched! {
    /// The answer under a key.
    New<'a> inserts "first_answer" {
        tenant: Id as Binary,
        caller: &'a str as Text,
        caller_key: &'a str as Text,
        request: Hash as Binary,
        order_id: Option<Id> as Nullable<Binary>,
        response: &'a [u8] as Binary,
    } "ON CONFLICT DO NOTHING"
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a>(Vec<New<'a>>);

impl<'a> Lot<'a> {
    /// The answer under a key.
    pub(super) fn answer(&mut self, tenant: TenantId, key: &'a CallerKey, order: Option<OrderId>, response: &'a [u8]) {
        self.0.push(New {
            tenant: tenant.into(),
            caller: &key.caller,
            caller_key: &key.key,
            request: Bytes(key.request),
            order_id: order.map(Id::from),
            response,
        });
    }

    /// Writes it; a key that has an answer: moved.
    pub(super) fn write<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.0, to)
    }
}

/// Keeps an answer that no order's commit carries; `false` if the key already has one.
pub(super) fn keep(conn: &mut Conn, tenant: TenantId, key: &CallerKey, response: &[u8]) -> Result<bool, StoreError> {
    let mut lot = Lot::default();
    lot.answer(tenant, key, None, response);
    match write(conn, |to| lot.write(to)) {
        Ok(()) => Ok(true),
        Err(NotWritten::Moved) => Ok(false),
        Err(NotWritten::Failed(error)) => Err(error),
    }
}

/// The first answers under these keys, by (caller, key).
pub(super) fn many(
    conn: &mut Conn,
    tenant: TenantId,
    keys: &[&CallerKey],
) -> Result<HashMap<(String, String), FirstAnswer>, StoreError> {
    let found: Vec<(String, String, Hash, Vec<u8>)> = on!(conn, c => first_answer::table
        .filter(first_answer::tenant.eq(Id::from(tenant)))
        .filter(first_answer::caller.eq_any(keys.iter().map(|key| &key.caller)))
        .filter(first_answer::caller_key.eq_any(keys.iter().map(|key| &key.key)))
        .select((first_answer::caller, first_answer::caller_key, first_answer::request, first_answer::response))
        .load(c))?;
    Ok(found
        .into_iter()
        .map(|(caller, key, request, response)| ((caller, key), FirstAnswer { request: request.0, response }))
        .collect())
}

pub(super) fn one(conn: &mut Conn, tenant: TenantId, key: &CallerKey) -> Result<Option<FirstAnswer>, StoreError> {
    Ok(many(conn, tenant, &[key])?.remove(&(key.caller.clone(), key.key.clone())))
}
