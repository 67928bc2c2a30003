//! The insurance leg as rows: what every 2207 is told, what the bureau settled, and what undid it.
//! None of them is ever changed: a settlement is answered by its undo.

use std::collections::{BTreeMap, HashSet};

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Nullable, Text};
use schema::ids::{OrderId, TenantId};
use schema::money::Fen;
use schema::seal::Sealed;
use schema::split::Split;

use super::batch::{Writer, all, any, batched};
use super::conn::{Conn, NotWritten, on};
use super::tables::{
    settlement, settlement_amount, settlement_fund, settlement_input, settlement_text, settlement_undo,
};
use super::values::{Hash, Id};
use super::{SettlementInputRow, SettlementRow, StoreError};
use crate::domain::invariants::InsuranceLeg;
use crate::domain::order::{Echoed, Inputs, Order, State, Undone};
use crate::domain::settlement::{Clearing, FundDetail, Settlement};

/// Who had a settlement made: the only word there is so far.
const ORIGIN: &str = "platform";

/// 退费结算标志 of what counts; 2207's own answer need not say so.
const NOT_REFUNDED: &str = "0";

batched! {
    /// What a 2207 is told.
    NewInput<'a> inserts "settlement_input" {
        tenant: Id as Binary,
        msgid: &'a str as Text,
        order_id: Id as Binary,
        price_number: i64 as BigInt,
        psn_no: Hash as Binary,
        insutype: &'a str as Text,
        insuplc_admdvs: &'a str as Text,
        mdtrt_cert_type: &'a str as Text,
        mdtrt_cert_no: Hash as Binary,
        med_type: &'a str as Text,
        psn_setlway: &'a str as Text,
        acct_used_flag: bool as Bool,
        mdtrt_id: &'a str as Text,
        chrg_bchno: &'a str as Text,
        invono: &'a str as Text,
        medfee_sumamt: i64 as BigInt,
        fulamt_ownpay_amt: i64 as BigInt,
        overlmt_selfpay: i64 as BigInt,
        preselfpay_amt: i64 as BigInt,
        inscp_scp_amt: i64 as BigInt,
        sealed: &'a [u8] as Binary,
    } ""
}

batched! {
    /// A settlement that is not known yet.
    NewSettlement<'a> inserts "settlement" {
        tenant: Id as Binary,
        setl_id: &'a str as Text,
        order_id: Id as Binary,
        origin: &'a str as Text,
        refd_setl_flag: &'a str as Text,
        msgid: &'a str as Text,
        inf_refmsgid: &'a str as Text,
        mdtrt_id: &'a str as Text,
        insutype: &'a str as Text,
        setl_time_us: i64 as BigInt,
        clr_type: &'a str as Text,
        clr_way: &'a str as Text,
        clr_optins: &'a str as Text,
        fund: i64 as BigInt,
        other_funds: i64 as BigInt,
        account_own: i64 as BigInt,
        account_mulaid: i64 as BigInt,
        hospital: i64 as BigInt,
        cash: i64 as BigInt,
        reply: &'a [u8] as Binary,
    } "ON CONFLICT DO NOTHING"
}

batched! {
    /// An amount of `setlinfo`.
    NewAmount<'a> inserts "settlement_amount" {
        tenant: Id as Binary,
        setl_id: &'a str as Text,
        name: &'a str as Text,
        amount: i64 as BigInt,
    } ""
}

batched! {
    /// A kind, flag or ratio of `setlinfo`.
    NewText<'a> inserts "settlement_text" {
        tenant: Id as Binary,
        setl_id: &'a str as Text,
        name: &'a str as Text,
        value: &'a str as Text,
    } ""
}

batched! {
    /// A row of `setldetail`.
    NewFund<'a> inserts "settlement_fund" {
        tenant: Id as Binary,
        setl_id: &'a str as Text,
        line: i32 as Integer,
        fund_pay_type: &'a str as Text,
        fund_pay_type_name: &'a str as Text,
        inscp_scp_amt: i64 as BigInt,
        crt_payb_lmt_amt: i64 as BigInt,
        fund_payamt: i64 as BigInt,
        setl_proc_info: &'a str as Text,
    } ""
}

