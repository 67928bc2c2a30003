//! The bureau's settings: cities with their policy, dialect, latency. `data/bureau.toml` is the default.

use std::collections::BTreeMap;
use std::path::Path;

use figment::Figment;
use figment::providers::{Format, Toml};
use schema::money::{Fen, Price6, Ratio4};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policy::{Employment, OutpatientRule};

const DEFAULT: &str = include_str!("../../data/bureau.toml");

/// Everything that may be set. A file replaces the tables it names and keeps the rest of the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How this bureau differs from the next one.
    pub dialect: Dialect,
    /// How slow it is.
    pub latency: Latency,
    /// The insured areas it answers for.
    pub city: Vec<City>,
}

/// What differs between provinces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// `fund_pay_sumamt` contains the account's share (Guangdong) or not (Hunan).
    pub fund_pay_sumamt_includes_acct: bool,
    /// 5203 also finds by `mdtrt_id` with an empty `setl_id`.
    pub query_by_mdtrt_id: bool,
    /// Every message but 9001 needs the `sign_no` of a 9001 of the same institution and day.
    pub sign_in_required: bool,
    /// A 2601 about something unknown is an error instead of a success.
    pub not_found_is_an_error: bool,
    /// Amounts are JSON strings instead of numbers.
    pub amounts_as_strings: bool,
    /// `infcode` is a JSON string instead of a number.
    pub infcode_as_string: bool,
    /// Errors answer infcode 0 with a non-empty `err_msg`, as was seen in Hunan.
    pub errors_answer_infcode_zero: bool,
}

impl Dialect {
    /// An amount as this dialect writes yuan.
    pub fn yuan(&self, amount: Fen) -> Value {
        self.number(amount.to_yuan())
    }

    /// A unit price (N16,6).
    pub fn price(&self, price: Price6) -> Value {
        self.number(price.to_string())
    }

    /// A ratio (N5,4).
    pub fn ratio(&self, ratio: Ratio4) -> Value {
        self.number(ratio.to_string())
    }

    /// A decimal text as a JSON number with the same text, or as a string.
    pub fn number(&self, text: String) -> Value {
        if self.amounts_as_strings {
            return Value::String(text);
        }
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }
}

/// Artificial slowness; all zero by default. Half of the time passes before the work and half after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Milliseconds for every message.
    pub base_ms: u64,
    /// Milliseconds for single messages, by number; replaces `base_ms`.
    #[serde(default)]
    pub by_infno_ms: BTreeMap<String, u64>,
    /// More messages than this at once are refused as busy; 0 means no limit.
    pub max_concurrent: usize,
}

/// One insured area (统筹区).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct City {
    /// 6 digits; areas with the same first four belong to it.
    pub admdvs: String,
    /// Its name.
    pub name: String,
    /// `clr_optins` of every settlement of its insured.
    pub clr_optins: String,
    /// `clr_way`.
    pub clr_way: String,
    /// `clr_type` of outpatient settlements.
    pub clr_type: String,
    /// Scales every ratio when the institution lies in another city.
    pub out_of_area_factor: Ratio4,
    /// The policy.
    pub outpatient: Vec<OutpatientRule>,
}

impl City {
    /// The policy row for an insurance, if the city has one.
    pub fn rule(&self, insutype: &str, employment: Employment) -> Option<&OutpatientRule> {
        self.outpatient.iter().find(|rule| rule.insutype == insutype && rule.employment == employment)
    }
}

impl Config {
    /// The default: two fictional cities, 449100 东湾市 (after Dongguan) and 429100 恩江州 (after Enshi).
    pub fn builtin() -> Config {
        Figment::from(Toml::string(DEFAULT)).extract().expect("data/bureau.toml is read by a test")
    }

    /// The default with a TOML file over it.
    pub fn load(file: &Path) -> Result<Config, Box<figment::Error>> {
        Figment::from(Toml::string(DEFAULT)).merge(Toml::file_exact(file)).extract().map_err(Box::new)
    }

    /// The city an area code belongs to: the same code, else the same first four digits.
    pub fn city_of(&self, admdvs: &str) -> Option<&City> {
        let same_city = |city: &&City| city.admdvs.get(..4) == admdvs.get(..4);
        self.city.iter().find(|city| city.admdvs == admdvs).or_else(|| self.city.iter().find(same_city))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_whole_and_an_own_file_changes_only_what_it_names() {
        let builtin = Config::builtin();
        assert_eq!(builtin.city.len(), 2);
        let file = std::env::temp_dir().join(format!("tongfu-bureau-config-{}.toml", std::process::id()));
        std::fs::write(&file, "[dialect]\nfund_pay_sumamt_includes_acct = false\n").expect("writable");
        let own = Config::load(&file).expect("readable");
        std::fs::write(&file, "[dialect]\nfund_pay = false\n").expect("writable");
        let wrong = Config::load(&file);
        std::fs::remove_file(&file).expect("removable");
        assert!(!own.dialect.fund_pay_sumamt_includes_acct);
        assert_eq!((own.city, own.latency), (builtin.city, builtin.latency));
        assert!(wrong.is_err(), "an unknown setting must be refused");
    }

    #[test]
    fn numbers_keep_their_text() {
        let mut dialect = Config::builtin().dialect;
        assert_eq!(dialect.yuan(Fen::new(579_253)).to_string(), "5792.53");
        dialect.amounts_as_strings = true;
        assert_eq!(dialect.yuan(Fen::new(50)), Value::from("0.50"));
    }
}
