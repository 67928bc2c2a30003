//! Binding a visit card at the window. Carries the card's payment password, sealed for the bureau: never stored here,
//! so a binding without answer is simply asked again by the window.

use actix_web::{HttpResponse, web};
use schema::his::VisitCardBinding;
use schema::link::{Reply, ToPlatform};
use schema::personal::Personal as _;
use schema::refusal::{Code, Refusal};

use super::bills::unexpected;
use super::problem::Refused;
use super::trace::Trace;
use super::{body, fields};
use crate::asks;
use crate::core::Core;

/// 窗口绑定就诊卡 / binds a visit card to the insured person at the window
///
/// After 503 the window asks again.
#[utoipa::path(
    post, path = "/his/v1/visit-cards", tag = "visit-cards",
    request_body = VisitCardBinding,
    responses(
        (status = 204, description = "已绑定 / bound"),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn post(core: web::Data<Core>, trace: Trace, body: web::Payload) -> Result<HttpResponse, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, &trace);
    let binding: VisitCardBinding = body::read(&core, body).await.map_err(refused)?;
    let faults = fields::faults([
        ("visit_card_no", binding.visit_card_no.expose(), 50),
        ("psn_name", binding.psn_name.expose(), 50),
        ("psn_cert_type", binding.psn_cert_type.as_str(), 6),
        ("certno", binding.certno.expose(), 50),
        ("card_no", binding.card_no.expose(), 50),
        ("sealed_password", binding.sealed_password.expose(), 2000),
    ]);
    if !faults.is_empty() {
        return Err(refused(Refusal::faulty(Code::Invalid, faults)));
    }
    let reply = asks::passing(&core, &ToPlatform::BindVisitCard(binding), trace.id()).await.map_err(refused)?;
    match &*reply {
        Reply::Done => Ok(HttpResponse::NoContent().finish()),
        other => Err(unexpected(other, &trace)),
    }
}
