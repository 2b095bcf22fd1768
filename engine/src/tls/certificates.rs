//! Certificates with their keys: from PEM, and the choice among several by the name that a client asks for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::provider::provider;
use crate::error::Error;

/// PEM text, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

impl Source {
    /// Returns the text, read again from a file.
    fn read(&self) -> Result<Arc<[u8]>, Error> {
        match self {
            Self::File(path) => match std::fs::read(path) {
                Ok(text) => Ok(text.into()),
                Err(error) => Err(Error::tls(format!("cannot read {}: {error}", path.display()))),
            },
            Self::Memory(text) => Ok(Arc::clone(text)),
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Memory(_) => None,
        }
    }

    fn describe(&self) -> String {
        self.path().map_or_else(|| "the PEM text".to_owned(), |path| path.display().to_string())
    }

    fn invalid(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::tls(format!("{}: {reason}", self.describe()))
    }

    /// Returns the certificates of the text, at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let text = self.read()?;
        let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates = certificates.map_err(|error| self.invalid(&error))?;
        if certificates.is_empty() {
            return Err(self.invalid(&"no certificate found: it must hold PEM blocks of the type CERTIFICATE"));
        }
        Ok(certificates)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let key = PrivateKeyDer::from_pem_slice(&self.read()?);
        key.map_err(|error| match error {
            pem::Error::NoItemsFound => {
                self.invalid(&"no private key found: it must hold one PEM block, not encrypted")
            }
            error => self.invalid(&error),
        })
    }

    /// Returns the certificates of the text as authorities to trust.
    pub(crate) fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| self.invalid(&error))?;
        }
        Ok(roots)
    }
}

/// A certificate chain and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: Source,
    pub(crate) key: Source,
}

impl Pair {
    pub(crate) fn load(&self) -> Result<Arc<CertifiedKey>, Error> {
        let pair = CertifiedKey::from_der(self.certificate.certificates()?, self.key.key()?, &provider());
        pair.map(Arc::new).map_err(|error| {
            let (certificate, key) = (self.certificate.describe(), self.key.describe());
            Error::tls(format!("cannot use the certificate {certificate} with the key {key}: {error}"))
        })
    }

    /// Returns the chain and the key by themselves.
    pub(crate) fn parts(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        Ok((self.certificate.certificates()?, self.key.key()?))
    }

    pub(crate) fn sources(&self) -> [&Source; 2] {
        [&self.certificate, &self.key]
    }
}

/// Returns the DNS names of a certificate.
pub(crate) fn names(certificate: &[u8]) -> Vec<String> {
    let certificate = CertificateDer::from(certificate);
    let parsed = webpki::EndEntityCert::try_from(&certificate);
    parsed.map(|parsed| parsed.valid_dns_names().map(str::to_ascii_lowercase).collect()).unwrap_or_default()
}

thread_local! {
    /// The name that the last client on this thread asked for. rustls does not say it by itself with the API that is
    /// used here.
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Takes the name that the last client on this thread asked for, if it has not been taken.
pub(crate) fn take_asked() -> Option<Box<str>> {
    ASKED.with(|asked| asked.borrow_mut().take())
}

/// The certificates of a server. The first one is for clients that name none of the others.
#[derive(Debug)]
pub(crate) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// The places of the certificates that are valid for a name, which can begin with `*.`.
    by_name: HashMap<String, Vec<usize>>,
}

impl Certificates {
    pub(crate) fn new(all: Vec<Arc<CertifiedKey>>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, pair) in all.iter().enumerate() {
            for name in pair.cert.first().map(|certificate| names(certificate)).unwrap_or_default() {
                by_name.entry(name).or_default().push(place);
            }
        }
        Self { all, by_name }
    }

    /// Returns the places of the certificates for a name, of which a wildcard covers the first label.
    fn named(&self, name: &str) -> Option<&Vec<usize>> {
        self.by_name.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let schemes = hello.signature_schemes();
        let named = name.as_ref().and_then(|name| self.named(name));
        ASKED.with(|asked| *asked.borrow_mut() = name.as_deref().map(Box::from));
        let candidates: Vec<_> = match named {
            Some(places) => places.iter().map(|place| &self.all[*place]).collect(),
            None => self.all.iter().collect(),
        };
        // Of several kinds of keys for one name, the first that the client can verify.
        let usable = candidates.iter().find(|pair| pair.key.choose_scheme(schemes).is_some());
        usable.or(candidates.first()).map(|pair| Arc::clone(pair))
    }
}
