//! The HIS without sockets: bills, and an answer to everything the platform may want of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, TimeDelta};
use schema::bill::{BillDraft, Patient};
use schema::his::{PaymentState, VisitCardBinding};
use schema::ids::{MessageId, OrderId};
use schema::link::{PreSettle, PriceAnswer, Release, Reply, SettleInputs, SettledTold, ToInstitution, UndoneTold};
use schema::money::Fen;
use schema::personal::{CardNo, Personal as _};
use schema::refusal::{Again, Code, Problem};
use schema::split::Split;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bill::{Bill, Posted, Standing, WindowReceipt};
use super::books::Booking;
use super::hospital::Hospital;
use super::message;
use super::procedure::{Goal, Next, PSN_SETLWAY, Procedure, Reached, hospital_refuses};

/// How long a price is held, in minutes; never across midnight.
const PRICE_LIVES_MIN: i64 = 30;
/// How many answers are remembered, the oldest forgotten first.
const ANSWERS_REMEMBERED: usize = 20_000;

/// The way to the bureau, for those who drive a [`Core`] in one thread.
pub trait BureauPort {
    /// One envelope there, its whole answer back; `None` when no answer came.
    fn call(&mut self, infno: &str, envelope: &Value) -> Option<Value>;
}

/// Everything a hospital remembers. Ordered, and written to one file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// By number.
    pub bills: BTreeMap<String, Bill>,
    /// Paid orders, undone ones included.
    pub bookings: BTreeMap<OrderId, Booking>,
    /// Work items answered.
    pub answers: BTreeMap<MessageId, Reply>,
    /// The newest release of an order: an older question about its price came too late.
    pub let_go: BTreeMap<OrderId, MessageId>,
    /// Orders undone as a whole: a payment told afterwards came too late.
    pub undone: BTreeSet<OrderId>,
    /// 9001 of the day.
    pub signed_in: Option<(NaiveDate, String)>,
    /// Bills issued.
    pub issued: u64,
    /// Next message number.
    pub messages: u32,
    /// Batches opened.
    pub batches: u64,
    /// Bookings made: the queue numbers.
    pub booked: u64,
    /// Who holds which visit card, by its number; each was bound at the window.
    pub visit_cards: BTreeMap<String, Patient>,
}

/// A hospital's own system.
#[derive(Debug, Clone)]
pub struct Core {
    pub(super) hospital: Hospital,
    pub(super) state: State,
    pub(super) revision: u64,
}

/// How a work item begins.
#[derive(Debug)]
pub enum Begun {
    /// It is answered already.
    Answered(Reply),
    /// The bureau is needed: drive this and call [`Core::finish`].
    Runs(Box<Procedure>),
}

impl Core {
    /// A hospital that goes on where [`Core::state`] was; `State::default()` for a new one.
    pub fn new(hospital: Hospital, state: State) -> Core {
        Core { hospital, state, revision: 0 }
    }

    /// Its names and addresses.
    pub fn hospital(&self) -> &Hospital {
        &self.hospital
    }

    /// Everything it remembers.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Rises with everything that may have changed the state.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Answers one work item, calling the bureau as often as needed. `None`: it could not be done now and nothing was
    /// answered; offer it again. The same id gets the same answer.
    pub fn perform(
        &mut self,
        id: MessageId,
        ask: &ToInstitution,
        port: &mut dyn BureauPort,
        now: DateTime<FixedOffset>,
    ) -> Option<Reply> {
        match self.begin(id, ask, now) {
            Begun::Answered(reply) => Some(reply),
            Begun::Runs(mut procedure) => {
                let ended = self.drive(&mut procedure, port, now);
                self.finish(id, ask, ended, now)
            }
        }
    }

