//! Listeners with TLS.

use std::fmt;
use std::net::ToSocketAddrs;

use crate::engine::Engine;
use crate::error::Error;
use crate::shared::engine_shared::EngineShared;
use crate::tls::Tls;

/// The TLS of an engine's listeners.
#[derive(Clone, Debug, Default)]
pub(super) struct Encrypted {
    /// By the number of the listener; shorter if the last ones have none.
    listeners: Vec<Option<Tls>>,
    /// The number of the first listener that the last call added.
    pub(super) last_call: usize,
    plaintext_answer: &'static [u8],
}

impl Encrypted {
    /// Returns whether a listener has TLS.
    pub(super) fn has(&self, listener: usize) -> bool {
        self.listeners.get(listener).is_some_and(Option::is_some)
    }

    /// Checks the settings, begins to look at the files of certificates and passes all to the workers.
    pub(super) fn begin(&self, shared: &mut EngineShared) -> Result<(), Error> {
        self.listeners.iter().flatten().try_for_each(Tls::begin)?;
        shared.tls.clone_from(&self.listeners);
        shared.plaintext_answer = self.plaintext_answer;
        Ok(())
    }
}

/// # TLS
impl Engine {
    /// As [`bind`](Self::bind), with TLS: the handler of a connection starts when its handshake is complete, and
    /// [`Connection::tls`](crate::Connection::tls) returns what that agreed on. Everything else is as without: reads
    /// return plaintext, writes are encrypted by the worker, and counters of queued bytes count plaintext.
    ///
    /// The end of the sending side sends close_notify first. A peer that ends the connection without it ends receiving
    /// with [`CloseCause::Truncated`](crate::CloseCause::Truncated).
    ///
    /// ```no_run
    /// use tidegate_engine::{Config, Engine, Tls};
    ///
    /// # fn main() -> Result<(), tidegate_engine::Error> {
    /// let tls = Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// let engine = Engine::new(Config::default()).bind_tls("0.0.0.0:443", tls)?.bind("127.0.0.1:80")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Bind`] if the address does not resolve.
    pub fn bind_tls(self, address: impl ToSocketAddrs + fmt::Debug, tls: Tls) -> Result<Self, Error> {
        Ok(self.bind(address)?.tls(tls))
    }

    /// Gives the listeners that the last `bind` call added TLS, as [`bind_tls`](Self::bind_tls) does: for Unix-domain
    /// sockets and for sockets that systemd or a parent process passed.
    pub fn tls(mut self, tls: Tls) -> Self {
        let encrypted = &mut self.tls;
        encrypted.listeners.resize(encrypted.last_call, None);
        encrypted.listeners.resize(self.bindings.len(), Some(tls));
        self
    }

    /// Sets the bytes that a client gets on a listener with TLS if it begins with text, such as a request of plain
    /// HTTP, before the connection is closed. Default: none, the connection is closed.
    pub fn plaintext_answer(mut self, answer: &'static [u8]) -> Self {
        self.tls.plaintext_answer = answer;
        self
    }
}
