//! Bills.

use actix_web::web::{Data, Path};
use schema::mobile::BillView;
use schema::refusal::Code;

use crate::http::Shared;
use crate::http::answer::{Answer, ok};
use crate::http::caller::{Caller, id};
use crate::journey::bills;

/// 待缴费单：本登录所绑定各人的账单，新的在前 / the bills of everybody bound to this login, newest first
#[utoipa::path(
    get, path = "/mobile/v1/bills", tag = "bills", security(("session" = [])),
    responses((status = 200, body = Vec<BillView>)),
)]
pub(in crate::http) async fn list(shared: Data<Shared>, caller: Caller) -> Answer {
    ok(&bills::list(&shared.ground, &caller.tenant, caller.user).await?)
}

/// 一张账单及其明细 / one bill with its lines
#[utoipa::path(
    get, path = "/mobile/v1/bills/{id}", tag = "bills", security(("session" = [])),
    params(("id" = String, Path, description = "The bill")),
    responses((status = 200, body = BillView)),
)]
pub(in crate::http) async fn one(shared: Data<Shared>, caller: Caller, path: Path<String>) -> Answer {
    let bill = id(&path, Code::BillUnknown)?;
    ok(&bills::one(&shared.ground, &caller.tenant, caller.user, bill).await?)
}
