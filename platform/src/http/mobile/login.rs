//! Signing in: a code to the phone, the code back, a token.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use schema::mobile::{LoggedIn, LoginAsk, LoginCodeAsk};

use crate::http::Shared;
use crate::http::answer::{Answer, accepted, json, to_its_end};
use crate::http::caller::FromChannel;
use crate::http::session::Session;
use crate::journey::people;

/// Sends a login code to the phone.
#[utoipa::path(
    post, path = "/mobile/v1/login/code", tag = "login", request_body = LoginCodeAsk, security(("channel" = [])),
    responses(
        (status = 202, description = "Sent, where the phone can be reached", body = Object),
        (status = "4XX", description = "Refused", body = schema::refusal::Problem),
    ),
)]
pub(in crate::http) async fn send_code(shared: Data<Shared>, from: FromChannel<LoginCodeAsk>) -> Answer {
    let journey = async move {
        people::pace_channel(&shared.ground, &from.tenant, from.channel).await?;
        people::send_login_code(&shared.ground, &from.tenant, &from.ask.phone).await
    };
    to_its_end(journey).await?;
    accepted(b"{}".to_vec())
}

/// Signs in with the code.
#[utoipa::path(
    post, path = "/mobile/v1/login", tag = "login", request_body = LoginAsk, security(("channel" = [])),
    responses(
        (status = 200, description = "Signed in", body = LoggedIn),
        (status = "4XX", description = "Refused", body = schema::refusal::Problem),
    ),
)]
pub(in crate::http) async fn login(shared: Data<Shared>, from: FromChannel<LoginAsk>) -> Answer {
    let ground = &shared.ground;
    let user = people::login(ground, &from.tenant, from.channel, &from.ask).await?;
    let life_us = ground.settings.limits.session_ms.saturating_mul(1000);
    let expires_at_us = ground.clock.now_us().saturating_add(life_us);
    let session = Session { tenant: from.tenant.id, channel: from.channel, user: user.id, expires_at_us };
    json(StatusCode::OK, &LoggedIn { token: shared.sessions.issue(&session), expires_at_us })
}
