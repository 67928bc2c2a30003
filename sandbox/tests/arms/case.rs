//! One person with one bill at one hospital: what they do, what goes wrong for them alone, and what everybody recorded.

use std::sync::Arc;

use sandbox::fault::Fault;
use sandbox::people::outside::code_in;
use sandbox::people::payment::Member;
use sandbox::people::person::{Insured, Person};
use sandbox::people::phone::Trouble;
use schema::ids::{BindingId, OrderId};
use schema::mobile::{Mode, OrderAsk, OrderView, PayAsk, ReceiptView};
use schema::money::Fen;
use schema::personal::{OneTimeCode, Personal};
use schema::refusal::Code;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{PATIENCE, World, fail};

/// Lines on a bill: enough that some are in scope, so that a fund pays a share.
const LINES: usize = 8;

/// The insurance share was settled, as the message says it.
pub(crate) const INSURANCE_PAID: &str = "医保部分已支付";
/// The insurance share came back.
pub(crate) const INSURANCE_BACK: &str = "医保部分已退回";
/// The cash was taken.
pub(crate) const CASH_PAID: &str = "现金部分已支付";
/// The cash came back.
pub(crate) const CASH_BACK: &str = "现金部分已原路退回";
pub(crate) const CASH_STRAY: &str = "收到一笔不应收取的现金，将原路退回";

/// One payment.
pub(crate) struct Case {
    pub(crate) world: Arc<World>,
    pub(crate) member: Arc<Member>,
    pub(crate) hospital: &'static str,
    pub(crate) bill_no: String,
    pub(crate) amount: i64,
    /// The payer lets the account be used.
    pub(crate) use_account: bool,
    order: Option<OrderId>,
    /// Messages before this one were about something else.
    seen: u64,
}

/// What the three others recorded about one bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sides {
    /// Live settlements at the bureau.
    pub(crate) settlements: usize,
    /// What the merchant keeps at the wallet, fen.
    pub(crate) cash: i64,
    /// Who may take money for the bill, as the HIS has it.
    pub(crate) standing: &'static str,
}

impl Sides {
    /// As if nothing had happened.
    pub(crate) fn nothing() -> Sides {
        Sides { settlements: 0, cash: 0, standing: "open" }
    }
}

/// By then it has happened, or never will.
pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// An order's number at the wallet.
fn out_trade_no(order: OrderId) -> String {
    order.uuid().simple().to_string()
}

impl Case {
    /// Somebody is treated; the bill is on its way to their phone.
    pub(crate) async fn at(world: &Arc<World>, hospital: &'static str) -> Case {
        Case::of(world, hospital, |_| true).await
    }

    /// The same of somebody who fits.
    pub(crate) async fn of(world: &Arc<World>, hospital: &'static str, fits: impl Fn(&Person) -> bool) -> Case {
        let member = Arc::new(world.somebody(hospital, fits).await);
        Case::again(world, &member, hospital).await
    }

    /// Another bill of the same person.
    pub(crate) async fn again(world: &Arc<World>, member: &Arc<Member>, hospital: &'static str) -> Case {
        let patient = member.person.own.patient();
        let ask = json!({"institution": hospital, "patient": patient, "lines": LINES});
        let url = format!("{}/sandbox/bills", world.url("his"));
        let (_, body) = world.outside.post(url, &ask).await.expect("the hospital answers");
        let bill_no = body["bill_no"].as_str().expect("a bill number").to_owned();
        let amount = body["amount_fen"].as_i64().expect("an amount");
        let seen = world.outside.last_message(member.person.phone.expose()).await;
        let (world, member) = (Arc::clone(world), Arc::clone(member));
        Case { world, member, hospital, bill_no, amount, use_account: false, order: None, seen }
    }

    // ——— what goes wrong, for this person or this bill alone ———

    pub(crate) fn psn_no(&self) -> &str {
        self.insured().psn_no.expose()
    }

    fn bill_key(&self) -> String {
        format!("{}/{}", self.hospital, self.bill_no)
    }

