//! The connection below a WebSocket: direct or through a proxy.

use std::time::{Duration, Instant};

use tidegate_engine::{Connection, RunningHandle};

use super::error::ConnectError;
use super::settings::Settings;
use super::target::Target;

/// The time that is left for connecting at least, so that a deadline in the past fails in the usual way.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Connects to the server of `target`, through the proxy if there is one.
pub(super) async fn connect_to(
    target: &Target,
    settings: &Settings,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    let connection = match (&settings.proxy, &settings.unix_path) {
        (Some(proxy), _) => {
            let connection = open(settings, (proxy.host.clone(), proxy.port), deadline).await?;
            proxy.tunnel(connection, target, deadline).await?
        }
        (None, None) => open(settings, (target.host.clone(), target.port), deadline).await?,
        (None, Some(path)) => {
            let connect = match &settings.engine {
                Some(engine) => engine.connect_unix(path.clone()),
                None => tidegate_engine::connect_unix(path.clone()),
            };
            connect.timeout(time_left(deadline)).await?
        }
    };
    if target.is_secure { secure(connection).await } else { Ok(connection) }
}

/// Connects to an address or a name.
async fn open(settings: &Settings, address: (String, u16), deadline: Instant) -> Result<Connection, ConnectError> {
    let engine: Option<&RunningHandle> = settings.engine.as_ref();
    let mut connect = match engine {
        Some(engine) => engine.connect(address),
        None => tidegate_engine::connect(address),
    };
    if let Some(address) = settings.local_address {
        connect = connect.local_address(address);
    }
    Ok(connect.timeout(time_left(deadline)).await?)
}

fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(TIMEOUT_MIN)
}

/// Begins TLS on a connection to the server of a `wss` URL, direct or through a proxy's tunnel.
async fn secure(_connection: Connection) -> Result<Connection, ConnectError> {
    Err(ConnectError::TlsUnavailable)
}
