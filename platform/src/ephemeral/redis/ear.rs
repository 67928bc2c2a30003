//! What others say: bells and letters, over one subscription per process, which is made anew whenever it breaks.
//!
//! Nobody can know what was said meanwhile. Listeners are told so; letters are sent again by whoever misses an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Client, Msg};
use schema::ids::ProcessId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::line::Line;
use super::ringer::Word;
use super::{BELLS, MAIL};
use crate::ephemeral::bells::Bells;
use crate::ephemeral::{LETTERS_MAX, Unreachable};

/// How often a silent subscription is asked whether it lives.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Between two attempts to subscribe.
const AGAIN_FIRST: Duration = Duration::from_millis(20);
const AGAIN_MOST: Duration = Duration::from_millis(500);

pub(super) struct Ear {
    client: Client,
    line: Arc<Line>,
    /// Which process this is: its own bells it has heard already.
    by: Uuid,
    pub(super) bells: Bells,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    mail: HashMap<ProcessId, mpsc::Sender<Vec<u8>>>,
    /// While the subscription stands: to subscribe to more.
    sink: Option<PubSubSink>,
}

/// A subscription that stands.
pub(super) struct Standing {
    sink: PubSubSink,
    messages: PubSubStream,
}

impl Ear {
    pub(super) fn new(client: Client, line: Arc<Line>, by: Uuid) -> Ear {
        Ear { client, line, by, bells: Bells::default(), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to everything that somebody here wants to hear.
    pub(super) async fn subscribe(&self) -> Result<PubSub, Unreachable> {
        let mut subscription = self.line.bounded(self.client.get_async_pubsub()).await?;
        let channels: Vec<String> =
            std::iter::once(BELLS.to_owned()).chain(self.lock().mail.keys().map(mail_of)).collect();
        self.line.bounded(subscription.subscribe(channels)).await?;
        Ok(subscription)
    }

    /// Whether the subscription stands.
    pub(super) fn listens(&self) -> bool {
        self.lock().sink.is_some()
    }

    pub(super) async fn mail(&self, of: ProcessId) -> Result<mpsc::Receiver<Vec<u8>>, Unreachable> {
        let (letters, mail) = mpsc::channel(LETTERS_MAX);
        let sink = {
            let mut inner = self.lock();
            inner.mail.insert(of, letters);
            inner.sink.clone()
        };
        let mut sink = sink.ok_or_else(|| Unreachable("the subscription is being mended".into()))?;
        self.line.bounded(sink.subscribe(mail_of(&of))).await?;
        Ok(mail)
    }

    /// From now on more can be subscribed to.
    pub(super) fn stand(&self, subscription: PubSub) -> Standing {
        let (sink, messages) = subscription.split();
        self.lock().sink = Some(sink.clone());
        Standing { sink, messages }
    }

    /// Hears for ever.
    pub(super) async fn run(self: Arc<Self>, first: Standing) {
        let mut standing = first;
        loop {
            let why = self.hear(standing).await;
            self.lock().sink = None;
            tracing::warn!(why, "the subscription at Redis broke");
            standing = self.stand(self.again().await);
            // The same trouble has broken the connection for commands: it works before anybody is told to look.
            self.line.mend().await;
            tracing::info!("the subscription at Redis stands again");
            self.bells.missed();
        }
    }

    async fn again(&self) -> PubSub {
        let mut wait = AGAIN_FIRST;
        loop {
            match self.subscribe().await {
                Ok(subscription) => return subscription,
                Err(error) => tracing::debug!(%error, "no subscription yet"),
            }
            tokio::time::sleep(wait).await;
            wait = AGAIN_MOST.min(wait * 2);
        }
    }

    /// Hears until the subscription breaks: why it did.
    async fn hear(&self, Standing { mut sink, mut messages }: Standing) -> String {
        let mut ask = interval(ASK_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.heard(&message),
                    None => return "the connection ended".into(),
                },
                _ = ask.tick() => {
                    if let Err(error) = self.line.bounded(sink.ping::<redis::Value>()).await {
                        return error.0;
                    }
                }
            }
        }
    }

    fn heard(&self, message: &Msg) {
        let (channel, said) = (message.get_channel_name(), message.get_payload_bytes());
        if channel == BELLS {
            match Word::read(said, self.by) {
                Some(Word::Bell { tenant, user, bell }) => self.bells.ring(tenant, user, bell),
                Some(Word::Missed) => self.bells.missed(),
                None => {}
            }
            return;
        }
        let Some(process) = channel.strip_prefix(MAIL).and_then(|process| process.parse::<ProcessId>().ok()) else {
            return;
        };
        let mut inner = self.lock();
        match inner.mail.get(&process).map(|mail| mail.try_send(said.to_vec())) {
            Some(Err(mpsc::error::TrySendError::Full(_))) => tracing::warn!("a letter is lost: its reader is slow"),
            Some(Err(mpsc::error::TrySendError::Closed(_))) => drop(inner.mail.remove(&process)),
            Some(Ok(())) | None => {}
        }
    }
}

fn mail_of(process: &ProcessId) -> String {
    format!("{MAIL}{process}")
}
