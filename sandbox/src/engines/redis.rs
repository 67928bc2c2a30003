//! A Redis server: the one that [`GIVEN`] names, or one of our own, from the package `redis-server`.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::child::{Child, Recipe, free_port};

/// The environment variable that names a server for tests, as a URL. It is emptied by them, and never stopped.
pub const GIVEN: &str = "TONGFU_TEST_REDIS_URL";

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
const ONE_LOOK: Duration = Duration::from_secs(1);
/// A port may be taken between the look for it and its use.
const PORTS_TRIED: usize = 5;

/// A server.
#[derive(Debug)]
pub struct Redis {
    url: String,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    port: u16,
    recipe: Recipe,
    child: Option<Child>,
    _dir: TempDir,
}

impl Redis {
    /// The server that the environment names, or one of our own that keeps nothing on disk.
    pub fn obtain() -> io::Result<Redis> {
        match std::env::var(GIVEN) {
            Ok(url) if !url.is_empty() => Ok(Redis { url, own: None }),
            _ => Redis::own(&[]),
        }
    }

    /// One of our own with these settings on top, `name value` each.
    pub fn own(settings: &[(&str, &str)]) -> io::Result<Redis> {
        let mut tried = 0;
        loop {
            tried += 1;
            match Redis::at(free_port()?, settings) {
                Ok(redis) => return Ok(redis),
                Err(error) if tried == PORTS_TRIED => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn at(port: u16, settings: &[(&str, &str)]) -> io::Result<Redis> {
        let dir = tempfile::Builder::new().prefix("tongfu-redis-").tempdir()?;
        let mut args: Vec<OsString> = Vec::new();
        let mut set = |name: &str, value: &str| args.extend([OsString::from(format!("--{name}")), value.into()]);
        set("port", &port.to_string());
        set("bind", "127.0.0.1");
        set("dir", &dir.path().display().to_string());
        for (name, value) in [("save", ""), ("appendonly", "no")].iter().chain(settings) {
            set(name, value);
        }
        let recipe =
            Recipe { program: "redis-server".into(), args, log: dir.path().join("redis.log"), ..Recipe::default() };
        let mut redis =
            Redis { url: format!("redis://127.0.0.1:{port}"), own: Some(Own { port, recipe, child: None, _dir: dir }) };
        redis.start()?;
        Ok(redis)
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is ours to stop.
    pub fn is_ours(&self) -> bool {
        self.own.is_some()
    }

    /// Its process id, while it runs and is ours.
    pub fn pid(&self) -> Option<u32> {
        self.own.as_ref()?.child.as_ref().map(Child::pid)
    }

    fn ours(&mut self) -> io::Result<&mut Own> {
        self.own.as_mut().ok_or_else(|| io::Error::other(format!("the server that {GIVEN} names is not ours")))
    }

    /// Starts it again where it was, and waits until it answers.
    pub fn start(&mut self) -> io::Result<()> {
        let own = self.ours()?;
        let mut child = own.recipe.start()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, own.port));
        child.until(READY_WITHIN, || answers(address).unwrap_or(false))?;
        own.child = Some(child);
        Ok(())
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(&mut self) -> io::Result<()> {
        match self.ours()?.child.take() {
            Some(child) => child.stop(Signal::TERM, STOPPED_WITHIN),
            None => Ok(()),
        }
    }

    /// Kills it: what it had not written to disk is lost.
    pub fn kill(&mut self) -> io::Result<()> {
        drop(self.ours()?.child.take());
        Ok(())
    }

    /// Forgets everything while it goes on, as a slip of an operator does.
    pub fn flush(&mut self) -> io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ours()?.port));
        let mut server = TcpStream::connect(address)?;
        server.write_all(b"FLUSHALL\r\n")?;
        let mut said = [0; 3];
        server.read_exact(&mut said)?;
        match &said {
            b"+OK" => Ok(()),
            _ => Err(io::Error::other("FLUSHALL was refused")),
        }
    }

    /// Lets it stand still, as a machine does that hangs: its port takes connections, and nobody answers.
    pub fn pause(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        match &self.ours()?.child {
            Some(child) => child.signal(signal),
            None => Err(io::Error::other("it does not run")),
        }
    }
}

fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ONE_LOOK)?;
    stream.set_read_timeout(Some(ONE_LOOK))?;
    stream.write_all(b"PING\r\n")?;
    let mut said = [0_u8; 5];
    stream.read_exact(&mut said)?;
    // One that wants a password first has answered too.
    Ok(&said == b"+PONG" || &said == b"-NOAU")
}
