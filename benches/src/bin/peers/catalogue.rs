//! The catalogue of peers: their settings and the cases they cannot do.

use std::net::SocketAddr;

use crate::{
    Outcome, actix, axum, fastwebsockets, hyper, may_minihttp, monoio, ntex, sockudo, tungstenite, xitca, yawc,
};

/// The lock file this program was built with, which has the versions.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// Cases of a server with both WebSocket and HTTP.
const ALL: &[&str] = &["echo", "broadcast", "http", "churn", "idle"];
/// Cases of a server that serves files too.
const WITH_FILES: &[&str] = &["echo", "broadcast", "http", "churn", "idle", "files"];
/// Cases of a server with WebSocket only.
const WEBSOCKET: &[&str] = &["echo", "broadcast", "churn", "idle"];
/// Cases of a server with WebSocket only, and permessage-deflate.
const COMPRESSED: &[&str] = &["echo", "deflate", "broadcast", "churn", "idle"];
/// Cases of a server with HTTP only.
const HTTP: &[&str] = &["http"];

/// Why a peer has no HTTP case.
const NO_HTTP: (&str, &str) = ("http", "a WebSocket library without HTTP responses");
/// Why a peer has no case with compressed messages.
const NO_DEFLATE: (&str, &str) = ("deflate", "it has no permessage-deflate");
/// Why a peer has no WebSocket cases.
const NO_WEBSOCKET: &[(&str, &str)] = &[
    ("deflate", "an HTTP server without WebSocket"),
    ("echo", "an HTTP server without WebSocket"),
    ("broadcast", "an HTTP server without WebSocket"),
    ("churn", "an HTTP server without WebSocket"),
    ("idle", "an HTTP server without WebSocket"),
];

/// One server that Tidegate is measured against.
pub struct Peer {
    /// Name on the command line.
    pub name: &'static str,
    /// Crate whose version is reported.
    package: &'static str,
    /// Cases it can do.
    cases: &'static [&'static str],
    /// Its settings, with reasons and sources.
    setting: &'static str,
    /// Cases it cannot do, with reasons.
    cannot: &'static [(&'static str, &'static str)],
    /// Serves on an address until something fails.
    pub serve: fn(SocketAddr) -> Outcome,
}

impl Peer {
    /// Returns whether it can do a case.
    pub fn has(&self, case: &str) -> bool {
        self.cases.contains(&case)
    }

    /// Returns the peer as one line of JSON.
    pub fn json(&self) -> String {
        let cannot: serde_json::Map<_, _> =
            self.cannot.iter().map(|&(case, why)| (case.to_owned(), why.into())).collect();
        serde_json::json!({
            "name": self.name,
            "version": version(self.package),
            "cases": self.cases,
            "setting": self.setting,
            "cannot": cannot,
        })
        .to_string()
    }
}

/// Returns the newest version of `package` in the lock file, whose entries are in ascending order.
fn version(package: &str) -> Option<&'static str> {
    let head = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = LOCK.rsplit_once(&head)?;
    rest.split_once('"').map(|(version, _)| version)
}

