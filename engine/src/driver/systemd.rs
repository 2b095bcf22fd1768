//! Sockets passed by systemd or another manager (sd_listen_fds(3)).

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::Socket;

/// The first passed descriptor.
const FIRST: RawFd = 3;

/// Maximum passed descriptors: far more than any unit has.
const COUNT_MAX: RawFd = 1024;

/// Takes the passed sockets, once per process.
pub(crate) fn take_listeners() -> io::Result<Vec<Socket>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "LISTEN_PID is not set to this process: none were passed"));
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "LISTEN_FDS is not a number of sockets"));
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "they were already taken"));
    }
    (FIRST..FIRST + count).map(take).collect()
}

fn take(fd: RawFd) -> io::Result<Socket> {
    // SAFETY: fcntl(2) with F_SETFD takes no pointers. It fails for a number that is no descriptor.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and the protocol of the environment's two variables says that this process owns
    // it. It is taken once.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    if !socket.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {fd} does not listen")));
    }
    Ok(socket)
}
