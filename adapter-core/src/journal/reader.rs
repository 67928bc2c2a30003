//! Reading the journal beside its writer.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use schema::ids::MessageId;
use schema::seal::{Sealed, Vault};

use super::rows::{self, AnswerRow, asks, work};
use super::{Answer, AskKind, JournalFault, LatestAsk, WaitingAsk, WaitingWork};

pub(super) struct Reader {
    connection: Mutex<SqliteConnection>,
    vault: Arc<Vault>,
}

fn id(bytes: &[u8]) -> Result<MessageId, JournalFault> {
    MessageId::from_slice(bytes).map_err(|error| JournalFault(error.to_string()))
}

impl Reader {
    pub(super) fn open(path: &Path, vault: Arc<Vault>) -> Result<Reader, JournalFault> {
        let mut connection = SqliteConnection::establish(&path.to_string_lossy())
            .map_err(|error| JournalFault(format!("{}: {error}", path.display())))?;
        connection.batch_execute("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -1000;")?;
        Ok(Reader { connection: Mutex::new(connection), vault })
    }

    fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        // A reader that panicked has changed nothing.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self, purpose: &str, sealed: Vec<u8>) -> Result<String, JournalFault> {
        Ok(self.vault.open_text(purpose, &Sealed::from_bytes(sealed))?)
    }

    /// Opens an answered row.
    pub(super) fn answer(&self, row: AnswerRow) -> Result<Answer, JournalFault> {
        let unanswered = || JournalFault("a row without answer was read as answered".to_owned());
        Ok(Answer {
            re: id(&row.id)?,
            id: id(&row.answer_id.ok_or_else(unanswered)?)?,
            payload: self.text(rows::ANSWER, row.answer.ok_or_else(unanswered)?)?.into(),
            trace_id: row.trace_id,
            answered_us: row.answered_us.ok_or_else(unanswered)?,
        })
    }

    pub(super) fn answered(&self, re: MessageId) -> Result<Option<Answer>, JournalFault> {
        let row: Option<AnswerRow> = work::table
            .filter(work::id.eq(re.to_vec()))
            .filter(work::answer.is_not_null())
            .select(AnswerRow::as_select())
            .first(&mut *self.connection())
            .optional()?;
        row.map(|row| self.answer(row)).transpose()
    }

    /// Asks SQLite whether the file is whole, and opens one row of each table.
    pub(super) fn check(&self) -> Result<(), JournalFault> {
        #[derive(diesel::QueryableByName)]
        struct Verdict {
            #[diesel(sql_type = diesel::sql_types::Text)]
            quick_check: String,
        }
        let verdicts: Vec<Verdict> = diesel::sql_query("PRAGMA quick_check(1)").load(&mut *self.connection())?;
        if let Some(verdict) = verdicts.into_iter().find(|verdict| verdict.quick_check != "ok") {
            return Err(JournalFault(verdict.quick_check));
        }
        let ask: Option<Vec<u8>> = asks::table.select(asks::payload).first(&mut *self.connection()).optional()?;
        ask.map(|sealed| self.text(rows::ASK, sealed)).transpose()?;
        let work: Option<Vec<u8>> = work::table.select(work::payload).first(&mut *self.connection()).optional()?;
        work.map(|sealed| self.text(rows::WORK, sealed)).transpose()?;
        Ok(())
    }

    pub(super) fn waiting_asks(&self) -> Result<Vec<WaitingAsk>, JournalFault> {
        let rows: Vec<(Vec<u8>, String, String, String)> = asks::table
            .filter(asks::reply.is_null())
            .order(asks::seq)
            .select((asks::id, asks::kind, asks::subject, asks::trace_id))
            .load(&mut *self.connection())?;
        rows.into_iter()
            .map(|(bytes, kind, subject, trace_id)| Ok(WaitingAsk { id: id(&bytes)?, kind, subject, trace_id }))
            .collect()
    }

    pub(super) fn waiting_work(&self) -> Result<Vec<WaitingWork>, JournalFault> {
        type Row = (i64, Vec<u8>, Vec<u8>, Option<String>, i64);
        let rows: Vec<Row> = work::table
            .filter(work::answer.is_null())
            .order(work::seq)
            .select((work::seq, work::id, work::payload, work::trace_id, work::received_us))
            .load(&mut *self.connection())?;
        rows.into_iter()
            .map(|(seq, bytes, payload, trace_id, received_us)| {
                let payload = self.text(rows::WORK, payload)?;
                Ok(WaitingWork { seq, id: id(&bytes)?, payload, trace_id, received_us })
            })
            .collect()
    }

    pub(super) fn ask_payload(&self, ask: MessageId) -> Result<Option<String>, JournalFault> {
        let sealed: Option<Vec<u8>> = asks::table
            .filter(asks::id.eq(ask.to_vec()))
            .select(asks::payload)
            .first(&mut *self.connection())
            .optional()?;
        sealed.map(|sealed| self.text(rows::ASK, sealed)).transpose()
    }

    pub(super) fn latest_ask(&self, kind: AskKind, subject: &str) -> Result<Option<LatestAsk>, JournalFault> {
        type Row = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);
        let row: Option<Row> = asks::table
            .filter(asks::kind.eq(kind.as_str()))
            .filter(asks::subject.eq(subject))
            .order(asks::seq.desc())
            .select((asks::id, asks::payload, asks::reply))
            .first(&mut *self.connection())
            .optional()?;
        row.map(|(bytes, payload, reply)| {
            Ok(LatestAsk {
                id: id(&bytes)?,
                payload: self.text(rows::ASK, payload)?,
                reply: reply.map(|sealed| self.text(rows::REPLY, sealed)).transpose()?,
            })
        })
        .transpose()
    }
}
