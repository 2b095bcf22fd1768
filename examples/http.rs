//! What HTTP applications are made of, a route for each: JSON, forms, cookies, event streams, files, compression, the
//! client behind proxies, metrics.
//!
//! ```text
//! cargo run --release --example http -- --addr 127.0.0.1:9001
//! curl 'http://127.0.0.1:9001/json?name=Ann'
//! curl --json '{"hello":"Ann"}' http://127.0.0.1:9001/json
//! curl -F text=hello -F file=@Cargo.toml http://127.0.0.1:9001/form
//! curl -N 'http://127.0.0.1:9001/events?n=5'
//! cargo run --release --example http -- --dir docs
//! curl http://127.0.0.1:9001/files/guide.md
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use support::options::{Options, refuse};
use support::server;
use tidegate::engine::{Address, RunningHandle, time};
use tidegate::prelude::*;
use tidegate::web::cookie::Cookie;
use tidegate::web::{AccessLog, Compressed, Event, Files, Rejection, status_handler};

const PAGE: &str = "<!doctype html><title>Tidegate</title><h1>Tidegate</h1>
<form method=post action=/form enctype=multipart/form-data><input name=text><input type=file name=file><button>Send</button></form>
<ul id=events></ul>
<script>
const events = new EventSource('/events?n=5');
events.onmessage = event => {
  document.getElementById('events').append(event.data, document.createElement('br'));
  if (event.lastEventId === '4') events.close();
};
</script>
";

/// The server, once it runs, for its metrics.
static SERVER: OnceLock<RunningHandle> = OnceLock::new();

fn main() -> tidegate::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,access=info")).init();
    let options = options();
    let mut app = Router::new()
        .get("/", async |_request: Request| Response::html(PAGE))
        .get("/plaintext", sync_handler(|_request| Response::text("Hello, World!")))
        .get("/json", Compressed::new(greet))
        .post("/json", async |mut request: Request| {
            request.json::<Map<String, Value>>().await.map(|object| Response::json(&object)).map_err(json_error)
        })
        .post("/form", async |request: Request| {
            fields(request).await.map(|list| Response::json(&list)).map_err(json_error)
        })
        .get("/cookie", count_visits)
        .get("/redirect", async |_request: Request| Response::redirect("/"))
        .get("/events", Compressed::new(events))
        .get("/slow", slow)
        .get("/client", async |request: Request| client(&request))
        .get("/panic", async |_request: Request| -> Response { panic!("as the request asked for") })
        .get("/metrics", status_handler("text/plain; version=0.0.4", metrics))
        .post("/echo", async |mut request: Request| request.bytes().await.map(Response::bytes))
        .get("/ws", websocket::upgrade(echo));

    if let Some(folder) = options.given("--dir") {
        let folder = files(folder);
        let copied = options.given("--copy").is_some();
        app = app.files("/files", if copied { folder.zero_copy(false) } else { folder });
    }
    let mut server = Server::builder(app).bind(options.value::<String>("--addr"))?;
    if options.given("--proxy-protocol").is_some() {
        server = server.proxy_protocol();
    }
    if let Some(proxies) = options.given("--trusted-proxy").filter(|given| *given != "none") {
        server = server.trusted_proxies(proxies.split(','))?;
    }
    if let Some(log) = options.value_with("--access-log", access_log) {
        server = server.access_log(log);
    }
    let server = server.engine(options.value("--engine")).workers(options.value("--workers"));
    let running = server.placement(options.value("--handlers")).start()?;
    let _ = SERVER.set(running.handle());
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

fn options() -> Options {
    let own = [
        ("--dir DIR", "none", "folder whose files are served below /files/"),
        ("--copy", "", "copy large files, which can then be cut in place"),
        ("--workers N", "0", "worker threads; 0 is one per core"),
        ("--handlers same-core|inline|threads:N", "same-core", "where handlers run"),
        ("--trusted-proxy NETWORKS", "none", "proxies to believe, such as 10.0.0.0/8,unix"),
        ("--proxy-protocol", "", "expect the PROXY protocol, from trusted proxies"),
        ("--access-log text|json|none", "none", "log of all requests, on standard error"),
    ];
    server::options("Serves a route for each part of an HTTP application.", &own)
}

fn access_log(format: &str) -> Result<Option<AccessLog>, &'static str> {
    match format {
        "text" => Ok(Some(AccessLog::text())),
        "json" => Ok(Some(AccessLog::json())),
        "none" => Ok(None),
        _ => Err("must be text, json or none"),
    }
}

