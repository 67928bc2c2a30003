//! The hospital's adapter: `init` once, `run` always, `doctor` when something is wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use adapter_core::clock::RealClock;
use adapter_core::doctor::{Report, Verdict, examine};
use adapter_core::init::{Initialised, init};
use adapter_core::keys::Home;
use adapter_core::startup;
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use schema::ids::InstitutionCode;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// 统付医院适配器 / Tongfu hospital adapter
#[derive(Debug, Parser)]
#[command(name = "hospital-adapter", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// 建立适配器目录与密钥 / make the adapter's directory and keys
    Init {
        /// 目录 / directory
        #[arg(long)]
        dir: PathBuf,
        /// 机构编码 / national institution code, e.g. H44190000001
        #[arg(long)]
        institution: InstitutionCode,
        /// 平台地址 / the platform's link, e.g. wss://host/link/v1
        #[arg(long)]
        platform: String,
        /// 以JSON输出 / print JSON
        #[arg(long)]
        json: bool,
    },
    /// 运行 / run until SIGTERM
    Run {
        /// 目录 / directory
        #[arg(long)]
        dir: PathBuf,
        /// HIS接口监听地址 / where the HIS finds the adapter; port 0 lets the system choose
        #[arg(long)]
        listen: Option<SocketAddr>,
    },
    /// 诊断 / find what keeps the adapter from working
    Doctor {
        /// 目录 / directory
        #[arg(long)]
        dir: PathBuf,
        /// 以JSON输出 / print JSON
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    // Fails only if a provider is there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().command {
        Command::Init { dir, institution, platform, json } => {
            report(init(&Home::new(dir), &institution, &platform, &RealClock::default()).map(|done| say(&done, json)))
        }
        Command::Run { dir, listen } => {
            let system = actix_web::rt::System::new();
            report(system.block_on(startup::run(Home::new(dir), listen, RealClock::shared(), |address| {
                println!("{}", json!({ "ready": "hospital-adapter", "url": format!("http://{address}") }));
            })))
        }
        Command::Doctor { dir, json } => {
            let system = actix_web::rt::System::new();
            let report = system.block_on(examine(&Home::new(dir), &RealClock::default()));
            show(&report, json);
            if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn say(done: &Initialised, as_json: bool) {
    if as_json {
        println!("{}", json!(done));
        return;
    }
    println!("公钥（交平台经办批准）/ public key, to be approved by the platform:\n  {}", done.public_key);
    println!("HIS接口密钥 / API key for the HIS:\n  {}", done.api_key);
    println!("配置文件 / settings:\n  {}", done.config.display());
}

fn show(report: &Report, as_json: bool) {
    if as_json {
        println!("{}", json!(report));
        return;
    }
    for check in &report.checks {
        let mark = match check.verdict {
            Verdict::Ok => "正常 ok     ",
            Verdict::Warning => "注意 warning",
            Verdict::Fault => "故障 FAULT  ",
            Verdict::Skipped => "未查 skipped",
        };
        println!("[{mark}] {}: {}\n               {}", check.name, check.zh, check.en);
    }
}

fn report<T, E: std::fmt::Display>(outcome: Result<T, E>) -> ExitCode {
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}
