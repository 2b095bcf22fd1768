//! Runs the example `idle` as a program, with each of its options.

#[path = "../../tests/support/example.rs"]
#[expect(dead_code, reason = "only the path of the program is needed")]
mod example;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};

use example::program;

fn idle(arguments: &[&str]) -> Output {
    Command::new(program("idle")).args(arguments).output().unwrap()
}

/// Returns what the example prints.
fn printed(arguments: &[&str]) -> String {
    let output = idle(arguments);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    text.into_owned()
}

#[test]
fn every_web_socket_answers_in_each_style() {
    for style in ["async", "boxed", "events"] {
        let text = printed(&["--connections", "300", "--style", style, "--future-bytes", "4096"]);
        assert!(text.contains("opened 300 in "), "{style}: {text}");
        for part in ["when open: ", "after each answered a ping: "] {
            assert!(text.contains(&format!("300 WebSockets {part}")), "{style}: {text}");
        }
        assert!(text.contains("  blocks each: ") && text.contains("the client process takes "), "{style}: {text}");
    }
}

/// Short windows for the active ones.
const WINDOWS: [&str; 4] = ["--windows", "3", "--window-seconds", "0.02"];

#[test]
fn active_ones_are_measured_alone_and_beside_the_idle_ones() {
    let arguments = ["--connections", "300", "--active", "10", "--handlers", "inline"];
    let text = printed(&[&arguments[..], &WINDOWS].concat());
    for place in ["alone", "beside the idle ones"] {
        let (_, after) = text.split_once(&format!("round trips of 10 active WebSockets {place}, ")).unwrap();
        let lines: Vec<&str> = after.lines().take(5).collect();
        assert_eq!(lines[0], "3 windows of 0.02 s:");
        assert!(lines[1..4].iter().all(|line| line.contains(" per second, p50 ")), "{text}");
        assert!(lines[4].starts_with("  medians: ") && lines[4].contains(", p99 "), "{text}");
    }
    assert!(text.contains("opened 290 in ") && text.contains("  their median p99 is "), "{text}");
}

#[test]
fn a_broadcast_reaches_all() {
    for engine in ["uring", "portable"] {
        let arguments = ["--connections", "300", "--style", "events", "--broadcast", "--engine", engine];
        let text = printed(&arguments);
        assert!(text.contains("broadcast to 300 WebSockets received in "), "{engine}: {text}");
    }
}

#[test]
fn unix_domain_sockets_serve_too() {
    let text = printed(&[&["--connections", "300", "--unix", "--active", "10", "--broadcast"], &WINDOWS[..]].concat());
    assert!(text.contains("opened 290 in ") && text.contains("broadcast to 300 WebSockets received in "), "{text}");
}

#[test]
fn workers_and_waves_can_be_chosen() {
    let text = printed(&["--connections", "200", "--workers", "5", "--client-threads", "3", "--opening", "7"]);
    assert!(text.contains("\n5 workers started in ") && text.contains("opened 200 in "), "{text}");
}

#[test]
fn unknown_styles_and_sizes_are_refused() {
    for (option, value, answer) in [
        ("--style", "event", "invalid value \"event\" for --style: must be async, boxed or events"),
        ("--future-bytes", "4000", "--future-bytes 4000 must be 0, 1024, 4096 or 16384"),
        ("--windows", "0", "invalid value \"0\" for --windows: must be 1 to 100"),
        ("--window-seconds", "61", "invalid value \"61\" for --window-seconds: must be 0.01 to 60"),
    ] {
        let output = idle(&["--connections", "1", option, value]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{option} {value}: {errors}");
        assert!(errors.contains(answer), "{errors}");
    }
}

/// A part of them would wait until the client gives up.
#[test]
fn more_connections_than_the_portable_engine_holds_are_refused() {
    let output = idle(&["--connections", "3000000000", "--engine", "portable"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--connections 3000000000 does not fit "), "{errors}");
}

#[test]
fn a_client_that_cannot_connect_says_so() {
    let output = idle(&["client", "127.0.0.1:1", "1", "1"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("a client has 4 arguments"));
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(program("idle"));
    command.args(["--connections", "10"]).stdout(writer).stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.signal(), output.stderr), (Some(libc::SIGPIPE), Vec::new()));
}
