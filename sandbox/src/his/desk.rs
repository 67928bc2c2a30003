//! One hospital at work: it polls its adapter, answers what is wanted, posts its bills and keeps a window.
//!
//! Work about one bill is done one piece at a time, bills run beside each other. Faults are asked once each time a work
//! item is begun, by the operations `pre-settle`, `release`, `settled`, `undone`, `query`, and `bill` for a bill on its way
//! to the adapter; the subject is `INSTITUTION/bill_no`, since every hospital counts its own bills.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schema::bill::{BillDraft, Patient};
use schema::his::{ClaimAnswer, Guidance, PaymentState, RefundAsk, VisitCardBinding, WorkItem};
use schema::ids::MessageId;
use schema::link::{Reply, ToInstitution};
use schema::money::Fen;
use schema::refusal::{Code, Problem, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bill::{Posted, Standing, WindowReceipt};
use super::core::{Begun, Core, State};
use super::draft::Wish;
use super::outside::{Adapter, Bureau, Failure};
use super::procedure::{Goal, Next, Procedure, Reached, hospital_refuses};
use crate::bureau::Catalogue;
use crate::clock::china_now;
use crate::fault::Faults;
use crate::http::{self, Course};

/// Between two attempts to reach something that did not answer.
const AGAIN: Duration = Duration::from_millis(200);

/// What all hospitals of a process share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What can be ordered.
    pub catalogue: Arc<Catalogue>,
    /// Feeds the dice of new bills.
    pub seed: u64,
    /// Fault rules.
    pub faults: Arc<Faults>,
    /// How long a fault keeps the HIS silent about a work item; for ever when absent.
    pub silence: Option<Duration>,
}

/// One hospital at work.
#[derive(Debug)]
pub struct Desk {
    core: Mutex<Core>,
    shared: Shared,
    adapter: Adapter,
    bureau: Bureau,
    /// Work items being done, or kept silent about.
    in_hand: Mutex<BTreeSet<MessageId>>,
    bills: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    put_down: tokio::sync::Notify,
}

/// What happened at the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtWindow {
    /// What the platform said.
    #[serde(flatten)]
    pub claim: ClaimAnswer,
    /// The payment, where the bill was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<WindowReceipt>,
}

/// Why the window could not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAtWindow {
    /// The platform or its adapter did not answer, or refused.
    Adapter(Failure),
    /// The hospital or the bureau refused.
    Here(Box<Problem>),
}

