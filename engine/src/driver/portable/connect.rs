//! Connecting: a non-blocking connect, whose end makes the socket writable.

use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use socket2::{SockRef, Socket};

use super::{LISTENERS, PortableDriver, system, token};
use crate::address::Address;
use crate::driver::{Connected, Event, outbound_socket};
use crate::shared::attempt::{ConnectFailure, ConnectRequest};

/// The first of the numbers in tokens that stand for attempts; those below are listeners.
const CONNECTS: usize = LISTENERS + (1 << 23);
/// Maximum attempts at once, so that the number of the wake, the last one, stays free.
const ATTEMPTS_MAX: u32 = (1 << 23) - 1;

/// The attempts in progress, by number.
#[derive(Default)]
pub(super) struct Connects {
    attempts: Vec<Option<Connecting>>,
    /// Number of attempts in progress, each of which will take a slot.
    pub(super) count: usize,
}

struct Connecting {
    socket: Socket,
    peer: Address,
}

impl Connects {
    fn insert(&mut self, number: u32, attempt: Connecting) {
        while self.attempts.len() <= number as usize {
            self.attempts.push(None);
        }
        self.attempts[number as usize] = Some(attempt);
        self.count += 1;
    }

    fn remove(&mut self, number: u32) -> Option<Connecting> {
        let attempt = self.attempts.get_mut(number as usize)?.take()?;
        self.count -= 1;
        Some(attempt)
    }
}

impl PortableDriver {
    pub(super) fn connect(&mut self, number: u32, request: &ConnectRequest) -> Result<(), ConnectFailure> {
        if self.is_full() || number >= ATTEMPTS_MAX {
            return Err(ConnectFailure::Full);
        }
        let failure = |error: std::io::Error| outbound_socket::failure(&error);
        let socket = outbound_socket::open(request, true).map_err(failure)?;
        let in_progress = match socket.connect(&request.address) {
            Ok(()) => false,
            // A signal does not end the attempt (connect(2)).
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => true,
            Err(error) => return Err(failure(error)),
        };
        // Registered also if it is open, because the next step replaces the registration.
        let place = Token(CONNECTS + number as usize);
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&socket.as_raw_fd()), place, Interest::WRITABLE).map_err(failure)?;
        self.connects.insert(number, Connecting { socket, peer: Address::from_name(&request.address) });
        if !in_progress {
            let event = self.open_connected(number);
            self.pending.extend(event);
        }
        Ok(())
    }

    pub(super) fn cancel_connect(&mut self, number: u32) {
        // Dropping the socket ends the attempt. One that is over has its event already.
        if self.connects.remove(number).is_some() {
            self.pending.push(failed(number, ConnectFailure::Errno(libc::ECANCELED)));
        }
    }

    /// Acts on the readiness of a socket that is neither a connection nor a listener.
    pub(super) fn on_connect_ready(&mut self, index: usize, events: &mut Vec<Event>) {
        let Some(number) = index.checked_sub(CONNECTS).map(|number| number as u32) else { return };
        let Some(Some(attempt)) = self.connects.attempts.get(number as usize) else { return };
        let error = match attempt.socket.take_error() {
            Ok(error) => error,
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            self.connects.remove(number);
            return events.push(failed(number, outbound_socket::failure(&error)));
        }
        // Without a peer it is still connecting.
        if attempt.socket.peer_addr().is_ok() {
            events.extend(self.open_connected(number));
        }
    }

    /// Gives a connected socket a slot.
    fn open_connected(&mut self, number: u32) -> Option<Event> {
        let Connecting { socket, peer } = self.connects.remove(number)?;
        let local = outbound_socket::local_address(&SockRef::from(&socket)).unwrap_or(peer.unspecified());
        let key = self.reserve_slot();
        let fd = socket.as_raw_fd();
        // Readiness from before is reported anew.
        if let Err(error) = self.poll.registry().reregister(&mut SourceFd(&fd), token(key), system::RECEIVES) {
            self.free.push(key.index);
            return Some(failed(number, outbound_socket::failure(&error)));
        }
        self.slots[key.index].socket = Some(socket);
        self.used += 1;
        Some(Event::Connected { attempt: number, result: Ok(Box::new(Connected { key, peer, local })) })
    }
}

fn failed(attempt: u32, failure: ConnectFailure) -> Event {
    Event::Connected { attempt, result: Err(failure) }
}
