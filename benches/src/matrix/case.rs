//! The loads of the matrix: one case per line of the aims, in the order of the report.
//!
//! Owns the catalogue and the load generator's options for each case. Never measures.

use crate::handshake::Context;
use crate::matrix::site;

/// The load of a case. Each kind is a mode of the load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Messages echoed to their sender.
    Echo,
    /// Messages from one publisher to every connection.
    Broadcast,
    /// `GET /plaintext`.
    Http,
    /// Connect, upgrade, one echo, closing handshake, close; over and over.
    Churn,
    /// Idle connections and their memory.
    Idle,
    /// Files of a size, or a JSON text with gzip where there is no size.
    Files,
    /// A load over TLS.
    Wss(Wss),
    /// Clients that send messages to the same echo server. They are what is measured.
    Client,
}

/// A load over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wss {
    /// Messages echoed to their sender.
    Echo,
    /// Full handshakes.
    Handshakes,
    /// Handshakes that resume a session.
    Resumptions,
    /// Idle WebSockets and their memory.
    Idle,
}

impl Kind {
    /// Returns the name of the mode.
    #[must_use]
    pub fn mode(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Broadcast => "broadcast",
            Self::Http => "http",
            Self::Churn => "churn",
            Self::Idle => "idle",
            Self::Files => "files",
            Self::Wss(_) => "wss",
            Self::Client => "client",
        }
    }

    /// Returns the unit that its rates count, in the plural.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Echo | Self::Client | Self::Wss(Wss::Echo) => "messages",
            Self::Broadcast => "deliveries",
            Self::Http | Self::Files => "requests",
            Self::Churn => "cycles",
            Self::Idle | Self::Wss(Wss::Idle) => "connections",
            Self::Wss(Wss::Handshakes | Wss::Resumptions) => "handshakes",
        }
    }

    /// Returns whether its connections are idle: it measures memory instead of a rate.
    #[must_use]
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Idle | Self::Wss(Wss::Idle))
    }

    /// Returns the name of the program that makes the load, and the feature with which it is built.
    #[must_use]
    pub fn program(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Wss(_) => ("tls", Some("tls")),
            Self::Client => ("clients", Some("clients")),
            _ => ("load", None),
        }
    }
}

/// Compression of the messages of a case, with windows of 32 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// Level of the server's compressor, for servers with a choice.
    pub level: u32,
    /// What both ends do with the context of their compressors after a message.
    pub context: Context,
}

/// One load on one server.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Name on the command line, in results and in file names.
    pub id: &'static str,
    /// Title for people.
    pub title: &'static str,
    /// Row of the aims.
    pub row: u8,
    /// Kind of the load.
    pub kind: Kind,
    /// Payload bytes per message; 0 where there are none or the default applies.
    pub size: u32,
    /// Messages outstanding on a connection, or published at a time.
    pub depth: u32,
    /// Number of connections.
    pub connections: u32,
    /// Number and size of the receive buffers of `raw-uring`: large enough for a whole message where that is not
    /// slower, and no more than are in use, which spares the caches.
    pub raw_buffers: [u32; 2],
    /// Whether the messages are JSON text instead of random bytes.
    pub json: bool,
    /// Compression of the messages, if there is any.
    pub deflate: Option<Deflate>,
    /// Bytes that a Tidegate handler keeps while it waits for a message.
    pub future_bytes: u32,
    /// Whether only Tidegate takes part: the case has more connections than the open-file limit of a process allows,
    /// and only a ring per worker can hold them, or it is about handlers.
    pub ours_alone: bool,
}

/// The most connections of one ring or process: the open-file limit, less some room.
pub const CONNECTIONS_PER_RING_MAX: u32 = 17_000;

const NONE: Case = Case {
    id: "",
    title: "",
    row: 0,
    kind: Kind::Echo,
    size: 0,
    depth: 1,
    connections: 64,
    raw_buffers: [256, 4096],
    json: false,
    deflate: None,
    future_bytes: 0,
    ours_alone: false,
};