    /// Drives a procedure to its end in one thread.
    pub fn drive(
        &mut self,
        procedure: &mut Procedure,
        port: &mut dyn BureauPort,
        now: DateTime<FixedOffset>,
    ) -> Result<Reached, Box<Problem>> {
        loop {
            match self.next(procedure, now) {
                Next::Call(call) => {
                    let answer = port.call(call.infno.as_str(), &call.envelope);
                    self.heard(procedure, answer.as_ref(), now);
                }
                Next::Finished(reached) => return Ok(*reached),
                Next::Failed(problem) => return Err(problem),
            }
        }
    }

    /// Takes up a work item. Only one may be under way per bill.
    pub fn begin(&mut self, id: MessageId, ask: &ToInstitution, now: DateTime<FixedOffset>) -> Begun {
        if let Some(reply) = self.state.answers.get(&id) {
            return Begun::Answered(reply.clone());
        }
        let reply = match ask {
            ToInstitution::PreSettle(ask) => match self.lock_for_price(id, ask, now) {
                Ok(Some(procedure)) => return Begun::Runs(Box::new(procedure)),
                Ok(None) => self.all_cash(ask, now),
                Err(problem) => Reply::Refused(*problem),
            },
            ToInstitution::Release(ask) => match self.let_go(id, ask) {
                Some(procedure) => return Begun::Runs(Box::new(procedure)),
                None => Reply::Done,
            },
            ToInstitution::Settled(told) => self.book(told, now),
            ToInstitution::Undone(told) => self.unbook(told, now),
            ToInstitution::QueryPayment(ask) => Reply::PaymentState(match self.state.bookings.get(&ask.order_id) {
                Some(booking) if booking.is_live() => PaymentState::Booked { guidance: booking.guidance.clone() },
                _ => PaymentState::NotBooked,
            }),
        };
        self.remember(id, &reply);
        Begun::Answered(reply)
    }

    /// Ends a work item whose procedure has ended. `None`: it could not be done now; offer it again. A refusal of the
    /// moment is told and forgotten.
    pub fn finish(
        &mut self,
        id: MessageId,
        ask: &ToInstitution,
        ended: Result<Reached, Box<Problem>>,
        now: DateTime<FixedOffset>,
    ) -> Option<Reply> {
        let reply = match (ask, ended) {
            (ToInstitution::PreSettle(ask), Ok(Reached::Priced { split })) => self.priced(ask, split, now),
            (ToInstitution::PreSettle(ask), Err(problem)) => {
                self.unlock(&ask.bill_no, ask.order_id);
                // "Not now" is no answer to keep: whoever asks again is to have the price.
                if problem.again == Again::Later {
                    return Some(Reply::Refused(*problem));
                }
                Reply::Refused(*problem)
            }
            // The lock is what a release must let go. Leftovers at an unreachable bureau are tried again; what the
            // bureau refuses to give up is not ours any more.
            (ToInstitution::Release(_), Err(problem)) if problem.code == Code::BureauUnreachable => return None,
            (ToInstitution::Release(_), _) => Reply::Done,
            _ => no("无法处理 this cannot be handled"),
        };
        self.remember(id, &reply);
        Some(reply)
    }

    /// Fixes the answer to a work item that was not begun.
    pub fn answered(&mut self, id: MessageId, reply: &Reply) {
        self.remember(id, reply);
    }

    fn remember(&mut self, id: MessageId, reply: &Reply) {
        self.revision += 1;
        self.state.answers.insert(id, reply.clone());
        while self.state.answers.len() > ANSWERS_REMEMBERED {
            self.state.answers.pop_first();
        }
    }

