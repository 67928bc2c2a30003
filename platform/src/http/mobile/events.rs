//! `GET /events`: the bell that wakes a phone. What rang is looked up by GET; a bell that was missed is made good the
//! same way.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use futures_util::stream;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::ephemeral::bells::{Heard, Listener};
use crate::http::Shared;
use crate::http::answer::Answer;
use crate::http::caller::Caller;

/// A comment is sent this often, so that everybody on the way knows that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A stream that lasts longer is begun anew.
const LONGEST: Duration = Duration::from_secs(86_400);

/// 变化通知（服务器推送事件） / server-sent events: when to look again
///
/// One `Bell` per `data:` line. `event: resync` says that some were missed: look at everything.
#[utoipa::path(
    get, path = "/mobile/v1/events", tag = "events", security(("session" = [])),
    responses(
        (status = 200, description = "Bells, until the session ends", body = String, content_type = "text/event-stream"),
    ),
)]
pub(in crate::http) async fn events(shared: Data<Shared>, caller: Caller) -> Answer {
    let left_us = caller.expires_at_us.saturating_sub(shared.ground.clock.now_us());
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ear = Ear {
        bells: shared.ground.ephemeral.listen(caller.tenant.id, caller.user),
        heartbeat,
        ends: Instant::now() + Duration::from_micros(u64::try_from(left_us).unwrap_or(0)).min(LONGEST),
        shared: shared.into_inner(),
        greeted: false,
    };
    let stream = stream::unfold(ear, |mut ear| async move {
        let bytes = ear.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), ear))
    });
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(stream))
}

struct Ear {
    bells: Listener,
    heartbeat: Interval,
    ends: Instant,
    shared: Arc<Shared>,
    greeted: bool,
}

impl Ear {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(b"retry: 2000\n: listening\n\n"));
        }
        tokio::select! {
            heard = self.bells.next() => match heard? {
                Heard::Bell(bell) => {
                    let data = serde_json::to_string(&bell).ok()?;
                    Some(Bytes::from(format!("data: {data}\n\n")))
                }
                Heard::Missed => Some(Bytes::from_static(b"event: resync\ndata: {}\n\n")),
            },
            _ = self.heartbeat.tick() => Some(Bytes::from_static(b": heartbeat\n\n")),
            () = tokio::time::sleep_until(self.ends) => None,
            () = self.shared.stopped() => None,
        }
    }
}
