//! What the bureau tells by itself: a card was reported lost.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schema::ids::TenantId;
use schema::refusal::{Code, Refusal};

use super::Shared;
use super::answer::{Answer, to_its_end};
use super::caller::{body, headers, id};
use crate::journey::{Ground, Tenant, people};
use crate::parties::bureau::notice::{LossNotice, NotBelieved};
use crate::store::CallerKey;

/// The bureau's word for a lost card.
const LOSS: &str = "loss";

/// 204 once the person's bindings with that card are frozen here, or were before; 401 for what the bureau did not sign; 5xx so that it repeats.
pub(super) async fn notice(
    shared: Data<Shared>,
    request: HttpRequest,
    tenant: Path<String>,
    payload: Payload,
) -> Answer {
    let ground = &shared.ground;
    let tenant = ground.tenants.get(id::<TenantId>(&tenant, Code::NotFound)?)?;
    let bytes = body(&request, payload.into_inner()).await?;
    let notice = tenant.bureau.open_notice(&headers(&request), &bytes).map_err(|error| match error {
        NotBelieved::Signature => Refusal::new(Code::SignatureWrong, error.to_string()),
        NotBelieved::Malformed => Refusal::new(Code::Malformed, error.to_string()),
    })?;
    let ground = Arc::clone(ground);
    let request = tenant.vault.lookup("notice", &bytes[..]).to_bytes();
    to_its_end(async move { act(&ground, &tenant, notice, request).await }).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn act(ground: &Ground, tenant: &Tenant, notice: LossNotice, request: [u8; 32]) -> Result<(), Refusal> {
    let key = CallerKey { caller: "bureau".into(), key: notice.notice_id, request };
    if ground.first_answer(tenant.id, &key).await?.is_some() {
        return Ok(());
    }
    let tenant_id = tenant.id;
    if notice.kind == LOSS {
        let bind_no = notice.bind_no;
        match ground.read(move |store| store.binding_by_bind_no(tenant_id, &bind_no)).await? {
            Some(row) => people::lost_at_bureau(ground, tenant, &row).await?,
            // A binding made at a window, or of another caller: nothing here can spend under it.
            None => tracing::info!("a loss notice names a binding that is none of ours"),
        }
    } else {
        // The kind is the sender's own text and may say anything, a name included.
        tracing::warn!("a bureau notice of an unknown kind");
    }
    // The freeze first, the note that it was done second: a crash between the two repeats a harmless freeze.
    ground.read(move |store| store.keep_answer(tenant_id, &key, b"")).await?;
    Ok(())
}
