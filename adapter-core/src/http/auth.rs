//! Deny by default: everything under `/his` needs the API key.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _, web};
use schema::refusal::Code;

use super::problem::Refused;
use super::trace::Trace;
use crate::core::Core;

/// Lets through who shows `Authorization: Bearer <api key>`.
pub(crate) async fn middleware(
    core: web::Data<Core>,
    trace: Trace,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    if !token.is_some_and(|token| core.api_key.is(token)) {
        // A response and not an error, so that it passes back through the other middleware as every answer does.
        let refused = Refused::code(Code::Unauthenticated, "no API key or a wrong one", &trace).error_response();
        return Ok(request.into_response(refused).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}