/// Every case, in the order of running.
pub const CASES: &[Case] = &[
    echo("echo-64", "64 B, 64 connections", 1, [64, 1, 64], [256, 4096]),
    echo("echo-512", "64 B, 512 connections", 1, [64, 1, 512], [1024, 4096]),
    echo("echo-512-deep", "64 B, 512 connections, 16 deep", 2, [64, 16, 512], [1024, 4096]),
    echo("echo-16k", "16 KiB, 64 connections", 3, [16_384, 1, 64], [256, 32_768]),
    echo("echo-256k", "256 KiB, 8 connections", 3, [262_144, 1, 8], [64, 65_536]),
    echo("echo-1", "64 B, 1 connection", 4, [64, 1, 1], [16, 4096]),
    broadcast("broadcast-64-1k", "64 B to 1,000, one at a time", [64, 1, 1_000]),
    broadcast("broadcast-64-10k", "64 B to 10,000, one at a time", [64, 1, 10_000]),
    broadcast("broadcast-1k-1k", "1 KiB to 1,000, one at a time", [1_024, 1, 1_000]),
    broadcast("broadcast-1k-10k", "1 KiB to 10,000, one at a time", [1_024, 1, 10_000]),
    broadcast("broadcast-64-1k-burst", "64 B to 1,000, bursts of 16", [64, 16, 1_000]),
    broadcast("broadcast-64-10k-burst", "64 B to 10,000, bursts of 16", [64, 16, 10_000]),
    broadcast("broadcast-1k-1k-burst", "1 KiB to 1,000, bursts of 16", [1_024, 16, 1_000]),
    broadcast("broadcast-1k-10k-burst", "1 KiB to 10,000, bursts of 16", [1_024, 16, 10_000]),
    other("http", "/plaintext, 64 connections", 6, Kind::Http, [1, 64]),
    other("http-deep", "/plaintext, 64 connections, 16 deep", 6, Kind::Http, [16, 64]),
    other("churn", "connect, upgrade, echo, close; 64 at a time", 7, Kind::Churn, [1, 64]),
    other("idle-10k", "10,000 idle WebSockets", 8, Kind::Idle, [1, 10_000]),
    Case {
        future_bytes: 4096,
        ours_alone: true,
        ..other("idle-10k-future", "10,000 idle WebSockets, 4 KiB for a message", 8, Kind::Idle, [1, 10_000])
    },
    Case { ours_alone: true, ..other("idle-100k", "100,000 idle WebSockets", 8, Kind::Idle, [1, 100_000]) },
    Case {
        future_bytes: 4096,
        ours_alone: true,
        ..other("idle-100k-future", "100,000 idle WebSockets, 4 KiB for a message", 8, Kind::Idle, [1, 100_000])
    },
    echo("echo-4096", "64 B, 4,096 connections", 9, [64, 1, 4_096], [4096, 512]),
    echo("echo-16000", "64 B, 16,000 connections", 9, [64, 1, 16_000], [16_384, 256]),
    files("files-1k", "1 KiB file, 64 connections", [1024, 64]),
    files("files-1k-1024", "1 KiB file, 1,024 connections", [1024, 1024]),
    files("files-64k", "64 KiB file, 64 connections", [65_536, 64]),
    files("files-64k-1024", "64 KiB file, 1,024 connections", [65_536, 1024]),
    files("files-10m", "10 MiB file, 64 connections", [10_485_760, 64]),
    files("files-10m-1024", "10 MiB file, 1,024 connections", [10_485_760, 1024]),
    files("files-10m-4096", "10 MiB file, 4,096 connections: memory", [10_485_760, 4096]),
    files("files-json-gzip", "4 KB of JSON with gzip, 64 connections", [0, 64]),
    Case { json: true, ..echo("json", "1 KiB of JSON, 64 connections", 11, [1024, 1, 64], [256, 4096]) },
    deflate("deflate-1", "1 KiB of JSON, level 1, each message by itself", 1, Context::Reset),
    deflate("deflate-6", "1 KiB of JSON, level 6, each message by itself", 6, Context::Reset),
    deflate("deflate-1-kept", "1 KiB of JSON, level 1, contexts kept", 1, Context::Kept),
    deflate("deflate-6-kept", "1 KiB of JSON, level 6, contexts kept", 6, Context::Kept),
    wss("wss-64", "64 B, 64 connections, TLS", Wss::Echo, [64, 64]),
    wss("wss-512", "64 B, 512 connections, TLS", Wss::Echo, [64, 512]),
    wss("wss-16k", "16 KiB, 64 connections, TLS", Wss::Echo, [16_384, 64]),
    wss("wss-handshakes", "full handshakes, 32 at a time", Wss::Handshakes, [0, 32]),
    wss("wss-resumptions", "resumed handshakes, 32 at a time", Wss::Resumptions, [0, 32]),
    wss("wss-idle-10k", "10,000 idle WebSockets, TLS", Wss::Idle, [64, 10_000]),
    client("client-64", "64 B, 64 connections of a client", [64, 64]),
    client("client-16k", "16 KiB, 64 connections of a client", [16_384, 64]),
];

