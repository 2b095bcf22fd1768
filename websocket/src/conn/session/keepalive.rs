//! Keepalive: regular pings, and peers that do not answer them (RFC 6455 sections 5.5.2 and 5.5.3).
//!
//! The reader pings while it waits, with one sleep on its worker's wheel, so a connection without keepalive pays
//! nothing. Connections ping at different phases, so connections that were opened together do not ping together.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tidegate_engine::time::{Sleep, Timer};
use tidegate_engine::{Connection, SendError, TcpInfo};

use super::Session;
use crate::close::CloseFrame;
use crate::close::Transport;
use crate::close_code::CloseCode;
use crate::config::KeepaliveConfig;
use crate::error::Error;
use crate::frame::Frame;

/// The start of the payload of our pings; their number follows.
const MARK: [u8; 4] = *b"ping";

/// The number of connections that were given a phase. Multiplied by the golden ratio it fills a circle evenly, however
/// many there are.
static PHASES: AtomicU32 = AtomicU32::new(1);
const GOLDEN_RATIO: u32 = 0x9E37_79B9;

/// The keepalive of one connection.
pub(crate) struct Keepalive {
    config: KeepaliveConfig,
    timer: Timer,
    /// Sleeps until the next ping, or the pong of the last one, is due.
    sleep: Sleep,
    ping_at: Instant,
    awaited: Option<Awaited>,
    /// The question whether the peer makes progress, asked before it is given up.
    question: Option<Question>,
    rtt: Option<Duration>,
    pings: u32,
}

/// The kernel's answer about the connection.
type Question = Pin<Box<dyn Future<Output = io::Result<TcpInfo>> + Send>>;

/// A ping whose pong has not come.
#[derive(Clone, Copy)]
struct Awaited {
    sent: Instant,
    /// How often receiving had been paused when the ping was sent, or at the last sign of life.
    pauses: u32,
    /// The bytes received by then.
    received: u32,
    /// What the peer had acknowledged, as far as that was asked, and when that had grown last.
    acknowledged: Option<(u64, Instant)>,
    /// The peer's kernel has acknowledged the ping; its application has once more the time for a pong.
    delivered: bool,
}

impl Awaited {
    fn new(connection: &Connection) -> Self {
        let (pauses, received) = (connection.pauses_total(), connection.received_bytes_total());
        Self { sent: Instant::now(), pauses, received, acknowledged: None, delivered: false }
    }
}

/// The next thing to do.
enum Due {
    Nothing,
    Ping([u8; 8]),
    /// The peer did not answer in time.
    Missing,
}

impl Session {
    /// Starts or stops the keepalive.
    pub(crate) fn set_keepalive(&mut self, config: Option<KeepaliveConfig>) {
        match config {
            Some(config) => {
                let keepalive = Keepalive::new(config, self.connection.timer());
                self.cold_mut().keepalive = Some(Box::new(keepalive));
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
        self.cold.as_ref()?.keepalive.as_ref()?.rtt
    }

    /// Pings when it is time, while there is nothing to read. Ready when the peer is lost.
    pub(super) fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        while let Some(keepalive) = self.cold.as_mut().and_then(|cold| cold.keepalive.as_mut()) {
            if self.closing.transport() != Transport::Keep {
                // The closing handshake has its own timeout.
                self.set_keepalive(None);
                break;
            }
            let due = if let Some(question) = &mut keepalive.question {
                let answer = ready!(question.as_mut().poll(cx));
                keepalive.question = None;
                keepalive.judge(Instant::now(), &self.connection, answer.ok())
            } else {
                ready!(keepalive.poll_due(cx));
                keepalive.look(Instant::now(), &self.connection)
            };
            match due {
                Due::Nothing => {}
                Due::Ping(payload) => self.ping(&payload),
                Due::Missing => return Poll::Ready(self.lose_silent()),
            }
        }
        Poll::Pending
    }

    fn ping(&mut self, payload: &[u8]) {
        let Ok(frame) = Frame::ping(payload) else { return };
        let queued = self.frame_queue().try_queue_control(&frame);
        let awaited = Awaited::new(&self.connection);
        let Some(keepalive) = self.cold_mut().keepalive.as_mut() else { return };
        match queued {
            Ok(()) => keepalive.wait_for_pong(awaited),
            // The peer does not read: the write timeout takes care of that.
            Err(SendError::Full) => keepalive.wait_for_ping(),
            Err(_) => self.set_keepalive(None),
        }
    }

    /// Takes a pong that answers a ping of the keepalive; false for any other.
    pub(super) fn take_pong(&mut self, payload: &[u8]) -> bool {
        let keepalive = self.cold.as_mut().and_then(|cold| cold.keepalive.as_mut());
        keepalive.is_some_and(|keepalive| keepalive.take_pong(payload))
    }

    /// Ends the connection of a peer that does not answer. Sends a close frame, in case the peer reads, and does not
    /// wait.
    fn lose_silent(&mut self) -> Error {
        self.set_keepalive(None);
        self.send_close(CloseFrame::new(CloseCode::GOING_AWAY, "no pong").ok().as_ref());
        self.lose();
        Error::NoPong
    }
}

impl Awaited {
    /// Returns whether the pong can still come or the peer has sent anything since the last look: received bytes are as
    /// good as a pong, which cannot stand inside a frame.
    fn sees_life(&mut self, connection: &Connection) -> bool {
        let (pauses, received) = (connection.pauses_total(), connection.received_bytes_total());
        // A ping that has not left cannot be answered, and a pong can be behind bytes that our reader has not taken.
        let alive = connection.sender().queued_bytes() > 0
            || connection.inbound_bytes() > 0
            || connection.is_paused()
            || (pauses, received) != (self.pauses, self.received);
        (self.pauses, self.received) = (pauses, received);
        alive
    }
}

impl Keepalive {
    fn new(config: KeepaliveConfig, timer: Timer) -> Self {
        let phase = phase(PHASES.fetch_add(1, Ordering::Relaxed), config.interval_in_force());
        let ping_at = after(Instant::now(), phase);
        let sleep = timer.sleep_until(ping_at);
        Self { config, timer, sleep, ping_at, awaited: None, question: None, rtt: None, pings: 0 }
    }

