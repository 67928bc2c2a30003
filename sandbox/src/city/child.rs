//! One child process: started until it says it is ready, stopped by signal, looked at through /proc.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{self, Command};

/// How long a child may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a child may take to stop when told to, before it is killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// How a child is started; the same again after it was killed.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Its name in messages and of its log file.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment on top of ours.
    pub env: Vec<(String, String)>,
    /// Where its standard error goes, appended.
    pub log: PathBuf,
}

/// A child that listens.
#[derive(Debug)]
pub struct Child {
    /// How it was started.
    pub recipe: Recipe,
    /// Where it listens.
    pub url: String,
    process: process::Child,
}

fn failed(name: &str, what: impl std::fmt::Display, log: &Path) -> io::Error {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let tail: Vec<&str> = text.lines().rev().take(8).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    io::Error::other(format!("{name}: {what}\n{}\n（日志 log: {}）", tail.join("\n"), log.display()))
}

impl Recipe {
    fn command(&self) -> io::Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for the city, which stops its children in order.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts it and waits for its ready line.
    pub async fn start(&self) -> io::Result<Child> {
        let mut process = self
            .command()?
            .spawn()
            .map_err(|error| io::Error::other(format!("{}: {error}", self.program.display())))?;
        let stdout = process.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let said = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        let line = match said {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return Err(failed(&self.name, "未能启动 it did not start", &self.log)),
            Ok(Err(error)) => return Err(failed(&self.name, error, &self.log)),
            Err(_) => return Err(failed(&self.name, "迟迟未就绪 it is not ready in time", &self.log)),
        };
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        let url = ready["url"].as_str().ok_or_else(|| failed(&self.name, format!("it said {line}"), &self.log))?;
        // A full pipe would stop the child; nobody reads what it may say later.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Child { recipe: self.clone(), url: url.to_owned(), process })
    }

    /// Runs it to its end and reads the JSON it prints. A non-zero exit is an error unless `may_fail`.
    pub async fn answer(&self, may_fail: bool) -> io::Result<Value> {
        let output = self.command()?.output().await;
        let output = output.map_err(|error| io::Error::other(format!("{}: {error}", self.program.display())))?;
        if !output.status.success() && !may_fail {
            let what = format!("`{}` {}", self.args.join(" "), output.status);
            return Err(failed(&self.name, what, &self.log));
        }
        serde_json::from_slice(&output.stdout).map_err(|fault| {
            let said = String::from_utf8_lossy(&output.stdout);
            failed(&self.name, format!("`{}` {fault}: {said}", self.args.join(" ")), &self.log)
        })
    }
}

impl Child {
    /// Its process id; `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// The port it listens on.
    pub fn port(&self) -> Option<u16> {
        self.url.rsplit(':').next()?.parse().ok()
    }

    /// True if it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) -> io::Result<Recipe> {
        self.process.kill().await?;
        Ok(self.recipe)
    }

    /// SIGTERM, and waits until it is gone; SIGKILL if it takes too long, which is an error.
    pub async fn stop(mut self) -> io::Result<()> {
        let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) else { return Ok(()) };
        kill_process(pid, Signal::TERM)?;
        match tokio::time::timeout(STOPPED_WITHIN, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(&self.recipe.name, status, &self.recipe.log)),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.process.kill().await?;
                Err(failed(&self.recipe.name, "不肯停止 it did not stop and was killed", &self.recipe.log))
            }
        }
    }

    /// Processor time used so far in milliseconds, user and system.
    pub fn cpu_ms(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?)).ok()?;
        // The name in brackets may hold spaces; the numbers behind it do not. utime and stime are fields 14 and 15.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
    }

    /// The most memory it ever held, in KiB.
    pub fn peak_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}
