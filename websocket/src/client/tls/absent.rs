//! Stands in for TLS where the feature `tls` is off: `wss` URLs are refused.

use std::time::Duration;

use tidegate_engine::Connection;

use super::error::ConnectError;
use super::settings::Settings;
use super::target::Target;

/// The TLS of a client, of which no value exists.
#[derive(Clone, Copy)]
pub(super) enum TlsClient {}

pub(super) fn secured(
    connect: tidegate_engine::Connect,
    target: &Target,
    settings: &Settings,
) -> Result<tidegate_engine::Connect, ConnectError> {
    check(target, settings).map(|()| connect)
}

pub(super) async fn start(
    tunnel: Connection,
    target: &Target,
    settings: &Settings,
    _timeout: Duration,
) -> Result<Connection, ConnectError> {
    check(target, settings).map(|()| tunnel)
}

/// Refuses `wss`.
fn check(target: &Target, settings: &Settings) -> Result<(), ConnectError> {
    match settings.tls {
        Some(never) => match never {},
        None if target.is_secure => Err(ConnectError::TlsUnavailable),
        None => Ok(()),
    }
}
