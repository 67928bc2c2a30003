//! How ids and hashes travel into and out of columns: fixed-size bytes, checked when they are read back.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Binary;
use schema::ids::{
    ActionId, BillId, BindingId, ChannelId, ChannelUserId, EventId, OrderId, ProcessId, RefundId, TenantId,
};
use schema::seal::Lookup;
use uuid::Uuid;

use super::StoreError;

/// Exactly `N` bytes of a Binary column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Binary)]
pub(super) struct Bytes<const N: usize>(pub(super) [u8; N]);

/// An id.
pub(super) type Id = Bytes<16>;
/// A hash: keyed (look-up) or plain (content, request).
pub(super) type Hash = Bytes<32>;

impl<const N: usize, DB> ToSql<Binary, DB> for Bytes<N>
where
    DB: Backend,
    [u8]: ToSql<Binary, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        <[u8] as ToSql<Binary, DB>>::to_sql(self.0.as_slice(), out)
    }
}

impl<const N: usize, DB> FromSql<Binary, DB> for Bytes<N>
where
    DB: Backend,
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = Vec::<u8>::from_sql(bytes)?;
        let length = bytes.len();
        bytes.try_into().map(Bytes).map_err(|_| format!("{N} bytes expected, {length} found").into())
    }
}

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl From<$id> for Id {
            fn from(id: $id) -> Id {
                Bytes(id.uuid().into_bytes())
            }
        }

        impl From<Id> for $id {
            fn from(bytes: Id) -> $id {
                $id::from_uuid(Uuid::from_bytes(bytes.0))
            }
        }
    )*};
}

ids!(ActionId, BillId, BindingId, ChannelId, ChannelUserId, EventId, OrderId, ProcessId, RefundId, TenantId);

impl From<&Lookup> for Hash {
    fn from(lookup: &Lookup) -> Hash {
        Bytes(lookup.as_bytes().try_into().expect("a look-up hash is 32 bytes"))
    }
}

impl From<Hash> for Lookup {
    fn from(bytes: Hash) -> Lookup {
        Lookup::from_slice(&bytes.0).expect("a look-up hash is 32 bytes, and so is this array")
    }
}

/// Writes a domain value as the JSON of a `doc` column.
pub(super) fn to_doc<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(format!("a value has no JSON form: {error}")))
}

/// Reads a `doc` column; `what` names the row for whoever must repair it.
pub(super) fn from_doc<T: serde::de::DeserializeOwned>(what: &str, doc: &str) -> Result<T, StoreError> {
    serde_json::from_str(doc).map_err(|error| StoreError::Damaged(format!("{what}: {error}")))
}

/// The stored word of an enum that serde writes as one string.
pub(super) fn to_word<T: serde::Serialize>(value: T) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        other => Err(StoreError::Damaged(format!("a value is not one word: {other:?}"))),
    }
}

/// Reads a word that [`to_word`] wrote.
pub(super) fn from_word<T: serde::de::DeserializeOwned>(what: &str, word: String) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(word))
        .map_err(|error| StoreError::Damaged(format!("{what}: {error}")))
}

/// Reads a word through its own parser.
pub(super) fn parsed<T, E>(what: &str, result: Result<T, E>) -> Result<T, StoreError> {
    result.map_err(|_| StoreError::Damaged(format!("{what} does not read back")))
}
