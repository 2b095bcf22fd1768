//! Happy eyeballs (RFC 8305 section 5): several addresses are tried, each a little later than the one before it, and
//! the first that connects wins.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockAddr;

use super::error::ConnectError;
use crate::connection::Connection;
use crate::executor;
use crate::shared::ConnShared;
use crate::shared::attempt::{Attempt, ConnectFailure, ConnectOptions, ConnectRequest};
use crate::shared::command::Command;
use crate::shared::wake_scope;
use crate::shared::worker_shared::WorkerShared;
use crate::time::{Sleep, Timer};

/// Time that an address has before the next one is tried too: the Connection Attempt Delay of RFC 8305 section 8.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Time after which a Unix-domain socket whose queue of connections was full is tried again. The system does not say
/// when there is room.
const FULL_QUEUE_DELAY: Duration = Duration::from_millis(16);

/// The socket of each attempt.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) local: Option<SockAddr>,
    pub(super) options: ConnectOptions,
    pub(super) while_draining: bool,
}

/// The future of the first connection to one of several addresses. Dropping it ends the attempts.
pub(super) struct Race {
    worker: Arc<WorkerShared>,
    settings: Settings,
    waiting: VecDeque<SockAddr>,
    running: Vec<Runner>,
    /// The next address is tried when it ends.
    delay: Option<Sleep>,
    /// The error to return if every address fails.
    failure: Option<ConnectError>,
}

impl Race {
    pub(super) fn new(worker: Arc<WorkerShared>, settings: Settings, addresses: Vec<SockAddr>) -> Self {
        Self { worker, settings, waiting: addresses.into(), running: Vec::new(), delay: None, failure: None }
    }

    /// Polls the attempts. A failure ends the wait for the next address.
    fn poll_running(&mut self, cx: &Context<'_>) -> Poll<Result<Connection, ConnectError>> {
        let mut at = 0;
        while let Some(runner) = self.running.get(at) {
            match runner.attempt.poll(cx.waker()) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(shared)) => return Poll::Ready(Ok(Connection::new(shared))),
                Poll::Ready(Err(failure)) => {
                    let runner = self.running.swap_remove(at);
                    self.delay = None;
                    if failure == ConnectFailure::Errno(libc::EAGAIN) && runner.address.is_unix() {
                        self.waiting.push_front(runner.address.clone());
                        self.delay = Some(Timer::new(Arc::clone(&self.worker)).timeout(FULL_QUEUE_DELAY));
                        continue;
                    }
                    let error = ConnectError::of(failure, || name(&runner.address));
                    if error.is_of_all_addresses() {
                        return Poll::Ready(Err(error));
                    }
                    // The first that tells of a server, or else the first.
                    if self.failure.as_ref().is_none_or(|known| known.is_without_route() && !error.is_without_route()) {
                        self.failure = Some(error);
                    }
                }
            }
        }
        Poll::Pending
    }

    fn start(&mut self, address: SockAddr) {
        let Settings { local, options, while_draining } = self.settings.clone();
        let request = ConnectRequest { address: address.clone(), local, options };
        let ready = executor::current_queue().map(|queue| Arc::clone(queue.ready()));
        let attempt = Attempt::new(request, while_draining, ready);
        wake_scope::post(&self.worker, Command::Connect(Arc::clone(&attempt)));
        self.running.push(Runner { worker: Arc::clone(&self.worker), attempt, address });
    }
}

impl Future for Race {
    type Output = Result<Connection, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Poll::Ready(outcome) = self.poll_running(cx) {
                return Poll::Ready(outcome);
            }
            if let Some(delay) = &mut self.delay
                && Pin::new(delay).poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            self.delay = None;
            match self.waiting.pop_front() {
                Some(address) => {
                    self.start(address);
                    if !self.waiting.is_empty() {
                        self.delay = Some(Timer::new(Arc::clone(&self.worker)).timeout(ATTEMPT_DELAY));
                    }
                }
                None if self.running.is_empty() => {
                    let none =
                        || ConnectError::of(ConnectFailure::Errno(libc::EADDRNOTAVAIL), || "no address".to_owned());
                    return Poll::Ready(Err(self.failure.take().unwrap_or_else(none)));
                }
                None => return Poll::Pending,
            }
        }
    }
}

/// An attempt in progress. Dropping it ends the attempt.
struct Runner {
    worker: Arc<WorkerShared>,
    attempt: Arc<Attempt>,
    address: SockAddr,
}

impl Drop for Runner {
    fn drop(&mut self) {
        let (in_progress, opened) = self.attempt.abandon();
        if in_progress {
            wake_scope::post(&self.worker, Command::CancelConnect(Arc::clone(&self.attempt)));
        }
        if let Some(shared) = opened {
            abort(shared);
        }
    }
}

/// Resets a connection that came too late.
fn abort(shared: Arc<ConnShared>) {
    Connection::new(shared).abort();
}

fn name(address: &SockAddr) -> String {
    match address.as_socket() {
        Some(address) => address.to_string(),
        None => {
            let path = address.as_pathname().map(|path| path.display().to_string());
            let name = address.as_abstract_namespace().map(|name| format!("@{}", String::from_utf8_lossy(name)));
            format!("unix:{}", path.or(name).unwrap_or_default())
        }
    }
}
