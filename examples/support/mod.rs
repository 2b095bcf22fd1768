//! Helpers of the examples: memory readings from /proc, clients in other processes, command-line options.

pub mod clients;
pub mod options;

use std::fs::read_to_string;

/// Memory in use, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Resident anonymous memory of this process.
    pub user: u64,
    /// Unreclaimable kernel slabs of the whole machine: both ends of loopback connections, and all other processes.
    pub kernel: u64,
}

/// Reads the memory in use now.
pub fn memory() -> Memory {
    Memory { user: field("/proc/self/status", "RssAnon:"), kernel: field("/proc/meminfo", "SUnreclaim:") }
}

/// Returns the bytes of each kind of kernel object, for the whole machine. Empty if they may not be read.
pub fn slabs() -> Vec<(String, u64)> {
    let text = read_to_string("/proc/slabinfo").unwrap_or_default();
    let objects = text.lines().skip(2).filter_map(|line| {
        let mut columns = line.split_whitespace();
        let name = columns.next()?;
        let (count, size): (u64, u64) = (columns.nth(1)?.parse().ok()?, columns.next()?.parse().ok()?);
        Some((name.to_owned(), count * size))
    });
    objects.collect()
}

/// Returns the open-file limit of this process, which also bounds a ring's file table.
pub fn open_files_max() -> u64 {
    let limits = read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024)
}

/// Returns the value of a `Name:  123 kB` line, in bytes.
fn field(file: &str, name: &str) -> u64 {
    let text = read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
