//! The one-time code: wrong, reused, expired, foreign, over-tried and over-sent. Each is refused by its own name, and
//! nothing moves.

use std::sync::Arc;
use std::time::Duration;

use sandbox::clock::china_now;
use sandbox::fault::Fault;
use schema::mobile::{OrderView, PayAsk};
use schema::personal::{CardNo, OneTimeCode, Personal, Phone};
use schema::refusal::Code;

use crate::case::{Case, Sides, cash_of, refused, soon};
use crate::world::{FIRST, World};
use crate::{Arm, arm};

/// Tries and sends that a code and a price allow.
const TRIES: usize = 5;
const SENDS: usize = 3;

pub(crate) fn arms() -> Vec<Arm> {
    vec![
        arm("a wrong code is refused as wrong, and the right one still pays", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let code = case.code().await;
            assert_eq!(refused(case.pay(other_than(&code)).await), Code::CodeWrong);
            nothing_moved(&case).await;
            pays_with(&case, code).await;
        }),
        arm("a code that was used is dead, also after its payment came to nothing", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            case.bureau_fault("2207", Fault::NeitherDoNorAnswer, Some(1)).await;
            let code = case.code().await;
            case.pay(code.clone()).await.expect("authorised");
            assert_eq!(refused(case.pay(code.clone()).await), Code::NotNow);
            case.reaches("Proving").await;
            case.shown("priced").await;
            assert_eq!(refused(case.pay(code.clone()).await), Code::CodeNotSent);
            let fresh = case.code().await;
            if fresh.expose() != code.expose() {
                assert_eq!(refused(case.pay(code).await), Code::CodeWrong);
            }
            nothing_moved(&case).await;
            pays_with(&case, fresh).await;
        }),
        arm("an expired code is refused as expired", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let code = case.code().await;
            let expires_at_us = case.shown("priced").await.code_expires_at_us.expect("a code's end");
            let left_us = (expires_at_us - china_now().timestamp_micros()).max(0).unsigned_abs();
            tokio::time::sleep(Duration::from_micros(left_us) + Duration::from_millis(50)).await;
            assert_eq!(refused(case.pay(code).await), Code::CodeExpired);
            nothing_moved(&case).await;
            let fresh = case.code().await;
            pays_with(&case, fresh).await;
        }),
        arm("the code of another order is refused as foreign", |world| async move {
            let mut one = Case::at(&world, FIRST).await;
            let mut other = Case::again(&world, &one.member, FIRST).await;
            one.priced().await;
            other.priced().await;
            let (first, second) = (one.code().await, other.code().await);
            if first.expose() != second.expose() {
                assert_eq!(refused(other.pay(first).await), Code::CodeForeign);
            }
            nothing_moved(&other).await;
            assert_eq!(one.cancel().await, Ok(()));
            one.ends("closed", Some("cancelled"), None).await;
            pays_with(&other, second).await;
        }),
        arm("a code that was tried too often is void, and a fresh one pays", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let code = case.code().await;
            for _ in 0..TRIES {
                assert_eq!(refused(case.pay(other_than(&code)).await), Code::CodeWrong);
            }
            assert_eq!(refused(case.pay(code).await), Code::CodeTriedOut);
            nothing_moved(&case).await;
            let fresh = case.code().await;
            pays_with(&case, fresh).await;
        }),
        arm("a price has only so many codes", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            let mut last = case.code().await;
            for _ in 1..SENDS {
                last = case.code().await;
            }
            let more = case.member.phone().ask_code(case.order(), soon()).await;
            assert_eq!(refused(more), Code::CodeSendsUsed);
            pays_with(&case, last).await;
        }),
        arm("no code, no payment", |world| async move {
            let mut case = Case::at(&world, FIRST).await;
            case.priced().await;
            assert_eq!(refused(case.pay(OneTimeCode::new("000000")).await), Code::CodeNotSent);
            assert_eq!(case.cancel().await, Ok(()));
            case.ends("closed", Some("cancelled"), None).await;
            case.sides_become(&Sides::nothing()).await;
        }),
        arm("a right code with another card is refused for the card", |world| async move {
            other_proof(world, |ask| ask.card_no = Some(CardNo::new("449999999999")), Code::CardWrong).await;
        }),
        arm("a right code with another phone number is refused for the phone", |world| async move {
            other_proof(world, |ask| ask.phone = Some(Phone::new("13900000000")), Code::PhoneWrong).await;
        }),
    ]
}

fn other_than(code: &OneTimeCode) -> OneTimeCode {
    let digits: u32 = code.expose().parse().expect("six digits");
    OneTimeCode::new(format!("{:06}", (digits + 1) % 1_000_000))
}

async fn nothing_moved(case: &Case) {
    let view: OrderView = case.shown("priced").await;
    assert!(view.setl_id.is_none() && view.transaction_id.is_none(), "{view:?}");
    case.sides_become(&Sides { settlements: 0, cash: 0, standing: "held" }).await;
}

async fn pays_with(case: &Case, code: OneTimeCode) {
    case.pay(code).await.expect("the right code pays");
    let view = case.at_the_wallet().await;
    case.pay_cash(&view).await;
    case.ends("completed", None, None).await;
    case.sides_become(&Sides { settlements: 1, cash: cash_of(&view), standing: "booked" }).await;
}

async fn other_proof(world: Arc<World>, spoil: impl FnOnce(&mut PayAsk), refusal: Code) {
    let mut case = Case::at(&world, FIRST).await;
    case.priced().await;
    let code = case.code().await;
    let mut ask = case.proof(code.clone());
    spoil(&mut ask);
    let answer = case.member.phone().pay(case.order(), &ask, false, soon()).await;
    assert_eq!(refused(answer), refusal);
    nothing_moved(&case).await;
    pays_with(&case, code).await;
}
