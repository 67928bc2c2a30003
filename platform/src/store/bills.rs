//! Bills.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use schema::bill::BillKind;
use schema::ids::{BillId, InstitutionCode, OrderId, TenantId};
use schema::money::{Fen, Price6, Qty4};
use schema::seal::{Lookup, Sealed};

use super::batch::{Writer, all, batched};
use super::conn::{Conn, NotWritten, on};
use super::tables::{bill, bill_line};
use super::values::{Bytes, Hash, Id, from_word, parsed, to_word};
use super::{BillLine, BillRow, NewBill, StoreError, StoredBill};
use crate::domain::bill::{BillFacts, BillState};

batched! {
    /// A new bill.
    New<'a> inserts "bill" {
        tenant: Id as Binary,
        id: Id as Binary,
        institution: &'a str as Text,
        bill_no: &'a str as Text,
        amount: i64 as BigInt,
        state: &'a str as Text,
        expires_at_us: i64 as BigInt,
        order_id: Option<Id> as Nullable<Binary>,
        last_order: Option<Id> as Nullable<Binary>,
        content: Hash as Binary,
        kind: String as Text,
        patient: Hash as Binary,
        psn_name_masked: &'a str as Text,
        dept_name: &'a str as Text,
        dr_name: &'a str as Text,
        ipt_otp_no: &'a str as Text,
        med_type: &'a str as Text,
        dept_code: &'a str as Text,
        atddr_no: &'a str as Text,
        issued_at_us: i64 as BigInt,
        sealed: &'a [u8] as Binary,
    } ""
}

batched! {
    /// A line of a new bill.
    NewLine<'a> inserts "bill_line" {
        tenant: Id as Binary,
        bill: Id as Binary,
        line: i32 as Integer,
        feedetl_sn: &'a str as Text,
        med_list_codg: Option<&'a str> as Nullable<Text>,
        medins_list_codg: &'a str as Text,
        pric: i64 as BigInt,
        cnt: i64 as BigInt,
        amount: i64 as BigInt,
        rxno: Option<&'a str> as Nullable<Text>,
        rx_circ_flag: &'a str as Text,
        hosp_appr_flag: &'a str as Text,
        unit: Option<&'a str> as Nullable<Text>,
        spec: Option<&'a str> as Nullable<Text>,
        prd_days: Option<i64> as Nullable<BigInt>,
        level_hint: Option<&'a str> as Nullable<Text>,
    } ""
}

batched! {
    /// A bill that changes if it still is what the decision saw.
    Move<'a> runs "UPDATE bill SET state = c.state, order_id = c.order_id, \
        last_order = COALESCE(c.order_id, bill.last_order) FROM " {
        tenant: Id as Binary,
        id: Id as Binary,
        state: &'a str as Text,
        order_id: Option<Id> as Nullable<Binary>,
        seen_state: &'a str as Text,
        seen_order: Option<Id> as Nullable<Binary>,
    } " WHERE bill.tenant = c.tenant AND bill.id = c.id AND bill.state = c.seen_state \
        AND bill.order_id IS NOT DISTINCT FROM c.seen_order"
}

/// What a batch writes here.
#[derive(Default)]
pub(super) struct Lot<'a> {
    new: Vec<New<'a>>,
    lines: Vec<NewLine<'a>>,
    moves: Vec<Move<'a>>,
}

impl<'a> Lot<'a> {
    /// A new bill with its lines.
    pub(super) fn bill(&mut self, tenant: TenantId, new: &'a NewBill) -> Result<(), StoreError> {
        let facts = &new.facts;
        self.new.push(New {
            tenant: tenant.into(),
            id: facts.id.into(),
            institution: facts.institution.as_str(),
            bill_no: &facts.bill_no,
            amount: facts.amount.get(),
            state: facts.state.as_str(),
            expires_at_us: facts.expires_at_us,
            order_id: facts.order.map(Id::from),
            last_order: facts.order.map(Id::from),
            content: Bytes(new.content),
            kind: to_word(new.kind)?,
            patient: (&new.patient).into(),
            psn_name_masked: &new.psn_name_masked,
            dept_name: &new.dept_name,
            dr_name: &new.dr_name,
            ipt_otp_no: &new.ipt_otp_no,
            med_type: &new.med_type,
            dept_code: &new.dept_code,
            atddr_no: &new.atddr_no,
            issued_at_us: new.issued_at_us,
            sealed: new.sealed.as_bytes(),
        });
        self.lines.extend((0_i32..).zip(&new.lines).map(|(at, line)| NewLine {
            tenant: tenant.into(),
            bill: facts.id.into(),
            line: at,
            feedetl_sn: &line.feedetl_sn,
            med_list_codg: line.med_list_codg.as_deref(),
            medins_list_codg: &line.medins_list_codg,
            pric: line.pric.units(),
            cnt: line.cnt.units(),
            amount: line.amount.get(),
            rxno: line.rxno.as_deref(),
            rx_circ_flag: &line.rx_circ_flag,
            hosp_appr_flag: &line.hosp_appr_flag,
            unit: line.unit.as_deref(),
            spec: line.spec.as_deref(),
            prd_days: line.prd_days.map(i64::from),
            level_hint: line.level_hint.as_deref(),
        }));
        Ok(())
    }