/// The cases of row 9: the same load on more and more connections.
pub const GROWTH: [&str; 4] = ["echo-64", "echo-512", "echo-4096", "echo-16000"];

const fn echo(id: &'static str, title: &'static str, row: u8, load: [u32; 3], raw_buffers: [u32; 2]) -> Case {
    let [size, depth, connections] = load;
    Case { size, raw_buffers, ..other(id, title, row, Kind::Echo, [depth, connections]) }
}

const fn deflate(id: &'static str, title: &'static str, level: u32, context: Context) -> Case {
    let deflate = Some(Deflate { level, context });
    Case { size: 1024, json: true, deflate, ..other(id, title, 11, Kind::Echo, [1, 64]) }
}

const fn broadcast(id: &'static str, title: &'static str, load: [u32; 3]) -> Case {
    let [size, depth, connections] = load;
    Case { size, ..other(id, title, 5, Kind::Broadcast, [depth, connections]) }
}

const fn files(id: &'static str, title: &'static str, load: [u32; 2]) -> Case {
    let [size, connections] = load;
    Case { size, ..other(id, title, 10, Kind::Files, [1, connections]) }
}

const fn wss(id: &'static str, title: &'static str, load: Wss, numbers: [u32; 2]) -> Case {
    let [size, connections] = numbers;
    Case { size, ..other(id, title, 12, Kind::Wss(load), [1, connections]) }
}

const fn client(id: &'static str, title: &'static str, load: [u32; 2]) -> Case {
    let [size, connections] = load;
    Case { size, ..other(id, title, 13, Kind::Client, [1, connections]) }
}

const fn other(id: &'static str, title: &'static str, row: u8, kind: Kind, load: [u32; 2]) -> Case {
    let [depth, connections] = load;
    Case { id, title, row, kind, depth, connections, ..NONE }
}

impl Case {
    /// Returns whether the case is about memory, so that no unit needs to be finished.
    #[must_use]
    pub fn measures_memory(&self) -> bool {
        self.kind.is_idle() || self.kind == Kind::Files && self.connections > 1024
    }

