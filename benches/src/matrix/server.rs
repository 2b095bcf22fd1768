//! The programs under test and their abilities.
//!
//! Tidegate's placements are the echo example with different options. The limits and the peers are programs of this
//! crate. Any other server is a command. `peers --list` says which cases a peer can do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::matrix::case::{CONNECTIONS_PER_RING_MAX, Case, Kind, Wss};
use crate::matrix::results::{Entrant, Group, LOAD_TESTER, NGINX, RAW};
use crate::matrix::site;

/// Tidegate's placements: the name, the options of both examples, the style of the handlers, and the setting.
const OURS: [(&str, &str, &str, &str); 6] = [
    ("inline", "--engine uring --handlers inline", "async", "handlers on the ring's thread"),
    ("same-core", "--engine uring --handlers same-core", "async", "handlers on another thread, same core"),
    ("events", "--engine uring --handlers inline", "events", "event handlers, called on the ring's thread"),
    ("portable", "--engine portable --handlers inline", "async", "on epoll, handlers on the worker's thread"),
    (
        "portable-same-core",
        "--engine portable --handlers same-core",
        "async",
        "on epoll, handlers on another thread, same core",
    ),
    (
        "portable-events",
        "--engine portable --handlers inline",
        "events",
        "on epoll, event handlers, called on the worker's thread",
    ),
];

/// A program under test.
#[derive(Debug, Clone)]
pub struct Server {
    /// Name, group, version and setting.
    pub entrant: Entrant,
    /// Protocol of the echo cases, `ws` or `tcp`.
    pub protocol: &'static str,
    /// Words of the command, with placeholders such as `{addr}` that [`Server::words`] fills in.
    command: Vec<String>,
    /// Words of the command in the cases with files, if it is another one.
    files_command: Vec<String>,
    /// Folder of the files of those cases, for the placeholder `{dir}`.
    folder: String,
    ability: Ability,
}

/// Abilities of a server.
#[derive(Debug, Clone)]
enum Ability {
    /// A limit: echoes bytes.
    Bytes,
    /// Tidegate.
    Ours {
        /// On readiness, whose connections are open files of one process.
        is_portable: bool,
        /// Event handlers, which only WebSockets have.
        has_events: bool,
    },
    /// Tidegate without TLS, to compare with in the cases with TLS.
    Plain,
    /// The modes it lists, and the reasons why it lacks others.
    Some { modes: Vec<String>, cannot: BTreeMap<String, String> },
    /// None, with the reason.
    Nothing(String),
}

/// Part of a server in a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// It is measured.
    Takes,
    /// It is shown with this reason instead of figures.
    Cannot(String),
    /// It is not shown.
    None,
}

/// One line of `peers --list`, in JSON.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    version: String,
    cases: Vec<String>,
    #[serde(default)]
    setting: String,
    #[serde(default)]
    cannot: BTreeMap<String, String>,
}