    /// Moves a bill on from what was seen.
    pub(super) fn change(&mut self, tenant: TenantId, seen: Seen, state: BillState, order: Option<OrderId>) {
        self.moves.push(Move {
            tenant: tenant.into(),
            id: seen.id.into(),
            state: state.as_str(),
            order_id: order.map(Id::from),
            seen_state: seen.state.as_str(),
            seen_order: seen.order.map(Id::from),
        });
    }

    /// Writes new bills; one with the same id or institution's number was there before: moved.
    pub(super) fn write<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.new, to)?;
        all(&self.lines, to)
    }

    /// Moves bills on; one that is no longer what was seen: moved.
    pub(super) fn claim<'r>(&'r self, to: &mut Writer<'_, 'r>) -> Result<(), NotWritten> {
        all(&self.moves, to)
    }
}

/// What a decision saw of a bill: the guard under which it may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: BillId,
    pub(super) state: BillState,
    pub(super) order: Option<OrderId>,
}

impl From<&BillFacts> for Seen {
    fn from(facts: &BillFacts) -> Seen {
        Seen { id: facts.id, state: facts.state, order: facts.order }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = bill)]
pub(super) struct StoredFacts {
    id: Id,
    institution: String,
    bill_no: String,
    amount: i64,
    state: String,
    expires_at_us: i64,
    order_id: Option<Id>,
    content: Hash,
}

impl StoredFacts {
    pub(super) fn read(self) -> Result<StoredBill, StoreError> {
        let state = BillState::parse(&self.state).ok_or(());
        Ok(StoredBill {
            facts: BillFacts {
                id: self.id.into(),
                institution: parsed("a bill's institution", InstitutionCode::try_from(self.institution))?,
                bill_no: self.bill_no,
                amount: Fen::new(self.amount),
                state: parsed("a bill's state", state)?,
                expires_at_us: self.expires_at_us,
                order: self.order_id.map(OrderId::from),
            },
            content: self.content.0,
        })
    }
}

/// Bills by id.
pub(super) fn facts(
    conn: &mut Conn,
    tenant: TenantId,
    ids: &[BillId],
) -> Result<HashMap<BillId, StoredBill>, StoreError> {
    let found: Vec<StoredFacts> = on!(conn, c => bill::table
        .filter(bill::tenant.eq(Id::from(tenant)))
        .filter(bill::id.eq_any(ids.iter().copied().map(Id::from)))
        .select(StoredFacts::as_select())
        .load(c))?;
    found.into_iter().map(|row| row.read().map(|bill| (bill.facts.id, bill))).collect()
}

/// Bills by their institution's number.
pub(super) fn facts_by_no(
    conn: &mut Conn,
    tenant: TenantId,
    numbers: &[(&InstitutionCode, &str)],
) -> Result<HashMap<(InstitutionCode, String), StoredBill>, StoreError> {
    let found: Vec<StoredFacts> = on!(conn, c => bill::table
        .filter(bill::tenant.eq(Id::from(tenant)))
        .filter(bill::institution.eq_any(numbers.iter().map(|(institution, _)| institution.as_str())))
        .filter(bill::bill_no.eq_any(numbers.iter().map(|(_, bill_no)| *bill_no)))
        .select(StoredFacts::as_select())
        .load(c))?;
    let key = |bill: &StoredBill| (bill.facts.institution.clone(), bill.facts.bill_no.clone());
    found.into_iter().map(|row| row.read().map(|bill| (key(&bill), bill))).collect()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = bill)]
