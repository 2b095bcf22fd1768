//! The TLS of outbound connections: the handshake after the connection, as a future.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::Connect;
use super::error::ConnectError;
use super::target::ConnectTarget;
use crate::connection::Connection;
use crate::shared::command::Command;
use crate::tls::TlsClient;
use crate::tls::client::server_name;
use crate::tls::client_handshake::{ClientHandshake, SPEAKS_FIRST};

/// The TLS of a connection to make.
#[derive(Clone)]
pub(super) struct Secure {
    client: TlsClient,
    /// The name that the server must prove, if it is not that of the target.
    server_name: Option<String>,
}

impl Connect {
    /// Speaks TLS on the connection: it is open once the handshake is complete and the server has proven its name. The
    /// [`timeout`](Self::timeout) includes the handshake.
    ///
    /// ```no_run
    /// use tidegate_engine::{Connection, TlsClient, connect};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // Once per program: its clones share the sessions to resume.
    /// let tls = TlsClient::system()?;
    /// let connection: Connection = connect("example.org:443").tls(&tls).await?;
    /// println!("{:?}", connection.tls());
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls(mut self, client: &TlsClient) -> Self {
        let server_name = self.secure.take().and_then(|secure| secure.server_name);
        self.secure = Some(Secure { client: client.clone(), server_name });
        self
    }

    /// Sets the name that the server must prove, a DNS name or an address, and that it is asked for (SNI). Without
    /// [`tls`](Self::tls) before it, it has no effect. Default: the host of the target.
    pub fn tls_server_name(mut self, name: impl Into<String>) -> Self {
        if let Some(secure) = &mut self.secure {
            secure.server_name = Some(name.into());
        }
        self
    }
}

/// # TLS in the middle
/// With the feature `tls`.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "tls")))]
impl Connection {
    /// Begins TLS as the client, on a connection that has spoken something else before, such as CONNECT with a proxy.
    /// The server must prove `server_name`, a DNS name or an address. Everything received so far must have been read.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tidegate_engine::{Connection, ConnectError, TlsClient};
    ///
    /// # async fn example(tunnel: Connection, tls: TlsClient) -> Result<Connection, ConnectError> {
    /// tunnel.start_tls(&tls, "example.org", Duration::from_secs(10)).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Tls`] if the handshake fails or the server has spoken first, [`ConnectError::TimedOut`] if it is
    /// not complete within `timeout`. The connection is closed.
    pub async fn start_tls(
        self,
        client: &TlsClient,
        server_name: &str,
        timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        let mut late = self.timer().sleep(timeout);
        let secure = Secure { client: client.clone(), server_name: Some(server_name.to_owned()) };
        let target = ConnectTarget::from(server_name);
        let mut connecting = pin!(secure.shake_hands(self, &target));
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = connecting.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            Pin::new(&mut late).poll(cx).map(|()| Err(ConnectError::TimedOut { address: server_name.to_owned() }))
        })
        .await
    }
}

impl Secure {
    /// Shakes hands on an open connection.
    pub(super) async fn shake_hands(
        self,
        connection: Connection,
        target: &ConnectTarget,
    ) -> Result<Connection, ConnectError> {
        let failed = |reason: String| ConnectError::Tls { server: target.to_string(), reason };
        let host = self.server_name.or_else(|| target.host());
        let host = host.ok_or_else(|| failed("the target has no name: set tls_server_name".to_owned()))?;
        let name = server_name(&host).map_err(|error| failed(error.to_string()))?;
        if connection.has_unread() {
            return Err(failed(SPEAKS_FIRST.to_owned()));
        }
        let handshake = ClientHandshake::new(self.client.config(), name);
        let shared = &connection.sender().shared;
        shared.post(Command::StartTls(shared.key, Arc::clone(&handshake)));
        handshake.outcome().await.map_err(failed)?;
        Ok(connection)
    }
}
