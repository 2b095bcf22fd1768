//! One connection in memory: the bytes on their way in both directions, and the ends.

use std::collections::VecDeque;

use crate::address::Address;

/// The end of a connection, as its client sees it behind the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The server has closed its side: FIN.
    Finished,
    /// The server has reset the connection.
    Reset,
}

/// The bytes of one direction that the receiver has not taken.
#[derive(Default)]
pub(super) struct Direction {
    pub(super) bytes: VecDeque<u8>,
    pub(super) fin: bool,
}

pub(super) struct Wire {
    pub(super) peer: Address,
    pub(super) to_server: Direction,
    pub(super) to_client: Direction,
    /// The client has reset the connection.
    pub(super) client_reset: bool,
    /// The client has closed its socket: nothing reads what the server sends.
    pub(super) client_closed: bool,
    /// The server has reset the connection.
    pub(super) server_reset: bool,
    /// The server has closed its socket, or never had one.
    pub(super) server_closed: bool,
}

impl Wire {
    pub(super) fn new(peer: Address) -> Self {
        Self {
            peer,
            to_server: Direction::default(),
            to_client: Direction::default(),
            client_reset: false,
            client_closed: false,
            server_reset: false,
            server_closed: false,
        }
    }

    /// Takes the client's bytes into the window. Returns how many there was room for.
    pub(super) fn write(&mut self, bytes: &[u8], window_bytes: usize) -> usize {
        if self.to_server.fin || self.client_reset || self.server_closed {
            return 0;
        }
        let count = bytes.len().min(window_bytes.saturating_sub(self.to_server.bytes.len()));
        self.to_server.bytes.extend(&bytes[..count]);
        count
    }

    /// Moves the bytes that the server has sent into `into`.
    pub(super) fn read(&mut self, into: &mut Vec<u8>) -> usize {
        let count = self.to_client.bytes.len();
        into.extend(self.to_client.bytes.drain(..));
        count
    }

    /// Returns the end of the connection, once everything before it is read.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self {
            _ if !self.to_client.bytes.is_empty() => None,
            _ if self.server_reset || self.client_reset => Some(Ended::Reset),
            _ if self.to_client.fin => Some(Ended::Finished),
            _ => None,
        }
    }

    /// Closes the client's socket: a reset if bytes are unread, as a kernel does, otherwise FIN.
    pub(super) fn close_client(&mut self) {
        self.client_closed = true;
        if self.to_client.bytes.is_empty() {
            self.to_server.fin = true;
        } else {
            self.client_reset = true;
        }
    }

    /// Closes the server's socket: FIN, or a reset if bytes are unread. Bytes that were sent can be read before either.
    pub(super) fn close_server(&mut self, reset: bool) {
        self.server_closed = true;
        if reset || !self.to_server.bytes.is_empty() {
            self.server_reset = true;
        } else {
            self.to_client.fin = true;
        }
        self.to_server.bytes = VecDeque::new();
    }

    /// Returns whether both sockets are closed.
    pub(super) fn is_over(&self) -> bool {
        self.client_closed && self.server_closed
    }
}
