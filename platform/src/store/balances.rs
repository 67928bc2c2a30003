//! Balances: sums of postings by account and accounting date, rolled up outside the payment path.
//!
//! Which postings are not in a balance yet is said by a mark on each of them, set in the commit that adds it, and never
//! by a number or a time: what commits late is only rolled up late. Sums do not depend on the order in which they are
//! made, so balances that are thrown away with the marks come back the same.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use diesel::dsl::not;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Text};
use schema::ids::TenantId;
use schema::money::{Fen, Overflow};

use super::batch::{all, batched, write};
use super::conn::{Conn, NotWritten, Tx, on};
use super::tables::{balance, posting};
use super::values::{Id, parsed};
use super::{BalanceRow, StoreError};
use crate::domain::posting::{ByDate, Posting, accounting_date};

batched! {
    /// A posting that is added.
    Mark runs "UPDATE posting SET rolled_up = TRUE FROM " {
        tenant: Id as Binary,
        order_id: Id as Binary,
        version: i64 as BigInt,
        line: i32 as Integer,
    } " WHERE NOT posting.rolled_up AND posting.tenant = c.tenant AND posting.order_id = c.order_id \
        AND posting.version = c.version AND posting.line = c.line"
}

batched! {
    /// What is added to a balance.
    Add inserts "balance" {
        tenant: Id as Binary,
        account: String as Text,
        accounted_on: String as Text,
        amount: i64 as BigInt,
    } "ON CONFLICT (tenant, account, accounted_on) DO UPDATE SET amount = balance.amount + excluded.amount"
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = posting)]
struct Rest {
    tenant: Id,
    order_id: Id,
    version: i64,
    line: i32,
    account: String,
    amount: i64,
    counterparty_at_us: i64,
}

/// Whether every posting is in a balance.
pub(super) fn nothing_left(conn: &mut Conn) -> Result<bool, StoreError> {
    let first: Option<i64> = on!(conn, c => posting::table
        .filter(not(posting::rolled_up))
        .select(posting::version)
        .first(c)
        .optional())?;
    Ok(first.is_none())
}

/// Adds postings to their balances and marks them; how many they were.
///
/// SQLite: nobody else writes meanwhile. PostgreSQL: those that another process is just adding are left to it, and
/// balances are locked in one order by every process.
pub(super) fn roll_up(tx: &mut Tx<'_>, most: u32) -> Result<usize, NotWritten> {
    let rest = posting::table
        .filter(not(posting::rolled_up))
        .order((posting::tenant, posting::order_id, posting::version, posting::line))
        .limit(i64::from(most));
    let found: Vec<Rest> = match &mut **tx {
        Conn::Sqlite(c) => rest.select(Rest::as_select()).load(c)?,
        Conn::Postgres(c) => rest.select(Rest::as_select()).for_update().skip_locked().load(&mut **c)?,
    };
    let mut sums: BTreeMap<(Id, &str, NaiveDate), Fen> = BTreeMap::new();
    for row in &found {
        let sum = sums.entry((row.tenant, &row.account, dated(row.counterparty_at_us)?)).or_default();
        *sum = sum.plus(Fen::new(row.amount)).map_err(beyond_money)?;
    }
    let adds: Vec<Add> = sums
        .into_iter()
        .map(|((tenant, account, date), sum)| Add {
            tenant,
            account: account.to_owned(),
            accounted_on: date.to_string(),
            amount: sum.get(),
        })
        .collect();
    let marks: Vec<Mark> = found
        .iter()
        .map(|row| Mark { tenant: row.tenant, order_id: row.order_id, version: row.version, line: row.line })
        .collect();
    write(tx, |to| {
        all(&marks, to)?;
        all(&adds, to)
    })?;
    Ok(found.len())
}

/// What is rolled up of a tenant, by account and accounting date.
pub(super) fn by_date(conn: &mut Conn, tenant: TenantId) -> Result<ByDate, StoreError> {
    let rows: Vec<(String, String, i64)> = on!(conn, c => balance::table
        .filter(balance::tenant.eq(Id::from(tenant)))
        .select((balance::account, balance::accounted_on, balance::amount))
        .load(c))?;
    rows.into_iter()
        .map(|(account, date, amount)| {
            let date = parsed("a balance's accounting date", date.parse::<NaiveDate>())?;
            Ok(((account, date), Fen::new(amount)))
        })
        .collect()
}

/// A tenant's balances by account. Everything must be read from one snapshot: the transaction is the caller's.
pub(super) fn of_tenant(conn: &mut Conn, tenant: TenantId) -> Result<Vec<BalanceRow>, StoreError> {
    let mut balances: BTreeMap<String, BalanceRow> = BTreeMap::new();
    let mut of = |account: &str, through: Option<NaiveDate>, rolled_up: Fen, rest: Fen| {
        let none = || BalanceRow { account: account.to_owned(), through: None, rolled_up: Fen::ZERO, rest: Fen::ZERO };
        let row = balances.entry(account.to_owned()).or_insert_with(none);
        row.through = row.through.max(through);
        row.rolled_up = row.rolled_up.plus(rolled_up).map_err(beyond_money)?;
        row.rest = row.rest.plus(rest).map_err(beyond_money)?;
        Ok::<(), StoreError>(())
    };
    for ((account, date), amount) in by_date(conn, tenant)? {
        of(&account, Some(date), amount, Fen::ZERO)?;
    }
    let rest: Vec<(String, i64)> = on!(conn, c => posting::table
        .filter(posting::tenant.eq(Id::from(tenant)))
        .filter(not(posting::rolled_up))
        .select((posting::account, posting::amount))
        .load(c))?;
    for (account, amount) in rest {
        of(&account, None, Fen::ZERO, Fen::new(amount))?;
    }
    Ok(balances.into_values().collect())
}

/// Adds a posting to the sum of those that are marked.
pub(super) fn add_up(marked: &mut ByDate, line: &Posting) -> Result<(), StoreError> {
    let sum = marked.entry((line.account.to_string(), dated(line.counterparty_at_us)?)).or_default();
    *sum = sum.plus(line.amount).map_err(beyond_money)?;
    Ok(())
}

fn dated(at_us: i64) -> Result<NaiveDate, StoreError> {
    accounting_date(at_us).ok_or_else(|| StoreError::Damaged(format!("{at_us} µs is no instant of any day")))
}

fn beyond_money(overflow: Overflow) -> StoreError {
    StoreError::Damaged(overflow.to_string())
}
