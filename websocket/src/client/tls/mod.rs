//! The TLS of `wss` URLs.

use std::sync::OnceLock;
use std::time::Duration;

use tidegate_engine::Connection;
pub(super) use tidegate_engine::TlsClient;

use super::builder::Connect;
use super::error::ConnectError;
use super::settings::Settings;
use super::target::Target;

/// # TLS
/// With the feature `tls`.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "tls")))]
impl Connect {
    /// Sets whom to trust with `wss` URLs, and the own certificate. Default: the authorities that the system trusts,
    /// which the first connection of the process reads from files. The name that the server must prove is the host of
    /// the URL.
    ///
    /// ```no_run
    /// use tidegate_engine::TlsClient;
    /// use tidegate_websocket::connect;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = TlsClient::ca_file("ca.pem")?;
    /// let (ws, _response) = connect("wss://localhost:9443/ws").tls(&tls).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn tls(mut self, client: &TlsClient) -> Self {
        self.settings.tls = Some(client.clone());
        self
    }
}

/// Returns a connection to make, with TLS if the URL asks for it.
pub(super) fn secured(
    connect: tidegate_engine::Connect,
    target: &Target,
    settings: &Settings,
) -> Result<tidegate_engine::Connect, ConnectError> {
    if !target.is_secure {
        return Ok(connect);
    }
    Ok(connect.tls(client(settings)?).tls_server_name(target.host.clone()))
}

/// Begins TLS on a tunnel to the server, if the URL asks for it.
pub(super) async fn start(
    tunnel: Connection,
    target: &Target,
    settings: &Settings,
    timeout: Duration,
) -> Result<Connection, ConnectError> {
    if !target.is_secure {
        return Ok(tunnel);
    }
    Ok(tunnel.start_tls(client(settings)?, &target.host, timeout).await?)
}

fn client(settings: &Settings) -> Result<&TlsClient, ConnectError> {
    static SYSTEM: OnceLock<Result<TlsClient, String>> = OnceLock::new();
    match &settings.tls {
        Some(client) => Ok(client),
        None => {
            let system = SYSTEM.get_or_init(|| TlsClient::system().map_err(|error| error.to_string()));
            system.as_ref().map_err(|error| ConnectError::Engine(error.clone()))
        }
    }
}
