//! `sandbox city`: N payments and one JSON object, or a city that lives until Ctrl-C.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::options::Options;
use super::plan::CITIES;
use super::town::City;
use super::verdict::Verdict;
use crate::clock::{self, random_hex};
use crate::http::StopSignals;
use crate::people::payment::told;

/// Between two payments of a city that lives.
const BREATH: Duration = Duration::from_millis(1_200);

/// Runs it. The exit status says whether the books are right.
pub async fn run(mut options: Options) -> io::Result<ExitCode> {
    let stop = StopSignals::catch()?;
    match options.payments {
        None => live(options, stop).await,
        Some(payments) => {
            // A run of its own leaves nothing behind, unless it was told where.
            let passing = options.dir.is_none();
            let dir = options
                .dir
                .get_or_insert_with(|| std::env::temp_dir().join(format!("tongfu-city-{}", random_hex(6))))
                .clone();
            let ran = tokio::select! {
                ran = count(options, payments) => ran,
                () = stop.told_to_stop() => Err(io::Error::new(io::ErrorKind::Interrupted, "已中断 interrupted")),
            };
            match &ran {
                Ok(code) if passing && *code == ExitCode::SUCCESS => std::fs::remove_dir_all(dir)?,
                _ => eprintln!("现场保留在 everything is kept in {}", dir.display()),
            }
            ran
        }
    }
}

fn milli(value_ms: u128) -> Value {
    // Seconds with their milliseconds, as a JSON number.
    serde_json::from_str(&format!("{}.{:03}", value_ms / 1000, value_ms % 1000)).unwrap_or(Value::Null)
}

async fn count(options: Options, payments: u32) -> io::Result<ExitCode> {
    eprintln!("建城中 founding the city …");
    let as_json = options.json;
    let (faults_ppm, seed, concurrency) = (options.faults_ppm, options.seed, options.concurrency);
    let city = City::start(options).await?;
    eprintln!("期限压缩 deadlines are compressed: {}", json!(city.profile));
    city.settle_in().await?;
    let commits_before = commits(&city).await;
    let (cpu_before, _) = city.platform_figures().await;
    city.set_faults(faults_ppm).await?;
    eprintln!(
        "{payments}笔支付开始 {payments} payments begin (seed {seed}, faults {faults_ppm} ppm, {concurrency} at once)"
    );
    let began = clock::steady();
    city.pay(payments, |ended| {
        if !as_json {
            println!("{}", told(ended));
        } else if std::env::var_os("RUST_LOG").is_some() {
            eprintln!("{}", told(ended));
        }
    })
    .await;
    let elapsed = began.elapsed();
    let (cpu, peak_kib) = city.platform_figures().await;
    let commits = commits(&city).await.zip(commits_before).map(|(after, before)| after.saturating_sub(before));
    let faults_injected = city.faults_struck().await?;
    // What is still under way comes to rest without new faults.
    city.set_faults(0).await?;
    let verdict = city.verdict().await?;
    let fallen = city.fallen().await;
    let mut summary = json!(verdict);
    let elapsed_ms = elapsed.as_millis();
    let count = u128::from(verdict.payments.max(1));
    summary["faults_injected"] = json!(faults_injected);
    summary["elapsed_s"] = milli(elapsed_ms);
    summary["payments_per_s"] = milli(count * 1_000_000 / elapsed_ms.max(1));
    let cpu_ms = cpu.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    summary["platform_cpu_ms_per_payment"] = cpu_ms.map_or(Value::Null, |ms| milli(u128::from(ms) * 1000 / count));
    summary["platform_commits_per_payment"] =
        commits.map_or(Value::Null, |commits| milli(u128::from(commits) * 1000 / count));
    summary["platform_peak_kib"] = json!(peak_kib);
    summary["fallen"] = json!(fallen);
    summary["seed"] = json!(seed);
    summary["deadlines_ms"] = json!(city.profile);
    city.stop().await?;
    if as_json {
        println!("{summary}");
    } else {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    }
    Ok(code(&verdict, &fallen))
}

