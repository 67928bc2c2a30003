//! The JSON Lines file keeps the contract of event sinks.

mod sink_contract;

use std::fs::File;
use std::io::{Error, Result, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use platform::events::Sink;
use platform::events::jsonl::{JsonLines, Medium};
use sink_contract::{Break, Engine};
use tempfile::TempDir;

/// How the next batch breaks off, if it does.
type Plan = Arc<Mutex<Option<Break>>>;

fn taken(plan: &Plan) -> Option<Break> {
    plan.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A real file on a disk that gives up where it is told to. As a sick disk may, it then refuses once to be cut.
struct Faulty {
    file: File,
    plan: Plan,
    unconfirmed: bool,
    sulks: bool,
}

impl Medium for Faulty {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let plan = taken(&self.plan);
        self.sulks = plan.is_some();
        match plan {
            None => return self.file.write_all(bytes),
            Some(Break::AtOnce) => {}
            Some(Break::Halfway) => self.file.write_all(&bytes[..bytes.len() / 2])?,
            Some(Break::Unconfirmed) => {
                self.unconfirmed = true;
                return self.file.write_all(bytes);
            }
        }
        Err(Error::other("the disk gives up"))
    }

    fn sync(&mut self) -> Result<()> {
        if std::mem::take(&mut self.unconfirmed) {
            return Err(Error::other("the disk does not confirm"));
        }
        self.file.sync_data()
    }

    fn cut(&mut self, length_bytes: u64) -> Result<()> {
        if std::mem::take(&mut self.sulks) {
            return Err(Error::other("the disk does not cut"));
        }
        Medium::cut(&mut self.file, length_bytes)
    }
}

struct InFile {
    dir: TempDir,
    plan: Plan,
}

impl InFile {
    fn new() -> InFile {
        InFile { dir: TempDir::new().expect("a directory"), plan: Plan::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("events.jsonl")
    }
}

impl Engine for InFile {
    fn open(&self) -> Box<dyn Sink> {
        let around = |file| Faulty { file, plan: Arc::clone(&self.plan), unconfirmed: false, sulks: false };
        Box::new(JsonLines::over(&self.path(), around).expect("a file"))
    }

    fn break_next(&self, how: Break) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
    }

    fn read(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path()).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}

sink_contract::every_promise!(InFile::new);
