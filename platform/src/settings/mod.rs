//! Settings: default file → file → environment. A wrong value refuses to start and is named with all other wrong ones.

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use schema::refusal::Fault;
use serde::{Deserialize, Serialize};

use crate::domain::deadline::Rules;

pub mod events;

/// The default file, which is also the documentation of every setting.
pub const DEFAULT: &str = include_str!("default.toml");

/// Everything that can be set. `default.toml` explains each value.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// HTTP.
    pub http: Http,
    /// Record of truth.
    pub store: Url,
    /// Ephemeral state.
    pub ephemeral: Ephemeral,
    /// Events for reconciliation.
    pub events: Url,
    /// Keys.
    pub keys: Keys,
    /// Deadlines of the order's life.
    pub deadlines: Rules,
    /// Limits.
    pub limits: Limits,
}

/// `[http]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port.
    pub listen: String,
    /// Address for callbacks; empty for the address listened on.
    pub public_url: String,
    /// Worker threads; 0 for one per core.
    pub workers: usize,
}

/// A section that is one URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Url {
    /// The URL; its scheme chooses the engine.
    pub url: String,
}

/// `[ephemeral]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ephemeral {
    /// The URL; its scheme chooses the engine.
    pub url: String,
    /// How long one look at it may take, in milliseconds.
    pub timeout_ms: u64,
}

/// `[keys]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The file with the master secret.
    pub master_file: String,
}

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// One call to a party, in milliseconds.
    pub party_timeout_ms: u64,
    /// One question on the link, in milliseconds.
    pub link_timeout_ms: u64,
    /// Calls under way per bureau.
    pub bureau_calls: usize,
    /// Questions under way per institution.
    pub institution_calls: usize,
    /// Wrong codes until void.
    pub code_tries: u32,
    /// Codes per phone and day, of each kind.
    pub codes_per_day: u32,
    /// Life of a login code, in milliseconds.
    pub login_code_ms: i64,
    /// Life of a session, in milliseconds.
    pub session_ms: i64,
    /// Age after which 1101 is asked again at payment, in milliseconds.
    pub recheck_person_ms: i64,
    /// Login codes of one channel in a minute.
    pub login_codes_per_minute: u32,
    /// Requests from outside that may wait at the desk.
    pub desk_queue: usize,
    /// Events in one commit.
    pub desk_batch: usize,
    /// How long Kafka may leave records unconfirmed, in milliseconds.
    pub events_timeout_ms: u64,
}

/// Calls under way at one outsider: beyond this it is no back-pressure any more.
const CALLS_MAX: usize = 1000;

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WrongSettings {
    /// A file does not parse, a value has the wrong type, or a name is unknown.
    #[error("{0}")]
    Unreadable(Box<figment::Error>),
    /// Values that make no sense, all of them.
    #[error("{}", list(.0))]
    Wrong(Vec<Fault>),
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{}: {} / {}", fault.at, fault.zh, fault.en)).collect::<Vec<_>>().join("\n")
}

/// Reads the settings; `file` overrides the default, the environment overrides both.
pub fn read(file: Option<&Path>) -> Result<Settings, WrongSettings> {
    let mut figment = Figment::from(Toml::string(DEFAULT));
    if let Some(file) = file {
        figment = figment.merge(Toml::file_exact(file));
    }
    let settings: Settings = figment
        .merge(Env::prefixed("TONGFU__").split("__"))
        .extract()
        .map_err(|error| WrongSettings::Unreadable(Box::new(error)))?;
    let faults = settings.faults();
    if faults.is_empty() { Ok(settings) } else { Err(WrongSettings::Wrong(faults)) }
}

