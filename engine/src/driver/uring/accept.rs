//! Accepting connections and looking up their addresses.
//!
//! A multishot accept serves while the file table has enough room. Near its end single accepts take over, each with a
//! reserved slot, because a multishot would continue to accept, and close, connections without a slot.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{cqueue, opcode, types};
use socket2::{SockAddr, SockAddrStorage};

use super::op::{Op, Token};
use super::slot::{NAMING, Slot, SlotState};
use super::{UringDriver, raw};
use crate::address::Address;
use crate::driver::listener::Listener;
use crate::driver::{Accepted, Event};
use crate::shared::key::ConnKey;
use crate::util::sync::Mutex;

/// Returns a listener's part of the number of free slots below which single accepts replace multishot ones: more than
/// its queue of completed connections (the `listen` backlog) can deliver in one go.
fn margin(listener: &Listener) -> usize {
    listener.backlog() + listener.backlog() / 4
}

pub(super) struct Acceptor {
    /// `None` once closed, so that later clients are refused instead of left waiting.
    listener: Option<Listener>,
    address: Address,
    /// See [`margin`].
    margin: usize,
    armed: Option<AcceptState>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AcceptState {
    Multi,
    Single,
    /// Cancelled and not yet ended.
    Ending,
    /// Cancelled and not yet ended; the listener is then closed.
    Closing,
}

impl Acceptor {
    pub(super) fn new(listener: Listener) -> Self {
        Self { address: listener.address(), margin: margin(&listener), listener: Some(listener), armed: None }
    }

    pub(super) fn leak(&mut self) {
        // Accepts name no memory, so nothing needs to stay allocated.
        self.armed = None;
    }
}

/// The peer's address and the local one.
type Addresses = io::Result<(Address, Address)>;

/// A connection whose addresses are being looked up. Kept in its slot's box, because the kernel writes the peer's
/// address into it.
pub(super) struct Arriving {
    listener: usize,
    peer: SockAddrStorage,
    peer_known: bool,
    /// Filled by the task that runs on the installed socket; `None` until then.
    addresses: Arc<Mutex<Option<Addresses>>>,
}

impl UringDriver {
    /// Arms accepting on a listener unless it is armed or closed. Returns false if no slot is free.
    pub(super) fn arm_accept(&mut self, listener: usize) -> bool {
        let (free, margin) = (self.free_slots(), self.margin());
        let direct = self.features.direct_descriptors;
        let acceptor = &mut self.acceptors[listener];
        let Some(socket) = acceptor.listener.as_ref().filter(|_| acceptor.armed.is_none()) else { return true };
        if free == 0 {
            return false;
        }
        let fd = types::Fd(socket.as_raw_fd());
        let multi = free > margin;
        acceptor.armed = Some(if multi { AcceptState::Multi } else { AcceptState::Single });
        // The kernel refuses SOCK_CLOEXEC for direct descriptors, which are never inherited anyway.
        let flags = if direct { 0 } else { libc::SOCK_CLOEXEC };
        let entry = if multi {
            opcode::AcceptMulti::new(fd).allocate_file_index(direct).flags(flags).build()
        } else {
            let target = direct.then(types::DestinationSlot::auto_target);
            let null = std::ptr::null_mut();
            opcode::Accept::new(fd, null, null.cast()).file_index(target).flags(flags).build()
        };
        let token = Token::plain(Op::Accept, listener as u32);
        // SAFETY: names no memory; the listener is kept by its acceptor until the accept has ended.
        unsafe { self.ring.push(&entry.user_data(token.pack())) };
        self.in_flight += 1;
        true
    }

    pub(super) fn close_listeners(&mut self) {
        for listener in 0..self.acceptors.len() {
            match self.acceptors[listener].armed {
                None => self.acceptors[listener].listener = None,
                Some(_) => self.cancel_accept(listener, AcceptState::Closing),
            }
        }
    }

    /// Returns the number of slots neither in use nor reserved for an armed single accept or an attempt to connect. An
    /// accept without a slot would lose its client, so in a full table each listener has a reserved slot for its next
    /// client.
    pub(super) fn free_slots(&self) -> usize {
        let promised = self.acceptors.iter().filter(|acceptor| acceptor.armed == Some(AcceptState::Single)).count();
        self.capabilities.connections_max.saturating_sub(self.used + promised + self.connects.without_slot())
    }

    /// Returns the number of connections that all listeners together can deliver in one go.
    fn margin(&self) -> usize {
        self.acceptors.iter().map(|acceptor| acceptor.margin).sum()
    }

    pub(super) fn end_multishots_near_full(&mut self) {
        if self.free_slots() > self.margin() {
            return;
        }
        for listener in 0..self.acceptors.len() {
            if self.acceptors[listener].armed == Some(AcceptState::Multi) {
                self.cancel_accept(listener, AcceptState::Ending);
            }
        }
    }

    fn cancel_accept(&mut self, listener: usize, until: AcceptState) {
        self.acceptors[listener].armed = Some(until);
        self.cancel(Token::plain(Op::Accept, listener as u32));
    }

    pub(super) fn on_accept(&mut self, token: Token, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let (listener, result) = (token.key.index as usize, completion.result());
        if result >= 0 {
            self.open_slot(listener, result, events);
            self.end_multishots_near_full();
        }
        if cqueue::more(completion.flags()) {
            return;
        }
        let acceptor = &mut self.acceptors[listener];
        if acceptor.armed.take() == Some(AcceptState::Closing) {
            acceptor.listener = None;
        }
        let error = match -result {
            errno if result < 0 && errno != libc::ECANCELED => Some(io::Error::from_raw_os_error(errno)),
            _ => None,
        };
        events.push(Event::AcceptEnded { listener, error });
    }

