//! Bills: a new one, withdrawn, claimed by the window.

use std::sync::Arc;

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

/// 上传待缴费单 / a new bill: 202 once it is durable here
///
/// The same bill again is harmless, unless it was withdrawn or claimed by the
/// window: then it is refused (BILL_NOT_PAYABLE) and takes a new number. The same number with other content is refused.
/// If the platform has refused the bill meanwhile, its refusal is the answer, once; posted again after that, with
/// the same content or with other, the bill is sent to the platform anew.
#[utoipa::path(
    post, path = "/his/v1/bills", tag = "bills",
    request_body = BillDraft,
    responses(
        (status = 202, description = "已保存并将送达 / durable and on its way", body = BillAccepted),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn post(core: web::Data<Core>, trace: Trace, body: web::Payload) -> Result<HttpResponse, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, &trace);
    let bytes = body::bytes(&core, body).await.map_err(refused)?;
    let draft = sound(&bytes, core.settings.bill.tolerance_fen).map_err(refused)?;
    let bill_no = draft.bill_no.clone();
    match asks::bill(&core, draft, trace.id()).await.map_err(refused)? {
        BillTaken::Accepted => {
            tracing::info!(trace_id = trace.id(), bill_no, "bill accepted");
            Ok(HttpResponse::Accepted().json(BillAccepted { bill_no }))
        }
        BillTaken::Refused(problem) => Err(Refused(problem)),
    }
}

/// Reads a bill, or lists everything that is wrong with it: of shape and of content at once.
fn sound(bytes: &[u8], tolerance_fen: i64) -> Result<Box<BillDraft>, Refusal> {
    match body::parse::<Box<BillDraft>>(bytes) {
        Ok(draft) => {
            let faults = draft.faults(tolerance_fen);
            if faults.is_empty() { Ok(draft) } else { Err(Refusal::faulty(Code::Invalid, faults)) }
        }
        Err(misshapen) => {
            let mut faults = misshapen.faults;
            if let Some(mended) = misshapen.mended {
                let content = mended.faults(tolerance_fen);
                let follows = |fault: &Fault| faults.iter().any(|shape| follows(&fault.at, &shape.at));
                let further: Vec<Fault> = content.into_iter().filter(|fault| !follows(fault)).collect();
                faults.extend(further);
            }
            Err(Refusal::faulty(Code::Malformed, faults))
        }
    }
}

/// Whether a fault of content may only be there because something was mended to be able to read on.
fn follows(content: &str, shape: &str) -> bool {
    let top = |at: &str| at.split(['.', '[']).next().unwrap_or_default().to_owned();
    let row = |at: &str| at.split_once(']').map_or(at, |(row, _)| row).to_owned();
    match top(content).as_str() {
        "lines" => row(content) == row(shape) || shape == "lines",
        // Sums depend on every line, expiry on the time of issue.
        "amount_fen" => matches!(top(shape).as_str(), "amount_fen" | "lines"),
        "expires_at_us" => matches!(shape, "expires_at_us" | "issued_at_us"),
        _ => content == shape || content.starts_with(&format!("{shape}.")),
    }
}

/// 作废账单 / the bill no longer exists
#[utoipa::path(
    post, path = "/his/v1/bills/{bill_no}/withdraw", tag = "bills",
    params(("bill_no" = String, Path, description = "账单号 / the institution's number")),
    responses(
        (status = 200, body = ClaimAnswer),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn withdraw(
    core: web::Data<Core>,
    trace: Trace,
    bill_no: web::Path<String>,
) -> Result<web::Json<ClaimAnswer>, Refused> {
    take_back(&core, &trace, AskKind::Withdraw, bill_no.into_inner()).await
}

/// 窗口收回账单 / the window takes the bill back
///
/// 503 means: treat it as being paid, do not charge it, ask again.
#[utoipa::path(
    post, path = "/his/v1/bills/{bill_no}/claim", tag = "bills",
    params(("bill_no" = String, Path, description = "账单号 / the institution's number")),
    responses(
        (status = 200, body = ClaimAnswer),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn claim(
    core: web::Data<Core>,
    trace: Trace,
    bill_no: web::Path<String>,
) -> Result<web::Json<ClaimAnswer>, Refused> {
    take_back(&core, &trace, AskKind::Claim, bill_no.into_inner()).await
}

async fn take_back(
    core: &Arc<Core>,
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
