//! The adapter's memory: what survives a SIGKILL at any moment.
//!
//! One thread writes. It takes whatever queued while the last commit ran, writes it in one commit (WAL,
//! `synchronous=FULL`) and only then answers, so that one flush pays for many. Payloads are sealed before they get
//! here and opened after they left: the file shows numbers of bills, never people.
//!
//! * An **ask** (ours to the platform) is a row before the HIS hears of it and until a reply came.
//! * **Work** (the platform's ask to us) is a row before the HIS sees it; its answer is a row before it is sent.
//! * The first reply and the first answer win; a repeat reads them back.

mod reader;
mod rows;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use schema::ids::MessageId;
use schema::seal::{CannotOpen, Lookup, Sealed, Vault};
use tokio::sync::oneshot;

use crate::clock::SharedClock;
use reader::Reader;
use writer::{Command, Job};

/// What kind of ask a row is. Queries and card bindings are not among them: a query changes nothing, and a binding
/// carries a card's payment password, which is never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AskKind {
    /// A new bill.
    Bill,
    /// The bill no longer exists.
    Withdraw,
    /// The window takes the bill back.
    Claim,
    /// Money back.
    Refund,
}

impl AskKind {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            AskKind::Bill => "bill",
            AskKind::Withdraw => "withdraw",
            AskKind::Claim => "claim",
            AskKind::Refund => "refund",
        }
    }

    /// Whether the institution's number names one content for ever.
    const fn number_fixes_content(self) -> bool {
        matches!(self, AskKind::Bill | AskKind::Refund)
    }
}

/// The journal failed; nothing of the request is known to be stored.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the journal failed: {0}")]
pub struct JournalFault(pub String);

impl From<diesel::result::Error> for JournalFault {
    fn from(error: diesel::result::Error) -> JournalFault {
        JournalFault(error.to_string())
    }
}

impl From<CannotOpen> for JournalFault {
    fn from(error: CannotOpen) -> JournalFault {
        JournalFault(error.to_string())
    }
}

/// An ask to be stored.
#[derive(Debug, Clone)]
pub struct NewAsk {
    /// Its message id, should it turn out to be new.
    pub id: MessageId,
    /// Its kind.
    pub kind: AskKind,
    /// The institution's number.
    pub subject: String,
    /// The body as JSON text.
    pub payload: Arc<str>,
    /// Its trace.
    pub trace_id: String,
    /// The latest ask about this number, if its reply does not settle the matter: it is asked anew under a new id, and if
    /// that reply was a refusal with other content too.
    pub after: Option<MessageId>,
}

/// What became of an ask that was to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Stored under this id.
    Stored(MessageId),
    /// The same ask is there already, under this id; with its reply as JSON text, if one came.
    Already {
        /// The id under which it is asked.
        id: MessageId,
        /// The reply.
        reply: Option<String>,
    },
    /// The number is there with other content, under this id; with its reply as JSON text, if one came.
    Changed {
        /// The id under which the other content is asked.
        id: MessageId,
        /// The reply to it.
        reply: Option<String>,
    },
}

/// Work to be stored.
#[derive(Debug, Clone)]
pub struct NewWork {
    /// The platform's message id.
    pub id: MessageId,
    /// The body as JSON text, as received.
    pub payload: Arc<str>,
    /// Its trace.
    pub trace_id: Option<String>,
}

/// What became of work that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// New, with its place in the order of arrival.
    New {
        /// Place.
        seq: i64,
        /// When: microseconds UTC.
        received_us: i64,
    },
    /// Known and not answered yet, with its place and the time of its first arrival.
    Waiting {
        /// Place.
        seq: i64,
        /// When: microseconds UTC.
        received_us: i64,
    },
    /// Known and answered: send this again.
    Answered(Answer),
}

/// An answer to work, as it is sent: the same bytes every time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The work.
    pub re: MessageId,
    /// The message id of the answer itself.
    pub id: MessageId,
    /// The body as JSON text.
    pub payload: Arc<str>,
    /// The work's trace.
    pub trace_id: Option<String>,
    /// When it was given: microseconds UTC.
    pub answered_us: i64,
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It is the answer.
    First(Answer),
    /// There was one before; that one counts.
    Before(Answer),
    /// No such work.
    Unknown,
}

