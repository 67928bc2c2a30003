//! Telling the other processes' listeners: a queue that nobody waits for, published in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::pipe;
use schema::ids::{ChannelUserId, TenantId};
use schema::mobile::Bell;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::BELLS;
use super::line::Line;

/// Bells that may wait to be published; more are lost, and everybody is told.
const WAITING_MAX: usize = 4096;
/// Bells of one write.
const BATCH: usize = 64;
/// After bells were lost, this often it is tried to say so.
const AGAIN: Duration = Duration::from_secs(1);
const UUID_BYTES: usize = 16;

/// What is said on the bells' channel: behind the 16 bytes of the process that says it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub(super) enum Word {
    Bell { tenant: TenantId, user: ChannelUserId, bell: Bell },
    Missed,
}

impl Word {
    fn write(&self, by: Uuid) -> Vec<u8> {
        let mut said = by.as_bytes().to_vec();
        said.extend(serde_json::to_vec(self).expect("ids and words are always JSON"));
        said
    }

    /// `None` for what this process said itself, and for what cannot be read: a newer version's words among them.
    pub(super) fn read(said: &[u8], me: Uuid) -> Option<Word> {
        let (by, word) = said.split_at_checked(UUID_BYTES)?;
        if by == me.as_bytes() { None } else { serde_json::from_slice(word).ok() }
    }
}

pub(super) struct Ringer {
    by: Uuid,
    queue: mpsc::Sender<Vec<u8>>,
    lost: Arc<AtomicBool>,
}

impl Ringer {
    pub(super) fn start(by: Uuid, line: Arc<Line>, tasks: &mut JoinSet<()>) -> Ringer {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicBool::new(false));
        tasks.spawn(publish(by, line, waiting, Arc::clone(&lost)));
        Ringer { by, queue, lost }
    }

    pub(super) fn ring(&self, tenant: TenantId, user: ChannelUserId, bell: &Bell) {
        let word = Word::Bell { tenant, user, bell: bell.clone() };
        if self.queue.try_send(word.write(self.by)).is_err() {
            self.lost.store(true, Ordering::Release);
        }
    }
}

async fn publish(by: Uuid, line: Arc<Line>, mut waiting: mpsc::Receiver<Vec<u8>>, lost: Arc<AtomicBool>) {
    let mut batch = Vec::with_capacity(BATCH + 1);
    loop {
        let owing = lost.load(Ordering::Acquire);
        let received = tokio::select! {
            received = waiting.recv_many(&mut batch, BATCH) => received,
            () = tokio::time::sleep(AGAIN), if owing => 0,
        };
        if received == 0 && !owing {
            return;
        }
        if lost.swap(false, Ordering::AcqRel) {
            batch.push(Word::Missed.write(by));
        }
        let mut words = pipe();
        for word in batch.drain(..) {
            words.cmd("PUBLISH").arg(BELLS).arg(word).ignore();
        }
        let mut connection = line.connection();
        if line.bounded(async { words.exec_async(&mut connection).await }).await.is_err() {
            lost.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use schema::ids::BillId;

    use super::*;

    #[test]
    fn a_process_reads_what_others_say_and_not_what_it_says_itself() {
        let (me, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let bell = Word::Bell {
            tenant: TenantId::from_uuid(Uuid::from_u128(3)),
            user: ChannelUserId::from_uuid(Uuid::from_u128(4)),
            bell: Bell::Bill { bill_id: BillId::from_uuid(Uuid::from_u128(5)) },
        };
        for word in [bell, Word::Missed] {
            let said = word.write(other);
            assert_eq!(Word::read(&said, other), None);
            assert_eq!(Word::read(&said, me), Some(word));
        }
        for nonsense in [b"".as_slice(), b"short", &[9; 40]] {
            assert_eq!(Word::read(nonsense, me), None);
        }
    }
}
