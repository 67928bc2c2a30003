//! Append-only JSON Lines. Every batch is synced before it counts; a torn last line is cut at start. One process writes:
//! another's lines would be cut with what one's own batch left torn.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::{At, Found, NotRead, NotTaken, Sink, Source};
use crate::store::Unpublished;

/// What the lines are written to. A file, or a twin of one that breaks off where a disk would.
pub trait Medium: Send {
    /// Writes all of it at the end, or fails with some of it written.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    /// Makes durable what was written.
    fn sync(&mut self) -> std::io::Result<()>;
    /// Cuts everything behind `length_bytes`, durably.
    fn cut(&mut self, length_bytes: u64) -> std::io::Result<()>;
}

impl Medium for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length_bytes: u64) -> std::io::Result<()> {
        self.set_len(length_bytes)?;
        self.sync_all()
    }
}

/// The file.
#[derive(Debug)]
pub struct JsonLines<M = File> {
    medium: M,
    /// Everything up to here is whole and synced.
    good_bytes: u64,
    /// Something may lie behind it: it is cut before anything else is written.
    torn: bool,
}

impl JsonLines {
    /// Opens or creates the file, holds it for this process while it lives, and cuts a torn last line.
    pub fn open(path: &Path) -> std::io::Result<JsonLines> {
        JsonLines::over(path, |file| file)
    }
}

impl<M: Medium> JsonLines<M> {
    /// The same, with something of the caller's around the file.
    pub fn over(path: &Path, around: impl FnOnce(File) -> M) -> std::io::Result<JsonLines<M>> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => std::io::Error::other(
                "另一个平台进程正在写入；多个进程须使用 kafka:// / another process writes to it: several need kafka://",
            ),
        })?;
        let good_bytes = whole_lines(&mut file)?;
        Medium::cut(&mut file, good_bytes)?;
        Ok(JsonLines { medium: around(file), good_bytes, torn: false })
    }

    /// Cuts what got in half, so that the next batch begins on a clean line.
    fn mend(&mut self) -> std::io::Result<()> {
        if self.torn {
            self.medium.cut(self.good_bytes)?;
            self.torn = false;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.mend()?;
        self.torn = true;
        self.medium.write(bytes)?;
        self.medium.sync()?;
        self.torn = false;
        self.good_bytes += bytes.len() as u64;
        Ok(())
    }
}

/// The length up to and including the last line end, read backwards.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = file.seek(SeekFrom::End(0))?;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut chunk = vec![0_u8; usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut chunk)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

impl<M: Medium> Sink for JsonLines<M> {
    fn append(&mut self, batch: &[Unpublished]) -> Result<(), NotTaken> {
        let mut bytes = Vec::with_capacity(batch.iter().map(|record| record.record.len() + 1).sum());
        for record in batch {
            bytes.extend_from_slice(record.record.as_bytes());
            bytes.push(b'\n');
        }
        self.write(&bytes).map_err(|error| {
            // A disk that does not even cut is asked again before anything else is written.
            let mended = self.mend();
            NotTaken(format!("{error}; cut back: {mended:?}"))
        })
    }
}

/// Reads the file, also while it is written. A last line without its end is none yet.
#[derive(Debug)]
pub struct Lines {
    reader: BufReader<File>,
    /// Where the next line begins.
    begins_bytes: u64,
    /// How many lines lie before it.
    lines: u64,
}

impl Lines {
    /// Opens a file that is there.
    pub fn open(path: &Path) -> std::io::Result<Lines> {
        Ok(Lines { reader: BufReader::new(File::open(path)?), begins_bytes: 0, lines: 0 })
    }

    fn line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            // It may be cut and written anew before it is looked at again.
            self.reader.seek(SeekFrom::Start(self.begins_bytes))?;
            return Ok(None);
        }
        self.begins_bytes += line.len() as u64 + 1;
        self.lines += 1;
        Ok(Some(line))
    }
}

impl Source for Lines {
    fn next(&mut self) -> Result<Option<Found>, NotRead> {
        let line = self.line().map_err(|error| NotRead(error.to_string()))?;
        Ok(line.map(|line| Found {
            at: At::Line(self.lines),
            key: None,
            record: String::from_utf8_lossy(&line).into_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::ids::{OrderId, TenantId};
    use uuid::Uuid;

    fn record(text: &str) -> Unpublished {
        let id = Uuid::from_u128(1);
        let (tenant, order) = (TenantId::from_uuid(id), OrderId::from_uuid(id));
        Unpublished { tenant, order, sequence: 1, record: text.into() }
    }

    #[test]
    fn a_torn_last_line_is_cut_at_start_and_whole_lines_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.jsonl");
        JsonLines::open(&path)
            .and_then(|mut sink| {
                sink.append(&[record("{\"a\":1}"), record("{\"a\":2}")]).map_err(std::io::Error::other)
            })
            .expect("two records");
        let mut file = OpenOptions::new().append(true).open(&path).expect("the file");
        file.write_all(b"{\"a\":3").expect("a torn line");
        drop(file);
        let mut sink = JsonLines::open(&path).expect("reopens");
        sink.append(&[record("{\"a\":3}")]).expect("appends");
        let text = std::fs::read_to_string(&path).expect("reads");
        assert_eq!(text, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    }

    #[test]
    fn a_file_has_one_writer() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.jsonl");
        let first = JsonLines::open(&path).expect("nobody has it");
        let refusal = JsonLines::open(&path).expect_err("somebody has it").to_string();
        assert!(refusal.contains("多个进程须使用 kafka://") && refusal.contains("several need kafka://"), "{refusal}");
        drop(first);
        JsonLines::open(&path).expect("it ends with its holder");
    }

    #[test]
    fn a_file_is_read_while_it_grows_and_a_torn_last_line_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("events.jsonl");
        assert!(Lines::open(&path).is_err(), "nothing is made by looking");
        std::fs::write(&path, "one\ntwo\nthr").expect("written");
        let mut lines = Lines::open(&path).expect("a file");
        let next = |lines: &mut Lines| lines.next().expect("readable").map(|found| (found.at, found.record));
        assert_eq!(next(&mut lines), Some((At::Line(1), "one".into())));
        assert_eq!(next(&mut lines), Some((At::Line(2), "two".into())));
        assert_eq!(next(&mut lines), None);
        std::fs::write(&path, "one\ntwo\nthree\n").expect("written");
        assert_eq!(next(&mut lines), Some((At::Line(3), "three".into())));
        assert_eq!(next(&mut lines), None);
    }
}
