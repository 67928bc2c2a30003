//! What an order's two legs rest on, as rows of their own: the bureau's word on every line, and the authorisation. The
//! legs themselves are in `settlements.rs` and `cash.rs`. Operators and reconciliation search here; the payment path
//! reads the order itself.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, SmallInt, Text};
use schema::bill::LineResult;
use schema::ids::{OrderId, TenantId};
use schema::money::{Fen, Price6, Ratio4};

use super::StoreError;
use super::batch::{Writer, all, batched};
use super::conn::{Conn, NotWritten, on};
use super::tables::price_line;
use super::values::{Hash, Id, to_word};
use crate::domain::order::{Authorisation, Order};

batched! {
    /// The bureau's word on a line of a price.
    NewPriceLine<'a> inserts "price_line" {
        tenant: Id as Binary,
        order_id: Id as Binary,
        price_number: i64 as BigInt,
        line: i32 as Integer,
        feedetl_sn: &'a str as Text,
        amount: i64 as BigInt,
        pric_uplmt_amt: Option<i64> as Nullable<BigInt>,
        selfpay_prop: i64 as BigInt,
        fulamt_ownpay: i64 as BigInt,
        overlmt: i64 as BigInt,
        preselfpay: i64 as BigInt,
        inscp_scp: i64 as BigInt,
        chrgitm_lv: &'a str as Text,
        flags: String as Text,
    } ""
}

batched! {
    /// What let the money move, under the version that it led to.
    NewAuthorisation inserts "authorisation" {
        tenant: Id as Binary,
        order_id: Id as Binary,
        version: i64 as BigInt,
        kind: String as Text,
        level: i16 as SmallInt,
        at_us: i64 as BigInt,
        evidence: Option<Hash> as Nullable<Binary>,
        fund: i64 as BigInt,
        other_funds: i64 as BigInt,
        account_own: i64 as BigInt,
        account_mulaid: i64 as BigInt,
        hospital: i64 as BigInt,
        cash: i64 as BigInt,
    } ""
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a> {
    price_lines: Vec<NewPriceLine<'a>>,
    authorisations: Vec<NewAuthorisation>,
}

impl<'a> Lot<'a> {
    /// The bureau's word on every line of one price, in the order in which it came.
    pub(super) fn price_lines(
        &mut self,
        order: &Order,
        number: u32,
        lines: &'a [LineResult],
    ) -> Result<(), StoreError> {
        let (tenant, order_id) = (order.tenant.into(), order.id.into());
        let row = |(at, line): (i32, &'a LineResult)| {
            Ok(NewPriceLine {
                tenant,
                order_id,
                price_number: i64::from(number),
                line: at,
                feedetl_sn: &line.feedetl_sn,
                amount: line.amount_fen.get(),
                pric_uplmt_amt: line.pric_uplmt_amt.map(Price6::units),
                selfpay_prop: line.selfpay_prop.units(),
                fulamt_ownpay: line.fulamt_ownpay_fen.get(),
                overlmt: line.overlmt_fen.get(),
                preselfpay: line.preselfpay_fen.get(),
                inscp_scp: line.inscp_scp_fen.get(),
                chrgitm_lv: &line.chrgitm_lv,
                flags: serde_json::to_string(&line.flags).map_err(damaged)?,
            })
        };
        let rows: Result<Vec<NewPriceLine<'a>>, StoreError> = (0_i32..).zip(lines).map(row).collect();
        self.price_lines.extend(rows?);
        Ok(())
    }

    /// What let an order's money move.
    pub(super) fn authorisation(&mut self, order: &Order, given: &Authorisation) -> Result<(), StoreError> {
        self.authorisations.push(NewAuthorisation {
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
        });
        Ok(())
    }

    /// Writes prices line by line.
    pub(super) fn price<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.price_lines, to)
    }

    /// Writes what payers authorised.
    pub(super) fn authorise<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.authorisations, to)
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = price_line)]
struct PriceLine {
    feedetl_sn: String,
    amount: i64,
    pric_uplmt_amt: Option<i64>,
    selfpay_prop: i64,
    fulamt_ownpay: i64,
    overlmt: i64,
    preselfpay: i64,
    inscp_scp: i64,
    chrgitm_lv: String,
    flags: String,
}

fn damaged(error: serde_json::Error) -> StoreError {
    StoreError::Damaged(format!("a line's flags: {error}"))
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
    let line = |row: PriceLine| {
        Ok(LineResult {
            flags: serde_json::from_str(&row.flags).map_err(damaged)?,
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
    };
    rows.into_iter().map(line).collect()
}
