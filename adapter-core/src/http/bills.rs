//! Bills: a new one, withdrawn, claimed by the window.

use actix_web::{HttpResponse, web};
use schema::bill::BillDraft;
use schema::his::ClaimAnswer;
use schema::link::{BillNamed, Reply, ToPlatform};
use schema::refusal::{Code, Fault, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

use super::body;
use super::problem::Refused;
use super::trace::Trace;
use crate::asks::{self, BillTaken};
use crate::core::Core;
use crate::journal::AskKind;

/// The bill is durable here and on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BillAccepted {
    /// The institution's number.
    bill_no: String,
}

pub(crate) async fn post(core: web::Data<Core>, trace: Trace, body: web::Payload) -> Result<HttpResponse, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, &trace);
    let draft: Box<BillDraft> = body::read(&core, body).await.map_err(refused)?;
    let faults = draft.faults(core.settings.bill.tolerance_fen);
    if !faults.is_empty() {
        return Err(refused(Refusal::faulty(Code::Invalid, faults)));
    }
    let bill_no = draft.bill_no.clone();
    match asks::bill(&core, draft, trace.id()).await.map_err(refused)? {
        BillTaken::Accepted => {
            tracing::info!(trace_id = trace.id(), bill_no, "bill accepted");
            Ok(HttpResponse::Accepted().json(BillAccepted { bill_no }))
        }
        BillTaken::Refused(problem) => Err(Refused(problem)),
    }
}

pub(crate) async fn withdraw(
    core: web::Data<Core>,
    trace: Trace,
    bill_no: web::Path<String>,
) -> Result<web::Json<ClaimAnswer>, Refused> {
    take_back(&core, &trace, AskKind::Withdraw, bill_no.into_inner()).await
}

pub(crate) async fn claim(
    core: web::Data<Core>,
    trace: Trace,
    bill_no: web::Path<String>,
) -> Result<web::Json<ClaimAnswer>, Refused> {
    take_back(&core, &trace, AskKind::Claim, bill_no.into_inner()).await
}

async fn take_back(
    core: &Core,
    trace: &Trace,
    kind: AskKind,
    bill_no: String,
) -> Result<web::Json<ClaimAnswer>, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, trace);
    let named = named(bill_no).map_err(refused)?;
    let bill_no = named.bill_no.clone();
    let ask = if kind == AskKind::Withdraw { ToPlatform::Withdraw(named) } else { ToPlatform::Claim(named) };
    let reply = asks::change(core, kind, &bill_no, &ask, trace.id()).await.map_err(refused)?;
    match &*reply {
        Reply::Claimed(answer) => Ok(web::Json(*answer)),
        other => Err(unexpected(other, trace)),
    }
}

/// Checks a bill's number as it stands in an address.
pub(crate) fn named(bill_no: String) -> Result<BillNamed, Refusal> {
    if bill_no.trim().is_empty() || bill_no.chars().count() > 40 || bill_no.chars().any(char::is_control) {
        let fault = Fault::new("bill_no", "不能为空、过长或含控制字符", "is empty, too long or has control characters");
        return Err(Refusal::faulty(Code::Invalid, vec![fault]));
    }
    Ok(BillNamed { bill_no })
}

/// A refusal of the platform is passed on; an answer that does not fit the question is a fault of the platform.
pub(crate) fn unexpected(reply: &Reply, trace: &Trace) -> Refused {
    match reply {
        Reply::Refused(problem) => Refused(Box::new(problem.clone())),
        _ => Refused::code(Code::Internal, "the platform's reply does not fit the question", trace),
    }
}
