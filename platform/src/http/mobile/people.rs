//! Bindings.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use schema::mobile::{BindAsk, BindLevel2Ask, BindingView, BureauKeyView};
use schema::refusal::Code;

use crate::http::Shared;
use crate::http::answer::{Answer, accepted, ok, to_its_end, verbatim};
use crate::http::caller::{Caller, Change, Nothing, id};
use crate::journey::people;

/// 加密社保卡密码的公钥 / the key for sealing card passwords
#[utoipa::path(
    get, path = "/mobile/v1/bureau-key", tag = "bindings", security(("session" = [])),
    responses((status = 200, body = BureauKeyView)),
)]
pub(in crate::http) async fn bureau_key(caller: Caller) -> Answer {
    ok(&BureauKeyView { sm2_public_key: caller.tenant.bureau.sm2_public_key().to_owned() })
}

/// 本登录已绑定的人 / who is bound to this login
#[utoipa::path(
    get, path = "/mobile/v1/bindings", tag = "bindings", security(("session" = [])),
    responses((status = 200, body = Vec<BindingView>)),
)]
pub(in crate::http) async fn bindings(shared: Data<Shared>, caller: Caller) -> Answer {
    ok(&people::bindings(&shared.ground, &caller.tenant, caller.user).await?)
}

/// 一级绑定：可查看、可自费 / binds a person at level 1: may look and pay cash
#[utoipa::path(
    post, path = "/mobile/v1/bindings", tag = "bindings", request_body = BindAsk, security(("session" = [])),
    responses(
        (status = 201, description = "Bound", body = BindingView),
        (status = 503, description = "The bureau cannot be reached", body = schema::refusal::Problem),
    ),
)]
pub(in crate::http) async fn bind(shared: Data<Shared>, change: Change<BindAsk>) -> Answer {
    let Change { caller, ask, key } = change;
    let journey = async move { people::bind(&shared.ground, &caller.tenant, caller.user, &ask, key).await };
    Ok(verbatim(StatusCode::CREATED, to_its_end(journey).await?))
}

/// 二级绑定：可用医保支付 / raises a binding to level 2 with card and sealed password: may spend insurance
///
/// Neither a frozen binding nor a card that was reported lost is taken.
#[utoipa::path(
    post, path = "/mobile/v1/bindings/{id}/level2", tag = "bindings", request_body = BindLevel2Ask,
    security(("session" = [])),
    params(("id" = String, Path, description = "The binding")),
    responses(
        (status = 202, description = "Proved", body = BindingView),
        (status = 503, description = "The bureau cannot be reached", body = schema::refusal::Problem),
    ),
)]
pub(in crate::http) async fn bind_level2(
    shared: Data<Shared>,
    path: Path<String>,
    change: Change<BindLevel2Ask>,
) -> Answer {
    let Change { caller, ask, key } = change;
    let binding = id(&path, Code::BindingUnknown)?;
    let journey =
        async move { people::bind_level2(&shared.ground, &caller.tenant, caller.user, binding, &ask, key).await };
    accepted(to_its_end(journey).await?)
}

/// 解除绑定 / takes a binding back
#[utoipa::path(
    delete, path = "/mobile/v1/bindings/{id}", tag = "bindings", security(("session" = [])),
    params(("id" = String, Path, description = "The binding")),
    responses((status = 202, description = "Unbound", body = BindingView)),
)]
pub(in crate::http) async fn unbind(shared: Data<Shared>, path: Path<String>, change: Change<Nothing>) -> Answer {
    let Change { caller, key, .. } = change;
    let binding = id(&path, Code::BindingUnknown)?;
    let journey = async move { people::unbind(&shared.ground, &caller.tenant, caller.user, binding, key).await };
    accepted(to_its_end(journey).await?)
}

/// 挂失：冻结线上支付 / reports a loss: online payment is frozen
///
/// For this person, on this platform (平台冻结), at once and at every login. It is not the card's 挂失 at the bureau.
#[utoipa::path(
    post, path = "/mobile/v1/bindings/{id}/loss", tag = "bindings", security(("session" = [])),
    params(("id" = String, Path, description = "The binding")),
    responses((status = 202, description = "Frozen", body = BindingView)),
)]
pub(in crate::http) async fn report_loss(shared: Data<Shared>, path: Path<String>, change: Change<Nothing>) -> Answer {
    let Change { caller, key, .. } = change;
    let binding = id(&path, Code::BindingUnknown)?;
    let journey = async move { people::report_loss(&shared.ground, &caller.tenant, caller.user, binding, key).await };
    accepted(to_its_end(journey).await?)
}
