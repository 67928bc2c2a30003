//! The trace id that follows a payment: taken from `X-Trace-Id`, or made here, and sent back with every answer.

use std::future::{Ready, ready};

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, web};

use crate::core::Core;

/// `X-Trace-Id`.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-trace-id");

/// 32 lower-case hex digits.
#[derive(Debug, Clone)]
pub(crate) struct Trace(String);

impl Trace {
    pub(crate) fn id(&self) -> &str {
        &self.0
    }

    /// A trace id as a HIS may give it, in either case; all zeros name no trace.
    fn read(text: &str) -> Option<Trace> {
        let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (hex && text.bytes().any(|byte| byte != b'0')).then(|| Trace(text.to_ascii_lowercase()))
    }
}

impl Default for Trace {
    /// The trace of what has none.
    fn default() -> Trace {
        Trace("0".repeat(32))
    }
}

impl FromRequest for Trace {
    type Error = Error;
    type Future = Ready<Result<Trace, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let trace = request.extensions().get::<Trace>().cloned();
        ready(Ok(trace.unwrap_or_default()))
    }
}

/// Gives every request its trace and every answer the header, unless the handler named another trace.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let given = request.headers().get(&HEADER).and_then(|value| value.to_str().ok()).and_then(Trace::read);
    let trace = given.unwrap_or_else(|| {
        let core = request.app_data::<web::Data<Core>>();
        core.map_or_else(Trace::default, |core| Trace(core.clock.trace_id()))
    });
    let header = HeaderValue::from_str(trace.id());
    request.extensions_mut().insert(trace);
    let mut response = next.call(request).await?;
    if let Ok(value) = header
        && !response.headers().contains_key(&HEADER)
    {
        response.headers_mut().insert(HEADER, value);
    }
    Ok(response)
}
