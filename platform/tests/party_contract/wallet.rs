//! Promises of a wallet's client.

use std::sync::Arc;

use async_trait::async_trait;
use platform::parties::answer::Answer;
use platform::parties::wallet::{Notice, PrepayRequest, RefundRequest, RefundState, Taken, TradeState, Wallet};
use schema::money::Fen;
use schema::personal::{Openid, Personal as _};

use super::{Posted, TROUBLES, Trouble, done, outcome, spoilt};

/// Whoever pays.
pub(crate) const PAYER: &str = "o-payer-1";
/// What every order asks for.
const AMOUNT: Fen = Fen::new(10_500);

/// The kinds of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Opening an order.
    Prepay,
    /// Asking for it.
    Query,
    /// Closing it.
    Close,
    /// Giving cash back.
    Refund,
    /// Asking for that.
    QueryRefund,
}

/// A wallet and its client.
#[async_trait]
pub(crate) trait World: Send {
    /// The client under test.
    fn client(&self) -> Arc<dyn Wallet>;
    /// Two institutions' own merchant numbers.
    fn merchants(&self) -> [String; 2];
    /// The next call of this kind meets this.
    fn trouble(&self, call: Call, trouble: Trouble);
    /// [`PAYER`] pays; whether the wallet let them.
    async fn pay(&self, prepay_id: &str) -> bool;
    /// What the wallet posts to us next.
    async fn posted(&mut self) -> Posted;
    /// Takes so much of the merchant's balance to the bank.
    async fn withdraw(&self, merchant: &str, fen: i64);
    /// Brings so much of it back.
    async fn deposit(&self, merchant: &str, fen: i64);
    /// The same client where nobody listens.
    fn deserted(&self) -> Arc<dyn Wallet>;
}

fn prepay(merchant: &str, out_trade_no: &str) -> PrepayRequest {
    PrepayRequest {
        merchant: merchant.to_owned(),
        out_trade_no: out_trade_no.to_owned(),
        description: "第一人民医院 门诊缴费".to_owned(),
        amount: AMOUNT,
        expires_at_us: 4_102_444_800_000_001,
        payer: Openid::new(PAYER),
        attach: "bill-1".to_owned(),
    }
}

fn refund(merchant: &str, out_trade_no: &str, out_refund_no: &str, fen: i64) -> RefundRequest {
    RefundRequest {
        merchant: merchant.to_owned(),
        out_trade_no: out_trade_no.to_owned(),
        out_refund_no: out_refund_no.to_owned(),
        amount: Fen::new(fen),
        paid: AMOUNT,
        reason: "退费".to_owned(),
    }
}

/// Opens an order, pays it and hears of it.
async fn paid(world: &mut dyn World, merchant: &str, out_trade_no: &str) -> (Taken, Posted) {
    let client = world.client();
    let prepay_id = done(client.prepay(&prepay(merchant, out_trade_no)).await);
    assert!(world.pay(&prepay_id).await, "an open order can be paid");
    let posted = world.posted().await;
    match client.open_notice(&posted.0, &posted.1) {
        Ok(Notice::Paid { merchant: told, taken }) => {
            assert_eq!(told, merchant, "a notice names whose money it is");
            (taken, posted)
        }
        other => panic!("{other:?}"),
    }
}

