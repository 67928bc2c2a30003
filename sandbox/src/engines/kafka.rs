//! Apache Kafka: one node that is broker and controller (KRaft), from its Maven artifacts on the JDK.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::child::{Child, Recipe};

/// The variable that names a Kafka (`host:port[,host:port]`) to be used instead of our own, where nothing is to break.
pub const GIVEN: &str = "TONGFU_TEST_KAFKA";

/// How long a broker may take to listen, and to stop.
const WITHIN: Duration = Duration::from_secs(120);

/// How it is run.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Arguments for the JVM.
    pub java: Vec<String>,
    /// A port that stands in front of the broker: whoever is led to the broker by [`Kafka::behind`] is led there.
    pub front: Option<u16>,
}

impl Default for Shape {
    /// Small and quick to start, as tests need it; throughput comes with other arguments.
    fn default() -> Shape {
        let java = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(str::to_owned).to_vec();
        Shape { java, front: None }
    }
}

/// A broker of our own. Its data is gone when it is dropped.
#[derive(Debug)]
pub struct Kafka {
    recipe: Recipe,
    child: Option<Child>,
    port: u16,
    behind: u16,
    dir: TempDir,
}

/// The jars that `make engines` has copied.
fn jars() -> io::Result<PathBuf> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kafka/lib");
    match lib.is_dir() {
        true => Ok(lib),
        false => Err(io::Error::other("target/kafka/lib: Kafka's jars are missing: run `make engines`")),
    }
}

/// A free port below those that the kernel hands out: while the broker is stopped nobody else gets it, and nobody who
/// keeps trying to connect connects to himself.
fn port() -> io::Result<u16> {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    for _ in 0..COUNT {
        let next = std::process::id().wrapping_mul(7) + u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + next % COUNT).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free"))
}

fn properties(dir: &Path, [port, behind, controller]: [u16; 3], front: u16) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=DIRECT://127.0.0.1:{port},BEHIND://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=DIRECT://127.0.0.1:{port},BEHIND://127.0.0.1:{front}\n\
         listener.security.protocol.map=DIRECT:PLAINTEXT,BEHIND:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=DIRECT\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         log.cleaner.dedupe.buffer.size=4194304\n\
         num.network.threads=1\n\
         num.io.threads=2\n",
        dir.join("data").display()
    )
}

const LOGGING: &str = "appender.out.type = Console\n\
                       appender.out.name = out\n\
                       appender.out.layout.type = PatternLayout\n\
                       appender.out.layout.pattern = %d %p %c: %m%n%throwable\n\
                       rootLogger.level = WARN\n\
                       rootLogger.appenderRef.out.ref = out\n";

/// 16 bytes in Base64, as Kafka wants a cluster named.
const CLUSTER: &str = "tongfu-sandbox-kafka-A";

impl Kafka {
    /// Starts a broker on free ports with its data in a folder of its own.
    pub fn start(shape: &Shape) -> io::Result<Kafka> {
        let dir = TempDir::with_prefix("tongfu-kafka-")?;
        let [port, behind, controller] = [port()?, port()?, port()?];
        let settings = dir.path().join("server.properties");
        let front = shape.front.unwrap_or(behind);
        std::fs::write(&settings, properties(dir.path(), [port, behind, controller], front))?;
        std::fs::write(dir.path().join("log4j2.properties"), LOGGING)?;
        let logging = format!("-Dlog4j2.configurationFile={}", dir.path().join("log4j2.properties").display());
        let classes = format!("{}/*", jars()?.display());
        let java = |main: &[&str]| {
            let before = shape.java.iter().map(String::as_str).chain([logging.as_str(), "-cp", &classes]);
            let args = before.chain(main.iter().copied()).map(Into::into).collect();
            Recipe { program: "java".into(), args, log: dir.path().join("kafka.log"), ..Recipe::default() }
        };
        let settings = settings.display().to_string();
        java(&["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", &settings]).finish()?;
        let recipe = java(&["kafka.Kafka", &settings]);
        let mut kafka = Kafka { recipe, child: None, port, behind, dir };
        kafka.again()?;
        Ok(kafka)
    }

    /// Starts it on the data and at the ports that it had.
    pub fn again(&mut self) -> io::Result<()> {
        let mut child = self.recipe.start()?;
        let address = (Ipv4Addr::LOCALHOST, self.port);
        child.until(WITHIN, || TcpStream::connect(address).is_ok())?;
        self.child = Some(child);
        Ok(())
    }

    /// Stops it in order; its data stays.
    pub fn stop(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(child) => child.stop(Signal::TERM, WITHIN),
            None => Ok(()),
        }
    }

    /// Kills it in the middle of whatever it does; its data stays.
    pub fn kill(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(child) => child.stop(Signal::KILL, WITHIN),
            None => Ok(()),
        }
    }

    /// Lets it hang: it answers nothing and closes nothing.
    pub fn freeze(&self) -> io::Result<()> {
        self.child.as_ref().map_or(Ok(()), |child| child.signal(Signal::STOP))
    }

    /// Lets it go on.
    pub fn thaw(&self) -> io::Result<()> {
        self.child.as_ref().map_or(Ok(()), |child| child.signal(Signal::CONT))
    }

    /// Where clients begin.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where clients begin whom the broker leads to [`Shape::front`].
    pub fn behind(&self) -> u16 {
        self.behind
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }

    /// Its folder: `kafka.log` and its data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
