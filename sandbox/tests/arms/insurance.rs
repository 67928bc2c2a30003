//! The insurance leg: 2207 and 2208 refused, lost, late, different, and in each other's way.

use std::sync::Arc;

use sandbox::fault::Fault;
use sandbox::people::person::Person;
use schema::money::Fen;
use schema::refusal::Code;
use serde_json::{Value, json};

use crate::case::{CASH_PAID, Case, INSURANCE_BACK, INSURANCE_PAID, Sides, cash_of, refused, soon};
use crate::world::{FAR, FIRST, World, fail};
use crate::{Arm, arm};

pub(crate) fn arms() -> Vec<Arm> {
    let mut all = vec![
        arm(
            "nothing goes wrong: settled, collected, booked, and the insured person is told of both",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                let cash = case.complete().await;
                case.is_told(INSURANCE_PAID).await;
                case.is_told(CASH_PAID).await;
                case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
                receipt_says_what_the_others_recorded(&case, cash).await;
            },
        ),
        arm("where nothing is due in cash the wallet is asked nothing", |world| async move {
            let rich = |person: &Person| person.own.register.balance_fen >= Fen::new(180_000);
            let mut case = Case::of(&world, FIRST, rich).await;
            case.use_account = true;
            let seen = case.priced().await.split.expect("a split");
            assert!(seen.cash_fen.is_zero() && !seen.account_own_fen.is_zero(), "the account covers it: {seen:?}");
            case.authorise().await;
            let story = case.ends("completed", None, None).await;
            assert_eq!((&story["prepay"], &story["cash"]), (&Value::Null, &json!([])), "{story}");
            case.sides_become(&Sides { settlements: 1, cash: 0, standing: "booked" }).await;
            assert_eq!(case.wallet_row().await, Value::Null, "the wallet knows nothing of it");
            case.is_told(INSURANCE_PAID).await;
            receipt_says_what_the_others_recorded(&case, 0).await;
        }),
        arm("a bureau that refuses 2207 ends the order and nothing was settled", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let fault = Fault::Refuse { code: "2001".to_owned(), message: "待遇封锁".to_owned() };
            case.bureau_fault("2207", fault, Some(1)).await;
            case.authorise().await;
            let story = case.ends("closed", Some("settle_refused"), None).await;
            let words = story["order"]["state"]["why"]["words"].as_str().unwrap_or_default();
            assert!(words.contains("待遇封锁"), "{words}");
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a busy bureau is asked again and settles once", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            case.bureau_fault("2207", Fault::Busy, Some(3)).await;
            case.authorise().await;
            let view = case.at_the_wallet().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a bureau that settles other than it priced is undone, and the new price is shown", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let seen = case.priced().await;
            let fund = seen.split.expect("a split").fund_fen.get();
            assert!(fund > 0, "nothing that could shift: {seen:?}");
            case.bureau_fault("2207", Fault::Differ, Some(1)).await;
            case.authorise().await;
            case.is_told(INSURANCE_BACK).await;
            case.happened("undo_done").await;
            let again = case.shown("priced").await;
            assert_eq!(again.split, seen.split, "the bureau differed once only");
            case.authorise().await;
            let view = case.at_the_wallet().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a bureau that refuses 2208 leaves the order to the bureau's people", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.collecting().await;
            let fault = Fault::Refuse { code: "2009".to_owned(), message: "该月已清算".to_owned() };
            case.bureau_fault("2208", fault, None).await;
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("suspended", Some("undo_refused"), Some("bureau")).await;
            case.sides_become(&Sides { settlements: 1, cash: 0, standing: "held" }).await;
        }),
        arm("a later settlement at the window is in the way of 2208", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.collecting().await;
            assert!(world.outside.pay_elsewhere(FIRST, &case.insured().patient()).await);
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("suspended", Some("undo_refused"), Some("bureau")).await;
            case.sides_become(&Sides { settlements: 1, cash: 0, standing: "held" }).await;
        }),
        arm("a 2208 that was done and not heard is found undone", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.collecting().await;
            case.bureau_fault("2208", Fault::DoButDoNotAnswer, Some(1)).await;
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("closed", Some("cancelled"), None).await;
            case.happened("undo_found").await;
            case.is_told(INSURANCE_BACK).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a 2208 that was not done and not heard is sent once more", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.collecting().await;
            case.bureau_fault("2208", Fault::NeitherDoNorAnswer, Some(1)).await;
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("closed", Some("cancelled"), None).await;
            case.happened("undo_stands").await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("of two bills of one person at once one waits, and both are paid in the end", two_bills),
        arm("a settlement at the window that nobody told of changes the split, which is shown anew", unseen_window),
    ];
    all.extend(lost_2207s());
    all
}

