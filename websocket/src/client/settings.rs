//! The settings of a client's connection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tidegate_engine::RunningHandle;

use super::proxy::Proxy;
use super::tls::TlsClient;
use crate::config::WebSocketConfig;
use crate::deflate::DeflateConfig;

/// The default of [`Connect::handshake_timeout`](super::Connect::handshake_timeout): several attempts at a slow server,
/// fewer seconds than a person waits.
const HANDSHAKE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// What a [`Connect`](super::Connect) was asked for.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) subprotocols: Vec<String>,
    pub(super) deflate: Option<DeflateConfig>,
    pub(super) handshake_timeout: Duration,
    pub(super) redirects_max: u32,
    pub(super) config: WebSocketConfig,
    pub(super) proxy: Option<Proxy>,
    pub(super) local_address: Option<SocketAddr>,
    pub(super) unix_path: Option<PathBuf>,
    /// Whom to trust; `None` for the authorities that the system trusts.
    pub(super) tls: Option<TlsClient>,
    /// The engine whose workers connect; `None` for the worker of the current thread.
    pub(super) engine: Option<RunningHandle>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            subprotocols: Vec::new(),
            deflate: None,
            handshake_timeout: HANDSHAKE_TIMEOUT_DEFAULT,
            redirects_max: 0,
            config: WebSocketConfig::client(),
            proxy: None,
            local_address: None,
            unix_path: None,
            tls: None,
            engine: None,
        }
    }
}
