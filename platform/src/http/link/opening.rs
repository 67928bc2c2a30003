//! The opening: the adapter proves that it holds the key registered for its institution.

use std::sync::Arc;
use std::time::Duration;

use actix_ws::{AggregatedMessage, CloseCode, CloseReason};
use schema::ids::InstitutionCode;
use schema::link::{Opening, hello_bytes};
use schema::refusal::{Code, Fault, Refusal};
use schema::sign::PublicKey;

use super::conversation::Socket;
use crate::http::{Shared, faults};
use crate::journey::{Ground, Tenant, people};
use crate::parties::link::across::NotLetIn;
use crate::parties::link::hub::Live;
use crate::store::InstitutionRow;

/// An adapter that has not said hello by then is let go.
const OPENING_TIME: Duration = Duration::from_secs(10);
/// The protocol that is spoken here.
const PROTOCOL: u16 = 1;

/// An adapter that was let in.
pub(super) struct Adapter {
    /// Its tenant.
    pub(super) tenant: Arc<Tenant>,
    /// Its institution.
    pub(super) institution: InstitutionCode,
    /// Its link.
    pub(super) live: Live,
}

/// Why an opening came to nothing.
pub(super) enum Ended {
    /// It went away, or never spoke.
    Gone,
    /// No.
    Refused(Refusal),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Ended {
        Ended::Refused(refusal)
    }
}

/// Challenge, hello, welcome.
pub(super) async fn welcome(shared: &Arc<Shared>, socket: &mut Socket) -> Result<Adapter, Ended> {
    let mut nonce = [0_u8; 32];
    shared.ground.clock.fill(&mut nonce);
    let nonce = hex::encode(nonce);
    say(socket, &Opening::Challenge { nonce: nonce.clone() }).await?;
    let hello = match tokio::time::timeout(OPENING_TIME, hear(socket)).await {
        Ok(hello) => hello?,
        Err(_) => return Err(Refusal::new(Code::Malformed, "no hello in time").into()),
    };
    let Opening::Hello { protocol, institution, key, signature, adapter_version } = hello else {
        return Err(Refusal::new(Code::Malformed, "the adapter's first word is no hello").into());
    };
    if protocol != PROTOCOL {
        let fault = Fault::new("protocol", "仅支持协议版本1", "only protocol 1 is spoken here");
        return Err(Refusal::faulty(Code::Malformed, vec![fault]).into());
    }
    key.verify(&hello_bytes(&nonce, &institution), &signature)
        .map_err(|_| Refusal::new(Code::SignatureWrong, "the hello is not signed by the key it names"))?;
    let row = registered(&shared.ground, &institution, &key).await?;
    let tenant = shared.ground.tenants.get(row.tenant)?;
    let address = Ground::address(tenant.id, &institution);
    let live = shared.links.connect(address, key).await.map_err(|no| match no {
        NotLetIn::Connected => {
            let seconds = shared.heartbeat_s.saturating_mul(3);
            Refusal::new(Code::AlreadyConnected, "another link of this institution is alive").after_s(seconds)
        }
        NotLetIn::Unknown(error) => people::unreachable(error),
    })?;
    let welcome = Opening::Welcome {
        heartbeat_s: shared.heartbeat_s,
        server_time_us: shared.ground.clock.now_us(),
        institution_name: row.name,
        platform_key: shared.hub().public_key(),
    };
    say(socket, &welcome).await?;
    tracing::info!(%institution, adapter_version, "an adapter is connected");
    Ok(Adapter { tenant, institution, live })
}

/// The institution for which this key is approved. A suspended one is let in too: its new bills and orders are refused,
/// but what is out has to be finished.
async fn registered(
    ground: &Ground,
    institution: &InstitutionCode,
    key: &PublicKey,
) -> Result<InstitutionRow, Refusal> {
    let wanted = key.clone();
    let rows = ground.read(move |store| store.institutions_by_key(&wanted)).await?;
    let mut rows: Vec<InstitutionRow> = rows.into_iter().filter(|row| row.code == *institution).collect();
    // Where one code is registered in two tenants, a suspension in one does not close the other.
    rows.sort_by_key(|row| row.suspended);
    let row = rows.into_iter().next();
    row.ok_or_else(|| Refusal::new(Code::KeyUnknown, "no institution of this code has this key approved"))
}

async fn say(socket: &mut Socket, word: &Opening) -> Result<(), Ended> {
    let text = serde_json::to_string(word)
        .map_err(|error| Refusal::new(Code::Internal, format!("the opening cannot be written: {error}")))?;
    socket.session.text(text).await.map_err(|_| Ended::Gone)
}

async fn hear(socket: &mut Socket) -> Result<Opening, Ended> {
    loop {
        match socket.messages.recv().await {
            Some(Ok(AggregatedMessage::Text(text))) => return Ok(faults::read(text.as_bytes())?),
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                socket.session.pong(&bytes).await.map_err(|_| Ended::Gone)?;
            }
            Some(Ok(AggregatedMessage::Pong(_))) => {}
            Some(Ok(AggregatedMessage::Binary(_))) => {
                return Err(Refusal::new(Code::Malformed, "a binary message during the opening").into());
            }
            Some(Ok(AggregatedMessage::Close(_))) | Some(Err(_)) | None => return Err(Ended::Gone),
        }
    }
}

/// Says why, and closes.
pub(super) async fn refuse(ended: Ended, mut socket: Socket) {
    match ended {
        Ended::Gone => tracing::debug!("an adapter went away during the opening"),
        Ended::Refused(refusal) => {
            tracing::info!(code = refusal.code.as_str(), detail = refusal.detail, "an opening was refused");
            let reason = CloseReason { code: CloseCode::Policy, description: Some(refusal.code.to_string()) };
            let _ = say(&mut socket, &Opening::Refused { problem: refusal.problem(None) }).await;
            let _ = socket.session.close(Some(reason)).await;
        }
    }
}
