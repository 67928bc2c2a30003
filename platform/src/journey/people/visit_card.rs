//! Visit cards at the window, for whoever is present with card and password (普洱).

use schema::his::VisitCardBinding;
use schema::ids::InstitutionCode;
use schema::link::Reply;
use schema::personal::Personal as _;
use schema::refusal::{Code, Refusal};

use super::CERTNO;
use super::binding::proved;
use crate::journey::{Ground, Tenant, reply};
use crate::parties::bureau::{BindRequest, Identity};
use crate::store::{CallerKey, VisitCardRow};

/// The purpose of visit-card look-ups.
pub const VISIT_CARD: &str = "visit_card_no";

/// Binds a visit card at the window to the insured person who is present with card and password (普洱).
pub async fn bind_visit_card(
    ground: &Ground,
    tenant: &Tenant,
    institution: &InstitutionCode,
    ask: &VisitCardBinding,
    key: CallerKey,
) -> Result<Reply, Refusal> {
    if let Some(first) = ground.first_answer(tenant.id, &key).await? {
        return reply::kept(&first);
    }
    let request = BindRequest {
        identity: Identity {
            psn_cert_type: ask.psn_cert_type.clone(),
            certno: ask.certno.clone(),
            psn_name: ask.psn_name.clone(),
        },
        card_no: ask.card_no.clone(),
        sealed_password: ask.sealed_password.clone(),
        channel_no: institution.to_string(),
    };
    let bound = proved(tenant, &request).await?;
    let row = VisitCardRow {
        tenant: tenant.id,
        institution: institution.clone(),
        visit_card: tenant.vault.lookup(VISIT_CARD, ask.visit_card_no.expose()),
        certno: tenant.vault.lookup(CERTNO, ask.certno.expose()),
        psn_name_masked: ask.psn_name.masked(),
        bind_no: bound.bind_no,
        created_at_us: ground.clock.now_us(),
    };
    let (kept, response) = (key.clone(), reply::written(&Reply::Done)?);
    if ground.read(move |store| store.put_visit_card(&row, Some((&kept, &response)))).await? {
        return Ok(Reply::Done);
    }
    match ground.first_answer(tenant.id, &key).await? {
        Some(first) => reply::kept(&first),
        None => Err(Refusal::new(Code::Overloaded, "the message was answered meanwhile").after_s(1)),
    }
}