impl Server {
    /// Returns the limits and Tidegate, with their programs in `programs`.
    #[must_use]
    pub fn own(programs: &Path) -> Vec<Self> {
        let limit = |name: &str, options: &str| Self {
            entrant: entrant(name, Group::Limit, "TCP echo, no protocol, no handler"),
            protocol: "tcp",
            command: words(programs, name, options),
            files_command: Vec::new(),
            folder: String::new(),
            ability: Ability::Bytes,
        };
        let folder = site::folder(programs).to_string_lossy().into_owned();
        let ours = OURS.iter().map(|(name, options, style, setting)| {
            let options = format!("--addr {{addr}} --workers {{workers}} {options}");
            Self {
                entrant: entrant(name, Group::Ours, setting),
                protocol: "ws",
                command: words(programs, "examples/echo", &format!("{options} --style {style}")),
                files_command: words(programs, "examples/http", &format!("{options} --dir {{dir}}")),
                folder: folder.clone(),
                ability: Ability::Ours { is_portable: options.contains("portable"), has_events: *style == "events" },
            }
        });
        let plain = OURS[..2].iter().map(|(name, options, _, _)| Self {
            entrant: entrant(&format!("{name}-plain"), Group::Ours, PLAIN_SETTING),
            protocol: "ws",
            command: words(programs, "examples/echo", &format!("--addr {{addr}} --workers 1 {options}")),
            files_command: Vec::new(),
            folder: folder.clone(),
            ability: Ability::Plain,
        });
        let files = |name: &str, group, command: Vec<String>, setting: &str| Self {
            entrant: entrant(name, group, setting),
            protocol: "ws",
            command,
            files_command: Vec::new(),
            folder: folder.clone(),
            ability: Ability::Some { modes: vec![Kind::Files.mode().to_owned()], cannot: BTreeMap::new() },
        };
        let mut nginx = files(NGINX, Group::Peer, site::nginx(), NGINX_SETTING);
        match nginx_version() {
            Some(version) => nginx.entrant.version = version,
            None => {
                nginx.entrant.version = String::new();
                let cannot = [(Kind::Files.mode().to_owned(), NO_NGINX.to_owned())].into();
                nginx.ability = Ability::Some { modes: Vec::new(), cannot };
            }
        }
        let copies = "--addr {addr} --workers 1 --engine uring --handlers inline --dir {dir} --copy";
        let limits = [
            limit(RAW, "--addr {addr} --buffers {buffers} --buffer-bytes {buffer-bytes}"),
            limit("raw-epoll", "--addr {addr}"),
        ];
        let copies = files(
            "inline-copies",
            Group::Ours,
            words(programs, "examples/http", copies),
            "as inline, with large files read into memory and sent from it",
        );
        limits.into_iter().chain(ours).chain(plain).chain([copies, nginx]).collect()
    }

    /// Returns the peers listed by the program `peers` in `programs`.
    ///
    /// # Errors
    /// If the program is missing or its list cannot be parsed. The error says how to build it.
    pub fn peers(programs: &Path) -> Result<Vec<Self>, String> {
        let program = programs.join("peers");
        let output = Command::new(&program).arg("--list").output().map_err(|error| {
            format!("peers: {error}; build them with cargo build --release -p tidegate-benches --features peers")
        })?;
        Self::listed(&program, &String::from_utf8_lossy(&output.stdout))
    }

    /// Parses a list of peers.
    fn listed(program: &Path, list: &str) -> Result<Vec<Self>, String> {
        let lines = list.lines().filter(|line| !line.trim().is_empty());
        let peer = |line: &str| {
            let listed: Listed =
                serde_json::from_str(line).map_err(|error| format!("peers --list: {error}: {line}"))?;
            let command = [&*program.to_string_lossy(), &listed.name, "--addr", "{addr}", "--dir", "{dir}"];
            let command = command.map(str::to_owned).into();
            let Listed { name, version, cases: mut modes, setting, cannot } = listed;
            if CLIENTS.contains(&name.as_str()) {
                modes.push(Kind::Client.mode().to_owned());
            }
            let entrant = Entrant { name, group: Group::Peer, version, setting };
            let folder = site::folder(program.parent().unwrap_or(program)).to_string_lossy().into_owned();
            let ability = Ability::Some { modes, cannot };
            Ok(Self { entrant, protocol: "ws", command, files_command: Vec::new(), folder, ability })
        };
        lines.map(peer).collect()
    }

    /// Returns uWebSockets' load tester, a client, if it is in `programs`.
    #[must_use]
    pub fn load_tester(programs: &Path) -> Self {
        let mode = Kind::Client.mode().to_owned();
        let ability = match programs.join(LOAD_TESTER).exists() {
            true => Ability::Some { modes: vec![mode], cannot: BTreeMap::new() },
            false => Ability::Some { modes: Vec::new(), cannot: [(mode, NO_LOAD_TESTER.to_owned())].into() },
        };
        let entrant = Entrant { version: String::new(), ..entrant(LOAD_TESTER, Group::Peer, LOAD_TESTER_SETTING) };
        let folder = site::folder(programs).to_string_lossy().into_owned();
        Self { entrant, protocol: "ws", command: Vec::new(), files_command: Vec::new(), folder, ability }
    }

