//! What a hospital is: its names, and how it reaches the bureau and its adapter.

use schema::ids::InstitutionCode;
use serde::{Deserialize, Serialize};

use crate::bureau::HospLevel;

/// One hospital.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hospital {
    /// National institution code.
    pub code: InstitutionCode,
    /// Its name.
    pub name: String,
    /// Where it lies (`mdtrtarea_admvs`), 6 digits.
    pub admdvs: String,
    /// Its level, which decides the ratio.
    pub level: HospLevel,
    /// The bureau's address.
    pub bureau_url: String,
    /// Its own credential at the bureau's gateway, not the platform's.
    pub paasid: String,
    /// The secret that goes with it.
    pub secret: String,
    /// Whether the bureau wants a 9001 first.
    #[serde(default)]
    pub sign_in: bool,
    /// Its adapter's address.
    pub adapter_url: String,
    /// The adapter's key for the HIS.
    pub adapter_api_key: String,
    /// How long its bills can be paid, in seconds.
    #[serde(default = "one_day")]
    pub bill_lives_s: u32,
}

fn one_day() -> u32 {
    86_400
}
