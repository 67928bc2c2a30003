//! The one-time code, and everything else that authorises an insured payment. Whatever is wrong is told in words of its
//! own, and nothing moves.

use std::sync::atomic::Ordering;

use schema::ids::OrderId;
use schema::refusal::Code;
use serde_json::json;

use crate::adapter::Adapter;
use crate::insured::{card, priced, proved};
use crate::world::{Person, Said, World};

pub const PHONE: &str = "13800000001";

/// An order in Priced, its payer and what is done to it.
pub struct Payment<'w> {
    pub world: &'w World,
    pub person: &'w Person<'w>,
    pub order: String,
}

impl Payment<'_> {
    pub fn path(&self, action: &str) -> String {
        format!("/mobile/v1/orders/{}/{action}", self.order)
    }

    /// Asks for a code: the digits that came.
    pub async fn code(&self) -> String {
        self.person.change("POST", &self.path("code"), json!({})).await.done(202);
        self.world.cities[0].inbox.code(PHONE)
    }

    pub async fn pay(&self, phone: &str, code: &str, card_no: &str) -> Said {
        let ask = json!({ "phone": phone, "code": code, "card_no": card_no });
        self.person.change("POST", &self.path("pay"), ask).await
    }

    /// What any move would change: the order's version and its actions.
    pub fn stands(&self) -> (i64, usize) {
        let id: OrderId = self.order.parse().expect("an id");
        let story = self.world.ground.store.story(id).expect("readable").expect("a story");
        (story.order.version, story.actions.len())
    }

    pub async fn refused(&self, phone: &str, code: &str, card_no: &str, as_code: Code) {
        let before = self.stands();
        self.pay(phone, code, card_no).await.refused_as(as_code);
        assert_eq!(self.stands(), before, "{as_code} moved something");
    }
}

fn other(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().expect("digits") + 1) % 1_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_phone_card_or_code_is_named_and_the_right_ones_pay_once() {
    let world = World::start().await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let payment = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    payment.refused(PHONE, "000000", &card(), Code::CodeNotSent).await;
    let code = payment.code().await;
    let before = payment.stands();
    person.change("POST", &payment.path("pay"), json!({})).await.refused_as(Code::Invalid);
    assert_eq!(payment.stands(), before);
    payment.refused("13900000009", &code, &card(), Code::PhoneWrong).await;
    payment.refused(PHONE, &code, "C9", Code::CardWrong).await;
    payment.refused(PHONE, &other(&code), &card(), Code::CodeWrong).await;
    payment.pay(PHONE, &code, &card()).await.done(202);
    // The bureau of these tests settles nothing: the order ends, and its code is no use any more.
    person.until(&payment.order, "closed").await;
    payment.refused(PHONE, &code, &card(), Code::NotNow).await;
    // The hospital gives up what the closed order left at the bureau.
    adapter.work().await;
    let next = Payment { order: priced(&mut adapter, &person, "B2").await, ..payment };
    if next.code().await != code {
        next.refused(PHONE, &code, &card(), Code::CodeWrong).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_dead_after_five_wrong_tries_and_a_new_one_lives() {
    let world = World::start().await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let payment = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    let code = payment.code().await;
    for _ in 0..5 {
        payment.refused(PHONE, &other(&code), &card(), Code::CodeWrong).await;
    }
    payment.refused(PHONE, &code, &card(), Code::CodeTriedOut).await;
    payment.refused(PHONE, &code, &card(), Code::CodeTriedOut).await;
    let next = payment.code().await;
    payment.pay(PHONE, &next, &card()).await.done(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_pays_its_own_order_at_its_own_sending_only() {
    let world = World::start().await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let one = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    let two = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B2").await };
    let (of_one, first) = (one.code().await, two.code().await);
    two.refused(PHONE, &of_one, &card(), Code::CodeForeign).await;
    let second = two.code().await;
    if first != second {
        two.refused(PHONE, &first, &card(), Code::CodeWrong).await;
    }
    two.pay(PHONE, &second, &card()).await.done(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_dies_with_its_time() {
    let world = World::with(|settings| settings.deadlines.code_ms = 1, 10).await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let payment = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    let code = payment.code().await;
    let view = person.get(&format!("/mobile/v1/orders/{}", payment.order)).await.done(200);
    let expires_at_us = view["code_expires_at_us"].as_i64().expect("an end");
    while world.ground.clock.now_us() <= expires_at_us {
        tokio::task::yield_now().await;
    }
    payment.refused(PHONE, &code, &card(), Code::CodeExpired).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_has_three_codes_and_a_phone_so_many_a_day() {
    let world = World::with(|settings| settings.limits.codes_per_day = 5, 10).await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let one = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    let two = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B2").await };
    for _ in 0..3 {
        one.code().await;
    }
    for (payment, as_code) in [(&one, Code::CodeSendsUsed), (&two, Code::RateLimited)] {
        if as_code == Code::RateLimited {
            payment.code().await;
        }
        let (before, sent) = (payment.stands(), world.cities[0].inbox.codes(PHONE));
        person.change("POST", &payment.path("code"), json!({})).await.refused_as(as_code);
        assert_eq!((payment.stands(), world.cities[0].inbox.codes(PHONE)), (before, sent), "{as_code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_keeps_a_payers_codes_away_by_asking_for_login_codes() {
    let world = World::with(|settings| settings.limits.codes_per_day = 2, 10).await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let payment = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    let ask = || {
        let (channel, body) = (&world.cities[0].channel_key, json!({ "phone": PHONE }));
        crate::world::hear(world.at_channel("/mobile/v1/login/code", channel, &world.key(), body))
    };
    ask().await.done(202);
    ask().await.refused_as(Code::RateLimited);
    let code = payment.code().await;
    payment.pay(PHONE, &code, &card()).await.done(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_could_not_be_sent_is_sent_by_repeating_the_key() {
    let world = World::start().await;
    let (person, _) = proved(&world, PHONE).await;
    let mut adapter = Adapter::connect(&world, &world.cities[0]).await;
    let payment = Payment { world: &world, person: &person, order: priced(&mut adapter, &person, "B1").await };
    let inbox = &world.cities[0].inbox;
    let sent = inbox.codes(PHONE);
    let path = payment.path("code");
    let ask = || person.keyed("POST", &path, "k1", json!({}));
    inbox.refuses.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        ask().await.refused_as(Code::SmsUnreachable);
    }
    assert_eq!(inbox.codes(PHONE), sent);
    inbox.refuses.store(false, Ordering::Relaxed);
    let first = ask().await;
    first.done(202);
    assert_eq!(inbox.codes(PHONE), sent + 1, "the repeat really sends");
    let again = ask().await;
    assert_eq!((again.status, &again.bytes, inbox.codes(PHONE)), (202, &first.bytes, sent + 1), "once");
    payment.pay(PHONE, &inbox.code(PHONE), &card()).await.done(202);
}