fn code(verdict: &Verdict, fallen: &[String]) -> ExitCode {
    if verdict.is_sound() && fallen.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Commits of the platform's desk so far, from its metrics.
async fn commits(city: &City) -> Option<u64> {
    let url = format!("{}/metrics", city.platform_url().await.ok()?);
    let text = city.client.get(url).send().await.ok()?.text().await.ok()?;
    let line = text.lines().find(|line| line.starts_with("tongfu_desk_batch_size_count"))?;
    line.split_whitespace().last()?.split('.').next()?.parse().ok()
}

async fn live(options: Options, stop: StopSignals) -> io::Result<ExitCode> {
    println!("建城中 founding the city …");
    let concurrency = options.concurrency.min(4);
    let faults_ppm = options.faults_ppm;
    let city = City::start(Options { concurrency, ..options }).await?;
    show(&city).await;
    city.settle_in().await?;
    city.set_faults(faults_ppm).await?;
    println!("居民已登录绑定，开始就医缴费。按 Ctrl-C 停止。 Everybody is logged in; payments begin. Ctrl-C stops.");
    tokio::select! {
        () = stop.told_to_stop() => {}
        () = lives(&city) => {}
    }
    println!("\n正在停止，对账 stopping, proving the books …");
    city.set_faults(0).await?;
    let verdict = city.verdict().await?;
    let fallen = city.fallen().await;
    println!("{}", serde_json::to_string_pretty(&json!(verdict))?);
    let dir = city.dir().display().to_string();
    city.stop().await?;
    println!("已停止，数据保留在 {dir}，再次运行即可继续。 Stopped; {dir} is kept, run again to go on.");
    Ok(code(&verdict, &fallen))
}

/// One payment after the other at every crew member's pace, for ever.
async fn lives(city: &City) {
    loop {
        city.pay(u32::try_from(city.options.concurrency).unwrap_or(1), |ended| println!("{}", told(ended))).await;
        tokio::time::sleep(BREATH).await;
    }
}

async fn show(city: &City) {
    println!("城市已启动，均为虚构。数据目录 {} The city runs; all of it is fictional.", city.dir().display());
    for plan in &CITIES {
        println!("  统筹区 tenant {} {}", plan.admdvs, plan.name);
        for hospital in plan.hospitals {
            println!("    {} {}", hospital.code, hospital.name);
        }
    }
    for (name, url, pid) in city.places().await {
        let what = match name.as_str() {
            "platform" => "平台",
            "wallet" => "个人支付渠道",
            "sms" => "短信网关",
            "his" => "医院信息系统",
            name if name.starts_with("bureau-") => "医保核心",
            _ => "医院适配器",
        };
        println!("  {what} {name}: {url} (pid {})", pid.unwrap_or_default());
    }
    println!("  日志 logs: {}/logs", city.dir().display());
    println!("期限压缩 deadlines are compressed (ms): {}", json!(city.profile));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sound_verdict_over_children_that_stand_is_a_success() {
        let sound = || Verdict { books_balance: true, sides_agree: true, ..Verdict::default() };
        let status = |verdict: &Verdict, fallen: &[String]| format!("{:?}", code(verdict, fallen));
        let (success, failure) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(status(&sound(), &[]), success);
        let unsound = [
            Verdict { books_balance: false, ..sound() },
            Verdict { sides_agree: false, ..sound() },
            Verdict { charged_twice: 1, ..sound() },
            Verdict { broken_promises: vec!["the answer changed".to_owned()], ..sound() },
        ];
        for verdict in &unsound {
            assert_eq!(status(verdict, &[]), failure, "{verdict:?}");
        }
        assert_eq!(status(&sound(), &["platform".to_owned()]), failure);
    }
}
