//! Settings: `default.toml` (embedded) under `config.toml` under the environment. Every wrong value is named at once.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use schema::ids::InstitutionCode;
use serde::Deserialize;

/// The commented defaults; also the manual of the settings.
pub const DEFAULTS: &str = include_str!("default.toml");

/// The name of the settings file inside the adapter's directory.
pub const FILE: &str = "config.toml";

/// Everything that can be set. See `default.toml` for what each value means and for its unit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Who we are.
    pub institution: Institution,
    /// The conversation with the platform.
    pub link: Link,
    /// The face towards the HIS.
    pub http: Http,
    /// Work items.
    pub work: Work,
    /// Work items by callback.
    pub callback: Callback,
    /// What a bill must satisfy.
    pub bill: Bill,
    /// What is kept.
    pub journal: Journal,
    /// Logs.
    pub log: Log,
}

/// `[institution]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Institution {
    /// National code; checked by [`Settings::institution_code`].
    pub code: String,
}

/// `[link]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// URL of the platform's link.
    pub platform: String,
    /// Milliseconds for one attempt to connect.
    pub connect_timeout_ms: u64,
    /// Milliseconds before the first attempt to reconnect.
    pub reconnect_first_ms: u64,
    /// Most milliseconds between attempts, before jitter.
    pub reconnect_most_ms: u64,
    /// Milliseconds before an unanswered ask is sent again.
    pub resend_ms: u64,
    /// Milliseconds that the HIS waits for an answer of the platform.
    pub answer_wait_ms: u64,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whether `listen` may be reachable from other machines.
    pub beyond_loopback: bool,
    /// Largest request body in bytes.
    pub body_most_bytes: usize,
}

/// `[work]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Milliseconds after which an unanswered item is offered again.
    pub again_ms: u64,
}

/// `[callback]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// URL of the HIS; empty for none.
    pub url: String,
    /// Milliseconds for one callback.
    pub timeout_ms: u64,
    /// Milliseconds before the first repetition.
    pub retry_first_ms: u64,
    /// Most milliseconds between repetitions, before jitter.
    pub retry_most_ms: u64,
    /// How many run at once.
    pub at_once: usize,
}

/// `[bill]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bill {
    /// Tolerance of a line's amount against price × count, in fen.
    pub tolerance_fen: i64,
}

/// `[journal]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Days for which answered rows are kept.
    pub keep_days: u32,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// tracing filter.
    pub filter: String,
}

/// The settings cannot be used; one line per fault.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the settings are wrong / 配置有误:\n{}", faults.join("\n"))]
pub struct WrongSettings {
    /// What is wrong, each with the name of the setting.
    pub faults: Vec<String>,
}

impl Settings {
    /// Reads the settings of the adapter that lives in `dir`.
    pub fn load(dir: &Path) -> Result<Settings, WrongSettings> {
        let figment = Figment::from(Toml::string(DEFAULTS))
            .merge(Toml::file_exact(dir.join(FILE)))
            .merge(Env::prefixed("TONGFU_ADAPTER_").split("__"));
        let settings: Settings = figment
            .extract()
            .map_err(|error| WrongSettings { faults: error.into_iter().map(|one| one.to_string()).collect() })?;
        settings.check()?;
        Ok(settings)
    }

    /// The institution's code; [`Settings::load`] has checked it.
    pub fn institution_code(&self) -> InstitutionCode {
        self.institution.code.parse().expect("settings are only handed out after their code was checked")
    }

