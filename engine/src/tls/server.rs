//! The TLS of a listener: its certificates, whom it asks for one, and its reload while the server runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};

use super::certificates::{Certificates, Pair, Source};
use super::provider::{provider, ticketer};
use super::watch;
use crate::error::{ConfigError, Error};
use crate::util::sync::Mutex;

/// The TLS of listeners: certificates with their keys, and the settings of handshakes. Needs the feature `tls`.
///
/// It speaks TLS 1.2 and 1.3. The defaults are those of rustls: only ciphers with forward secrecy, no compression, no
/// renegotiation, no data before the handshake. Sessions resume by tickets, on every worker and after a reload.
///
/// Clones share one state: a clone that is kept reloads the certificates of the running server.
///
/// ```no_run
/// use tidegate_engine::{Config, Engine, Tls};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let tls = Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
/// let running = Engine::new(Config::default()).bind_tls("0.0.0.0:7443", tls.clone())?.start(async |mut connection| {
///     while let Ok(Some(chunk)) = connection.receive().await {
///         let _ = connection.sender().send(chunk.into_vec()).await;
///     }
/// })?;
/// tls.reload()?; // after the files have changed
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it has no effect until it is given to a listener"]
pub struct Tls(Arc<Live>);

/// The settings of a [`Tls`], and its state. The settings never change.
struct Live {
    settings: Settings,
    state: Mutex<State>,
    /// The number of the state's configuration, for workers that keep a copy of it.
    version: AtomicU64,
    /// A thread looks at the files.
    watched: AtomicBool,
}

/// The reason why a configuration of the application cannot be changed.
const CUSTOM: &str = "a configuration of rustls has its certificates and versions: set them there";

struct State {
    config: Arc<ServerConfig>,
    /// What `config` was built from; `None` for one that the application built.
    material: Option<Material>,
}

/// Certificates, and the authorities whose clients are accepted.
#[derive(Clone, Debug, Default)]
struct Material {
    pairs: Vec<Pair>,
    client_authorities: Vec<Source>,
}

#[derive(Clone)]
struct Settings {
    client_optional: bool,
    tls13_only: bool,
    alpn: Vec<Vec<u8>>,
    handshake_timeout: Duration,
    handshakes_max: usize,
    reload_interval: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_optional: false,
            tls13_only: false,
            alpn: vec![b"http/1.1".to_vec()],
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
            reload_interval: None,
        }
    }
}

/// # Certificates
impl Tls {
    /// Loads a certificate chain, the server's own certificate first, and its private key (PKCS#8, PKCS#1 or SEC1, not
    /// encrypted), both in PEM.
    ///
    /// # Errors
    /// [`Error::Tls`] if a file cannot be read or holds no such thing, or if the key is not that of the certificate.
    pub fn from_pem_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::of_pair(Pair { certificate: Source::File(certificate.into()), key: Source::File(key.into()) })
    }

    /// As [`from_pem_files`](Self::from_pem_files), from memory.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn from_pem(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::of_pair(Pair {
            certificate: Source::Memory(certificate.as_ref().into()),
            key: Source::Memory(key.as_ref().into()),
        })
    }

    /// Takes a configuration of the rustls crate (0.23) as it is, for what has no setting here, such as a resolver of
    /// certificates that obtains them by ACME. [`reload`](Self::reload) then does nothing, and the calls that return
    /// errors fail.
    ///
    /// # Errors
    /// [`Error::Tls`] if it allows data before the handshake (`max_early_data_size`), which is not supported.
    pub fn from_rustls(config: impl Into<Arc<ServerConfig>>) -> Result<Self, Error> {
        let config = config.into();
        if config.max_early_data_size > 0 {
            return Err(Error::tls("max_early_data_size is not supported: set it to 0"));
        }
        Ok(Self::new(Settings::default(), State { config, material: None }))
    }

    fn of_pair(pair: Pair) -> Result<Self, Error> {
        let material = Material { pairs: vec![pair], client_authorities: Vec::new() };
        Self::build(Settings::default(), material)
    }

    /// Adds a certificate for other names (SNI, RFC 6066 section 3), or of another kind of key for the same names. Its
    /// names are those of the certificate, and can be wildcards such as `*.example.org`. A client that asks for a name
    /// that no certificate has, or for none, is shown the first one.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn certificate_files(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        let pair = Pair { certificate: Source::File(certificate.into()), key: Source::File(key.into()) };
        self.changed_material(|material| material.pairs.push(pair))
    }

    /// As [`certificate_files`](Self::certificate_files), from memory.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn certificate_pem(self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let pair =
            Pair { certificate: Source::Memory(certificate.as_ref().into()), key: Source::Memory(key.as_ref().into()) };
        self.changed_material(|material| material.pairs.push(pair))
    }

    /// Requires a certificate of each client that one of the authorities in this PEM file has issued (mutual TLS). A
    /// client without one is refused in the handshake. [`TlsInfo::peer_certificate`](crate::TlsInfo::peer_certificate)
    /// returns it. Several calls add authorities.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn client_ca_file(self, authorities: impl Into<PathBuf>) -> Result<Self, Error> {
        let source = Source::File(authorities.into());
        self.changed_material(|material| material.client_authorities.push(source))
    }

    /// As [`client_ca_file`](Self::client_ca_file), from memory.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn client_ca_pem(self, authorities: impl AsRef<[u8]>) -> Result<Self, Error> {
        let source = Source::Memory(authorities.as_ref().into());
        self.changed_material(|material| material.client_authorities.push(source))
    }

    /// Also accepts clients without a certificate, if authorities are set. A certificate that they do show must be
    /// valid. Default: false.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn client_certificate_optional(self, optional: bool) -> Result<Self, Error> {
        self.rebuilt(|settings, _| settings.client_optional = optional)
    }
}

