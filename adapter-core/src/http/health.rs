//! For whoever watches the adapter: alive, ready, numbers. No key needed, nothing personal shown.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::core::Core;

/// The process answers and can write its journal; if not, only a restart helps.
pub(crate) async fn livez(core: web::Data<Core>) -> HttpResponse {
    if core.journal.is_writing() {
        HttpResponse::Ok().json(json!({ "live": true }))
    } else {
        HttpResponse::ServiceUnavailable().json(json!({ "live": false }))
    }
}

/// The link is up. Bills are taken either way; they travel when it is.
pub(crate) async fn readyz(core: web::Data<Core>) -> HttpResponse {
    let state = core.link.borrow().clone();
    if state.up {
        HttpResponse::Ok().json(json!({ "ready": true }))
    } else {
        let reason = state.fault.unwrap_or_else(|| "尚未连接平台 / not connected yet".to_owned());
        HttpResponse::ServiceUnavailable().json(json!({ "ready": false, "reason": reason }))
    }
}

/// Prometheus text.
pub(crate) async fn metrics(core: web::Data<Core>) -> HttpResponse {
    let up = core.link.borrow().up;
    let text = core.metrics.text(up, core.outbox.waiting(), core.work.waiting());
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text)
}
