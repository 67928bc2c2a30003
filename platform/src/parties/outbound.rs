//! The seam under every HTTP party: one request out, one response back, or a failure that says whether the other side
//! can have seen the request. Real life is [`Http`]; the simulation hands in counterparties that live in memory.

use std::time::Duration;

use async_trait::async_trait;

/// A request as it goes out.
#[derive(Clone)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: &'static str,
    /// Absolute address.
    pub url: String,
    /// Headers, signatures included.
    pub headers: Vec<(String, String)>,
    /// Body; empty for none.
    pub body: Vec<u8>,
    /// Give up after this long.
    pub timeout: Duration,
}

/// A response as it came.
#[derive(Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers with lower-case names.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why no response came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The request certainly never left: no connection was made.
    NeverSent(String),
    /// It may have arrived and been acted on.
    Lost(String),
}

/// Sends requests.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// One request. Never retries: that is for whoever knows what a repeat means.
    async fn send(&self, request: Request) -> Result<Response, Failure>;
}