    /// Returns a peer that any command with `{addr}` starts, and that can do everything.
    ///
    /// # Errors
    /// If the command has no `{addr}`.
    pub fn by_command(name: &str, command: &str, setting: &str) -> Result<Self, String> {
        if !command.contains("{addr}") {
            return Err(format!("{name}: the command {command:?} must contain {{addr}}"));
        }
        Ok(Self {
            entrant: Entrant { version: String::new(), ..entrant(name, Group::Peer, setting) },
            protocol: "ws",
            command: command.split_ascii_whitespace().map(str::to_owned).collect(),
            files_command: Vec::new(),
            folder: String::new(),
            ability: Ability::Some {
                modes: ["echo", "broadcast", "http", "churn", "idle"].map(str::to_owned).into(),
                cannot: BTreeMap::new(),
            },
        })
    }

    /// Returns a missing peer, which every case shows with the reason.
    #[must_use]
    pub fn absent(name: &str, why: &str) -> Self {
        let entrant = Entrant { version: String::new(), ..entrant(name, Group::Peer, why) };
        let ability = Ability::Nothing(why.to_owned());
        let (command, files_command, folder) = Default::default();
        Self { entrant, protocol: "ws", command, files_command, folder, ability }
    }

    /// Returns the part of the server in the case.
    #[must_use]
    pub fn part(&self, case: &Case) -> Part {
        let needed = case.ability();
        match &self.ability {
            Ability::Bytes if !case.has_limit() => Part::None,
            Ability::Ours { is_portable: true, .. } if case.connections > CONNECTIONS_PER_RING_MAX => Part::None,
            Ability::Ours { has_events: true, .. } if matches!(case.kind, Kind::Http | Kind::Files | Kind::Client) => {
                Part::None
            }
            Ability::Plain if case.kind == Kind::Wss(Wss::Echo) => Part::Takes,
            Ability::Plain => Part::None,
            Ability::Bytes | Ability::Ours { .. } => Part::Takes,
            Ability::Some { .. } | Ability::Nothing(_) if case.ours_alone => Part::None,
            Ability::Some { modes, .. } if modes.iter().any(|known| known == needed) => Part::Takes,
            Ability::Some { cannot, .. } => cannot.get(needed).map_or(Part::None, |why| Part::Cannot(why.clone())),
            Ability::Nothing(why) => Part::Cannot(why.clone()),
        }
    }

    /// Returns the command for one run.
    #[must_use]
    pub fn words(&self, case: &Case, address: &str) -> Vec<String> {
        let [buffers, buffer_bytes] = case.raw_buffers;
        let workers = case.connections.div_ceil(CONNECTIONS_PER_RING_MAX);
        let fill = |word: &String| {
            word.replace("{addr}", address)
                .replace("{workers}", &workers.to_string())
                .replace("{buffers}", &buffers.to_string())
                .replace("{buffer-bytes}", &buffer_bytes.to_string())
                .replace("{dir}", &self.folder)
        };
        if case.kind == Kind::Client {
            let programs = Path::new(&self.folder).parent().unwrap_or(Path::new("."));
            return words(programs, "examples/echo", CLIENTS_SERVER).iter().map(fill).collect();
        }
        let (command, more) = match (case.kind, &self.ability) {
            (Kind::Wss(_), ability) if !matches!(ability, Ability::Plain) => {
                let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| format!("{}/{name}", self.folder));
                (&self.command, vec!["--tls-cert".to_owned(), certificate, "--tls-key".to_owned(), key])
            }
            (Kind::Files, _) if !self.files_command.is_empty() => (&self.files_command, Vec::new()),
            (_, Ability::Ours { .. }) => (&self.command, case.example_words()),
            _ => (&self.command, case.peer_words()),
        };
        command.iter().map(fill).chain(more).collect()
    }

    /// Returns the options of the load that depend on the server. In the cases of clients, which are what is measured,
    /// all use the same server.
    #[must_use]
    pub fn load_words(&self, case: &Case) -> Vec<String> {
        match case.kind {
            Kind::Wss(_) if matches!(self.ability, Ability::Plain) => vec!["--protocol=ws".to_owned()],
            Kind::Wss(_) => vec![format!("--ca={}/certificate.pem", self.folder)],
            Kind::Client => vec![format!("--client={}", self.entrant.name)],
            _ => Vec::new(),
        }
    }
}

