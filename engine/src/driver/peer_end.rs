//! A look at a socket: whether its peer has ended, also behind bytes that have not been received.

use socket2::Socket;

/// Returns the peer's end, if there is one: `Some(None)` for a FIN, which counts only with `fin`, or the error of the
/// connection.
#[cfg(target_os = "linux")]
pub(crate) fn look(socket: &Socket, fin: bool) -> Option<Option<i32>> {
    use std::os::fd::AsRawFd;

    let events = if fin { libc::POLLRDHUP } else { 0 };
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    // SAFETY: reads and writes one `pollfd`, and the descriptor is open as long as `socket` is borrowed. Does not wait.
    let count = unsafe { libc::poll(&mut poll, 1, 0) };
    if count > 0 { meaning(i32::from(poll.revents), fin) } else { None }
}

/// Returns the meaning of the events of a poll, as [`look`] does.
#[cfg(target_os = "linux")]
pub(crate) fn meaning(events: i32, fin: bool) -> Option<Option<i32>> {
    if events & i32::from(libc::POLLERR) != 0 {
        return Some(Some(libc::ECONNRESET));
    }
    (fin && events != 0).then_some(None)
}

/// A FIN behind unread bytes cannot be seen on this system; an error can.
#[cfg(not(target_os = "linux"))]
pub(crate) fn look(socket: &Socket, _fin: bool) -> Option<Option<i32>> {
    let error = socket.take_error().ok()??;
    Some(Some(error.raw_os_error().unwrap_or(0)))
}
