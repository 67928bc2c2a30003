//! The adapter link as a party: institutions are asked, wherever their link is. The socket is http's.
//!
//! [`hub`] has the links of this process: who is connected, what was asked, which answer belongs to which question.
//! [`across`] reaches those of other processes, and sees to it that an institution has one link over all of them.

use std::time::Duration;

use async_trait::async_trait;
use schema::ids::{InstitutionCode, MessageId, TenantId};
use schema::link::{Reply, ToInstitution};
use serde::{Deserialize, Serialize};

use crate::parties::answer::{Answer, Refused};

pub mod across;
pub mod hub;

/// Asks institutions.
#[async_trait]
pub trait Links: Send + Sync {
    /// Asks one institution. A repeat carries the same message id and gets the first answer.
    ///
    /// `Refused` only in the institution's own words (without numbers that name a person; names are only known to
    /// whoever knows the bill), or with code `OFFLINE` when no link is up: then nothing was sent.
    /// `Unknown` where no answer came within `timeout`, or one that says that their system failed: it may have been
    /// heard.
    async fn ask(
        &self,
        to: &Address,
        message: MessageId,
        trace_id: Option<String>,
        ask: ToInstitution,
        timeout: Duration,
    ) -> Answer<Reply>;
}

/// An institution on the link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub institution: InstitutionCode,
}

const OFFLINE: &str = "OFFLINE";

fn offline() -> Answer<Reply> {
    Answer::Refused(Refused { code: OFFLINE.into(), words: "医院系统暂时未连接".into(), busy: true })
}
