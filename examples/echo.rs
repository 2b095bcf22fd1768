//! Echoes WebSocket messages on `/ws` and bodies on `POST /echo`, and serves `/plaintext` for benchmarks. On `/hub`,
//! and with `--hub` on `/ws`, every message goes to all WebSockets of that path, including its sender. `--style events`
//! serves the WebSockets with event handlers in place of async ones. `--compress` negotiates compression in both
//! directions; with a certificate it speaks TLS; `--help` lists its settings.
//!
//! ```text
//! cargo run --release --example echo -- --addr 127.0.0.1:9001 --engine auto --workers 2 --handlers same-core
//! cargo run --release --example echo -- --addr 127.0.0.1:9443 --tls-cert fullchain.pem --tls-key privkey.pem
//! ```
//! SIGTERM or SIGINT ends it: every WebSocket is closed with 1001 and the connections are drained.

mod support {
    pub mod options;
    pub mod server;
}

use std::time::Duration;

use support::options::{Options, refuse};
use support::server;
use tidegate::engine::Tls;
use tidegate::prelude::*;
use tidegate::websocket::{
    CompressionLevel, DeflateConfig, EventHandler, EventSocket, HubError, Registration, Upgrade, WindowBits,
};

fn main() -> tidegate::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let options = options();
    let (config, deflate) = (websocket_config(&options), deflate_config(&options));
    let style = options.value_with("--style", style);
    let echo = match options.value::<usize>("--future-bytes") {
        0 => echo::<0>(style),
        4096 => echo::<4096>(style),
        other => refuse(&format!("--future-bytes {other} must be 0 or 4096")),
    };
    let app = Router::new()
        .get("/", async |_request: Request| "Tidegate echo: WebSocket on /ws, POST on /echo\n")
        .get("/plaintext", sync_handler(|_req| Response::text("Hello, World!")))
        .get("/hub", to_all(style, config.clone(), deflate))
        .post("/echo", async |mut request: Request| request.bytes().await.map(Response::bytes));
    let app = match options.given("--hub") {
        Some(_) => app.get("/ws", to_all(style, config, deflate)),
        None => app.get("/ws", compressed(echo.config(config), deflate)),
    };

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let server = match tls(&options)? {
        Some(tls) => server.tls(tls),
        None => server,
    };
    let running = server.workers(options.value("--workers")).placement(options.value("--handlers")).start()?;
    println!("listening on {}", running.summary());
    let report = running.run_until_signal(Shutdown::default())?;
    println!("shut down: {} connections drained, {} reset", report.drained, report.forced);
    Ok(())
}

/// Returns the TLS of the server, if the options name a certificate. Its files are looked at every ten seconds.
fn tls(options: &Options) -> tidegate::Result<Option<Tls>> {
    let authorities = options.given("--client-ca");
    let (certificate, key) = match (options.given("--tls-cert"), options.given("--tls-key")) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if authorities.is_none() => return Ok(None),
        _ => refuse(&"TLS needs both --tls-cert and --tls-key"),
    };
    let tls = Tls::from_pem_files(certificate, key)?.reload_every(Duration::from_secs(10));
    Ok(Some(match authorities {
        Some(authorities) => tls.client_ca_file(authorities)?,
        None => tls,
    }))
}

/// The way in which the WebSocket handlers are written.
#[derive(Clone, Copy)]
enum Style {
    Async,
    Events,
}

/// Returns an echo whose handler needs `BYTES` of memory for a message. An async one keeps them while it waits.
fn echo<const BYTES: usize>(style: Style) -> Upgrade {
    match style {
        Style::Async => websocket::upgrade(|mut ws: WebSocket| async move {
            let sender = ws.sender();
            let mut scratch = [0_u8; BYTES];
            while let Some(message) = ws.recv_ref().await? {
                work(&mut scratch, message.as_bytes());
                sender.send_ref(&message).await?;
            }
            Ok(())
        }),
        Style::Events => websocket::upgrade_events(Echo::<BYTES>),
    }
}

/// Uses the memory for a message, if there is any, so that the compiler does not remove it.
#[inline]
fn work<const BYTES: usize>(scratch: &mut [u8; BYTES], message: &[u8]) {
    if BYTES > 0 {
        scratch.iter_mut().zip(message).for_each(|(byte, from)| *byte ^= from);
        std::hint::black_box(scratch);
    }
}

/// Sends each message back.
struct Echo<const BYTES: usize>;

impl<const BYTES: usize> EventHandler for Echo<BYTES> {
    type State = ();

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        work(&mut [0; BYTES], message.as_bytes());
        Ok(ws.send(message)?)
    }
}

