//! The examples, as programs of their own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::client::{Client, TEXT, close_frame};

/// Bug 8: no 1001 on SIGTERM.
#[test]
fn the_echo_example_says_1001_on_sigterm_and_ends_well() {
    let program = example("echo");
    for (engine, handlers) in [("uring", "same-core"), ("uring", "inline"), ("std", "same-core")] {
        println!("on {engine}/{handlers}");
        let arguments = ["--addr", "127.0.0.1:0", "--engine", engine, "--handlers", handlers, "--workers", "2"];
        let mut child = Command::new(&program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line
            .split(|c: char| c.is_whitespace() || c == ',')
            .find_map(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        let mut clients: Vec<_> = (0..8).map(|_| Client::open(address)).collect();
        clients[0].check_echo(TEXT, b"up");
        terminate(&child);
        for client in &mut clients {
            client.expect_close(1001);
        }
        for mut client in clients {
            client.write(&close_frame(1001, ""));
            client.expect_end();
        }
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0));
        let rest: Vec<_> = output.lines().map_while(Result::ok).collect();
        assert!(matches!(&rest[..], [line] if line.ends_with(" connections drained, 0 reset")), "{rest:?}");
    }
}

#[test]
fn the_idle_example_holds_its_web_sockets_and_each_answers() {
    let output = Command::new(example("idle")).args(["--connections", "300"]).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("300 WebSockets after each answered a ping: "), "{text}");
}

fn terminate(child: &Child) {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// The program of an example, built from the sources as they are, beside this test's own.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).expect("<target>/<profile>/deps/<test>");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--example",
        name,
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    cargo.arg("--target-dir").arg(profile.parent().expect("<target>"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "the example {name} does not build");
    profile.join("examples").join(name)
}
