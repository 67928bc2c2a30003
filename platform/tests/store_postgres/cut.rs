//! A wire to the server that is cut at the commit: before the server hears of it, or before its answer comes back.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// Where the next commit is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Nowhere,
    /// The server never hears the commit.
    Before,
    /// The server commits and its answer is lost.
    After,
}

pub(crate) struct Wire {
    pub(crate) url: String,
    next: Arc<AtomicU8>,
}

impl Wire {
    /// A wire to the server of this URL.
    pub(crate) fn to(url: &str) -> Wire {
        let (_, rest) = url.split_once('@').expect("a user");
        let (server, database) = rest.split_once('/').expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let next = Arc::new(AtomicU8::new(Cut::Nowhere as u8));
        let (server, cuts) = (server.to_owned(), Arc::clone(&next));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server, cuts) = (client.expect("a client"), server.clone(), Arc::clone(&cuts));
                thread::spawn(move || carry(client, &server, &cuts));
            }
        });
        Wire { url: url.replace(rest, &format!("127.0.0.1:{port}/{database}")), next }
    }

    /// Cuts the next commit.
    pub(crate) fn cut(&self, cut: Cut) {
        self.next.store(cut as u8, Ordering::SeqCst);
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|found| found == word)
}

/// The names of prepared statements that are transactions by themselves.
#[derive(Default)]
struct Alone(Vec<Vec<u8>>);

impl Alone {
    /// Whether one of them is sent to be run. One that is only prepared (`P`, its length, its name, its text) is learnt.
    fn is_in(&mut self, bytes: &[u8]) -> bool {
        if bytes[0] == b'P' && contains(bytes, b"tongfu_moved") {
            let name = bytes[5..].split_inclusive(|byte| *byte == 0).next().expect("a name");
            self.0.push(name.to_vec());
            return false;
        }
        bytes[0] == b'B' && self.0.iter().any(|name| contains(bytes, name))
    }
}

fn carry(mut client: TcpStream, server: &str, cuts: &AtomicU8) {
    let mut server = TcpStream::connect(server).expect("the server");
    let (mut from_server, mut to_client) = (server.try_clone().expect("a clone"), client.try_clone().expect("a clone"));
    let deaf = Arc::new(AtomicU8::new(0));
    let hears_not = Arc::clone(&deaf);
    thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut bytes) {
            if hears_not.load(Ordering::SeqCst) == 1 {
                // What comes now is the commit's answer: the server has committed.
                break;
            }
            if to_client.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
    let mut bytes = [0; 64 * 1024];
    let mut alone = Alone::default();
    while let Ok(read @ 1..) = client.read(&mut bytes) {
        let commits = contains(&bytes[..read], b"COMMIT") || alone.is_in(&bytes[..read]);
        let cut = if commits { cuts.swap(Cut::Nowhere as u8, Ordering::SeqCst) } else { 0 };
        if cut == Cut::Before as u8 {
            break;
        }
        if cut == Cut::After as u8 {
            deaf.store(1, Ordering::SeqCst);
        }
        if server.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    if deaf.load(Ordering::SeqCst) == 0 {
        let _ = server.shutdown(Shutdown::Both);
    }
    let _ = client.shutdown(Shutdown::Both);
}
