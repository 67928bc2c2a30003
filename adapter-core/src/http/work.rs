//! What the platform wants of the HIS: fetched by long poll, answered by id.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use schema::his::{WorkAnswer, WorkItem};
use schema::ids::MessageId;
use schema::refusal::{Code, Fault, Refusal};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::body;
use super::problem::Refused;
use super::trace::{HEADER, Trace};
use crate::core::Core;
use crate::settings::ms;
use crate::work_answer::{self, Given};

/// The answer is durable; the first one counts, and every repeat is acknowledged with these same words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkAcknowledged {
    /// The item.
    #[schema(value_type = String, format = Uuid)]
    id: MessageId,
    /// When its first answer came: microseconds UTC.
    answered_at_us: i64,
}

/// The refusal spoke of the moment, not of the question: it is not kept, and the item is offered again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkPutBack {
    /// The item.
    #[schema(value_type = String, format = Uuid)]
    id: MessageId,
    /// It is offered again after this many milliseconds, under the same id.
    offered_again_after_ms: u64,
    /// What that means, in Chinese.
    title: &'static str,
    /// The same in English.
    title_en: &'static str,
}

/// `?wait_s=25&most=10`
#[derive(Debug, Deserialize)]
pub(crate) struct Poll {
    wait_s: Option<String>,
    most: Option<String>,
}

/// 长轮询取任务 / long poll for what the platform wants
///
/// Items stay on offer, with the same id, until answered.
#[utoipa::path(
    get, path = "/his/v1/work", tag = "work",
    params(
        ("wait_s" = Option<u64>, Query, description = "最多等待秒数 / seconds to wait, 0 to 60, default 25"),
        ("most" = Option<u64>, Query, description = "最多条数 / most items, 1 to 100, default 10"),
    ),
    responses(
        (status = 200, body = Vec<WorkItem>),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn poll(core: web::Data<Core>, trace: Trace, poll: web::Query<Poll>) -> Result<HttpResponse, Refused> {
    let mut faults = Vec::new();
    let mut number = |at: &str, text: &Option<String>, default: u64, range: std::ops::RangeInclusive<u64>| {
        let Some(text) = text else { return default };
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = (range.start(), range.end());
                faults.push(Fault::new(at, format!("须为{low}至{high}的整数"), format!("must be {low} to {high}")));
                default
            }
        }
    };
    let wait_s = number("wait_s", &poll.wait_s, 25, 0..=60);
    let most = number("most", &poll.most, 10, 1..=100);
    if !faults.is_empty() {
        return Err(Refused::new(&Refusal::faulty(Code::Invalid, faults), &trace));
    }
    let quiet = ms(core.settings.work.again_ms);
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    let items: Vec<Arc<WorkItem>> = tokio::select! {
        items = core.work.wait(usize::try_from(most).unwrap_or(10), quiet, deadline) => items,
        () = core.stopped() => Vec::new(),
    };
    Ok(HttpResponse::Ok().json(items.iter().map(AsRef::as_ref).collect::<Vec<&WorkItem>>()))
}

/// 答复任务 / answers an item
///
/// The first answer counts; repeats get the first acknowledgement.
///
/// A refusal is final like every answer, unless it says "not now": with `again` `later`, or code `INTERNAL` or
/// `OUTCOME_UNKNOWN`, it is acknowledged with 202 and not kept, and the item is offered again after `retry_after_s` (at
/// most 300), or after the adapter's `work.again_ms`.
#[utoipa::path(
    post, path = "/his/v1/work/{id}/answer", tag = "work",
    params(("id" = String, Path, description = "任务编号 / the item's id")),
    request_body = WorkAnswer,
    responses(
        (status = 200, description = "已保存 / durable", body = WorkAcknowledged),
        (status = 202, description = "未保存，稍后再次下发 / not kept, offered again", body = WorkPutBack),
        (status = "5XX", description = "稍后重试 / try again", body = schema::refusal::Problem),
    ),
)]
pub(crate) async fn answer(
    core: web::Data<Core>,
    trace: Trace,
    id: web::Path<String>,
    body: web::Payload,
) -> Result<HttpResponse, Refused> {
    let refused = |refusal: Refusal| Refused::new(&refusal, &trace);
    let Ok(id) = id.parse::<MessageId>() else {
        return Err(Refused::code(Code::NotFound, "the id is no uuid", &trace));
    };
    let answer: WorkAnswer = body::read(&core, body).await.map_err(refused)?;
    let done = match work_answer::give(&core, id, answer.reply).await.map_err(refused)? {
        Given::Kept(done) => done,
        Given::PutBack(wait) => {
            return Ok(HttpResponse::Accepted().json(WorkPutBack {
                id,
                offered_again_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                title: "未作为最终答复保存：该任务将再次下发，请届时重新答复。",
                title_en: "Not kept as the answer: the item is offered again, and is to be answered then.",
            }));
        }
    };
    let mut response = HttpResponse::Ok();
    if let Some(work_trace) = &done.trace_id {
        response.insert_header((HEADER, work_trace.as_str()));
    }
    Ok(response.json(WorkAcknowledged { id, answered_at_us: done.answered_us }))
}
