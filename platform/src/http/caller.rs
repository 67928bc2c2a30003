//! Who calls, and what they send. Every extractor authenticates before it reads a byte of the body, and takes the
//! tenant from the credential.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::BytesMut;
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use schema::ids::{ChannelId, ChannelUserId};
use schema::refusal::{Code, Refusal};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Refused;
use super::session::channel_key_hash;
use super::{Shared, faults};
use crate::journey::Tenant;
use crate::store::CallerKey;

/// The largest body a phone, a wallet or a bureau may send.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// A body that takes longer than this is given up.
const BODY_TIME: Duration = Duration::from_secs(15);

/// A person signed in through a channel.
pub(super) struct Caller {
    /// Whose.
    pub(super) tenant: Arc<Tenant>,
    /// Who.
    pub(super) user: ChannelUserId,
    /// When the session ends: microseconds UTC.
    pub(super) expires_at_us: i64,
}

impl Caller {
    fn of(request: &HttpRequest) -> Result<Caller, Refusal> {
        let shared = Shared::of(request);
        let unauthenticated = |why: &str| Refusal::new(Code::Unauthenticated, why);
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| unauthenticated("no bearer token"))?;
        let now_us = shared.ground.clock.now_us();
        let session = shared.sessions.read(token, now_us);
        let session = session.ok_or_else(|| unauthenticated("the token is not ours, or is over"))?;
        let tenant = shared.ground.tenants.get(session.tenant);
        let tenant = tenant.map_err(|_| unauthenticated("the token's tenant is not served"))?;
        Ok(Caller { tenant, user: session.user, expires_at_us: session.expires_at_us })
    }
}

impl FromRequest for Caller {
    type Error = Refused;
    type Future = std::future::Ready<Result<Caller, Refused>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Caller::of(request).map_err(Refused))
    }
}

/// A change that a signed-in person asks for: authenticated, with its idempotency key, its body read strictly.
pub(super) struct Change<T> {
    /// Who asks.
    pub(super) caller: Caller,
    /// For what.
    pub(super) ask: T,
    /// Under which key.
    pub(super) key: CallerKey,
}

/// A change without a body (or with `{}`).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl<T: DeserializeOwned + 'static> FromRequest for Change<T> {
    type Error = Refused;
    type Future = LocalBoxFuture<'static, Result<Change<T>, Refused>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let caller = Caller::of(&request)?;
            let key = idempotency_key(&request)?;
            let body = body(&request, payload).await?;
            let ask = faults::read(&body)?;
            let request = fingerprint(&caller.tenant, &request, &body);
            let key = CallerKey { caller: format!("user:{}", caller.user), key, request };
            Ok(Change { caller, ask, key })
        })
    }
}

/// A change that a channel asks for before anybody is signed in.
pub(super) struct FromChannel<T> {
    /// The channel's tenant.
    pub(super) tenant: Arc<Tenant>,
    /// The channel.
    pub(super) channel: ChannelId,
    /// For what.
    pub(super) ask: T,
    /// Under which key.
    pub(super) key: CallerKey,
}

impl<T: DeserializeOwned + 'static> FromRequest for FromChannel<T> {
    type Error = Refused;
    type Future = LocalBoxFuture<'static, Result<FromChannel<T>, Refused>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let shared = Shared::of(&request);
            let unauthenticated = |why: &str| Refusal::new(Code::Unauthenticated, why);
            let header = request.headers().get("x-tongfu-channel").and_then(|value| value.to_str().ok());
            let hash = channel_key_hash(header.ok_or_else(|| unauthenticated("no channel key"))?);
            let found = shared.ground.read(move |store| store.channel(&hash)).await?;
            let row = found.ok_or_else(|| unauthenticated("no channel has this key"))?;
            let tenant = shared.ground.tenants.get(row.tenant);
            let tenant = tenant.map_err(|_| unauthenticated("the channel's tenant is not served"))?;
            let key = idempotency_key(&request)?;
            let body = body(&request, payload).await?;
            let ask = faults::read(&body)?;
            let request = fingerprint(&tenant, &request, &body);
            let key = CallerKey { caller: format!("channel:{}", row.id), key, request };
            Ok(FromChannel { tenant, channel: row.id, ask, key })
        })
    }
}

fn idempotency_key(request: &HttpRequest) -> Result<String, Refusal> {
    let refused = |why: &str| Refusal::new(Code::KeyMissing, why);
    let header = request.headers().get("idempotency-key").ok_or_else(|| refused("no Idempotency-Key"))?;
    let key = header.to_str().map_err(|_| refused("the key is no ASCII"))?;
    let sound = (1..=64).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if sound { Ok(key.to_owned()) } else { Err(refused("the key is not 1 to 64 visible characters")) }
}

/// Keyed: what a body says of people could be guessed from a plain hash.
fn fingerprint(tenant: &Tenant, request: &HttpRequest, body: &[u8]) -> [u8; 32] {
    let mut text = format!("{}\n{}\n", request.method(), request.path()).into_bytes();
    text.extend_from_slice(body);
    tenant.vault.lookup("request", &text).to_bytes()
}

/// Reads a body of at most [`BODY_BYTES_MAX`] bytes.
pub(super) async fn body(request: &HttpRequest, mut payload: Payload) -> Result<BytesMut, Refusal> {
    let too_large = || Refusal::new(Code::TooLarge, format!("more than {BODY_BYTES_MAX} bytes"));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let reading = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Refusal::new(Code::Malformed, error.to_string()))?;
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    match tokio::time::timeout(BODY_TIME, reading).await {
        Ok(body) => body,
        Err(_) => Err(Refusal::new(Code::Malformed, "the body did not come in time")),
    }
}

/// Headers with lower-case names, as signatures want them; those that are no text are left out.
pub(super) fn headers(request: &HttpRequest) -> Vec<(String, String)> {
    let text = |value: &actix_web::http::header::HeaderValue| value.to_str().ok().map(str::to_owned);
    request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_ascii_lowercase(), text(value)?)))
        .collect()
}

/// An id in the path. What is no id names nothing.
pub(super) fn id<T: std::str::FromStr>(text: &str, code: Code) -> Result<T, Refusal> {
    text.parse().map_err(|_| Refusal::new(code, "the path holds no id"))
}