    fn lock_for_price(
        &mut self,
        id: MessageId,
        ask: &PreSettle,
        now: DateTime<FixedOffset>,
    ) -> Result<Option<Procedure>, Box<Problem>> {
        // Ids are UUIDv7: they tell which of two messages was asked first, whichever arrived first.
        if self.state.let_go.get(&ask.order_id).is_some_and(|release| *release > id) {
            return Err(hospital_refuses("该订单已释放 this order was released"));
        }
        let bill = self.state.bills.get_mut(&ask.bill_no).ok_or_else(no_such_bill)?;
        match bill.standing {
            // Only one order per bill is open at the platform: a newer one may take the bill over.
            Standing::Open | Standing::Held { .. } => {}
            Standing::Booked { .. } | Standing::PaidAtWindow => {
                return Err(hospital_refuses("该账单已缴费 this bill is paid"));
            }
            Standing::AtWindow => return Err(hospital_refuses("该账单已转窗口 the window has taken this bill")),
            Standing::Withdrawn => return Err(hospital_refuses("该账单已作废 this bill was withdrawn")),
        }
        if bill.draft.expires_at_us <= now.timestamp_micros() {
            return Err(hospital_refuses("该账单已过期 this bill has expired"));
        }
        let goal = match (ask.insured, &ask.insured_person) {
            (false, _) => None,
            (true, Some(person)) => {
                Some(Goal::Priced { order_id: ask.order_id, person: person.clone(), use_account: ask.use_account })
            }
            (true, None) => return Err(hospital_refuses("缺少参保人 the insured person is missing")),
        };
        bill.standing = Standing::Held { order_id: ask.order_id };
        Ok(goal.map(|goal| Procedure::new(&ask.bill_no, goal)))
    }

    fn all_cash(&self, ask: &PreSettle, now: DateTime<FixedOffset>) -> Reply {
        match self.state.bills.get(&ask.bill_no) {
            None => Reply::Refused(*no_such_bill()),
            Some(bill) => Reply::Priced(Box::new(PriceAnswer {
                split: Split::all_cash(bill.draft.amount_fen),
                valid_until_us: valid_until_us(bill, now),
                insurance: None,
                lines: Vec::new(),
            })),
        }
    }

    fn priced(&self, ask: &PreSettle, split: Split, now: DateTime<FixedOffset>) -> Reply {
        let answer = || {
            let bill = self.state.bills.get(&ask.bill_no)?;
            let visit = bill.at_bureau.as_ref()?;
            let batch = visit.batch.as_ref()?;
            let [fulamt_ownpay_fen, overlmt_selfpay_fen, preselfpay_fen, inscp_scp_fen] = batch.sums()?;
            Some(PriceAnswer {
                split,
                valid_until_us: valid_until_us(bill, now),
                insurance: Some(SettleInputs {
                    person: visit.person.clone(),
                    med_type: bill.draft.visit.med_type.clone(),
                    psn_setlway: PSN_SETLWAY.to_owned(),
                    use_account: ask.use_account,
                    mdtrt_id: visit.mdtrt_id.clone(),
                    chrg_bchno: batch.chrg_bchno.clone(),
                    invono: batch.invono.clone(),
                    medfee_sumamt_fen: bill.draft.amount_fen,
                    fulamt_ownpay_fen,
                    overlmt_selfpay_fen,
                    preselfpay_fen,
                    inscp_scp_fen,
                }),
                lines: batch.lines.clone(),
            })
        };
        answer().map_or_else(
            || no("账单状态异常 the bill is not in a state for this"),
            |answer| Reply::Priced(Box::new(answer)),
        )
    }

    /// Unlocks at once, whatever the bureau will say; gives the clearing away of what was left there.
    fn let_go(&mut self, id: MessageId, ask: &Release) -> Option<Procedure> {
        let newest = self.state.let_go.entry(ask.order_id).or_insert(id);
        *newest = id.max(*newest);
        self.unlock(&ask.bill_no, ask.order_id);
        let bill = self.state.bills.get(&ask.bill_no)?;
        let visit = bill.at_bureau.as_ref()?;
        (visit.order_id == Some(ask.order_id)).then(|| Procedure::new(&ask.bill_no, Goal::Clean))
    }

