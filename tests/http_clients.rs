//! The example `http`, used by other projects' HTTP clients.

mod support {
    pub mod example;
    pub mod peers;
    pub mod site;
}

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::example::Example;
use support::peers;
use support::site;

const HANDLERS: [&str; 2] = ["inline", "same-core"];

/// Runs a client against the example on both engines, with handlers on the worker's thread and on another. The client
/// gets the example's URL and the folder that it serves.
fn against_the_example(handlers: &[&str], client: impl Fn(&str, &Path)) {
    let folder = site::folder();
    for engine in ["uring", "portable"] {
        for handlers in handlers {
            println!("on {engine} with handlers {handlers}");
            let arguments = ["--engine", engine, "--handlers", handlers, "--workers", "1", "--dir", text(folder)];
            let example = Example::start("http", &[&arguments[..], &["--trusted-proxy", "127.0.0.1"]].concat());
            client(&format!("http://{}", example.address), folder);
            example.finish();
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn python_requests_httpx_and_aiohttp() {
    against_the_example(&HANDLERS, |url, folder| peers::run("http_client.py", &[url, text(folder)]));
}

#[test]
fn node_fetch() {
    against_the_example(&HANDLERS, |url, folder| peers::run("http_client.mjs", &[url, text(folder)]));
}

/// Runs a program of Debian to its end, which is killed after a minute.
fn output(program: &str, arguments: &[&str]) -> Output {
    peers::install(&["--tools"]);
    let output = Command::new("timeout").args(["60", program]).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program} does not start: {error}"))
}

/// Runs a program of Debian, which must succeed, and returns what it prints.
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = output(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn curl_bytes(arguments: &[&str]) -> Vec<u8> {
    run("curl", &[&["--silent", "--show-error", "--max-time", "30"], arguments].concat())
}

/// Runs curl, and returns what it prints.
fn curl(arguments: &[&str]) -> String {
    String::from_utf8(curl_bytes(arguments)).expect("text")
}

#[test]
fn curl_uses_every_route() {
    against_the_example(&["inline", "same-core", "threads:2"], |url, _| {
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
    let refused = output("curl", &["--silent", "--max-time", "30", &url]);
    assert!(!refused.status.success(), "without a header");
    example.finish();
}

#[test]
fn curl_gets_files() {
    against_the_example(&HANDLERS, |url, folder| {
        let at = |path: &str| format!("{url}{path}");
        let status =
            |arguments: &[&str]| curl(&[&["--output", "/dev/null", "--write-out", "%{http_code}"], arguments].concat());
        let large = fs::read(folder.join("large.bin")).expect("a file");
        assert!(curl_bytes(&[&at("/files/large.bin")]) == large, "the large file");
        assert_eq!(curl(&[&at("/files/small.txt")]), "A line of text.\n");
        assert!(curl(&[&at("/files/")]).contains("<h1>Files</h1>"), "the index");
        assert!(curl_bytes(&["--range", "1000000-1999999", &at("/files/large.bin")]) == large[1_000_000..2_000_000]);
        assert!(curl_bytes(&["--range", "-5", &at("/files/large.bin")]) == large[large.len() - 5..]);
        let ranges = curl(&["--include", "--range", "0-1,7-10", &at("/files/small.txt")]);
        assert!(ranges.contains("multipart/byteranges; boundary="), "{ranges}");
        assert!(ranges.contains("\r\n\r\nA \r\n--") && ranges.contains("\r\n\r\nof t\r\n--"), "{ranges}");
        assert_eq!(status(&["--range", "16-", &at("/files/small.txt")]), "416");

        let head = curl(&["--head", &at("/files/small.txt")]);
        let field = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            let (_, value) = fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).expect("a field");
            value.to_owned()
        };
        let [length, media_type, tag, date] = ["content-length", "content-type", "etag", "last-modified"].map(field);
        assert_eq!((length.as_str(), media_type.as_str()), ("16", "text/plain; charset=utf-8"));
        assert_eq!(status(&["--header", &format!("If-None-Match: {tag}"), &at("/files/small.txt")]), "304");
        assert_eq!(status(&["--header", &format!("If-Modified-Since: {date}"), &at("/files/small.txt")]), "304");
        assert_eq!(status(&["--header", "If-Match: \"other\"", &at("/files/small.txt")]), "412");

        for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/..%2fCargo.toml", "/.hidden", "/nothing", "/small.txt/"]
        {
            assert_eq!(status(&["--path-as-is", &at(&format!("/files{path}"))]), "404", "{path}");
        }
        let long = at(&format!("/json?name={}", "tide".repeat(1_000)));
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let accept = format!("Accept-Encoding: {coding}");
            let head = curl(&["--output", "/dev/null", "--dump-header", "-", "--header", &accept, &long]);
            assert!(head.to_ascii_lowercase().contains(&format!("content-encoding: {coding}\r\n")), "{head}");
        }
        assert_eq!(curl(&["--compressed", &long]), format!(r#"{{"hello":"{}"}}"#, "tide".repeat(1_000)));
    });
}

#[test]
fn wget_downloads_and_resumes() {
    against_the_example(&HANDLERS, |url, site| {
        let at = |path: &str| format!("{url}{path}");
        let common = ["--no-verbose", "--tries=1", "--timeout=30", "--no-proxy"];
        let wget = |arguments: &[&str]| run("wget", &[&common, arguments].concat());
        assert_eq!(wget(&["--output-document=-", &at("/plaintext")]), b"Hello, World!");
        assert_eq!(wget(&["--output-document=-", "--post-data=a=b", &at("/echo")]), b"a=b");
        assert_eq!(wget(&["--output-document=-", "--header=Cookie: visits=3", &at("/cookie")]), b"visit 4\n");

        let large = fs::read(site.join("large.bin")).expect("a file");
        let downloads = Path::new(env!("CARGO_TARGET_TMPDIR")).join("downloads");
        // It is there after an earlier run.
        let _ = fs::remove_dir_all(&downloads);
        fs::create_dir_all(&downloads).expect("a folder");
        let into = format!("--directory-prefix={}", text(&downloads));
        fs::write(downloads.join("large.bin"), &large[..1_000_000]).expect("a file");
        wget(&["--continue", &into, &at("/files/large.bin")]);
        assert!(fs::read(downloads.join("large.bin")).expect("a file") == large, "a resumed download");

        wget(&["--timestamping", &into, &at("/files/small.txt")]);
        assert_eq!(fs::read(downloads.join("small.txt")).expect("a file"), b"A line of text.\n");
        let again = output(
            "wget",
            &[&common[1..], &["--server-response", "--timestamping", &into, &at("/files/small.txt")]].concat(),
        );
        let log = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(again.status.success() && log.contains(" 304 "), "{log}");

        let missing = output("wget", &[&common[..], &["--spider", &at("/files/nothing")]].concat());
        assert_eq!(missing.status.code(), Some(8), "the server answered with an error");
    });
}

#[test]
fn wrk_gets_right_answers_only() {
    against_the_example(&["same-core"], |url, _| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/wrk.lua");
        let arguments = ["--threads", "2", "--connections", "16", "--duration", "1s", "--script", script];
        let report = run("wrk", &[&arguments[..], &[&format!("{url}/plaintext")]].concat());
        let report = String::from_utf8(report).expect("text");
        let line = report.lines().find_map(|line| line.strip_prefix("answered ")).expect("the script's line");
        let (answered, rest) = line.split_once(' ').expect("numbers");
        assert!(answered.parse::<u64>().expect("a number") > 0 && rest == "wrong 0 errors 0", "{report}");
    });
}

#[test]
fn h2load_gets_every_answer() {
    against_the_example(&["same-core"], |url, _| {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let manifest_bytes = fs::metadata(manifest).expect("a file").len();
        let data = format!("--data={manifest}");
        // The second sends eight requests at a time on each connection.
        let cases: [(&str, &[&str], u64); 3] = [
            ("/plaintext", &["--requests=5000", "--clients=16"], 5000 * 13),
            ("/plaintext", &["--requests=5000", "--clients=16", "--max-concurrent-streams=8"], 5000 * 13),
            ("/echo", &["--requests=200", "--clients=16", &data], 200 * manifest_bytes),
        ];
        for (path, options, bytes) in cases {
            let report = run("h2load", &[&["--h1"], options, &[&format!("{url}{path}")]].concat());
            let report = String::from_utf8(report).expect("text");
            let requests = options[0].trim_start_matches("--requests=");
            for expected in [format!(" {requests} succeeded, 0 failed, 0 errored"), format!("({bytes}) data")] {
                assert!(report.contains(&expected), "{path} {options:?}: no {expected:?} in {report}");
            }
        }
    });
}
