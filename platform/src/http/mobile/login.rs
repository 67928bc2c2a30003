//! Signing in: a code to the phone, the code back, a token.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use schema::mobile::{LoggedIn, LoginAsk, LoginCodeAsk};

use crate::http::Shared;
use crate::http::answer::{Answer, accepted, json, to_its_end};
use crate::http::caller::FromChannel;
use crate::http::session::Session;
use crate::journey::people::{self, SignedIn};

/// 发送登录验证码 / sends a login code to the phone
///
/// Repeated under its key within a day, it sends no second message.
#[utoipa::path(
    post, path = "/mobile/v1/login/code", tag = "login", request_body = LoginCodeAsk, security(("channel" = [])),
    responses(
        (status = 202, description = "Sent, where the phone can be reached", body = Object),
        (status = 503, description = "Its first is under way, or no message can be sent", body = schema::refusal::Problem),
    ),
)]
pub(in crate::http) async fn send_code(shared: Data<Shared>, from: FromChannel<LoginCodeAsk>) -> Answer {
    let FromChannel { tenant, channel, ask, key } = from;
    let journey = async move { people::send_login_code(&shared.ground, &tenant, channel, &ask.phone, &key).await };
    to_its_end(journey).await?;
    accepted(b"{}".to_vec())
}

/// 用验证码登录 / signs in with the code, which is used up by it
///
/// Repeated under its key, it answers with the same session.
#[utoipa::path(
    post, path = "/mobile/v1/login", tag = "login", request_body = LoginAsk, security(("channel" = [])),
    responses((status = 200, description = "Signed in", body = LoggedIn)),
)]
pub(in crate::http) async fn login(shared: Data<Shared>, from: FromChannel<LoginAsk>) -> Answer {
    let FromChannel { tenant, channel, ask, key } = from;
    let (ground, tenant_id) = (shared.ground.clone(), tenant.id);
    let journey = async move { people::login(&ground, &tenant, channel, &ask, key).await };
    let SignedIn { user, expires_at_us } = to_its_end(journey).await?;
    // The same session is the same token: a repeat is answered byte for byte, and no token is ever stored.
    let session = Session { tenant: tenant_id, channel, user, expires_at_us };
    json(StatusCode::OK, &LoggedIn { token: shared.sessions.issue(&session), expires_at_us })
}
