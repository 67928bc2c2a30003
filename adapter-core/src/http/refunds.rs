//! Money back.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use schema::his::{RefundAsk, RefundView};
use schema::link::{Body, Reply, ToPlatform};
use schema::refusal::{Code, Fault, Refusal};

use super::bills::unexpected;
use super::problem::Refused;
use super::trace::Trace;
use super::{body, fields};
use crate::asks;
use crate::core::Core;
use crate::journal::AskKind;

/// 申请退费 / money back
///
/// The same number with the same content is one refund, and shows its present state.
#[utoipa::path(
    post, path = "/his/v1/refunds", tag = "refunds",
    request_body = RefundAsk,
    responses(
        (status = 202, description = "已受理 / taken on", body = RefundView),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn post(core: web::Data<Core>, trace: Trace, body: web::Payload) -> Result<HttpResponse, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, &trace);
    let ask: RefundAsk = body::read(&core, body).await.map_err(refused)?;
    let faults = faults(&ask);
    if !faults.is_empty() {
        return Err(refused(Refusal::faulty(Code::Invalid, faults)));
    }
    let view = refund(&core, ask, &trace).await?;
    Ok(HttpResponse::Accepted().json(view))
}

/// 查询退费 / the present state of a refund that this adapter asked for
///
/// A refund that was refused is not begun by looking at it: the refusal is shown again.
#[utoipa::path(
    get, path = "/his/v1/refunds/{refund_no}", tag = "refunds",
    params(("refund_no" = String, Path, description = "退款单号 / the institution's number")),
    responses(
        (status = 200, body = RefundView),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn get(
    core: web::Data<Core>,
    trace: Trace,
    refund_no: web::Path<String>,
) -> Result<web::Json<RefundView>, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, &trace);
    let known = core.journal.latest_ask(AskKind::Refund, &refund_no).await.map_err(|fault| refused(fault.into()))?;
    let Some(known) = known else {
        return Err(Refused::code(Code::NotFound, "no refund with this number was asked for here", &trace));
    };
    if let Some(text) = &known.reply {
        match asks::read_reply(text).map_err(refused)? {
            Reply::Refused(problem) => return Err(Refused(Box::new(problem))),
            Reply::Refund(view) if matches!(view.state.as_str(), "done" | "refused") => return Ok(web::Json(view)),
            _ => {}
        }
    }
    match serde_json::from_str(&known.payload) {
        Ok(Body::ToPlatform { ask: ToPlatform::Refund(ask) }) => refund(&core, ask, &trace).await.map(web::Json),
        _ => Err(Refused::code(Code::Internal, "a stored refund cannot be read back", &trace)),
    }
}

/// Asks for the refund, or again for its state: the same number with the same content is one refund.
async fn refund(core: &Arc<Core>, ask: RefundAsk, trace: &Trace) -> Result<RefundView, Refused> {
    let refund_no = ask.refund_no.clone();
    let reply = asks::change(core, AskKind::Refund, &refund_no, &ToPlatform::Refund(ask), trace.id())
        .await
        .map_err(|refusal| Refused::new(&refusal, trace))?;
    match &*reply {
        Reply::Refund(view) => Ok(view.clone()),
        other => Err(unexpected(other, trace)),
    }
}

fn faults(ask: &RefundAsk) -> Vec<Fault> {
    let mut faults = fields::faults([
        ("refund_no", ask.refund_no.as_str(), 40),
        ("bill_no", ask.bill_no.as_str(), 40),
        ("reason", ask.reason.as_str(), 200),
    ]);
    if ask.amount_fen.is_some_and(|amount| amount.get() <= 0) {
        faults.push(Fault::new("amount_fen", "退款金额须大于0", "must be above 0"));
    }
    faults
}