    /// Ready when [`look`](Self::look) is to be called.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.sleep).poll(cx)
    }

    fn look(&mut self, now: Instant, connection: &Connection) -> Due {
        let Some(awaited) = &mut self.awaited else {
            if now < self.ping_at {
                // Woken for a pong that has arrived.
                self.wait_for_ping();
                return Due::Nothing;
            }
            while self.ping_at <= now {
                self.ping_at = after(self.ping_at, self.config.interval_in_force());
            }
            self.pings = self.pings.wrapping_add(1);
            return Due::Ping(self.payload());
        };
        if awaited.sees_life(connection) {
            self.sleep = self.timer.sleep_until(after(now, self.config.pong_timeout));
        } else {
            self.question = Some(Box::pin(connection.sender().tcp_info()));
        }
        Due::Nothing
    }

    /// Decides with the kernel's answer whether the peer is lost. The ping can still lie in the kernel's send buffer,
    /// and the peer lives as long as it acknowledges what is before it.
    fn judge(&mut self, now: Instant, connection: &Connection, info: Option<TcpInfo>) -> Due {
        let Some(awaited) = &mut self.awaited else { return Due::Nothing };
        let timeout = self.config.pong_timeout;
        if awaited.sees_life(connection) {
            self.sleep = self.timer.sleep_until(after(now, timeout));
            return Due::Nothing;
        }
        let Some(info) = info else { return Due::Missing };
        if info.unacknowledged_segments == 0 && info.unsent_bytes == 0 {
            // Delivered at the last send at the earliest, or after the last look.
            let since = if awaited.acknowledged.is_some() { Duration::ZERO } else { info.since_sent };
            if since >= timeout || std::mem::replace(&mut awaited.delivered, true) {
                return Due::Missing;
            }
            self.sleep = self.timer.sleep_until(after(now, timeout - since));
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
        self.sleep = self.timer.sleep_until(after(now, timeout / 4));
        Due::Nothing
    }

    fn wait_for_ping(&mut self) {
        self.sleep = self.timer.sleep_until(self.ping_at);
    }

    fn wait_for_pong(&mut self, awaited: Awaited) {
        self.awaited = Some(awaited);
        self.sleep = self.timer.sleep_until(after(awaited.sent, self.config.pong_timeout));
    }

    fn payload(&self) -> [u8; 8] {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&MARK);
        payload[4..].copy_from_slice(&self.pings.to_be_bytes());
        payload
    }

    fn take_pong(&mut self, payload: &[u8]) -> bool {
        let Some(awaited) = self.awaited.filter(|_| payload == self.payload()) else { return false };
        (self.awaited, self.question) = (None, None);
        self.rtt = Some(awaited.sent.elapsed());
        if self.config.pong_timeout > self.config.interval_in_force() {
            self.wait_for_ping();
        }
        true
    }
}

/// Returns the time that the connection of this number waits for its first ping: a part of the interval.
fn phase(number: u32, interval: Duration) -> Duration {
    let turn = number.wrapping_mul(GOLDEN_RATIO);
    interval.mul_f64(f64::from(turn) / (f64::from(u32::MAX) + 1.0))
}

/// Adds, up to a century: a deadline beyond the range of the clock is never reached.
fn after(start: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    start.checked_add(duration.min(CENTURY)).unwrap_or(start)
}

impl fmt::Debug for Keepalive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keepalive").field("config", &self.config).field("rtt", &self.rtt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
