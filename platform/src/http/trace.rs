//! Around every request: a trace id, a span, one line in the log, one observation, and every refusal as problem
//! details. Bodies and ids of people are never logged; the route is logged as its template.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest};
use schema::refusal::{Again, Refusal};
use tracing::Instrument as _;

use super::Shared;
use super::answer::{Refused, of_status, problem};
use crate::clock::Clock;

const X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// The request's trace id: 32 hex digits.
#[derive(Debug, Clone)]
pub(super) struct Trace(String);

impl Trace {
    /// As journeys take it.
    pub(super) fn id(self) -> Option<String> {
        Some(self.0)
    }
}

impl FromRequest for Trace {
    type Error = Refused;
    type Future = std::future::Ready<Result<Trace, Refused>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let trace = request.extensions().get::<Trace>().cloned();
        std::future::ready(Ok(trace.unwrap_or_else(|| Trace(String::new()))))
    }
}

/// A trace id as others may give it: 32 hex digits, not all zero.
pub(super) fn valid(id: &str) -> Option<String> {
    let sound = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    sound.then(|| id.to_ascii_lowercase())
}

/// A fresh one.
pub(super) fn fresh(clock: &dyn Clock) -> String {
    let mut bytes = [0_u8; 16];
    clock.fill(&mut bytes);
    hex::encode(bytes)
}

fn offered(headers: &HeaderMap) -> Option<String> {
    let own = headers.get(X_TRACE_ID).and_then(|value| value.to_str().ok()).and_then(valid);
    own.or_else(|| {
        let parent = headers.get("traceparent")?.to_str().ok()?;
        let mut parts = parent.split('-');
        parts.next().filter(|version| *version == "00")?;
        parts.next().and_then(valid)
    })
}

/// The layer.
pub(super) async fn traced(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let shared = Shared::of(request.request());
    let started = shared.ground.clock.steady();
    let trace_id = offered(request.headers()).unwrap_or_else(|| fresh(shared.ground.clock.as_ref()));
    let method = request.method().clone();
    let route = request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    request.extensions_mut().insert(Trace(trace_id.clone()));
    let span = tracing::info_span!("request", trace_id, %method, route);
    let response = next.call(request).instrument(span.clone()).await?;
    let (response, refusal) = in_our_words(response, &trace_id);
    let mut response = response;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&trace_id) {
        headers.insert(X_TRACE_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let (status, took) = (response.status().as_u16(), shared.ground.clock.steady().saturating_sub(started));
    shared.metrics.answered(&route, method.as_str(), status, took);
    span.in_scope(|| log(status, u64::try_from(took.as_millis()).unwrap_or(u64::MAX), refusal.as_ref()));
    Ok(response)
}

/// One line per request. A refusal that asks for us is a warning; the rest is ordinary life.
fn log(status: u16, duration_ms: u64, refusal: Option<&Refusal>) {
    match refusal {
        None => tracing::info!(status, duration_ms, "answered"),
        Some(refusal) => {
            let (code, detail) = (refusal.code.as_str(), refusal.detail.as_str());
            if status >= 500 && refusal.code.again() != Again::Later {
                tracing::error!(status, duration_ms, code, detail, "refused");
            } else {
                tracing::info!(status, duration_ms, code, detail, "refused");
            }
        }
    }
}

fn in_our_words(
    response: ServiceResponse<impl MessageBody + 'static>,
    trace_id: &str,
) -> (ServiceResponse<BoxBody>, Option<Refusal>) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return (response.map_into_boxed_body(), None);
    }
    let refusal = match response.response().error() {
        Some(error) => match error.as_error::<Refused>() {
            Some(refused) => refused.0.clone(),
            None => of_status(status, error.to_string()),
        },
        None => of_status(status, "refused by the router".to_owned()),
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut answer = problem(&refusal, Some(trace_id));
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    (response.into_response(answer), Some(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_id_is_taken_over() {
        let good = "0123456789abcdef0123456789ABCDEF";
        assert_eq!(valid(good), Some(good.to_ascii_lowercase()));
        for bad in ["", "0", &"0".repeat(32), &"g".repeat(32), &"1".repeat(33)] {
            assert_eq!(valid(bad), None, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_static("traceparent"),
            HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        );
        assert_eq!(offered(&headers).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        headers.insert(X_TRACE_ID, HeaderValue::from_static("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(offered(&headers).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
    }
}