    /// Returns the case with that id.
    #[must_use]
    pub fn named(id: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.id == id)
    }

    /// Returns the cases selected by a word of `--only`: those of a kind, those of a row (such as `row1`), the one
    /// with that id, or those whose ids begin with it, whichever matches first.
    #[must_use]
    pub fn meant_by(word: &str) -> Vec<&'static Self> {
        let choose = |is: &dyn Fn(&Self) -> bool| CASES.iter().filter(|case| is(case)).collect::<Vec<_>>();
        let of_row = |case: &Self| format!("row{}", case.row) == word || word == "row9" && GROWTH.contains(&case.id);
        let choices = [
            choose(&|case| case.kind.mode() == word),
            choose(&of_row),
            choose(&|case| case.id == word),
            choose(&|case| case.id.starts_with(word)),
        ];
        choices.into_iter().find(|cases| !cases.is_empty()).unwrap_or_default()
    }

    /// Returns what a server must be able to do: the mode, or `deflate`.
    #[must_use]
    pub fn ability(&self) -> &'static str {
        if self.deflate.is_some() { "deflate" } else { self.kind.mode() }
    }

    /// Returns whether the limits, which send the bytes back that they receive, have a part in this case.
    #[must_use]
    pub fn has_limit(&self) -> bool {
        self.kind == Kind::Echo && self.deflate.is_none()
    }

    /// Returns the options of the echo example that this case needs in addition to those of the placement.
    #[must_use]
    pub fn example_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(Deflate { level, context }) = self.deflate {
            words.push(format!("--compress-level={level}"));
            words.extend((context == Context::Reset).then(|| "--compress-no-takeover".to_owned()));
        }
        if self.future_bytes > 0 {
            words.push(format!("--future-bytes={}", self.future_bytes));
        }
        words
    }

    /// Returns the options of the peers that this case needs.
    #[must_use]
    pub fn peer_words(&self) -> Vec<String> {
        let deflate = self.deflate.iter();
        deflate
            .flat_map(|deflate| [format!("--deflate={}", deflate.level), format!("--context={}", deflate.context)])
            .collect()
    }

    /// Returns the load generator's options for this case.
    #[must_use]
    pub fn load_words(&self) -> Vec<String> {
        let mut words = vec![format!("--connections={}", self.connections)];
        let mut option = |name: &str, value: &dyn ToString| words.push(format!("--{name}={}", value.to_string()));
        match self.kind {
            Kind::Echo => {
                option("size", &self.size);
                option("depth", &self.depth);
                option("path", &"/ws");
                if let Some(deflate) = self.deflate {
                    option("deflate", &deflate.context);
                }
                words.extend(self.json.then(|| "--json".to_owned()));
            }
            Kind::Broadcast => {
                option("mode", &"broadcast");
                option("size", &self.size);
                option("burst", &self.depth);
                option("path", &"/hub");
            }
            Kind::Http => {
                option("mode", &"http");
                option("depth", &self.depth);
                option("path", &"/plaintext");
            }
            Kind::Files if self.size == 0 => {
                option("mode", &"files");
                option("size", &site::JSON_TEXT_BYTES);
                option("path", &site::json_path());
                words.push("--gzip".to_owned());
            }
            Kind::Files => {
                option("mode", &"files");
                option("size", &self.size);
                option("path", &site::file_path(self.size));
            }
            Kind::Churn | Kind::Idle => {
                option("mode", &self.kind.mode());
                option("path", &"/ws");
            }
            Kind::Client => option("size", &self.size),
            Kind::Wss(load) => {
                let mode = match load {
                    Wss::Echo => "echo",
                    Wss::Handshakes | Wss::Resumptions => "handshakes",
                    Wss::Idle => "idle",
                };
                option("mode", &mode);
                option("size", &self.size);
                if load == Wss::Resumptions {
                    words.push("--resume".to_owned());
                }
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_and_every_row_has_a_case() {
        for (at, case) in CASES.iter().enumerate() {
            assert!(CASES[..at].iter().all(|earlier| earlier.id != case.id), "{}", case.id);
        }
        for row in 1..=13 {
            assert!(CASES.iter().any(|case| case.row == row), "row {row}");
        }
        assert!(GROWTH.iter().all(|id| Case::named(id).is_some()));
    }

    #[test]
    fn words_choose_cases() {
        let chosen = |word| Case::meant_by(word).iter().map(|case| case.id).collect::<Vec<_>>();
        assert_eq!(chosen("http"), ["http", "http-deep"]);
        assert_eq!(chosen("row9"), GROWTH);
        assert_eq!(chosen("row3"), ["echo-16k", "echo-256k"]);
        assert_eq!(chosen("broadcast").len(), 8);
        assert_eq!(chosen("echo-1"), ["echo-1"]);
        assert_eq!((chosen("wss").len(), chosen("client")), (6, vec!["client-64", "client-16k"]));
        assert_eq!(chosen("echo-16"), ["echo-16k", "echo-16000"]);
        assert_eq!(chosen("nothing"), Vec::<&str>::new());
    }

    #[test]
    fn a_case_sets_the_options_of_its_load() {
        let words = Case::named("broadcast-1k-10k-burst").unwrap().load_words();
        for word in ["--mode=broadcast", "--size=1024", "--burst=16", "--connections=10000", "--path=/hub"] {
            assert!(words.iter().any(|known| known == word), "{word} in {words:?}");
        }
    }

    #[test]
    fn compression_is_asked_of_both_ends() {
        let case = Case::named("deflate-6").unwrap();
        assert!(case.load_words().ends_with(&["--deflate=reset".to_owned(), "--json".to_owned()]));
        assert_eq!(case.example_words(), ["--compress-level=6", "--compress-no-takeover"]);
        assert_eq!(case.peer_words(), ["--deflate=6", "--context=reset"]);
        assert_eq!((case.ability(), case.has_limit()), ("deflate", false));
        assert_eq!(Case::named("deflate-1-kept").unwrap().example_words(), ["--compress-level=1"]);
        assert_eq!(Case::named("idle-10k-future").unwrap().example_words(), ["--future-bytes=4096"]);
        let plain = Case::named("echo-64").unwrap();
        assert!(plain.example_words().is_empty() && plain.peer_words().is_empty() && plain.has_limit());
    }
}
