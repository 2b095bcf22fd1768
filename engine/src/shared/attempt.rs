//! One attempt to connect, shared by the future that waits for it and the worker that makes it.
//!
//! The future can be dropped at any time, and the worker can finish the attempt at any time. Whichever comes second
//! finds out, so a connection that was opened has exactly one owner.

use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};

use socket2::{SockAddr, SockRef};

use crate::config::Config;
use crate::shared::ConnShared;
use crate::shared::ready_queue::ReadyQueue;
use crate::util::sync::Mutex;

/// Sets options of a socket before it connects.
pub(crate) type PrepareSocket = Arc<dyn Fn(SockRef<'_>) -> io::Result<()> + Send + Sync>;

/// The address to connect to, and the socket to use.
#[derive(Clone)]
pub(crate) struct ConnectRequest {
    pub(crate) address: SockAddr,
    /// The address to bind first. Port 0 stands for any.
    pub(crate) local: Option<SockAddr>,
    pub(crate) options: ConnectOptions,
}

/// Options of a socket that is about to connect. `None` stands for that of the configuration.
#[derive(Clone, Default)]
pub(crate) struct ConnectOptions {
    pub(crate) nodelay: Option<bool>,
    pub(crate) receive_buffer_bytes: Option<u32>,
    pub(crate) send_buffer_bytes: Option<u32>,
    pub(crate) prepare: Option<PrepareSocket>,
}

impl ConnectRequest {
    /// Takes what was not set from the configuration of the engine.
    pub(crate) fn complete(&mut self, config: &Config) {
        let options = &mut self.options;
        options.nodelay = options.nodelay.or(Some(config.nodelay));
        options.receive_buffer_bytes = options.receive_buffer_bytes.or(config.socket_receive_buffer_bytes);
        options.send_buffer_bytes = options.send_buffer_bytes.or(config.socket_send_buffer_bytes);
    }

    pub(crate) fn is_unix(&self) -> bool {
        self.address.is_unix()
    }

    /// Returns whether the port is chosen when the socket connects, and not when it is bound.
    pub(crate) fn binds_any_port(&self) -> bool {
        self.local.as_ref().and_then(SockAddr::as_socket).is_some_and(|local| local.port() == 0)
    }

    /// Returns whether the segments of a TCP connection are sent at once.
    pub(crate) fn is_nodelay(&self) -> bool {
        !self.is_unix() && self.options.nodelay == Some(true)
    }
}

/// The reason why an attempt did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectFailure {
    /// The error of the socket, of its binding or of its connecting.
    Errno(i32),
    /// The worker has no room for another connection.
    Full,
    /// The worker drains its connections.
    Draining,
    /// The worker has ended.
    Ended,
}

/// An attempt to connect.
pub(crate) struct Attempt {
    /// It goes on while the engine shuts down.
    pub(crate) while_draining: bool,
    /// The queue of the executor on whose thread the future waits; `None` on other threads.
    pub(crate) ready: Option<Arc<ReadyQueue>>,
    state: Mutex<State>,
}

struct State {
    /// Until the worker begins.
    request: Option<Box<ConnectRequest>>,
    /// The worker's number for it, once begun.
    number: Option<u32>,
    phase: Phase,
}

enum Phase {
    /// Not finished. The waker is that of the future.
    Waiting(Option<Waker>),
    /// Finished, and not yet taken by the future.
    Finished(Result<Arc<ConnShared>, ConnectFailure>),
    /// The future has taken the answer or is gone.
    Over,
}

impl Attempt {
    pub(crate) fn new(request: ConnectRequest, while_draining: bool, ready: Option<Arc<ReadyQueue>>) -> Arc<Self> {
        let state = State { request: Some(Box::new(request)), number: None, phase: Phase::Waiting(None) };
        Arc::new(Self { while_draining, ready, state: Mutex::new(state) })
    }

    /// Begins the attempt under the worker's number for it. Returns `None` if nobody waits for it any more.
    pub(crate) fn begin(&self, number: u32) -> Option<Box<ConnectRequest>> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Waiting(_)) {
            return None;
        }
        state.number = Some(number);
        state.request.take()
    }

    /// Returns the worker's number for it, once begun.
    pub(crate) fn number(&self) -> Option<u32> {
        self.state.lock().number
    }

    /// Finishes the attempt and wakes the future. Returns the connection if nobody waits for it any more.
    pub(crate) fn finish(&self, answer: Result<Arc<ConnShared>, ConnectFailure>) -> Option<Arc<ConnShared>> {
        let waker = {
            let mut state = self.state.lock();
            match &mut state.phase {
                Phase::Waiting(waker) => {
                    let waker = waker.take();
                    state.phase = Phase::Finished(answer);
                    waker
                }
                Phase::Finished(_) | Phase::Over => return answer.ok(),
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        None
    }

    /// Takes the answer, or leaves the waker for it. After the answer it must not be polled again.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<Arc<ConnShared>, ConnectFailure>> {
        let mut state = self.state.lock();
        if let Phase::Waiting(known) = &mut state.phase {
            match known {
                Some(known) => known.clone_from(waker),
                None => *known = Some(waker.clone()),
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut state.phase, Phase::Over) {
            Phase::Finished(answer) => Poll::Ready(answer),
            Phase::Waiting(_) | Phase::Over => Poll::Pending,
        }
    }

    /// Gives the attempt up. Returns whether the worker still has to end it, and a connection that was opened and that
    /// nobody has taken.
    pub(crate) fn abandon(&self) -> (bool, Option<Arc<ConnShared>>) {
        let phase = std::mem::replace(&mut self.state.lock().phase, Phase::Over);
        match phase {
            Phase::Waiting(_) => (true, None),
            Phase::Finished(answer) => (false, answer.ok()),
            Phase::Over => (false, None),
        }
    }
}
