//! The desk on paper: one order with its refunds and postings, decided by the real tables and booked as the store
//! would book it. Nothing here decides anything.

use platform::domain::bill::{BillFacts, BillState};
use platform::domain::binding::BindingFacts;
use platform::domain::deadline::Rules;
use platform::domain::invariants::{self, Books, CashLeg, InsuranceLeg};
use platform::domain::order::{self, Carry, Decision, Event, Given, Insured, Order, Place, Taken};
use platform::domain::posting::{self, Posting};
use platform::domain::refund::{self, Refund, RefundEvent, RefundKind};
use schema::ids::{BillId, BindingId, ChannelUserId, InstitutionCode, MessageId, OrderId, RefundId, TenantId};
use schema::money::Fen;
use schema::refusal::Refusal;
use schema::seal::Lookup;
use schema::split::Split;
use uuid::Uuid;

/// When every story begins: 2026-01-01 00:00 UTC.
pub(crate) const T0_US: i64 = 1_767_225_600_000_000;
/// What every bill asks for.
pub(crate) const BILL: Fen = Fen::new(10_000);
/// What the bill of what remains after a partial return asks for.
pub(crate) const REMAINS: Fen = Fen::new(6_000);
/// Bills from this number on are of what remains.
pub(crate) const FIRST_REMAINING: u128 = 1_000;
/// The institution's merchant at the wallet.
pub(crate) const MERCHANT: &str = "1900000109";
/// 职工基本医疗保险.
pub(crate) const INSUTYPE: &str = "310";
/// The waits and deadlines of `settings/default.toml`.
pub(crate) const RULES: Rules = Rules {
    price_ms: 60_000,
    priced_ms: 1_800_000,
    code_ms: 120_000,
    code_sends: 3,
    bureau_limit_ms: 90_000,
    after_reversal_ms: 90_000,
    ask_again_ms: 5_000,
    collect_ms: 900_000,
    ask_wallet_ms: 30_000,
    tell_ms: 86_400_000,
    patience_ms: 7_200_000,
    refund_ms: 432_000_000,
};

/// A share of [`BILL`] each: pooled fund, other funds, own account, shared account, hospital, cash.
pub(crate) const fn split(shares: [i64; 6]) -> Split {
    Split {
        fund_fen: Fen::new(shares[0]),
        other_funds_fen: Fen::new(shares[1]),
        account_own_fen: Fen::new(shares[2]),
        account_mulaid_fen: Fen::new(shares[3]),
        hospital_fen: Fen::new(shares[4]),
        cash_fen: Fen::new(shares[5]),
    }
}

/// The keyed hash of something personal.
pub(crate) fn hash(of: u8) -> Lookup {
    Lookup::from_slice(&[of; 32]).expect("32 bytes")
}

/// Which legs an order has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// 医保支付 by a level-2 binding.
    Insured,
    /// 自费.
    CashOnly,
}

/// One order and everything that is stored about it.
#[derive(Debug, Clone)]
pub(crate) struct Paper {
    /// The order.
    pub(crate) order: Order,
    /// Its refunds, oldest first.
    pub(crate) refunds: Vec<Refund>,
    /// Its postings.
    pub(crate) postings: Vec<Posting>,
    /// Its settlements, with their ids.
    insurance: Vec<(String, InsuranceLeg)>,
    /// The cash that came in for it.
    cash: Vec<CashLeg>,
    /// Records written.
    pub(crate) records: i64,
    /// The binding as it is now.
    pub(crate) binding: BindingFacts,
    /// The bureau's dialect.
    pub(crate) can_ask_by_visit: bool,
    bill: BillFacts,
    rules: Rules,
    fresh: u64,
}

/// The bill that order `number` pays, as it is before anybody opened an order.
pub(crate) fn bill(number: u128) -> BillFacts {
    BillFacts {
        id: BillId::from_uuid(Uuid::from_u128(0xb111_0000 + number)),
        bill_no: format!("MZ{number:04}"),
        institution: InstitutionCode::try_from("H44190000001".to_owned()).expect("a national code"),
        amount: if number >= FIRST_REMAINING { REMAINS } else { BILL },
        state: BillState::Open,
        expires_at_us: T0_US + 86_400_000_000 * 7,
        order: None,
    }
}

