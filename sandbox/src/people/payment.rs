//! One payment from the doctor's order to its end, as the person lives it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use schema::ids::{BindingId, OrderId};
use schema::mobile::{BillView, Mode, OrderAsk, OrderView, PayAsk};
use schema::money::Fen;
use schema::personal::{CardNo, OneTimeCode, Personal};
use schema::refusal::Code;
use schema::split::Split;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::outside::{Outside, code_in};
use super::person::{Insured, Person};
use super::phone::{Entrance, MobilePhone, Trouble};
use super::story::{Moment, Story, Twist};

/// How often a person tries to authorise one order before giving up on it.
const TRIES: u32 = 8;
/// How long a person waits for a text message before asking for another.
const SMS_PATIENCE: Duration = Duration::from_secs(4);
/// Between two attempts that depend on somebody else.
const AGAIN: Duration = Duration::from_millis(250);

/// How a payment ended, seen from the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Paid and booked.
    Completed,
    /// As if nothing had happened, or paid at the window instead.
    Closed,
    /// A person at the platform decides.
    Suspended,
    /// None of the three before the person gave up waiting.
    Unfinished,
}

/// A payment that is over.
#[derive(Debug, Clone, Serialize)]
pub struct Ended {
    /// Where.
    pub institution: String,
    /// The bill; empty when the hospital never wrote one.
    pub bill_no: String,
    /// Its amount, fen.
    pub amount_fen: Fen,
    /// Orders that were opened for it.
    pub orders: Vec<OrderId>,
    /// The last split shown.
    pub split: Option<Split>,
    /// How it ended.
    pub ending: Ending,
    /// The last order's reason, or what kept it from beginning.
    pub reason: Option<String>,
    /// Money asked back by the hospital, and what became of it.
    pub refund: Option<String>,
    /// How it was meant to go.
    pub story: Story,
    /// Promises of the API that were seen broken.
    pub broken: Vec<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// Somebody who is logged in.
#[derive(Debug)]
pub struct Member {
    /// Who.
    pub person: Person,
    phone: MobilePhone,
    /// By identity number.
    bindings: Mutex<BTreeMap<String, BindingId>>,
    /// The card in the pocket, by identity number.
    cards: Mutex<BTreeMap<String, CardNo>>,
}

impl Member {
    /// Logs a person in and binds them and their child as far as they want to be bound.
    pub async fn settle_in(
        person: Person,
        entrance: &Entrance,
        outside: &Outside,
        deadline: Instant,
    ) -> Result<Member, Trouble> {
        let phone = MobilePhone::log_in(entrance, &person, outside, deadline).await?;
        let member = Member { person, phone, bindings: Mutex::default(), cards: Mutex::default() };
        member.bind(outside, deadline).await?;
        Ok(member)
    }

    /// Makes the bindings what this person wants them to be. After a loss that takes a new card: the platform never
    /// takes the lost one again.
    pub async fn bind(&self, outside: &Outside, deadline: Instant) -> Result<(), Trouble> {
        for insured in self.person.insured() {
            let mut view = self.phone.bind(insured, deadline).await?;
            if view.frozen {
                self.phone.unbind(view.id, deadline).await?;
                view = self.phone.bind(insured, deadline).await?;
            }
            let mut now = outside.with_card(insured).await;
            if view.level < 2 && !self.person.level_1_only {
                view = match self.phone.bind_level2(view.id, &now, deadline).await {
                    Err(trouble) if trouble.code() == Some(Code::CardFrozen) && outside.replace_card(insured).await => {
                        now = outside.with_card(insured).await;
                        self.phone.bind_level2(view.id, &now, deadline).await?
                    }
                    proved => proved?,
                };
            }
            let mut cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
            cards.insert(insured.certno.expose().to_owned(), now.card_no);
            drop(cards);
            let mut bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
            bindings.insert(insured.certno.expose().to_owned(), view.id);
        }
        Ok(())
    }