    /// At the bureau, for this person.
    pub(crate) async fn bureau_fault(&self, operation: &str, fault: Fault, times: Option<u32>) {
        self.world.fault(self.world.bureau(self.hospital), operation, self.psn_no(), fault, times).await;
    }

    /// At the hospital, for this bill.
    pub(crate) async fn his_fault(&self, operation: &str, fault: Fault, times: Option<u32>) {
        self.his_fault_of(&self.bill_no, operation, fault, times).await;
    }

    /// At the hospital, for another of its bills.
    pub(crate) async fn his_fault_of(&self, bill_no: &str, operation: &str, fault: Fault, times: Option<u32>) {
        let subject = format!("{}/{bill_no}", self.hospital);
        self.world.fault(self.world.url("his"), operation, &subject, fault, times).await;
    }

    /// At the wallet, for this order.
    pub(crate) async fn wallet_fault(&self, operation: &str, fault: Fault, times: Option<u32>) {
        self.world.fault(self.world.url("wallet"), operation, &out_trade_no(self.order()), fault, times).await;
    }

    /// Everybody works again.
    pub(crate) async fn calm(&self) {
        self.world.calm(self.world.bureau(self.hospital), self.psn_no()).await;
        self.world.calm(self.world.url("his"), &self.bill_key()).await;
        if let Some(order) = self.order {
            self.world.calm(self.world.url("wallet"), &out_trade_no(order)).await;
        }
    }

    // ——— what the person does ———

    pub(crate) fn insured(&self) -> &Insured {
        &self.member.person.own
    }

    pub(crate) fn order(&self) -> OrderId {
        self.order.expect("an order was opened")
    }

    /// Opens an order; `Err` where the platform refuses.
    pub(crate) async fn try_open(&mut self, mode: Mode) -> Result<OrderView, Trouble> {
        let phone = self.member.phone();
        let bill = phone.bill(self.hospital, &self.bill_no, soon()).await.expect("the bill comes to the phone");
        let ask = OrderAsk { bill_id: bill.id, mode, use_account: self.use_account };
        let view = phone.open(&ask, false, soon()).await?;
        self.order = Some(view.id);
        Ok(view)
    }

    /// Opens an order.
    pub(crate) async fn open(&mut self, mode: Mode) -> OrderView {
        self.try_open(mode).await.expect("an order is opened")
    }

    /// Waits until the phone shows this state.
    pub(crate) async fn shown(&self, state: &str) -> OrderView {
        match self.member.phone().wait(self.order(), soon(), |view| view.state == state).await {
            Some(view) => view,
            None => {
                let events = self.world.events(self.order()).await;
                fail(&format!("the phone never shows {state}: {events:?}"))
            }
        }
    }

    /// Opens an insured order and waits for its split.
    pub(crate) async fn priced(&mut self) -> OrderView {
        self.open(Mode::Insured).await;
        self.shown("priced").await
    }

    /// Asks for a code and reads it.
    pub(crate) async fn code(&self) -> OneTimeCode {
        let seen = self.last_message().await;
        self.member.phone().ask_code(self.order(), soon()).await.expect("a code is sent");
        self.code_after(seen).await
    }

    pub(crate) async fn last_message(&self) -> u64 {
        self.world.outside.last_message(self.member.person.phone.expose()).await
    }

    /// The code in the message behind `seen` that names this bill.
    pub(crate) async fn code_after(&self, seen: u64) -> OneTimeCode {
        let fits = |text: &str| text.contains(&self.bill_no) && text.contains("验证码");
        let text = self.world.outside.message(self.member.person.phone.expose(), seen, soon(), fits).await;
        text.as_deref().and_then(code_in).expect("a code comes")
    }

    /// Phone number, code and card, as they should be.
    pub(crate) fn proof(&self, code: OneTimeCode) -> PayAsk {
        let (phone, card) = (self.member.person.phone.clone(), self.insured().card_no.clone());
        PayAsk { phone: Some(phone), code: Some(code), card_no: Some(card) }
    }

