//! A part of an insured order goes back: everything is undone, and what remains is settled anew.

use sandbox::fault::Fault;
use serde_json::json;

use crate::case::{CASH_BACK, Case, INSURANCE_BACK, INSURANCE_PAID, Sides};
use crate::world::FIRST;
use crate::{Arm, arm};

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm(
            "a line goes back: the rest is settled without asking the payer, who gets the difference",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                let cash = case.complete().await;
                case.return_line().await;
                case.refund_becomes("done").await;
                let story = case.ends("closed", Some("replaced"), None).await;
                let kept = story["order"]["carried_out"].as_i64().expect("fen");
                assert!((0..=cash).contains(&kept), "{kept} of {cash}");
                case.is_told(INSURANCE_BACK).await;
                if kept < cash {
                    case.is_told(CASH_BACK).await;
                }
                let rest = case.rest().await;
                let anew = rest.ends("completed", None, None).await;
                assert_eq!(
                    (&anew["order"]["replaces"], &anew["order"]["carried_in"]),
                    (&story["order"]["id"], &json!(kept))
                );
                assert_eq!(anew["order"]["price"]["split"]["cash_fen"], json!(kept));
                rest.never_happened("code_issued").await;
                rest.is_told(INSURANCE_PAID).await;
                // The cash stays where it came in; the settlement is the new bill's.
                case.sides_become(&Sides { cash: kept, ..Sides::nothing() }).await;
                rest.sides_become(&Sides { settlements: 1, cash: 0, standing: "booked" }).await;
            },
        ),
        arm("a line goes back and the hospital refuses to price the rest: everything goes back", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.complete().await;
            let refuse = Fault::Refuse { code: "HIS-1".to_owned(), message: "无此处方".to_owned() };
            case.his_fault_of(&case.rest_no(), "pre-settle", refuse, Some(1)).await;
            case.return_line().await;
            case.refund_becomes("done").await;
            let story = case.ends("closed", Some("replaced"), None).await;
            assert_eq!(story["order"]["carried_out"], json!(0));
            let rest = case.rest().await;
            rest.ends("closed", Some("price_refused"), None).await;
            case.is_told(CASH_BACK).await;
            case.sides_become(&Sides::nothing()).await;
            rest.sides_become(&Sides { settlements: 0, cash: 0, standing: "open" }).await;
        }),
        arm(
            "a line goes back and the bureau settles the rest unheard: it is proven nothing, and settled once",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                case.complete().await;
                case.bureau_fault("2207", Fault::DoButDoNotAnswer, Some(1)).await;
                case.return_line().await;
                case.refund_becomes("done").await;
                case.ends("closed", Some("replaced"), None).await;
                let rest = case.rest().await;
                rest.ends("completed", None, None).await;
                rest.happened("settle_unknown").await;
                rest.sides_become(&Sides { settlements: 1, cash: 0, standing: "booked" }).await;
            },
        ),
        arm(
            "a line goes back after a later settlement at the window: the bureau refuses and nothing moves",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                let cash = case.complete().await;
                assert!(world.outside.pay_elsewhere(FIRST, &case.insured().patient()).await);
                case.return_line().await;
                case.refund_becomes("refused").await;
                case.ends("completed", None, None).await;
                case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
            },
        ),
    ]
}