batched! {
    /// What undid a settlement. A known undo stays as it was first told.
    NewUndo<'a> inserts "settlement_undo" {
        tenant: Id as Binary,
        setl_id: &'a str as Text,
        order_id: Id as Binary,
        undo_setl_id: Option<&'a str> as Nullable<Text>,
        msgid: Option<&'a str> as Nullable<Text>,
        inf_refmsgid: Option<&'a str> as Nullable<Text>,
        setl_time_us: i64 as BigInt,
    } "ON CONFLICT DO NOTHING"
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a> {
    inputs: Vec<NewInput<'a>>,
    settlements: Vec<NewSettlement<'a>>,
    amounts: Vec<NewAmount<'a>>,
    texts: Vec<NewText<'a>>,
    funds: Vec<NewFund<'a>>,
    undos: Vec<NewUndo<'a>>,
}

impl<'a> Lot<'a> {
    /// What a 2207 is told, before it goes out.
    pub(super) fn input(&mut self, order: &'a Order, msgid: &'a str) -> Result<(), StoreError> {
        let price = order.price.as_ref();
        let Some((number, inputs)) = price.and_then(|price| Some((price.number, price.inputs.as_ref()?))) else {
            return Err(StoreError::Damaged(format!("order {} settles without 2207's inputs", order.id)));
        };
        self.inputs.push(NewInput {
            tenant: order.tenant.into(),
            msgid,
            order_id: order.id.into(),
            price_number: i64::from(number),
            psn_no: (&inputs.psn_no).into(),
            insutype: &inputs.insutype,
            insuplc_admdvs: &inputs.insuplc_admdvs,
            mdtrt_cert_type: &inputs.mdtrt_cert_type,
            mdtrt_cert_no: (&inputs.mdtrt_cert_no).into(),
            med_type: &inputs.med_type,
            psn_setlway: &inputs.psn_setlway,
            acct_used_flag: inputs.acct_used,
            mdtrt_id: &inputs.mdtrt_id,
            chrg_bchno: &inputs.chrg_bchno,
            invono: &inputs.invono,
            medfee_sumamt: inputs.echoed.medfee_sumamt.get(),
            fulamt_ownpay_amt: inputs.echoed.fulamt_ownpay_amt.get(),
            overlmt_selfpay: inputs.echoed.overlmt_selfpay.get(),
            preselfpay_amt: inputs.echoed.preselfpay_amt.get(),
            inscp_scp_amt: inputs.echoed.inscp_scp_amt.get(),
            sealed: inputs.sealed.as_bytes(),
        });
        Ok(())
    }

    /// A settlement whole, which is not known yet.
    pub(super) fn settlement(&mut self, order: &Order, came: &'a Settlement) {
        let tenant = Id::from(order.tenant);
        let setl_id = came.setl_id.as_str();
        self.settlements.push(NewSettlement {
            tenant,
            setl_id,
            order_id: order.id.into(),
            origin: ORIGIN,
            refd_setl_flag: came.texts.get("refd_setl_flag").map_or(NOT_REFUNDED, String::as_str),
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
        });
        let amounts = came.amounts.iter();
        self.amounts.extend(amounts.map(|(name, amount)| NewAmount { tenant, setl_id, name, amount: amount.get() }));
        self.texts.extend(came.texts.iter().map(|(name, value)| NewText { tenant, setl_id, name, value }));
        self.funds.extend((0_i32..).zip(&came.details).map(|(line, fund)| NewFund {
            tenant,
            setl_id,
            line,
            fund_pay_type: &fund.fund_pay_type,
            fund_pay_type_name: &fund.fund_pay_type_name,
            inscp_scp_amt: fund.inscp_scp_amt.get(),
            crt_payb_lmt_amt: fund.crt_payb_lmt_amt.get(),
            fund_payamt: fund.fund_payamt.get(),
            setl_proc_info: &fund.setl_proc_info,
        }));
    }

