//! The far end of a simulated connection, and the socket buffers of both ends.

use std::collections::VecDeque;
use std::time::Duration;

use super::Luck;

/// The behaviour of a peer, decided before the run.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) starts_at: Duration,
    /// Bytes it sends, in random pieces.
    pub(crate) sends: Vec<u8>,
    pub(crate) ending: Ending,
    /// Maximum unread bytes it holds; sends to it stop there.
    pub(crate) window_bytes: usize,
    /// Whether it ever reads.
    pub(crate) reads: bool,
    /// The longest pause between two of its actions (in calm runs, the exact pause).
    pub(crate) pace: Duration,
}

/// The end of a peer's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// FIN at once.
    Fin,
    /// FIN after it has seen ours.
    FinAfterOurs,
    /// Reset after this many bytes.
    Reset { after: usize },
    /// Nothing: the connection stays open.
    Silence,
}

/// The end of the connection as the peer saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saw {
    Open,
    Fin,
    Reset,
}

/// Maximum bytes that our kernel holds for a later receive; the peer's sending stops there.
const INBOX_BYTES_MAX: usize = 256;

pub(crate) struct Peer {
    script: Script,
    connected: bool,
    next_act: Duration,
    /// Number of bytes of the script sent.
    pub(crate) sent: usize,
    pub(crate) fin_sent: bool,
    pub(crate) reset_sent: bool,
    /// Bytes in our kernel, not yet received.
    pub(super) inbox: VecDeque<u8>,
    /// Bytes sent by us, not yet read by the peer.
    unread: VecDeque<u8>,
    pub(crate) received: Vec<u8>,
    fin_on_its_way: bool,
    pub(crate) saw: Saw,
    /// Time at which it saw the end.
    pub(crate) saw_at: Duration,
}

impl Peer {
    pub(super) fn new(script: Script) -> Self {
        Self {
            script,
            connected: false,
            next_act: Duration::ZERO,
            sent: 0,
            fin_sent: false,
            reset_sent: false,
            inbox: VecDeque::new(),
            unread: VecDeque::new(),
            received: Vec::new(),
            fin_on_its_way: false,
            saw: Saw::Open,
            saw_at: Duration::ZERO,
        }
    }

    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    pub(super) fn say(&mut self, bytes: &[u8], at: Duration) {
        self.script.sends.extend_from_slice(bytes);
        self.next_act = at;
    }

    pub(crate) fn stop_reading(&mut self) {
        self.script.reads = false;
    }

    pub(super) fn starts_at(&self) -> Duration {
        self.script.starts_at
    }

    pub(super) fn connected(&mut self, now: Duration) {
        self.connected = true;
        self.next_act = now;
    }

    /// Returns when it acts next, if it has anything to do.
    pub(super) fn next_act(&self, now: Duration) -> Option<Duration> {
        (self.can_send() || self.can_end() || self.can_read()).then_some(self.next_act.max(now))
    }

    fn is_over(&self) -> bool {
        !self.connected || self.reset_sent || self.saw == Saw::Reset
    }

    fn can_send(&self) -> bool {
        let most = match self.script.ending {
            Ending::Reset { after } => after.min(self.script.sends.len()),
            _ => self.script.sends.len(),
        };
        !self.is_over() && self.sent < most && self.inbox.len() < INBOX_BYTES_MAX
    }

    fn can_end(&self) -> bool {
        let all = self.sent == self.script.sends.len();
        !self.is_over()
            && !self.fin_sent
            && match self.script.ending {
                Ending::Fin => all,
                Ending::FinAfterOurs => all && self.saw == Saw::Fin,
                Ending::Reset { after } => self.sent >= after || all,
                Ending::Silence => false,
            }
    }

    fn can_read(&self) -> bool {
        !self.is_over()
            && self.script.reads
            && (!self.unread.is_empty() || (self.fin_on_its_way && self.saw == Saw::Open))
    }

    /// Sends, reads or ends, if due.
    pub(super) fn step(&mut self, now: Duration, luck: &mut Luck, force: bool) -> bool {
        if self.next_act(now).is_none_or(|at| at > now) || !luck.now(force) {
            return false;
        }
        if self.can_read() {
            self.read(now, luck);
        }
        if self.can_send() {
            let most = (self.script.sends.len() - self.sent).min(INBOX_BYTES_MAX - self.inbox.len());
            let piece = luck.piece(most);
            self.inbox.extend(&self.script.sends[self.sent..self.sent + piece]);
            self.sent += piece;
        } else if self.can_end() {
            match self.script.ending {
                Ending::Reset { .. } => {
                    self.reset_sent = true;
                    self.unread.clear();
                }
                _ => self.fin_sent = true,
            }
        }
        self.next_act = now + luck.pause(self.script.pace);
        true
    }

    fn read(&mut self, now: Duration, luck: &mut Luck) {
        if !self.unread.is_empty() {
            let piece = luck.piece(self.unread.len());
            self.received.extend(self.unread.drain(..piece));
        }
        if self.unread.is_empty() && self.fin_on_its_way && self.saw == Saw::Open {
            self.saw = Saw::Fin;
            self.saw_at = now;
        }
        self.next_act = now;
    }

    /// Returns the room for our bytes.
    pub(super) fn room(&self) -> usize {
        self.script.window_bytes - self.unread.len()
    }

    /// Returns the number of our bytes that its kernel has taken.
    pub(super) fn acknowledged(&self) -> u64 {
        (self.received.len() + self.unread.len()) as u64
    }

    pub(super) fn deliver(&mut self, bytes: &[u8]) {
        assert!(!self.fin_on_its_way, "bytes after FIN");
        self.unread.extend(bytes);
    }

    pub(super) fn deliver_fin(&mut self) {
        self.fin_on_its_way = true;
    }

    /// Closes our socket: FIN after the sent bytes, or a reset, which overtakes and destroys them.
    pub(super) fn closed(&mut self, reset: bool, now: Duration) {
        if reset || !self.inbox.is_empty() || (!self.fin_sent && self.sent < self.script.sends.len()) {
            if self.saw != Saw::Reset {
                self.saw = Saw::Reset;
                self.saw_at = now;
            }
            self.unread.clear();
        } else {
            self.fin_on_its_way = true;
        }
        self.inbox.clear();
    }
}
