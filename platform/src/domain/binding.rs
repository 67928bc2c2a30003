//! What a binding lets its holder do.

use schema::ids::BindingId;
use schema::refusal::{Code, Refusal};
use schema::seal::Lookup;
use serde::{Deserialize, Serialize};

/// Level 1: identity matches; may look and pay cash. Level 2: card and password were proved; may spend insurance.
pub const LEVEL_INSURED: i16 = 2;

/// A binding as the desk sees it in the commit that would spend insured money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingFacts {
    /// Id.
    pub id: BindingId,
    /// Grows with every change that must stop money: a loss, an unbinding, a new proof.
    pub epoch: i64,
    /// 1 or 2.
    pub level: i16,
    /// Frozen here after a loss report, or unbound.
    pub frozen: bool,
    /// The insured person: keyed hash of (insuplc_admdvs, psn_no).
    pub person: Lookup,
}

impl BindingFacts {
    /// Refuses unless insured money may be spent under this binding as it was when the order was opened.
    pub fn may_spend(&self, epoch: i64) -> Result<(), Refusal> {
        if self.frozen || self.epoch != epoch {
            return Err(Refusal::new(
                Code::BindingFrozen,
                format!("binding {} is frozen or at epoch {}, wanted {epoch}", self.id, self.epoch),
            ));
        }
        if self.level < LEVEL_INSURED {
            return Err(Refusal::new(
                Code::BindingLevelTooLow,
                format!("binding {} is at level {}", self.id, self.level),
            ));
        }
        Ok(())
    }
}
