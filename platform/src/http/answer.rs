//! Answers and refusals as HTTP. A handler answers [`Answer`]; the trace layer puts the trace id into every refusal.

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use schema::refusal::{Code, Refusal};
use serde::Serialize;
use tracing::Instrument as _;

/// What a handler answers.
pub(super) type Answer = Result<HttpResponse, Refused>;

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused(refusal)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        status(self.0.code)
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        problem(&self.0, None)
    }
}

fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A refusal as `application/problem+json`.
pub(super) fn problem(refusal: &Refusal, trace_id: Option<&str>) -> HttpResponse<BoxBody> {
    let mut response = HttpResponse::build(status(refusal.code));
    response.content_type("application/problem+json");
    if let Some(seconds) = refusal.retry_after_s {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    if status(refusal.code) == StatusCode::UNAUTHORIZED {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    response.body(serde_json::to_vec(&refusal.problem(trace_id)).unwrap_or_default())
}

/// What the framework refused by itself, in our words.
pub(super) fn of_status(status: StatusCode, detail: String) -> Refusal {
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        status if status.is_client_error() => Code::Malformed,
        _ => Code::Internal,
    };
    Refusal::new(code, detail)
}

/// A change that was begun is finished even if its caller hangs up: what follows a commit (a message, a warning to
/// open orders) must not depend on a socket.
pub(super) async fn to_its_end<T: 'static>(
    journey: impl Future<Output = Result<T, Refusal>> + 'static,
) -> Result<T, Refusal> {
    let ended = actix_web::rt::spawn(journey.in_current_span()).await;
    ended.unwrap_or_else(|error| Err(Refusal::new(Code::Internal, format!("a journey ended early: {error}"))))
}

/// 200 with a view.
pub(super) fn ok<T: Serialize>(view: &T) -> Answer {
    json(StatusCode::OK, view)
}

/// A status with a view.
pub(super) fn json<T: Serialize>(status: StatusCode, view: &T) -> Answer {
    let bytes = serde_json::to_vec(view)
        .map_err(|error| Refusal::new(Code::Internal, format!("an answer cannot be written: {error}")))?;
    Ok(verbatim(status, bytes))
}

/// A status with bytes that are already JSON: an answer that may be repeated must be the same byte for byte.
pub(super) fn verbatim(status: StatusCode, bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::build(status).content_type("application/json").body(bytes)
}

/// 202: decided, its outcome comes later.
pub(super) fn accepted(bytes: Vec<u8>) -> Answer {
    Ok(verbatim(StatusCode::ACCEPTED, bytes))
}
