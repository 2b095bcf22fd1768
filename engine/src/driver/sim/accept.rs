//! Accepting simulated clients.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use super::{ENOMEM, Net, SimDriver};
use crate::address::Address;
use crate::driver::{Accepted, Event};

/// ```text
///   Idle ◀──── ended ────▶ Armed ── close_listeners ──▶ Ending ──▶ Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    Idle,
    Armed,
    Ending,
    Closed,
}

impl SimDriver {
    pub(super) fn step_accept(&mut self, net: &mut Net, force: bool, events: &mut Vec<Event>) -> bool {
        if !matches!(self.accepting, Accepting::Armed | Accepting::Ending) || !net.luck.now(force) {
            return false;
        }
        let waiting = net.backlog.front().is_some_and(|&number| net.peers[number].starts_at() <= net.now);
        // A client can be accepted after the listener was asked to close and before it has closed.
        let accepts = waiting && (self.accepting == Accepting::Armed || net.luck.fault(2));
        if accepts && self.has_room() {
            if net.luck.fault(20) {
                // Too many open files.
                events.push(Event::AcceptEnded { listener: 0, error: Some(io::Error::from_raw_os_error(24)) });
                self.accepting = self.accepting.ended();
                return true;
            }
            if self.short_of_memory && net.luck.fault(10) {
                return self.refuse(net, events);
            }
            let accepted = self.accept(net);
            events.push(Event::Accepted(Box::new(accepted)));
        }
        if self.accepting == Accepting::Ending || (accepts && (!self.has_room() || net.luck.fault(3))) {
            events.push(Event::AcceptEnded { listener: 0, error: None });
            self.accepting = self.accepting.ended();
            return true;
        }
        accepts
    }

    /// Accepts a client and closes it again: its socket could not be registered.
    fn refuse(&mut self, net: &mut Net, events: &mut Vec<Event>) -> bool {
        let number = net.backlog.pop_front().expect("a client is waiting");
        net.peers[number].connected(net.now);
        net.peers[number].closed(true, net.now);
        net.refused += 1;
        events.push(Event::AcceptEnded { listener: 0, error: Some(io::Error::from_raw_os_error(ENOMEM)) });
        self.accepting = self.accepting.ended();
        true
    }

    fn accept(&mut self, net: &mut Net) -> Accepted {
        let number = net.backlog.pop_front().expect("a client is waiting");
        let key = self.open(net, number);
        let peer = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, number as u16)));
        Accepted { key, listener: 0, peer, local: Address::Unix }
    }
}

impl Accepting {
    fn ended(self) -> Self {
        match self {
            Self::Idle | Self::Armed => Self::Idle,
            Self::Ending | Self::Closed => Self::Closed,
        }
    }
}
