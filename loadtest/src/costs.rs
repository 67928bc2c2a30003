//! Processor time and memory by program, from the kernel's own books.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::getpid;

/// Processor milliseconds by group of processes.
pub(crate) type Spent = BTreeMap<&'static str, u64>;

/// What belongs together in a report.
const GROUPS: [&str; 7] = ["platform", "adapters", "sandbox", "postgres", "redis", "kafka", "generator"];

pub(crate) fn group(name: &str) -> &'static str {
    match name {
        name if name.starts_with("platform") => "platform",
        name if name.starts_with("adapter") => "adapters",
        "postgres" => "postgres",
        "redis" => "redis",
        "kafka" => "kafka",
        _ => "sandbox",
    }
}

/// The processor time of these processes (and, for PostgreSQL, of every server process it has or had), and of this one.
pub(crate) fn spent(pids: &BTreeMap<String, u32>) -> Spent {
    let mut spent: Spent = GROUPS.into_iter().map(|group| (group, 0)).collect();
    for (name, pid) in pids {
        let own = ticks(*pid).map_or(0, |(own, of_ended)| if name == "postgres" { own + of_ended } else { own });
        let children: u64 = match name == "postgres" {
            true => children(*pid).into_iter().filter_map(ticks).map(|(own, _)| own).sum(),
            false => 0,
        };
        *spent.entry(group(name)).or_default() +=
            (own + children) * 1000 / rustix::param::clock_ticks_per_second().max(1);
    }
    let own = u32::try_from(getpid().as_raw_nonzero().get()).ok().and_then(ticks).map_or(0, |(own, _)| own);
    spent.insert("generator", own * 1000 / rustix::param::clock_ticks_per_second().max(1));
    spent
}

/// Clock ticks of a process, and of its children that have ended and were waited for.
fn ticks(pid: u32) -> Option<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces; the numbers behind it do not. utime … cstime are fields 14 to 17.
    let fields: Vec<u64> =
        stat.rsplit(')').next()?.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    Some((fields.get(11)? + fields.get(12)?, fields.get(13)? + fields.get(14)?))
}

/// Processor milliseconds of the programs that this one has started and waited for.
pub(crate) fn of_ended_ms() -> u64 {
    let own = u32::try_from(getpid().as_raw_nonzero().get()).ok().and_then(ticks);
    own.map_or(0, |(_, of_ended)| of_ended) * 1000 / rustix::param::clock_ticks_per_second().max(1)
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// The most memory that a process ever held, in KiB.
pub(crate) fn peak_kib(pid: u32) -> Option<u64> {
    memory_kib(pid, "VmHWM:")
}

/// The memory that a process holds, in KiB.
pub(crate) fn now_kib(pid: u32) -> Option<u64> {
    memory_kib(pid, "VmRSS:")
}

fn memory_kib(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
