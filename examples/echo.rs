//! Echoes: WebSocket messages on `/ws`, bodies on `POST /echo`; `/plaintext` for benchmarks. On `/hub`, and with `--hub` on
//! `/ws`, every message goes to all WebSockets of that path, its sender included. `--compress` takes compressed messages and
//! compresses its own, with `--compress-level -2..9`, `--compress-window 9..15` and `--compress-no-takeover`.
//!
//! ```text
//! cargo run --release --example echo -- --addr 127.0.0.1:9001 --engine auto --workers 2 --handlers same-core
//! ```
//! Ends on SIGTERM or SIGINT: every WebSocket is told 1001 and the connections are drained.

use std::time::Duration;

use tidegate::http::Handler;
use tidegate::prelude::*;
use tidegate::websocket::{CompressionLevel, DeflateConfig, Upgrade, WindowBits};

struct Options {
    addr: String,
    config: Config,
    websocket: WebSocketConfig,
    deflate: Option<DeflateConfig>,
    hub: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let options = options()?;
    let echo = websocket::upgrade(|mut ws: WebSocket| async move {
        let sender = ws.sender();
        while let Some(message) = ws.recv_ref().await? {
            sender.send_ref(&message).await?;
        }
        Ok(())
    });
    let app = Router::new()
        .get("/", |_req: Request| async { Response::text("Tidegate echo: WebSocket on /ws, POST on /echo\n") })
        .get("/plaintext", sync_handler(|_req| Response::text("Hello, World!")))
        .get("/hub", to_all(options.websocket.clone(), options.deflate))
        .post("/echo", |mut req: Request| async move { req.bytes().await.map(Response::bytes) });
    let app = match options.hub {
        true => app.get("/ws", to_all(options.websocket, options.deflate)),
        false => app.get("/ws", compressed(echo.config(options.websocket), options.deflate)),
    };

    let running = Server::builder(app).bind(&options.addr)?.config(options.config).start()?;
    println!("listening on {}", running.summary());
    let report = running.run_until_signal(Shutdown::default())?;
    println!("shut down: {} connections drained, {} reset", report.drained, report.forced);
    Ok(())
}

/// A hub of its own: each message goes to all of its WebSockets.
fn to_all(config: WebSocketConfig, deflate: Option<DeflateConfig>) -> impl Handler {
    let hub: Hub = Hub::default();
    let handler = move |mut ws: WebSocket| {
        let hub = hub.clone();
        async move {
            let _member = hub.register(&ws)?;
            while let Some(message) = ws.recv().await? {
                hub.broadcast(message).queue().await?;
            }
            Ok(())
        }
    };
    compressed(websocket::upgrade(handler).config(config), deflate)
}

fn compressed<F>(upgrade: Upgrade<F>, deflate: Option<DeflateConfig>) -> Upgrade<F> {
    match deflate {
        Some(deflate) => upgrade.compression(deflate),
        None => upgrade,
    }
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let addr = "127.0.0.1:9001".to_owned();
    let (config, websocket) = (Config::default(), WebSocketConfig::default());
    let mut options = Options { addr, config, websocket, deflate: None, hub: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("addr") => options.addr = parser.value()?.string()?,
            Long("engine") => options.config.engine = parser.value()?.parse()?,
            Long("workers") => options.config.workers = parser.value()?.parse()?,
            Long("handlers") => options.config.placement = parser.value()?.parse()?,
            Long("read-limit") => options.websocket.message_bytes_max = parser.value()?.parse()?,
            Long("idle-timeout") => {
                options.websocket.idle_timeout = Some(Duration::from_secs_f64(parser.value()?.parse()?));
            }
            Long("hub") => options.hub = true,
            Long(option) if option.starts_with("compress") => {
                let option = option.to_owned();
                set_compression(options.deflate.get_or_insert_with(keeping_contexts), &option, &mut parser)?;
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

/// Contexts are kept between messages unless the client, or `--compress-no-takeover`, says otherwise.
fn keeping_contexts() -> DeflateConfig {
    let mut deflate = DeflateConfig::default();
    (deflate.own_context_takeover, deflate.peer_context_takeover) = (true, true);
    deflate
}

fn set_compression(
    deflate: &mut DeflateConfig,
    option: &str,
    parser: &mut lexopt::Parser,
) -> Result<(), lexopt::Error> {
    use lexopt::prelude::*;
    match option {
        "compress" => {}
        "compress-level" => deflate.level = parser.value()?.parse_with(level)?,
        "compress-window" => {
            let bits = parser.value()?.parse_with(window)?;
            (deflate.own_window_bits_max, deflate.peer_window_bits_max) = (bits, bits);
        }
        "compress-no-takeover" => (deflate.own_context_takeover, deflate.peer_context_takeover) = (false, false),
        _ => return Err(Long(option).unexpected()),
    }
    Ok(())
}

fn level(text: &str) -> Result<CompressionLevel, String> {
    let level = text.parse().map_err(|_| "-2 to 9")?;
    CompressionLevel::new(level).map_err(|error| error.to_string())
}

fn window(text: &str) -> Result<WindowBits, String> {
    let bits = text.parse().map_err(|_| "9 to 15")?;
    WindowBits::new(bits).map_err(|error| error.to_string())
}
