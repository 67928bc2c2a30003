//! The gateway itself: synchronous, deterministic, the clock handed in.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};

/// How many message ids are remembered for idempotency, oldest forgotten first.
const IDS_REMEMBERED: usize = 200_000;
/// The longest text, in characters (ten concatenated Chinese messages).
const LONGEST_TEXT: usize = 670;

/// `POST /sms/v1/messages`. `message_id` is the idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The sender's id of the message, 1–64 characters.
    pub message_id: String,
    /// 11 digits of mainland China.
    pub phone: String,
    /// The template's name.
    pub template: String,
    /// What was filled into it.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What the person reads.
    pub text: String,
}

/// A message in an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Rises by one with every message of the gateway; the cursor of an inbox.
    pub seq: u64,
    /// When it arrived.
    pub received_at: DateTime<FixedOffset>,
    /// The message.
    #[serde(flatten)]
    pub message: Message,
}

/// Why a message was not taken. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Every fault of the message.
    #[error("短信格式错误 malformed message: {}", .0.join("; "))]
    Malformed(Vec<String>),
    /// The id belongs to another message.
    #[error("message_id 已用于另一条短信 the id belongs to another message")]
    OtherContent,
}

/// The gateway's whole state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Core {
    keeps_per_phone: usize,
    last_seq: u64,
    inboxes: BTreeMap<String, VecDeque<Received>>,
    taken: BTreeMap<String, Message>,
    taken_order: VecDeque<String>,
}

impl Core {
    /// An empty gateway that keeps the last `keeps_per_phone` messages of each phone.
    pub fn new(keeps_per_phone: usize) -> Core {
        Core {
            keeps_per_phone,
            last_seq: 0,
            inboxes: BTreeMap::new(),
            taken: BTreeMap::new(),
            taken_order: VecDeque::new(),
        }
    }

    /// Takes a message into its phone's inbox; a repeat of the same message changes nothing.
    pub fn send(&mut self, message: &Message, now: DateTime<FixedOffset>) -> Result<(), Refusal> {
        let faults = faults_of(message);
        if !faults.is_empty() {
            return Err(Refusal::Malformed(faults));
        }
        match self.taken.get(&message.message_id) {
            Some(known) if known == message => return Ok(()),
            Some(_) => return Err(Refusal::OtherContent),
            None => {}
        }
        self.taken.insert(message.message_id.clone(), message.clone());
        self.taken_order.push_back(message.message_id.clone());
        if self.taken_order.len() > IDS_REMEMBERED
            && let Some(oldest) = self.taken_order.pop_front()
        {
            self.taken.remove(&oldest);
        }
        self.arrive_again(message, now);
        Ok(())
    }

    /// Puts a message into its phone's inbox once more, as networks do now and then. Answers its seq.
    pub fn arrive_again(&mut self, message: &Message, now: DateTime<FixedOffset>) -> u64 {
        self.last_seq += 1;
        let inbox = self.inboxes.entry(message.phone.clone()).or_default();
        inbox.push_back(Received { seq: self.last_seq, received_at: now, message: message.clone() });
        while inbox.len() > self.keeps_per_phone {
            inbox.pop_front();
        }
        self.last_seq
    }

    /// A phone's messages with a seq above `after` (0 for all that are kept), newest last.
    pub fn inbox(&self, phone: &str, after: u64) -> Vec<Received> {
        let inbox = self.inboxes.get(phone);
        inbox.into_iter().flatten().filter(|received| received.seq > after).cloned().collect()
    }

    /// The newest message's seq, over all phones; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }
}

fn faults_of(message: &Message) -> Vec<String> {
    let mut faults = Vec::new();
    if !(1..=64).contains(&message.message_id.chars().count()) {
        faults.push("message_id has not 1 to 64 characters".to_owned());
    }
    if message.phone.len() != 11
        || !message.phone.starts_with('1')
        || !message.phone.bytes().all(|b| b.is_ascii_digit())
    {
        faults.push("phone is not 11 digits beginning with 1".to_owned());
    }
    if !(1..=64).contains(&message.template.chars().count()) {
        faults.push("template has not 1 to 64 characters".to_owned());
    }
    if !(1..=LONGEST_TEXT).contains(&message.text.chars().count()) {
        faults.push(format!("text has not 1 to {LONGEST_TEXT} characters"));
    }
    faults
}
