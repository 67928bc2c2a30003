//! The outside world gives way: bureaus, wallets, hospitals and front-end servers have machines of their own in a city,
//! and here they run on the platform's. Where both want the processor, the platform's side goes first; what either
//! spends is the same. They have disks of their own as well: every adapter and every bureau waits for its own to have
//! written, and nobody waits for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::process::{Pid, setpriority_process};

use crate::costs::group;

/// Linux gives such a thread about a tenth of what another gets beside it.
const NICE: i32 = 10;

/// Files in memory.
const MEMORY: &str = "/dev/shm";

/// The folder of a run, and in it a city whose files are none of the engines' disk's business.
pub(crate) struct Ground {
    dir: PathBuf,
    memory: Option<PathBuf>,
}

impl Ground {
    /// Makes this folder. The city is in memory, unless there is no such place, or what the platform must not lose is in
    /// its files (`keeps`).
    pub(crate) fn make(dir: PathBuf, keeps: bool) -> io::Result<Ground> {
        fs::create_dir_all(&dir)?;
        let name = dir.file_name().unwrap_or_default();
        let memory = (!keeps && Path::new(MEMORY).is_dir()).then(|| Path::new(MEMORY).join(name));
        if let Some(memory) = &memory {
            fs::create_dir_all(memory)?;
            std::os::unix::fs::symlink(memory, dir.join("city"))?;
        }
        Ok(Ground { dir, memory })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The city's.
    pub(crate) fn city(&self) -> PathBuf {
        self.dir.join("city")
    }

    /// Removes everything.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.dir)?;
        self.memory.map_or(Ok(()), fs::remove_dir_all)
    }
}

/// Lets the processes of the outside give way, with all threads they have and will have.
pub(crate) fn give_way(pids: &BTreeMap<String, u32>) -> io::Result<()> {
    for (_, pid) in pids.iter().filter(|(name, _)| matches!(group(name), "sandbox" | "adapters")) {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            setpriority_process(thread, NICE)?;
        }
    }
    Ok(())
}
