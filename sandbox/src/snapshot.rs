//! A counterparty's state on disk: one JSON file, replaced whole, so that a crash leaves the old one or the new one.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads what [`save`] wrote; `None` when there is no file yet. A damaged file is an error, never an empty start.
pub fn load<T: DeserializeOwned>(file: &Path) -> io::Result<Option<T>> {
    match File::open(file) {
        Ok(open) => serde_json::from_reader(BufReader::new(open)).map(Some).map_err(|fault| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {fault}", file.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces `file` by `state`: written beside it, synced, then renamed over it.
pub fn save<T: Serialize>(file: &Path, state: &T) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut out = File::create(&beside)?;
    out.write_all(&serde_json::to_vec(state)?)?;
    out.sync_all()?;
    std::fs::rename(beside, file)
}
