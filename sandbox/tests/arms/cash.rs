//! The cash leg: a wallet that is never paid, paid late, tells twice or never, takes another amount, or lies.

use std::time::Duration;

use sandbox::fault::Fault;

use crate::case::{CASH_BACK, CASH_PAID, CASH_STRAY, Case, INSURANCE_BACK, Sides, cash_of};
use crate::world::FIRST;
use crate::{Arm, arm};

/// The wallet knows whole seconds, and an order's end there is rounded up to the next.
const WHOLE_SECOND: Duration = Duration::from_millis(1_100);

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm("a wallet that is never paid is closed, and the insurance leg comes back", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.collecting().await;
            case.ends("closed", Some("not_paid_in_time"), None).await;
            case.is_told(INSURANCE_BACK).await;
            assert_eq!(case.wallet_row().await["state"], "CLOSED");
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a payment after expiry that the wallet took before it was closed counts", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.wallet_fault("close", Fault::Busy, None).await;
            case.wallet_fault("query", Fault::Busy, None).await;
            case.wallet_fault("pay-after-close", Fault::Busy, Some(1)).await;
            case.reaches("ClosingWallet").await;
            tokio::time::sleep(WHOLE_SECOND).await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.is_told(CASH_PAID).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a payment that meets the cancelling halfway counts", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.wallet_fault("close", Fault::NeitherDoNorAnswer, Some(2)).await;
            case.wallet_fault("query", Fault::NeitherDoNorAnswer, Some(2)).await;
            assert_eq!(case.cancel().await, Ok(()));
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a payment that lands after the close goes back to the payer", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("closed", Some("cancelled"), None).await;
            assert_eq!(case.tap(&view).await, "ORDERCLOSED");
            case.wallet_fault("pay-after-close", Fault::Busy, Some(1)).await;
            case.pay_cash(&view).await;
            case.is_told(CASH_STRAY).await;
            case.is_told(CASH_BACK).await;
            case.sides_become(&Sides::nothing()).await;
            let row = case.wallet_row().await;
            assert_eq!((row["state"].as_str(), &row["refunded_fen"]), (Some("PAID"), &row["total_fen"]));
            let story = case.ends("closed", Some("cancelled"), None).await;
            assert_eq!(story["refunds"][0]["kind"], "stray");
        }),
        arm("a wallet that tells twice is believed once", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.wallet_fault("notify", Fault::Duplicate, None).await;
            case.pay_cash(&view).await;
            let story = case.ends("completed", None, None).await;
            let paid = story["history"].as_array().into_iter().flatten().filter(|row| row["event"] == "wallet_paid");
            assert_eq!(paid.count(), 1);
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a wallet that never tells is asked", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.wallet_fault("notify", Fault::NeverNotify, None).await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a wallet that takes another amount gives it back, and the insurance leg is undone", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.wallet_fault("pay", Fault::Differ, Some(1)).await;
            case.pay_cash(&view).await;
            case.ends("closed", Some("amount_differs"), None).await;
            case.is_told(CASH_STRAY).await;
            case.is_told(INSURANCE_BACK).await;
            case.is_told(CASH_BACK).await;
            case.sides_become(&Sides::nothing()).await;
            let row = case.wallet_row().await;
            assert!(row["total_fen"].as_i64().expect("an amount") < cash_of(&view));
            assert_eq!(row["refunded_fen"], row["total_fen"]);
        }),
        arm("a wallet that only shows a payment was not paid", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.wallet_fault("pay", Fault::AnswerButDoNotDo, Some(1)).await;
            case.pay_cash(&view).await;
            case.ends("closed", Some("not_paid_in_time"), None).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a wallet order that was opened and not heard is opened once", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            case.wallet_fault("prepay", Fault::DoButDoNotAnswer, Some(1)).await;
            case.authorise().await;
            let view = case.at_the_wallet().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm(
            "a wallet order that is only said to be open cannot be paid, and everything comes back",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                case.priced().await;
                case.wallet_fault("prepay", Fault::AnswerButDoNotDo, Some(1)).await;
                case.authorise().await;
                let view = case.at_the_wallet().await;
                assert_eq!(case.tap(&view).await, "PREPAY_ID_INVALID");
                case.ends("closed", Some("not_paid_in_time"), None).await;
                case.is_told(INSURANCE_BACK).await;
                case.sides_become(&Sides::nothing()).await;
            },
        ),
        arm("a wallet that refuses to open an order has the insurance leg undone", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let fault = Fault::Refuse { code: "RULE_LIMIT".to_owned(), message: "商户收款额度已满".to_owned() };
            case.wallet_fault("prepay", fault, None).await;
            case.authorise().await;
            case.ends("closed", Some("wallet_refused"), None).await;
            case.is_told(INSURANCE_BACK).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm(
            "a wallet that says closed and did not close is closed again before anything is undone",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                case.collecting().await;
                case.wallet_fault("close", Fault::AnswerButDoNotDo, Some(1)).await;
                assert_eq!(case.cancel().await, Ok(()));
                case.ends("closed", Some("cancelled"), None).await;
                case.happened("wallet_not_paid").await;
                assert_eq!(case.wallet_row().await["state"], "CLOSED");
                case.sides_become(&Sides::nothing()).await;
            },
        ),
    ]
}
