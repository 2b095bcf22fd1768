//! Resolving names without blocking a worker: a few threads call getaddrinfo(3).
//!
//! The threads are started as they are needed and end when they have had nothing to do for a while. A name that takes
//! long holds one of them; a lookup that nobody waits for any more is skipped.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// Maximum threads of the process. Enough that a few names whose servers do not answer leave some to the others.
const THREADS_MAX: usize = 8;

/// Time without a lookup after which a thread ends.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

static POOL: Pool =
    Pool { state: Mutex::new(PoolState { lookups: VecDeque::new(), threads: 0, idle: 0 }), arrived: Condvar::new() };

struct Pool {
    state: Mutex<PoolState>,
    arrived: Condvar,
}

struct PoolState {
    lookups: VecDeque<Arc<Lookup>>,
    threads: usize,
    /// Threads that wait for a lookup.
    idle: usize,
}

struct Lookup {
    host: String,
    port: u16,
    state: Mutex<LookupState>,
}

#[derive(Default)]
struct LookupState {
    answer: Option<io::Result<Vec<SocketAddr>>>,
    waker: Option<Waker>,
    abandoned: bool,
}

/// Looks a name up. Dropping the future gives the lookup up.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let lookup = Arc::new(Lookup { host: host.to_owned(), port, state: Mutex::default() });
    POOL.queue(Arc::clone(&lookup))?;
    Waiting(lookup).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Queues a lookup, and starts a thread if all are busy.
    ///
    /// # Errors
    /// That of starting the first thread.
    fn queue(&'static self, lookup: Arc<Lookup>) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.lookups.push_back(lookup);
        if state.idle < state.lookups.len() && state.threads < THREADS_MAX {
            state.threads += 1;
            let spawned = thread::Builder::new().name("tidegate-resolver".to_owned()).spawn(|| self.run());
            if let Err(error) = spawned {
                state.threads -= 1;
                if state.threads == 0 {
                    state.lookups.pop_back();
                    return Err(error);
                }
            }
        }
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// The loop of a thread.
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(lookup) = state.lookups.pop_front() {
                drop(state);
                lookup.run();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let (guard, waited) =
                self.arrived.wait_timeout(state, IDLE_TIMEOUT).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if waited.timed_out() && state.lookups.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

impl Lookup {
    fn run(&self) {
        if lock(&self.state).abandoned {
            return;
        }
        let answer = (self.host.as_str(), self.port).to_socket_addrs().map(Iterator::collect);
        let waker = {
            let mut state = lock(&self.state);
            state.answer = Some(answer);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The future of a lookup.
struct Waiting(Arc<Lookup>);

impl Future for Waiting {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.0.state);
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.0.state).abandoned = true;
    }
}

#[cfg(all(test, not(miri), not(loom)))]
mod tests {
    use super::*;
    use crate::connection::block_on::block_on;

    #[test]
    fn names_are_looked_up_by_a_few_threads() {
        let lookups: Vec<_> = (1..=100).map(|port| Box::pin(look_up("localhost", port))).collect();
        for (lookup, port) in lookups.into_iter().zip(1..) {
            let addresses = block_on(lookup).unwrap();
            assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == port));
            assert!(!addresses.is_empty());
        }
        assert!(lock(&POOL.state).threads <= THREADS_MAX);
    }

    /// The name is refused before anything is asked over the network.
    #[test]
    fn a_name_that_cannot_exist_is_an_error() {
        assert!(block_on(look_up(&"x".repeat(300), 1)).is_err());
        assert_eq!(block_on(look_up("a\0b", 1)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
