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
    /// What kept it from being completed, in a word.
    pub(crate) failed: Option<String>,
}

/// Pays one insured bill of the member's own.
pub(crate) async fn pay(member: &Member, institution: &str, outside: &Outside, patience: Duration) -> Told {
    let mut steps = Vec::with_capacity(Step::ALL.len());
    let began = Instant::now();
    let failed = walk(member, institution, outside, began + patience, &mut steps).await.err();
    if let Some(why) = &failed {
        tracing::warn!(institution, why, ?steps, took = ?began.elapsed(), "a payment was not completed");
    }
    Told { steps, failed }
}

async fn walk(
    member: &Member,
    institution: &str,
    outside: &Outside,
    deadline: Instant,
    steps: &mut Vec<(Step, Duration)>,
) -> Result<(), String> {
    let (phone, own) = (member.phone(), &member.person.own);
    let mut since = Instant::now();
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

    let proof = if mode == Mode::CashOnly {
        PayAsk { phone: None, code: None, card_no: None }
    } else {
        let number = member.person.phone.expose();
        let seen = outside.last_message(number).await;
        since = Instant::now();
        phone.ask_code(view.id, deadline).await.map_err(|trouble| trouble.to_string())?;
        lap(steps, Step::Code, &mut since);
        let fits = |text: &str| text.contains(&bill_no) && text.contains("验证码") && code_in(text).is_some();
        let message = outside.message(number, seen, deadline, fits).await.ok_or("no code came")?;
        PayAsk { phone: Some(member.person.phone.clone()), code: code_in(&message), card_no: Some(member.card_no(own)) }
    };
    since = Instant::now();
    let view = phone.pay(view.id, &proof, false, deadline).await.map_err(|trouble| trouble.to_string())?;
    steps.push((Step::Pay, since.elapsed()));
    let view = until(member, view, deadline, |view| view.wallet.is_some() || is_over(view)).await?;
    lap(steps, Step::Settle, &mut since);
    let view = match (&view.wallet, &view.split) {
        (Some(wallet), Some(split)) if !is_over(&view) => {
            let word = outside.tap_wallet(&wallet.package, &member.person.openid, split.cash_fen).await;
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
    steps.push((Step::Whole, began.elapsed()));
    Ok(())
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