    /// What undid a settlement.
    pub(super) fn undo(&mut self, order: &Order, setl_id: &'a str, undone: &'a Undone) {
        self.undos.push(NewUndo {
            tenant: order.tenant.into(),
            setl_id,
            order_id: order.id.into(),
            undo_setl_id: Some(undone.undo_setl_id.as_str()).filter(|id| !id.is_empty()),
            msgid: undone.msgid.as_deref(),
            inf_refmsgid: undone.inf_refmsgid.as_deref(),
            setl_time_us: undone.setl_time_us,
        });
    }

    /// Writes what each 2207 is sent with; its number was used before: moved.
    pub(super) fn send<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.inputs, to)
    }

    /// Writes what came back; a settlement has become known meanwhile: moved.
    pub(super) fn write<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.settlements, to)?;
        all(&self.amounts, to)?;
        all(&self.texts, to)?;
        all(&self.funds, to)?;
        any(&self.undos, to)
    }
}

/// Those of these settlements that are known: a late answer after a question says nothing new.
pub(super) fn known(conn: &mut Conn, tenant: TenantId, setl_ids: &[&str]) -> Result<HashSet<String>, StoreError> {
    let found: Vec<String> = on!(conn, c => settlement::table
        .filter(settlement::tenant.eq(Id::from(tenant)))
        .filter(settlement::setl_id.eq_any(setl_ids))
        .select(settlement::setl_id)
        .load(c))?;
    Ok(found.into_iter().collect())
}

// ——— what 2207 is told ———

/// The 2207 that is out, or would be, in this state.
pub(super) fn sending(state: &State) -> Option<&str> {
    match state.stood() {
        State::Settling { msgid, .. } => Some(msgid),
        _ => None,
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = settlement_input)]
struct StoredInput {
    msgid: String,
    price_number: i64,
    psn_no: Hash,
    insutype: String,
    insuplc_admdvs: String,
    mdtrt_cert_type: String,
    mdtrt_cert_no: Hash,
    med_type: String,
    psn_setlway: String,
    acct_used_flag: bool,
    mdtrt_id: String,
    chrg_bchno: String,
    invono: String,
    medfee_sumamt: i64,
    fulamt_ownpay_amt: i64,
    overlmt_selfpay: i64,
    preselfpay_amt: i64,
    inscp_scp_amt: i64,
    sealed: Vec<u8>,
}

/// What each 2207 of an order was told, oldest first.
pub(super) fn inputs_of(
    conn: &mut Conn,
    tenant: TenantId,
    order: OrderId,
) -> Result<Vec<SettlementInputRow>, StoreError> {
    // The number of a message begins with its institution and second.
    let rows: Vec<StoredInput> = on!(conn, c => settlement_input::table
        .filter(settlement_input::tenant.eq(Id::from(tenant)))
        .filter(settlement_input::order_id.eq(Id::from(order)))
        .order((settlement_input::price_number, settlement_input::msgid))
        .select(StoredInput::as_select())
        .load(c))?;
    Ok(rows
        .into_iter()
        .map(|row| SettlementInputRow {
            msgid: row.msgid,
            price_number: u32::try_from(row.price_number).unwrap_or(u32::MAX),
            inputs: Inputs {
                sealed: Sealed::from_bytes(row.sealed),
                psn_no: row.psn_no.into(),
                insuplc_admdvs: row.insuplc_admdvs,
                mdtrt_cert_type: row.mdtrt_cert_type,
                mdtrt_cert_no: row.mdtrt_cert_no.into(),
                med_type: row.med_type,
                psn_setlway: row.psn_setlway,
                acct_used: row.acct_used_flag,
                mdtrt_id: row.mdtrt_id,
                chrg_bchno: row.chrg_bchno,
                invono: row.invono,
                insutype: row.insutype,
                echoed: Echoed {
                    medfee_sumamt: Fen::new(row.medfee_sumamt),
                    fulamt_ownpay_amt: Fen::new(row.fulamt_ownpay_amt),
                    overlmt_selfpay: Fen::new(row.overlmt_selfpay),
                    preselfpay_amt: Fen::new(row.preselfpay_amt),
                    inscp_scp_amt: Fen::new(row.inscp_scp_amt),
                },
            },
        })
        .collect())
}