    fn unlock(&mut self, bill_no: &str, order: OrderId) {
        self.revision += 1;
        if let Some(bill) = self.state.bills.get_mut(bill_no)
            && bill.standing == (Standing::Held { order_id: order })
        {
            bill.standing = Standing::Open;
        }
    }

    fn book(&mut self, told: &SettledTold, now: DateTime<FixedOffset>) -> Reply {
        let order_id = told.order_id;
        if self.state.undone.contains(&order_id) {
            return no("该订单已退 this order was undone");
        }
        if let Some(booking) = self.state.bookings.get(&order_id) {
            return Reply::Booked(booking.guidance.clone());
        }
        let Some(bill) = self.state.bills.get_mut(&told.bill_no) else { return Reply::Refused(*no_such_bill()) };
        match bill.standing {
            Standing::Open | Standing::Held { .. } => {}
            Standing::Booked { .. } => {
                return no("该账单已由另一订单缴费 another order has paid this bill");
            }
            Standing::AtWindow | Standing::PaidAtWindow => {
                return no("该账单已在窗口缴费 this bill is paid at the window");
            }
            Standing::Withdrawn => {
                return no("该账单已作废 this bill was withdrawn");
            }
        }
        if !told.split.sums_to(bill.draft.amount_fen) || !agrees_with_bureau(told) {
            return no("金额与账单或医保结算不符 the amounts do not agree");
        }
        bill.standing = Standing::Booked { order_id };
        // Settled, so there is nothing of it to release; what another order left is released by that order.
        if bill.at_bureau.as_ref().is_some_and(|visit| visit.order_id == Some(order_id)) {
            bill.at_bureau = None;
        }
        self.state.booked += 1;
        let booking = Booking::new(told, &bill.draft, self.state.booked, now);
        let guidance = booking.guidance.clone();
        self.state.bookings.insert(order_id, booking);
        Reply::Booked(guidance)
    }

    fn unbook(&mut self, told: &UndoneTold, now: DateTime<FixedOffset>) -> Reply {
        if told.whole {
            self.state.undone.insert(told.order_id);
            if let Some(bill) = self.state.bills.get_mut(&told.bill_no)
                && bill.standing == (Standing::Booked { order_id: told.order_id })
            {
                bill.standing = Standing::Open;
            }
        }
        if let Some(booking) = self.state.bookings.get_mut(&told.order_id) {
            booking.give_back(told, now);
        }
        Reply::Done
    }

    /// Whether the window may take money for this bill now; if so the bill is the window's. Only after the adapter
    /// answered "released", or for a bill that phones never heard of.
    pub fn take_to_window(&mut self, bill_no: &str) -> Result<(), Box<Problem>> {
        self.revision += 1;
        let bill = self.state.bills.get_mut(bill_no).ok_or_else(no_such_bill)?;
        match bill.standing {
            Standing::Open | Standing::Held { .. } | Standing::AtWindow => {
                bill.standing = Standing::AtWindow;
                Ok(())
            }
            Standing::Booked { .. } | Standing::PaidAtWindow => Err(hospital_refuses("该账单已缴费 this bill is paid")),
            Standing::Withdrawn => Err(hospital_refuses("该账单已作废 this bill was withdrawn")),
        }
    }

    /// Paid at the window.
    pub fn paid_at_window(&mut self, bill_no: &str, receipt: &WindowReceipt) {
        self.revision += 1;
        if let Some(bill) = self.state.bills.get_mut(bill_no) {
            bill.standing = Standing::PaidAtWindow;
            bill.window = Some(receipt.clone());
        }
    }

    /// The bill is no longer asked for; only after the adapter answered "released".
    pub fn withdrawn(&mut self, bill_no: &str) {
        self.revision += 1;
        if let Some(bill) = self.state.bills.get_mut(bill_no) {
            bill.standing = Standing::Withdrawn;
        }
    }