    /// Authorises with this code.
    pub(crate) async fn pay(&self, code: OneTimeCode) -> Result<OrderView, Trouble> {
        self.member.phone().pay(self.order(), &self.proof(code), false, soon()).await
    }

    /// Authorises what is shown.
    pub(crate) async fn authorise(&self) {
        let code = self.code().await;
        self.pay(code).await.expect("the payment is authorised");
    }

    /// Opens, looks, authorises, and is sent to the wallet.
    pub(crate) async fn collecting(&mut self) -> OrderView {
        self.priced().await;
        self.authorise().await;
        self.at_the_wallet().await
    }

    /// Waits until the wallet can be opened.
    pub(crate) async fn at_the_wallet(&self) -> OrderView {
        let open = |view: &OrderView| view.state == "collecting" && view.wallet.is_some();
        match self.member.phone().wait(self.order(), soon(), open).await {
            Some(view) => view,
            None => {
                let events = self.world.events(self.order()).await;
                fail(&format!("the wallet is never opened: {events:?}"))
            }
        }
    }

    /// Taps "pay" in the wallet that was opened. The wallet's word.
    pub(crate) async fn tap(&self, view: &OrderView) -> String {
        let wallet = view.wallet.as_ref().expect("a wallet to open");
        let cash = view.split.expect("a split").cash_fen;
        self.world.outside.tap_wallet(&wallet.package, &self.member.person.openid, cash).await
    }

    /// Taps "pay" and the wallet takes it.
    pub(crate) async fn pay_cash(&self, view: &OrderView) {
        assert_eq!(self.tap(view).await, "PAID");
    }

    /// Pays from beginning to end. The cash share.
    pub(crate) async fn complete(&mut self) -> i64 {
        let view = self.collecting().await;
        self.pay_cash(&view).await;
        self.ends("completed", None, None).await;
        cash_of(&view)
    }

    /// Opens a cash-only order, and is sent to the wallet.
    pub(crate) async fn collecting_cash_only(&mut self) -> OrderView {
        self.open(Mode::CashOnly).await;
        self.shown("priced").await;
        let nothing = PayAsk { phone: None, code: None, card_no: None };
        let paid = self.member.phone().pay(self.order(), &nothing, false, soon()).await;
        paid.expect("the payment is authorised");
        self.at_the_wallet().await
    }

    /// Takes it back. The refusal's code, where it is refused.
    pub(crate) async fn cancel(&self) -> Result<(), Code> {
        match self.member.phone().cancel(self.order(), soon()).await {
            Ok(_) => Ok(()),
            Err(trouble) => Err(trouble.code().expect("an answer")),
        }
    }

    /// This person's only binding.
    pub(crate) async fn binding(&self) -> BindingId {
        let bindings = self.member.phone().bindings(soon()).await.expect("the bindings");
        bindings.first().expect("one binding").id
    }

    /// Reports the card lost on the phone.
    pub(crate) async fn lose(&self) {
        let binding = self.binding().await;
        self.member.phone().report_loss(binding, soon()).await.expect("the loss is taken");
        let bindings = self.member.phone().bindings(soon()).await.expect("the bindings");
        assert!(bindings.iter().all(|view| view.frozen), "a lost binding is shown frozen");
    }

    /// Reports the card lost at the bureau's counter.
    pub(crate) async fn lose_at_bureau(&self) {
        let url = format!("{}/sandbox/persons/{}/loss", self.world.bureau(self.hospital), self.psn_no());
        let posted = self.world.outside.post(url, &Value::Null).await;
        assert!(posted.is_some_and(|(status, _)| status == 200), "the counter takes the loss");
    }

    /// Walks to the window until it answers: `released`, `in_progress` or `already_paid`.
    pub(crate) async fn window(&self) -> String {
        let until = soon();
        loop {
            let word = self.world.outside.ask_window(self.hospital, &self.bill_no).await;
            if word != "no_answer" || Instant::now() >= until {
                return word;
            }
        }
    }

