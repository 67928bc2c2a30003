//! Every settlement and undo as the bureau recorded it, and the books proved from those records.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Datelike;
use schema::money::{Fen, Overflow};
use serde::{Deserialize, Serialize};

use super::caller::CallerKind;
use super::core::Core;
use super::fields::DT19;
use super::policy::{Accumulated, Amounts};
use super::state::{Settlement, accumulated_key};

/// A settlement or an undo, for reading. Amounts are fen, negative in an undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Order of events.
    pub seq: u64,
    /// Its own id.
    pub setl_id: String,
    /// `2207`, `2208` or `2601`.
    pub infno: String,
    /// The sender's message id.
    pub msgid: String,
    /// Paasid of the sender.
    pub origin: String,
    /// Hospital or platform.
    pub origin_kind: CallerKind,
    /// Institution.
    pub fixmedins_code: String,
    /// Person.
    pub psn_no: String,
    /// Insurance.
    pub insutype: String,
    /// Visit at the bureau.
    pub mdtrt_id: String,
    /// Visit at the hospital.
    pub ipt_otp_no: String,
    /// Batch.
    pub chrg_bchno: String,
    /// Invoice.
    pub invono: String,
    /// `yyyy-MM-dd HH:mm:ss`.
    pub setl_time: String,
    /// 0 for what counts, 1 for undos and what they undid.
    pub refd_setl_flag: String,
    /// A settlement that was not undone.
    pub live: bool,
    /// In an undo: the setl_id of the settlement.
    pub undoes: Option<String>,
    /// In a settlement: the setl_id of its undo.
    pub undone_by: Option<String>,
    /// What moved.
    pub amounts: Amounts,
}

/// What one caller's live settlements come to, in fen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CallerBook {
    /// Paasid.
    pub origin: String,
    /// Settlements that count.
    pub live_settlements: u64,
    /// Settlements that were undone, by whomever.
    pub undone_settlements: u64,
    /// Bills.
    pub medfee_fen: Fen,
    /// All funds.
    pub fund_fen: Fen,
    /// Accounts, family accounts included.
    pub account_fen: Fen,
    /// Cash.
    pub cash_fen: Fen,
    /// Borne by hospitals.
    pub hospital_fen: Fen,
}

/// The books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Everything re-derived from the records equals what is stored.
    pub balanced: bool,
    /// What does not, in words; empty when balanced.
    pub faults: Vec<String>,
    /// Live settlements that charge a bill another live settlement of the same person at the same institution charges
    /// too: they share an invoice number or a fee line (ipt_otp_no and feedetl_sn).
    pub charged_twice: u64,
    /// One per caller that ever settled.
    pub callers: Vec<CallerBook>,
}

impl Core {
    /// Every settlement and undo, in the order they happened.
    pub fn records(&self) -> Vec<Record> {
        self.state.settlements.values().map(|record| self.view(record)).collect()
    }

    fn view(&self, record: &Settlement) -> Record {
        let setl_id = |seq: &u64| self.state.settlements.get(seq).map(|other| other.setl_id.clone());
        Record {
            seq: record.seq,
            setl_id: record.setl_id.clone(),
            infno: record.infno.clone(),
            msgid: record.msgid.clone(),
            origin: record.origin.clone(),
            origin_kind: record.origin_kind,
            fixmedins_code: record.fixmedins_code.clone(),
            psn_no: record.psn_no.clone(),
            insutype: record.insutype.clone(),
            mdtrt_id: record.mdtrt_id.clone(),
            ipt_otp_no: record.ipt_otp_no.clone(),
            chrg_bchno: record.chrg_bchno.clone(),
            invono: record.invono.clone(),
            setl_time: record.setl_time.format(DT19).to_string(),
            refd_setl_flag: if record.is_live() { "0" } else { "1" }.to_owned(),
            live: record.is_live(),
            undoes: record.undoes.as_ref().and_then(setl_id),
            undone_by: record.undone_by.as_ref().and_then(setl_id),
            amounts: record.amounts,
        }
    }

