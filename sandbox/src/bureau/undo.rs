//! Putting a settlement on record, and taking one back: the part 2208 and 2601 share.

use chrono::{DateTime, Datelike, FixedOffset};
use schema::money::Overflow;

use super::core::{Call, Core};
use super::refusal::Refusal;
use super::state::{Draw, Settlement, accumulated_key, message_key};

impl Core {
    /// Writes a record and moves what it moves: account money and the hold on its lines.
    pub(super) fn record(&mut self, settlement: Settlement) {
        let seq = settlement.seq;
        for draw in &settlement.draws {
            if let Some(owner) = self.state.persons.get_mut(&draw.psn_no) {
                // Pricing looked at this balance a moment ago and an undo gives back what was taken: it cannot overflow.
                owner.balance = owner.balance.minus(draw.amount).unwrap_or(owner.balance);
            }
        }
        let holder = if settlement.undoes.is_some() { None } else { Some(seq) };
        if let Some(visit) = self.state.visits.get_mut(&settlement.mdtrt_id) {
            for feedetl_sn in &settlement.lines {
                if let Some(line) = visit.lines.get_mut(feedetl_sn) {
                    line.settled_by = holder;
                }
            }
        }
        if settlement.undoes.is_none() {
            self.state.by_msgid.insert(message_key(&settlement.fixmedins_code, &settlement.msgid), seq);
        }
        self.state.by_setl_id.insert(settlement.setl_id.clone(), seq);
        self.state.by_person.entry(settlement.psn_no.clone()).or_default().push(seq);
        self.state.settlements.insert(seq, settlement);
    }

    /// Undoes a live settlement in every month that has not been cleared: a new record with negative amounts,
    /// accumulators and accounts restored, lines unsettled again. Answers the new record.
    pub(super) fn undo(&mut self, call: &Call<'_>, seq: u64) -> Result<Settlement, Refusal> {
        let Some(original) = self.state.settlements.get(&seq).cloned() else {
            return Err(Refusal::not_found("无此结算 no such settlement"));
        };
        if self.state.cleared_months.contains(&month_of(original.setl_time)) {
            return Err(Refusal::month_cleared("该月已清算，不能撤销 this month has been cleared"));
        }
        let amounts = original.amounts.negated();
        let key = accumulated_key(&original.psn_no, original.setl_time.year(), &original.insutype);
        let after = self.state.accumulated.get(&key).copied().unwrap_or_default().with(&amounts)?;
        let negated = |draw: &Draw| Draw { psn_no: draw.psn_no.clone(), amount: draw.amount.negated() };
        let draws: Vec<Draw> = original.draws.iter().map(negated).collect();
        let balance_after = self.balance_after(&original, &draws)?;
        let undo_seq = self.state.next_number();
        let undo = Settlement {
            seq: undo_seq,
            setl_id: format!("{}9{undo_seq:013}", original.clr_optins),
            infno: call.infno.to_owned(),
            msgid: call.head.msgid.clone(),
            origin: call.caller.paasid.clone(),
            origin_kind: call.caller.kind,
            setl_time: call.now,
            amounts,
            draws,
            balance_after,
            cap_left: original.cap_left.minus(amounts.hifp)?,
            undoes: Some(seq),
            undone_by: None,
            ..original
        };
        self.state.accumulated.insert(key, after);
        self.record(undo.clone());
        if let Some(original) = self.state.settlements.get_mut(&seq) {
            original.undone_by = Some(undo_seq);
        }
        Ok(undo)
    }

    fn balance_after(&self, original: &Settlement, draws: &[Draw]) -> Result<schema::money::Fen, Overflow> {
        let now = self.state.persons.get(&original.psn_no).map(|person| person.balance).unwrap_or_default();
        draws.iter().filter(|draw| draw.psn_no == original.psn_no).try_fold(now, |now, draw| now.minus(draw.amount))
    }

    /// A settlement of the same person that came later and still counts.
    pub(super) fn later_live(&self, settlement: &Settlement) -> Option<&Settlement> {
        let records = self.state.by_person.get(&settlement.psn_no)?;
        let later = records.iter().rev().take_while(|seq| **seq > settlement.seq);
        later.filter_map(|seq| self.state.settlements.get(seq)).find(|record| record.is_live())
    }
}

/// `yyyyMM` of the bureau's own day.
pub(super) fn month_of(at: DateTime<FixedOffset>) -> String {
    at.format("%Y%m").to_string()
}
