//! Accepting connections.

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Registry, Token};
use socket2::{SockAddr, Socket};

use super::{PortableDriver, register, system, token};
use crate::address::Address;
use crate::driver::listener::Listener;
use crate::driver::{Accepted, Event};

/// Maximum connections accepted from one listener in a tick, before open ones have their turn.
const ACCEPTS_MAX: usize = 64;
/// The same for a listener that several workers share: the others take their part of a rush meanwhile.
const SHARED_ACCEPTS_MAX: usize = 2;

pub(super) struct Acceptor {
    /// `None` once closed.
    listener: Option<Listener>,
    address: Address,
    armed: bool,
    /// Clients can be waiting.
    pub(super) has_clients: bool,
}

impl Acceptor {
    /// Registers a listener, which becomes non-blocking.
    pub(super) fn new(listener: Listener, registry: &Registry, token: Token) -> io::Result<Self> {
        listener.socket().set_nonblocking(true)?;
        let fd = listener.socket().as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, mio::Interest::READABLE)?;
        Ok(Self { address: listener.address(), listener: Some(listener), armed: false, has_clients: false })
    }
}

impl PortableDriver {
    /// Arms accepting on a listener unless it is closed. Returns false if no slot is free.
    pub(super) fn arm_accept(&mut self, listener: usize) -> bool {
        let full = self.is_full();
        let acceptor = &mut self.acceptors[listener];
        if acceptor.listener.is_none() {
            return true;
        }
        acceptor.armed = !full;
        !full
    }

    pub(super) fn close_listeners(&mut self) {
        for (index, acceptor) in self.acceptors.iter_mut().enumerate() {
            let Some(listener) = acceptor.listener.take() else { continue };
            // Workers that share the socket would keep the registration alive.
            let _ = self.poll.registry().deregister(&mut SourceFd(&listener.socket().as_raw_fd()));
            if std::mem::take(&mut acceptor.armed) {
                self.pending.push(Event::AcceptEnded { listener: index, error: None });
            }
        }
    }

    /// Returns whether a client can be accepted now.
    pub(super) fn can_accept(&self) -> bool {
        self.acceptors.iter().any(|acceptor| acceptor.armed && acceptor.has_clients)
    }

    pub(super) fn accept(&mut self, events: &mut Vec<Event>) {
        for index in 0..self.acceptors.len() {
            let acceptor = &self.acceptors[index];
            if acceptor.armed && acceptor.has_clients {
                self.accept_from(index, events);
            }
        }
    }

    /// Accepts the clients of one listener, at most its share of a tick.
    fn accept_from(&mut self, index: usize, events: &mut Vec<Event>) {
        let shared = self.acceptors[index].listener.as_ref().is_some_and(Listener::is_shared);
        for _ in 0..if shared { SHARED_ACCEPTS_MAX } else { ACCEPTS_MAX } {
            if self.is_full() {
                return self.end_accept(index, None, events);
            }
            let Some(listener) = &self.acceptors[index].listener else { return };
            let opened = match system::accept(listener.socket()) {
                Ok((socket, peer)) => self.open(index, socket, &peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.acceptors[index].has_clients = false;
                    return;
                }
                Err(error) => Err(error),
            };
            match opened {
                Ok(accepted) => events.push(Event::Accepted(Box::new(accepted))),
                // About this socket alone: its peer has gone.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return self.end_accept(index, Some(error), events),
            }
        }
    }

    fn end_accept(&mut self, index: usize, error: Option<io::Error>, events: &mut Vec<Event>) {
        self.acceptors[index].armed = false;
        events.push(Event::AcceptEnded { listener: index, error });
    }

    /// Gives an accepted socket a slot.
    fn open(&mut self, listener: usize, socket: Socket, peer: &SockAddr) -> io::Result<Accepted> {
        let bound = self.acceptors[listener].address;
        let peer = match bound {
            Address::Unix => Address::Unix,
            // A peer that has already gone can have no name.
            Address::Ip(_) => peer.as_socket().map_or(bound.unspecified(), Address::from_socket),
        };
        let local = match bound.ip() {
            Some(address) if address.ip().is_unspecified() => {
                socket.local_addr().map_or(bound, |local| Address::from_name(&local))
            }
            _ => bound,
        };
        let key = self.reserve_slot();
        if let Err(error) = register(&self.poll, &socket, token(key)) {
            self.free.push(key.index);
            return Err(error);
        }
        self.slots[key.index].socket = Some(socket);
        self.used += 1;
        Ok(Accepted { key, listener, peer, local })
    }
}