    /// The card in the pocket.
    pub fn card_no(&self, insured: &Insured) -> CardNo {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.get(insured.certno.expose()).unwrap_or(&insured.card_no).clone()
    }

    fn binding(&self, insured: &Insured) -> Option<BindingId> {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner).get(insured.certno.expose()).copied()
    }

    /// The phone.
    pub fn phone(&self) -> &MobilePhone {
        &self.phone
    }

    /// Lives a story at one hospital. Two bills end in two payments, everything else in one.
    pub async fn live(&self, story: &Story, institution: &str, outside: &Outside, patience: Duration) -> Vec<Ended> {
        let walk = |story| Walk { member: self, story, institution, outside, deadline: Instant::now() + patience };
        let ended = if story.twist == Twist::TwoBills {
            let (one, other) = tokio::join!(walk(*story).pay(), walk(*story).pay());
            vec![one, other]
        } else {
            vec![walk(*story).pay().await]
        };
        if matches!(story.twist, Twist::ReportsLoss { .. }) {
            // A loss is only over when the person can pay again; a vain attempt shows at the next payment.
            let again = self.bind(outside, Instant::now() + patience).await;
            if let Err(trouble) = again {
                tracing::warn!(%trouble, "a person could not bind again");
            }
        }
        ended
    }
}

struct Walk<'a> {
    member: &'a Member,
    story: Story,
    institution: &'a str,
    outside: &'a Outside,
    deadline: Instant,
}

/// What happened so far.
#[derive(Default)]
struct Diary {
    struck: bool,
    walked_away: bool,
    wrong_code_tried: bool,
    tapped: bool,
    window: Option<String>,
    tries: u32,
    broken: Vec<String>,
    orders: Vec<OrderId>,
    split: Option<Split>,
    reason: Option<String>,
    refund: Option<String>,
}

/// What the person does after looking at an order.
enum Step {
    /// Wait until it changes.
    Wait,
    /// Look again in a moment.
    Soon,
    /// It is over.
    Over(Ending),
}

