//! The whole URL table. `schema::his` says what each call means.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, ResponseError as _, web};
use schema::refusal::{Code, Fault, Refusal};

use super::problem::Refused;
use super::trace::Trace;
use super::{auth, bills, health, openapi, orders, refunds, trace, visit_cards, work};
use crate::core::Core;

/// Binds the face and starts serving; the address is where it really listens.
pub(crate) fn serve(core: &Arc<Core>) -> io::Result<(Server, SocketAddr)> {
    let data = web::Data::from(Arc::clone(core));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::QueryConfig::default().error_handler(|error, request| unread("query", &error, request)))
            .app_data(web::PathConfig::default().error_handler(|error, request| unread("path", &error, request)))
            .wrap(from_fn(trace::middleware))
            .configure(table)
            .default_service(web::to(not_found))
    })
    // One thread serves one hospital; many adapters may share a machine.
    .workers(1)
    .disable_signals()
    .shutdown_timeout(3)
    .bind(core.settings.http.listen)?;
    let address = server.addrs().first().copied().unwrap_or(core.settings.http.listen);
    Ok((server.run(), address))
}

fn table(config: &mut web::ServiceConfig) {
    let refused = || web::to(not_allowed);
    // — who watches the adapter —
    config
        .service(web::resource("/livez").get(health::livez).default_service(refused()))
        .service(web::resource("/readyz").get(health::readyz).default_service(refused()))
        .service(web::resource("/metrics").get(health::metrics).default_service(refused()));
    // — who reads the manual —
    openapi::configure(config);
    // — the HIS —
    config.service(
        web::scope("/his/v1")
            .wrap(from_fn(auth::middleware))
            .service(web::resource("/bills").post(bills::post).default_service(refused()))
            .service(web::resource("/bills/{bill_no}/withdraw").post(bills::withdraw).default_service(refused()))
            .service(web::resource("/bills/{bill_no}/claim").post(bills::claim).default_service(refused()))
            .service(web::resource("/bills/{bill_no}/order").get(orders::of_bill).default_service(refused()))
            .service(web::resource("/orders").get(orders::of_day).default_service(refused()))
            .service(web::resource("/refunds").post(refunds::post).default_service(refused()))
            .service(web::resource("/refunds/{refund_no}").get(refunds::get).default_service(refused()))
            .service(web::resource("/visit-cards").post(visit_cards::post).default_service(refused()))
            .service(web::resource("/work").get(work::poll).default_service(refused()))
            .service(web::resource("/work/{id}/answer").post(work::answer).default_service(refused()))
            .default_service(web::to(not_found)),
    );
}

/// An address that does not read is refused like a body that does not.
fn unread(at: &str, error: &dyn std::fmt::Display, request: &HttpRequest) -> actix_web::Error {
    let trace = request.extensions().get::<Trace>().cloned().unwrap_or_default();
    let faults = vec![Fault::new(at, "地址参数格式有误", "has the wrong form")];
    let mut refusal = Refusal::faulty(Code::Malformed, faults);
    refusal.detail = error.to_string();
    Refused::new(&refusal, &trace).into()
}

async fn not_found(trace: Trace) -> HttpResponse {
    Refused::code(Code::NotFound, "no such address", &trace).error_response()
}

async fn not_allowed(trace: Trace) -> HttpResponse {
    Refused::code(Code::MethodNotAllowed, "no such method here", &trace).error_response()
}
