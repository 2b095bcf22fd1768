//! Where io_uring is missing, too old or forbidden: the portable engine with one log line, or a helpful error.

use std::net::SocketAddr;

use log::Level;
use tidegate_engine::{Config, Engine, EngineKind, Error};

use crate::support::child::Child;
use crate::support::*;

fn config(kind: EngineKind) -> Config {
    Config::default().engine(kind).workers(2).pin(false)
}

/// Checks each kind of engine in a process where `call` fails with `errno`, and that the reason contains `word`.
fn check_without_io_uring(call: libc::c_long, errno: i32, word: &str) {
    let log = Lines::collect();
    seccomp::forbid(call, errno);

    let engine = Engine::new(config(EngineKind::Uring)).bind("127.0.0.1:0").unwrap();
    let error = engine.start(echo).unwrap_err();
    assert!(matches!(&error, Error::UringUnavailable { reason, .. } if reason.contains(word)), "{error}");
    assert!(error.to_string().contains("EngineKind::Portable"), "the error names the alternative: {error}");
    assert!(log.all().is_empty(), "an error is returned, not logged");

    let (running, address) = start(config(EngineKind::Auto), echo);
    assert!(running.summary().contains("portable"), "{}", running.summary());
    for _ in 0..8 {
        check_echo(&mut connect(address), &pattern(100_000));
    }
    finish(running);
    let lines = log.take();
    let warnings: Vec<_> = lines.iter().filter(|(level, _)| *level <= Level::Warn).collect();
    assert!(warnings.len() == 1 && warnings[0].1.contains(word), "one line, with the reason: {lines:?}");

    // Asked for by name there is nothing to warn of.
    let (running, address) = start(config(EngineKind::Portable), echo);
    check_echo(&mut connect(address), b"portable");
    finish(running);
    assert!(log.all().iter().all(|(level, _)| *level > Level::Warn));
}

#[test]
fn forbidden_by_a_filter() {
    child::in_child("fallback::forbidden_by_a_filter", || {
        check_without_io_uring(libc::SYS_io_uring_setup, libc::EPERM, "forbidden");
    });
}

#[test]
fn missing_from_the_kernel() {
    child::in_child("fallback::missing_from_the_kernel", || {
        check_without_io_uring(libc::SYS_io_uring_setup, libc::ENOSYS, "Linux 6.1 or later is required");
    });
}

/// Kernels before 6.1 have io_uring, but refuse the required flags.
#[test]
fn older_than_linux_6_1() {
    child::in_child("fallback::older_than_linux_6_1", || {
        check_without_io_uring(libc::SYS_io_uring_setup, libc::EINVAL, "Linux 6.1 or later is required");
    });
}

/// The ring can be set up, but its receive buffers are refused.
#[test]
fn a_needed_feature_is_refused() {
    child::in_child("fallback::a_needed_feature_is_refused", || {
        check_without_io_uring(libc::SYS_io_uring_register, libc::EINVAL, "Linux 6.1 has all of them");
    });
}

/// The trial needs no eventfd, but each worker does.
#[test]
fn an_eventfd_is_refused() {
    child::in_child("fallback::an_eventfd_is_refused", || {
        check_without_io_uring(libc::SYS_eventfd2, libc::EPERM, "eventfd is forbidden");
    });
}

/// Rings can be set up, but not entered.
#[test]
fn entering_a_ring_is_refused() {
    child::in_child("fallback::entering_a_ring_is_refused", || {
        check_without_io_uring(libc::SYS_io_uring_enter, libc::EPERM, "forbidden");
    });
}

#[test]
fn the_locked_memory_limit_is_too_low() {
    child::in_child("fallback::the_locked_memory_limit_is_too_low", || {
        check_without_io_uring(libc::SYS_io_uring_setup, libc::ENOMEM, "ulimit -l");
    });
}

/// A limit that the trial and the first rings keep, but not the last ring: trying its features takes two descriptors
/// for a moment. The workers and sockets of the first attempt are gone, so the other engine has room.
#[test]
fn a_later_ring_is_refused() {
    const NAME: &str = "fallback::a_later_ring_is_refused";
    // The standard streams, a listener and two more for each worker, and one for a connection.
    const LIMIT: usize = 3 + 16 * 3 + 1;
    if !child::is_child(NAME) {
        let mut child = Child::start(NAME, Some(LIMIT + child::inherited_files(LIMIT)));
        let address: SocketAddr = child.answer().parse().unwrap();
        check_echo(&mut connect(address), b"portable");
        return child.finish();
    }
    let log = Lines::collect();
    let (running, address) = start(config(EngineKind::Auto).workers(16), echo);
    let summary = running.summary();
    assert!(summary.contains("portable") && summary.contains("workers=16 "), "{summary}");
    let promised = summary.split("connections_max=").nth(1).unwrap();
    let promised: usize = promised.split(' ').next().unwrap().parse().unwrap();
    assert!((16..LIMIT).contains(&promised), "{summary}");
    child::answer(address);
    wait_until("the client to leave", || total(&running).closed_total == 1);
    finish(running);
    let lines = log.take();
    let warnings: Vec<_> = lines.iter().filter(|(level, _)| *level <= Level::Warn).collect();
    assert!(warnings.len() == 1 && warnings[0].1.contains("ulimit -n"), "one line, with the limit: {lines:?}");
    let error =
        Engine::new(config(EngineKind::Uring).workers(16)).bind("127.0.0.1:0").unwrap().start(echo).unwrap_err();
    assert!(error.to_string().contains("io_uring") && error.to_string().contains("ulimit -n"), "{error}");
}

/// Where io_uring works, nothing is logged as a warning and the summary names the features in use.
#[test]
fn auto_means_io_uring_where_it_works() {
    child::in_child("fallback::auto_means_io_uring_where_it_works", || {
        let log = Lines::collect();
        let by_name = Engine::new(config(EngineKind::Uring)).bind("127.0.0.1:0").unwrap().start(echo);
        let expected = if by_name.is_ok() { "io_uring" } else { "portable" };
        let (running, address) = start(config(EngineKind::Auto), echo);
        assert!(running.summary().contains(expected), "{}", running.summary());
        let line = format!("listening: {}", running.summary());
        assert!(log.all().contains(&(Level::Info, line)));
        check_echo(&mut connect(address), b"auto");
        finish(running);
        by_name.map(finish).unwrap_or_default();
    });
}
