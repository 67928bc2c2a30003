//! The cash leg as rows: what the wallet is asked and by whom it is to be paid, and the cash that came in.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use schema::ids::{OrderId, TenantId};
use schema::money::Fen;
use schema::seal::{Lookup, Sealed};

use super::conn::{Conn, NotWritten, on, statement};
use super::tables::{cash_leg, prepay};
use super::values::{Hash, Id};
use super::{CashRow, NewPrepay, PrepayRow, StoreError};
use crate::domain::invariants::CashLeg;
use crate::domain::order::{Order, Taken};

// ——— what the wallet is asked ———

statement! {
    /// Keeps what is asked, with the payer's openid as their login has it now. What was asked before stays as it was:
    /// the wallet takes a repeat only with the same content.
    Ask<'a> {
        "INSERT INTO prepay (tenant, order_id, out_trade_no, sp_mchid, merchant, appid, amount, expires_at_us, \
         asked_at_us, openid, openid_sealed) SELECT " tenant: Id as Binary;
        ", " order: Id as Binary;
        ", " out_trade_no: &'a str as Text;
        ", " sp_mchid: &'a str as Text;
        ", " merchant: &'a str as Text;
        ", " appid: &'a str as Text;
        ", " amount: i64 as BigInt;
        ", " expires_at_us: i64 as BigInt;
        ", " asked_at_us: i64 as BigInt;
        ", openid, openid_sealed FROM channel_user \
         WHERE (SELECT count(*) FROM prepay AS known WHERE known.tenant = " known_of: Id as Binary;
        " AND known.order_id = " known_order: Id as Binary;
        ") = 0 AND tenant = " of: Id as Binary;
        " AND id = " payer: Id as Binary;
    }
}

/// Keeps what the wallet is to be asked for an order.
pub(super) fn insert_prepay(conn: &mut Conn, order: &Order, asked: &NewPrepay) -> Result<(), NotWritten> {
    let ask = Ask {
        tenant: order.tenant.into(),
        order: order.id.into(),
        out_trade_no: &asked.out_trade_no,
        sp_mchid: &asked.sp_mchid,
        merchant: &order.bill.merchant,
        appid: &asked.appid,
        amount: asked.amount.get(),
        expires_at_us: asked.expires_at_us,
        asked_at_us: order.updated_at_us,
        known_of: order.tenant.into(),
        known_order: order.id.into(),
        of: order.tenant.into(),
        payer: order.payer.into(),
    };
    on!(conn, c => ask.execute(c))?;
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = prepay)]
struct StoredPrepay {
    out_trade_no: String,
    sp_mchid: String,
    merchant: String,
    appid: String,
    openid: Option<Hash>,
    openid_sealed: Option<Vec<u8>>,
    amount: i64,
    expires_at_us: i64,
    asked_at_us: i64,
}

pub(super) fn prepay(conn: &mut Conn, tenant: TenantId, order: OrderId) -> Result<Option<PrepayRow>, StoreError> {
    let found: Option<StoredPrepay> = on!(conn, c => prepay::table
        .filter(prepay::tenant.eq(Id::from(tenant)))
        .filter(prepay::order_id.eq(Id::from(order)))
        .select(StoredPrepay::as_select())
        .get_result(c)
        .optional())?;
    Ok(found.map(|row| PrepayRow {
        asked: NewPrepay {
            out_trade_no: row.out_trade_no,
            sp_mchid: row.sp_mchid,
            appid: row.appid,
            amount: Fen::new(row.amount),
            expires_at_us: row.expires_at_us,
        },
        merchant: row.merchant,
        openid: row.openid.map(Lookup::from),
        openid_sealed: row.openid_sealed.map(Sealed::from_bytes),
        asked_at_us: row.asked_at_us,
    }))
}

// ——— cash that came in ———

#[derive(Insertable)]
#[diesel(table_name = cash_leg)]
struct NewCash<'a> {
    tenant: Id,
    order_id: Id,
    transaction_id: &'a str,
    out_trade_no: &'a str,
    merchant: &'a str,
    amount: i64,
    success_time_us: i64,
    stray: bool,
}

/// Keeps cash that came in. `stray`: it had no right to stay. Known cash stays as it was first told.
pub(super) fn insert(conn: &mut Conn, order: &Order, taken: &Taken, stray: bool) -> Result<(), NotWritten> {
    let row = NewCash {
        tenant: order.tenant.into(),
        order_id: order.id.into(),
        transaction_id: &taken.transaction_id,
        out_trade_no: &taken.out_trade_no,
        merchant: &order.bill.merchant,
        amount: taken.amount.get(),
        success_time_us: taken.success_time_us,
        stray,
    };
    on!(conn, c => diesel::insert_into(cash_leg::table).values(&row).on_conflict_do_nothing().execute(c))?;
    Ok(())
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = cash_leg)]
struct StoredCash {
    order_id: Id,
    transaction_id: String,
    out_trade_no: String,
    merchant: String,
    amount: i64,
    success_time_us: i64,
    stray: bool,
}

fn load(conn: &mut Conn, tenant: TenantId, from: OrderId, to: OrderId) -> Result<Vec<StoredCash>, StoreError> {
    Ok(on!(conn, c => cash_leg::table
        .filter(cash_leg::tenant.eq(Id::from(tenant)))
        .filter(cash_leg::order_id.between(Id::from(from), Id::from(to)))
        .order((cash_leg::order_id, cash_leg::success_time_us, cash_leg::transaction_id))
        .select(StoredCash::as_select())
        .load(c))?)
}

/// Cash that came in for an order, oldest first.
pub(super) fn of_order(conn: &mut Conn, tenant: TenantId, order: OrderId) -> Result<Vec<CashRow>, StoreError> {
    let rows = load(conn, tenant, order, order)?;
    Ok(rows
        .into_iter()
        .map(|row| CashRow {
            transaction_id: row.transaction_id,
            out_trade_no: row.out_trade_no,
            merchant: row.merchant,
            amount: Fen::new(row.amount),
            success_time_us: row.success_time_us,
            stray: row.stray,
        })
        .collect())
}

/// The cash of an id range of orders, as the invariants read it.
pub(super) fn legs(
    conn: &mut Conn,
    tenant: TenantId,
    from: OrderId,
    to: OrderId,
) -> Result<Vec<(OrderId, CashLeg)>, StoreError> {
    let rows = load(conn, tenant, from, to)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let leg = CashLeg {
                transaction_id: row.transaction_id,
                merchant: row.merchant,
                amount: Fen::new(row.amount),
                success_time_us: row.success_time_us,
                stray: row.stray,
            };
            (row.order_id.into(), leg)
        })
        .collect())
}