/// # Settings
impl Tls {
    /// Refuses clients that do not speak TLS 1.3. Default: false, TLS 1.2 is accepted too.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files).
    pub fn tls13_only(self, only: bool) -> Result<Self, Error> {
        self.rebuilt(|settings, _| settings.tls13_only = only)
    }

    /// Sets the protocols that clients can choose by ALPN (RFC 7301), preferred ones first. A client that offers others
    /// only is refused; one that offers none is accepted. Default: `http/1.1`.
    pub fn alpn<P: AsRef<[u8]>>(self, protocols: impl IntoIterator<Item = P>) -> Self {
        let protocols: Vec<_> = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect();
        let (mut settings, mut state) = self.parts();
        let mut config = (*state.config).clone();
        config.alpn_protocols.clone_from(&protocols);
        (settings.alpn, state.config) = (protocols, Arc::new(config));
        Self::new(settings, state)
    }

    /// Sets the time from the accept to the end of the handshake, after which a connection is reset. Above zero.
    /// Default: 10 s.
    pub fn handshake_timeout(self, timeout: Duration) -> Self {
        self.changed(|settings| settings.handshake_timeout = timeout)
    }

    /// Sets the maximum number of handshakes at a time on each worker, at least 1. Further connections wait, unread,
    /// until one of them ends; [`handshake_timeout`](Self::handshake_timeout) counts meanwhile. Default: 1,024.
    pub fn handshakes_max(self, handshakes: usize) -> Self {
        self.changed(|settings| settings.handshakes_max = handshakes)
    }

    /// Looks at the files at this interval, above zero, and [reloads](Self::reload) them when one has changed. A thread
    /// named `tidegate-tls` does it while the server runs. Files that cannot be used are named in the log, and the last
    /// ones that could be used stay in use. Default: `None`, reloaded by call only.
    pub fn reload_every(self, interval: impl Into<Option<Duration>>) -> Self {
        let interval = interval.into();
        self.changed(|settings| settings.reload_interval = interval)
    }

    fn parts(self) -> (Settings, State) {
        let state = self.0.state.lock();
        let state = State { config: Arc::clone(&state.config), material: state.material.clone() };
        (self.0.settings.clone(), state)
    }

    /// Returns another one with changed settings.
    fn changed(self, change: impl FnOnce(&mut Settings)) -> Self {
        let (mut settings, state) = self.parts();
        change(&mut settings);
        Self::new(settings, state)
    }

    fn changed_material(self, change: impl FnOnce(&mut Material)) -> Result<Self, Error> {
        self.rebuilt(|_, material| change(material))
    }

    /// Returns another one with a changed configuration.
    fn rebuilt(self, change: impl FnOnce(&mut Settings, &mut Material)) -> Result<Self, Error> {
        let (mut settings, state) = self.parts();
        let Some(mut material) = state.material else { return Err(Error::tls(CUSTOM)) };
        change(&mut settings, &mut material);
        Self::build(settings, material)
    }

    fn build(settings: Settings, material: Material) -> Result<Self, Error> {
        let config = Arc::new(settings.configure(&material, new_ticketer()?)?);
        Ok(Self::new(settings, State { config, material: Some(material) }))
    }

    fn new(settings: Settings, state: State) -> Self {
        let (version, watched) = (AtomicU64::new(0), AtomicBool::new(false));
        Self(Arc::new(Live { settings, state: Mutex::new(state), version, watched }))
    }