    /// The hospital asks for money back. The refund's state, or `refused`.
    pub(crate) async fn ask_back(&self, amount: Option<i64>) -> String {
        let until = soon();
        loop {
            let state = self
                .world
                .outside
                .ask_refund(self.hospital, &self.refund_no(), &self.bill_no, amount.map(Fen::new))
                .await;
            if state != "no_answer" || Instant::now() >= until {
                return state;
            }
        }
    }

    /// The patient brings the last line of the paid bill back; what remains is billed anew. The refund's state.
    pub(crate) async fn return_line(&self) -> String {
        let until = soon();
        loop {
            let state = self.world.outside.return_part(self.hospital, &self.refund_no(), &self.bill_no).await;
            // Until the bill of what remains has come to the platform, it is not known there.
            if !matches!(state.as_str(), "no_answer" | "refused") || Instant::now() >= until {
                return state;
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    }

    /// The number of the bill of what remains.
    pub(crate) fn rest_no(&self) -> String {
        format!("{}R", self.bill_no)
    }

    /// What remains, and the order that pays it.
    pub(crate) async fn rest(&self) -> Case {
        let story = self.world.story(self.order()).await;
        let order = story["refunds"][0]["id"].as_str().expect("a refund").parse().expect("an id");
        let mut rest = Case {
            world: Arc::clone(&self.world),
            member: Arc::clone(&self.member),
            hospital: self.hospital,
            bill_no: self.rest_no(),
            amount: 0,
            use_account: self.use_account,
            order: Some(order),
            seen: self.seen,
        };
        rest.amount = rest.his_bill().await["amount_fen"].as_i64().expect("an amount");
        rest
    }

    fn refund_no(&self) -> String {
        format!("R{}", self.bill_no)
    }

    /// Waits until the hospital hears that its refund stands so.
    pub(crate) async fn refund_becomes(&self, state: &str) {
        let until = soon();
        let mut last = None;
        while Instant::now() < until {
            let now = self.world.outside.refund_state(self.hospital, &self.refund_no()).await;
            if now.as_deref() == Some(state) {
                return;
            }
            last = now.or(last);
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        assert_eq!(last.as_deref(), Some(state), "the refund of {}", self.bill_no);
    }

    /// Waits until the platform's own story has the refund so.
    pub(crate) async fn happens_to_refund(&self, state: &str) {
        let until = soon();
        loop {
            let story = self.world.story(self.order()).await;
            let now = story["refunds"][0]["state"]["state"].as_str().unwrap_or("none");
            if now == state {
                return;
            }
            if Instant::now() >= until {
                fail(&format!("the refund of {} is {now}, wanted {state}", self.bill_no));
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    }

    // ——— what everybody says afterwards ———

    /// Waits until the order is exactly here.
    pub(crate) async fn reaches(&self, place: &str) {
        self.world.listed(self.order(), place, |listed| listed.place == place).await;
    }

    /// Waits for this ending, and for nothing else; what `order show` tells must be the same. The story.
    pub(crate) async fn ends(&self, state: &str, why: Option<&str>, owner: Option<&str>) -> Value {
        let what = format!("{state} {why:?}");
        let fits = |listed: &crate::world::Listed| listed.state == state && listed.why.as_deref() == why;
        self.world.listed(self.order(), &what, fits).await;
        let story = self.world.story(self.order()).await;
        assert_eq!((story["state"].as_str(), story["why"].as_str()), (Some(state), why));
        assert_eq!(story["order"]["state"]["owner"].as_str(), owner, "who must look");
        story
    }

    /// Something is in the order's story.
    pub(crate) async fn happened(&self, event: &str) {
        let events = self.world.events(self.order()).await;
        assert!(events.iter().any(|one| one == event), "no {event} in {events:?}");
    }

    /// Something is not in the order's story.
    pub(crate) async fn never_happened(&self, event: &str) {
        let events = self.world.events(self.order()).await;
        assert!(!events.iter().any(|one| one == event), "{event} in {events:?}");
    }

    /// The insured person reads about this movement of their money.
    pub(crate) async fn is_told(&self, news: &str) {
        let fits = |text: &str| text.contains(&self.bill_no) && text.contains(news);
        let text = self.world.outside.message(self.member.person.phone.expose(), self.seen, soon(), fits).await;
        assert!(text.is_some(), "nobody was told: {news} {}", self.bill_no);
    }

    /// Waits until the bureau, the wallet and the hospital all say so.
    pub(crate) async fn sides_become(&self, wanted: &Sides) {
        self.sides_become_one_of(std::slice::from_ref(wanted)).await;
    }

    /// The same where the hospital may stand in more than one way.
    pub(crate) async fn sides_become_one_of(&self, wanted: &[Sides]) {
        let until = soon();
        loop {
            let now = self.sides().await;
            if wanted.contains(&now) {
                return;
            }
            if Instant::now() >= until {
                fail(&format!("{} at {}: {now:?}, wanted {wanted:?}", self.bill_no, self.hospital));
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
    }

    async fn sides(&self) -> Sides {
        let standing = match self.his_bill().await["standing"]["standing"].as_str() {
            Some("open") => "open",
            Some("held") => "held",
            Some("booked") => "booked",
            Some("at-window") => "at-window",
            Some("paid-at-window") => "paid-at-window",
            Some("withdrawn") => "withdrawn",
            _ => "unknown",
        };
        Sides { settlements: self.settlements().await, cash: self.cash_kept().await, standing }
    }

    /// The bill as the HIS has it.
    pub(crate) async fn his_bill(&self) -> Value {
        self.world.page(format!("{}/sandbox/bills/{}/{}", self.world.url("his"), self.hospital, self.bill_no)).await
    }

    /// What the payer keeps of it.
    pub(crate) async fn receipt(&self) -> ReceiptView {
        let path = format!("/orders/{}/receipt", self.order());
        self.member.phone().look(&path, soon()).await.expect("a receipt")
    }

    async fn settlements(&self) -> usize {
        self.settlement_rows().await.len()
    }

    /// Live settlements of this bill at the bureau, whoever sent them.
    pub(crate) async fn settlement_rows(&self) -> Vec<Value> {
        let rows = self.world.page(format!("{}/sandbox/records", self.world.bureau(self.hospital))).await;
        // A visit carries the bill's number, with a suffix where it was registered anew.
        let visit = format!("M{}", self.bill_no.trim_start_matches('B'));
        let rows = rows.as_array().cloned().unwrap_or_default();
        let ours = |row: &&Value| {
            row["live"] == true
                && row["fixmedins_code"] == self.hospital
                && row["ipt_otp_no"].as_str().and_then(|no| no.split('-').next()) == Some(visit.as_str())
        };
        rows.into_iter().filter(|row| ours(&row)).collect()
    }

    /// What the merchant keeps of this order's cash.
    async fn cash_kept(&self) -> i64 {
        let row = self.wallet_row().await;
        if row["state"] != "PAID" {
            return 0;
        }
        row["total_fen"].as_i64().unwrap_or(0) - row["refunded_fen"].as_i64().unwrap_or(0)
    }

    /// The order as the wallet recorded it; null where it knows none.
    pub(crate) async fn wallet_row(&self) -> Value {
        let Some(order) = self.order else { return Value::Null };
        let records = self.world.page(format!("{}/sandbox/records", self.world.url("wallet"))).await;
        let rows = records["orders"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["out_trade_no"] == out_trade_no(order)).unwrap_or_default()
    }
}

/// The cash share of what is shown, fen.
pub(crate) fn cash_of(view: &OrderView) -> i64 {
    view.split.expect("a split").cash_fen.get()
}

/// The refusal's code of what was refused.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Trouble>) -> Code {
    answer.expect_err("a refusal").code().expect("a refusal with a code")
}
