//! One payment as a phone lives it, with the time of every step.

use std::time::Duration;

use sandbox::people::outside::{Outside, code_in};
use sandbox::people::payment::Member;
use schema::mobile::{Mode, OrderAsk, OrderView, PayAsk};
use schema::personal::Personal as _;
use tokio::time::Instant;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// From the doctor's order to the bill on the phone.
    Bill,
    /// The answer to "open an order".
    Open,
    /// From opening to the split on the screen: the hospital and the bureau are in it.
    Price,
    /// The answer to "send me a code".
    Code,
    /// The answer to "pay".
    Pay,
    /// From paying to the wallet's door: the bureau and the wallet are in it.
    Settle,
    /// From the tap in the wallet to "completed": wallet and hospital are in it.
    Finish,
    /// From opening to "completed", without the person's own seconds.
    Whole,
}

impl Step {
    /// Every step, in the order of a payment.
    pub(crate) const ALL: [Step; 8] =
        [Step::Bill, Step::Open, Step::Price, Step::Code, Step::Pay, Step::Settle, Step::Finish, Step::Whole];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Bill => "bill",
            Step::Open => "open",
            Step::Price => "price",
            Step::Code => "code",
            Step::Pay => "pay",
            Step::Settle => "settle",
            Step::Finish => "finish",
            Step::Whole => "whole",
        }
    }
}

/// How it went.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// The steps that came about, and how long each took.
    pub(crate) steps: Vec<(Step, Duration)>,
    /// How often it had to be authorised anew.
    pub(crate) again: u64,
    /// What kept it from being completed, in a word.
    pub(crate) failed: Option<String>,
}

/// How often a person tries the same thing.
const TIMES: usize = 3;
/// How long a person waits for a code until they ask for another.
const CODE_PATIENCE: Duration = Duration::from_secs(15);

/// Pays one bill of the member's own, which arrived then: whoever begins late is late.
pub(crate) async fn pay(
    member: &Member,
    institution: &str,
    outside: &Outside,
    arrived: Instant,
    patience: Duration,
) -> Told {
    let mut steps = Vec::with_capacity(Step::ALL.len());
    let mut again = 0;
    let failed = walk(member, institution, outside, (arrived, patience), &mut steps, &mut again).await.err();
    let failed = failed.or_else(|| member.phone().broken().pop());
    if let Some(why) = &failed {
        tracing::warn!(institution, why, ?steps, took = ?arrived.elapsed(), "a payment was not completed");
    }
    Told { steps, again, failed }
}

async fn walk(
    member: &Member,
    institution: &str,
    outside: &Outside,
    (arrived, patience): (Instant, Duration),
    steps: &mut Vec<(Step, Duration)>,
    again: &mut u64,
) -> Result<(), String> {
    let (phone, own) = (member.phone(), &member.person.own);
    let deadline = arrived + patience;
    let mut since = arrived;
    let (bill_no, _) =
        outside.be_treated(institution, &own.patient(), None).await.ok_or("the hospital wrote no bill")?;
    let bill = phone.bill(institution, &bill_no, deadline).await.ok_or("the bill never came")?;
    lap(steps, Step::Bill, &mut since);

    let began = Instant::now();
    let mode = if member.person.level_1_only { Mode::CashOnly } else { Mode::Insured };
    let ask = OrderAsk { bill_id: bill.id, mode, use_account: true };
    let order = phone.open(&ask, false, deadline).await.map_err(|trouble| trouble.to_string())?;
    lap(steps, Step::Open, &mut since);
    let view = until(member, order, deadline, |view| view.state != "created").await?;
    steps.push((Step::Price, began.elapsed()));
    if view.state != "priced" {
        return Err(format!("not priced but {}: {}", view.state, view.reason.unwrap_or_default()));
    }

    // A 2207 that left nothing brings the order back to its price, and whoever wants to pay authorises anew.
    let mut view = view;
    for time in 0..TIMES {
        let proof = proof(member, outside, &view, &bill_no, deadline, (time == 0).then_some(&mut *steps)).await?;
        since = Instant::now();
        let paid = phone.pay(view.id, &proof, false, deadline).await.map_err(|trouble| trouble.to_string())?;
        if time == 0 {
            steps.push((Step::Pay, since.elapsed()));
        } else {
            *again += 1;
        }
        let enough = |view: &OrderView| view.wallet.is_some() || is_over(view) || view.state == "priced";
        view = until(member, paid, deadline, enough).await?;
        if view.state != "priced" {
            break;
        }
    }
    lap(steps, Step::Settle, &mut since);
    let view = match (&view.wallet, &view.split) {
        (Some(wallet), Some(split)) if !is_over(&view) => {
            let mut word = String::new();
            for _ in 0..TIMES {
                word = outside.tap_wallet(&wallet.package, &member.person.openid, split.cash_fen).await;
                if word != "NO_ANSWER" {
                    break;
                }
            }
            if word != "PAID" && word != "ORDERPAID" {
                return Err(format!("the wallet said {word}"));
            }
            until(member, view, deadline, is_over).await?
        }
        _ => view,
    };
    lap(steps, Step::Finish, &mut since);
    if view.state != "completed" {
        return Err(format!("not completed but {}: {}", view.state, view.reason.unwrap_or_default()));
    }
    steps.push((Step::Whole, arrived.elapsed()));
    Ok(())
}

/// What a person must show to pay: nothing for cash only, and else a code that is asked for again if none comes.
async fn proof(
    member: &Member,
    outside: &Outside,
    view: &OrderView,
    bill_no: &str,
    deadline: Instant,
    mut steps: Option<&mut Vec<(Step, Duration)>>,
) -> Result<PayAsk, String> {
    if view.mode == Mode::CashOnly {
        return Ok(PayAsk { phone: None, code: None, card_no: None });
    }
    let number = member.person.phone.expose();
    let fits = |text: &str| text.contains(bill_no) && text.contains("验证码") && code_in(text).is_some();
    for _ in 0..TIMES {
        let seen = outside.last_message(number).await;
        let began = Instant::now();
        member.phone().ask_code(view.id, deadline).await.map_err(|trouble| trouble.to_string())?;
        if let Some(steps) = steps.take() {
            steps.push((Step::Code, began.elapsed()));
        }
        if let Some(message) = outside.message(number, seen, deadline.min(began + CODE_PATIENCE), fits).await {
            let card_no = Some(member.card_no(&member.person.own));
            return Ok(PayAsk { phone: Some(member.person.phone.clone()), code: code_in(&message), card_no });
        }
    }
    Err("no code came".to_owned())
}

fn is_over(view: &OrderView) -> bool {
    matches!(view.state.as_str(), "completed" | "closed" | "suspended")
}

fn lap(steps: &mut Vec<(Step, Duration)>, step: Step, since: &mut Instant) {
    steps.push((step, since.elapsed()));
    *since = Instant::now();
}

async fn until(
    member: &Member,
    view: OrderView,
    deadline: Instant,
    enough: impl Fn(&OrderView) -> bool,
) -> Result<OrderView, String> {
    if enough(&view) {
        return Ok(view);
    }
    let stood = view.state.clone();
    member.phone().wait(view.id, deadline, enough).await.ok_or_else(|| format!("stayed in {stood}"))
}