    /// Puts the accepted socket into its slot and looks up its addresses.
    fn open_slot(&mut self, listener: usize, accepted: i32, events: &mut Vec<Event>) {
        let key = self.take_slot(accepted, events);
        self.look_up_addresses(listener, key, events);
    }

    /// Opens the slot of a new descriptor.
    pub(super) fn take_slot(&mut self, fd: i32, events: &mut Vec<Event>) -> ConnKey {
        let direct = self.features.direct_descriptors;
        let index = match direct {
            true => fd as u32,
            false => self.free.pop().unwrap_or(self.slots.bound()),
        };
        match self.slots.get(index) {
            None => drop(self.slots.put(index, Slot::free())),
            // The kernel reused the slot, so its close is done, in whichever order the completions come.
            Some(former) if former.state == SlotState::Closing => {
                let former = ConnKey { index, generation: former.generation };
                self.on_close(former, events);
            }
            Some(_) => {}
        }
        if !direct {
            // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
            drop(self.sockets.put(index, unsafe { OwnedFd::from_raw_fd(fd) }));
        }
        let slot = &mut self.slots[index];
        debug_assert_eq!(slot.state, SlotState::Free, "the kernel reused a slot that is still open");
        slot.state = SlotState::Open;
        let key = ConnKey { index, generation: slot.generation };
        self.used += 1;
        key
    }

    fn look_up_addresses(&mut self, listener: usize, key: ConnKey, events: &mut Vec<Event>) {
        let addresses = Arc::new(Mutex::new(None));
        let bound = self.acceptors[listener].address;
        let arriving = Arriving {
            listener,
            peer: SockAddrStorage::zeroed(),
            peer_known: bound == Address::Unix,
            addresses: Arc::clone(&addresses),
        };
        self.colds.of(key.index).arriving = Some(arriving);
        if bound == Address::Unix {
            return self.finish_accept(key, events);
        }
        // A specific bound address is the local address of every connection; with a wildcard they differ.
        let wildcard = bound.ip().is_some_and(|bound| bound.ip().is_unspecified());
        if wildcard || !self.features.direct_descriptors {
            let look_up = move |socket: io::Result<socket2::SockRef<'_>>| {
                let found = socket.and_then(|s| Ok((to_address(&s.peer_addr()?), to_address(&s.local_addr()?))));
                *addresses.lock() = Some(found);
            };
            self.with_socket(key, Box::new(look_up));
            self.finish_accept(key, events);
            return;
        }
        self.submit_peer_name(key);
    }

    fn submit_peer_name(&mut self, key: ConnKey) {
        let fd = types::Fd(self.fd(key));
        self.slots[key.index].flags.set(NAMING);
        let Some(arriving) = self.colds.arriving(key.index) else { return };
        let value: *mut SockAddrStorage = &mut arriving.peer;
        // Exactly the size of the family's address, because SO_PEERNAME refuses a larger buffer.
        let len = match self.acceptors[arriving.listener].address.ip() {
            Some(SocketAddr::V6(_)) => size_of::<libc::sockaddr_in6>(),
            _ => size_of::<libc::sockaddr_in>(),
        };
        let entry = raw::getsockopt(fd, libc::SO_PEERNAME, value.cast(), len as u32);
        // SAFETY: the address is written into the slot's boxed `Arriving`, which stays there until this completes.
        unsafe { self.push(Token::new(Op::PeerName, key), entry) };
    }

    pub(super) fn on_peer_name(&mut self, key: ConnKey, result: i32, events: &mut Vec<Event>) {
        let Some(slot) = self.slot(key) else { return };
        slot.flags.clear(NAMING);
        if let Some(arriving) = self.colds.arriving(key.index) {
            arriving.peer_known = true;
            if result < 0 {
                // ENOTCONN: the peer has already gone. The connection is accepted anyway, because the bytes that it
                // sent must be read.
                *arriving.addresses.lock() = Some(Err(io::Error::from_raw_os_error(-result)));
            }
        }
        self.finish_accept(key, events);
        self.advance_close(key);
    }

    /// Reports a connection once its addresses are known.
    pub(super) fn finish_accept(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let direct = self.features.direct_descriptors;
        if self.slot(key).is_none() {
            return;
        }
        let Some(arriving) = self.colds.arriving(key.index) else { return };
        let looked_up = arriving.addresses.lock().take();
        match looked_up {
            None if !arriving.peer_known => return,
            // The process has no free descriptor. The ring itself can still look up the peer.
            Some(Err(_)) if !arriving.peer_known && direct => return self.submit_peer_name(key),
            _ => {}
        }
        let Some(arriving) = self.colds.take_arriving(key.index) else { return };
        let bound = self.acceptors[arriving.listener].address;
        let (peer, local) = match looked_up {
            Some(Ok(addresses)) => addresses,
            // A peer that has already gone.
            Some(Err(_)) => (bound.unspecified(), bound),
            None if bound == Address::Unix => (Address::Unix, Address::Unix),
            None => {
                let len = size_of::<SockAddrStorage>() as u32;
                // SAFETY: the storage began zeroed and the kernel wrote a socket address into it, which fits.
                let name = unsafe { SockAddr::new(arriving.peer, len) };
                (to_address(&name), bound)
            }
        };
        events.push(Event::Accepted(Box::new(Accepted { key, listener: arriving.listener, peer, local })));
    }
}

fn to_address(name: &SockAddr) -> Address {
    name.as_socket().map_or(Address::Unix, Address::from_socket)
}
