//! The seam under every HTTP party: one request out, one response back, or a failure that says whether the other side
//! can have seen the request. Real life is [`Http`]; the simulation hands in counterparties that live in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::answer::{No, Refused};

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

impl Failure {
    /// What a failure means for an answer: a request that never left did nothing and can be sent again; of one that was
    /// lost nothing is known.
    pub fn into_no(self) -> No {
        match self {
            Failure::NeverSent(why) => {
                No::Refused(Refused { code: NEVER_SENT.to_owned(), words: format!("无法连接 {why}"), busy: true })
            }
            Failure::Lost(why) => No::Unknown(why),
        }
    }
}

/// The code of a refusal that no outsider gave: the request never left, so nothing was done.
pub const NEVER_SENT: &str = "NEVER_SENT";

/// The largest answer that is read, in bytes. A longer one is [`Failure::Lost`]: it was made, but not understood.
pub const MOST_RESPONSE_BYTES: usize = 4 << 20;

/// Connections not made after this long are given up, so that a dead address is told from a lost request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Idle connections are kept this long. Shorter than the minute after which most gateways hang up on their side: a
/// connection that dies while a request is on its way costs a question.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The real outside, over HTTP/1.1, with TLS by rustls on `ring` and the machine's own certificate store. No retries,
/// no redirects, no proxies from the environment. Cheap to clone the `Arc` of; one pool serves all parties.
pub struct Http {
    client: reqwest::Client,
}

/// The HTTP client could not be built: TLS or the certificate store is unusable.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be built: {0}")]
pub struct NoClient(String);

impl Http {
    /// Reads the machine's certificate store. An empty store is no error: plain `http` works, `https` will not.
    pub fn new() -> Result<Http, NoClient> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|fault| NoClient(fault.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(KEEP_ALIVE)
            .user_agent(concat!("tongfu/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|fault| NoClient(without_url(fault)))?;
        Ok(Http { client })
    }
}

#[async_trait]
impl Outbound for Http {
    async fn send(&self, request: Request) -> Result<Response, Failure> {
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|fault| Failure::NeverSent(fault.to_string()))?;
        let mut builder = self.client.request(method, &request.url).timeout(request.timeout);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body);
        }
        let mut incoming = builder.send().await.map_err(failure)?;
        let status = incoming.status().as_u16();
        let headers = incoming
            .headers()
            .iter()
            // A header that is no text cannot be one that anybody here asks for.
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = incoming.chunk().await.map_err(failure)? {
            if body.len() + chunk.len() > MOST_RESPONSE_BYTES {
                return Err(Failure::Lost(format!("the answer is longer than {MOST_RESPONSE_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body })
    }
}

/// Only a request that was never written counts as never sent: it could not be built, or no connection (address,
/// TCP, TLS) was made. Everything later, timeouts included, is lost.
fn failure(fault: reqwest::Error) -> Failure {
    let never = fault.is_builder() || fault.is_connect();
    let why = without_url(fault);
    if never { Failure::NeverSent(why) } else { Failure::Lost(why) }
}

/// The reason with its causes. Without the address: it carries order numbers.
fn without_url(fault: reqwest::Error) -> String {
    let fault = fault.without_url();
    let mut why = fault.to_string();
    let mut cause = std::error::Error::source(&fault);
    while let Some(next) = cause {
        why.push_str(": ");
        why.push_str(&next.to_string());
        cause = next.source();
    }
    why
}
