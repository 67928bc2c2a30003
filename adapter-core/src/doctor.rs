//! `doctor`: finds what keeps an adapter from working, and writes the sentence for whoever can mend it.
//!
//! It changes nothing that is there, apart from keeping the platform's key at first contact as `run` would do. Beside
//! a running adapter it can be used at any time: the platform then refuses the second connection, and that the refusal
//! came is itself the proof that the way is open.

use std::net::ToSocketAddrs as _;
use std::path::PathBuf;
use std::time::Duration;

use schema::refusal::Code;
use schema::sign::SigningKey;
use serde::Serialize;

use crate::clock::Clock;
use crate::journal;
use crate::keys::{Home, HomeFault, is_exposed};
use crate::link::{DialFault, Stage, Target, dial};
use crate::settings::{Settings, ms};

/// Clocks further apart than this make deadlines and logs misleading.
const CLOCK_MOST_US: i64 = 60_000_000;
/// Below this the journal may soon be unable to take bills.
const DISK_LEAST_BYTES: u64 = 200 * 1024 * 1024;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// True if nothing is broken.
    pub healthy: bool,
    /// One entry per thing that was looked at, in the order in which they depend on each other.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    /// A stable name: `settings`, `permissions`, `disk`, `journal`, `dns`, `tcp`, `tls`, `websocket`, `opening`,
    /// `clock`, `his`.
    pub name: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found and who can mend it.
    pub zh: String,
    /// The same in English.
    pub en: String,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Good.
    Ok,
    /// Works, but should be looked at.
    Warning,
    /// Broken.
    Fault,
    /// Could not be looked at, or does not apply.
    Skipped,
}

#[derive(Default)]
struct Findings(Vec<Check>);

impl Findings {
    fn add(&mut self, name: &'static str, verdict: Verdict, zh: impl Into<String>, en: impl Into<String>) {
        self.0.push(Check { name, verdict, zh: zh.into(), en: en.into() });
    }

    fn report(self) -> Report {
        let healthy = self.0.iter().all(|check| check.verdict != Verdict::Fault);
        Report { healthy, checks: self.0 }
    }
}

/// Looks at everything that an adapter in `home` needs.
pub async fn examine(home: &Home, clock: &dyn Clock) -> Report {
    let mut findings = Findings::default();
    let settings = match Settings::load(home.dir()) {
        Ok(settings) => {
            let institution = &settings.institution.code;
            findings.add("settings", Verdict::Ok, format!("配置有效（{institution}）。"), "The settings are valid.");
            Some(settings)
        }
        Err(wrong) => {
            let faults = wrong.faults.join("; ");
            let zh = format!("配置有误：{faults}。请改正 {}。", home.config().display());
            findings.add("settings", Verdict::Fault, zh, format!("The settings are wrong: {faults}."));
            None
        }
    };
    permissions(home, &mut findings);
    disk(home, &mut findings);
    let running = running(home);
    check_journal(home, &mut findings);
    match (settings, home.link_key()) {
        (Some(settings), Ok(key)) => {
            link(&settings, &key, home, running, clock, &mut findings).await;
            his(&settings, &mut findings).await;
        }
        (_, key) => {
            let why = key.err().map(|fault| fault.to_string()).unwrap_or_default();
            let zh = format!("未检查链路：须先解决以上问题。{why}");
            findings.add(
                "opening",
                Verdict::Skipped,
                zh,
                format!("The link was not tried: mend the above first. {why}"),
            );
        }
    }
    findings.report()
}

