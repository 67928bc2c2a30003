//! The outside world gives way: bureaus, wallets, hospitals and front-end servers have machines of their own in a city,
//! and here they run on the platform's. Where both want the processor, the platform's side goes first; what either
//! spends is the same.

use std::collections::BTreeMap;
use std::{fs, io};

use rustix::process::{Pid, setpriority_process};

use crate::costs::group;

/// Linux gives such a thread about a tenth of what another gets beside it.
const NICE: i32 = 10;

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