    /// Checks values that were changed after loading.
    pub fn check(&self) -> Result<(), WrongSettings> {
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(WrongSettings { faults }) }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Err(error) = self.institution.code.parse::<InstitutionCode>() {
            faults.push(format!("institution.code: {error}"));
        }
        if let Some(fault) = platform_url_fault(&self.link.platform) {
            faults.push(format!("link.platform: {fault}"));
        }
        if !self.http.listen.ip().is_loopback() && !self.http.beyond_loopback {
            faults.push(
                "http.listen: other machines could reach it; set http.beyond_loopback = true if that is meant / \
                 监听地址可被其他机器访问，如确需如此请设置 http.beyond_loopback = true"
                    .to_owned(),
            );
        }
        if !(1024..=800_000).contains(&self.http.body_most_bytes) {
            faults.push("http.body_most_bytes: must be 1024 to 800000".to_owned());
        }
        if !self.callback.url.is_empty() && reqwest::Url::parse(&self.callback.url).is_err() {
            faults.push("callback.url: is not a URL".to_owned());
        }
        for (name, value) in [
            ("link.connect_timeout_ms", self.link.connect_timeout_ms),
            ("link.reconnect_first_ms", self.link.reconnect_first_ms),
            ("link.reconnect_most_ms", self.link.reconnect_most_ms),
            ("link.resend_ms", self.link.resend_ms),
            ("link.answer_wait_ms", self.link.answer_wait_ms),
            ("work.again_ms", self.work.again_ms),
            ("callback.timeout_ms", self.callback.timeout_ms),
            ("callback.retry_first_ms", self.callback.retry_first_ms),
            ("callback.retry_most_ms", self.callback.retry_most_ms),
        ] {
            if !(10..=3_600_000).contains(&value) {
                faults.push(format!("{name}: must be 10 to 3600000"));
            }
        }
        if !(1..=256).contains(&self.callback.at_once) {
            faults.push("callback.at_once: must be 1 to 256".to_owned());
        }
        if !(0..=1000).contains(&self.bill.tolerance_fen) {
            faults.push("bill.tolerance_fen: must be 0 to 1000".to_owned());
        }
        if !(1..=3650).contains(&self.journal.keep_days) {
            faults.push("journal.keep_days: must be 1 to 3650".to_owned());
        }
        if tracing_subscriber::EnvFilter::try_new(&self.log.filter).is_err() {
            faults.push("log.filter: is not a tracing filter".to_owned());
        }
        faults
    }
}

/// Milliseconds as a duration.
pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What is wrong with a platform URL, if anything. Plain `ws://` would show bills to the network, so it is for
/// loopback only.
pub fn platform_url_fault(text: &str) -> Option<&'static str> {
    let Ok(url) = reqwest::Url::parse(text) else {
        return Some("is not a URL such as wss://host/link/v1 / 不是有效地址");
    };
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "wss" if !host.is_empty() => None,
        "ws" if loopback => None,
        "ws" => Some("plain ws:// is for loopback only, use wss:// / 非本机地址必须使用 wss://"),
        _ => Some("must begin with wss:// / 必须以 wss:// 开头"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(config: &str) -> Result<Settings, WrongSettings> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), config).expect("a file");
        Settings::load(dir.path())
    }

    #[test]
    fn institution_and_platform_are_all_that_must_be_said() {
        let settings =
            load("[institution]\ncode = \"H44190000001\"\n[link]\nplatform = \"wss://pay.example/link/v1\"\n")
                .expect("enough");
        assert!(settings.http.listen.ip().is_loopback());
    }

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let error = load(
            "[institution]\ncode = \"X1\"\n[link]\nplatform = \"ws://pay.example/link/v1\"\nresend_ms = 1\n\
             [http]\nlisten = \"0.0.0.0:1\"\n",
        )
        .expect_err("wrong");
        let text = error.to_string();
        for name in ["institution.code", "link.platform", "link.resend_ms", "http.listen"] {
            assert!(text.contains(name), "{name} in {text}");
        }
    }

    #[test]
    fn an_unknown_setting_is_a_fault_and_not_a_silent_default() {
        let error =
            load("[institution]\ncode = \"H44190000001\"\n[link]\nplatform = \"wss://a/link/v1\"\nresend = 5\n")
                .expect_err("unknown");
        assert!(error.to_string().contains("resend"), "{error}");
    }
}