    /// One bill.
    pub fn bill(&self, bill_no: &str) -> Option<&Bill> {
        self.state.bills.get(bill_no)
    }

    /// The numbers of bills that the adapter does not have yet.
    pub fn to_post(&self) -> Vec<String> {
        let waiting = self.state.bills.iter().filter(|(_, bill)| bill.posted == Posted::NotYet);
        waiting.map(|(bill_no, _)| bill_no.clone()).collect()
    }

    /// A bill as the adapter gets it: of a patient whose visit card was bound when it was written, it carries the card
    /// alone.
    pub fn outgoing(&self, bill_no: &str) -> Option<BillDraft> {
        let bill = self.state.bills.get(bill_no)?;
        let mut draft = bill.draft.clone();
        if let Some(card) = bill.draft.patient.visit_card_no.clone().filter(|_| bill.by_card) {
            draft.patient = Patient::of_visit_card(card);
        }
        Some(draft)
    }

    /// The platform knows this visit card from now on.
    pub fn visit_card_bound(&mut self, binding: &VisitCardBinding) {
        self.revision += 1;
        let holder = Patient::of_document(binding.psn_name.clone(), &binding.psn_cert_type, binding.certno.clone());
        self.state.visit_cards.insert(binding.visit_card_no.expose().to_owned(), holder);
    }

    /// Whether this very binding was made before.
    pub fn knows_visit_card(&self, binding: &VisitCardBinding) -> bool {
        let holder = self.state.visit_cards.get(binding.visit_card_no.expose());
        holder.is_some_and(|holder| holder.certno.as_ref() == Some(&binding.certno))
    }

    /// The patient as this hospital knows them, and whether their visit card is bound.
    pub(super) fn recognised(&self, patient: Patient) -> (Patient, bool) {
        let is_theirs = |(card, holder): &(&String, &Patient)| match &patient.certno {
            Some(certno) => holder.certno.as_ref() == Some(certno),
            None => patient.visit_card_no.as_ref().is_some_and(|number| number.expose() == *card),
        };
        match self.state.visit_cards.iter().find(is_theirs) {
            Some((card, holder)) => {
                (Patient { visit_card_no: Some(CardNo::new(card.clone())), ..holder.clone() }, true)
            }
            None => (patient, false),
        }
    }

    /// The adapter took a bill, or refused it for good.
    pub fn posted(&mut self, bill_no: &str, posted: Posted) {
        self.revision += 1;
        if let Some(bill) = self.state.bills.get_mut(bill_no) {
            bill.posted = posted;
        }
    }
}

fn no(words: &str) -> Reply {
    Reply::Refused(*hospital_refuses(words))
}

fn no_such_bill() -> Box<Problem> {
    hospital_refuses("无此账单 no such bill")
}

/// Half an hour, but neither past midnight nor past the bill's own end.
fn valid_until_us(bill: &Bill, now: DateTime<FixedOffset>) -> i64 {
    let held = now + TimeDelta::minutes(PRICE_LIVES_MIN);
    let midnight = now
        .date_naive()
        .checked_add_days(Days::new(1))
        .and_then(|tomorrow| tomorrow.and_time(NaiveTime::MIN).and_local_timezone(*now.offset()).single());
    let until = midnight.map_or(held, |midnight| held.min(midnight));
    until.timestamp_micros().min(bill.draft.expires_at_us)
}

/// What the platform says and what it hands over of the bureau's words are the same.
fn agrees_with_bureau(told: &SettledTold) -> bool {
    let Some(setl_id) = &told.setl_id else {
        return told.split == Split::all_cash(told.split.cash_fen);
    };
    let Some(setlinfo) = told.bureau_reply.as_ref().and_then(|reply| reply.0.get("setlinfo")) else { return false };
    message::text(setlinfo, "setl_id").as_ref() == Some(setl_id)
        && message::split(setlinfo) == Some(told.split)
        && told.split.cash_fen >= Fen::ZERO
}
