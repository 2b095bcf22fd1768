//! Accepts connections, and pauses accepting while descriptors or memory are short.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::clock::wheel::{Links, TimerId};
use crate::clock::{Clock, NEVER, RecentTick};
use crate::connection::Connection;
use crate::driver::{Accepted, Driver};
use crate::executor::RunQueue;
use crate::shared::deadlines::timeout_ticks;
use crate::shared::key::ConnKey;
use crate::shared::{ConnShared, LocalEnd};
use crate::util::flags::Flags;

use super::held::Holds;
use super::{Conn, Due, Phase, Receive, Worker};

/// Maximum local addresses that a worker remembers to share for each handler thread: more than the interfaces of most
/// hosts.
const LOCAL_ADDRESSES_MAX: usize = 16;

/// Maximum pause of accepting after a failure that can pass with time (EMFILE, ENFILE, ENOMEM). It ends at once when a
/// connection closes.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// The reason why accepting on a listener has paused.
pub(super) enum AcceptPause {
    /// It has not.
    None,
    /// No slot is free.
    Full,
    /// It failed; the timer ends the pause.
    Failed(TimerId),
}

impl<D: Driver> Worker<D> {
    pub(super) fn on_accepted(&mut self, accepted: &Accepted) {
        let key = accepted.key;
        #[cfg(feature = "tls")]
        let encrypted = self.is_listener_encrypted(accepted.listener);
        let ready = self.handlers[self.next_handler].ready();
        let local = LocalEnd::new(&self.worker_shared, ready, accepted.local, accepted.listener);
        self.next_handler = (self.next_handler + 1) % self.handlers.len();
        #[cfg(feature = "tls")]
        let local = if encrypted { Arc::new(local.with_tls()) } else { self.share_local(local) };
        #[cfg(not(feature = "tls"))]
        let local = self.share_local(local);
        let shared = self.open_conn(key, accepted.peer, local);
        self.worker_shared.counters.accepted_total.add(1);
        #[cfg(feature = "tls")]
        if encrypted {
            // Its handler starts after the handshake.
            self.begin_handshake(key, accepted.listener);
            return self.drain_if_shutting_down(key);
        }
        self.arm_receive(key);
        self.start_handler(shared);
        self.drain_if_shutting_down(key);
    }

    /// Starts the handler of an accepted connection, on the thread that was chosen for it.
    pub(super) fn start_handler(&mut self, shared: Arc<ConnShared>) {
        let is_chosen = |handler: &&Arc<RunQueue>| Arc::ptr_eq(handler.ready(), &shared.local.ready);
        if let Some(handler) = self.handlers.iter().find(is_chosen) {
            handler.start(Connection::new(shared));
        }
    }

    /// Begins to serve an open socket. Its receive is not armed.
    pub(super) fn open_conn(&mut self, key: ConnKey, peer: Address, local: Arc<LocalEnd>) -> Arc<ConnShared> {
        let shared = ConnShared::new(key, peer, local);
        let now = self.worker_shared.clock.now();
        let conn = Conn {
            shared: Arc::clone(&shared),
            close_at: NEVER,
            timer: Links::UNARMED,
            received_at: RecentTick::new(now),
            phase: Phase::Open,
            receive: Receive::Paused,
            holds: Holds::No,
            flags: Flags::default(),
        };
        drop(self.conns.put(key.index, conn));
        self.open += 1;
        self.worker_shared.counters.connections.add(1);
        self.set_idle(key, timeout_ticks(self.config.idle_timeout));
        shared
    }

    /// Returns the shared copy of a local end.
    fn share_local(&mut self, local: LocalEnd) -> Arc<LocalEnd> {
        if let Some(known) = self.locals.iter().find(|known| known.is_same(&local)) {
            return Arc::clone(known);
        }
        if self.locals.len() == LOCAL_ADDRESSES_MAX * self.handlers.len() {
            self.locals.clear();
        }
        let local = Arc::new(local);
        self.locals.push(Arc::clone(&local));
        local
    }

    pub(super) fn arm_accept(&mut self, listener: usize) {
        if self.drain.is_some() {
            return;
        }
        let full = !self.driver.arm_accept(listener);
        if full {
            self.worker_shared.counters.accept_pauses_total.add(1);
        }
        let pause = if full { AcceptPause::Full } else { AcceptPause::None };
        if let AcceptPause::Failed(timer) = std::mem::replace(&mut self.accept_pauses[listener], pause) {
            self.wheel.remove(timer);
        }
    }

    /// Arms accepting again after its pause for a failure.
    pub(super) fn retry_accept(&mut self, listener: usize) {
        // The timer has fired.
        self.accept_pauses[listener] = AcceptPause::None;
        self.arm_accept(listener);
    }

    /// Returns whether a listener waits for a connection to close.
    pub(super) fn is_waiting_for_slots(&self) -> bool {
        self.accept_pauses.iter().any(|pause| !matches!(pause, AcceptPause::None))
    }

    /// Arms accepting on the listeners that wait for a connection to close.
    pub(super) fn resume_accept(&mut self) {
        for listener in 0..self.accept_pauses.len() {
            if !matches!(self.accept_pauses[listener], AcceptPause::None) {
                self.arm_accept(listener);
            }
        }
    }

    pub(super) fn on_accept_ended(&mut self, listener: usize, error: Option<io::Error>) {
        let Some(error) = error else { return self.arm_accept(listener) };
        if self.drain.is_some() {
            return;
        }
        match error.kind() {
            // The client left before it was accepted.
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => self.arm_accept(listener),
            _ if is_of_one_client(&error) => self.arm_accept(listener),
            _ => {
                // Descriptors or memory are short. Open connections continue; accepting pauses until one closes, or
                // briefly, because what is short can become free elsewhere.
                self.log_accept_failure(&error);
                let now = self.worker_shared.clock.now();
                self.worker_shared.counters.accept_pauses_total.add(1);
                let timer = self.wheel.insert(now + Clock::ticks_in(ACCEPT_RETRY), Due::Accept(listener));
                self.accept_pauses[listener] = AcceptPause::Failed(timer);
            }
        }
    }
}

impl<D> Worker<D> {
    /// Logs a failure to accept, at most once a minute for all workers.
    #[cold]
    fn log_accept_failure(&self, error: &io::Error) {
        let now = self.worker_shared.clock.now();
        let Some(left_out) = self.worker_shared.engine.accept_failures.take_turn(now) else { return };
        let before = if left_out > 0 { format!(" ({left_out} more times since the last line)") } else { String::new() };
        log::warn!(
            "accepting paused, retrying every {ACCEPT_RETRY:?}: {error}; raise the open-file limit (ulimit -n) or lower \
             connections_max{before}"
        );
    }
}

/// Returns whether an error of accept(2) concerns only the client that was being accepted, such as a network error. It
/// must not delay other clients.
fn is_of_one_client(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    let about_the_network = matches!(
        error.raw_os_error(),
        Some(
            libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ETIMEDOUT
        )
    );
    #[cfg(not(target_os = "linux"))]
    let about_the_network = matches!(
        error.kind(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown | io::ErrorKind::NetworkUnreachable
    );
    about_the_network
}
