//! Promises of an SMS gateway's client.

use std::sync::Arc;

use async_trait::async_trait;
use platform::parties::sms::{Sms, SmsGateway, SmsText};
use schema::personal::{Personal as _, Phone};

use super::{TROUBLES, Trouble, done, outcome};

pub(crate) const PHONE: &str = "13800001234";

/// A gateway and its client.
#[async_trait]
pub(crate) trait World: Send {
    /// The client under test.
    fn client(&self) -> Arc<dyn SmsGateway>;
    /// The next message meets this.
    fn trouble(&self, trouble: Trouble);
    /// The texts that reached [`PHONE`], oldest first.
    async fn inbox(&self) -> Vec<String>;
    /// The same client where nobody listens.
    fn deserted(&self) -> Arc<dyn SmsGateway>;
}

fn sms(message_id: &str, text: &str) -> Sms {
    Sms {
        message_id: message_id.to_owned(),
        phone: Phone::new(PHONE),
        template: "code",
        text: SmsText(text.to_owned()),
    }
}

pub(crate) async fn a_message_is_sent_once_however_often_it_is_handed_over(world: &mut dyn World) {
    let client = world.client();
    for _ in 0..3 {
        done(client.send(&sms("m1", "验证码 123456")).await);
    }
    assert_eq!(world.inbox().await, ["验证码 123456"]);
}

pub(crate) async fn messages_of_other_ids_are_other_messages(world: &mut dyn World) {
    let client = world.client();
    for id in ["m1", "m2"] {
        done(client.send(&sms(id, "已退回")).await);
    }
    assert_eq!(world.inbox().await, ["已退回", "已退回"]);
}

pub(crate) async fn every_trouble_says_what_it_knows_and_a_repeat_is_harmless(world: &mut dyn World) {
    let client = world.client();
    for (trouble, expected) in TROUBLES {
        let (id, text) = (format!("{trouble:?}"), format!("短信 {trouble:?}"));
        let arrived = |inbox: Vec<String>| inbox.into_iter().filter(|arrived| *arrived == text).count();
        world.trouble(trouble);
        let answer = client.send(&sms(&id, &text)).await;
        assert_eq!(outcome(&answer), expected, "{trouble:?}: {answer:?}");
        assert_eq!(arrived(world.inbox().await), usize::from(trouble == Trouble::AnswerLost), "{trouble:?}");
        done(client.send(&sms(&id, &text)).await);
        assert_eq!(arrived(world.inbox().await), 1, "{trouble:?}");
    }
}

pub(crate) async fn no_refusal_names_the_phone_or_the_text(world: &mut dyn World) {
    let client = world.client();
    for trouble in [Trouble::Refused, Trouble::Busy] {
        world.trouble(trouble);
        let shown = format!("{:?}", client.send(&sms("m1", "验证码 123456")).await);
        assert!(!shown.contains(PHONE) && !shown.contains("123456"), "{shown}");
    }
}

pub(crate) async fn what_never_left_is_a_refusal_that_may_be_repeated(world: &mut dyn World) {
    let client = world.deserted();
    assert_eq!(outcome(&client.send(&sms("m1", "x")).await), "busy");
}
