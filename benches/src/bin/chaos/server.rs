//! The server under attack. It runs in a process apart, so its memory, its descriptors and its end are its own.
//!
//! The process answers the line `counts` on its standard input with one line of counts, writes a last line when the
//! server has ended, and shuts down when its input ends. Its log goes to standard error.

use std::io::{BufRead as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{future, io, thread};

use tidegate::engine::{RunningHandle, WorkerStats};
use tidegate::prelude::*;
use tidegate::websocket::{DeflateConfig, HubConfig, Upgrade};

use crate::counts::{self, Counts};
use crate::setting::Combination;
use tidegate_benches::{errln, outln};

/// The first argument that makes the program the server. The engine and the placement follow.
pub const SERVE: &str = "serve";

/// The most bytes of a message.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of the response of `/big`.
pub const BIG_BYTES: usize = 256 << 10;

/// Timeouts that end peers who do nothing: short, because each round of attacks waits for them.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(3);
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
const CONTENT_TIMEOUT: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Handlers begun and ended, WebSockets connected and disconnected, and numbered requests answered.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);
static CONNECTED: AtomicU64 = AtomicU64::new(0);
static DISCONNECTED: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);

/// Counts a handler's future: begun when created, ended when dropped.
struct InHandler;

impl InHandler {
    fn begin() -> Self {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for InHandler {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Serves until SIGTERM.
///
/// # Errors
/// If the server cannot start, or a worker failed.
pub fn run(combination: Combination) -> Result<(), Box<dyn std::error::Error>> {
    log::set_logger(&Log).map_err(|error| error.to_string())?;
    log::set_max_level(log::LevelFilter::Warn);
    tidegate_benches::socket::raise_file_limit()?;
    let config = Config::default().engine(combination.engine).placement(combination.placement).workers(2).pin(false);
    let config = config.linger_timeout(LINGER_TIMEOUT);
    let http = HttpConfig::default()
        .header_timeout(HEADER_TIMEOUT)
        .content_timeout(CONTENT_TIMEOUT)
        .write_timeout(Some(WRITE_TIMEOUT));
    let running = Server::builder(router()).bind("127.0.0.1:0")?.config(config).http(http).start()?;
    let address = running.local_addr().ok_or("no address")?;
    outln!("listening {address}");
    let handle = running.handle();
    thread::spawn(move || answer_questions(&handle));
    let handle = running.handle();
    let report = running.run_until_signal(Shutdown::default())?;
    let mut ended = now(&handle);
    ended.set("drained", report.drained);
    ended.set("forced", report.forced);
    ended.set("failed_workers", report.failed_workers);
    outln!("ended {}", ended.to_line());
    io::stdout().flush()?;
    Ok(())
}

fn answer_questions(handle: &RunningHandle) {
    for line in io::stdin().lock().lines() {
        if !matches!(line.as_deref(), Ok("counts")) {
            break;
        }
        outln!("counts {}", now(handle).to_line());
    }
    handle.begin_shutdown(Shutdown::immediate());
}

fn now(handle: &RunningHandle) -> Counts {
    let mut workers = WorkerStats::default();
    handle.stats().iter().for_each(|worker| workers.add(worker));
    let mut counts = Counts::default();
    workers.iter().for_each(|(name, value)| counts.set(name, value));
    let (blocks, bytes) = counts::live();
    let own = [
        ("begun", BEGUN.load(Ordering::Relaxed)),
        ("ended", ENDED.load(Ordering::Relaxed)),
        ("connected", CONNECTED.load(Ordering::Relaxed)),
        ("disconnected", DISCONNECTED.load(Ordering::Relaxed)),
        ("answered", ANSWERED.load(Ordering::Relaxed)),
        ("live_blocks", blocks),
        ("live_bytes", bytes),
    ];
    own.into_iter().for_each(|(name, value)| counts.set(name, value));
    counts
}

fn router() -> Router {
    let echo = websocket::upgrade(async |mut ws: WebSocket| {
        let _running = InHandler::begin();
        let sender = ws.sender();
        while let Some(message) = ws.recv_ref().await? {
            sender.send_ref(&message).await?;
        }
        Ok(())
    });
    let big = tidegate::bytes::Bytes::from(vec![b'b'; BIG_BYTES]);
    Router::new()
        .get("/ws", counted(echo).compression(DeflateConfig::default()))
        .get("/hub/kills", to_all())
        .get("/hub/deaf", to_all())
        .get("/hub/soak", to_all())
        .get("/big", sync_handler(move |_request| Response::bytes(big.clone())))
        .get("/wait", async |_request: Request| {
            let _running = InHandler::begin();
            future::pending::<Response>().await
        })
        .get("/number", async |request: Request| {
            let _running = InHandler::begin();
            ANSWERED.fetch_add(1, Ordering::Relaxed);
            Response::text(request.head().raw_query().unwrap_or_default().to_owned())
        })
        .post("/echo", async |mut request: Request| {
            let _running = InHandler::begin();
            request.bytes().await.map(Response::bytes)
        })
}

/// Sends each message to all WebSockets of the route.
fn to_all() -> Upgrade {
    let hub: Hub = Hub::new(HubConfig::default());
    counted(websocket::upgrade(async move |mut ws: WebSocket| {
        let _running = InHandler::begin();
        let _member = hub.register(&ws)?;
        while let Some(message) = ws.recv().await? {
            hub.broadcast(message).queue().await?;
        }
        Ok(())
    }))
}

fn counted(upgrade: Upgrade) -> Upgrade {
    let config = WebSocketConfig::default()
        .message_bytes_max(MESSAGE_BYTES_MAX)
        .write_timeout(Some(WRITE_TIMEOUT))
        .close_timeout(CLOSE_TIMEOUT);
    upgrade
        .config(config)
        .on_connect(async |_ws| {
            CONNECTED.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .on_disconnect(|_ended| {
            DISCONNECTED.fetch_add(1, Ordering::Relaxed);
        })
}

/// Writes each record as one line to standard error.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        errln!("{} {}: {}", record.level(), record.target(), record.args());
    }

    fn flush(&self) {}
}