/// The payer's binding of level 2.
pub(crate) fn binding() -> BindingFacts {
    BindingFacts { id: BindingId::from_uuid(Uuid::from_u128(7)), epoch: 1, level: 2, frozen: false, person: hash(9) }
}

impl Paper {
    /// Opens order `number` on bill `bill_number`; the numbers of one story differ.
    pub(crate) fn open(
        (number, bill_number): (u128, u128),
        shape: Shape,
        (binding, can_ask_by_visit): (BindingFacts, bool),
        rules: Rules,
        now_us: i64,
    ) -> Result<(Paper, Decision), Refusal> {
        Self::open_as((number, bill_number), (shape, None), (binding, can_ask_by_visit), rules, now_us)
    }

    /// Opens the order that replaces another one.
    pub(crate) fn replace(
        numbers: (u128, u128),
        carry: Carry,
        bound: (BindingFacts, bool),
        rules: Rules,
        now_us: i64,
    ) -> Result<(Paper, Decision), Refusal> {
        Self::open_as(numbers, (Shape::Insured, Some(carry)), bound, rules, now_us)
    }

    fn open_as(
        (number, bill_number): (u128, u128),
        (shape, carry): (Shape, Option<Carry>),
        (binding, can_ask_by_visit): (BindingFacts, bool),
        rules: Rules,
        now_us: i64,
    ) -> Result<(Paper, Decision), Refusal> {
        let id = OrderId::from_uuid(Uuid::from_u128(0x0de4_0000 + number));
        let insured = (shape == Shape::Insured).then_some(Insured {
            binding: binding.id,
            epoch: binding.epoch,
            person: binding.person,
            use_account: true,
        });
        let bill = bill(bill_number);
        let given = Given {
            now_us,
            rules: &rules,
            can_ask_by_visit,
            bill: &bill,
            binding: Some(&binding),
            msgid: "",
            message: MessageId::from_uuid(Uuid::from_u128(number << 32)),
            refund: RefundId::from_uuid(Uuid::from_u128(number << 32)),
        };
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        let payer = ChannelUserId::from_uuid(Uuid::from_u128(2));
        let decision = order::open(id, tenant, payer, MERCHANT, insured, carry, &given)?;
        let order = decision.next.clone();
        let (refunds, postings, records, fresh) = (Vec::new(), Vec::new(), 1, number as u64 * 1_000_000);
        let (insurance, cash) = (Vec::new(), Vec::new());
        Ok((
            Paper { order, refunds, postings, insurance, cash, records, binding, can_ask_by_visit, bill, rules, fresh },
            decision,
        ))
    }

    /// Decides an event and books what was decided. A refusal changes nothing.
    pub(crate) fn event(&mut self, event: &Event, now_us: i64) -> Result<Decision, Refusal> {
        self.fresh += 1;
        let msgid = self.msgid();
        let decision = order::next(&self.order, event, &self.given(&msgid, now_us))?;
        match event {
            Event::SettleDone(came) | Event::SettleFound(came) => {
                let leg = InsuranceLeg {
                    insutype: came.insutype.clone(),
                    split: came.split,
                    setl_time_us: came.setl_time_us,
                    undone_at_us: None,
                };
                self.insurance.push((came.setl_id.clone(), leg));
            }
            Event::UndoDone(undone) | Event::UndoFound(undone) => {
                let setl_id = self.order.state.settled().map(|settled| settled.setl_id.clone());
                self.undo(setl_id, undone.setl_time_us);
            }
            _ => {}
        }
        self.book(&decision, None);
        Ok(decision)
    }

