//! The operations of one connection, as chains of linked entries. A chain has one completion: that of its last
//! operation, or that of the first which fails.

use std::net::SocketAddrV4;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{DestinationSlot, Fixed};
use io_uring::{Probe, opcode};
use socket2::SockAddr;

use crate::ring::Completion;

/// One operation of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Socket,
    Bind,
    Connect,
    Send,
    Receive,
}

const STEPS: [Step; 5] = [Step::Socket, Step::Bind, Step::Connect, Step::Send, Step::Receive];

impl Step {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Bind => "bind",
            Self::Connect => "connect",
            Self::Send => "send",
            Self::Receive => "receive",
        }
    }
}

/// What a completion belongs to: the slot of its connection, and the place where that is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) place: u32,
    pub(super) slot: u32,
}

/// The most places: 24 bits of the user data.
pub(super) const PLACES_MAX: usize = 1 << 24;

impl Tag {
    fn pack(self, step: Step) -> u64 {
        (step as u64) << 56 | u64::from(self.place) << 32 | u64::from(self.slot)
    }

    pub(super) fn unpack(completion: &Completion) -> (Self, Step) {
        let data = completion.user_data;
        let step = STEPS[usize::from(completion.operation()) % STEPS.len()];
        (Self { place: (data >> 32) as u32 & (PLACES_MAX as u32 - 1), slot: data as u32 }, step)
    }
}

/// A chain that is being built, reused for each connection.
#[derive(Default)]
pub(super) struct Chain(Vec<Entry>);

impl Chain {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Opens a socket in a slot of the file table. Another one there is closed.
    pub(super) fn socket(&mut self, tag: Tag, family: i32) {
        let slot = DestinationSlot::try_from_slot_target(tag.slot).ok();
        self.add(tag, Step::Socket, opcode::Socket::new(family, libc::SOCK_STREAM, 0).file_index(slot).build());
    }

    /// Binds to `source`, which must stay in place until the chain is submitted.
    pub(super) fn bind(&mut self, tag: Tag, source: *const libc::sockaddr_in) {
        let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        self.add(tag, Step::Bind, opcode::Bind::new(Fixed(tag.slot), source.cast(), length).build());
    }

    pub(super) fn connect(&mut self, tag: Tag, server: &'static SockAddr) {
        let entry = opcode::Connect::new(Fixed(tag.slot), server.as_ptr().cast(), server.len()).build();
        self.add(tag, Step::Connect, entry);
    }

    /// Sends all bytes, however often the socket is full in between.
    pub(super) fn send(&mut self, tag: Tag, bytes: &'static [u8]) {
        let entry = opcode::Send::new(Fixed(tag.slot), bytes.as_ptr(), bytes.len() as u32).flags(libc::MSG_WAITALL);
        self.add(tag, Step::Send, entry.build());
    }

    /// Receives up to `length` bytes, or with `all` exactly so many.
    pub(super) fn receive(&mut self, tag: Tag, into: *mut u8, length: usize, all: bool) {
        let flags = if all { libc::MSG_WAITALL } else { 0 };
        let entry = opcode::Recv::new(Fixed(tag.slot), into, length as u32).flags(flags).build();
        self.add(tag, Step::Receive, entry);
    }

    fn add(&mut self, tag: Tag, step: Step, entry: Entry) {
        self.0.push(entry.user_data(tag.pack(step)));
    }

    /// Links the operations. Returns the entries to submit together.
    pub(super) fn link(&mut self) -> &[Entry] {
        let last = self.0.len().saturating_sub(1);
        for entry in &mut self.0[..last] {
            *entry = entry.clone().flags(Flags::IO_LINK | Flags::SKIP_SUCCESS);
        }
        &self.0
    }
}

/// Returns the kernel's form of an address.
pub(super) fn socket_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// Returns whether the kernel can bind a socket by an operation (Linux 6.11).
pub(super) fn can_bind(probe: &Probe) -> bool {
    probe.is_supported(opcode::Bind::CODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_round_trip() {
        for (place, slot, step) in [(0, 0, Step::Socket), (5, 19_999, Step::Receive), (PLACES_MAX - 1, 1, Step::Bind)] {
            let tag = Tag { place: place as u32, slot };
            let completion = Completion { user_data: tag.pack(step), result: 0, flags: 0 };
            assert_eq!(Tag::unpack(&completion), (tag, step));
        }
    }

    #[test]
    fn addresses_are_in_the_order_of_the_network() {
        let address = socket_address("127.16.0.1:258".parse().unwrap());
        assert_eq!(address.sin_port.to_ne_bytes(), [1, 2]);
        assert_eq!(address.sin_addr.s_addr.to_ne_bytes(), [127, 16, 0, 1]);
    }
}