/// Options of the server of the clients.
const CLIENTS_SERVER: &str = "--addr {addr} --workers 1 --engine uring --handlers inline";

/// The clients among the peers.
const CLIENTS: [&str; 2] = ["tokio-tungstenite", "fastwebsockets"];

const PLAIN_SETTING: &str = "without TLS, to compare with in the cases with TLS";

const LOAD_TESTER_SETTING: &str =
    "benchmarks/load_test.c of uWebSockets, built as its Makefile does but with GCC; it counts the bytes of answers";

/// Why uWebSockets' load tester has no figures.
const NO_LOAD_TESTER: &str = "not built (benches/uws-load-test.sh builds it)";

const NGINX_SETTING: &str =
    "one worker, sendfile and tcp_nopush on as Debian sets them, no log, gzip at its default level";

/// Why nginx has no figures.
const NO_NGINX: &str = "not installed (Debian: apt-get install nginx)";

/// Returns the version of the nginx in the path, if there is one.
fn nginx_version() -> Option<String> {
    let output = Command::new("nginx").arg("-v").output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    Some(said.trim().rsplit('/').next().unwrap_or_default().to_owned())
}

fn entrant(name: &str, group: Group, setting: &str) -> Entrant {
    let version = env!("CARGO_PKG_VERSION").into();
    Entrant { name: name.into(), group, version, setting: setting.into() }
}

