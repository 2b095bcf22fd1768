//! The connection below a WebSocket: direct or through a proxy.

use std::time::{Duration, Instant};

use tidegate_engine::{Connect, Connection};

use super::error::ConnectError;
use super::settings::Settings;
use super::target::Target;
use super::tls;

/// The time that is left for connecting at least, so that a deadline in the past fails in the usual way.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Connects to the server of `target`, through the proxy if there is one, with TLS if the URL asks for it.
pub(super) async fn connect_to(
    target: &Target,
    settings: &Settings,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    if let Some(proxy) = &settings.proxy {
        let connect = connect(settings, (proxy.host.clone(), proxy.port)).timeout(time_left(deadline));
        let tunnel = proxy.tunnel(connect.await?, target, deadline).await?;
        return tls::start(tunnel, target, settings, time_left(deadline)).await;
    }
    let connect = match (&settings.unix_path, &settings.engine) {
        (None, _) => connect(settings, (target.host.clone(), target.port)),
        (Some(path), Some(engine)) => engine.connect_unix(path.clone()),
        (Some(path), None) => tidegate_engine::connect_unix(path.clone()),
    };
    Ok(tls::secured(connect, target, settings)?.timeout(time_left(deadline)).await?)
}

/// Prepares a connection to a name or an address.
fn connect(settings: &Settings, host: (String, u16)) -> Connect {
    let connect = match &settings.engine {
        Some(engine) => engine.connect(host),
        None => tidegate_engine::connect(host),
    };
    match settings.local_address {
        Some(address) => connect.local_address(address),
        None => connect,
    }
}

fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(TIMEOUT_MIN)
}
