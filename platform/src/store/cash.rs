//! The cash leg as rows: what the wallet is asked and by whom it is to be paid, and the cash that came in.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Text};
use schema::ids::{OrderId, TenantId};
use schema::money::Fen;
use schema::seal::{Lookup, Sealed};

use super::batch::{Writer, any, batched};
use super::conn::{Conn, NotWritten, on};
use super::tables::{cash_leg, prepay};
use super::values::{Hash, Id};
use super::{CashRow, NewPrepay, PrepayRow, StoreError};
use crate::domain::invariants::CashLeg;
use crate::domain::order::{Order, Taken};

// ——— what the wallet is asked ———

batched! {
    /// What is asked, with the payer's openid as their login has it now. What was asked before stays as it was: the
    /// wallet takes a repeat only with the same content.
    Ask<'a> runs "INSERT INTO prepay (tenant, order_id, out_trade_no, sp_mchid, merchant, appid, amount, \
        expires_at_us, asked_at_us, openid, openid_sealed) SELECT c.tenant, c.order_id, c.out_trade_no, c.sp_mchid, \
        c.merchant, c.appid, c.amount, c.expires_at_us, c.asked_at_us, payer.openid, payer.openid_sealed FROM " {
        tenant: Id as Binary,
        order_id: Id as Binary,
        out_trade_no: &'a str as Text,
        sp_mchid: &'a str as Text,
        merchant: &'a str as Text,
        appid: &'a str as Text,
        amount: i64 as BigInt,
        expires_at_us: i64 as BigInt,
        asked_at_us: i64 as BigInt,
        payer: Id as Binary,
    } " JOIN channel_user AS payer ON payer.tenant = c.tenant AND payer.id = c.payer WHERE TRUE ON CONFLICT DO NOTHING"
}

batched! {
    /// Cash that came in. Known cash stays as it was first told.
    Came<'a> inserts "cash_leg" {
        tenant: Id as Binary,
        order_id: Id as Binary,
        transaction_id: &'a str as Text,
        out_trade_no: &'a str as Text,
        merchant: &'a str as Text,
        amount: i64 as BigInt,
        success_time_us: i64 as BigInt,
        stray: bool as Bool,
    } "ON CONFLICT DO NOTHING"
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a> {
    asks: Vec<Ask<'a>>,
    came: Vec<Came<'a>>,
}

impl<'a> Lot<'a> {
    /// What the wallet is to be asked for an order.
    pub(super) fn prepay(&mut self, order: &'a Order, asked: &'a NewPrepay) {
        self.asks.push(Ask {
            tenant: order.tenant.into(),
            order_id: order.id.into(),
            out_trade_no: &asked.out_trade_no,
            sp_mchid: &asked.sp_mchid,
            merchant: &order.bill.merchant,
            appid: &asked.appid,
            amount: asked.amount.get(),
            expires_at_us: asked.expires_at_us,
            asked_at_us: order.updated_at_us,
            payer: order.payer.into(),
        });
    }

    /// Cash that came in for an order at this merchant. `stray`: it had no right to stay.
    pub(super) fn came(
        &mut self,
        (tenant, order): (TenantId, OrderId),
        merchant: &'a str,
        taken: &'a Taken,
        stray: bool,
    ) {
        self.came.push(Came {
            tenant: tenant.into(),
            order_id: order.into(),
            transaction_id: &taken.transaction_id,
            out_trade_no: &taken.out_trade_no,
            merchant,
            amount: taken.amount.get(),
            success_time_us: taken.success_time_us,
            stray,
        });
    }

    /// Writes it.
    pub(super) fn write<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        any(&self.asks, to)?;
        any(&self.came, to)
    }
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
