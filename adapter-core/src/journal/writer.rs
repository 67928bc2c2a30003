//! The only thread that writes the journal.

use std::path::Path;
use std::sync::mpsc::Receiver;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use schema::ids::MessageId;
use tokio::sync::oneshot;

use super::JournalFault;
use super::rows::{AnswerRow, NewAskRow, NewWorkRow, asks, work};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// The most commands of one commit: enough that a flush costs nothing per command, few enough to answer soon.
const MOST_PER_COMMIT: usize = 256;

type Reply<T> = oneshot::Sender<Result<T, JournalFault>>;

pub(super) enum AskOutcome {
    Stored,
    Already { id: MessageId, reply: Option<Vec<u8>> },
    Changed { id: MessageId, reply: Option<Vec<u8>> },
}

pub(super) enum ReceiveOutcome {
    New { seq: i64 },
    Waiting { seq: i64, received_us: i64 },
    Answered(AnswerRow),
}

pub(super) enum AnswerOutcome {
    First(AnswerRow),
    Before(AnswerRow),
    Unknown,
}

pub(super) enum Command {
    Ask { row: NewAskRow, after: Option<MessageId>, fixed: bool, answer: Reply<AskOutcome> },
    Replied { id: MessageId, reply: Vec<u8>, at: i64, answer: Reply<bool> },
    Receive { row: NewWorkRow, answer: Reply<ReceiveOutcome> },
    Answer { re: MessageId, id: MessageId, payload: Vec<u8>, at: i64, answer: Reply<AnswerOutcome> },
    Forget { before_us: i64, answer: Reply<usize> },
}

pub(super) struct Job {
    pub(super) command: Command,
}

/// Opens the file for writing and brings its tables up to date.
pub(super) fn connect(path: &Path) -> Result<SqliteConnection, JournalFault> {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy())
        .map_err(|error| JournalFault(format!("{}: {error}", path.display())))?;
    connection.batch_execute(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -2000;",
    )?;
    connection
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| JournalFault(format!("{}: {error}", path.display())))?;
    Ok(connection)
}

/// Writes until every sender is gone.
pub(super) fn run(mut connection: SqliteConnection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(MOST_PER_COMMIT - 1));
        write(&mut connection, batch);
    }
}

/// What to tell whom once the commit is known to have happened, or not.
type Tell = Box<dyn FnOnce(Option<&JournalFault>) + Send>;

fn tell<T: Send + 'static>(answer: Reply<T>, value: T) -> Tell {
    Box::new(move |fault| {
        // Whoever asked may have gone; what was written stays written.
        let _ = answer.send(match fault {
            None => Ok(value),
            Some(fault) => Err(fault.clone()),
        });
    })
}

fn write(connection: &mut SqliteConnection, batch: Vec<Job>) {
    let mut tells: Vec<Tell> = Vec::with_capacity(batch.len());
    let outcome = connection.immediate_transaction(|connection| {
        for job in batch {
            apply(connection, job.command, &mut tells)?;
        }
        diesel::QueryResult::Ok(())
    });
    // Commands after the one that failed have dropped their sender, which says the same.
    let fault = outcome.err().map(JournalFault::from);
    if let Some(fault) = &fault {
        tracing::error!(detail = %fault, "the journal could not be written");
    }
    for tell in tells {
        tell(fault.as_ref());
    }
}

fn apply(connection: &mut SqliteConnection, command: Command, tells: &mut Vec<Tell>) -> QueryResult<()> {
    tells.push(match command {
        Command::Ask { row, after, fixed, answer } => tell(answer, ask(connection, &row, after, fixed)?),
        Command::Replied { id, reply, at, answer } => {
            let changed = diesel::update(asks::table.filter(asks::id.eq(id.to_vec())).filter(asks::reply.is_null()))
                .set((asks::reply.eq(reply), asks::replied_us.eq(at)))
                .execute(connection)?;
            tell(answer, changed == 1)
        }
        Command::Receive { row, answer } => tell(answer, receive(connection, &row)?),
        Command::Answer { re, id, payload, at, answer } => {
            let changed = diesel::update(work::table.filter(work::id.eq(re.to_vec())).filter(work::answer.is_null()))
                .set((work::answer_id.eq(id.to_vec()), work::answer.eq(payload), work::answered_us.eq(at)))
                .execute(connection)?;
            let outcome = match answer_row(connection, &re.to_vec())? {
                Some(row) if changed == 1 => AnswerOutcome::First(row),
                Some(row) => AnswerOutcome::Before(row),
                None => AnswerOutcome::Unknown,
            };
            tell(answer, outcome)
        }
        Command::Forget { before_us, answer } => {
            let old_asks = diesel::delete(asks::table.filter(asks::replied_us.lt(before_us))).execute(connection)?;
            let old_work = diesel::delete(work::table.filter(work::answered_us.lt(before_us))).execute(connection)?;
            tell(answer, old_asks + old_work)
        }
    });
    Ok(())
}

fn ask(
    connection: &mut SqliteConnection,
    row: &NewAskRow,
    after: Option<MessageId>,
    fixed: bool,
) -> QueryResult<AskOutcome> {
    type Known = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);
    let known: Option<Known> = asks::table
        .filter(asks::kind.eq(row.kind))
        .filter(asks::subject.eq(&row.subject))
        .order(asks::seq.desc())
        .select((asks::id, asks::content, asks::reply))
        .first(connection)
        .optional()?;
    if let Some((id, content, reply)) = known {
        let id =
            MessageId::from_slice(&id).map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
        // Whoever saw the reply of an older ask has not seen what the latest one came to.
        if reply.is_none() || after != Some(id) {
            let changed = content != row.content && fixed;
            let known = if changed { AskOutcome::Changed { id, reply } } else { AskOutcome::Already { id, reply } };
            return Ok(known);
        }
    }
    diesel::insert_into(asks::table).values(row).execute(connection)?;
    Ok(AskOutcome::Stored)
}

fn receive(connection: &mut SqliteConnection, row: &NewWorkRow) -> QueryResult<ReceiveOutcome> {
    let known: Option<AnswerRow> =
        work::table.filter(work::id.eq(&row.id)).select(AnswerRow::as_select()).first(connection).optional()?;
    match known {
        Some(known) if known.answer.is_some() => Ok(ReceiveOutcome::Answered(known)),
        Some(known) => Ok(ReceiveOutcome::Waiting { seq: known.seq, received_us: known.received_us }),
        None => {
            let seq = diesel::insert_into(work::table).values(row).returning(work::seq).get_result(connection)?;
            Ok(ReceiveOutcome::New { seq })
        }
    }
}

fn answer_row(connection: &mut SqliteConnection, id: &Vec<u8>) -> QueryResult<Option<AnswerRow>> {
    work::table.filter(work::id.eq(id)).select(AnswerRow::as_select()).first(connection).optional()
}
