//! The SMS gateway: messages that never come, come twice, or are only said to be sent.

use std::time::Duration;

use sandbox::fault::Fault;
use sandbox::people::outside::code_in;
use schema::personal::Personal;
use tokio::time::Instant;

use crate::case::{CASH_PAID, Case, INSURANCE_PAID, Sides, cash_of, soon};
use crate::world::FIRST;
use crate::{Arm, arm};

/// How long a person looks at a phone that stays silent.
const SILENCE: Duration = Duration::from_secs(2);

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm("a code that was only said to be sent is asked for again", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let phone = case.member.person.phone.expose().to_owned();
            world.fault(world.url("sms"), "send", &phone, Fault::AnswerButDoNotDo, Some(1)).await;
            let seen = case.last_message().await;
            case.member.phone().ask_code(case.order(), soon()).await.expect("a code is issued");
            let fits = |text: &str| text.contains(&case.bill_no) && code_in(text).is_some();
            let came = world.outside.message(&phone, seen, Instant::now() + SILENCE, fits).await;
            assert_eq!(came, None);
            pays(&case).await;
        }),
        arm("a code that comes twice pays once", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let phone = case.member.person.phone.expose().to_owned();
            world.fault(world.url("sms"), "send", &phone, Fault::Duplicate, None).await;
            pays(&case).await;
        }),
        arm("news of money that the gateway did not take is sent until it does", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            let view = case.collecting().await;
            case.is_told(INSURANCE_PAID).await;
            let phone = case.member.person.phone.expose().to_owned();
            world.fault(world.url("sms"), "send", &phone, Fault::NeitherDoNorAnswer, Some(2)).await;
            world.fault(world.url("sms"), "send", &phone, Fault::Busy, Some(1)).await;
            case.pay_cash(&view).await;
            case.ends("completed", None, None).await;
            case.is_told(CASH_PAID).await;
            case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
        }),
    ]
}

async fn pays(case: &Case) {
    case.authorise().await;
    let view = case.at_the_wallet().await;
    case.pay_cash(&view).await;
    case.ends("completed", None, None).await;
    case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
}