// ——— settlements ———

pub(super) fn reply(conn: &mut Conn, tenant: TenantId, setl_id: &str) -> Result<Option<Sealed>, StoreError> {
    let found: Option<Vec<u8>> = on!(conn, c => settlement::table
        .filter(settlement::tenant.eq(Id::from(tenant)))
        .filter(settlement::setl_id.eq(setl_id))
        .select(settlement::reply)
        .get_result(c)
        .optional())?;
    Ok(found.map(Sealed::from_bytes))
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = settlement)]
struct StoredSettlement {
    setl_id: String,
    order_id: Id,
    origin: String,
    refd_setl_flag: String,
    msgid: String,
    inf_refmsgid: String,
    mdtrt_id: String,
    insutype: String,
    setl_time_us: i64,
    clr_type: String,
    clr_way: String,
    clr_optins: String,
    fund: i64,
    other_funds: i64,
    account_own: i64,
    account_mulaid: i64,
    hospital: i64,
    cash: i64,
}

impl StoredSettlement {
    fn split(&self) -> Split {
        Split {
            fund_fen: Fen::new(self.fund),
            other_funds_fen: Fen::new(self.other_funds),
            account_own_fen: Fen::new(self.account_own),
            account_mulaid_fen: Fen::new(self.account_mulaid),
            hospital_fen: Fen::new(self.hospital),
            cash_fen: Fen::new(self.cash),
        }
    }
}

/// The settlements of an id range of orders, each order's oldest first.
fn load(conn: &mut Conn, tenant: TenantId, from: OrderId, to: OrderId) -> Result<Vec<StoredSettlement>, StoreError> {
    Ok(on!(conn, c => settlement::table
        .filter(settlement::tenant.eq(Id::from(tenant)))
        .filter(settlement::order_id.between(Id::from(from), Id::from(to)))
        .order((settlement::order_id, settlement::setl_time_us, settlement::setl_id))
        .select(StoredSettlement::as_select())
        .load(c))?)
}

/// An order's settlements whole, oldest first.
pub(super) fn of_order(conn: &mut Conn, tenant: TenantId, order: OrderId) -> Result<Vec<SettlementRow>, StoreError> {
    let mut undone = undos(conn, tenant, order, order)?;
    let mut rows = Vec::new();
    for row in load(conn, tenant, order, order)? {
        let split = row.split();
        rows.push(SettlementRow {
            amounts: amounts_of(conn, tenant, &row.setl_id)?,
            texts: texts_of(conn, tenant, &row.setl_id)?,
            details: funds_of(conn, tenant, &row.setl_id)?,
            undone: undone.remove(&row.setl_id),
            setl_id: row.setl_id,
            msgid: row.msgid,
            inf_refmsgid: row.inf_refmsgid,
            mdtrt_id: row.mdtrt_id,
            origin: row.origin,
            refd_setl_flag: row.refd_setl_flag,
            insutype: row.insutype,
            setl_time_us: row.setl_time_us,
            clearing: Clearing { clr_type: row.clr_type, clr_way: row.clr_way, clr_optins: row.clr_optins },
            split,
        });
    }
    Ok(rows)
}

fn amounts_of(conn: &mut Conn, tenant: TenantId, setl_id: &str) -> Result<BTreeMap<String, Fen>, StoreError> {
    let rows: Vec<(String, i64)> = on!(conn, c => settlement_amount::table
        .filter(settlement_amount::tenant.eq(Id::from(tenant)))
        .filter(settlement_amount::setl_id.eq(setl_id))
        .select((settlement_amount::name, settlement_amount::amount))
        .load(c))?;
    Ok(rows.into_iter().map(|(name, amount)| (name, Fen::new(amount))).collect())
}

fn texts_of(conn: &mut Conn, tenant: TenantId, setl_id: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let rows: Vec<(String, String)> = on!(conn, c => settlement_text::table
        .filter(settlement_text::tenant.eq(Id::from(tenant)))
        .filter(settlement_text::setl_id.eq(setl_id))
        .select((settlement_text::name, settlement_text::value))
        .load(c))?;
    Ok(rows.into_iter().collect())
}

