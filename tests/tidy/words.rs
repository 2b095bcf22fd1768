//! Words for which the project has another: one word for one thing.
//!
//! CONTRIBUTING.md has the glossary. These are the words it replaced; the test refuses them.

use crate::source::{Text, blank, word_character};

/// A word that is refused, and where it counts.
enum Old {
    /// A whole identifier in code, and in backticks or a block of Rust elsewhere. In prose the word is free.
    Name(&'static str),
    /// A module: in a path, in its declaration and as the name of its file or folder.
    Module(&'static str),
    /// The beginning of a word anywhere, in either case. Each part of an identifier is a word.
    Word(&'static str),
    /// These characters anywhere.
    Exactly(&'static str),
}
use Old::{Exactly, Module, Name, Word};

const EVERYWHERE: &[&str] = &[""];
const PUBLISHED: &[&str] = &["engine/src/", "http/src/", "websocket/src/", "src/", "examples/"];
const SOURCES: &[&str] = &["engine/src/", "http/src/", "websocket/src/", "docs/"];
const ENGINE: &[&str] = &["engine/", "docs/", "benches/micro/"];
const HTTP: &[&str] = &["http/", "docs/"];
const WEBSOCKET: &[&str] = &["websocket/", "docs/", "tests/websocket/", "examples/", "README.md"];

/// The word, the folders and files in which it is refused, and the project's word.
const WORDS: &[(Old, &[&str], &str)] = &[
    // The form of citations.
    (Exactly("9110, section"), EVERYWHERE, "RFC 9110 section"),
    (Exactly("9112, section"), EVERYWHERE, "RFC 9112 section"),
    (Exactly("6455, section"), EVERYWHERE, "RFC 6455 section"),
    // Of other projects.
    (Word("reactor"), PUBLISHED, "worker"),
    (Word("shard"), PUBLISHED, "worker"),
    // The engine.
    (Name("Link"), EVERYWHERE, "ConnShared"),
    (Module("link"), ENGINE, "shared"),
    (Name("is_quiet"), EVERYWHERE, "reader_parked"),
    (Name("tell"), SOURCES, "notify"),
    (Name("told"), SOURCES, "notified"),
    (Name("Tell"), SOURCES, "NeedsWake"),
    (Name("Known"), SOURCES, "AlreadyScheduled"),
    (Name("Hold"), EVERYWHERE, "ExclusiveSender"),
    (Name("hold"), SOURCES, "exclusive"),
    (Name("poll_hold"), EVERYWHERE, "poll_exclusive"),
    (Module("hold"), ENGINE, "exclusive"),
    (Name("Spare"), EVERYWHERE, "BufferPool"),
    (Module("spare"), EVERYWHERE, "buffer_pool"),
    (Name("Wakers"), EVERYWHERE, "Waiters"),
    (Module("wakers"), EVERYWHERE, "waiters"),
    (Name("Announcement"), EVERYWHERE, "SleepFlag"),
    (Module("sys"), ENGINE, "driver"),
    (Name("lend"), SOURCES, "fd_install for a descriptor, recv_ref for a message"),
    (Module("lend"), EVERYWHERE, "fd_install for a descriptor, recv_ref for a message"),
    (Name("lent"), SOURCES, "borrowed"),
    (Name("Lent"), EVERYWHERE, "Borrowed"),
    (Name("Fill"), ENGINE, "BufferSizeHint"),
    (Name("Buffers"), ENGINE, "BufferGroups"),
    (Name("free_or_want"), EVERYWHERE, "take_or_request_notify"),
    (Name("wish"), SOURCES, "notify_on_return"),
    (Name("Walk"), SOURCES, "Delivery"),
    (Name("begin_walk"), EVERYWHERE, "begin_delivery"),
    (Name("Serial"), SOURCES, "MembershipId"),
    (Name("cuts"), SOURCES, "round_boundaries"),
    (Name("submit_receive"), EVERYWHERE, "arm_receive"),
    (Name("Turn"), ENGINE, "WakeScope"),
    (Name("Batch"), ENGINE, "WakeScope"),
    (Module("outbox"), ENGINE, "wake_scope"),
    (Name("Kept"), SOURCES, "Backlog, or owned"),
    (Name("KeptBounds"), EVERYWHERE, "BacklogBounds"),
    (Module("kept"), EVERYWHERE, "backlog"),
    (Module("biased"), ENGINE, "biased_lock"),
    (Name("internals"), EVERYWHERE, "bench_support"),
    (Exactly("\"internals\""), EVERYWHERE, "bench_support"),
    (Exactly("/internals"), EVERYWHERE, "bench_support"),
    (Name("kept_max"), EVERYWHERE, "backlog_max"),
    (Name("outbound_bytes"), EVERYWHERE, "queued_bytes"),
    (Name("Delivered"), &["engine/"], "DeliveryReport"),
    (Name("SlowPolicy"), &["engine/"], "SlowMemberPolicy"),
    (Name("Handle"), &["engine/src/engine/", "engine/src/lib.rs", "engine/tests/"], "RunningHandle"),
    (Exactly("CloseCause::Lifetime "), EVERYWHERE, "LifetimeDeadline"),
    (Exactly("Engine::listen"), EVERYWHERE, "bind"),
    (Exactly("Error::Listen"), EVERYWHERE, "Bind"),
    // HTTP.
    (Name("Channel"), HTTP, "Conn"),
    (Module("channel"), HTTP, "conn"),
    (Name("gather"), HTTP, "coalesce"),
    (Module("gather"), HTTP, "coalesce"),
    (Name("Takeover"), EVERYWHERE, "OnUpgrade"),
    (Exactly("ready(|"), EVERYWHERE, "sync_handler"),
    (Module("one_step"), HTTP, "fast_path"),
    (Name("one_step"), HTTP, "fast_path"),
    (Name("FieldFacts"), EVERYWHERE, "HeaderFacts"),
    (Name("parse_anew"), EVERYWHERE, "parse_fresh"),
    (Name("take_same"), EVERYWHERE, "reuse_last"),
    // WebSocket.
    (Name("attend"), SOURCES, "handler_scope"),
    (Module("attend"), EVERYWHERE, "handler_scope"),
    (Word("attendance"), EVERYWHERE, "HandlerScope"),
    (Exactly("give_back(session"), WEBSOCKET, "return_session"),
    (Name("Serving"), EVERYWHERE, "ConnectionTask for HTTP, WebSocketTask for WebSocket"),
    (Module("serving"), &["engine/", "http/", "websocket/"], "task"),
    (Name("serve_hooked"), EVERYWHERE, "WebSocketTask"),
    (Name("Extras"), EVERYWHERE, "Context"),
    (Name("extras"), EVERYWHERE, "context"),
    (Name("with_extras"), EVERYWHERE, "with_context"),
    (Name("extras_of"), EVERYWHERE, "context_of"),
    (Module("extras"), EVERYWHERE, "context"),
    (Name("Locals"), EVERYWHERE, "Extensions"),
    (Name("locals"), WEBSOCKET, "extensions"),
    (Name("locals_mut"), EVERYWHERE, "extensions_mut"),
    (Module("locals"), EVERYWHERE, "extensions"),
    (Word("outlet"), EVERYWHERE, "frame_queue"),
    (Name("Way"), SOURCES, "MessageWriter"),
    (Name("receive_plain"), EVERYWHERE, "try_short_frame"),
    (Module("plain"), WEBSOCKET, "short_frame"),
    (Name("Rare"), EVERYWHERE, "Cold, or a name by content"),
    (Name("rare"), SOURCES, "cold, or a name by content"),
    (Module("rare"), EVERYWHERE, "a name by content"),
    // The simulated driver settles something else.
    (Name("settle"), &["engine/src/driver/uring/", "websocket/src/"], "free_cold_state_if_idle"),
    (Name("Forms"), EVERYWHERE, "Variants"),
    (Name("DeflatedForm"), EVERYWHERE, "DeflatedVariant"),
    (Name("forms"), WEBSOCKET, "variants"),
    // Elsewhere a form is what a page sends.
    (Name("form"), &["websocket/", "tests/websocket/"], "variant"),
    (Module("forms"), EVERYWHERE, "variants"),
    (Module("failure"), EVERYWHERE, "error"),
    (Module("joined"), EVERYWHERE, "byte_stream"),
    (Name("Joined"), EVERYWHERE, "ByteStream"),
    (Name("BlockingJoined"), EVERYWHERE, "BlockingByteStream"),
    (Name("ConflateByKey"), EVERYWHERE, "Conflate"),
    (Exactly("SlowPolicy::Disconnect"), EVERYWHERE, "CloseTryAgainLater"),
    (Exactly("SlowPolicy::Close "), EVERYWHERE, "Abort"),
    (Name("Refusal"), WEBSOCKET, "HandlerError::close"),
    (Name("RouteError"), EVERYWHERE, "a panic: a wrong route is a mistake in the program"),
    (Module("deflated_send"), EVERYWHERE, "send_deflated"),
    (Name("RequestError"), &["websocket/src/handshake/"], "a name that HTTP does not have, such as OfferError"),
];

/// The files that must name the old words.
const EXEMPT: &[&str] = &["tests/tidy/words.rs", "CHANGELOG.md"];

/// What is read: code, documents, manifests and scripts.
const KINDS: &[&str] = &[".rs", ".md", ".toml", ".sh"];

/// Words that the project has replaced.
pub fn replaced(file: &Text) -> Vec<String> {
    if EXEMPT.contains(&file.path.as_str()) || !KINDS.iter().any(|kind| file.path.ends_with(kind)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut complain = |number, old, ours| {
        found.push(file.complain(number, &format!("`{old}`: the word here is `{ours}`")));
    };
    let words: Vec<_> =
        WORDS.iter().filter(|(_, places, _)| places.iter().any(|place| file.path.starts_with(place))).collect();
    for (old, _, ours) in &words {
        if let Module(name) = old
            && file.path.split(['/', '.']).any(|part| part == *name)
        {
            complain(1, *name, *ours);
        }
    }
    for (number, line, code) in lines(file) {
        for (old, _, ours) in &words {
            let (name, is_there) = match *old {
                Name(name) => (name, has_name(&code, name)),
                Module(name) => (name, has_module(&code, name)),
                Word(word) => (word, has_word(line, word)),
                Exactly(text) => (text, line.contains(text)),
            };
            if is_there {
                complain(number, name, ours);
            }
        }
    }
    found
}

/// The lines of `file` with their numbers, whole and reduced to what may be identifiers: code, and the text in
/// backticks.
fn lines(file: &Text) -> Vec<(usize, &str, String)> {
    let is_rust = file.path.ends_with(".rs");
    let code = if is_rust { file.code() } else { Vec::new() };
    let mut code = code.into_iter();
    let mut in_rust_block = false;
    let mut in_glossary = false;
    let mut lines = Vec::new();
    for (number, line) in file.lines() {
        let mut names = code.next().unwrap_or_default();
        if !is_rust && line.starts_with("```") {
            in_rust_block = line.starts_with("```rust");
        } else if in_rust_block {
            names.push_str(&blank(line));
        } else {
            if line.starts_with('#') {
                in_glossary = file.path == "CONTRIBUTING.md" && line.ends_with("Glossary");
            }
            let prose = if is_rust { line.find("//").map_or("", |at| &line[at..]) } else { line };
            for quoted in prose.split('`').skip(1).step_by(2) {
                names.push(' ');
                names.push_str(quoted);
            }
        }
        if !in_glossary {
            lines.push((number, line, names));
        }
    }
    lines
}

fn has_name(code: &str, name: &str) -> bool {
    occurrences(code, name).next().is_some()
}

fn has_module(code: &str, name: &str) -> bool {
    occurrences(code, name).any(|(before, after)| {
        let in_path = ["crate::", "super::", "self::"].iter().any(|start| before.ends_with(start));
        let declared = before.ends_with("mod ");
        // In the middle of a path it is another module's or another crate's.
        let opens = after.starts_with("::") && !before.ends_with("::");
        in_path || declared || opens
    })
}

/// What stands before and after each place where `name` is a whole identifier.
fn occurrences<'a>(code: &'a str, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    code.match_indices(name)
        .map(move |(at, _)| (&code[..at], &code[at + name.len()..]))
        .filter(|(before, after)| !before.ends_with(word_character) && !after.starts_with(word_character))
}

/// Does a word of `line` start with `word`, which is in lower case?
fn has_word(line: &str, word: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    lower.match_indices(word).any(|(at, _)| {
        let in_camel_case = line[..at].ends_with(char::is_lowercase) && line[at..].starts_with(char::is_uppercase);
        in_camel_case || !line[..at].ends_with(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, content: &str) -> Vec<String> {
        replaced(&Text { path: path.to_owned(), content: content.to_owned() })
    }

    /// `bad` gets one complaint in a file of this name, and `good` none.
    fn tells_apart(path: &str, bad: &str, good: &str) {
        assert_eq!(complaints(path, bad).len(), 1, "{bad}");
        assert_eq!(complaints(path, good), Vec::<String>::new(), "{good}");
    }

    #[test]
    fn names_are_whole_identifiers() {
        let good = "let links = Linked::new(\"Link\"); // Link\n/// Link it: `Linked`";
        for bad in ["let a = Link::new();", "fn a(b: &Link) {}", "/// A [`Link`].", "a // of a `Link`"] {
            tells_apart("engine/src/a.rs", bad, good);
        }
        tells_apart("docs/a.md", "The `Link` of a worker.", "A Link: see `Linked`.\n```text\nLink\n```");
        tells_apart("docs/a.md", "```rust\nlet a = Link;\n```", "```rust\nlet a = \"Link\"; // Link\n```\nA Link.");
    }

    #[test]
    fn modules_are_named_in_paths() {
        let good = "let spare = a.spare(); // a spare buffer\nuse other::spare::A;";
        for bad in ["mod spare;", "use crate::spare;", "spare::take();", "use super::{a, spare::take};"] {
            tells_apart("engine/src/a.rs", bad, good);
        }
        assert_eq!(complaints("engine/src/spare.rs", "").len(), 1);
        assert_eq!(complaints("engine/src/spare/a.rs", "").len(), 1);
        assert_eq!(complaints("http/src/sys/a.rs", ""), Vec::<String>::new());
    }

    #[test]
    fn words_begin_a_part_of_an_identifier() {
        let good = "struct Sharpened; // a worker, harder, of postshards";
        for bad in ["struct Reactor;", "// each shard", "let my_shard = 1;", "struct OfShards;", "\"sharded\""] {
            tells_apart("engine/src/a.rs", bad, good);
        }
        assert_eq!(complaints("benches/a.rs", "// each shard"), Vec::<String>::new());
    }

    #[test]
    fn texts_are_found_anywhere() {
        tells_apart("benches/Cargo.toml", "features = [\"internals\"]", "# its internals");
        tells_apart("examples/a.rs", "ready(|_| a)", "ready(a)");
    }

    #[test]
    fn the_glossary_and_the_changelog_name_the_old_words() {
        let content = "## Glossary\n| `Link` | outlet |\n";
        assert_eq!(complaints("CONTRIBUTING.md", content), Vec::<String>::new());
        assert_eq!(complaints("CONTRIBUTING.md", &format!("{content}## Tests\nA `Link`.")).len(), 1);
        assert_eq!(complaints("CHANGELOG.md", content), Vec::<String>::new());
    }
}
