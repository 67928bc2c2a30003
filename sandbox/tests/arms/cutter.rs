//! Whoever cuts the link: stands between the adapters and the platform, passes everything on, and lets the line drop
//! at a chosen message, on its way there or on its answer's way back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::{SinkExt, StreamExt};
use schema::ids::MessageId;
use schema::link::{Body, Frame, Opening, ToInstitution, ToPlatform};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

/// Which half of a conversation is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// The question never arrives.
    Ask,
    /// The question arrived and its answer does not.
    Reply,
}

/// The line drops once at this message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cut {
    institution: String,
    /// The message's word (`pre_settle`, `bill` …).
    word: &'static str,
    /// Something that only the message meant carries: a bill number, a certificate.
    about: String,
    half: Half,
}

/// A question that passed.
#[derive(Debug, Clone)]
struct Asked {
    word: &'static str,
    payload: String,
}

/// Whoever cuts.
#[derive(Debug)]
pub(crate) struct Cutter {
    /// Where adapters dial.
    pub(crate) url: String,
    platform: OnceLock<String>,
    cuts: Mutex<Vec<Cut>>,
    asked: Mutex<BTreeMap<MessageId, Asked>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cutter {
    /// Listens on a free port. Hangs up on everybody until [`Cutter::leads_to`].
    pub(crate) async fn listen() -> Arc<Cutter> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let cutter = Arc::new(Cutter {
            url: format!("ws://{address}"),
            platform: OnceLock::new(),
            cuts: Mutex::default(),
            asked: Mutex::default(),
        });
        let serving = Arc::clone(&cutter);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let relaying = Arc::clone(&serving);
                tokio::spawn(async move { relaying.relay(stream).await });
            }
        });
        cutter
    }

    /// Where the platform listens (`http://…`).
    pub(crate) fn leads_to(&self, platform_url: &str) {
        let set = self.platform.set(platform_url.replacen("http", "ws", 1));
        assert!(set.is_ok(), "the line leads somewhere already");
    }

    /// Lets the line of an institution drop once at `word`, at the message that carries `about`.
    pub(crate) fn cut(&self, institution: &str, word: &'static str, about: &str, half: Half) {
        let cut = Cut { institution: institution.to_owned(), word, about: about.to_owned(), half };
        lock(&self.cuts).push(cut);
    }

    /// Whether everything that was to be cut about this was cut.
    pub(crate) fn has_cut_all(&self, institution: &str, about: &str) -> bool {
        !lock(&self.cuts).iter().any(|cut| cut.institution == institution && cut.about == about)
    }

    /// Passes on one conversation until either side ends it or it is cut.
    async fn relay(&self, stream: TcpStream) -> Option<()> {
        let platform = self.platform.get()?;
        let mut adapter = accept_async(stream).await.ok()?;
        let (mut platform, _) = connect_async(format!("{platform}/link/v1")).await.ok()?;
        let mut institution = String::new();
        loop {
            let (message, to_platform) = tokio::select! {
                message = adapter.next() => (message?.ok()?, true),
                message = platform.next() => (message?.ok()?, false),
            };
            if let Message::Text(text) = &message {
                if let Ok(Opening::Hello { institution: named, .. }) = serde_json::from_str(text) {
                    institution = named.to_string();
                } else if self.falls(&institution, text) {
                    return None;
                }
            }
            match message {
                // Each hop answers pings by itself; the pong of the other hop would be one too many.
                Message::Pong(_) | Message::Frame(_) => {}
                Message::Close(_) => return None,
                passed if to_platform => platform.send(passed).await.ok()?,
                passed => adapter.send(passed).await.ok()?,
            }
        }
    }

    /// Whether the line drops at this message, which then goes nowhere.
    fn falls(&self, institution: &str, text: &str) -> bool {
        let Ok(frame) = serde_json::from_str::<Frame>(text) else { return false };
        let (asked, half) = match frame.body() {
            Ok(Body::ToInstitution { ask }) => (Some(down(&ask)), Half::Ask),
            Ok(Body::ToPlatform { ask }) => (Some(up(&ask)), Half::Ask),
            Ok(Body::Reply { .. }) => (None, Half::Reply),
            Err(_) => return false,
        };
        let mut all = lock(&self.asked);
        let asked = match (asked, frame.re) {
            (Some(word), _) => {
                let asked = Asked { word, payload: frame.payload.0 };
                all.insert(frame.id, asked.clone());
                asked
            }
            (None, Some(re)) => match all.get(&re) {
                Some(asked) => asked.clone(),
                None => return false,
            },
            (None, None) => return false,
        };
        let mut cuts = lock(&self.cuts);
        let fits = |cut: &Cut| {
            cut.institution == institution
                && cut.half == half
                && cut.word == asked.word
                && asked.payload.contains(&cut.about)
        };
        match cuts.iter().position(fits) {
            Some(at) => {
                cuts.remove(at);
                true
            }
            None => false,
        }
    }
}

/// The word of a message on its way down. A new kind does not compile until it has one here, and an arm in `link`.
const fn down(ask: &ToInstitution) -> &'static str {
    match ask {
        ToInstitution::PreSettle(_) => "pre_settle",
        ToInstitution::Release(_) => "release",
        ToInstitution::Settled(_) => "settled",
        ToInstitution::Undone(_) => "undone",
        ToInstitution::QueryPayment(_) => "query_payment",
    }
}

/// The same on its way up.
const fn up(ask: &ToPlatform) -> &'static str {
    match ask {
        ToPlatform::Bill(_) => "bill",
        ToPlatform::Withdraw(_) => "withdraw",
        ToPlatform::Claim(_) => "claim",
        ToPlatform::Refund(_) => "refund",
        ToPlatform::OrderQuery(_) => "order_query",
        ToPlatform::DayList(_) => "day_list",
        ToPlatform::BindVisitCard(_) => "bind_visit_card",
    }
}
