//! The hospitals' own pages: what doctors, cashiers and whoever compares books do with a HIS.
//!
//! | call | what for |
//! | --- | --- |
//! | `POST /sandbox/bills` | a new bill: `{institution, patient, kind?, lines?}` → `{bill_no, amount_fen}` |
//! | `GET /sandbox/bills/{institution}/{bill_no}` | how it stands |
//! | `POST /sandbox/window/claim` | `{institution, bill_no, use_account?}` → what the platform said, and the receipt |
//! | `POST /sandbox/window/settle-own` | a payment that phones never hear of: as for a bill, `use_account?` |
//! | `POST /sandbox/window/withdraw` | `{institution, bill_no}` |
//! | `POST /sandbox/window/refund` | `{institution, refund: RefundAsk}` |
//! | `POST /sandbox/window/return-part` | `{institution, bill_no, refund_no}`: the last line comes back, the rest is billed anew |
//! | `GET /sandbox/window/refunds/{institution}/{refund_no}` | |
//! | `POST /sandbox/window/visit-card` | `{institution, binding: VisitCardBinding}`: their bills then carry the card alone |
//! | `GET /sandbox/records`, `GET /sandbox/books` | all hospitals |

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use schema::bill::{BillKind, Patient};
use schema::his::{RefundAsk, VisitCardBinding};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::desk::{Desk, NotAtWindow};
use super::draft::Wish;
use super::outside::Failure;
use crate::fault::Faults;
use crate::http;

/// The hospitals of a process, by institution code.
#[derive(Debug)]
pub struct Hospitals {
    /// Their desks.
    pub desks: BTreeMap<String, Arc<Desk>>,
}

/// The URL table.
pub fn routes(hospitals: Arc<Hospitals>, faults: Arc<Faults>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .configure(http::fault_routes(faults))
            .app_data(web::Data::from(hospitals))
            .route("/sandbox/bills", web::post().to(issue))
            .route("/sandbox/bills/{institution}/{bill_no}", web::get().to(bill))
            .route("/sandbox/window/claim", web::post().to(claim))
            .route("/sandbox/window/settle-own", web::post().to(settle_own))
            .route("/sandbox/window/withdraw", web::post().to(withdraw))
            .route("/sandbox/window/refund", web::post().to(refund))
            .route("/sandbox/window/return-part", web::post().to(return_part))
            .route("/sandbox/window/refunds/{institution}/{refund_no}", web::get().to(refund_view))
            .route("/sandbox/window/visit-card", web::post().to(visit_card))
            .route("/sandbox/records", web::get().to(records))
            .route("/sandbox/books", web::get().to(books));
    }
}

/// A refusal of these pages: status and body.
struct No(u16, Value);

type Answer = Result<Value, No>;

fn answered(answer: Answer) -> HttpResponse {
    match answer {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(No(status, body)) => {
            HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)).json(body)
        }
    }
}

fn asked<T: DeserializeOwned>(body: &Bytes) -> Result<T, No> {
    serde_json::from_slice(body).map_err(|fault| No(400, json!({"code": "MALFORMED", "title": fault.to_string()})))
}

impl Hospitals {
    fn desk(&self, institution: &str) -> Result<&Arc<Desk>, No> {
        let missing = || No(404, json!({"code": "NOT_FOUND", "title": "无此机构 no such institution"}));
        self.desks.get(institution).ok_or_else(missing)
    }
}

impl From<Failure> for No {
    fn from(failure: Failure) -> No {
        match failure {
            Failure::Refused { status, body } => No(status, body),
            Failure::NoAnswer(why) => No(503, json!({"code": "NO_ANSWER", "title": why})),
        }
    }
}

