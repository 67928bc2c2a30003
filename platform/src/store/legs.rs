//! What an order's two legs rest on, as rows of their own: the bureau's word on every line, and the authorisation. The
//! legs themselves are in `settlements.rs` and `cash.rs`. Operators and reconciliation search here; the payment path
//! reads the order itself.

use diesel::prelude::*;
use schema::bill::LineResult;
use schema::ids::{OrderId, TenantId};
use schema::money::{Fen, Price6, Ratio4};

use super::StoreError;
use super::conn::{Conn, NotWritten, on};
use super::tables::{authorisation, price_line};
use super::values::{Hash, Id, to_word};
use crate::domain::order::{Authorisation, Order};

// ——— price lines ———

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = price_line, treat_none_as_default_value = false)]
struct PriceLine {
    tenant: Id,
    order_id: Id,
    price_number: i64,
    line: i32,
    feedetl_sn: String,
    amount: i64,
    pric_uplmt_amt: Option<i64>,
    selfpay_prop: i64,
    fulamt_ownpay: i64,
    overlmt: i64,
    preselfpay: i64,
    inscp_scp: i64,
    chrgitm_lv: String,
}

/// Keeps the bureau's word on every line of one price, in the order in which it came.
pub(super) fn insert_price_lines(
    conn: &mut Conn,
    order: &Order,
    number: u32,
    lines: &[LineResult],
) -> Result<(), NotWritten> {
    for (at, line) in (0_i32..).zip(lines) {
        let row = PriceLine {
            tenant: order.tenant.into(),
            order_id: order.id.into(),
            price_number: i64::from(number),
            line: at,
            feedetl_sn: line.feedetl_sn.clone(),
            amount: line.amount_fen.get(),
            pric_uplmt_amt: line.pric_uplmt_amt.map(Price6::units),
            selfpay_prop: line.selfpay_prop.units(),
            fulamt_ownpay: line.fulamt_ownpay_fen.get(),
            overlmt: line.overlmt_fen.get(),
            preselfpay: line.preselfpay_fen.get(),
            inscp_scp: line.inscp_scp_fen.get(),
            chrgitm_lv: line.chrgitm_lv.clone(),
        };
        on!(conn, c => diesel::insert_into(price_line::table).values(&row).execute(c))?;
    }
    Ok(())
}

pub(super) fn price_lines(
    conn: &mut Conn,
    tenant: TenantId,
    order: OrderId,
    number: u32,
) -> Result<Vec<LineResult>, StoreError> {
    let rows = on!(conn, c => price_line::table
        .filter(price_line::tenant.eq(Id::from(tenant)))
        .filter(price_line::order_id.eq(Id::from(order)))
        .filter(price_line::price_number.eq(i64::from(number)))
        .order(price_line::line)
        .select(PriceLine::as_select())
        .load(c))?;
    Ok(rows
        .into_iter()
        .map(|row| LineResult {
            feedetl_sn: row.feedetl_sn,
            amount_fen: Fen::new(row.amount),
            pric_uplmt_amt: row.pric_uplmt_amt.map(Price6::from_units),
            selfpay_prop: Ratio4::from_units(row.selfpay_prop),
            fulamt_ownpay_fen: Fen::new(row.fulamt_ownpay),
            overlmt_fen: Fen::new(row.overlmt),
            preselfpay_fen: Fen::new(row.preselfpay),
            inscp_scp_fen: Fen::new(row.inscp_scp),
            chrgitm_lv: row.chrgitm_lv,
        })
        .collect())
}

// ——— authorisations ———

#[derive(Insertable)]
#[diesel(table_name = authorisation, treat_none_as_default_value = false)]
struct NewAuthorisation {
    tenant: Id,
    order_id: Id,
    version: i64,
    kind: String,
    level: i16,
    at_us: i64,
    evidence: Option<Hash>,
    fund: i64,
    other_funds: i64,
    account_own: i64,
    account_mulaid: i64,
    hospital: i64,
    cash: i64,
}

/// Keeps what let the money move, under the version that it led to.
pub(super) fn insert_authorisation(conn: &mut Conn, order: &Order, given: &Authorisation) -> Result<(), NotWritten> {
    let row = NewAuthorisation {
        tenant: order.tenant.into(),
        order_id: order.id.into(),
        version: order.version,
        kind: to_word(given.kind)?,
        level: given.level,
        at_us: given.at_us,
        evidence: given.evidence.as_ref().map(Hash::from),
        fund: given.split.fund_fen.get(),
        other_funds: given.split.other_funds_fen.get(),
        account_own: given.split.account_own_fen.get(),
        account_mulaid: given.split.account_mulaid_fen.get(),
        hospital: given.split.hospital_fen.get(),
        cash: given.split.cash_fen.get(),
    };
    on!(conn, c => diesel::insert_into(authorisation::table).values(&row).execute(c))?;
    Ok(())
}
