//! Refusals as HTTP: RFC 9457 problem details.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use schema::openapi::PROBLEM_JSON;
use schema::refusal::{Code, Problem, Refusal};

use super::trace::Trace;

/// A refusal on its way to the HIS.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Box<Problem>);

impl Refused {
    /// Refuses, and says why in our log.
    pub(crate) fn new(refusal: &Refusal, trace: &Trace) -> Refused {
        let (code, detail) = (refusal.code, refusal.detail.as_str());
        if refusal.code.status() >= 500 {
            tracing::warn!(trace_id = trace.id(), %code, detail, "refused");
        } else {
            tracing::info!(trace_id = trace.id(), %code, detail, "refused");
        }
        Refused(Box::new(refusal.problem(Some(trace.id()))))
    }

    /// Refuses with a code alone.
    pub(crate) fn code(code: Code, detail: &str, trace: &Trace) -> Refused {
        Refused::new(&Refusal::new(code, detail), trace)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.code)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let body = serde_json::to_string(&self.0).unwrap_or_default();
        let mut response = HttpResponse::build(self.status_code());
        response.content_type(PROBLEM_JSON);
        if let Some(seconds) = self.0.retry_after_s {
            response.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.body(body)
    }
}
