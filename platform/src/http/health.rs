//! What operators' machines ask.

use actix_web::HttpResponse;
use actix_web::web::Data;
use schema::refusal::{Code, Refusal};

use super::Shared;
use super::answer::Answer;
use crate::journey::people;

/// Whether restarting this process would help.
pub(super) async fn livez(shared: Data<Shared>) -> Answer {
    if !(shared.alive)() {
        return Err(Refusal::new(Code::Overloaded, "a thread that nothing works without has ended").into());
    }
    Ok(HttpResponse::Ok().content_type("text/plain").body("ok\n"))
}

/// Whether requests should be sent here.
pub(super) async fn readyz(shared: Data<Shared>) -> Answer {
    if *shared.stopping.borrow() {
        return Err(Refusal::new(Code::Overloaded, "the server is stopping").into());
    }
    shared.ground.read(|store| store.next_due()).await?;
    shared.ground.ephemeral.ready().await.map_err(people::unreachable)?;
    livez(shared).await
}

/// Prometheus text.
pub(super) async fn metrics(shared: Data<Shared>) -> Answer {
    shared.metrics.set_links(shared.hub().connected());
    let text = shared
        .metrics
        .text()
        .map_err(|error| Refusal::new(Code::Internal, format!("the metrics cannot be written: {error}")))?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