/// Opens the folder of files. Exits with code 2 if that fails.
fn files(folder: &str) -> Files {
    Files::new(folder).unwrap_or_else(|error| refuse(&format_args!("invalid value {folder:?} for --dir: {error}")))
}

async fn greet(request: Request) -> Response {
    Response::json(&json!({ "hello": request.query("name").unwrap_or("World".into()) }))
}

/// The answer to a request that does not fit: the status and the text of the rejection, as JSON.
fn json_error(rejection: Rejection) -> Response {
    Response::json(&json!({ "error": rejection.to_string() })).with_status(rejection.status())
}

#[derive(Serialize)]
struct Field {
    name: String,
    file: Option<String>,
    bytes: usize,
}

/// Lists the fields of a form, urlencoded or multipart.
async fn fields(mut request: Request) -> Result<Vec<Field>, Rejection> {
    let media_type = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if media_type.starts_with("application/x-www-form-urlencoded") {
        let pairs: Vec<(String, String)> = request.form().await?;
        return Ok(pairs.into_iter().map(|(name, value)| Field { name, file: None, bytes: value.len() }).collect());
    }
    if !media_type.starts_with("multipart/form-data") {
        return Err(Rejection::MediaType("application/x-www-form-urlencoded or multipart/form-data"));
    }
    let (mut parts, mut list) = (request.multipart()?, Vec::new());
    while let Some(mut field) = parts.next_field().await? {
        let (name, file) = (field.name().unwrap_or_default().to_owned(), field.file_name().map(str::to_owned));
        let mut bytes = 0;
        while let Some(piece) = field.chunk().await? {
            bytes += piece.len();
        }
        list.push(Field { name, file, bytes });
    }
    Ok(list)
}

async fn count_visits(request: Request) -> Response {
    let visits = request.cookie("visits").and_then(|visits| visits.parse().ok()).unwrap_or(0_u32).saturating_add(1);
    let cookie = Cookie::build(("visits", visits.to_string())).path("/").http_only(true);
    Response::text(format!("visit {visits}\n")).with_cookie(cookie)
}

/// Sends `n` events, with `every` seconds between them, and ends. A client that reconnects gets those after the last
/// one that it received.
async fn events(request: Request) -> Response {
    let n = request.query("n").and_then(|n| n.parse().ok()).unwrap_or(10_u64);
    let every = request.query("every").and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    let pause = Duration::try_from_secs_f64(every).unwrap_or_default();
    let first = request.last_event_id().and_then(|id| id.parse().ok()).map_or(0, |id: u64| id.saturating_add(1));
    Response::sse(move |mut events| async move {
        for number in first..n {
            if number > first {
                time::sleep(pause).await;
            }
            events.send(Event::data(format!("event {number}")).id(number.to_string())).await?;
        }
        Ok(())
    })
}

async fn slow(request: Request) -> Result<String, (tidegate::http::StatusCode, &'static str)> {
    let refusal = (tidegate::http::StatusCode::BAD_REQUEST, "seconds must be a number from 0 to 3600\n");
    let seconds = request.query("seconds").map_or(Ok(1.0), |seconds| seconds.parse());
    let seconds: f64 = seconds.ok().filter(|seconds| (0.0..=3600.0).contains(seconds)).ok_or(refusal)?;
    time::sleep(Duration::from_secs_f64(seconds)).await;
    Ok(format!("waited {seconds} s\n"))
}

fn client(request: &Request) -> Response {
    let address = request.client_addr().map(|address| match address {
        Address::Ip(address) => address.ip().to_string(),
        other => other.to_string(),
    });
    let port = request.client_addr().and_then(|address| address.ip()).map(|address| address.port());
    let proxied: Option<IpAddr> =
        request.proxy_header().and_then(|header| header.proxied_address()).map(|address| address.source.ip());
    Response::json(&json!({
        "address": address,
        "port": port.filter(|port| *port > 0),
        "scheme": request.client_scheme().as_str(),
        "host": request.client_host(),
        "proxy_protocol": proxied,
    }))
}

/// Writes the counters of all workers in the text format of Prometheus.
fn metrics() -> String {
    let mut text = String::new();
    let mut sum = None;
    for worker in SERVER.get().map(RunningHandle::stats).unwrap_or_default() {
        match &mut sum {
            None => sum = Some(worker),
            Some(sum) => sum.add(&worker),
        }
    }
    for (name, value) in sum.iter().flat_map(|sum| sum.iter()) {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let _ = writeln!(text, "# TYPE tidegate_{name} {kind}\ntidegate_{name} {value}");
    }
    text
}

async fn echo(mut ws: WebSocket) -> websocket::Result {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
