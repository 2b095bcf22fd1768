//! Ending a wait from other threads: an eventfd or a user event of kqueue, or a socket pair where the system forbids
//! those.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token, Waker};

pub(super) enum Wake {
    Waker(Waker),
    Pair { writer: UnixStream, reader: UnixStream },
}

impl Wake {
    /// Registers the wake as `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        match Waker::new(registry, token) {
            Ok(waker) => Ok(Self::Waker(waker)),
            Err(_) => Self::pair(registry, token),
        }
    }

    fn pair(registry: &Registry, token: Token) -> io::Result<Self> {
        let (writer, reader) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        reader.set_nonblocking(true)?;
        registry.register(&mut SourceFd(&reader.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self::Pair { writer, reader })
    }

    /// Ends the current or the next wait.
    pub(super) fn wake(&self) {
        match self {
            Self::Waker(waker) => {
                if let Err(error) = waker.wake() {
                    log::error!("cannot wake a worker: {error}");
                }
            }
            // A full pair has a wake in it.
            Self::Pair { writer, .. } => drop((&*writer).write(&[0])),
        }
    }

    /// Makes room for further wakes.
    pub(super) fn clear(&self) {
        if let Self::Pair { reader, .. } = self {
            let mut bytes = [0; 64];
            while (&*reader).read(&mut bytes).is_ok_and(|len| len == bytes.len()) {}
        }
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    /// Each wake ends one wait, however many came before it.
    fn check(wake: impl FnOnce(&Registry, Token) -> io::Result<Wake>) {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let wake = wake(poll.registry(), Token(7)).unwrap();
        for wakes in [1, 1, 3, 10_000, 1] {
            (0..wakes).for_each(|_| wake.wake());
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().all(|event| event.token() == Token(7)));
            wake.clear();
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty(), "an answered wake is gone");
        }
    }

    #[test]
    fn a_wake_ends_a_wait() {
        check(Wake::new);
        check(Wake::pair);
    }
}
