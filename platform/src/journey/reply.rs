//! What an institution is answered on the link to what it asks. The answer to a change is kept under the ask's message
//! id by the commit that makes the change.

use std::sync::Arc;

use schema::his::ClaimAnswer;
use schema::link::Reply;
use schema::refusal::{Code, Refusal};

use super::desk::{Outcome, Render};
use super::refund;

/// The reply to a change, written inside its commit. What has changed nothing is not kept: asked again, "in progress"
/// and "already paid" may have become another answer.
pub fn render() -> Render {
    Arc::new(|outcome| match outcome {
        Outcome::Bill(_, false)
        | Outcome::Claimed(ClaimAnswer::InProgress { .. } | ClaimAnswer::AlreadyPaid { .. }) => None,
        outcome => written(&said(outcome)?).ok(),
    })
}

/// The reply to an ask that the desk has decided.
pub fn of(outcome: Outcome) -> Result<Reply, Refusal> {
    match outcome {
        Outcome::Answer(reply) | Outcome::Repeated(reply) => kept(&reply),
        Outcome::Refused(refusal) => Err(refusal),
        other => said(&other)
            .ok_or_else(|| Refusal::new(Code::Internal, format!("the desk answered {other:?} to an institution"))),
    }
}

/// A reply as it was kept.
pub fn kept(reply: &[u8]) -> Result<Reply, Refusal> {
    serde_json::from_slice(reply)
        .map_err(|error| Refusal::new(Code::Internal, format!("a kept answer does not read back: {error}")))
}

/// A reply as it is kept.
pub fn written(reply: &Reply) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(reply)
        .map_err(|error| Refusal::new(Code::Internal, format!("an answer cannot be written: {error}")))
}

fn said(outcome: &Outcome) -> Option<Reply> {
    match outcome {
        Outcome::Bill(..) => Some(Reply::Done),
        Outcome::Claimed(answer) => Some(Reply::Claimed(*answer)),
        Outcome::Granted(refund) => Some(Reply::Refund(refund::view(refund))),
        Outcome::Order(_) | Outcome::Answer(_) | Outcome::Repeated(_) | Outcome::Done | Outcome::Refused(_) => None,
    }
}
