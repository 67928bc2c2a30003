//! The line between producers and the broker: passes everything on, and breaks off as it is told when records are sent.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::sink_contract::Break;

/// Kafka's number for a request that sends records.
const PRODUCE: [u8; 2] = [0, 0];

#[derive(Clone)]
pub(crate) struct Wire {
    port: u16,
    inside: Arc<Inside>,
}

#[derive(Default)]
struct Inside {
    to: AtomicU16,
    plan: Mutex<Plan>,
}

/// How requests that send records are treated.
#[derive(Default)]
struct Plan {
    how: Option<Break>,
    /// Such requests since then.
    seen: u32,
}

/// What becomes of one request.
enum Fate {
    Passes,
    /// It passes; whatever the broker says from now on does not.
    PassesUnanswered,
    /// Half of its bytes pass, then the line is dead.
    Torn,
    Lost,
}

impl Wire {
    /// A line that leads nowhere yet.
    pub(crate) fn lay() -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let inside = Arc::new(Inside::default());
        let accepting = Arc::clone(&inside);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.join(client);
            }
        });
        Wire { port, inside }
    }

    pub(crate) fn leads_to(&self, port: u16) {
        self.inside.to.store(port, Ordering::Relaxed);
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Breaks whatever is sent from now on, until it is mended.
    pub(crate) fn breaks(&self, how: Option<Break>) {
        *self.inside.plan.lock().unwrap_or_else(PoisonError::into_inner) = Plan { how, seen: 0 };
    }
}

impl Inside {
    fn fate(&self, request: &[u8]) -> Fate {
        if !request.starts_with(&PRODUCE) {
            return Fate::Passes;
        }
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.seen += 1;
        match (plan.how, plan.seen) {
            (None, _) => Fate::Passes,
            (Some(Break::Unconfirmed), _) | (Some(Break::Halfway), 1) => Fate::PassesUnanswered,
            (Some(Break::Halfway), 2) => Fate::Torn,
            (Some(Break::AtOnce | Break::Halfway), _) => Fate::Lost,
        }
    }

    /// Both directions of one connection, until either ends.
    fn join(self: &Arc<Inside>, client: TcpStream) {
        let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.to.load(Ordering::Relaxed))) else { return };
        let (Ok(mut up), Ok(mut down)) = (client.try_clone(), broker.try_clone()) else { return };
        let deaf = Arc::new(AtomicBool::new(false));
        let (inside, hears) = (Arc::clone(self), Arc::clone(&deaf));
        let mut to_broker = broker;
        thread::spawn(move || {
            let _ = inside.ask(&mut up, &mut to_broker, &deaf);
            let _ = (up.shutdown(Shutdown::Both), to_broker.shutdown(Shutdown::Both));
        });
        let mut to_client = client;
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length) = down.read(&mut buffer) {
                let said = &buffer[..length];
                if length == 0 || (!hears.load(Ordering::SeqCst) && to_client.write_all(said).is_err()) {
                    break;
                }
            }
            let _ = (down.shutdown(Shutdown::Both), to_client.shutdown(Shutdown::Both));
        });
    }

    /// Passes requests on, one by one.
    fn ask(&self, client: &mut TcpStream, broker: &mut TcpStream, deaf: &AtomicBool) -> std::io::Result<()> {
        loop {
            let mut length = [0; 4];
            client.read_exact(&mut length)?;
            let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("a length")];
            client.read_exact(&mut request)?;
            let fate = self.fate(&request);
            match fate {
                Fate::Passes => {}
                Fate::PassesUnanswered => deaf.store(true, Ordering::SeqCst),
                Fate::Torn => request.truncate(request.len() / 2),
                Fate::Lost => return Ok(()),
            }
            broker.write_all(&[&length, request.as_slice()].concat())?;
            if matches!(fate, Fate::Torn) {
                return Ok(());
            }
        }
    }
}