impl Settings {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut unless = |holds: bool, at: &str, zh: &str, en: &str| {
            if !holds {
                faults.push(Fault::new(at, zh, en));
            }
        };
        let d = &self.deadlines;
        for (at, value) in [
            ("deadlines.price_ms", d.price_ms),
            ("deadlines.ask_again_ms", d.ask_again_ms),
            ("deadlines.collect_ms", d.collect_ms),
            ("deadlines.ask_wallet_ms", d.ask_wallet_ms),
            ("deadlines.tell_ms", d.tell_ms),
            ("deadlines.patience_ms", d.patience_ms),
            ("deadlines.refund_ms", d.refund_ms),
            ("deadlines.bureau_limit_ms", d.bureau_limit_ms),
            ("deadlines.after_reversal_ms", d.after_reversal_ms),
        ] {
            unless(value > 0, at, "须大于0", "must be above 0");
        }
        unless(
            (1..=1_800_000).contains(&d.priced_ms),
            "deadlines.priced_ms",
            "须在1毫秒至30分钟之间",
            "must be at most 30 minutes",
        );
        unless((1..=300_000).contains(&d.code_ms), "deadlines.code_ms", "须不超过300秒", "must be at most 300 seconds");
        unless((1..=10).contains(&d.code_sends), "deadlines.code_sends", "须为1至10", "must be 1 to 10");
        unless((1..=5).contains(&self.limits.code_tries), "limits.code_tries", "须为1至5", "must be 1 to 5");
        unless(self.limits.login_codes_per_minute > 0, "limits.login_codes_per_minute", "须大于0", "must be above 0");
        unless(self.limits.desk_batch > 0, "limits.desk_batch", "须大于0", "must be above 0");
        unless(self.limits.desk_queue > 0, "limits.desk_queue", "须大于0", "must be above 0");
        let limits = &self.limits;
        for (at, value) in
            [("limits.bureau_calls", limits.bureau_calls), ("limits.institution_calls", limits.institution_calls)]
        {
            unless((1..=CALLS_MAX).contains(&value), at, "须为1至1000", "must be 1 to 1000");
        }
        for (at, holds) in [
            ("limits.party_timeout_ms", limits.party_timeout_ms > 0),
            ("limits.link_timeout_ms", limits.link_timeout_ms > 0),
            ("limits.codes_per_day", limits.codes_per_day > 0),
            ("limits.login_code_ms", limits.login_code_ms > 0),
            ("limits.session_ms", limits.session_ms > 0),
        ] {
            unless(holds, at, "须大于0", "must be above 0");
        }
        unless(limits.recheck_person_ms >= 0, "limits.recheck_person_ms", "不得小于0", "must be 0 or above");
        unless(
            ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| self.store.url.starts_with(scheme)),
            "store.url",
            "须以 sqlite: 或 postgres:// 开头",
            "must begin with sqlite: or postgres://",
        );
        unless(
            self.ephemeral.url == "memory:" || self.ephemeral.url.starts_with("redis://"),
            "ephemeral.url",
            "须为 memory: 或以 redis:// 开头",
            "must be memory: or begin with redis://",
        );
        unless(
            self.ephemeral.url != "memory:" || !self.store.url.starts_with("postgres"),
            "ephemeral.url",
            "PostgreSQL可由多个进程共用，此时临时状态须为 redis://，否则各进程的验证码、次数与在线状态互不相见",
            "must be redis:// where the store is PostgreSQL, which several processes may share: each would have codes, \
             tries and links of its own",
        );
        unless(self.ephemeral.timeout_ms > 0, "ephemeral.timeout_ms", "须大于0", "must be above 0");
        unless(self.limits.events_timeout_ms > 0, "limits.events_timeout_ms", "须大于0", "must be above 0");
        unless(
            self.http.listen.parse::<std::net::SocketAddr>().is_ok(),
            "http.listen",
            "须为 地址:端口",
            "must be address:port",
        );
        faults.extend(self.events.url.parse::<events::EventsUrl>().err());
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_sound() {
        assert!(read(None).is_ok());
    }

    #[test]
    fn every_wrong_value_is_named_at_once() {
        let mut settings = read(None).expect("the default is sound");
        settings.deadlines.code_ms = 301_000;
        settings.deadlines.price_ms = 0;
        settings.http.listen = "nowhere".into();
        settings.events.url = "kafka://nowhere".into();
        let places: Vec<String> = settings.faults().into_iter().map(|fault| fault.at).collect();
        assert_eq!(places, ["deadlines.price_ms", "deadlines.code_ms", "http.listen", "events.url"]);
    }

    #[test]
    fn what_processes_share_is_not_in_the_memory_of_one() {
        let mut settings = read(None).expect("the default is sound");
        settings.store.url = "postgresql://localhost/tongfu".into();
        let places = |settings: &Settings| settings.faults().into_iter().map(|fault| fault.at).collect::<Vec<_>>();
        assert_eq!(places(&settings), ["ephemeral.url"]);
        settings.ephemeral.url = "redis://localhost".into();
        assert_eq!(places(&settings), Vec::<String>::new());
    }

    #[test]
    fn every_limit_has_a_range_and_its_ends_are_sound() {
        type Set = fn(&mut Limits, i64);
        fn positive(value: i64) -> u64 {
            u64::try_from(value).unwrap_or(0)
        }
        let above_0: i64 = i64::from(u32::MAX);
        let ranges: [(&str, Set, i64, i64); 9] = [
            ("limits.party_timeout_ms", |limits, value| limits.party_timeout_ms = positive(value), 1, above_0),
            ("limits.link_timeout_ms", |limits, value| limits.link_timeout_ms = positive(value), 1, above_0),
            ("limits.codes_per_day", |limits, value| limits.codes_per_day = positive(value) as u32, 1, above_0),
            ("limits.login_code_ms", |limits, value| limits.login_code_ms = value, 1, above_0),
            ("limits.session_ms", |limits, value| limits.session_ms = value, 1, above_0),
            ("limits.recheck_person_ms", |limits, value| limits.recheck_person_ms = value, 0, above_0),
            ("limits.bureau_calls", |limits, value| limits.bureau_calls = positive(value) as usize, 1, 1000),
            ("limits.institution_calls", |limits, value| limits.institution_calls = positive(value) as usize, 1, 1000),
            ("limits.code_tries", |limits, value| limits.code_tries = positive(value) as u32, 1, 5),
        ];
        for (at, set, least, most) in ranges {
            let wrong = |value: i64| {
                let mut settings = read(None).expect("the default is sound");
                set(&mut settings.limits, value);
                settings.faults().into_iter().map(|fault| fault.at).collect::<Vec<_>>()
            };
            assert_eq!(wrong(least - 1), [at], "{}", least - 1);
            for value in [least, most] {
                assert_eq!(wrong(value), Vec::<String>::new(), "{at} = {value}");
            }
            if most < above_0 {
                assert_eq!(wrong(most + 1), [at], "{}", most + 1);
            }
        }
    }
}
