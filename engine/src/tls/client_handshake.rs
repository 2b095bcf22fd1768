//! A client's handshake, shared by the future that waits for it and the worker that makes it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::pump::{Failure, Pump};
use crate::util::sync::Mutex;

/// The reason why TLS does not begin on a connection with unread bytes.
pub(crate) const SPEAKS_FIRST: &str = "the server speaks first, and not TLS";

/// The handshake of an outbound connection.
pub(crate) struct ClientHandshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Option<Result<(), String>>,
    waker: Option<Waker>,
}

impl ClientHandshake {
    pub(crate) fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> Arc<Self> {
        Arc::new(Self { config, name, state: Mutex::default() })
    }

    pub(crate) fn pump(&self) -> Result<Pump, Failure> {
        Pump::client(Arc::clone(&self.config), self.name.clone())
    }

    /// Reports the end of the handshake. The first report counts.
    pub(crate) fn finish(&self, outcome: Result<(), String>) {
        let waker = {
            let mut state = self.state.lock();
            state.outcome.get_or_insert(outcome);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits for the end of the handshake.
    ///
    /// # Errors
    /// The reason why it failed.
    pub(crate) async fn outcome(&self) -> Result<(), String> {
        poll_fn(|cx| {
            let mut state = self.state.lock();
            match state.outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