impl Walk<'_> {
    async fn pay(self) -> Ended {
        let began = Instant::now();
        let mut diary = Diary::default();
        let insured = self.insured();
        let bill = self.be_treated(insured).await;
        let ending = match &bill {
            None => {
                diary.reason = Some("no bill was written".to_owned());
                Ending::Unfinished
            }
            Some((bill_no, _)) => self.pay_bill(bill_no, insured, &mut diary).await,
        };
        let (bill_no, amount_fen) = bill.unwrap_or_default();
        diary.broken.extend(self.member.phone.broken());
        Ended {
            institution: self.institution.to_owned(),
            bill_no,
            amount_fen,
            orders: diary.orders,
            split: diary.split,
            ending,
            reason: diary.reason,
            refund: diary.refund,
            story: self.story,
            broken: diary.broken,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn insured(&self) -> &Insured {
        let person = &self.member.person;
        person.child.as_ref().filter(|_| self.story.for_child).unwrap_or(&person.own)
    }

    fn insured_mode(&self) -> bool {
        !self.story.cash_only && !self.member.person.level_1_only
    }

    async fn be_treated(&self, insured: &Insured) -> Option<(String, Fen)> {
        loop {
            let bill = self.outside.be_treated(self.institution, &insured.patient(), None).await;
            if bill.is_some() || Instant::now() >= self.deadline {
                return bill;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn pay_bill(&self, bill_no: &str, insured: &Insured, diary: &mut Diary) -> Ending {
        let Some(bill) = self.member.phone.bill(self.institution, bill_no, self.deadline).await else {
            diary.reason = Some("the bill never came to the phone".to_owned());
            return Ending::Unfinished;
        };
        if self.story.strikes(Moment::Unopened) {
            self.strike(None, insured, bill_no, diary).await;
            if diary.window.as_deref() == Some("released") {
                return Ending::Closed;
            }
        }
        let order = match self.open(&bill, diary).await {
            Ok(order) => order,
            Err(trouble) => {
                diary.reason = Some(trouble.to_string());
                // Refused, and nothing moved: the payment is over before it began.
                return if trouble.code().is_some() { Ending::Closed } else { Ending::Unfinished };
            }
        };
        diary.orders.push(order.id);
        let ending = self.follow(order, insured, diary).await;
        if ending == Ending::Completed {
            self.ask_back(bill_no, diary).await;
        }
        ending
    }

    async fn open(&self, bill: &BillView, diary: &mut Diary) -> Result<OrderView, Trouble> {
        let mode = if self.insured_mode() { Mode::Insured } else { Mode::CashOnly };
        let ask = OrderAsk { bill_id: bill.id, mode, use_account: self.story.use_account };
        loop {
            match self.member.phone.open(&ask, self.story.repeats, self.deadline).await {
                Err(trouble) if trouble.code() == Some(Code::PersonBusy) && Instant::now() < self.deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(trouble) if trouble.code() == Some(Code::OrderOpen) => {
                    let open = self.member.phone.order_of(bill.id, self.deadline).await?;
                    return open.ok_or(trouble);
                }
                // Somebody else of the family lost their card: bind anew, as the refusal says.
                Err(trouble)
                    if trouble.code() == Some(Code::BindingFrozen)
                        && diary.tries == 0
                        && !matches!(self.story.twist, Twist::ReportsLoss { .. }) =>
                {
                    diary.tries += 1;
                    self.member.bind(self.outside, self.deadline).await?;
                }
                other => return other,
            }
        }
    }

    async fn follow(&self, order: OrderView, insured: &Insured, diary: &mut Diary) -> Ending {
        let phone = &self.member.phone;
        let mut view = order;
        loop {
            diary.split = view.split.or(diary.split);
            diary.reason.clone_from(&view.reason);
            let next = match self.act(&view, insured, diary).await {
                Step::Over(ending) => return ending,
                Step::Soon => {
                    tokio::time::sleep(AGAIN).await;
                    phone.wait(view.id, self.deadline, |_| true).await
                }
                Step::Wait => {
                    let wallet_open = view.wallet.is_some();
                    let changed = |now: &OrderView| now.version != view.version || now.wallet.is_some() != wallet_open;
                    phone.wait(view.id, self.deadline, changed).await
                }
            };
            match next {
                Some(next) => view = next,
                None => return Ending::Unfinished,
            }
        }
    }

    async fn act(&self, view: &OrderView, insured: &Insured, diary: &mut Diary) -> Step {
        match view.state.as_str() {
            "completed" => return Step::Over(Ending::Completed),
            "closed" => return Step::Over(Ending::Closed),
            "suspended" => return Step::Over(Ending::Suspended),
            _ => {}
        }
        let moment = match view.state.as_str() {
            "created" => Some(Moment::Created),
            "priced" => Some(Moment::Priced),
            "collecting" => Some(Moment::Collecting),
            _ => None,
        };
        if let Some(moment) = moment
            && self.story.strikes(moment)
            && !diary.struck
        {
            self.strike(Some(view), insured, &view.bill_no, diary).await;
            return Step::Soon;
        }
        match view.state.as_str() {
            "priced" if !diary.walked_away => self.authorise(view, insured, diary).await,
            "collecting" if !diary.walked_away && !diary.tapped => self.tap(view, diary).await,
            _ => Step::Wait,
        }
    }

    /// The unexpected happens.
    async fn strike(&self, order: Option<&OrderView>, insured: &Insured, bill_no: &str, diary: &mut Diary) {
        diary.struck = true;
        let phone = &self.member.phone;
        match (self.story.twist, order) {
            (Twist::Cancels { .. }, Some(order)) => {
                // Too late to cancel is an answer like another: the order goes on.
                if let Err(trouble) = phone.cancel(order.id, self.deadline).await
                    && trouble.code().is_none()
                {
                    diary.broken.push(format!("cancel: {trouble}"));
                }
            }
            (Twist::WalksAway { .. }, Some(_)) => diary.walked_away = true,
            (Twist::Window { .. }, _) => {
                diary.window = Some(self.outside.ask_window(self.institution, bill_no).await);
            }
            (Twist::ReportsLoss { .. }, _) => {
                if let Some(binding) = self.member.binding(insured) {
                    // A second report, or one that meets an ended binding, changes nothing.
                    let _ = phone.report_loss(binding, self.deadline).await;
                }
            }
            (Twist::PaysElsewhere, _) => {
                self.outside.pay_elsewhere(self.institution, &insured.patient()).await;
            }
            // Nothing was begun that could be cancelled or left: the person opens the order and leaves it there.
            (Twist::Cancels { .. } | Twist::WalksAway { .. }, None) => diary.walked_away = true,
            (
                Twist::None
                | Twist::WrongCode
                | Twist::TwoBills
                | Twist::RefundWhole
                | Twist::RefundPart
                | Twist::ReturnLine,
                _,
            ) => {}
        }
    }

    async fn authorise(&self, view: &OrderView, insured: &Insured, diary: &mut Diary) -> Step {
        diary.tries += 1;
        if diary.tries > TRIES {
            diary.walked_away = true;
            let _ = self.member.phone.cancel(view.id, self.deadline).await;
            return Step::Wait;
        }
        let ask = if view.mode == Mode::CashOnly {
            PayAsk { phone: None, code: None, card_no: None }
        } else {
            let Some(code) = self.code(view).await else { return Step::Soon };
            if self.story.strikes(Moment::CodeInHand) && !diary.struck {
                self.strike(Some(view), insured, &view.bill_no, diary).await;
                if diary.walked_away {
                    return Step::Wait;
                }
            }
            if self.story.twist == Twist::WrongCode && !diary.wrong_code_tried {
                diary.wrong_code_tried = true;
                self.try_wrong_code(view, insured, &code, diary).await;
            }
            self.proof(&self.member.card_no(insured), code)
        };
        match self.member.phone.pay(view.id, &ask, self.story.repeats, self.deadline).await {
            Ok(_) => {
                if self.story.strikes(Moment::Authorised) && !diary.struck {
                    self.strike(Some(view), insured, &view.bill_no, diary).await;
                }
                Step::Soon
            }
            Err(Trouble::Broken(why)) => {
                diary.broken.push(why);
                Step::Soon
            }
            Err(_) => Step::Soon,
        }
    }

    fn proof(&self, card_no: &CardNo, code: OneTimeCode) -> PayAsk {
        PayAsk { phone: Some(self.member.person.phone.clone()), code: Some(code), card_no: Some(card_no.clone()) }
    }

    async fn code(&self, view: &OrderView) -> Option<OneTimeCode> {
        let phone = self.member.person.phone.expose();
        let seen = self.outside.last_message(phone).await;
        self.member.phone.ask_code(view.id, self.deadline).await.ok()?;
        let until = (Instant::now() + SMS_PATIENCE).min(self.deadline);
        // Two bills at once bring two codes to one phone: the message names the bill.
        let fits = |text: &str| text.contains(&view.bill_no) && text.contains("验证码") && code_in(text).is_some();
        self.outside.message(phone, seen, until, fits).await.as_deref().and_then(code_in)
    }

    async fn try_wrong_code(&self, view: &OrderView, insured: &Insured, right: &OneTimeCode, diary: &mut Diary) {
        let digits: u32 = right.expose().parse().unwrap_or_default();
        let wrong = OneTimeCode::new(format!("{:06}", (digits + 1) % 1_000_000));
        let ask = self.proof(&self.member.card_no(insured), wrong);
        if self.member.phone.pay(view.id, &ask, false, self.deadline).await.is_ok() {
            diary.broken.push("a wrong code was accepted".to_owned());
        }
    }

    async fn tap(&self, view: &OrderView, diary: &mut Diary) -> Step {
        let (Some(wallet), Some(split)) = (&view.wallet, &view.split) else { return Step::Wait };
        let word = self.outside.tap_wallet(&wallet.package, &self.member.person.openid, split.cash_fen).await;
        match word.as_str() {
            "PAID" | "ORDERPAID" => diary.tapped = true,
            "TOO_MUCH" => diary.broken.push("the wallet asks for more than was shown".to_owned()),
            "ORDERCLOSED" | "ORDER_EXPIRED" => {}
            _ => return Step::Soon,
        }
        Step::Wait
    }

    /// The hospital gives money back.
    async fn ask_back(&self, bill_no: &str, diary: &mut Diary) {
        let amount = match self.story.twist {
            Twist::RefundWhole | Twist::ReturnLine => None,
            Twist::RefundPart => {
                let cash = diary.split.map_or(0, |split| split.cash_fen.get());
                if cash < 2 {
                    return;
                }
                Some(Fen::new(cash / 2))
            }
            _ => return,
        };
        let refund_no = format!("R{bill_no}");
        let mut state = self.begin_refund(&refund_no, bill_no, amount).await;
        while !matches!(state.as_str(), "done" | "refused" | "suspended") && Instant::now() < self.deadline {
            tokio::time::sleep(AGAIN).await;
            state = match self.outside.refund_state(self.institution, &refund_no).await {
                Some(state) => state,
                // The first asking may have got lost; the number makes a second one harmless.
                None => self.begin_refund(&refund_no, bill_no, amount).await,
            };
        }
        diary.refund = Some(state);
    }

    async fn begin_refund(&self, refund_no: &str, bill_no: &str, amount: Option<Fen>) -> String {
        match self.story.twist {
            Twist::ReturnLine => self.outside.return_part(self.institution, refund_no, bill_no).await,
            _ => self.outside.ask_refund(self.institution, refund_no, bill_no, amount).await,
        }
    }
}

/// A line about an ended payment for people: Chinese, yuan, nobody named.
pub fn told(ended: &Ended) -> String {
    let yuan = |fen: Fen| fen.to_yuan();
    let split = ended.split.map_or_else(String::new, |split| {
        let shares = [
            ("统筹", split.fund_fen),
            ("其他基金", split.other_funds_fen),
            ("个账", split.account_own_fen),
            ("共济", split.account_mulaid_fen),
            ("医院负担", split.hospital_fen),
            ("现金", split.cash_fen),
        ];
        let named: Vec<String> = shares
            .iter()
            .filter(|(_, fen)| !fen.is_zero())
            .map(|(name, fen)| format!("{name}{}", yuan(*fen)))
            .collect();
        format!(" = {}", named.join(" + "))
    });
    let ending = match ended.ending {
        Ending::Completed => "完成",
        Ending::Closed => "关闭",
        Ending::Suspended => "挂起",
        Ending::Unfinished => "未结束",
    };
    let reason = ended.reason.as_ref().map(|reason| format!("（{reason}）")).unwrap_or_default();
    let refund = ended.refund.as_ref().map(|state| format!(" 退款:{state}")).unwrap_or_default();
    let twist = json!(ended.story.twist);
    let twist = twist["twist"].as_str().filter(|twist| *twist != "none").map(|twist| format!(" [{twist}]"));
    let cash_only = if ended.story.cash_only { " 自费" } else { "" };
    format!(
        "{} {} ¥{}{split} → {ending}{reason}{refund}{cash_only}{} {}ms",
        ended.institution,
        ended.bill_no,
        yuan(ended.amount_fen),
        twist.unwrap_or_default(),
        ended.took_ms,
    )
}
