//! A card or binding that is lost between code and payment, and at a bureau that does not answer.

use sandbox::fault::Fault;
use schema::mobile::Mode;
use schema::refusal::Code;

use crate::case::{Case, Sides, refused, soon};
use crate::world::FIRST;
use crate::{Arm, arm};

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm("a card that its owner reports lost between code and payment pays nothing", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let code = case.code().await;
            case.lose().await;
            no_code_pays(&case, code).await;
            let again = Case::again(&world, &case.member, FIRST).await;
            refuses_insurance(again).await;
        }),
        arm("a card that the bureau reports lost between code and payment pays nothing", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let code = case.code().await;
            case.lose_at_bureau().await;
            case.ends("closed", Some("binding_lost"), None).await;
            no_code_pays(&case, code).await;
            let again = Case::again(&world, &case.member, FIRST).await;
            refuses_insurance(again).await;
        }),
        arm("a notice of loss that comes twice stops once", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            case.bureau_fault("loss", Fault::Duplicate, Some(1)).await;
            case.lose_at_bureau().await;
            case.ends("closed", Some("binding_lost"), None).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a binding that is ended between code and payment pays nothing", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let code = case.code().await;
            let binding = case.binding().await;
            case.member.phone().unbind(binding, soon()).await.expect("unbound");
            no_code_pays(&case, code).await;
        }),
        arm("a card that is lost while the bureau is dead sends no second 2207", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            case.bureau_fault("2207", Fault::Busy, None).await;
            case.authorise().await;
            case.reaches("Settling").await;
            case.happened("settle_refused").await;
            case.lose().await;
            case.ends("closed", Some("binding_lost"), None).await;
            case.calm().await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm(
            "a card that its owner reports lost while a 2207 is lost ends the order once that is known",
            |world| async move {
                let mut case = Case::at(&world, FIRST).await;
                case.priced().await;
                case.bureau_fault("2207", Fault::ExecuteAfterReversal { delay_ms: 700 }, Some(1)).await;
                case.authorise().await;
                case.reaches("Doubting").await;
                case.lose().await;
                case.ends("closed", Some("binding_lost"), None).await;
                case.happened("settle_found").await;
                case.sides_become(&Sides::nothing()).await;
            },
        ),
        arm("a person whose card is lost may still pay in cash", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.lose().await;
            let view = case.collecting_cash_only().await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.sides_become(&Sides { settlements: 0, cash: case.amount, standing: "booked" }).await;
        }),
    ]
}

/// The order ends as lost, and the code in hand is worth nothing.
async fn no_code_pays(case: &Case, code: schema::personal::OneTimeCode) {
    case.ends("closed", Some("binding_lost"), None).await;
    let said = refused(case.pay(code).await);
    assert!(matches!(said, Code::NotNow | Code::BindingFrozen), "{said}");
    case.sides_become(&Sides::nothing()).await;
}

async fn refuses_insurance(mut case: Case) {
    assert_eq!(refused(case.try_open(Mode::Insured).await), Code::BindingFrozen);
    case.sides_become(&Sides::nothing()).await;
}