fn funds_of(conn: &mut Conn, tenant: TenantId, setl_id: &str) -> Result<Vec<FundDetail>, StoreError> {
    type Row = (String, String, i64, i64, i64, String);
    let rows: Vec<Row> = on!(conn, c => settlement_fund::table
        .filter(settlement_fund::tenant.eq(Id::from(tenant)))
        .filter(settlement_fund::setl_id.eq(setl_id))
        .order(settlement_fund::line)
        .select((
            settlement_fund::fund_pay_type,
            settlement_fund::fund_pay_type_name,
            settlement_fund::inscp_scp_amt,
            settlement_fund::crt_payb_lmt_amt,
            settlement_fund::fund_payamt,
            settlement_fund::setl_proc_info,
        ))
        .load(c))?;
    Ok(rows
        .into_iter()
        .map(|(fund_pay_type, fund_pay_type_name, inscp_scp, crt_payb_lmt, fund_pay, setl_proc_info)| FundDetail {
            fund_pay_type,
            fund_pay_type_name,
            inscp_scp_amt: Fen::new(inscp_scp),
            crt_payb_lmt_amt: Fen::new(crt_payb_lmt),
            fund_payamt: Fen::new(fund_pay),
            setl_proc_info,
        })
        .collect())
}

// ——— what was undone ———

/// The undos of an id range of orders by the settlement that each undid.
fn undos(
    conn: &mut Conn,
    tenant: TenantId,
    from: OrderId,
    to: OrderId,
) -> Result<BTreeMap<String, Undone>, StoreError> {
    type Row = (String, Option<String>, Option<String>, Option<String>, i64);
    let rows: Vec<Row> = on!(conn, c => settlement_undo::table
        .filter(settlement_undo::tenant.eq(Id::from(tenant)))
        .filter(settlement_undo::order_id.between(Id::from(from), Id::from(to)))
        .select((
            settlement_undo::setl_id,
            settlement_undo::undo_setl_id,
            settlement_undo::msgid,
            settlement_undo::inf_refmsgid,
            settlement_undo::setl_time_us,
        ))
        .load(c))?;
    Ok(rows
        .into_iter()
        .map(|(setl_id, undo_setl_id, msgid, inf_refmsgid, setl_time_us)| {
            let undo_setl_id = undo_setl_id.unwrap_or_default();
            (setl_id, Undone { undo_setl_id, setl_time_us, msgid, inf_refmsgid })
        })
        .collect())
}

/// The insurance legs of an id range of orders, as the invariants read them.
pub(super) fn legs(
    conn: &mut Conn,
    tenant: TenantId,
    from: OrderId,
    to: OrderId,
) -> Result<Vec<(OrderId, InsuranceLeg)>, StoreError> {
    let undone = undos(conn, tenant, from, to)?;
    let rows = load(conn, tenant, from, to)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let leg = InsuranceLeg {
                split: row.split(),
                undone_at_us: undone.get(&row.setl_id).map(|undone| undone.setl_time_us),
                insutype: row.insutype,
                setl_time_us: row.setl_time_us,
            };
            (row.order_id.into(), leg)
        })
        .collect())
}

/// Undos whose settlement is not there, or is another order's: (`setl_id`, order).
pub(super) fn undos_of_nothing(conn: &mut Conn, tenant: TenantId) -> Result<Vec<(String, OrderId)>, StoreError> {
    let known = settlement::table
        .filter(settlement::tenant.eq(settlement_undo::tenant))
        .filter(settlement::setl_id.eq(settlement_undo::setl_id))
        .filter(settlement::order_id.eq(settlement_undo::order_id));
    let found: Vec<(String, Id)> = on!(conn, c => settlement_undo::table
        .filter(settlement_undo::tenant.eq(Id::from(tenant)))
        .filter(not(exists(known)))
        .order(settlement_undo::setl_id)
        .select((settlement_undo::setl_id, settlement_undo::order_id))
        .load(c))?;
    Ok(found.into_iter().map(|(setl_id, order)| (setl_id, order.into())).collect())
}