impl From<Box<Problem>> for NotAtWindow {
    fn from(problem: Box<Problem>) -> NotAtWindow {
        NotAtWindow::Here(problem)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Opens the desk on the current tokio runtime: bills not yet posted go out, the poll begins.
    pub fn open(core: Core, shared: Shared, client: &reqwest::Client) -> Arc<Desk> {
        let adapter = Adapter::new(core.hospital(), client.clone());
        let bureau = Bureau::new(core.hospital(), client.clone());
        let desk = Arc::new(Desk {
            core: Mutex::new(core),
            shared,
            adapter,
            bureau,
            in_hand: Mutex::default(),
            bills: Mutex::default(),
            put_down: tokio::sync::Notify::new(),
        });
        for bill_no in desk.core().to_post() {
            tokio::spawn(Arc::clone(&desk).post(bill_no));
        }
        tokio::spawn(Arc::clone(&desk).poll());
        desk
    }

    /// The core, to look at.
    pub fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// What to save, and the revision it has.
    pub fn saved(&self) -> (u64, State) {
        let core = self.core();
        (core.revision(), core.state().clone())
    }

    /// Its adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// A doctor orders something; the bill goes out to the adapter by itself.
    pub fn issue(self: &Arc<Desk>, patient: Patient, wish: &Wish) -> BillDraft {
        let Shared { catalogue, seed, .. } = &self.shared;
        let draft = self.core().issue(catalogue, *seed, patient, wish, false, china_now());
        tokio::spawn(Arc::clone(self).post(draft.bill_no.clone()));
        draft
    }

    /// A bill that phones never hear of, paid at the window at once.
    pub async fn settle_own(
        self: &Arc<Desk>,
        patient: Patient,
        wish: &Wish,
        use_account: bool,
    ) -> Result<(String, WindowReceipt), NotAtWindow> {
        let Shared { catalogue, seed, .. } = &self.shared;
        let draft = self.core().issue(catalogue, *seed, patient, wish, true, china_now());
        let receipt = self.pay_at_window(&draft.bill_no, use_account).await?;
        Ok((draft.bill_no, receipt))
    }

    /// A cashier takes a bill back and, if it is released, settles it with the institution's own 2207.
    pub async fn claim(self: &Arc<Desk>, bill_no: &str, use_account: bool) -> Result<AtWindow, NotAtWindow> {
        let standing = self.core().bill(bill_no).map(|bill| (bill.posted.clone(), bill.window.clone()));
        let claim = match standing {
            None => return Err(hospital_refuses("无此账单 no such bill").into()),
            Some((_, Some(receipt))) => {
                return Ok(AtWindow { claim: ClaimAnswer::Released, receipt: Some(receipt) });
            }
            Some((Posted::Never, None)) => ClaimAnswer::Released,
            Some(_) => self.adapter.claim(bill_no).await.map_err(NotAtWindow::Adapter)?,
        };
        let receipt = match claim {
            ClaimAnswer::Released => Some(self.pay_at_window(bill_no, use_account).await?),
            ClaimAnswer::InProgress { .. } | ClaimAnswer::AlreadyPaid { .. } => None,
        };
        Ok(AtWindow { claim, receipt })
    }

    /// Binds a visit card to the insured person who is at the window with card and password. From then on their bills
    /// go out with nothing but the visit card. A binding that was made before is not made again.
    pub async fn bind_visit_card(&self, binding: &VisitCardBinding) -> Result<(), Failure> {
        if self.core().knows_visit_card(binding) {
            return Ok(());
        }
        self.adapter.bind_visit_card(binding).await?;
        self.core().visit_card_bound(binding);
        Ok(())
    }

    /// A bill is no longer asked for, if the platform lets it go.
    pub async fn withdraw(&self, bill_no: &str) -> Result<ClaimAnswer, Failure> {
        let claim = self.adapter.withdraw(bill_no).await?;
        if claim == ClaimAnswer::Released {
            self.core().withdrawn(bill_no);
        }
        Ok(claim)
    }

    /// A patient brings the last line of a paid bill back (退后重收): a bill of what remains goes out, and the paid one
    /// is exchanged for it. The adapter's view of the refund.
    pub async fn return_part(&self, bill_no: &str, refund_no: &str) -> Result<Value, NotAtWindow> {
        let rest = self.core().issue_rest(bill_no, china_now());
        let Some(rest) = rest else {
            return Err(hospital_refuses("退后无剩余费用 nothing would remain").into());
        };
        let outgoing = self.core().outgoing(&rest.bill_no).unwrap_or_else(|| rest.clone());
        self.adapter.post_bill(&outgoing).await.map_err(NotAtWindow::Adapter)?;
        self.core().posted(&rest.bill_no, Posted::Taken);
        let ask = RefundAsk {
            refund_no: refund_no.to_owned(),
            bill_no: bill_no.to_owned(),
            amount_fen: None,
            replaced_by: Some(rest.bill_no),
            reason: "退部分项目".to_owned(),
        };
        self.adapter.refund(&ask).await.map_err(NotAtWindow::Adapter)
    }

    async fn pay_at_window(self: &Arc<Desk>, bill_no: &str, use_account: bool) -> Result<WindowReceipt, NotAtWindow> {
        let bill = self.bill(bill_no);
        let _alone = bill.lock().await;
        let standing = self.core().bill(bill_no).map(|bill| (bill.standing, bill.window.clone()));
        if let Some((Standing::PaidAtWindow, Some(receipt))) = standing {
            return Ok(receipt);
        }
        self.core().take_to_window(bill_no)?;
        let procedure = Procedure::new(bill_no, Goal::PaidAtWindow { use_account });
        match self.drive(procedure).await? {
            Reached::PaidAtWindow(receipt) => {
                self.core().paid_at_window(bill_no, &receipt);
                Ok(receipt)
            }
            Reached::Priced { .. } | Reached::Clean => Err(hospital_refuses("无法处理 this cannot be handled").into()),
        }
    }

    async fn drive(&self, mut procedure: Procedure) -> Result<Reached, Box<Problem>> {
        loop {
            // The lock must not be held while the bureau thinks.
            let next = self.core().next(&mut procedure, china_now());
            match next {
                Next::Call(call) => {
                    let answer = self.bureau.call(call.infno.as_str(), &call.envelope).await;
                    self.core().heard(&mut procedure, answer.as_ref(), china_now());
                    tokio::time::sleep(procedure.pause()).await;
                }
                Next::Finished(reached) => return Ok(*reached),
                Next::Failed(problem) => return Err(problem),
            }
        }
    }

    /// Posts a bill until the adapter has it or refuses it.
    async fn post(self: Arc<Desk>, bill_no: String) {
        let course = self.course("bill", &bill_no).await;
        if let Course::HangUpThenAct(late_ms) = course {
            tokio::time::sleep(Duration::from_millis(late_ms)).await;
        }
        let Some(draft) = self.core().outgoing(&bill_no) else { return };
        if let Course::Refuse { code, .. } = course {
            return self.core().posted(&bill_no, Posted::Refused { code });
        }
        if course == Course::ActTwice {
            // The outcome is the second one's; a repeated bill must be harmless.
            let _ = self.adapter.post_bill(&draft).await;
        }
        loop {
            match self.adapter.post_bill(&draft).await {
                Ok(()) => return self.core().posted(&bill_no, Posted::Taken),
                Err(Failure::NoAnswer(_)) => tokio::time::sleep(AGAIN).await,
                Err(refused) => {
                    tracing::warn!(bill_no, code = refused.code(), "the adapter refuses a bill");
                    return self.core().posted(&bill_no, Posted::Refused { code: refused.code() });
                }
            }
        }
    }

    async fn poll(self: Arc<Desk>) {
        loop {
            let items = match self.adapter.work().await {
                Ok(items) => items,
                Err(failure) => {
                    tracing::debug!(?failure, "no work could be fetched");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let fresh: Vec<WorkItem> = {
                let mut in_hand = lock(&self.in_hand);
                items.into_iter().filter(|item| in_hand.insert(item.id)).collect()
            };
            if fresh.is_empty() {
                // All on offer is in hand already: offered again at once, it would turn this loop hot.
                tokio::select! {
                    () = self.put_down.notified() => {}
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
            for item in fresh {
                tokio::spawn(Arc::clone(&self).work(item));
            }
        }
    }

    async fn work(self: Arc<Desk>, item: WorkItem) {
        if let Some((reply, times)) = self.reply_to(&item).await {
            for _ in 0..times {
                self.answer(item.id, &reply).await;
            }
        }
        lock(&self.in_hand).remove(&item.id);
        self.put_down.notify_one();
    }

    /// The reply, and how often to give it; `None` leaves the item on offer.
    async fn reply_to(self: &Arc<Desk>, item: &WorkItem) -> Option<(Reply, usize)> {
        // An answer that the adapter lost is given again, whatever the faults say today.
        if let Some(reply) = self.core().state().answers.get(&item.id) {
            return Some((reply.clone(), 1));
        }
        let (operation, bill_no) = named(&item.work);
        tracing::info!(trace_id = item.trace_id, operation, bill_no, "work came");
        match self.course(operation, bill_no).await {
            Course::Act => Some((self.act(item).await?, 1)),
            Course::Differ => Some((self.quote_otherwise(item).await?, 1)),
            Course::ActTwice => Some((self.act(item).await?, 2)),
            Course::ActThenHangUp => {
                let reply = self.act(item).await?;
                self.keep_silent().await;
                Some((reply, 1))
            }
            Course::HangUpThenAct(late_ms) => {
                tokio::time::sleep(Duration::from_millis(late_ms)).await;
                Some((self.act(item).await?, 1))
            }
            Course::HangUp => {
                self.keep_silent().await;
                None
            }
            Course::Pretend => match pretended(&item.work) {
                Some(reply) => Some((reply, 1)),
                None => Some((self.quote_and_forget(item).await?, 1)),
            },
            Course::Refuse { code, message } => {
                let reply = Reply::Refused(*hospital_refuses(&format!("{code} {message}")));
                self.core().answered(item.id, &reply);
                Some((reply, 1))
            }
            Course::Busy => {
                let busy = Refusal::new(Code::Overloaded, "a fault rule").after_s(1).problem(None);
                Some((Reply::Refused(busy), 1))
            }
        }
    }

    async fn course(&self, operation: &str, bill_no: &str) -> Course {
        let subject = format!("{}/{bill_no}", self.core().hospital().code.as_str());
        http::course(&self.shared.faults, operation, &subject).await
    }

    /// Quotes a fen of cash too much, so that the bureau will settle other than the payer saw.
    async fn quote_otherwise(&self, item: &WorkItem) -> Option<Reply> {
        let mut reply = self.act(item).await?;
        if let Reply::Priced(price) = &mut reply
            && price.split.fund_fen > Fen::ZERO
        {
            price.split.fund_fen = Fen::new(price.split.fund_fen.get() - 1);
            price.split.cash_fen = Fen::new(price.split.cash_fen.get() + 1);
            self.core().answered(item.id, &reply);
        }
        Some(reply)
    }

    /// Quotes a price and leaves nothing at the bureau of what it was made from.
    async fn quote_and_forget(&self, item: &WorkItem) -> Option<Reply> {
        let reply = self.act(item).await?;
        let bill_no = named(&item.work).1;
        let bill = self.bill(bill_no);
        let _alone = bill.lock().await;
        if let Err(problem) = self.drive(Procedure::new(bill_no, Goal::Clean)).await {
            tracing::warn!(bill_no, code = %problem.code, "what was quoted stays at the bureau");
        }
        Some(reply)
    }

    async fn act(&self, item: &WorkItem) -> Option<Reply> {
        let bill = self.bill(named(&item.work).1);
        let _alone = bill.lock().await;
        let begun = self.core().begin(item.id, &item.work, china_now());
        let reply = match begun {
            Begun::Answered(reply) => Some(reply),
            Begun::Runs(procedure) => {
                let ended = self.drive(*procedure).await;
                self.core().finish(item.id, &item.work, ended, china_now())
            }
        };
        if reply.is_none() {
            tokio::time::sleep(AGAIN).await;
        }
        reply
    }

    async fn answer(&self, id: MessageId, reply: &Reply) {
        loop {
            match self.adapter.answer(id, reply).await {
                Ok(()) => return,
                Err(Failure::NoAnswer(_)) => tokio::time::sleep(AGAIN).await,
                Err(refused) => {
                    tracing::warn!(%id, code = refused.code(), "the adapter does not take an answer");
                    return;
                }
            }
        }
    }

    async fn keep_silent(&self) {
        match self.shared.silence {
            Some(silence) => tokio::time::sleep(silence).await,
            None => std::future::pending().await,
        }
    }

    /// The lock of one bill.
    fn bill(&self, bill_no: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut bills = lock(&self.bills);
        if bills.len() > 1_000 {
            bills.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(bills.entry(bill_no.to_owned()).or_default())
    }

    /// Every bill with its payment.
    pub fn records(&self) -> Value {
        self.core().records()
    }

    /// The sums.
    pub fn books(&self) -> Value {
        self.core().books().map_or_else(|_| json!({"balanced": false}), |books| json!(books))
    }
}

fn named(work: &ToInstitution) -> (&'static str, &str) {
    match work {
        ToInstitution::PreSettle(ask) => ("pre-settle", &ask.bill_no),
        ToInstitution::Release(ask) => ("release", &ask.bill_no),
        ToInstitution::Settled(told) => ("settled", &told.bill_no),
        ToInstitution::Undone(told) => ("undone", &told.bill_no),
        ToInstitution::QueryPayment(ask) => ("query", &ask.bill_no),
    }
}

/// A lie that a work item can be answered with; none where only the bureau can say what to answer.
fn pretended(work: &ToInstitution) -> Option<Reply> {
    match work {
        ToInstitution::PreSettle(_) => None,
        ToInstitution::Release(_) | ToInstitution::Undone(_) => Some(Reply::Done),
        ToInstitution::Settled(_) => Some(Reply::Booked(Guidance::default())),
        ToInstitution::QueryPayment(_) => Some(Reply::PaymentState(PaymentState::NotBooked)),
    }
}
