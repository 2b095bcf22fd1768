//! Stands in for TLS where the feature `tls` is off: `wss` URLs are refused.

use std::time::Duration;

use tidegate_engine::Connection;

use super::error::ConnectError;
use super::settings::Settings;
use super::target::Target;

/// The TLS of a client, of which no value exists.
#[derive(Clone)]
pub(super) enum TlsClient {}

pub(super) fn secured(
    connect: tidegate_engine::Connect,
    target: &Target,
    _settings: &Settings,
) -> Result<tidegate_engine::Connect, ConnectError> {
    if target.is_secure { Err(ConnectError::TlsUnavailable) } else { Ok(connect) }
}

pub(super) async fn start(
    tunnel: Connection,
    target: &Target,
    _settings: &Settings,
    _timeout: Duration,
) -> Result<Connection, ConnectError> {
    if target.is_secure { Err(ConnectError::TlsUnavailable) } else { Ok(tunnel) }
}
