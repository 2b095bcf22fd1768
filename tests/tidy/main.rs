//! The house rules that no compiler checks, as a test.
//!
//! Each rule is a function from one file to complaints; the test at the end of this file applies all of them to the
//! whole checkout and shows every complaint at once. A rule that is wrong in a place gets an entry in one of the lists
//! below, with the reason, and an entry that has become needless is itself a complaint.

mod imports;
mod layers;
mod rules;
mod source;
mod words;

use source::{Files, Text};

/// Rust files longer than this hold two things.
const SOURCE_LINES_MAX: usize = 500;

/// The most columns of a comment, as of code (`max_width` in rustfmt.toml).
const COMMENT_COLUMNS_MAX: usize = 120;

/// The most Rust files in one folder of a published crate, subfolders not counted.
const FOLDER_FILES_MAX: usize = 20;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Where `unsafe` may stand, as a file or, with a slash at its end, a folder, and why.
const UNSAFE_PLACES: &[(&str, &str)] = &[
    ("engine/src/address.rs", "an address in place of a pointer, in one word of each connection"),
    ("engine/src/driver/", "system calls and memory shared with the kernel"),
    ("engine/src/engine/signals.rs", "signal dispositions and the handler of two signals"),
    (
        "engine/src/executor/mod.rs",
        "futures that stay on one thread and need not be `Send`, and the catch of a panic in their destructors",
    ),
    ("engine/src/shared/ready_queue.rs", "one block: a waker that is a number and owns nothing"),
    ("engine/src/shared/lease.rs", "the part of the mapped pages that a lease alone may touch"),
    ("engine/src/util/biased_lock.rs", "a lock whose owner enters without atomic operations, and membarrier(2)"),
    ("engine/src/util/contained.rs", "one block: a drop of the application's value inside a catch of its panic"),
    ("engine/src/util/pages.rs", "memory mapped from the kernel"),
    ("engine/src/util/prefetch.rs", "one block: a hint to the processor"),
    ("engine/src/util/task.rs", "a task in one block of memory, with wakers, whose future one thread alone touches"),
    (
        "websocket/src/serve/task.rs",
        "one block: the future of a handler borrows from the handler, and the task keeps the two together",
    ),
    (
        "websocket/src/utf8/text.rs",
        "one block: text that was checked when it arrived is not checked again when it is read",
    ),
    (
        "websocket/src/frame/mask.rs",
        "code compiled for vectors that the processor was seen to have, and a copy into the spare capacity of a vector",
    ),
    (
        "engine/tests/engine/support/seccomp.rs",
        "a system-call filter, to show what happens where io_uring is forbidden",
    ),
    (
        "websocket/tests/protocol/memory.rs",
        "a global allocator that counts, to show that a claimed length allocates nothing",
    ),
    ("benches/", "the raw limits it measures are written against the kernel's interface; never published"),
];

/// Which of our crates each crate may depend on: engine, then http, then websocket, then the facade.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("engine/Cargo.toml", &[]),
    ("http/Cargo.toml", &["tidegate-engine"]),
    ("websocket/Cargo.toml", &["tidegate-engine", "tidegate-http"]),
    ("Cargo.toml", &["tidegate-engine", "tidegate-http", "tidegate-websocket"]),
];

#[test]
fn the_checkout_is_tidy() {
    let files = Files::of_the_checkout();
    if files.iter().any(|file| file.path == "Cargo.toml.orig") {
        println!("this is a published package, not the checkout: nothing to check");
        return;
    }
    assert!(files.iter().any(|file| file.path == "engine/src/lib.rs"), "the walk does not find the sources");
    let mut complaints = Vec::new();
    for file in files.iter() {
        complaints.extend(check(file));
    }
    complaints.extend(imports::directions(&files, layers::LAYERS, layers::CIRCLES));
    complaints.extend(rules::folder_sizes(&files));
    complaints.extend(rules::named_tests(&files));
    complaints.extend(rules::named_functions(&files));
    complaints.extend(rules::named_layers(&files));
    complaints.extend(rules::needless_exceptions(&files));
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// Every rule that applies to `file`.
fn check(file: &Text) -> Vec<String> {
    let mut complaints = rules::machine_paths(file);
    complaints.extend(words::replaced(file));
    if file.path.ends_with(".rs") {
        complaints.extend(rules::length(file));
        complaints.extend(rules::comment_width(file));
        complaints.extend(rules::file_name(file));
        complaints.extend(rules::left_behind(file));
        complaints.extend(rules::commented_out(file));
        complaints.extend(rules::getters(file));
        complaints.extend(rules::unsafe_places(file));
        complaints.extend(rules::waiting(file));
    }
    if file.path.ends_with("Cargo.toml") {
        complaints.extend(rules::manifest(file));
    }
    if file.path.ends_with("-lock.json") {
        complaints.extend(rules::registry_hosts(file));
    }
    complaints
}
