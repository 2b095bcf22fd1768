//! The example `http`, used by other projects' HTTP clients.

mod support {
    pub mod example;
    pub mod peers;
}

use std::process::Command;

use support::example::Example;
use support::peers;

/// Runs a client against the example on both engines, with handlers on the worker's thread and on another.
fn against_the_example(client: impl Fn(&str)) {
    for engine in ["uring", "portable"] {
        for handlers in ["inline", "same-core"] {
            println!("on {engine} with handlers {handlers}");
            let arguments = ["--engine", engine, "--handlers", handlers, "--workers", "1"];
            let example = Example::start("http", &[&arguments[..], &["--trusted-proxy", "127.0.0.1"]].concat());
            client(&format!("http://{}", example.address));
            example.finish();
        }
    }
}

#[test]
fn python_requests_httpx_and_aiohttp() {
    against_the_example(|url| peers::run("http_client.py", &[url]));
}

#[test]
fn node_fetch() {
    against_the_example(|url| peers::run("http_client.mjs", &[url]));
}

/// Runs curl, and returns what it prints.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["--silent", "--show-error", "--max-time", "30"]).args(arguments).output();
    let output = output.expect("curl is installed");
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn curl_uses_every_route() {
    against_the_example(|url| {
        let at = |path: &str| format!("{url}{path}");
        assert_eq!(curl(&[&at("/plaintext")]), "Hello, World!");
        assert_eq!(curl(&["--get", "--data-urlencode", "name=a & b", &at("/json")]), r#"{"hello":"a & b"}"#);
        let json = ["--header", "Content-Type: application/json", "--data", r#"{"a":1}"#];
        assert_eq!(curl(&[&json[..], &[&at("/json")]].concat()), r#"{"a":1}"#);
        let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
        assert_eq!(curl(&[&status[..], &["--data", "{}", &at("/json")]].concat()), "415");
        assert_eq!(curl(&["--data", "a=b+c", &at("/form")]), r#"[{"name":"a","file":null,"bytes":3}]"#);
        let form = ["--form", "text=hello", "--form", "file=@Cargo.toml"];
        let fields: serde_json::Value =
            serde_json::from_str(&curl(&[&form[..], &[&at("/form")]].concat())).expect("JSON");
        assert_eq!(fields[1]["file"], "Cargo.toml");
        assert_eq!(fields[1]["bytes"], include_str!("../Cargo.toml").len());
        let twice = ["--cookie", "", &at("/cookie"), &at("/cookie")];
        assert_eq!(curl(&twice), "visit 1\nvisit 2\n");
        assert!(curl(&["--location", &at("/redirect")]).starts_with("<!doctype html>"));
        let events = curl(&["--no-buffer", "--header", "Last-Event-ID: 0", &at("/events?n=3")]);
        assert_eq!(events, "data: event 1\nid: 1\n\ndata: event 2\nid: 2\n\n");
        assert_eq!(curl(&[&at("/slow?seconds=0")]), "waited 0 s\n");
        let client = curl(&["--header", "X-Forwarded-For: 6.6.6.6, 192.0.2.7", &at("/client")]);
        assert!(client.contains(r#""address":"192.0.2.7""#), "{client}");
        assert_eq!(curl(&[&status[..], &[&at("/panic")]].concat()), "500");
        assert!(curl(&[&at("/metrics")]).contains("# TYPE tidegate_accepted_total counter\n"));
        assert_eq!(curl(&["--data-binary", "@Cargo.toml", &at("/echo")]), include_str!("../Cargo.toml"));
    });
}

#[test]
fn curl_speaks_the_proxy_protocol() {
    let example = Example::start("http", &["--proxy-protocol", "--trusted-proxy", "127.0.0.0/8"]);
    let url = format!("http://{}/client", example.address);
    let answer = curl(&["--haproxy-protocol", &url]);
    assert!(answer.contains(r#""proxy_protocol":"127.0.0.1""#), "{answer}");
    let refused =
        Command::new("curl").args(["--silent", "--max-time", "30", &url]).output().expect("curl is installed");
    assert!(!refused.status.success(), "without a header");
    example.finish();
}
