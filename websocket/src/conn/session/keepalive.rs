//! Keepalive: regular pings, and peers that do not answer them (RFC 6455 sections 5.5.2 and 5.5.3).
//!
//! It needs no reader: a sleep on the worker's wheel wakes it, on the worker's thread, and each step arms the next
//! sleep. A handler that reads finds the pongs. While it does not, received bytes show that the peer lives. A
//! connection without keepalive pays nothing. Connections ping at different phases, so connections that were opened
//! together do not ping together.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tidegate_engine::time::Sleep;
use tidegate_engine::{ByteSender, SendError, TcpInfo, instant_after};

use super::Session;
use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::config::KeepaliveConfig;
use crate::conn::frame_queue::ControlQueue;
use crate::error::Error;
use crate::frame::Frame;
use crate::role::Role;
use crate::sync::lock;

/// The start of the payload of our pings; their number follows.
const MARK: [u8; 4] = *b"ping";

/// The number of connections that were given a phase. Multiplied by the golden ratio it fills a circle evenly, however
/// many there are.
static PHASES: AtomicU32 = AtomicU32::new(1);
const GOLDEN_RATIO: u32 = 0x9E37_79B9;

/// The keepalive of one connection. Dropping it stops the pings.
#[derive(Debug)]
pub(crate) struct Keepalive(Arc<Pinger>);

/// Pings when its sleep wakes it.
struct Pinger {
    sender: ByteSender,
    role: Role,
    config: KeepaliveConfig,
    /// The time in which the connection of a lost peer ends, whatever its handler does.
    close_timeout: Duration,
    /// Calls of `wake` since the last step began; the caller that finds 0 makes the steps.
    wakes: AtomicU32,
    /// The peer was given up.
    is_lost: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// Sleeps until the next check. `None` once the keepalive has stopped.
    sleep: Option<Sleep>,
    /// Asks the kernel whether the peer makes progress, before it is given up.
    question: Option<Question>,
    /// When the next ping is due.
    ping_at: Instant,
    /// The number of the last ping, and when it was sent.
    pings: u32,
    sent: Instant,
    /// The number of the last ping whose pong was found.
    answered: u32,
    /// The last ping, while no sign of life has come since.
    awaited: Option<Awaited>,
    rtt: Option<Duration>,
}

/// The kernel's answer about the connection.
type Question = Pin<Box<dyn Future<Output = io::Result<TcpInfo>> + Send>>;

/// A ping after which the peer has shown no sign of life.
struct Awaited {
    /// When the peer is to be given up, or the kernel to be asked about it.
    deadline: Instant,
    /// The bytes received by the time of the ping.
    received: u32,
    /// The bytes that the peer had acknowledged, if the kernel was asked, and when that number last grew.
    acknowledged: Option<(u64, Instant)>,
    /// The peer's kernel has acknowledged the ping; its application gets the pong timeout once more.
    delivered: bool,
}

/// The next thing to do.
enum Due {
    Nothing,
    Ping,
    /// The peer did not answer in time.
    Missing,
}

impl Session {
    /// Starts or stops the keepalive.
    pub(crate) fn set_keepalive(&mut self, config: Option<KeepaliveConfig>) {
        match config {
            Some(config) => {
                let close_timeout = self.context.config.close_timeout;
                let keepalive = Keepalive::start(config, self.control_queue(), close_timeout);
                self.cold_mut().keepalive = Some(keepalive);
            }
            None => {
                if let Some(cold) = &mut self.cold {
                    cold.keepalive = None;
                }
            }
        }
    }

    /// Returns the time between the last answered ping of the keepalive and its pong.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.around().rtt()
    }

    /// Takes a pong that answers a ping of the keepalive; false for any other.
    pub(super) fn take_pong(&mut self, payload: &[u8]) -> bool {
        self.keepalive().is_some_and(|keepalive| {
            let now = keepalive.0.sender.timer().now();
            lock(&keepalive.0.state).take_pong(payload, now)
        })
    }

    /// Returns whether the keepalive has given the peer up.
    pub(super) fn is_silent(&self) -> bool {
        self.keepalive().is_some_and(|keepalive| keepalive.0.is_lost.load(Ordering::Acquire))
    }

    /// Ends the session of a peer that the keepalive has given up. The close frame was queued by it, in case the peer
    /// reads.
    pub(super) fn lose_silent(&mut self) -> Error {
        self.set_keepalive(None);
        let _ = self.closing.send_close();
        self.lose();
        Error::NoPong
    }

    fn keepalive(&self) -> Option<&Keepalive> {
        self.cold.as_ref()?.keepalive.as_ref()
    }
}

impl Keepalive {
    /// Returns the time between the last answered ping and its pong.
    pub(super) fn rtt(&self) -> Option<Duration> {
        lock(&self.0.state).rtt
    }

