//! The load generator for TLS: WebSocket echoes, handshakes and idle connections, on rustls in one thread.
//!
//! It reports as the program `load` does. README.md of this package describes both.

mod connection;
mod echo;
mod handshakes;
mod idle;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tidegate_benches::args::{Args, Opt};
use tidegate_benches::config::{self, Run};
use tidegate_benches::error::LoadError;
use tidegate_benches::report::Report;
use tidegate_benches::{cpu, setup};
use tidegate_benches::{errln, outln};

use connection::Security;

const OPTIONS: &[Opt] = &[
    config::ADDR,
    Opt::value("mode", "MODE", "echo, handshakes or idle (default echo)"),
    Opt::value("protocol", "ws|wss", "with TLS, or without it to compare (default wss)"),
    Opt::value("ca", "FILE", "certificate of the server or of its authority; required for wss"),
    Opt::switch("resume", "handshakes: resume the session of an earlier connection"),
    Opt::value("connections", "N", "number of connections, or of handshakes at a time (default 64)"),
    Opt::value("size", "BYTES", "echo, idle: payload bytes per message (default 64)"),
    config::SECONDS,
    config::WARMUP,
    config::STALL,
    config::CORE,
    config::SERVER_PID,
    Opt::value("write-certificate", "FOLDER", "write certificate.pem and key.pem for localhost into it, and exit"),
];

/// The largest payload, in bytes.
const PAYLOAD_BYTES_MAX: usize = 1 << 24;

type Failure = Box<dyn std::error::Error>;

/// The settings that all modes share.
struct Load {
    run: Run,
    security: Security,
    payload_bytes: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(Some(report)) => {
            outln!("{}", report.json());
            errln!("{}", report.human());
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("tls: {error}");
            let code = error.downcast_ref::<LoadError>().map_or(64, |error| if error.is_stall() { 2 } else { 1 });
            ExitCode::from(code)
        }
    }
}

/// Runs the program. Returns a report unless it only wrote a certificate.
fn run() -> Result<Option<Report>, Failure> {
    let args = Args::parse(std::env::args().skip(1), OPTIONS)?;
    if let Some(folder) = args.optional::<String>("write-certificate")? {
        write_certificate(Path::new(&folder))?;
        return Ok(None);
    }
    if let Some(core) = args.optional("core")? {
        cpu::pin(core)?;
    }
    let mode = args.optional::<String>("mode")?.unwrap_or_else(|| "echo".into());
    let protocol = args.optional::<String>("protocol")?.unwrap_or_else(|| "wss".into());
    let security = match protocol.as_str() {
        "wss" => Some(client(&args.required::<String>("ca")?, args.has("resume"))?),
        "ws" => None,
        _ => return Err(format!("invalid --protocol {protocol:?}: must be ws or wss").into()),
    };
    let load = Load {
        run: Run::parse(&args, mode == "idle")?,
        security,
        payload_bytes: args.within("size", 64, [0, PAYLOAD_BYTES_MAX])?,
    };
    setup::require_files(load.run.connections)?;
    match mode.as_str() {
        "echo" => Ok(Some(echo::run(&load)?)),
        "idle" => Ok(Some(idle::run(&load)?)),
        "handshakes" => match &load.security {
            Some(config) => Ok(Some(handshakes::run(&load, config, args.has("resume"))?)),
            None => Err("--mode handshakes needs --protocol wss".into()),
        },
        _ => Err(format!("invalid --mode {mode:?}: must be echo, handshakes or idle").into()),
    }
}

/// Returns a client that trusts this certificate.
fn client(authority: &str, resumes: bool) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).map_err(|error| format!("{authority}: {error}"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = if resumes { Resumption::in_memory_sessions(1024) } else { Resumption::disabled() };
    Ok(Arc::new(config))
}

/// Writes a certificate for localhost and its key.
fn write_certificate(folder: &Path) -> Result<(), Failure> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("certificate.pem"), certificate.pem())?;
    std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(())
}
