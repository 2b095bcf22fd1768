//! The cryptography below rustls: ring, or aws-lc-rs with the feature `tls_aws_lc`.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

#[cfg(feature = "tls_aws_lc")]
use rustls::crypto::aws_lc_rs as library;
#[cfg(not(feature = "tls_aws_lc"))]
use rustls::crypto::ring as library;

/// Returns the provider, the same for all connections of the process. The process-wide default of rustls is not used,
/// so that it does not matter whether the application has set one.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(library::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Returns new keys for session tickets. They rotate by themselves.
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    library::Ticketer::new()
}
