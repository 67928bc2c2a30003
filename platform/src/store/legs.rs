//! What an order's two legs rest on, as rows of their own: the bureau's word on every line, the authorisation, the
//! settlement whole, the cash. Operators and reconciliation search here; the payment path reads the order itself.

use diesel::prelude::*;
use schema::bill::LineResult;
use schema::ids::{OrderId, TenantId};
use schema::money::{Fen, Price6, Ratio4};
use schema::seal::Sealed;

use super::StoreError;
use super::conn::{Conn, NotWritten, on};
use super::tables::{authorisation, cash_leg, price_line, settlement, settlement_amount, settlement_fund};
use super::values::{Hash, Id, to_word};
use crate::domain::order::{Authorisation, Order, Taken};
use crate::domain::settlement::Settlement;

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

// ——— settlements ———

#[derive(Insertable)]
#[diesel(table_name = settlement, treat_none_as_default_value = false)]
struct NewSettlement<'a> {
    tenant: Id,
    setl_id: &'a str,
    order_id: Id,
    msgid: &'a str,
    inf_refmsgid: &'a str,
    mdtrt_id: &'a str,
    insutype: &'a str,
    setl_time_us: i64,
    clr_type: &'a str,
    clr_way: &'a str,
    clr_optins: &'a str,
    fund: i64,
    other_funds: i64,
    account_own: i64,
    account_mulaid: i64,
    hospital: i64,
    cash: i64,
    reply: &'a [u8],
}

#[derive(Insertable)]
#[diesel(table_name = settlement_amount)]
struct NewAmount<'a> {
    tenant: Id,
    setl_id: &'a str,
    name: &'a str,
    amount: i64,
}

#[derive(Insertable)]
#[diesel(table_name = settlement_fund)]
struct NewFund<'a> {
    tenant: Id,
    setl_id: &'a str,
    line: i32,
    fund_pay_type: &'a str,
    fund_pay_type_name: &'a str,
    inscp_scp_amt: i64,
    crt_payb_lmt_amt: i64,
    fund_payamt: i64,
}

/// Keeps a settlement whole. One that is known (a late answer after a question) stays as it was first told.
pub(super) fn insert_settlement(conn: &mut Conn, order: &Order, came: &Settlement) -> Result<(), NotWritten> {
    let tenant = Id::from(order.tenant);
    let setl_id = came.setl_id.as_str();
    let row = NewSettlement {
        tenant,
        setl_id,
        order_id: order.id.into(),
        msgid: &came.msgid,
        inf_refmsgid: &came.inf_refmsgid,
        mdtrt_id: &came.mdtrt_id,
        insutype: &came.insutype,
        setl_time_us: came.setl_time_us,
        clr_type: &came.clearing.clr_type,
        clr_way: &came.clearing.clr_way,
        clr_optins: &came.clearing.clr_optins,
        fund: came.split.fund_fen.get(),
        other_funds: came.split.other_funds_fen.get(),
        account_own: came.split.account_own_fen.get(),
        account_mulaid: came.split.account_mulaid_fen.get(),
        hospital: came.split.hospital_fen.get(),
        cash: came.split.cash_fen.get(),
        reply: came.reply.as_bytes(),
    };
    let kept = on!(conn, c => diesel::insert_into(settlement::table)
        .values(&row)
        .on_conflict_do_nothing()
        .execute(c))?;
    if kept == 0 {
        return Ok(());
    }
    for (name, amount) in &came.amounts {
        let row = NewAmount { tenant, setl_id, name, amount: amount.get() };
        on!(conn, c => diesel::insert_into(settlement_amount::table).values(&row).execute(c))?;
    }
    for (line, fund) in (0_i32..).zip(&came.details) {
        let row = NewFund {
            tenant,
            setl_id,
            line,
            fund_pay_type: &fund.fund_pay_type,
            fund_pay_type_name: &fund.fund_pay_type_name,
            inscp_scp_amt: fund.inscp_scp_amt.get(),
            crt_payb_lmt_amt: fund.crt_payb_lmt_amt.get(),
            fund_payamt: fund.fund_payamt.get(),
        };
        on!(conn, c => diesel::insert_into(settlement_fund::table).values(&row).execute(c))?;
    }
    Ok(())
}

pub(super) fn settlement_reply(conn: &mut Conn, tenant: TenantId, setl_id: &str) -> Result<Option<Sealed>, StoreError> {
    let found: Option<Vec<u8>> = on!(conn, c => settlement::table
        .filter(settlement::tenant.eq(Id::from(tenant)))
        .filter(settlement::setl_id.eq(setl_id))
        .select(settlement::reply)
        .get_result(c)
        .optional())?;
    Ok(found.map(Sealed::from_bytes))
}

// ——— cash ———

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
pub(super) fn insert_cash(conn: &mut Conn, order: &Order, taken: &Taken, stray: bool) -> Result<(), NotWritten> {
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
