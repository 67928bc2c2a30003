//! The platform's end of the link, driven by hand: it accepts connections one after the other and shows every frame.

use std::time::Duration;

use adapter_core::clock::{Clock as _, RealClock};
use futures_util::{SinkExt as _, StreamExt as _};
use schema::ids::MessageId;
use schema::link::{Body, Frame, Opening, Reply, ToInstitution, ToPlatform, hello_bytes};
use schema::refusal::{Code, Refusal};
use schema::sign::{PublicKey, SigningKey};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Longer than anything here takes, shorter than anyone's patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// A platform that listens.
pub(crate) struct Platform {
    listener: TcpListener,
    pub(crate) key: SigningKey,
    pub(crate) url: String,
    pub(crate) heartbeat_s: u64,
    /// Added to the true time in the welcome, in seconds.
    pub(crate) clock_ahead_s: i64,
}

impl Platform {
    pub(crate) async fn listen() -> Platform {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ws://{}/link/v1", listener.local_addr().expect("an address"));
        Platform { listener, key: SigningKey::from_seed([9; 32]), url, heartbeat_s: 15, clock_ahead_s: 0 }
    }

    /// The next connection that introduces itself. One that was queued by an adapter killed since does not.
    async fn next(&self) -> (WebSocketStream<TcpStream>, PublicKey, String) {
        loop {
            let (stream, _) = patiently(self.listener.accept()).await.expect("a connection");
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
            if let Some((key, institution)) = hello(&mut socket).await {
                return (socket, key, institution);
            }
        }
    }

    /// Accepts the next connection and welcomes whoever proves to hold `public_key`.
    pub(crate) async fn accept(&self, public_key: &str) -> Link<'_> {
        let (mut socket, key, institution) = self.next().await;
        assert_eq!(key.to_string(), public_key);
        let server_time_us = RealClock::default().now_us() + self.clock_ahead_s * 1_000_000;
        let welcome = Opening::Welcome {
            heartbeat_s: self.heartbeat_s,
            server_time_us,
            institution_name: institution,
            platform_key: self.key.public(),
        };
        assert!(say(&mut socket, &welcome).await, "welcomed");
        Link { socket, key: &self.key, adapter: key }
    }

    /// Accepts the next connection and says nothing.
    pub(crate) async fn hang_up_before_challenge(&self) {
        let (stream, _) = patiently(self.listener.accept()).await.expect("a connection");
        drop(tokio_tungstenite::accept_async(stream).await);
    }

    /// Accepts the next connection and hears its hello.
    pub(crate) async fn hang_up_before_welcome(&self) {
        drop(self.next().await);
    }

    /// Accepts the next connection and refuses it.
    pub(crate) async fn refuse(&self, code: Code) {
        let (mut socket, ..) = self.next().await;
        assert!(say(&mut socket, &Opening::Refused { problem: Refusal::new(code, "test").problem(None) }).await);
        let _ = socket.close(None).await;
    }
}

async fn hello(socket: &mut WebSocketStream<TcpStream>) -> Option<(PublicKey, String)> {
    let nonce = "00".repeat(32);
    if !say(socket, &Opening::Challenge { nonce: nonce.clone() }).await {
        return None;
    }
    let Some(Ok(Message::Text(text))) = patiently(socket.next()).await else { return None };
    let Ok(Opening::Hello { institution, key, signature, .. }) = serde_json::from_str(&text) else {
        unreachable!("a hello was due: {text}")
    };
    key.verify(&hello_bytes(&nonce, &institution), &signature).expect("the hello is signed");
    Some((key, institution.to_string()))
}

async fn say(socket: &mut WebSocketStream<TcpStream>, words: &Opening) -> bool {
    let text = serde_json::to_string(words).expect("serialises");
    socket.send(Message::text(text)).await.is_ok()
}

pub(crate) async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it should not take that long")
}

/// One open link, seen from the platform.
pub(crate) struct Link<'a> {
    socket: WebSocketStream<TcpStream>,
    key: &'a SigningKey,
    adapter: PublicKey,
}

impl Link<'_> {
    /// The next frame as text and read; its signature is checked.
    pub(crate) async fn hear(&mut self) -> (String, Frame, Body) {
        loop {
            match patiently(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Frame = serde_json::from_str(&text).expect("a frame");
                    frame.verify(&self.adapter).expect("signed by the adapter");
                    let body = frame.body().expect("a body");
                    return (text.to_string(), frame, body);
                }
                Some(Ok(_)) => {}
                other => unreachable!("the link ended: {other:?}"),
            }
        }
    }

    /// The next ask of the institution.
    pub(crate) async fn hear_ask(&mut self) -> (Frame, ToPlatform) {
        match self.hear().await {
            (_, frame, Body::ToPlatform { ask }) => (frame, ask),
            (_, _, other) => unreachable!("an ask was due: {other:?}"),
        }
    }

    /// The next reply of the institution, with its text.
    pub(crate) async fn hear_reply(&mut self) -> (String, Frame, Reply) {
        match self.hear().await {
            (text, frame, Body::Reply { reply }) => (text, frame, reply),
            (_, _, other) => unreachable!("a reply was due: {other:?}"),
        }
    }

    /// Replies to an ask.
    pub(crate) async fn reply(&mut self, ask: &Frame, reply: Reply) {
        let body = Body::Reply { reply };
        self.send(&Frame::signed(self.key, fresh_id(), Some(ask.id), None, &body).expect("a frame")).await;
    }

    /// Asks something of the institution under this id.
    pub(crate) async fn ask(&mut self, id: MessageId, ask: ToInstitution) {
        let trace = Some("ab".repeat(16));
        let body = Body::ToInstitution { ask };
        self.send(&Frame::signed(self.key, id, None, trace, &body).expect("a frame")).await;
    }

    /// Sends a frame as it is.
    pub(crate) async fn send(&mut self, frame: &Frame) {
        self.send_text(serde_json::to_string(frame).expect("serialises")).await;
    }

    /// Sends any text.
    pub(crate) async fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.expect("sent");
    }

    /// Waits for a ping.
    pub(crate) async fn hear_ping(&mut self) {
        loop {
            match patiently(self.socket.next()).await {
                Some(Ok(Message::Ping(_))) => return,
                Some(Ok(_)) => {}
                other => unreachable!("the link ended: {other:?}"),
            }
        }
    }
}

/// A fresh message id.
pub(crate) fn fresh_id() -> MessageId {
    RealClock::default().message_id()
}