/// Each way of losing a 2207: its sentence, what the bureau does, whether the second question finds a settlement.
/// The payer's receipt against the bureau's and the wallet's own rows.
async fn receipt_says_what_the_others_recorded(case: &Case, cash: i64) {
    let receipt = case.receipt().await;
    let rows = case.settlement_rows().await;
    let [row] = &rows[..] else { fail(&format!("one settlement: {rows:?}")) };
    assert_eq!(receipt.setl_id.as_deref(), row["setl_id"].as_str(), "{row}");
    assert!(receipt.setl_id.is_some() && receipt.setl_time_us.is_some(), "{receipt:?}");
    let settled = |name: &str| row["amounts"][name].as_i64();
    let split = receipt.split;
    assert_eq!(Some(split.cash_fen.get()), settled("psn_cash"), "{row}");
    assert_eq!(Some(split.account_own_fen.get() + split.account_mulaid_fen.get()), settled("acct_pay"), "{row}");
    assert_eq!((Some(receipt.amount_fen.get()), split.cash_fen.get()), (settled("medfee_sumamt"), cash), "{row}");
    assert_eq!((receipt.amount_fen.get(), receipt.state.as_str()), (case.amount, "completed"));
    let wallet = case.wallet_row().await;
    assert_eq!(receipt.transaction_id.as_deref(), wallet["transaction_id"].as_str(), "{wallet}");
    assert_eq!((receipt.transaction_id.is_some(), receipt.success_time_us.is_some()), (cash > 0, cash > 0));
}

fn lost_2207s() -> Vec<Arm> {
    let cases = [
        ("a 2207 that was done and not heard is reversed", Fault::DoButDoNotAnswer, false),
        ("a 2207 that was not done and not heard is proven to be nothing", Fault::NeitherDoNorAnswer, false),
        ("a 2207 that is answered after everybody gave up is reversed", Fault::Delay { delay_ms: 4_200 }, false),
        ("a 2207 that executes late is caught by its reversal", Fault::LateCommit { delay_ms: 700 }, false),
        ("a 2207 that executes after its reversal is found", Fault::ExecuteAfterReversal { delay_ms: 700 }, true),
    ];
    let lost = |(name, fault, found): (&str, Fault, bool)| {
        arm(format!("{name}, and the person pays once"), move |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            case.bureau_fault("2207", fault, Some(1)).await;
            case.authorise().await;
            case.reaches("Proving").await;
            case.shown("priced").await;
            case.happened("settle_unknown").await;
            if found {
                case.happened("settle_found").await;
                case.is_told(INSURANCE_PAID).await;
                case.is_told(INSURANCE_BACK).await;
            } else {
                case.never_happened("settle_found").await;
            }
            case.sides_become(&Sides { settlements: 0, cash: 0, standing: "held" }).await;
            case.authorise().await;
            let view = case.at_the_wallet().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        })
    };
    cases.into_iter().map(lost).collect()
}

async fn two_bills(world: Arc<World>) {
    let mut one = Case::at(&world, FIRST).await;
    let mut other = Case::again(&world, &one.member, FIRST).await;
    one.priced().await;
    other.priced().await;
    let (first, second) = (one.code().await, other.code().await);
    let (first, second) = tokio::join!(one.pay(first), other.pay(second));
    assert_ne!(first.is_ok(), second.is_ok(), "{first:?} {second:?}");
    let (winner, loser, refusal) =
        if first.is_ok() { (&one, &other, refused(second)) } else { (&other, &one, refused(first)) };
    let said = [Code::PersonBusy, Code::NotNow, Code::CodeForeign, Code::CodeNotSent];
    assert!(said.contains(&refusal), "{refusal}");
    let view = winner.at_the_wallet().await;
    winner.pay_cash(&view).await;
    winner.ends("completed", None, None).await;
    winner.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
    loser.happened("price_stale").await;
    loser.shown("priced").await;
    loser.authorise().await;
    let view = loser.at_the_wallet().await;
    loser.pay_cash(&view).await;
    loser.ends("completed", None, None).await;
    loser.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
}

async fn unseen_window(world: Arc<World>) {
    // Employees there have a deductible, which the window's settlement uses up.
    let employee = |person: &sandbox::people::person::Person| {
        person.own.register.insurances.iter().any(|insurance| insurance.psn_type == "1101")
    };
    let _purse = world.purse.lock().await;
    let mut case = Case::of(&world, FAR, employee).await;
    let seen = cash_of(&case.priced().await);
    let ask = json!({"institution": FAR, "patient": case.insured().patient(), "lines": 8});
    let url = format!("{}/sandbox/window/settle-own", world.url("his"));
    let settled = world.outside.post(url, &ask).await;
    assert!(settled.as_ref().is_some_and(|(status, _)| *status == 200), "{settled:?}");
    case.authorise().await;
    let cheaper = |view: &schema::mobile::OrderView| {
        view.state == "priced" && view.split.is_some_and(|split| split.cash_fen.get() < seen)
    };
    let again = case.member.phone().wait(case.order(), soon(), cheaper).await;
    assert!(again.is_some(), "the deductible is used up: {:?}", world.events(case.order()).await);
    case.happened("undo_done").await;
    case.authorise().await;
    let view = case.at_the_wallet().await;
    case.pay_cash(&view).await;
    case.ends("completed", None, None).await;
    case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
}