/// An ask that still waits for its reply, as found at start.
#[derive(Debug, Clone)]
pub struct WaitingAsk {
    /// Its message id.
    pub id: MessageId,
    /// Its kind, as [`AskKind::as_str`] writes it.
    pub kind: String,
    /// The institution's number.
    pub subject: String,
    /// Its trace.
    pub trace_id: String,
}

/// Work that still waits for its answer, as found at start.
#[derive(Debug, Clone)]
pub struct WaitingWork {
    /// Place in the order of arrival.
    pub seq: i64,
    /// The platform's message id.
    pub id: MessageId,
    /// The body as JSON text.
    pub payload: String,
    /// Its trace.
    pub trace_id: Option<String>,
    /// When it arrived: microseconds UTC.
    pub received_us: i64,
}

/// The latest ask about one number.
#[derive(Debug, Clone)]
pub struct LatestAsk {
    /// Its message id.
    pub id: MessageId,
    /// The body as JSON text.
    pub payload: String,
    /// The reply as JSON text.
    pub reply: Option<String>,
}

/// The journal. Cheap to clone; the file closes when the last clone is dropped and the queue has run dry.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    vault: Arc<Vault>,
    clock: SharedClock,
    reader: Reader,
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Journal")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has already said so on stderr; there is nothing left to save here.
            let _ = thread.join();
        }
    }
}

/// Whether the file can be read and opens with this vault; says nothing about a file that is not there yet.
pub fn check(path: &Path, vault: Vault) -> Result<(), JournalFault> {
    if path.exists() { Reader::open(path, Arc::new(vault))?.check() } else { Ok(()) }
}

impl Journal {
    /// Opens the journal, making or migrating the file.
    pub fn open(path: &Path, vault: Vault, clock: SharedClock) -> Result<Journal, JournalFault> {
        let vault = Arc::new(vault);
        let connection = writer::connect(path)?;
        let (queue, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(connection, &jobs))
            .map_err(|error| JournalFault(error.to_string()))?;
        let reader = Reader::open(path, Arc::clone(&vault))?;
        Ok(Journal { shared: Arc::new(Shared { vault, clock, reader, queue: Some(queue), thread: Some(thread) }) })
    }

