//! What differs between systems.

pub(super) use imp::{MAYBE_URGENT, READINESS, RECEIVES, accept, has_urgent_data, send_flags};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod imp {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use mio::Interest;
    use mio::event::Event;
    use socket2::{SockAddr, Socket};

    /// What readiness is learned from, for the summary.
    pub(crate) const READINESS: &str = "epoll";

    /// The interest of a connection that receives. EPOLLPRI tells of urgent data, at which a read stops.
    pub(crate) const RECEIVES: Interest = Interest::READABLE.add(Interest::PRIORITY);

    /// Urgent data is announced.
    pub(crate) const MAYBE_URGENT: bool = false;

    /// Returns whether an event announces urgent data.
    pub(crate) fn has_urgent_data(event: &Event) -> bool {
        event.is_priority()
    }

    /// Accepts a connection as a non-blocking socket.
    pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let accept = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
            // SAFETY: the kernel writes at most `*len` bytes to `storage`, which has that size, and their number to
            // `len`; the listener is borrowed and so open.
            let fd = unsafe { libc::accept4(listener.as_raw_fd(), storage.cast(), len, flags) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: a new descriptor that nothing else owns.
            Ok(Socket::from(unsafe { OwnedFd::from_raw_fd(fd) }))
        };
        // SAFETY: on success accept4(2) has written an address and its length.
        unsafe { SockAddr::try_init(accept) }
    }

    /// Returns the flags of a send. With `more_follows` the bytes wait in the kernel for what follows at once, to share
    /// its segment.
    pub(crate) fn send_flags(more_follows: bool) -> i32 {
        libc::MSG_NOSIGNAL | if more_follows { libc::MSG_MORE } else { 0 }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod imp {
    use std::io;

    use mio::Interest;
    use mio::event::Event;
    use socket2::{SockAddr, Socket};

    /// What readiness is learned from, for the summary.
    pub(crate) const READINESS: &str = "kqueue";

    /// The interest of a connection that receives.
    pub(crate) const RECEIVES: Interest = Interest::READABLE;

    /// mio has no event for urgent data, at which a read stops. Each receive therefore ends with a read that finds
    /// nothing.
    pub(crate) const MAYBE_URGENT: bool = true;

    /// Returns whether an event announces urgent data.
    pub(crate) fn has_urgent_data(_event: &Event) -> bool {
        false
    }

    /// Accepts a connection as a non-blocking socket.
    pub(crate) fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
        let (socket, peer) = listener.accept()?;
        socket.set_nonblocking(true)?;
        Ok((socket, peer))
    }

    /// Returns the flags of a send.
    pub(crate) fn send_flags(_more_follows: bool) -> i32 {
        NO_SIGNAL
    }

    /// socket2 sets SO_NOSIGPIPE on accepted sockets where this flag is missing.
    #[cfg(target_vendor = "apple")]
    const NO_SIGNAL: i32 = 0;
    #[cfg(not(target_vendor = "apple"))]
    const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
}
