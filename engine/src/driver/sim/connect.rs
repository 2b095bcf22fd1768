//! Connecting to simulated servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{ENOMEM, Luck, Net, Script, SimDriver};
use crate::address::Address;
use crate::driver::{Connected, Event};
use crate::shared::attempt::{ConnectFailure, ConnectRequest};

pub(crate) const ECANCELED: i32 = 125;

/// What a server does with a client, and after which time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Accepts(Duration),
    /// Fails with this errno.
    Fails(i32, Duration),
    /// Nothing: packets to it are lost.
    Silent,
}

impl Answer {
    fn after(self) -> Option<Duration> {
        match self {
            Self::Accepts(after) | Self::Fails(_, after) => Some(after),
            Self::Silent => None,
        }
    }
}

/// The attempts in progress.
#[derive(Default)]
pub(super) struct Attempts(Vec<Attempt>);

struct Attempt {
    number: u32,
    peer: usize,
    answer: Answer,
    /// The time of the answer, if there will be one.
    due: Option<Duration>,
    cancelled: bool,
}

impl Attempts {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn cancel(&mut self, number: u32) {
        // It can be over without the worker having processed that event. The cancellation then finds nothing.
        self.0.iter_mut().filter(|attempt| attempt.number == number).for_each(|attempt| attempt.cancelled = true);
    }

    /// Returns the next time at which a server answers.
    pub(super) fn next_due(&self, now: Duration) -> Option<Duration> {
        self.0.iter().filter_map(|attempt| attempt.due).filter(|&due| due > now).min()
    }
}

impl Attempt {
    /// Returns the outcome, if there can be one now: whether it succeeds, or why not. A cancellation either comes
    /// before the answer of the server or after it, at random.
    fn outcome(&self, short_of_memory: bool, now: Duration, luck: &mut Luck) -> Option<Result<(), i32>> {
        if short_of_memory && luck.fault(200) {
            return Some(Err(ENOMEM));
        }
        let due = self.due.is_some_and(|due| due <= now);
        match self.answer {
            _ if self.cancelled && (!due || luck.now(false)) => Some(Err(ECANCELED)),
            Answer::Accepts(_) if due => Some(Ok(())),
            Answer::Fails(errno, _) if due => Some(Err(errno)),
            _ => None,
        }
    }
}

impl Net {
    /// Adds a server, which answers one client and then follows its script. Returns its address.
    pub(crate) fn listen(&mut self, script: Script, answer: Answer) -> SocketAddr {
        let number = self.add(script);
        self.answers.insert(number, answer);
        SocketAddr::from((Ipv4Addr::LOCALHOST, number as u16))
    }
}

impl SimDriver {
    pub(super) fn connect(&mut self, number: u32, request: &ConnectRequest) -> Result<(), ConnectFailure> {
        assert!(self.attempts.0.iter().all(|attempt| attempt.number != number), "attempt {number} is in progress");
        let net = &mut *self.net.borrow_mut();
        if !self.has_room() {
            return Err(ConnectFailure::Full);
        }
        if self.short_of_memory && net.luck.fault(20) {
            return Err(ConnectFailure::Errno(ENOMEM));
        }
        let peer = Net::peer_of(Address::from_name(&request.address));
        let answer = net.answers[&peer];
        let due = answer.after().map(|after| net.now + after);
        self.attempts.0.push(Attempt { number, peer, answer, due, cancelled: false });
        Ok(())
    }

    pub(super) fn step_connects(&mut self, net: &mut Net, force: bool, events: &mut Vec<Event>) -> bool {
        let before = events.len();
        let mut at = 0;
        while let Some(attempt) = self.attempts.0.get(at) {
            let happens = net.luck.now(force);
            let outcome = attempt.outcome(self.short_of_memory, net.now, &mut net.luck).filter(|_| happens);
            let Some(outcome) = outcome else {
                at += 1;
                continue;
            };
            let Attempt { number, peer, .. } = self.attempts.0.remove(at);
            let result = match outcome {
                Ok(()) => {
                    let key = self.open(net, peer);
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, peer as u16));
                    Ok(Box::new(Connected { key, peer: Address::Ip(address), local: Address::Unix }))
                }
                Err(errno) => Err(ConnectFailure::Errno(errno)),
            };
            events.push(Event::Connected { attempt: number, result });
        }
        events.len() > before
    }
}