impl From<NotAtWindow> for No {
    fn from(not: NotAtWindow) -> No {
        match not {
            NotAtWindow::Adapter(failure) => No::from(failure),
            NotAtWindow::Here(problem) => No(problem.status, json!(problem)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BillAsk {
    institution: String,
    patient: Patient,
    #[serde(default)]
    kind: Option<BillKind>,
    #[serde(default)]
    lines: Option<usize>,
    #[serde(default)]
    use_account: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    institution: String,
    bill_no: String,
    #[serde(default)]
    use_account: bool,
}

async fn issue(body: Bytes, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let answer = || {
        let ask: BillAsk = asked(&body)?;
        let wish = Wish { kind: ask.kind, lines: ask.lines };
        let draft = hospitals.desk(&ask.institution)?.issue(ask.patient, &wish);
        Ok(json!({"bill_no": draft.bill_no, "amount_fen": draft.amount_fen}))
    };
    answered(answer())
}

async fn bill(path: web::Path<(String, String)>, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let (institution, bill_no) = path.into_inner();
    let answer = || {
        let desk = hospitals.desk(&institution)?;
        let core = desk.core();
        let missing = || No(404, json!({"code": "BILL_UNKNOWN", "title": "无此账单 no such bill"}));
        let bill = core.bill(&bill_no).ok_or_else(missing)?;
        Ok(json!({"bill_no": bill_no, "standing": bill.standing, "posted": bill.posted, "by_card": bill.by_card,
            "window": bill.window, "left_at_bureau": bill.at_bureau.is_some(), "amount_fen": bill.draft.amount_fen}))
    };
    answered(answer())
}

/// Runs to its end even when the cashier's browser hangs up.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, No> {
    tokio::spawn(work).await.map_err(|fault| No(500, json!({"code": "INTERNAL", "title": fault.to_string()})))
}

async fn claim(body: Bytes, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let answer = async {
        let ask: Named = asked(&body)?;
        let desk = Arc::clone(hospitals.desk(&ask.institution)?);
        let claimed = to_the_end(async move { desk.claim(&ask.bill_no, ask.use_account).await }).await?;
        Ok(json!(claimed?))
    };
    answered(answer.await)
}

async fn settle_own(body: Bytes, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let answer = async {
        let ask: BillAsk = asked(&body)?;
        let desk = Arc::clone(hospitals.desk(&ask.institution)?);
        let wish = Wish { kind: ask.kind, lines: ask.lines };
        let settled = to_the_end(async move { desk.settle_own(ask.patient, &wish, ask.use_account).await }).await?;
        let (bill_no, receipt) = settled?;
        Ok(json!({"bill_no": bill_no, "receipt": receipt}))
    };
    answered(answer.await)
}

async fn withdraw(body: Bytes, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let answer = async {
        let ask: Named = asked(&body)?;
        Ok(json!(hospitals.desk(&ask.institution)?.withdraw(&ask.bill_no).await?))
    };
    answered(answer.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundWanted {
    institution: String,
    refund: RefundAsk,
}

async fn refund(body: Bytes, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let answer = async {
        let ask: RefundWanted = asked(&body)?;
        Ok(hospitals.desk(&ask.institution)?.adapter().refund(&ask.refund).await?)
    };
    answered(answer.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartWanted {
    institution: String,
    bill_no: String,
    refund_no: String,
}

async fn return_part(body: Bytes, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let answer = async {
        let ask: PartWanted = asked(&body)?;
        Ok(hospitals.desk(&ask.institution)?.return_part(&ask.bill_no, &ask.refund_no).await?)
    };
    answered(answer.await)
}

async fn refund_view(path: web::Path<(String, String)>, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let (institution, refund_no) = path.into_inner();
    let answer = async { Ok(hospitals.desk(&institution)?.adapter().refund_view(&refund_no).await?) };
    answered(answer.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardWanted {
    institution: String,
    binding: VisitCardBinding,
}

async fn visit_card(body: Bytes, hospitals: web::Data<Hospitals>) -> HttpResponse {
    let answer = async {
        let ask: CardWanted = asked(&body)?;
        hospitals.desk(&ask.institution)?.bind_visit_card(&ask.binding).await?;
        Ok(json!({}))
    };
    answered(answer.await)
}

async fn records(hospitals: web::Data<Hospitals>) -> HttpResponse {
    let all: Vec<Value> = hospitals.desks.values().map(|desk| desk.records()).collect();
    HttpResponse::Ok().json(json!({ "hospitals": all }))
}

async fn books(hospitals: web::Data<Hospitals>) -> HttpResponse {
    let all: BTreeMap<&String, Value> = hospitals.desks.iter().map(|(code, desk)| (code, desk.books())).collect();
    let balanced = all.values().all(|books| books["balanced"] == true);
    HttpResponse::Ok().json(json!({"hospitals": all, "balanced": balanced}))
}
