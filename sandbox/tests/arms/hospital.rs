//! The hospital after payment: it rejects, is silent, was not heard, is busy, or says what is not so.

use sandbox::fault::Fault;

use crate::case::{CASH_BACK, Case, INSURANCE_BACK, Sides, cash_of};
use crate::world::FIRST;
use crate::{Arm, arm};

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm("a hospital that rejects a paid bill has both legs given back", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            let fault = Fault::Refuse { code: "HIS-2".to_owned(), message: "号源已释放".to_owned() };
            case.his_fault("settled", fault, Some(1)).await;
            case.pay_cash(&view).await;
            case.ends("closed", Some("rejected"), None).await;
            case.is_told(INSURANCE_BACK).await;
            case.is_told(CASH_BACK).await;
            let row = case.wallet_row().await;
            assert_eq!(row["refunded_fen"], row["total_fen"]);
            // The lock of an order that was undone holds nobody: the window takes the bill.
            case.sides_become(&Sides { settlements: 0, cash: 0, standing: "held" }).await;
            assert_eq!(case.window().await, "released");
            case.sides_become(&Sides { settlements: 1, cash: 0, standing: "paid-at-window" }).await;
        }),
        arm(
            "a hospital that is silent after payment is left to its own people, and may still book",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                let view = case.collecting().await;
                case.his_fault("settled", Fault::NeitherDoNorAnswer, None).await;
                case.his_fault("query", Fault::NeitherDoNorAnswer, None).await;
                case.pay_cash(&view).await;
                case.ends("suspended", Some("institution_silent"), Some("institution")).await;
                let cash = cash_of(&view);
                case.sides_become(&Sides { settlements: 1, cash, standing: "held" }).await;
                case.never_happened("refund_asked").await;
                case.calm().await;
                case.ends("completed", None, None).await;
                case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
            },
        ),
        arm("a hospital that booked and was not heard is asked, never refunded", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.his_fault("settled", Fault::DoButDoNotAnswer, Some(1)).await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.happened("tell_unknown").await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a hospital that booked and says it has not is told again and books once", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.his_fault("settled", Fault::DoButDoNotAnswer, Some(1)).await;
            case.his_fault("query", Fault::AnswerButDoNotDo, Some(1)).await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a hospital that is busy after payment has not rejected", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.his_fault("settled", Fault::Busy, Some(2)).await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a hospital that answers twice has booked once", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.his_fault("settled", Fault::Duplicate, Some(1)).await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
        arm("a hospital that does not hear of a release is told until it does", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.his_fault("release", Fault::NeitherDoNorAnswer, Some(1)).await;
            case.priced().await;
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("closed", Some("cancelled"), None).await;
            case.sides_become(&Sides::nothing()).await;
            assert_eq!(case.his_bill().await["left_at_bureau"], false);
        }),
        arm("a hospital that does not hear of an undoing is told until it does", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.complete().await;
            case.his_fault("undone", Fault::NeitherDoNorAnswer, Some(1)).await;
            case.ask_back(None).await;
            case.refund_becomes("done").await;
            case.sides_become(&Sides::nothing()).await;
        }),
    ]
}