fn permissions(home: &Home, findings: &mut Findings) {
    let missing: Vec<PathBuf> = home.secrets().into_iter().filter(|path| !path.exists()).collect();
    let exposed: Vec<PathBuf> = home.secrets().into_iter().filter(|path| is_exposed(path)).collect();
    let names = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    if !missing.is_empty() {
        let names = names(&missing);
        findings.add(
            "permissions",
            Verdict::Fault,
            format!("缺少密钥文件：{names}。请先运行 init。"),
            format!("Key files are missing: {names}. Run init first."),
        );
    } else if !exposed.is_empty() {
        let names = names(&exposed);
        findings.add(
            "permissions",
            Verdict::Fault,
            format!("密钥文件可被他人读取：{names}。请执行 chmod 600。"),
            format!("Key files can be read by others: {names}. Run chmod 600 on them."),
        );
    } else {
        findings.add("permissions", Verdict::Ok, "密钥文件仅所有者可读。", "Only their owner can read the key files.");
    }
}

fn disk(home: &Home, findings: &mut Findings) {
    let shown = home.dir().display();
    if !home.dir().is_dir() {
        findings.add(
            "disk",
            Verdict::Fault,
            format!("目录 {shown} 不存在。请核对 --dir，或先运行 init。"),
            format!("There is no directory {shown}. Check --dir, or run init first."),
        );
        return;
    }
    let probe = home.file("doctor.probe");
    if let Err(error) = std::fs::write(&probe, b"probe").and_then(|()| std::fs::remove_file(&probe)) {
        findings.add(
            "disk",
            Verdict::Fault,
            format!("目录 {shown} 不可写（{error}）。请授予运行账户写权限。"),
            format!("{shown} cannot be written ({error}). Let the adapter's account write there."),
        );
        return;
    }
    match fs4::available_space(home.dir()) {
        Ok(bytes) if bytes < DISK_LEAST_BYTES => {
            let mib = bytes / (1024 * 1024);
            findings.add(
                "disk",
                Verdict::Fault,
                format!("磁盘仅剩 {mib} MiB，账单可能无法保存。请清理磁盘。"),
                format!("Only {mib} MiB of disk are left; bills may soon not be stored. Free some space."),
            );
        }
        Ok(bytes) => {
            let mib = bytes / (1024 * 1024);
            findings.add(
                "disk",
                Verdict::Ok,
                format!("目录可写，剩余 {mib} MiB。"),
                format!("Writable, {mib} MiB left."),
            );
        }
        Err(error) => findings.add(
            "disk",
            Verdict::Warning,
            format!("目录可写，但无法得知剩余空间（{error}）。"),
            format!("Writable, but the space left is not known ({error})."),
        ),
    }
}

/// Whether an adapter runs in this directory.
fn running(home: &Home) -> bool {
    home.config().exists() && matches!(home.lock(), Err(HomeFault::Locked { .. }))
}

fn check_journal(home: &Home, findings: &mut Findings) {
    let vault = match home.vault() {
        Ok(vault) => vault,
        Err(fault) => {
            let zh = format!("未检查本地日志库：无法读取其密钥（{fault}）。");
            findings.add("journal", Verdict::Skipped, zh, format!("Not looked at: its key cannot be read ({fault})."));
            return;
        }
    };
    match journal::check(&home.journal(), vault) {
        Ok(()) => findings.add("journal", Verdict::Ok, "本地日志库完好。", "The journal is whole."),
        Err(why) => findings.add(
            "journal",
            Verdict::Fault,
            format!("本地日志库无法读取（{why}）。请勿删除，联系平台技术支持。"),
            format!("The journal cannot be read ({why}). Do not delete it; contact support."),
        ),
    }
}