    /// Whether the thread that writes is still there.
    pub fn is_writing(&self) -> bool {
        self.shared.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// The keyed hash by which two contents are compared.
    pub fn content(&self, payload: &str) -> Lookup {
        self.shared.vault.lookup("ask content", payload)
    }

    fn seal(&self, purpose: &str, text: &str) -> Sealed {
        self.shared.vault.seal(self.shared.clock.nonce(), purpose, text.as_bytes())
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, JournalFault>>) -> Command,
    ) -> Result<T, JournalFault> {
        let (answer, answered) = oneshot::channel();
        let gone = || JournalFault("its commit failed or its writer has stopped".to_owned());
        let queue = self.shared.queue.as_ref().ok_or_else(gone)?;
        queue.send(Job { command: command(answer) }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Stores an ask, unless it is there already. Durable when this returns.
    pub async fn ask(&self, ask: &NewAsk) -> Result<Asked, JournalFault> {
        let row = rows::NewAskRow {
            id: ask.id.to_vec(),
            kind: ask.kind.as_str(),
            subject: ask.subject.clone(),
            content: self.content(&ask.payload).as_bytes().to_vec(),
            payload: self.seal(rows::ASK, &ask.payload).as_bytes().to_vec(),
            trace_id: ask.trace_id.clone(),
            asked_us: self.shared.clock.now_us(),
        };
        let (after, fixed) = (ask.after, ask.kind.number_fixes_content());
        let outcome = self.command(|answer| Command::Ask { row, after, fixed, answer }).await?;
        let open = |reply: Option<Vec<u8>>| reply.map(|sealed| self.open_text(rows::REPLY, sealed)).transpose();
        Ok(match outcome {
            writer::AskOutcome::Stored => Asked::Stored(ask.id),
            writer::AskOutcome::Changed { id, reply } => Asked::Changed { id, reply: open(reply)? },
            writer::AskOutcome::Already { id, reply } => Asked::Already { id, reply: open(reply)? },
        })
    }

    /// Stores the reply to an ask. True if it is the first one; false if there was one before or no such ask.
    pub async fn replied(&self, id: MessageId, reply: &str) -> Result<bool, JournalFault> {
        let sealed = self.seal(rows::REPLY, reply).as_bytes().to_vec();
        let at = self.shared.clock.now_us();
        self.command(|answer| Command::Replied { id, reply: sealed, at, answer }).await
    }

    /// Stores work, unless it is known. Durable when this returns.
    pub async fn receive(&self, work: &NewWork) -> Result<Received, JournalFault> {
        let row = rows::NewWorkRow {
            id: work.id.to_vec(),
            payload: self.seal(rows::WORK, &work.payload).as_bytes().to_vec(),
            trace_id: work.trace_id.clone(),
            received_us: self.shared.clock.now_us(),
        };
        let received_us = row.received_us;
        Ok(match self.command(|answer| Command::Receive { row, answer }).await? {
            writer::ReceiveOutcome::New { seq } => Received::New { seq, received_us },
            writer::ReceiveOutcome::Waiting { seq, received_us } => Received::Waiting { seq, received_us },
            writer::ReceiveOutcome::Answered(row) => Received::Answered(self.shared.reader.answer(row)?),
        })
    }

    /// Stores the answer to work. Durable when this returns; the first one wins.
    pub async fn answer(&self, re: MessageId, payload: &str) -> Result<Answered, JournalFault> {
        let sealed = self.seal(rows::ANSWER, payload).as_bytes().to_vec();
        let (id, at) = (self.shared.clock.message_id(), self.shared.clock.now_us());
        let outcome = self.command(|answer| Command::Answer { re, id, payload: sealed, at, answer }).await?;
        Ok(match outcome {
            writer::AnswerOutcome::First(row) => Answered::First(self.shared.reader.answer(row)?),
            writer::AnswerOutcome::Before(row) => Answered::Before(self.shared.reader.answer(row)?),
            writer::AnswerOutcome::Unknown => Answered::Unknown,
        })
    }

    /// The answer that was given to work; none while it waits, or if there is no such work.
    pub async fn answered(&self, re: MessageId) -> Result<Option<Answer>, JournalFault> {
        self.read(move |reader| reader.answered(re)).await
    }

    /// Forgets what was answered before `before_us`; returns how many rows went.
    pub async fn forget(&self, before_us: i64) -> Result<usize, JournalFault> {
        self.command(|answer| Command::Forget { before_us, answer }).await
    }

    /// Everything that still waits for a reply of the platform, oldest first.
    pub fn waiting_asks(&self) -> Result<Vec<WaitingAsk>, JournalFault> {
        self.shared.reader.waiting_asks()
    }

    /// Everything that still waits for an answer of the HIS, oldest first.
    pub fn waiting_work(&self) -> Result<Vec<WaitingWork>, JournalFault> {
        self.shared.reader.waiting_work()
    }

    /// The body of one ask; none if there is no such row.
    pub async fn ask_payload(&self, id: MessageId) -> Result<Option<String>, JournalFault> {
        self.read(move |reader| reader.ask_payload(id)).await
    }

    /// The latest ask of one kind about one number.
    pub async fn latest_ask(&self, kind: AskKind, subject: &str) -> Result<Option<LatestAsk>, JournalFault> {
        let subject = subject.to_owned();
        self.read(move |reader| reader.latest_ask(kind, &subject)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, JournalFault> + Send + 'static,
    ) -> Result<T, JournalFault> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || read(&shared.reader))
            .await
            .map_err(|error| JournalFault(error.to_string()))?
    }

    fn open_text(&self, purpose: &str, sealed: Vec<u8>) -> Result<String, JournalFault> {
        Ok(self.shared.vault.open_text(purpose, &Sealed::from_bytes(sealed))?)
    }
}

#[cfg(test)]
mod tests;
