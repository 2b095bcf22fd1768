//! The open-file limit of the process, and the part of it that connections can use.

/// Descriptors that are left to the application.
const RESERVED: usize = 8;

/// Descriptors that a worker needs in addition to its connections: its ring, its eventfd, and one that is open only
/// briefly.
const WORKER_DESCRIPTORS: usize = 3;

/// Returns the open-file limit of the process (RLIMIT_NOFILE).
#[cfg(unix)]
pub(crate) fn limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one `rlimit` to a valid place.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => limit.rlim_cur.min(1 << 24) as usize,
        _ => 1024,
    }
}

#[cfg(not(unix))]
pub(crate) fn limit() -> usize {
    usize::MAX
}

/// Returns how many connections each of `workers` can hold if each connection takes a descriptor of the process: an
/// equal share of what is left once the listeners are open.
pub(crate) fn connections_max(workers: usize) -> usize {
    // Without /proc: about as many as a small program has open.
    let in_use = std::fs::read_dir("/proc/self/fd").map_or(16, Iterator::count);
    (limit().saturating_sub(in_use + RESERVED) / workers).saturating_sub(WORKER_DESCRIPTORS).max(1)
}
