//! The whole URL table. `schema::his` says what each call means.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, HttpServer, Resource, ResponseError as _, web};
use schema::refusal::{Code, Fault, Refusal};

use super::problem::Refused;
use super::trace::Trace;
use super::{auth, bills, health, openapi, orders, refunds, trace, visit_cards, work};
use crate::core::Core;

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Binds the face and starts serving; the address is where it really listens.
pub(crate) fn serve(core: &Arc<Core>) -> io::Result<(Server, SocketAddr)> {
    let data = web::Data::from(Arc::clone(core));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::QueryConfig::default().error_handler(|error, request| unread("query", &error, request)))
            .app_data(web::PathConfig::default().error_handler(|error, request| unread("path", &error, request)))
            .wrap(from_fn(trace::middleware))
            .configure(configure)
            .default_service(web::to(not_found))
    })
    // One thread serves one hospital; many adapters may share a machine.
    .workers(1)
    // Longer than HIS keep theirs: a question on a connection that was just closed would be lost.
    .keep_alive(KEEP_ALIVE)
    .disable_signals()
    .shutdown_timeout(3)
    .bind(core.settings.http.listen)?;
    let address = server.addrs().first().copied().unwrap_or(core.settings.http.listen);
    Ok((server.run(), address))
}

/// The scope that needs the API key.
pub(super) const HIS: &str = "/his/v1";

macro_rules! his_face {
    ($($path:literal { $method:ident $handler:path })+) => {
        /// The HIS's addresses below [`HIS`] with their methods, to be compared with the document.
        #[cfg(test)]
        pub(super) const HIS_FACE: &[(&str, &str)] = &[$(($path, stringify!($method))),+];

        fn his_face(config: &mut web::ServiceConfig) {
            $(config.service(
                resource($path, &[stringify!($method)]).route(his_face!(@$method).to($handler))
            );)+
        }
    };
    (@GET) => { web::get() };
    (@POST) => { web::post() };
}

his_face! {
    "/bills" { POST bills::post }
    "/bills/{bill_no}/withdraw" { POST bills::withdraw }
    "/bills/{bill_no}/claim" { POST bills::claim }
    "/bills/{bill_no}/order" { GET orders::of_bill }
    "/orders" { GET orders::of_day }
    "/refunds" { POST refunds::post }
    "/refunds/{refund_no}" { GET refunds::get }
    "/visit-cards" { POST visit_cards::post }
    "/work" { GET work::poll }
    "/work/{id}/answer" { POST work::answer }
}

fn configure(config: &mut web::ServiceConfig) {
    let looked_at = &["GET", "HEAD"];
    // — who watches the adapter —
    config
        .service(resource("/livez", looked_at).route(web::get().to(health::livez)).route(web::head().to(health::livez)))
        .service(
            resource("/readyz", looked_at).route(web::get().to(health::readyz)).route(web::head().to(health::readyz)),
        )
        .service(resource("/metrics", &["GET"]).route(web::get().to(health::metrics)));
    // — who reads the manual —
    openapi::configure(config);
    // — the HIS —
    config.service(
        web::scope(HIS).wrap(from_fn(auth::middleware)).configure(his_face).default_service(web::to(not_found)),
    );
}

/// An address; every method that is not its own is refused with those that are.
fn resource(path: &str, methods: &'static [&'static str]) -> Resource {
    web::resource(path).default_service(web::to(move |trace: Trace| async move {
        let mut refused = Refused::code(Code::MethodNotAllowed, "no such method here", &trace).error_response();
        if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
            refused.headers_mut().insert(ALLOW, methods);
        }
        refused
    }))
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