    /// Checks the settings, and begins to look at the files.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        let settings = &self.0.settings;
        ConfigError::check_time("handshake_timeout", Some(settings.handshake_timeout))?;
        ConfigError::check_time("reload_every", settings.reload_interval)?;
        if settings.handshakes_max == 0 {
            return Err(ConfigError::new("handshakes_max", 0, "at least 1").into());
        }
        match settings.reload_interval {
            Some(interval) if !self.0.watched.swap(true, Ordering::Relaxed) => {
                watch::spawn(self, interval).map_err(Error::Worker)
            }
            _ => Ok(()),
        }
    }
}

/// # Reload
impl Tls {
    /// Reads the files again. New handshakes use them; connections go on. Sessions that clients have tickets for
    /// resume, unless the authorities of clients have changed.
    ///
    /// # Errors
    /// As [`from_pem_files`](Self::from_pem_files); the certificates in use then stay in use.
    pub fn reload(&self) -> Result<(), Error> {
        let Some(material) = self.0.state.lock().material.clone() else { return Ok(()) };
        self.use_material(material)
    }

    /// Uses the certificates and the authorities of `other` from now on, as [`reload`](Self::reload) does; for
    /// certificates that are not in files.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub fn replace_with(&self, other: &Self) -> Result<(), Error> {
        let material = other.0.state.lock().material.clone();
        match material {
            Some(material) => self.use_material(material),
            None => Err(Error::tls(CUSTOM)),
        }
    }

    fn use_material(&self, material: Material) -> Result<(), Error> {
        // Built without the lock: workers take it.
        let former = Arc::clone(&self.0.state.lock().config);
        let mut config = self.0.settings.configure(&material, Arc::clone(&former.ticketer))?;
        if !material.client_authorities.is_empty() || self.asks_clients() {
            // A ticket holds the client's certificate, which the authorities of today may not have issued.
            config.ticketer = new_ticketer()?;
        }
        let mut state = self.0.state.lock();
        *state = State { config: Arc::new(config), material: Some(material) };
        self.0.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn asks_clients(&self) -> bool {
        self.0.state.lock().material.as_ref().is_some_and(|material| !material.client_authorities.is_empty())
    }

    /// Returns the files in use.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let state = self.0.state.lock();
        let material = state.material.iter();
        let sources = material
            .flat_map(|material| material.pairs.iter().flat_map(Pair::sources).chain(&material.client_authorities));
        sources.filter_map(Source::path).map(PathBuf::from).collect()
    }

    pub(super) fn downgrade(&self) -> WeakTls {
        WeakTls(Arc::downgrade(&self.0))
    }
}

/// A [`Tls`] that is not kept alive.
pub(super) struct WeakTls(std::sync::Weak<Live>);

impl WeakTls {
    pub(super) fn upgrade(&self) -> Option<Tls> {
        self.0.upgrade().map(Tls)
    }
}

/// A worker's copy of the configuration of a [`Tls`].
pub(crate) struct CurrentConfig {
    tls: Tls,
    version: u64,
    config: Arc<ServerConfig>,
}

impl CurrentConfig {
    pub(crate) fn new(tls: Tls) -> Self {
        let version = tls.0.version.load(Ordering::Acquire);
        let config = Arc::clone(&tls.0.state.lock().config);
        Self { tls, version, config }
    }

    /// Returns the configuration for a new connection.
    pub(crate) fn config(&mut self) -> Arc<ServerConfig> {
        let version = self.tls.0.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.config = Arc::clone(&self.tls.0.state.lock().config);
        }
        Arc::clone(&self.config)
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.tls.0.settings.handshake_timeout
    }

    pub(crate) fn handshakes_max(&self) -> usize {
        self.tls.0.settings.handshakes_max
    }
}

impl Settings {
    fn configure(&self, material: &Material, ticketer: Arc<dyn ProducesTickets>) -> Result<ServerConfig, Error> {
        let pairs = material.pairs.iter().map(Pair::load).collect::<Result<Vec<_>, _>>()?;
        let versions: &[_] = if self.tls13_only {
            &[&rustls::version::TLS13]
        } else {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| Error::tls(error.to_string()))?;
        let builder = match &material.client_authorities[..] {
            [] => builder.with_no_client_auth(),
            sources => {
                let mut roots = rustls::RootCertStore::empty();
                for source in sources {
                    roots.extend(source.roots()?.roots);
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier = if self.client_optional { verifier.allow_unauthenticated() } else { verifier };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| Error::tls(error.to_string()))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(pairs)));
        config.alpn_protocols.clone_from(&self.alpn);
        config.ticketer = ticketer;
        // Tickets serve every worker without a table.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(config)
    }
}

fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    ticketer().map_err(|error| Error::tls(format!("no keys for session tickets: {error}")))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.0.settings;
        f.debug_struct("Tls")
            .field("material", &self.0.state.lock().material)
            .field("handshake_timeout", &settings.handshake_timeout)
            .field("handshakes_max", &settings.handshakes_max)
            .finish_non_exhaustive()
    }
}