fn words(programs: &Path, name: &str, options: &str) -> Vec<String> {
    let program = programs.join(name).to_string_lossy().into_owned();
    [program].into_iter().chain(options.split(' ').map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: &str) -> &'static Case {
        Case::named(id).unwrap()
    }

    fn own(name: &str) -> Server {
        Server::own(Path::new("bin")).into_iter().find(|server| server.entrant.name == name).unwrap()
    }

    #[test]
    fn commands_are_filled_in_for_the_case() {
        let words = own("raw-uring").words(case("echo-16k"), "127.0.0.1:9");
        assert_eq!(words, ["bin/raw-uring", "--addr", "127.0.0.1:9", "--buffers", "256", "--buffer-bytes", "32768"]);
        let workers = |id| own("inline").words(case(id), "127.0.0.1:9")[4].clone();
        assert_eq!((workers("echo-64"), workers("idle-100k")), ("1".into(), "6".into()));
        let words = own("events").words(case("deflate-6"), "127.0.0.1:9");
        assert_eq!(
            words[5..],
            [
                "--engine",
                "uring",
                "--handlers",
                "inline",
                "--style",
                "events",
                "--compress-level=6",
                "--compress-no-takeover"
            ]
        );
        let words = own("inline").words(case("files-1k"), "127.0.0.1:9");
        assert_eq!(words[0], "bin/examples/http");
        assert_eq!(words[words.len() - 2..], ["--dir", "bin/bench-files"]);
        assert!(own(NGINX).words(case("files-1k"), "h:1")[2].contains("listen h:1 "));
        let tls = ["--tls-cert", "bin/bench-files/certificate.pem", "--tls-key", "bin/bench-files/key.pem"];
        let words = own("inline").words(case("wss-64"), "h:1");
        assert_eq!(words[words.len() - 4..], tls);
        assert!(!own("inline-plain").words(case("wss-64"), "h:1").contains(&"--tls-cert".to_owned()));
        assert_eq!(own("inline-plain").load_words(case("wss-64")), ["--protocol=ws"]);
        assert_eq!(own("inline").load_words(case("wss-64")), ["--ca=bin/bench-files/certificate.pem"]);
    }

    #[test]
    fn all_clients_use_the_same_server() {
        let client = case("client-64");
        let words = own("same-core").words(client, "h:1");
        assert_eq!(words[words.len() - 2..], ["--handlers", "inline"]);
        assert_eq!(own("same-core").load_words(client), ["--client=same-core"]);
        let tester = Server::load_tester(Path::new("bin"));
        assert_eq!(tester.words(client, "h:1"), words);
        assert!(matches!(tester.part(client), Part::Cannot(_)));
    }

    #[test]
    fn limits_only_echo_and_the_portable_engine_takes_what_one_process_holds() {
        assert_eq!(own("raw-epoll").part(case("echo-16000")), Part::Takes);
        assert_eq!(own("raw-epoll").part(case("http")), Part::None);
        assert_eq!(own("portable").part(case("echo-16000")), Part::Takes);
        assert_eq!(own("portable-same-core").part(case("idle-100k")), Part::None);
        assert_eq!(own("portable-events").part(case("idle-10k-future")), Part::Takes);
        assert_eq!(own("raw-uring").part(case("json")), Part::Takes);
        assert_eq!(own("raw-uring").part(case("deflate-1")), Part::None);
        assert_eq!(own("events").part(case("broadcast-64-10k")), Part::Takes);
        assert_eq!(own("events").part(case("http")), Part::None);
        assert_eq!(own("inline").part(case("idle-100k")), Part::Takes);
        assert_eq!(own("inline-copies").part(case("files-10m")), Part::Takes);
        assert_eq!(own("inline-copies").part(case("echo-64")), Part::None);
        let plain = |id| own("inline-plain").part(case(id));
        assert_eq!(
            [plain("wss-16k"), plain("wss-handshakes"), plain("echo-64")],
            [Part::Takes, Part::None, Part::None]
        );
    }

    #[test]
    fn every_placement_takes_part_in_every_case_that_it_can_do() {
        use crate::matrix::case::CASES;
        for case in CASES {
            for (name, _, style, _) in OURS {
                let lacks_events = style == "events" && matches!(case.kind, Kind::Http | Kind::Files | Kind::Client);
                let too_many = name.starts_with("portable") && case.connections > CONNECTIONS_PER_RING_MAX;
                let part = if lacks_events || too_many { Part::None } else { Part::Takes };
                assert_eq!(own(name).part(case), part, "{name} in {}", case.id);
            }
        }
    }

    #[test]
    fn peers_do_what_they_list() {
        let list = r#"
            {"name":"a","version":"1.0","cases":["echo","http"],"setting":"s","cannot":{"churn":"it hangs"}}
            {"name":"b","version":"2.0","cases":["http"]}"#;
        let peers = Server::listed(Path::new("bin/peers"), list).unwrap();
        assert_eq!(peers[0].part(case("echo-1")), Part::Takes);
        assert_eq!(peers[0].part(case("churn")), Part::Cannot("it hangs".into()));
        assert_eq!(peers[0].part(case("idle-10k")), Part::None);
        assert_eq!(peers[1].part(case("echo-1")), Part::None);
        let words = peers[0].words(case("echo-1"), "h:1");
        assert_eq!(words, ["bin/peers", "a", "--addr", "h:1", "--dir", "bin/bench-files"]);
        assert_eq!(peers[0].words(case("deflate-1"), "h:1")[6..], ["--deflate=1", "--context=reset"]);
        assert_eq!(peers[0].part(case("deflate-1")), Part::None);
        assert!(Server::listed(Path::new("bin/peers"), "a 1.0").is_err());
    }

    #[test]
    fn commands_of_others_name_the_address() {
        let server = Server::by_command("other", "serve -l {addr}", "").unwrap();
        assert_eq!(server.words(case("http"), "h:1"), ["serve", "-l", "h:1"]);
        assert!(Server::by_command("other", "serve", "").is_err());
        assert_eq!(Server::absent("other", "not built").part(case("http")), Part::Cannot("not built".into()));
    }
}
