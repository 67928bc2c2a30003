//! An adapter written from the schema alone.

use futures_util::{SinkExt as _, StreamExt as _};
use schema::ids::{InstitutionCode, MessageId};
use schema::link::{Body, Frame, Opening, PriceAnswer, Reply, ToInstitution, ToPlatform, hello_bytes};
use schema::refusal::Problem;
use schema::sign::{PublicKey, SigningKey};
use schema::split::Split;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::world::{City, World};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Another answer than the usual one, to some questions.
pub type Instead = Box<dyn Fn(&ToInstitution) -> Option<Reply>>;

pub struct Adapter {
    pub socket: Socket,
    pub key: SigningKey,
    pub platform: PublicKey,
    pub heartbeat_s: u64,
    /// What this hospital answers other than usual.
    pub instead: Option<Instead>,
    next: u128,
}

pub async fn dial(world: &World) -> Socket {
    let url = format!("{}/link/v1", world.url.replace("http://", "ws://"));
    connect_async(url).await.expect("a WebSocket").0
}

pub async fn say<T: serde::Serialize>(socket: &mut Socket, word: &T) {
    let text = serde_json::to_string(word).expect("serialises");
    socket.send(Message::text(text)).await.expect("sent");
}

/// The next text, or none once the other side has closed.
pub async fn text(socket: &mut Socket) -> Option<String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Some(text.to_string()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

async fn opening(socket: &mut Socket) -> Opening {
    serde_json::from_str(&text(socket).await.expect("a word")).expect("an opening word")
}

/// Waits for the challenge and answers it with what `hello` makes of it.
pub async fn open(
    world: &World,
    hello: impl FnOnce(&str) -> Opening,
) -> Result<(Socket, PublicKey, u64), Box<Problem>> {
    let mut socket = dial(world).await;
    let Opening::Challenge { nonce } = opening(&mut socket).await else { panic!("the first word is the challenge") };
    say(&mut socket, &hello(&nonce)).await;
    match opening(&mut socket).await {
        Opening::Welcome { platform_key, heartbeat_s, .. } => Ok((socket, platform_key, heartbeat_s)),
        Opening::Refused { problem } => {
            assert_eq!(text(&mut socket).await, None, "a refused opening is closed");
            Err(Box::new(problem))
        }
        other => panic!("neither yes nor no: {other:?}"),
    }
}

pub fn hello(nonce: &str, institution: &InstitutionCode, key: &SigningKey) -> Opening {
    Opening::Hello {
        protocol: 1,
        institution: institution.clone(),
        key: key.public(),
        signature: key.sign(&hello_bytes(nonce, institution)),
        adapter_version: "test".into(),
    }
}

impl Adapter {
    /// A link that is up.
    pub async fn connect(world: &World, city: &City) -> Adapter {
        Adapter::try_connect(world, city).await.expect("let in")
    }

    pub async fn try_connect(world: &World, city: &City) -> Result<Adapter, Box<Problem>> {
        Adapter::connect_as(world, &city.hospital, &city.hospital_key).await
    }

    pub async fn connect_as(
        world: &World,
        institution: &InstitutionCode,
        key: &SigningKey,
    ) -> Result<Adapter, Box<Problem>> {
        let (socket, platform, heartbeat_s) = open(world, |nonce| hello(nonce, institution, key)).await?;
        let key = SigningKey::from_hex_seed(&key.to_hex_seed()).expect("a seed");
        Ok(Adapter { socket, key, platform, heartbeat_s, instead: None, next: 0 })
    }

    pub fn fresh(&mut self) -> MessageId {
        self.next += 1;
        MessageId::from_uuid(uuid::Uuid::from_u128(self.next))
    }

    pub async fn send(&mut self, id: MessageId, re: Option<MessageId>, body: &Body) {
        self.send_under(None, id, re, body).await;
    }

    pub async fn send_under(&mut self, trace_id: Option<String>, id: MessageId, re: Option<MessageId>, body: &Body) {
        let frame = Frame::signed(&self.key, id, re, trace_id, body).expect("signs");
        say(&mut self.socket, &frame).await;
    }

    /// The next frame, which is the platform's; none once the link is closed.
    pub async fn hear(&mut self) -> Option<(Frame, Body)> {
        let frame: Frame = serde_json::from_str(&text(&mut self.socket).await?).expect("a frame");
        frame.verify(&self.platform).expect("signed by the platform");
        let body = frame.body().expect("a body");
        Some((frame, body))
    }

    /// Asks, and works as a hospital until the answer is there.
    pub async fn ask(&mut self, ask: ToPlatform) -> Reply {
        let id = self.fresh();
        self.ask_as(id, ask).await
    }

    pub async fn ask_as(&mut self, id: MessageId, ask: ToPlatform) -> Reply {
        self.send(id, None, &Body::ToPlatform { ask }).await;
        loop {
            match self.hear().await.expect("the link lives") {
                (frame, Body::Reply { reply }) => {
                    assert_eq!(frame.re, Some(id));
                    return reply;
                }
                (frame, Body::ToInstitution { ask }) => self.perform(frame.id, &ask).await,
                (_, body) => panic!("not for an adapter: {body:?}"),
            }
        }
    }

    /// Does what the platform wants next.
    pub async fn work(&mut self) -> ToInstitution {
        let (frame, body) = self.hear().await.expect("the link lives");
        let Body::ToInstitution { ask } = body else { panic!("no work: {body:?}") };
        self.perform(frame.id, &ask).await;
        ask
    }

    /// Works as a hospital for ever.
    pub async fn works(&mut self) -> ! {
        loop {
            self.work().await;
        }
    }

    async fn perform(&mut self, id: MessageId, ask: &ToInstitution) {
        self.perform_under(None, id, ask).await;
    }

    pub async fn perform_under(&mut self, trace_id: Option<String>, id: MessageId, ask: &ToInstitution) {
        let usual = || match ask {
            ToInstitution::PreSettle(ask) if ask.insured => Reply::Priced(Box::new(crate::insured::sound(ask))),
            ToInstitution::PreSettle(_) => Reply::Priced(Box::new(PriceAnswer {
                split: Split::all_cash(schema::money::Fen::new(crate::payment::AMOUNT)),
                valid_until_us: 4_000_000_000_000_000,
                insurance: None,
                lines: Vec::new(),
            })),
            ToInstitution::Settled(_) => Reply::Booked(schema::his::Guidance {
                window: Some("3号窗口".into()),
                ..schema::his::Guidance::default()
            }),
            ToInstitution::Release(_) | ToInstitution::Undone(_) => Reply::Done,
            ToInstitution::QueryPayment(_) => Reply::PaymentState(schema::his::PaymentState::NotBooked),
        };
        let reply = self.instead.as_ref().and_then(|instead| instead(ask)).unwrap_or_else(usual);
        let own = self.fresh();
        self.send_under(trace_id, own, Some(id), &Body::Reply { reply }).await;
    }
}
