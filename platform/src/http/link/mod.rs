//! The link's socket. [`opening`] lets an adapter in, [`conversation`] speaks with it until one side is
//! gone, [`asks`] answers what it asks. The protocol's memory is `parties::link`.

mod asks;
mod conversation;
mod opening;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schema::link::MOST_FRAME_BYTES;
use tracing::Instrument as _;

use super::Shared;

/// `GET /link/v1`: becomes a WebSocket and stays one.
pub(super) async fn socket(
    shared: Data<Shared>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let (response, session, messages) = actix_ws::handle(&request, payload)?;
    let messages =
        messages.max_frame_size(MOST_FRAME_BYTES).aggregate_continuations().max_continuation_size(MOST_FRAME_BYTES);
    let shared = shared.into_inner();
    actix_web::rt::spawn(
        async move {
            let mut socket = conversation::Socket { session, messages };
            match opening::welcome(&shared, &mut socket).await {
                Ok(adapter) => conversation::run(&shared, adapter, socket).await,
                Err(ended) => opening::refuse(ended, socket).await,
            }
        }
        .instrument(tracing::info_span!("link")),
    );
    Ok(response)
}
