//! `loadtest`: payments arrive as they do in a city, whether or not the last ones were answered, and at the end the
//! books are proved from every side.
//!
//! | read | for |
//! | --- | --- |
//! | [`scenario`] | how payments arrive, and what is wrong with the world meanwhile |
//! | [`journey`] | one payment as a phone lives it, step by step |
//! | [`drive`] | the open loop |
//! | [`figures`] | histograms and the time line |
//! | [`idle`] | adapters that are connected and say nothing |
//! | [`lost`] | a platform process is killed |
//! | [`nice`] | the outside world gives way |
//! | [`costs`], [`signatures`] | processor time and memory by program; signatures apart |
//! | [`metrics`], [`own_share`] | what the platform says of itself: how long it took to answer |
//! | [`engines`] | PostgreSQL, Redis and Kafka, started or given |
//! | [`report`], [`plot`] | JSON, Markdown, SVG |
//! | [`bench`], [`turn`], [`peer`], [`rows`] | the same city beside `pgbench` writing the same rows, in turns |
//! | [`stored`] | a million payments more in the store |

mod bench;
mod costs;
mod drive;
mod engines;
mod figures;
mod idle;
mod journey;
mod lost;
mod metrics;
mod nice;
mod own_share;
mod peer;
mod plot;
mod report;
mod rows;
mod scenario;
mod signatures;
mod stored;
mod turn;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sandbox::http::StopSignals;

use scenario::Scenario;

/// 压测 / an open-loop load on a whole city.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// 场景 / how payments arrive
    #[arg(long, value_enum, default_value_t = Scenario::Steady)]
    scenario: Scenario,
    /// 平均每秒支付笔数 / mean arrivals a second
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// 正式计时秒数 / seconds that count
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// 预热秒数 / seconds before, that do not
    #[arg(long, default_value_t = 5)]
    warm_up: u32,
    /// 每城人数 / people per city: nobody pays two bills at a time
    #[arg(long, default_value_t = 200)]
    people: u32,
    /// 平台副本数 / platform processes
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// 引擎 / engines: `embedded`, or `real` (PostgreSQL and whatever else is at hand)
    #[arg(long, value_enum, default_value_t = engines::Choice::Real)]
    engines: engines::Choice,
    /// 随机种子 / feeds all dice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// 输出目录 / where the report goes: load.json, load.md, load.svg
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
    /// 平台程序 / the platform's program; the one beside this program when absent
    #[arg(long)]
    platform_bin: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// 与 pgbench 轮流测量 / the whole city and `pgbench` writing the same rows, in turns
    Bench(bench::Options),
}

impl Options {
    fn load(&self) -> drive::Load {
        let Options { scenario, rate, seconds, warm_up, seed, .. } = *self;
        drive::Load { scenario, rate, warm_up, seconds, seed }
    }
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error")),
        )
        .with_writer(io::stderr)
        .init();
    let options = Options::parse();
    let signals = StopSignals::catch()?;
    tokio::select! {
        ended = run(&options) => ended,
        // Dropped on the way out, a city ends its processes, and so do the engines. While `pgbench` runs nobody listens.
        () = signals.told_to_stop() => {
            let kept = std::env::temp_dir().join(format!("tongfu-*-{}", std::process::id()));
            Err(io::Error::other(format!("被要求停止，现场保留在 told to stop; everything is kept in {}", kept.display())))
        }
    }
}

async fn run(options: &Options) -> io::Result<ExitCode> {
    if let Some(Command::Bench(options)) = &options.command {
        return bench::run(options).await;
    }
    let report = drive::run(options).await?;
    std::fs::create_dir_all(&options.out)?;
    std::fs::write(options.out.join("load.json"), serde_json::to_string_pretty(&report.json())?)?;
    let table = report.markdown();
    std::fs::write(options.out.join("load.md"), &table)?;
    plot::draw(&report, &options.out.join("load.svg"))?;
    println!("{table}");
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
