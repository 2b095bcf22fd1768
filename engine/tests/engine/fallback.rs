//! Where io_uring is missing or forbidden: std sockets with one log line, or an error that helps.

use std::sync::Mutex;

use log::{Level, Log, Metadata, Record};
use tidegate_engine::{Config, Engine, EngineKind, Error};

use crate::support::*;

/// Keeps the lines of level warning and above, and the one that says what runs.
struct Lines(Mutex<Vec<(Level, String)>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.target().starts_with("tidegate") {
            self.0.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn config(kind: EngineKind) -> Config {
    let mut config = Config::default();
    config.engine = kind;
    config.workers = 2;
    config.pin = false;
    config
}

/// In a process where io_uring_setup answers `errno`: what each kind of engine does, and that the reason holds `word`.
fn check_without_io_uring(errno: i32, word: &str) {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    seccomp::forbid_io_uring(errno);

    let engine = Engine::new(config(EngineKind::Uring)).listen("127.0.0.1:0").unwrap();
    let error = engine.start(echo).unwrap_err();
    assert!(matches!(&error, Error::UringUnavailable { reason } if reason.contains(word)), "{error}");
    assert!(error.to_string().contains("EngineKind::Std"), "says what to do: {error}");
    assert!(LINES.0.lock().unwrap().is_empty(), "an error is returned, not logged");

    let (running, address) = start(config(EngineKind::Auto), echo);
    assert!(running.summary().contains("std sockets"), "{}", running.summary());
    for _ in 0..8 {
        check_echo(&mut connect(address), &pattern(100_000));
    }
    finish(running);
    let lines = std::mem::take(&mut *LINES.0.lock().unwrap());
    let warnings: Vec<_> = lines.iter().filter(|(level, _)| *level <= Level::Warn).collect();
    assert!(warnings.len() == 1 && warnings[0].1.contains(word), "one line, with the reason: {lines:?}");

    // Asked for by name there is nothing to remark.
    let (running, address) = start(config(EngineKind::Std), echo);
    check_echo(&mut connect(address), b"std");
    finish(running);
    assert!(LINES.0.lock().unwrap().iter().all(|(level, _)| *level > Level::Warn));
}

#[test]
fn forbidden_by_a_filter() {
    child::in_child("fallback::forbidden_by_a_filter", || check_without_io_uring(libc::EPERM, "forbidden"));
}

#[test]
fn missing_from_the_kernel() {
    child::in_child("fallback::missing_from_the_kernel", || check_without_io_uring(libc::ENOSYS, "no usable io_uring"));
}

/// Where io_uring can be had, nothing is remarked and the features in use are told.
#[test]
fn auto_means_io_uring_where_it_can_be_had() {
    child::in_child("fallback::auto_means_io_uring_where_it_can_be_had", || {
        log::set_logger(&LINES).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        let by_name = Engine::new(config(EngineKind::Uring)).listen("127.0.0.1:0").unwrap().start(echo);
        let expected = if by_name.is_ok() { "io_uring (" } else { "std sockets" };
        let (running, address) = start(config(EngineKind::Auto), echo);
        assert!(running.summary().contains(expected), "{}", running.summary());
        let told = format!("listening: {}", running.summary());
        assert!(LINES.0.lock().unwrap().contains(&(Level::Info, told)));
        check_echo(&mut connect(address), b"auto");
        finish(running);
        by_name.map(finish).unwrap_or_default();
    });
}
