//! The city's SMS gateway.

pub mod client;
pub mod config;
mod mapping;
mod status;

use async_trait::async_trait;
use schema::personal::Phone;

use crate::parties::answer::Answer;

pub use config::SmsConfig;

/// One message.
#[derive(Debug, Clone)]
pub struct Sms {
    /// Idempotency key at the gateway.
    pub message_id: String,
    /// To whom.
    pub phone: Phone,
    /// The approved template's name.
    pub template: &'static str,
    /// The text as people read it. May hold a one-time code: never formatted.
    pub text: SmsText,
}

/// A message's text.
#[derive(Clone)]
pub struct SmsText(pub String);

impl std::fmt::Debug for SmsText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SmsText(…)")
    }
}

/// Sends.
#[async_trait]
pub trait SmsGateway: Send + Sync {
    /// Hands one message over; a repeat with the same id is not sent twice.
    async fn send(&self, sms: &Sms) -> Answer<()>;
}
