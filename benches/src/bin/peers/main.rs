//! The servers that Tidegate is measured against, in one program so that they are linked only once.
//!
//! Each peer is one module, written as its documentation writes such a server, with the settings documented as the
//! fastest, on one thread. `catalogue` lists them and the cases they cannot do. All of them use the system's allocator
//! and this workspace's release profile, and listen on a socket made here, whose accepted sockets inherit TCP_NODELAY.
//! The setting of a peer says if it makes its own listener.
//!
//! Routes: `/ws` (echo), `/hub` (each message goes to all connections of the hub), `/plaintext` (HTTP), and of some
//! peers `/files/` (files of a folder) and `/json` (JSON with gzip).

mod actix;
mod axum;
mod catalogue;
mod fastwebsockets;
mod hyper;
mod may_minihttp;
mod monoio;
mod ntex;
mod sockudo;
mod tls;
mod tokio_server;
mod tungstenite;
#[cfg(feature = "peers-uwebsockets")]
mod uwebsockets;
mod xitca;
mod yawc;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use tidegate_benches::args::{Args, ArgsError, Opt};
use tidegate_benches::handshake::Context;
use tidegate_benches::matrix::case::Deflate;
use tidegate_benches::socket;
use tidegate_benches::{errln, outln};

/// Result of a server, which ends only when something fails.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The largest message a WebSocket peer must accept, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The folder of the files.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Returns the folder of the files; the current one if none is given.
fn folder() -> &'static Path {
    FOLDER.get().map_or(Path::new("."), PathBuf::as_path)
}

/// The compression of the echo, if there is any.
static DEFLATE: OnceLock<Deflate> = OnceLock::new();

/// Returns the compression of the echo, if there is any.
fn deflate() -> Option<Deflate> {
    DEFLATE.get().copied()
}

/// The body of `/plaintext`.
const HELLO: &str = "Hello, World!";

/// The JSON of `/json`, made of the query `name`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Hello {
    #[serde(alias = "name")]
    hello: String,
}

/// Exit code of a wrong command line.
const USAGE: u8 = 64;

const OPTIONS: &[Opt] = &[
    Opt::value("addr", "HOST:PORT", "listening address (default 127.0.0.1:9001)"),
    Opt::value("dir", "FOLDER", "folder of the files below /files/"),
    Opt::value("deflate", "LEVEL", "compress the messages of the echo at this level, 1 to 9"),
    Opt::value("context", "kept|reset", "with --deflate: the compressors' context after each message (default reset)"),
    Opt::value("tls-cert", "FILE", "serve with TLS: the certificate, in PEM; only for peers with the case wss"),
    Opt::value("tls-key", "FILE", "its key, in PEM"),
    Opt::switch("list", "print the peers as lines of JSON and exit; takes no NAME"),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("peers: {error}");
            error.downcast_ref::<Usage>().map_or(ExitCode::FAILURE, |_| ExitCode::from(USAGE))
        }
    }
}

/// The command line is wrong, or asks for help.
#[derive(Debug, thiserror::Error)]
#[error("{0}\nusage: peers NAME [--addr HOST:PORT], or peers --list")]
struct Usage(String);

fn run() -> Outcome {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let name = words.first().is_some_and(|word| !word.starts_with("--")).then(|| words.remove(0));
    let usage = |error: ArgsError| Usage(error.to_string());
    let args = Args::parse(words, OPTIONS).map_err(usage)?;
    let Some(name) = name else {
        if !args.has("list") {
            return Err(Usage("missing NAME of a peer".to_owned()).into());
        }
        catalogue::PEERS.iter().for_each(|peer| outln!("{}", peer.json()));
        return Ok(());
    };
    let peer = catalogue::PEERS.iter().find(|peer| peer.name == name).ok_or_else(|| Usage(unknown(&name)))?;
    let address: SocketAddr = args.optional("addr").map_err(usage)?.unwrap_or_else(|| ([127, 0, 0, 1], 9001).into());
    if let Some(folder) = args.optional::<PathBuf>("dir").map_err(usage)? {
        let _ = FOLDER.set(folder);
    }
    if args.has("deflate") {
        if !peer.has("deflate") {
            return Err(Usage(format!("{name} has no permessage-deflate: omit --deflate")).into());
        }
        let level = args.within("deflate", 1, [1, 9]).map_err(usage)?;
        let context = args.optional("context").map_err(usage)?.unwrap_or(Context::Reset);
        let _ = DEFLATE.set(Deflate { level, context });
    }
    let file = |name| args.optional::<PathBuf>(name).map_err(usage);
    match (file("tls-cert")?, file("tls-key")?) {
        (None, None) => {}
        (Some(certificate), Some(key)) if peer.has("wss") => tls::set(tls::Files { certificate, key }),
        (Some(_), Some(_)) => return Err(Usage(format!("{name} does not serve with TLS")).into()),
        _ => return Err(Usage("--tls-cert and --tls-key go together".to_owned()).into()),
    }
    socket::raise_file_limit()?;
    (peer.serve)(address)
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = catalogue::PEERS.iter().map(|peer| peer.name).collect();
    format!("unknown peer {name:?}: must be one of {}", names.join(", "))
}