    /// Decides an event of a refund and, in the same commit, what its end means for the order.
    pub(crate) fn refund_event(&mut self, id: RefundId, event: &RefundEvent, now_us: i64) -> Result<Decision, Refusal> {
        self.fresh += 1;
        let msgid = self.msgid();
        let given = self.given(&msgid, now_us);
        let refund = self.refunds.iter().find(|refund| refund.id == id).expect("a refund of this order");
        let decided = refund::next(refund, event, &self.order, &given)?;
        let undone = match event {
            RefundEvent::UndoDone(undone) => {
                Some((refund.settled.as_ref().map(|settled| settled.setl_id.clone()), undone.setl_time_us))
            }
            _ => None,
        };
        let told = match &decided.ended {
            Some(ended) => order::next(&self.order, &Event::RefundEnded(ended.clone()), &given)?,
            None => Decision {
                next: Order { version: self.order.version + 1, ..self.order.clone() },
                postings: Vec::new(),
                actions: Vec::new(),
                refund: None,
            },
        };
        let decision = Decision {
            postings: decided.postings.into_iter().chain(told.postings).collect(),
            actions: decided.actions.into_iter().chain(told.actions).collect(),
            ..told
        };
        if let Some((setl_id, at_us)) = undone {
            self.undo(setl_id, at_us);
        }
        self.book(&decision, Some(decided.next));
        Ok(decision)
    }

    /// The number that the next bureau call gets.
    fn msgid(&self) -> String {
        format!("H44190000001{:018}", self.fresh)
    }

    fn given<'a>(&'a self, msgid: &'a str, now_us: i64) -> Given<'a> {
        Given {
            now_us,
            rules: &self.rules,
            can_ask_by_visit: self.can_ask_by_visit,
            bill: &self.bill,
            binding: Some(&self.binding),
            msgid,
            message: MessageId::from_uuid(Uuid::from_u128(u128::from(self.fresh))),
            refund: RefundId::from_uuid(Uuid::from_u128(u128::from(self.fresh))),
        }
    }

    fn undo(&mut self, setl_id: Option<String>, at_us: i64) {
        for (_, leg) in self.insurance.iter_mut().filter(|(known, _)| Some(known) == setl_id.as_ref()) {
            leg.undone_at_us = Some(at_us);
        }
    }

    fn take(&mut self, taken: &Taken, stray: bool) {
        if self.cash.iter().all(|leg| leg.transaction_id != taken.transaction_id) {
            self.cash.push(CashLeg {
                transaction_id: taken.transaction_id.clone(),
                merchant: MERCHANT.into(),
                amount: taken.amount,
                success_time_us: taken.success_time_us,
                stray,
            });
        }
    }

    fn book(&mut self, decision: &Decision, refund: Option<Refund>) {
        self.order = decision.next.clone();
        if let Some(taken) = self.order.state.taken().cloned()
            && self.order.carried_in.is_zero()
        {
            self.take(&taken, false);
        }
        self.postings.extend(decision.postings.iter().cloned());
        self.records += 1;
        for refund in refund.into_iter().chain(decision.refund.clone()) {
            if let (RefundKind::Stray, Some(back)) = (refund.kind, &refund.cash) {
                self.take(&back.taken.clone(), true);
            }
            match self.refunds.iter_mut().find(|known| known.id == refund.id) {
                Some(known) => *known = refund,
                None => self.refunds.push(refund),
            }
        }
    }

    /// Every sentence of the books that does not hold, given who holds the bill and the person.
    pub(crate) fn broken(&self, bill_held_by_it: bool, person_held_by_it: bool) -> Vec<String> {
        let insurance: Vec<InsuranceLeg> = self.insurance.iter().map(|(_, leg)| leg.clone()).collect();
        let books = Books {
            order: &self.order,
            refunds: &self.refunds,
            further_refunds: &[],
            postings: &self.postings,
            insurance: &insurance,
            cash: &self.cash,
            records: (self.records, self.records),
            bill_held_by_it,
            person_held_by_it,
        };
        let violations = invariants::check(&books);
        violations.iter().map(|broken| format!("{}: {}", broken.invariant.id(), broken.found)).collect()
    }

    /// Where the order stands.
    pub(crate) fn place(&self) -> Place {
        self.order.state.place()
    }
}

/// The lines of one commit balance.
pub(crate) fn balanced(lines: &[Posting]) -> bool {
    posting::sums_to_zero(lines)
}
