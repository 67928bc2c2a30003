//! What every engine's server needs: a port nobody has, a child that dies with us, and the wait until it answers.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock::steady;

/// How often a server that starts or stops is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A port of 127.0.0.1 on which nobody listens at this moment.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// How a server is started; the same again after it was stopped.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment on top of ours.
    pub env: Vec<(OsString, OsString)>,
    /// The user it runs as, where it may not be ours.
    pub user: Option<String>,
    /// Where its output goes, appended.
    pub log: PathBuf,
}

/// A running server. The kernel kills it when this process ends, however that ends; dropping it kills it too.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    log: PathBuf,
}

type Order = (Command, mpsc::Sender<io::Result<process::Child>>);

/// The death signal is tied to the *thread* that forked, so one thread that never ends forks for all.
static NURSE: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, waiting) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, started) in waiting {
            // Whoever ordered it waits for this answer.
            let _ = started.send(command.spawn());
        }
    });
    orders
});

impl Recipe {
    fn command(&self) -> io::Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = &self.user {
            // In one call: a later change of user would take the death signal away again.
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
        }
        command.arg("--").arg(&self.program).args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    /// Starts it.
    pub fn start(&self) -> io::Result<Child> {
        let (started, answer) = mpsc::channel();
        let gone = |_| io::Error::other("the thread that starts children has ended");
        NURSE.send((self.command()?, started)).map_err(|error| gone(error.to_string()))?;
        let process = answer.recv().map_err(|error| gone(error.to_string()))??;
        Ok(Child { process, log: self.log.clone() })
    }

    /// Runs it to its end, which must be a success.
    pub fn finish(&self) -> io::Result<()> {
        let mut child = self.start()?;
        let status = child.process.wait()?;
        if status.success() { Ok(()) } else { Err(failed(&self.log, &status.to_string())) }
    }
}

fn failed(log: &Path, what: &str) -> io::Error {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut tail: Vec<&str> = text.lines().rev().take(12).collect();
    tail.reverse();
    io::Error::other(format!("{what} ({})\n{}", log.display(), tail.join("\n")))
}

impl Child {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until `answers` says so; an error with the end of its log when it ends first or the time is over.
    pub fn until(&mut self, within: Duration, mut answers: impl FnMut() -> bool) -> io::Result<()> {
        let since = steady();
        while !answers() {
            if let Some(status) = self.process.try_wait()? {
                return Err(failed(&self.log, &format!("it ended: {status}")));
            }
            if since.elapsed() > within {
                return Err(failed(&self.log, "it does not answer in time"));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or_else(|| io::Error::other("no process id"))?, signal)?)
    }

    /// Sends it a signal and waits until it is gone; kills it, which is an error, when that takes too long.
    pub fn stop(mut self, signal: Signal, within: Duration) -> io::Result<()> {
        self.signal(signal)?;
        let since = steady();
        while self.process.try_wait()?.is_none() {
            if since.elapsed() > within {
                return Err(failed(&self.log, "it did not stop and is killed"));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORPHAN: &str = "TONGFU_TEST_ORPHAN";

    fn sleeper(dir: &Path) -> Recipe {
        Recipe { program: "sleep".into(), args: vec!["1000".into()], log: dir.join("log"), ..Recipe::default() }
    }

    fn alive(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    #[test]
    fn a_child_outlives_the_thread_that_wanted_it_and_is_gone_once_dropped() {
        let dir = tempfile::tempdir().expect("a directory");
        let recipe = sleeper(dir.path());
        let mut child = thread::spawn(move || recipe.start().expect("started")).join().expect("no panic");
        let pid = child.pid();
        let name = format!("/proc/{pid}/comm");
        let sleeps = || std::fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep");
        child.until(Duration::from_secs(10), sleeps).expect("setpriv has become the program");
        assert!(alive(pid));
        drop(child);
        assert!(!alive(pid));
    }

    /// The test is its own parent to be killed: run again with the variable set, it starts a child and is then killed.
    #[test]
    fn a_child_does_not_outlive_a_parent_that_is_killed() {
        if let Some(dir) = std::env::var_os(ORPHAN) {
            let mut child = sleeper(Path::new(&dir)).start().expect("started");
            let name = format!("/proc/{}/comm", child.pid());
            let sleeps = || std::fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep");
            child.until(Duration::from_secs(10), sleeps).expect("it sleeps");
            std::fs::write(Path::new(&dir).join("pid.new"), child.pid().to_string()).expect("written");
            std::fs::rename(Path::new(&dir).join("pid.new"), Path::new(&dir).join("pid")).expect("renamed");
            loop {
                thread::park();
            }
        }
        let dir = tempfile::tempdir().expect("a directory");
        let mut parent = Recipe {
            program: std::env::current_exe().expect("this test"),
            args: ["--exact", "engines::child::tests::a_child_does_not_outlive_a_parent_that_is_killed"]
                .map(OsString::from)
                .to_vec(),
            env: vec![(ORPHAN.into(), dir.path().into())],
            log: dir.path().join("parent.log"),
            ..Recipe::default()
        }
        .start()
        .expect("started");
        let read = || std::fs::read_to_string(dir.path().join("pid")).ok();
        parent.until(Duration::from_secs(20), || read().is_some()).expect("it has a child");
        let pid: u32 = read().and_then(|pid| pid.parse().ok()).expect("a process id");
        assert!(alive(pid));
        drop(parent);
        let since = steady();
        while alive(pid) {
            assert!(since.elapsed() < Duration::from_secs(20), "the child lives on");
            thread::sleep(LOOK);
        }
    }

    #[test]
    fn who_ends_early_is_told_with_the_end_of_its_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let recipe = Recipe {
            program: "sh".into(),
            args: vec!["-c".into(), "echo 'no such setting' >&2; exit 3".into()],
            log: dir.path().join("log"),
            ..Recipe::default()
        };
        let fault = recipe.start().expect("started").until(Duration::from_secs(10), || false).expect_err("it ended");
        assert!(
            fault.to_string().contains("exit status: 3") && fault.to_string().contains("no such setting"),
            "{fault}"
        );
        assert!(recipe.finish().expect_err("it fails").to_string().contains("no such setting"));
    }
}
