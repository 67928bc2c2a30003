//! The hospital's price: refused, never given, late, or wrong.

use sandbox::fault::Fault;

use crate::case::{Case, INSURANCE_BACK, Sides, cash_of, soon};
use crate::world::FIRST;
use crate::{Arm, arm};

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm("a hospital that refuses to price ends the order with its own words", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let fault = Fault::Refuse { code: "HIS-1".to_owned(), message: "今日停诊".to_owned() };
            case.his_fault("pre-settle", fault, Some(1)).await;
            case.open(schema::mobile::Mode::Insured).await;
            let story = case.ends("closed", Some("price_refused"), None).await;
            let words = story["order"]["state"]["why"]["words"].as_str().unwrap_or_default();
            assert!(words.contains("今日停诊"), "{words}");
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a hospital that never prices ends the order at its deadline", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.his_fault("pre-settle", Fault::NeitherDoNorAnswer, None).await;
            case.open(schema::mobile::Mode::Insured).await;
            case.ends("closed", Some("no_price_in_time"), None).await;
            case.calm().await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a price that comes late is still the price", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.his_fault("pre-settle", Fault::Delay { delay_ms: 5_000 }, Some(1)).await;
            let cash = case.complete().await;
            case.happened("price_unknown").await;
            case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
        }),
        arm("a hospital that priced and was not heard is asked again and prices once", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.his_fault("pre-settle", Fault::DoButDoNotAnswer, Some(1)).await;
            let cash = case.complete().await;
            case.sides_become(&Sides { settlements: 1, cash, standing: "booked" }).await;
        }),
        arm("a hospital that quotes other than the bureau settles is undone and priced again", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.his_fault("pre-settle", Fault::Differ, Some(1)).await;
            let quoted = cash_of(&case.priced().await);
            case.authorise().await;
            let again = case.member.phone().wait(case.order(), soon(), |view| {
                view.state == "priced" && view.split.is_some_and(|split| split.cash_fen.get() != quoted)
            });
            assert_eq!(cash_of(&again.await.expect("a new price")), quoted - 1);
            case.is_told(INSURANCE_BACK).await;
            case.authorise().await;
            let view = case.at_the_wallet().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 1, cash: quoted - 1, standing: "booked" }).await;
        }),
        arm("a price of which nothing is left at the bureau cannot be settled", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.his_fault("pre-settle", Fault::AnswerButDoNotDo, Some(1)).await;
            case.priced().await;
            case.authorise().await;
            case.ends("closed", Some("settle_refused"), None).await;
            case.sides_become(&Sides::nothing()).await;
        }),
    ]
}