async fn link(
    settings: &Settings,
    key: &SigningKey,
    home: &Home,
    running: bool,
    clock: &dyn Clock,
    findings: &mut Findings,
) {
    let outcome = dial(&Target::new(settings, key, home)).await;
    let reached = outcome.as_ref().err().map_or(Stage::Opening, DialFault::stage);
    let tls = settings.link.platform.starts_with("wss:");
    for (stage, zh, en) in [
        (Stage::Dns, "域名可解析。", "The platform's name resolves."),
        (Stage::Tcp, "出站TCP连接正常。", "The outbound TCP connection opens."),
        (Stage::Tls, "TLS正常。", "TLS works."),
        (Stage::Upgrade, "WebSocket升级正常。", "The WebSocket upgrade works."),
    ] {
        if stage < reached && (stage != Stage::Tls || tls) {
            findings.add(stage.as_str(), Verdict::Ok, zh, en);
        }
    }
    match outcome {
        Ok(opened) => {
            let name = &opened.institution_name;
            findings.add(
                "opening",
                Verdict::Ok,
                format!("平台已认可本适配器（{name}）。"),
                format!("The platform knows this adapter ({name})."),
            );
            clocks(opened.server_time_us, clock.now_us(), findings);
        }
        Err(DialFault::Refused(problem)) if problem.code == Code::AlreadyConnected && running => {
            findings.add(
                "opening",
                Verdict::Ok,
                "本目录的适配器正在运行并占用链路，平台因此拒绝了本次第二个连接。",
                "The adapter of this directory is running and holds the link, so this second connection was refused.",
            );
            findings.add(
                "clock",
                Verdict::Skipped,
                "链路被占用，未比较时钟。",
                "The link is in use; clocks not compared.",
            );
        }
        Err(fault) => {
            let (mut zh, mut en) = fault.sentences();
            if let DialFault::Refused(problem) = &fault {
                if problem.code == Code::KeyUnknown {
                    let public = key.public();
                    zh.push_str(&format!("本适配器公钥：{public}"));
                    en.push_str(&format!(" This adapter's public key: {public}"));
                }
                if problem.code == Code::AlreadyConnected {
                    zh.push_str("本目录没有适配器在运行：同一密钥可能在另一台机器或另一目录被使用。");
                    en.push_str(" No adapter runs in this directory: the key may be in use elsewhere.");
                }
            }
            findings.add(fault.stage().as_str(), Verdict::Fault, zh, en);
            findings.add("clock", Verdict::Skipped, "链路未建立，未比较时钟。", "No link; clocks not compared.");
        }
    }
}

fn clocks(theirs_us: i64, ours_us: i64, findings: &mut Findings) {
    let apart_us = ours_us.saturating_sub(theirs_us);
    let apart_s = apart_us / 1_000_000;
    if apart_us.abs() > CLOCK_MOST_US {
        findings.add(
            "clock",
            Verdict::Fault,
            format!("本机时钟与平台相差 {apart_s} 秒，请配置NTP对时。"),
            format!("This machine's clock is {apart_s} s off the platform's; please set up NTP."),
        );
    } else {
        findings.add(
            "clock",
            Verdict::Ok,
            format!("时钟相差 {apart_s} 秒。"),
            format!("Clocks differ by {apart_s} s."),
        );
    }
}

async fn his(settings: &Settings, findings: &mut Findings) {
    let Ok(url) = reqwest::Url::parse(&settings.callback.url) else {
        findings.add("his", Verdict::Skipped, "未配置回调，由HIS轮询。", "No callback is set: the HIS polls.");
        return;
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let wait = ms(settings.callback.timeout_ms).min(Duration::from_secs(5));
    let target = (host.trim_matches(['[', ']']).to_owned(), port);
    let connect = tokio::task::spawn_blocking(move || {
        let mut last = None;
        for address in target.to_socket_addrs()? {
            match std::net::TcpStream::connect_timeout(&address, wait) {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| std::io::Error::other("no address")))
    });
    match connect.await {
        Ok(Ok(())) => {
            findings.add(
                "his",
                Verdict::Ok,
                format!("HIS回调 {host}:{port} 可达。"),
                "The HIS's callback is reachable.",
            );
        }
        Ok(Err(error)) => findings.add(
            "his",
            Verdict::Fault,
            format!(
                "无法连接HIS回调 {host}:{port}（{error}）。请HIS工程师启动服务，或请网络管理员放行本机→{host}:{port}。"
            ),
            format!("The HIS's callback {host}:{port} cannot be reached ({error}). Start it, or allow the connection."),
        ),
        Err(error) => findings.add("his", Verdict::Fault, format!("检查失败：{error}"), format!("{error}")),
    }
}