/// Waits until the payer has a refund, and hears of it.
async fn returned(world: &mut dyn World, out_refund_no: &str) {
    let posted = world.posted().await;
    match world.client().open_notice(&posted.0, &posted.1) {
        Ok(Notice::Refund { out_refund_no: told, state: RefundState::Returned { .. }, .. }) => {
            assert_eq!(told, out_refund_no)
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_repeated_prepay_has_the_same_handle(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    let first = done(client.prepay(&prepay(&merchant, "TRADE-01")).await);
    assert_eq!(done(client.prepay(&prepay(&merchant, "TRADE-01")).await), first);
    assert_eq!(done(client.query(&merchant, "TRADE-01").await), TradeState::NotPaid);
    let other = done(client.prepay(&prepay(&merchant, "TRADE-02")).await);
    assert_ne!(other, first, "another number is another order");
    let view = client.client_sign(&first, AMOUNT);
    assert!(view.package.contains(&first) && view.amount_fen == AMOUNT, "{view:?}");
}

pub(crate) async fn cash_is_taken_once_and_the_question_says_what_the_notice_said(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    let (taken, _) = paid(world, &merchant, "TRADE-01").await;
    assert_eq!((taken.out_trade_no.as_str(), taken.amount), ("TRADE-01", AMOUNT));
    assert!(!taken.transaction_id.is_empty() && taken.success_time_us > 0);
    assert_eq!(done(client.query(&merchant, "TRADE-01").await), TradeState::Paid(taken.clone()));
    if let Answer::Done(prepay_id) = client.prepay(&prepay(&merchant, "TRADE-01")).await {
        assert!(!world.pay(&prepay_id).await, "it is paid already");
    }
    assert_eq!(done(client.query(&merchant, "TRADE-01").await), TradeState::Paid(taken));
}

pub(crate) async fn a_closed_order_can_never_be_paid(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    let prepay_id = done(client.prepay(&prepay(&merchant, "TRADE-01")).await);
    for _ in 0..2 {
        done(client.close(&merchant, "TRADE-01").await);
    }
    assert!(!world.pay(&prepay_id).await, "the handle is worth nothing any more");
    assert_eq!(done(client.query(&merchant, "TRADE-01").await), TradeState::Closed);
    assert_eq!(outcome(&client.prepay(&prepay(&merchant, "TRADE-01")).await), "refused", "nor is it opened again");
}

pub(crate) async fn a_paid_order_is_not_closed(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    let (taken, _) = paid(world, &merchant, "TRADE-01").await;
    match client.close(&merchant, "TRADE-01").await {
        Answer::Refused(refused) => assert_eq!((refused.code.as_str(), refused.busy), ("ORDERPAID", false)),
        other => panic!("{other:?}"),
    }
    assert_eq!(done(client.query(&merchant, "TRADE-01").await), TradeState::Paid(taken));
}

pub(crate) async fn what_is_not_known_is_nothing_and_may_be_closed(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    assert_eq!(done(client.query(&merchant, "NO-SUCH-1").await), TradeState::Nothing);
    assert_eq!(done(client.query_refund(&merchant, "NO-SUCH-1").await), RefundState::Nothing);
    done(client.close(&merchant, "NO-SUCH-1").await);
}

pub(crate) async fn one_institution_knows_nothing_of_anothers_orders(world: &mut dyn World) {
    let (client, [merchant, other]) = (world.client(), world.merchants());
    done(client.prepay(&prepay(&merchant, "TRADE-01")).await);
    assert_eq!(done(client.query(&other, "TRADE-01").await), TradeState::Nothing);
}

pub(crate) async fn a_refund_number_gives_back_once(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    let (taken, _) = paid(world, &merchant, "TRADE-01").await;
    done(client.refund(&refund(&merchant, "TRADE-01", "R-1", 500)).await);
    returned(world, "R-1").await;
    let state = done(client.query_refund(&merchant, "R-1").await);
    assert!(matches!(state, RefundState::Returned { .. }), "{state:?}");
    assert_eq!(done(client.refund(&refund(&merchant, "TRADE-01", "R-1", 500)).await), state);
    // All but the 500 is still there to be given back: the repeat took nothing.
    done(client.refund(&refund(&merchant, "TRADE-01", "R-2", 10_000)).await);
    returned(world, "R-2").await;
    assert_eq!(done(client.query(&merchant, "TRADE-01").await), TradeState::Paid(taken), "it was paid all the same");
}

pub(crate) async fn no_more_goes_back_than_was_paid(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    paid(world, &merchant, "TRADE-01").await;
    done(client.refund(&refund(&merchant, "TRADE-01", "R-1", 10_000)).await);
    assert_eq!(outcome(&client.refund(&refund(&merchant, "TRADE-01", "R-2", 501)).await), "refused");
    assert_eq!(done(client.query_refund(&merchant, "R-2").await), RefundState::Nothing);
}

pub(crate) async fn a_refund_without_balance_is_refused_and_the_same_number_works_later(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    paid(world, &merchant, "TRADE-01").await;
    world.withdraw(&merchant, AMOUNT.get()).await;
    assert_eq!(outcome(&client.refund(&refund(&merchant, "TRADE-01", "R-1", 500)).await), "refused");
    assert_eq!(done(client.query_refund(&merchant, "R-1").await), RefundState::Nothing);
    world.deposit(&merchant, 500).await;
    done(client.refund(&refund(&merchant, "TRADE-01", "R-1", 500)).await);
    returned(world, "R-1").await;
}

pub(crate) async fn every_call_in_trouble_says_what_it_knows(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    paid(world, &merchant, "TRADE-01").await;
    done(client.prepay(&prepay(&merchant, "TRADE-02")).await);
    for (trouble, expected) in TROUBLES {
        for call in [Call::Prepay, Call::Query, Call::Close, Call::Refund, Call::QueryRefund] {
            world.trouble(call, trouble);
            let told = match call {
                Call::Prepay => outcome(&client.prepay(&prepay(&merchant, &format!("TRADE-{trouble:?}"))).await),
                Call::Query => outcome(&client.query(&merchant, "TRADE-01").await),
                Call::Close => outcome(&client.close(&merchant, "TRADE-02").await),
                Call::Refund => {
                    outcome(&client.refund(&refund(&merchant, "TRADE-01", &format!("R-{trouble:?}"), 1)).await)
                }
                Call::QueryRefund => outcome(&client.query_refund(&merchant, "R-1").await),
            };
            assert_eq!(told, expected, "{call:?} {trouble:?}");
        }
    }
}

pub(crate) async fn after_an_unknown_the_question_tells_and_a_repeat_is_harmless(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    paid(world, &merchant, "TRADE-01").await;
    for (trouble, was_done) in [(Trouble::AnswerLost, true), (Trouble::QuestionLost, false)] {
        let number = format!("TRADE-{trouble:?}");
        world.trouble(Call::Prepay, trouble);
        assert_eq!(outcome(&client.prepay(&prepay(&merchant, &number)).await), "unknown");
        let expected = if was_done { TradeState::NotPaid } else { TradeState::Nothing };
        assert_eq!(done(client.query(&merchant, &number).await), expected, "{trouble:?}");
        done(client.prepay(&prepay(&merchant, &number)).await);

        world.trouble(Call::Close, trouble);
        assert_eq!(outcome(&client.close(&merchant, &number).await), "unknown");
        let expected = if was_done { TradeState::Closed } else { TradeState::NotPaid };
        assert_eq!(done(client.query(&merchant, &number).await), expected, "{trouble:?}");
        done(client.close(&merchant, &number).await);

        let back = refund(&merchant, "TRADE-01", &format!("R-{trouble:?}"), 5_000);
        world.trouble(Call::Refund, trouble);
        assert_eq!(outcome(&client.refund(&back).await), "unknown");
        let state = done(client.query_refund(&merchant, &back.out_refund_no).await);
        assert_eq!(state != RefundState::Nothing, was_done, "{trouble:?}: {state:?}");
        done(client.refund(&back).await);
        returned(world, &back.out_refund_no).await;
    }
    // Twice 5 000 of 10 500 went back, however often each was asked for.
    assert_eq!(outcome(&client.refund(&refund(&merchant, "TRADE-01", "R-9", 501)).await), "refused");
    done(client.refund(&refund(&merchant, "TRADE-01", "R-8", 500)).await);
}

pub(crate) async fn a_spoilt_notice_is_not_believed_and_a_repeated_one_is_the_same(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.client(), world.merchants());
    let (taken, posted) = paid(world, &merchant, "TRADE-01").await;
    for _ in 0..2 {
        assert_eq!(
            client.open_notice(&posted.0, &posted.1),
            Ok(Notice::Paid { merchant: merchant.clone(), taken: taken.clone() })
        );
    }
    for (how, (headers, body)) in spoilt(&posted) {
        assert!(client.open_notice(&headers, &body).is_err(), "{how}");
    }
}

pub(crate) async fn what_never_left_is_a_refusal_that_may_be_repeated(world: &mut dyn World) {
    let (client, [merchant, _]) = (world.deserted(), world.merchants());
    assert_eq!(outcome(&client.prepay(&prepay(&merchant, "TRADE-01")).await), "busy");
    assert_eq!(outcome(&client.query(&merchant, "TRADE-01").await), "busy");
    assert_eq!(outcome(&client.close(&merchant, "TRADE-01").await), "busy");
    assert_eq!(outcome(&client.refund(&refund(&merchant, "TRADE-01", "R-1", 1)).await), "busy");
    assert_eq!(outcome(&client.query_refund(&merchant, "R-1").await), "busy");
}
