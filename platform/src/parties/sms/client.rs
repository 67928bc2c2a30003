//! Hands messages to the gateway over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schema::personal::Personal as _;
use tokio::time::Instant;

use super::config::SmsConfig;
use super::mapping::{MessageBody, Problem};
use super::status::{Heard, heard};
use super::{Sms, SmsGateway};
use crate::parties::answer::{Answer, No, Refused};
use crate::parties::outbound::{Outbound, Request};
use crate::parties::words;

/// How long an answer is waited for unless told otherwise. A code that comes later is of little use.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The city's gateway.
pub struct SmsHttp {
    config: SmsConfig,
    outbound: Arc<dyn Outbound>,
    timeout: Duration,
}

impl SmsHttp {
    /// A client of one gateway account.
    pub fn new(config: SmsConfig, outbound: Arc<dyn Outbound>) -> SmsHttp {
        SmsHttp { config, outbound, timeout: DEFAULT_TIMEOUT }
    }

    /// Waits this long for every answer instead of five seconds.
    pub fn with_timeout(mut self, timeout: Duration) -> SmsHttp {
        self.timeout = timeout;
        self
    }

    async fn try_send(&self, sms: &Sms) -> Result<(), No> {
        let body = serde_json::to_vec(&MessageBody::of(sms)).expect("texts are always JSON");
        let headers = vec![
            ("content-type".to_owned(), "application/json; charset=utf-8".to_owned()),
            ("x-sms-key".to_owned(), self.config.key.expose().to_owned()),
        ];
        let url = format!("{}/sms/v1/messages", self.config.base_url);
        let request = Request { method: "POST", url, headers, body, timeout: self.timeout };
        let response = self.outbound.send(request).await.map_err(|failure| failure.into_no())?;
        let refused = |busy| {
            let problem = serde_json::from_slice::<Problem>(&response.body);
            let (code, message) = match problem {
                Ok(problem) => (problem.code, problem.message),
                Err(_) => (format!("HTTP {}", response.status), String::new()),
            };
            let words = words::for_people(&message, &[sms.phone.expose(), &sms.text.0]);
            Err(No::Refused(Refused { code, words, busy }))
        };
        match heard(response.status) {
            Heard::Accepted => Ok(()),
            Heard::Refused => refused(false),
            Heard::Busy => refused(true),
            Heard::Unclear => Err(No::Unknown(format!("sms: HTTP {}", response.status))),
        }
    }
}

#[async_trait]
impl SmsGateway for SmsHttp {
    /// The gateway sends one id once, so a request that was lost on its way (a connection that had just been closed) is
    /// made once more: a person waits for it. Not if that took long, because then another would take as long.
    async fn send(&self, sms: &Sms) -> Answer<()> {
        let began = Instant::now();
        match self.try_send(sms).await {
            Err(No::Unknown(_)) if began.elapsed() < self.timeout / 2 => self.try_send(sms).await,
            first => first,
        }
        .into()
    }
}