/// Broadcasts each message to all WebSockets of this route.
fn to_all(style: Style, config: WebSocketConfig, deflate: Option<DeflateConfig>) -> Upgrade {
    let hub: Hub = Hub::default();
    let broadcast = match style {
        Style::Async => websocket::upgrade(async move |mut ws| {
            let _member = hub.register(&ws)?;
            while let Some(message) = ws.recv().await? {
                hub.broadcast(message).queue().await?;
            }
            Ok(())
        }),
        Style::Events => websocket::upgrade_events(ToAll(hub)),
    };
    compressed(broadcast.config(config), deflate)
}

/// Sends each message to all members of a hub.
struct ToAll(Hub);

impl EventHandler for ToAll {
    type State = Registration;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<Registration> {
        Ok(self.0.register(ws)?)
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        _member: &mut Registration,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        let message = message.to_message();
        match self.0.broadcast(message.clone()).try_queue() {
            Err(HubError::Full) => {
                // The hub is behind its publishers: this one goes on once its message is queued.
                ws.pause();
                ws.spawn(self.0.broadcast(message).queue(), |ws, _, queued| {
                    ws.resume();
                    Ok(queued?)
                });
                Ok(())
            }
            queued => Ok(queued?),
        }
    }
}

fn compressed(upgrade: Upgrade, deflate: Option<DeflateConfig>) -> Upgrade {
    match deflate {
        Some(deflate) => upgrade.compression(deflate),
        None => upgrade,
    }
}

fn options() -> Options {
    let (websocket, deflate) = (WebSocketConfig::default(), DeflateConfig::default());
    let read_limit = websocket.message_bytes_max.to_string();
    let (level, window) = (deflate.level.value().to_string(), deflate.own_window_bits_max.value().to_string());
    let own = [
        ("--workers N", "0", "worker threads; 0 is one per core"),
        ("--handlers same-core|inline|threads:N", "same-core", "where handlers run"),
        ("--tls-cert FILE", "none", "certificate chain in PEM, for TLS; with --tls-key"),
        ("--tls-key FILE", "none", "its private key in PEM"),
        ("--client-ca FILE", "none", "authorities in PEM; clients must then have a certificate"),
        ("--style async|events", "async", "how the WebSocket handlers are written"),
        ("--future-bytes 0|4096", "0", "memory that the echo needs for a message, and an async handler holds"),
        ("--read-limit BYTES", &read_limit, "largest message accepted"),
        ("--idle-timeout SECONDS", "none", "time without a frame after which a WebSocket is closed"),
        ("--hub", "", "broadcast the messages on /ws instead of echoing them"),
        ("--compress", "", "negotiate compression; implied by the options below"),
        ("--compress-level -2..9", &level, "compression level"),
        ("--compress-window 9..15", &window, "window of both compressors, in bits"),
        ("--compress-no-takeover", "", "compress each message by itself"),
    ];
    server::options("Echoes WebSocket messages and request bodies, or broadcasts them.", &own)
}

fn websocket_config(options: &Options) -> WebSocketConfig {
    WebSocketConfig::default()
        .message_bytes_max(options.value("--read-limit"))
        .idle_timeout(options.value_with("--idle-timeout", seconds))
}

/// Contexts are kept between messages unless the client or `--compress-no-takeover` forbids it.
fn deflate_config(options: &Options) -> Option<DeflateConfig> {
    let names = ["--compress", "--compress-level", "--compress-window", "--compress-no-takeover"];
    if names.iter().all(|name| options.given(name).is_none()) {
        return None;
    }
    let window = options.value_with("--compress-window", window);
    let is_context_kept = options.given("--compress-no-takeover").is_none();
    let deflate = DeflateConfig::default()
        .level(options.value_with("--compress-level", level))
        .own_window_bits_max(window)
        .peer_window_bits_max(window)
        .own_context_takeover(is_context_kept)
        .peer_context_takeover(is_context_kept);
    Some(deflate)
}

fn seconds(text: &str) -> Result<Option<Duration>, &'static str> {
    let seconds = match text {
        "none" => return Ok(None),
        _ => text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    };
    seconds.map(Some).ok_or("must be seconds, or none")
}

fn style(text: &str) -> Result<Style, &'static str> {
    match text {
        "async" => Ok(Style::Async),
        "events" => Ok(Style::Events),
        _ => Err("must be async or events"),
    }
}

fn level(text: &str) -> Result<CompressionLevel, &'static str> {
    text.parse().ok().and_then(|level| CompressionLevel::new(level).ok()).ok_or("must be -2 to 9")
}

fn window(text: &str) -> Result<WindowBits, &'static str> {
    text.parse().ok().and_then(|bits| WindowBits::new(bits).ok()).ok_or("must be 9 to 15")
}