struct Whole {
    #[diesel(embed)]
    facts: StoredFacts,
    kind: String,
    patient: Hash,
    psn_name_masked: String,
    dept_name: String,
    dr_name: String,
    ipt_otp_no: String,
    med_type: String,
    dept_code: String,
    atddr_no: String,
    issued_at_us: i64,
    last_order: Option<Id>,
    sealed: Vec<u8>,
}

impl Whole {
    fn read(self) -> Result<BillRow, StoreError> {
        let StoredBill { facts, content } = self.facts.read()?;
        Ok(BillRow {
            bill: NewBill {
                facts,
                content,
                kind: from_word::<BillKind>("a bill's kind", self.kind)?,
                patient: self.patient.into(),
                psn_name_masked: self.psn_name_masked,
                dept_name: self.dept_name,
                dr_name: self.dr_name,
                ipt_otp_no: self.ipt_otp_no,
                med_type: self.med_type,
                dept_code: self.dept_code,
                atddr_no: self.atddr_no,
                issued_at_us: self.issued_at_us,
                sealed: Sealed::from_bytes(self.sealed),
                lines: Vec::new(),
            },
            last_order: self.last_order.map(OrderId::from),
        })
    }
}

pub(super) fn of_patients(
    conn: &mut Conn,
    tenant: TenantId,
    patients: &[Lookup],
    most: u32,
) -> Result<Vec<BillRow>, StoreError> {
    let patients = patients.iter().map(Hash::from);
    let found = on!(conn, c => bill::table
        .filter(bill::tenant.eq(Id::from(tenant)))
        .filter(bill::patient.eq_any(patients))
        .order((bill::issued_at_us.desc(), bill::id.desc()))
        .limit(i64::from(most))
        .select(Whole::as_select())
        .load(c))?;
    found.into_iter().map(Whole::read).collect()
}

pub(super) fn one(conn: &mut Conn, tenant: TenantId, id: BillId) -> Result<Option<BillRow>, StoreError> {
    let found = on!(conn, c => bill::table
        .filter(bill::tenant.eq(Id::from(tenant)))
        .filter(bill::id.eq(Id::from(id)))
        .select(Whole::as_select())
        .get_result(c)
        .optional())?;
    found.map(Whole::read).transpose()
}

pub(super) fn by_no(
    conn: &mut Conn,
    tenant: TenantId,
    institution: &InstitutionCode,
    bill_no: &str,
) -> Result<Option<BillRow>, StoreError> {
    let found = on!(conn, c => bill::table
        .filter(bill::tenant.eq(Id::from(tenant)))
        .filter(bill::institution.eq(institution.as_str()))
        .filter(bill::bill_no.eq(bill_no))
        .select(Whole::as_select())
        .get_result(c)
        .optional())?;
    found.map(Whole::read).transpose()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = bill_line)]
struct StoredLine {
    feedetl_sn: String,
    med_list_codg: Option<String>,
    medins_list_codg: String,
    pric: i64,
    cnt: i64,
    amount: i64,
    rxno: Option<String>,
    rx_circ_flag: String,
    hosp_appr_flag: String,
    unit: Option<String>,
    spec: Option<String>,
    prd_days: Option<i64>,
    level_hint: Option<String>,
}

/// A bill's fee lines, in its order.
pub(super) fn lines(conn: &mut Conn, tenant: TenantId, id: BillId) -> Result<Vec<BillLine>, StoreError> {
    let found: Vec<StoredLine> = on!(conn, c => bill_line::table
        .filter(bill_line::tenant.eq(Id::from(tenant)))
        .filter(bill_line::bill.eq(Id::from(id)))
        .order(bill_line::line)
        .select(StoredLine::as_select())
        .load(c))?;
    found
        .into_iter()
        .map(|row| {
            Ok(BillLine {
                feedetl_sn: row.feedetl_sn,
                med_list_codg: row.med_list_codg,
                medins_list_codg: row.medins_list_codg,
                pric: Price6::from_units(row.pric),
                cnt: Qty4::from_units(row.cnt),
                amount: Fen::new(row.amount),
                rxno: row.rxno,
                rx_circ_flag: row.rx_circ_flag,
                hosp_appr_flag: row.hosp_appr_flag,
                unit: row.unit,
                spec: row.spec,
                prd_days: parsed("a line's days", row.prd_days.map(u32::try_from).transpose())?,
                level_hint: row.level_hint,
            })
        })
        .collect()
}