    fn start(config: KeepaliveConfig, queue: ControlQueue<'_>, close_timeout: Duration) -> Self {
        let (sender, role) = (queue.bytes(), queue.role());
        let now = sender.timer().now();
        let ping_at = instant_after(now, phase(PHASES.fetch_add(1, Ordering::Relaxed), config.interval_in_force()));
        let state = State {
            sleep: Some(sender.timer().sleep_until(ping_at)),
            question: None,
            ping_at,
            pings: 0,
            sent: now,
            answered: 0,
            awaited: None,
            rtt: None,
        };
        let pinger = Arc::new(Pinger {
            sender: sender.clone(),
            role,
            config,
            close_timeout,
            wakes: AtomicU32::new(0),
            is_lost: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        Arc::clone(&pinger).wake();
        Self(pinger)
    }
}

impl Drop for Keepalive {
    fn drop(&mut self) {
        let stopped = lock(&self.0.state).stop();
        // Its sleep can wake the pinger while it is dropped: not under the lock.
        drop(stopped);
    }
}

/// Called by the worker when a sleep is over or the kernel has answered. A call during a step of another call, perhaps
/// one further up on this stack, only makes that one step again.
impl Wake for Pinger {
    fn wake(self: Arc<Self>) {
        if self.wakes.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let waker = Waker::from(Arc::clone(&self));
        let mut seen = 1;
        loop {
            self.step(&mut Context::from_waker(&waker));
            match self.wakes.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

impl Pinger {
    /// Does what is due, until it has to wait.
    fn step(&self, cx: &mut Context<'_>) {
        let mut state = lock(&self.state);
        loop {
            let State { sleep: Some(sleep), question, .. } = &mut *state else { return };
            let answer = match question {
                Some(question) => question.as_mut().poll(cx).map(|answer| Some(answer.ok())),
                None => Pin::new(sleep).poll(cx).map(|()| None),
            };
            let Poll::Ready(answer) = answer else { return };
            let now = self.sender.timer().now();
            let due = match answer {
                // The closing handshake has its own timeout.
                _ if self.sender.is_finished() => return stop(state),
                Some(answer) => {
                    state.question = None;
                    self.decide(&mut state, now, answer)
                }
                None => self.check(&mut state, now),
            };
            match due {
                Due::Nothing => {}
                Due::Ping => match self.ping(&state) {
                    Ok(()) => self.await_pong(&mut state, now),
                    // The peer does not read: the write timeout takes care of that.
                    Err(SendError::Full) => {}
                    Err(_) => return stop(state),
                },
                Due::Missing => {
                    stop(state);
                    return self.give_up();
                }
            }
            let next = state.next_check(now);
            state.sleep = Some(self.sender.timer().sleep_until(next));
        }
    }

    fn queue(&self) -> ControlQueue<'_> {
        ControlQueue::new(&self.sender, self.role)
    }

    fn ping(&self, state: &State) -> Result<(), SendError> {
        match Frame::ping(&payload(state.pings)) {
            Ok(frame) => self.queue().try_queue(&frame),
            Err(_) => Ok(()),
        }
    }

    fn await_pong(&self, state: &mut State, now: Instant) {
        state.sent = now;
        state.awaited = Some(Awaited {
            deadline: instant_after(now, self.config.pong_timeout),
            received: self.sender.received_bytes_total(),
            acknowledged: None,
            delivered: false,
        });
    }

    fn check(&self, state: &mut State, now: Instant) -> Due {
        let is_due = now >= state.ping_at;
        while state.ping_at <= now {
            state.ping_at = instant_after(state.ping_at, self.config.interval_in_force());
        }
        self.check_for_life(state, now);
        match &state.awaited {
            None if is_due => {
                state.pings = state.pings.wrapping_add(1);
                Due::Ping
            }
            Some(awaited) if now >= awaited.deadline => {
                state.question = Some(Box::pin(self.sender.tcp_info()));
                Due::Nothing
            }
            _ => Due::Nothing,
        }
    }

    /// Ends the wait for a pong if the peer has sent anything since the ping: received bytes count as a pong, because a
    /// pong cannot come in the middle of a frame, and is not found while the handler reads nothing. A ping that has not
    /// left cannot be answered.
    fn check_for_life(&self, state: &mut State, now: Instant) {
        let Some(awaited) = &mut state.awaited else { return };
        if self.sender.received_bytes_total() != awaited.received {
            state.awaited = None;
        } else if now >= awaited.deadline && self.sender.queued_bytes() > 0 {
            awaited.deadline = instant_after(now, self.config.pong_timeout);
        }
    }

    /// Decides with the kernel's answer whether the peer is lost. The ping can still lie in the kernel's send buffer,
    /// and the peer lives as long as it acknowledges what is before it. While receiving is paused no pong can arrive,
    /// and a peer whose kernel acknowledges counts as alive.
    fn decide(&self, state: &mut State, now: Instant, info: Option<TcpInfo>) -> Due {
        let (timeout, is_paused) = (self.config.pong_timeout, self.sender.is_paused());
        self.check_for_life(state, now);
        let Some(awaited) = state.awaited.as_mut().filter(|awaited| now >= awaited.deadline) else {
            return Due::Nothing;
        };
        let is_delivered = info.as_ref().is_none_or(|info| info.unacknowledged_segments == 0 && info.unsent_bytes == 0);
        if is_paused && is_delivered {
            state.awaited = None;
            return Due::Nothing;
        }
        let Some(info) = info else { return Due::Missing };
        if is_delivered {
            // The ping was delivered no earlier than the last send, or after the last check.
            let since = if awaited.acknowledged.is_some() { Duration::ZERO } else { info.since_sent };
            if since >= timeout || mem::replace(&mut awaited.delivered, true) {
                return Due::Missing;
            }
            awaited.deadline = instant_after(now, timeout - since);
            return Due::Nothing;
        }
        let total = info.acknowledged_bytes_total;
        match awaited.acknowledged {
            Some((before, at)) if before == total => {
                if now.saturating_duration_since(at) >= timeout {
                    return Due::Missing;
                }
            }
            _ => awaited.acknowledged = Some((total, now)),
        }
        awaited.deadline = instant_after(now, timeout / 4);
        Due::Nothing
    }

    /// Ends the connection of a peer that does not answer. Sends a close frame, in case the peer reads, which also
    /// wakes a reader. Without a reader the connection is reset after the close timeout.
    fn give_up(&self) {
        self.is_lost.store(true, Ordering::Release);
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, "no pong").ok();
        if let Err(error) = self.queue().queue_close(frame.as_ref()) {
            log::trace!("no close frame was sent to a silent peer: {error}");
        }
        self.sender.set_lifetime_deadline(self.sender.timer().now().checked_add(self.close_timeout));
    }
}

/// Stops the keepalive. What it waited for is dropped without the lock.
fn stop(mut state: std::sync::MutexGuard<'_, State>) {
    let stopped = state.stop();
    drop(state);
    drop(stopped);
}

impl State {
    fn stop(&mut self) -> (Option<Sleep>, Option<Question>) {
        (self.sleep.take(), self.question.take())
    }

    /// Returns the time of the next check.
    fn next_check(&self, now: Instant) -> Instant {
        let deadline = self.awaited.as_ref().map_or(self.ping_at, |awaited| awaited.deadline.max(now));
        self.ping_at.min(deadline)
    }

    /// Notes the pong of the last ping or of an earlier one that was not answered yet. False for any other payload.
    fn take_pong(&mut self, payload: &[u8], now: Instant) -> bool {
        let Some(number) = payload.strip_prefix(&MARK).and_then(|number| number.try_into().ok()) else { return false };
        let number = u32::from_be_bytes(number);
        let unanswered = self.pings.wrapping_sub(self.answered);
        if !(1..=unanswered).contains(&number.wrapping_sub(self.answered)) {
            return false;
        }
        self.answered = number;
        if number == self.pings {
            self.awaited = None;
            self.rtt = Some(now.saturating_duration_since(self.sent));
        }
        true
    }
}

/// Returns the payload of the ping with this number.
fn payload(number: u32) -> [u8; 8] {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&MARK);
    payload[4..].copy_from_slice(&number.to_be_bytes());
    payload
}

/// Returns the time that the connection of this number waits for its first ping: a part of the interval.
fn phase(number: u32, interval: Duration) -> Duration {
    let turn = number.wrapping_mul(GOLDEN_RATIO);
    interval.mul_f64(f64::from(turn) / (f64::from(u32::MAX) + 1.0))
}

impl fmt::Debug for Pinger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinger").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pongs_of_unanswered_pings_are_taken_once() {
        let now = Instant::now();
        let mut state = State {
            sleep: None,
            question: None,
            ping_at: now,
            pings: 3,
            sent: now,
            answered: 0,
            awaited: None,
            rtt: None,
        };
        assert!(!state.take_pong(b"pong", now) && !state.take_pong(b"ping", now) && !state.take_pong(&payload(4), now));
        assert!(state.take_pong(&payload(2), now));
        assert_eq!(state.rtt, None);
        assert!(!state.take_pong(&payload(2), now) && !state.take_pong(&payload(1), now));
        assert!(state.take_pong(&payload(3), now));
        assert!(state.rtt.is_some());
    }

    /// However many connections are opened together, no part of the interval has more than its share of pings.
    #[test]
    fn pings_are_spread_over_the_interval() {
        const PARTS: usize = 100;
        let interval = Duration::from_secs(25);
        for first in [1, 1_000_000, u32::MAX - 500] {
            let mut pings = [0; PARTS];
            for number in 0..1000 {
                let phase = phase(first.wrapping_add(number), interval);
                assert!(phase < interval);
                pings[(phase.as_nanos() * PARTS as u128 / interval.as_nanos()) as usize] += 1;
            }
            assert!(pings.iter().all(|pings| (8..=12).contains(pings)), "{pings:?}");
        }
    }
}
