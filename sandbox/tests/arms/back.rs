//! Money going back after it was booked, and what is in its way.

use sandbox::fault::Fault;
use serde_json::json;

use crate::case::{CASH_BACK, Case, INSURANCE_BACK, Sides, cash_of};
use crate::world::{FAR, FAR_MERCHANT, FIRST};
use crate::{Arm, arm};

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm("a whole refund that the hospital asks gives both legs back", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.complete().await;
            case.ask_back(None).await;
            case.refund_becomes("done").await;
            case.is_told(INSURANCE_BACK).await;
            case.is_told(CASH_BACK).await;
            let story = case.ends("completed", None, None).await;
            assert_eq!(story["order"]["refunded"], case.amount);
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a whole refund that is asked before it was booked ends the order", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.his_fault("settled", Fault::NeitherDoNorAnswer, None).await;
            case.his_fault("query", Fault::NeitherDoNorAnswer, None).await;
            case.pay_cash(&view).await;
            case.reaches("Paid").await;
            case.ask_back(None).await;
            case.ends("closed", Some("refund_asked"), None).await;
            case.is_told(CASH_BACK).await;
            case.calm().await;
            let held = Sides { settlements: 0, cash: 0, standing: "held" };
            case.sides_become_one_of(&[held, Sides::nothing()]).await;
        }),
        arm("a part of a cash-only order goes back and the rest stays paid", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting_cash_only().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            let part = case.amount / 3;
            case.ask_back(Some(part)).await;
            case.refund_becomes("done").await;
            case.is_told(CASH_BACK).await;
            case.sides_become(&Sides { settlements: 0, cash: case.amount - part, standing: "booked" }).await;
        }),
        arm("more than was paid is not given back", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting_cash_only().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            assert_eq!(case.ask_back(Some(case.amount + 1)).await, "refused");
            case.sides_become(&Sides { settlements: 0, cash: case.amount, standing: "booked" }).await;
        }),
        arm("a later settlement at the window is in the way of a refund, and nothing moves", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let cash = case.complete().await;
            assert!(world.outside.pay_elsewhere(FIRST, &case.insured().patient()).await);
            case.ask_back(None).await;
            case.refund_becomes("refused").await;
            let story = case.ends("completed", None, None).await;
            assert_eq!((&story["order"]["refunded"], &story["order"]["refunding"]), (&json!(0), &json!(0)));
            case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
        }),
        arm("a merchant whose purse is empty gives back once money is in it again", |world| async move {
            let _purse = world.purse.lock().await;
            let mut case = Case::at(&world, FAR).await;
            let view = case.collecting_cash_only().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            let wallet = world.url("wallet");
            let books = world.page(format!("{wallet}/sandbox/books")).await;
            let balance = &books["merchants"][FAR_MERCHANT]["balance_fen"];
            let moved = json!({"fen": balance});
            let withdraw = format!("{wallet}/sandbox/merchants/{FAR_MERCHANT}/withdraw");
            assert!(world.outside.post(withdraw, &moved).await.is_some_and(|(status, _)| status == 200));
            case.ask_back(None).await;
            case.refund_becomes("returning_cash").await;
            let cash = case.amount;
            case.sides_become(&Sides { settlements: 0, cash, standing: "booked" }).await;
            let deposit = format!("{wallet}/sandbox/merchants/{FAR_MERCHANT}/deposit");
            assert!(world.outside.post(deposit, &moved).await.is_some_and(|(status, _)| status == 200));
            case.refund_becomes("done").await;
            case.is_told(CASH_BACK).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm(
            "a purse that stays empty is shown to the finance people, and the refund heals once it is filled",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                let view = case.collecting_cash_only().await;
                case.pay_cash(&view).await;
                case.ends("completed", None, None).await;
                let fault = Fault::Refuse { code: "NOT_ENOUGH".to_owned(), message: "商户余额不足".to_owned() };
                case.wallet_fault("refund", fault, None).await;
                case.ask_back(None).await;
                case.refund_becomes("suspended").await;
                let story = case.ends("completed", None, None).await;
                assert_eq!(story["refunds"][0]["state"]["owner"], "finance");
                case.sides_become(&Sides { settlements: 0, cash: case.amount, standing: "booked" }).await;
                case.calm().await;
                case.refund_becomes("done").await;
                case.is_told(CASH_BACK).await;
                case.sides_become(&Sides::nothing()).await;
            },
        ),
        arm("a refund that cannot reach the payer is left to the finance people", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting_cash_only().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            let fault = Fault::Refuse { code: "ABNORMAL".to_owned(), message: String::new() };
            case.wallet_fault("refund-settle", fault, Some(1)).await;
            case.ask_back(None).await;
            case.refund_becomes("suspended").await;
            case.sides_become(&Sides { settlements: 0, cash: case.amount, standing: "booked" }).await;
        }),
        given_back_once("a refund that was taken on and not heard goes back once", Fault::DoButDoNotAnswer),
        given_back_once("a refund that was not taken on and not heard goes back once", Fault::NeitherDoNorAnswer),
        given_back_once("a refund that was only said to be taken on is sent again", Fault::AnswerButDoNotDo),
        given_back_once("a refund that is taken on late goes back once", Fault::LateCommit { delay_ms: 700 }),
        arm("an undoing that is lost in a refund is found before any cash moves", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.bureau_fault("2208", Fault::DoButDoNotAnswer, Some(1)).await;
            case.bureau_fault("5203", Fault::NeitherDoNorAnswer, None).await;
            case.ask_back(None).await;
            case.happens_to_refund("asking_undo").await;
            assert_eq!(case.wallet_row().await["refunded_fen"], 0, "{}", cash_of(&view));
            case.calm().await;
            case.refund_becomes("done").await;
            case.sides_become(&Sides::nothing()).await;
        }),
    ]
}

fn given_back_once(name: &str, fault: Fault) -> Arm {
    arm(name, |world| async move {
        let mut case = Case::at(&world, FIRST).await;
        let view = case.collecting_cash_only().await;
        case.pay_cash(&view).await;
        case.ends("completed", None, None).await;
        case.wallet_fault("refund", fault, Some(1)).await;
        case.ask_back(None).await;
        case.refund_becomes("done").await;
        let refunds = case.wallet_row().await["refunds"].as_array().map(Vec::len);
        assert_eq!(refunds, Some(1));
        case.sides_become(&Sides::nothing()).await;
    })
}
