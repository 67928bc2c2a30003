//! A PostgreSQL server, from Debian's packages, or the one that the environment names.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Signal, geteuid};

use super::child::{Child, Recipe, free_port};

/// Names a server to be used instead: `postgres://user[:password]@host:port` without a database; the user may create
/// databases. Nobody stops or starts that one.
pub const GIVEN: &str = "TONGFU_TEST_POSTGRES_URL";

/// Where Debian keeps the servers' programs, a folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The server refuses to run as root: Debian's package makes this user.
const USER: &str = "postgres";
const READY: Duration = Duration::from_secs(60);

/// A server with databases of its own.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    authority: String,
    own: Option<Own>,
}

/// Databases that this process has made, on whichever server: several may be the one that was given.
static DATABASES: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Own {
    recipe: Recipe,
    child: Option<Child>,
    port: u16,
}

impl Postgres {
    /// Starts one in this folder, which must be empty, or takes the given one. `settings` are `name=value`.
    pub fn start(dir: &Path, settings: &[&str]) -> io::Result<Postgres> {
        let bin = newest(Path::new(DEBIAN))?;
        if let Ok(url) = std::env::var(GIVEN) {
            let authority = url.trim_end_matches('/').to_owned();
            return Ok(Postgres { bin, authority, own: None });
        }
        let port = free_port()?;
        let user = geteuid().is_root().then(|| USER.to_owned());
        std::fs::create_dir_all(dir)?;
        if let Some(user) = &user {
            finished(Command::new("chown").arg(user).arg(dir))?;
        }
        let data = dir.join("data");
        let recipe = |program: &str, args: Vec<OsString>| Recipe {
            program: bin.join(program),
            args,
            user: user.clone(),
            log: dir.with_extension("log"),
            ..Recipe::default()
        };
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut args =
            words(&["--username=tongfu", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        args.push(data.clone().into());
        recipe("initdb", args).finish()?;
        let mut args = words(&["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        args.extend(words(&["-c", &format!("port={port}")]));
        for setting in settings {
            args.extend(words(&["-c", setting]));
        }
        args.push("-D".into());
        args.push(data.into());
        let mut server = Postgres {
            bin: bin.clone(),
            authority: format!("postgres://tongfu@127.0.0.1:{port}"),
            own: Some(Own { recipe: recipe("postgres", args), child: None, port }),
        };
        server.again()?;
        Ok(server)
    }

    /// Starts it again on the same data.
    pub fn again(&mut self) -> io::Result<()> {
        let own = self.own.as_mut().ok_or_else(given)?;
        let mut child = own.recipe.start()?;
        let port = own.port.to_string();
        let ready = self.bin.join("pg_isready");
        child.until(READY, || {
            let asked = Command::new(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            asked.is_ok_and(|status| status.success())
        })?;
        own.child = Some(child);
        Ok(())
    }

    /// Stops it as a crash would (`immediate` mode): no checkpoint, no farewell.
    pub fn crash(&mut self) -> io::Result<()> {
        let own = self.own.as_mut().ok_or_else(given)?;
        own.child.take().map_or(Ok(()), |child| child.stop(Signal::QUIT, READY))
    }

    /// Ends every connection to its databases, whatever is being committed on it.
    pub fn cut(&self) -> io::Result<()> {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let url = format!("{}/postgres", self.authority);
        finished(Command::new(self.bin.join("psql")).args(["-q", "-d", &url, "-c", end]))
    }

    /// What `psql` says to a statement: a line a row, columns apart by `|`.
    pub fn ask(&self, database: &str, statement: &str) -> io::Result<String> {
        let output = Command::new(self.bin.join("psql")).args(["-XAtq", "-d", database, "-c", statement]).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("{statement}: {}", String::from_utf8_lossy(&output.stderr))));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether this one may be stopped: not one that was given.
    pub fn is_ours(&self) -> bool {
        self.own.is_some()
    }

    /// Its process id; none for a given one, or while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.own.as_ref()?.child.as_ref().map(Child::pid)
    }

    /// Makes a database that nobody has, as a copy of `template` if one is named; its URL.
    pub fn database(&self, template: Option<&str>) -> io::Result<String> {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("tongfu_{}_{number}", std::process::id());
        let mut create = Command::new(self.bin.join("createdb"));
        create.arg(format!("--maintenance-db={}/postgres", self.authority));
        if let Some(template) = template.and_then(|url| url.rsplit_once('/')) {
            create.arg(format!("--template={}", template.1));
        }
        finished(create.arg(&name))?;
        Ok(format!("{}/{name}", self.authority))
    }

    /// Where `pgbench`, `psql` and their kin are.
    pub fn programs(&self) -> &Path {
        &self.bin
    }
}

fn given() -> io::Error {
    io::Error::other(format!("the server that {GIVEN} names is not ours to stop or start"))
}

fn finished(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

/// The programs of the newest version that is installed.
fn newest(root: &Path) -> io::Result<PathBuf> {
    let missing = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("{}: {error}; install Debian's package postgresql", root.display()))
    };
    let entries = std::fs::read_dir(root).map_err(|error| missing(&error))?;
    let versions = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.max().ok_or_else(|| missing(&"no version"))?;
    Ok(root.join(newest.to_string()).join("bin"))
}