/// All peers, in the order of the tables.
pub const PEERS: &[Peer] = &[
    #[cfg(feature = "peers-uwebsockets")]
    Peer {
        name: "uwebsockets",
        package: "libuwebsockets-sys",
        cases: &["echo", "deflate", "broadcast", "http", "churn", "idle"],
        setting: "the uWebSockets bundled with libuwebsockets-sys, built as that crate does (GCC, -O3 -flto, libuv, zlib) and \
                  called through its C interface; TLS unused; the hub is a topic; it makes its own listener and sets \
                  TCP_NODELAY itself; compression, where a case has it, by the shared compressor and decompressor, or by \
                  dedicated ones (256 KiB and 32 KiB) where contexts are kept, always at zlib's default level",
        cannot: &[],
        serve: crate::uwebsockets::serve,
    },
    Peer {
        name: "fastwebsockets",
        package: "fastwebsockets",
        cases: WEBSOCKET,
        setting: "hyper's upgrade, FragmentCollector, unconstrained tasks on tokio's current thread, as in its echo example; \
                  it has no batching, so each reply is one write; the hub is a tokio broadcast channel with the \
                  halves of its unstable-split on two tasks",
        cannot: &[NO_HTTP, NO_DEFLATE],
        serve: fastwebsockets::serve,
    },
    Peer {
        name: "tokio-tungstenite",
        package: "tokio-tungstenite",
        cases: WEBSOCKET,
        setting: "batched: feed while messages are available, then flush, as the documentation of its write buffer advises; \
                  read buffer 4 KiB, documented for many connections and the fastest here; tokio's \
                  current thread; the hub is a tokio broadcast channel",
        cannot: &[NO_HTTP, NO_DEFLATE],
        serve: tungstenite::serve,
    },
    Peer {
        name: "axum",
        package: "axum",
        cases: WITH_FILES,
        setting: "Router on hyper with pipeline_flush, as in its example serve-with-hyper; WebSocketUpgrade, batched: feed while messages are available, then flush; read buffer \
                  4 KiB as for tokio-tungstenite, which it uses; tokio's current thread; the hub is a tokio broadcast channel, as in its chat example; files by ServeDir of tower-http, whose reads are on tokio's blocking threads, \
                  gzip by its CompressionLayer",
        cannot: &[NO_DEFLATE],
        serve: axum::serve,
    },
    Peer {
        name: "actix-web",
        package: "actix-web",
        cases: WITH_FILES,
        setting: "HttpServer with one worker and actix-ws, aggregated continuations, client_disconnect_timeout 0; the hub sends to all sessions at \
                  once, as in the chat example of actix-ws; files by actix-files, gzip by its Compress",
        cannot: &[NO_DEFLATE],
        serve: actix::serve,
    },
    Peer {
        name: "ntex",
        package: "ntex",
        cases: ALL,
        setting: "io_uring (feature neon-uring), one worker, its HTTP service and WebSocket dispatcher below the web \
                  layer, default buffers (larger ones were not faster); the hub encodes into each connection's write \
                  buffer. Windows of 16 messages of 256 KiB come back corrupted, at any buffer size",
        cannot: &[NO_DEFLATE],
        serve: ntex::serve,
    },
    Peer {
        name: "sockudo-ws",
        package: "sockudo-ws",
        cases: COMPRESSED,
        setting: "tokio's current thread, write coalescing (its default), feed, and flush at the end of a batch, as its \
                  Config documents, no automatic pings; the hub is a tokio broadcast channel; compression by its own zlib-rs",
        cannot: &[NO_HTTP],
        serve: sockudo::serve,
    },
    Peer {
        name: "yawc",
        package: "yawc",
        cases: COMPRESSED,
        setting: "hyper's upgrade, read buffer 128 KiB, backpressure boundary 64 KiB, and batches flushed when nothing is \
                  left to read, as in the benchmark of its README; UTF-8 checked; the hub is a tokio broadcast channel; compression \
                  by zlib-rs (its feature zlib), with its DeflatePool where each message is compressed by itself",
        cannot: &[NO_HTTP],
        serve: yawc::serve,
    },
    Peer {
        name: "monoio",
        package: "monoio",
        cases: &["echo", "churn", "idle"],
        setting: "io_uring with monoio-tungstenite, which is written for monoio's owned buffers; one write per \
                  reply, as in its echo example",
        cannot: &[
            NO_HTTP,
            NO_DEFLATE,
            ("broadcast", "its WebSocket cannot be split, and cancelling a read in progress loses data"),
        ],
        serve: monoio::serve,
    },
    Peer {
        name: "may_minihttp",
        package: "may_minihttp",
        cases: HTTP,
        setting: "one worker, stacks and pool as in its techempower example; it makes its own listener and sets no \
                  TCP_NODELAY",
        cannot: NO_WEBSOCKET,
        serve: may_minihttp::serve,
    },
    Peer {
        name: "hyper",
        package: "hyper",
        cases: HTTP,
        setting: "http1 with pipeline_flush, one task per connection on tokio's current thread",
        cannot: NO_WEBSOCKET,
        serve: hyper::serve,
    },
    Peer {
        name: "xitca-web",
        package: "xitca-web",
        cases: HTTP,
        setting: "io_uring (its feature io-uring), one worker thread, a low-level service, vectored writes off, which it advises for small bodies",
        cannot: NO_WEBSOCKET,
        serve: xitca::serve,
    },
];