    /// The books, from the records alone, compared with what is stored.
    pub fn books(&self) -> Books {
        let mut faults = Vec::new();
        let callers = self.caller_books().unwrap_or_else(|Overflow| {
            faults.push("sums leave the range of money".to_owned());
            Vec::new()
        });
        self.check_records(&mut faults);
        self.check_accumulators(&mut faults);
        self.check_accounts(&mut faults);
        Books { balanced: faults.is_empty(), faults, charged_twice: self.charged_twice(), callers }
    }

    fn settlements(&self) -> impl Iterator<Item = &Settlement> {
        self.state.settlements.values().filter(|record| record.undoes.is_none())
    }

    fn live(&self) -> impl Iterator<Item = &Settlement> {
        self.settlements().filter(|record| record.is_live())
    }

    fn caller_books(&self) -> Result<Vec<CallerBook>, Overflow> {
        let mut books: BTreeMap<&str, CallerBook> = BTreeMap::new();
        for record in self.settlements() {
            let book = books.entry(&record.origin).or_default();
            book.origin.clone_from(&record.origin);
            if !record.is_live() {
                book.undone_settlements += 1;
                continue;
            }
            let a = &record.amounts;
            book.live_settlements += 1;
            book.medfee_fen = book.medfee_fen.plus(a.medfee_sumamt)?;
            book.fund_fen = book.fund_fen.plus(a.funds()?)?;
            book.account_fen = book.account_fen.plus(a.acct_pay)?;
            book.cash_fen = book.cash_fen.plus(a.psn_cash)?;
            book.hospital_fen = book.hospital_fen.plus(a.hosp_part)?;
        }
        Ok(books.into_values().collect())
    }

    fn charged_twice(&self) -> u64 {
        let mut invoices = BTreeSet::new();
        let mut lines = BTreeSet::new();
        let mut twice = 0;
        for record in self.live() {
            let who = (&record.fixmedins_code, &record.psn_no);
            let mut again = !invoices.insert((who, &record.invono));
            for line in &record.lines {
                again |= !lines.insert((who, &record.ipt_otp_no, line));
            }
            twice += u64::from(again);
        }
        twice
    }

    fn check_records(&self, faults: &mut Vec<String>) {
        for record in self.state.settlements.values() {
            let setl_id = &record.setl_id;
            if !record.amounts.identities_hold() {
                faults.push(format!("{setl_id}: the identities do not hold"));
            }
            if Fen::sum(record.draws.iter().map(|draw| draw.amount)) != Ok(record.amounts.acct_pay) {
                faults.push(format!("{setl_id}: the accounts drawn do not sum to acct_pay"));
            }
            let Some(undone) = record.undoes else { continue };
            let original = self.state.settlements.get(&undone);
            let mirrors = original.is_some_and(|original| {
                original.undone_by == Some(record.seq) && original.amounts == record.amounts.negated()
            });
            if !mirrors {
                faults.push(format!("{setl_id}: is not the mirror of what it undoes"));
            }
        }
    }

    fn check_accumulators(&self, faults: &mut Vec<String>) {
        let mut derived: BTreeMap<String, Accumulated> = BTreeMap::new();
        for record in self.live() {
            let key = accumulated_key(&record.psn_no, record.setl_time.year(), &record.insutype);
            let sum = derived.entry(key).or_default();
            *sum = sum.with(&record.amounts).unwrap_or(*sum);
        }
        for (key, stored) in &self.state.accumulated {
            if derived.remove(key).unwrap_or_default() != *stored {
                faults.push(format!("accumulator {key} differs from its records"));
            }
        }
        faults.extend(derived.into_keys().map(|key| format!("accumulator {key} is not stored")));
    }

    fn check_accounts(&self, faults: &mut Vec<String>) {
        let mut drawn: BTreeMap<&str, Fen> = BTreeMap::new();
        for draw in self.state.settlements.values().flat_map(|record| &record.draws) {
            let sum = drawn.entry(&draw.psn_no).or_default();
            *sum = sum.plus(draw.amount).unwrap_or(*sum);
        }
        for person in self.state.persons.values() {
            let drawn = drawn.remove(person.psn_no.as_str()).unwrap_or_default();
            if person.balance.plus(drawn) != Ok(person.opening_balance) || person.balance.is_negative() {
                faults.push(format!("account of {} differs from its records", person.psn_no));
            }
        }
    }
}
