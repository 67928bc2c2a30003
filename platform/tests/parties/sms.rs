//! The SMS client against the sandbox's gateway.

use std::sync::Arc;

use async_trait::async_trait;
use platform::parties::answer::{Answer, Refused};
use platform::parties::outbound::{Http, NEVER_SENT, Outbound as _, Request};
use platform::parties::secret::Secret;
use platform::parties::sms::client::SmsHttp;
use platform::parties::sms::{Sms, SmsConfig, SmsGateway, SmsText};
use sandbox::fault::{Fault, Rule};
use sandbox::sms::run::{Options, Running, start};
use schema::personal::{Personal as _, Phone};

use crate::nowhere;
use crate::party_contract::sms::{PHONE, World as Contract};
use crate::party_contract::{Trouble, every_promise};

struct World {
    gateway: Running,
    http: Arc<Http>,
}

impl World {
    async fn new() -> World {
        let options = Options {
            listen: "127.0.0.1:0".to_owned(),
            key: "k".to_owned(),
            keep: 50,
            state: None,
            seed: 0,
            faults: None,
        };
        World { gateway: start(options).await.expect("a gateway"), http: Arc::new(Http::new().expect("a client")) }
    }

    fn client(&self, key: &str) -> SmsHttp {
        self.client_at(&self.gateway.listening.url, key)
    }

    fn client_at(&self, url: &str, key: &str) -> SmsHttp {
        let config = SmsConfig { base_url: url.to_owned(), key: Secret::new(key) };
        SmsHttp::new(config, self.http.clone())
    }

    fn fault(&self, fault: Fault, times: u32) {
        let rule = Rule { operation: "send".to_owned(), subject: None, share_ppm: None, times: Some(times), fault };
        self.gateway.faults.add(rule);
    }

    async fn inbox(&self) -> Vec<String> {
        let url = format!("{}/sandbox/inbox/{PHONE}", self.gateway.listening.url);
        let timeout = std::time::Duration::from_secs(20);
        let request = Request { method: "GET", url, headers: Vec::new(), body: Vec::new(), timeout };
        let response = self.http.send(request).await.expect("an inbox");
        let inbox: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        let messages = inbox["messages"].as_array().expect("messages");
        messages.iter().map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
    }
}

#[async_trait]
impl Contract for World {
    fn client(&self) -> Arc<dyn SmsGateway> {
        Arc::new(World::client(self, "k"))
    }

    fn trouble(&self, trouble: Trouble) {
        // One that was lost is sent once more, and is lost again.
        let (fault, times) = match trouble {
            Trouble::AnswerLost => (Fault::DoButDoNotAnswer, 2),
            Trouble::QuestionLost => (Fault::NeitherDoNorAnswer, 2),
            Trouble::Refused => {
                let message = format!("号码{PHONE}退订：验证码 123456");
                (Fault::Refuse { code: "BLACKLISTED".to_owned(), message }, 1)
            }
            Trouble::Busy => (Fault::Busy, 1),
        };
        self.fault(fault, times);
    }

    async fn inbox(&self) -> Vec<String> {
        World::inbox(self).await
    }

    fn deserted(&self) -> Arc<dyn SmsGateway> {
        Arc::new(self.client_at(&nowhere(), "k"))
    }
}

mod promises {
    super::every_promise!(sms in super::World::new);
}

fn sms(message_id: &str, text: &str) -> Sms {
    Sms {
        message_id: message_id.to_owned(),
        phone: Phone::new(PHONE),
        template: "code",
        text: SmsText(text.to_owned()),
    }
}

fn code_of(answer: Answer<()>) -> (String, bool) {
    match answer {
        Answer::Refused(Refused { code, busy, .. }) => (code, busy),
        other => (other.word().to_owned(), false),
    }
}

#[tokio::test]
async fn a_message_is_taken_once_however_often_it_is_handed_over() {
    let world = World::new().await;
    let client = world.client("k");
    assert_eq!(client.send(&sms("m1", "验证码 123456")).await, Answer::Done(()));
    assert_eq!(client.send(&sms("m1", "验证码 123456")).await, Answer::Done(()));
    assert_eq!(world.inbox().await, ["验证码 123456"]);
    assert_eq!(code_of(client.send(&sms("m1", "other")).await), ("OTHER_CONTENT".to_owned(), false));
}

#[tokio::test]
async fn every_failure_of_the_gateway_has_its_answer() {
    let world = World::new().await;
    let client = world.client("k");
    let refuse = Fault::Refuse { code: "BLACKLISTED".to_owned(), message: format!("号码{PHONE}退订") };
    // What is lost on its way is sent once more, under the same id.
    for (fault, times, expected, sent) in [
        (Fault::Busy, 1, ("BUSY", true), 0),
        (refuse, 1, ("BLACKLISTED", false), 0),
        (Fault::NeitherDoNorAnswer, 1, ("done", false), 1),
        (Fault::NeitherDoNorAnswer, 2, ("unknown", false), 0),
        (Fault::DoButDoNotAnswer, 1, ("done", false), 1),
        (Fault::DoButDoNotAnswer, 2, ("unknown", false), 1),
    ] {
        let before = world.inbox().await.len();
        world.fault(fault.clone(), times);
        let answer = client.send(&sms(&format!("{fault:?} {times}"), "x")).await;
        assert!(!format!("{answer:?}").contains(PHONE), "the words name nobody: {answer:?}");
        assert_eq!(code_of(answer), (expected.0.to_owned(), expected.1), "{fault:?} {times}");
        assert_eq!(world.inbox().await.len() - before, sent, "{fault:?} {times}");
    }
    assert_eq!(code_of(world.client("wrong").send(&sms("m2", "x")).await), ("BAD_KEY".to_owned(), false));
    world.gateway.listening.stop().await.expect("it stops");
    let answer = client.send(&sms("m3", "x")).await;
    assert_eq!(code_of(answer), (NEVER_SENT.to_owned(), true));
}
