//! Tests of the program: its exit codes and its output.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};

use tidegate_benches::report;

use crate::servers::{WebSocket, server, websocket_echo};

fn load(address: SocketAddr, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(["--addr", &address.to_string(), "--seconds", "0.1", "--warmup", "0.02"]).args(words);
    command.output().unwrap()
}

/// Returns the exit code, and whether standard output is empty.
fn fails(address: SocketAddr, words: &[&str]) -> (Option<i32>, bool) {
    let output = load(address, words);
    assert!(!output.stderr.is_empty(), "{words:?} failed without a message");
    (output.status.code(), output.stdout.is_empty())
}

#[test]
fn a_correct_server_gives_one_line_of_json_with_the_keys_of_every_mode() {
    const KEYS: [&str; 13] = [
        "connections",
        "seconds",
        "rate_per_s",
        "p50_us",
        "p90_us",
        "p99_us",
        "p999_us",
        "p9999_us",
        "max_us",
        "client_cpu_us",
        "client_utilisation",
        "server_cpu_us",
        "disturbance",
    ];
    let pid = std::process::id().to_string();
    for mode in ["echo", "churn", "idle"] {
        let words = ["--mode", mode, "--connections", "4", "--server-pid", &pid];
        let output = load(server(websocket_echo), &words);
        assert!(output.status.success(), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
        let json = String::from_utf8(output.stdout).unwrap();
        assert_eq!((json.lines().count(), output.stderr.iter().filter(|byte| **byte == b'\n').count()), (1, 1));
        assert!(json.starts_with(&format!("{{\"mode\":\"{mode}\",")) && json.contains("\"client_bound\":"), "{json}");
        for key in KEYS {
            assert!(report::number(&json, key).is_some(), "{mode}: no {key} in {json}");
        }
    }
}

#[test]
fn the_exit_code_is_1_for_a_wrong_server_and_2_for_a_silent_one_in_every_mode() {
    let closes = server(|mut stream| stream.read(&mut [0; 10]).map(drop));
    for mode in ["echo", "broadcast", "http", "churn", "idle"] {
        assert_eq!(fails(closes, &["--mode", mode, "--connections", "2"]), (Some(1), true), "{mode}");
    }
    let upgrades = server(|stream| {
        let mut websocket = WebSocket::accept(stream)?;
        let mut pong = websocket.read()?;
        if pong[0] == 0x89 {
            pong[0] = 0x8a;
            websocket.stream.write_all(&pong)?;
        }
        io::copy(&mut websocket.reader, &mut io::sink()).map(drop)
    });
    let hears = server(|mut stream| io::copy(&mut stream, &mut io::sink()).map(drop));
    let silent =
        [("echo", upgrades), ("broadcast", upgrades), ("churn", upgrades), ("idle", upgrades), ("http", hears)];
    for (mode, address) in silent {
        let words = ["--mode", mode, "--connections", "2", "--stall", "0.2"];
        assert_eq!(fails(address, &words), (Some(2), true), "{mode}");
    }
}

#[test]
fn the_exit_code_is_64_for_wrong_options() {
    let address = ([127, 0, 0, 1], 9).into();
    let mistakes: [&[&str]; 8] = [
        &["--mode", "wash"],
        &["--mode", "http", "--size", "3"],
        &["--mode", "churn", "--depth", "3"],
        &["--burst", "3"],
        &["--rate", "10", "--sliding"],
        &["--text", "--json"],
        &["--deflate", "reset"],
        &["--deflate", "reset", "--json", "--protocol", "tcp"],
    ];
    for words in mistakes {
        assert_eq!(fails(address, words), (Some(64), true), "{words:?}");
    }
}

#[test]
fn a_reader_that_has_gone_ends_a_program_quietly() {
    let address = server(websocket_echo).to_string();
    let load = ["--addr", &address, "--connections", "1", "--seconds", "0.1", "--warmup", "0"];
    for (program, words) in [(env!("CARGO_BIN_EXE_load"), &load[..]), (env!("CARGO_BIN_EXE_bench"), &["--list"])] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let child = Command::new(program).args(words).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(libc::SIGPIPE), "{words:?}: {}: {errors}", output.status);
        assert!(!errors.contains("panicked"), "{words:?}: {errors}");
    }
}

/// A file as `bench` writes it, with the conditions of older ones. The distances are those of the cores.
fn results(distances: &str) -> String {
    let run = |server: &str, rate: u32| {
        format!(
            r#"{{"case":"echo-64","server":"{server}","round":1,{distances}
                "outcome":{{"measured":{{"rate_per_s":{rate},"server_cpu_us":4.0}}}}}}"#
        )
    };
    let server =
        |name: &str, group: &str| format!(r#"{{"name":"{name}","group":"{group}","version":"","setting":""}}"#);
    format!(
        r#"{{"conditions":{{"date":"d; e","tidegate":"1 at a","processor":"p","memory":"m","kernel":"k","rustc":"r",
            "flags":"f","congestion_control":"c","open_files":"9","load_average":"1; 2","command":"b; b --only echo"}},
            "servers":[{},{}],"runs":[{},{}]}}"#,
        server("raw-uring", "limit"),
        server("inline", "ours"),
        run("raw-uring", 200),
        run("inline", 150)
    )
}

#[test]
fn saved_results_are_shown_with_and_without_the_distance_of_the_cores() {
    let shown = |name: &str, distances: &str, words: &[&str]| {
        let file = std::env::temp_dir().join(format!("tidegate-{name}-{}.json", std::process::id()));
        std::fs::write(&file, results(distances)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("--from").arg(&file).args(words).output().unwrap();
        std::fs::remove_file(file).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let old = shown("old", "", &["--near", "55"]);
    assert!(old.contains("Tidegate inline") && old.contains("0.75") && !old.contains("cores ns"), "{old}");
    assert!(old.contains("  d     1 at a    1 ") && old.contains("  e     1 at a    2 "), "{old}");
    let near = shown("near", r#""cores_ns":[300.0,310.0],"#, &[]);
    assert!(near.contains("cores ns") && near.contains("310\n"), "{near}");
    let far = shown("far", r#""cores_ns":[300.0,310.0],"#, &["--near", "55"]);
    assert!(far.contains("310 far\n") && far.contains("all runs had far cores"), "{far}");
}
