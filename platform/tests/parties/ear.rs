//! A socket of our own: what a counterparty would see of us, and what it tells us.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// One request as it came.
pub(crate) struct Heard {
    /// The request line.
    pub(crate) line: String,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    /// The whole body.
    pub(crate) body: Vec<u8>,
}

/// What to do with a request once it is read.
#[derive(Clone)]
pub(crate) enum Then {
    /// Answer with these bytes and keep the connection.
    Say(Vec<u8>),
    /// Close the connection.
    HangUp,
    /// Keep the connection and say nothing.
    Hold,
}

/// Listens, hands every request on, and does one thing with all of them.
pub(crate) struct Ear {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// How many connections were made.
    pub(crate) connections: Arc<AtomicUsize>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Ear {
    pub(crate) async fn open(then: Then) -> Ear {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (tell, heard) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, tell.clone(), then.clone()));
            }
        });
        Ear { url, connections, heard }
    }

    /// The next request; fails the test when none comes.
    pub(crate) async fn next(&mut self) -> Heard {
        let next = tokio::time::timeout(Duration::from_secs(20), self.heard.recv()).await;
        next.expect("a request in time").expect("the ear is open")
    }

    /// What came and was not looked at.
    pub(crate) fn rest(&mut self) -> usize {
        std::iter::from_fn(|| self.heard.try_recv().ok()).count()
    }
}

async fn serve(mut stream: TcpStream, tell: mpsc::UnboundedSender<Heard>, then: Then) {
    let mut buffer = Vec::new();
    while let Some(heard) = read(&mut stream, &mut buffer).await {
        // The test may be over before the last notice is.
        let _ = tell.send(heard);
        match &then {
            Then::Say(bytes) => {
                if stream.write_all(bytes).await.is_err() {
                    return;
                }
            }
            Then::HangUp => return,
            Then::Hold => {}
        }
    }
}

/// One request; `None` at the end of the connection.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Heard> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let end = head_end + length.parse::<usize>().ok()?;
    while buffer.len() < end {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_end..end].to_vec();
    buffer.drain(..end);
    Some(Heard { line, headers, body })
}
