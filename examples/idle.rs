//! Holds many idle WebSockets, checks that each answers, and prints the memory that one costs and how it divides. On
//! request some of them are active meanwhile, and all of them get a broadcast.
//!
//! ```text
//! cargo run --release --example idle -- --connections 100000 --style events --active 1000 --broadcast
//! ```
//! The server runs in this process. The open-file limit bounds the file table of each ring, so it starts as many rings
//! as the connections need. The clients run in child processes, each with its own 127.x.y.z address.

mod support;

use std::hint::black_box;
use std::time::Instant;

use support::clients::{CLIENTS_PER_PROCESS, Clients, NEWS, Outcome, client};
use support::options::Options;
use support::{Memory, memory, open_files_max, slabs};
use tidegate::prelude::*;
use tidegate::websocket::{EventHandler, EventSocket, Registration, Upgrade};

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, address, number, count] = &arguments[..]
        && mode == "client"
    {
        return client(address.parse()?, number.parse()?, count.parse()?);
    }
    let options = Options::parse(
        "Holds many idle WebSockets and prints the memory that one costs.",
        &[
            ("--connections N", "10000", "WebSockets to hold"),
            ("--engine auto|uring|portable", "uring", "auto takes io_uring if it is available, else portable"),
            ("--handlers same-core|inline|threads:N", "same-core", "where handlers run"),
            ("--style async|boxed|events", "async", "how the handler is written; boxed is async and boxes its work"),
            ("--future-bytes 0|1024|4096|16384", "0", "memory that the handler needs for a message"),
            ("--active N", "0", "WebSockets that exchange messages while the others are idle"),
            ("--broadcast", "", "send one message to all of them"),
        ],
    );
    let connections: usize = options.value("--connections");
    // The system spreads clients over the rings by hash, so each ring needs some room above its share.
    let room = open_files_max() as usize * 85 / 100;
    let workers = connections.div_ceil(room).max(std::thread::available_parallelism()?.get());
    let config =
        Config::default().engine(options.value("--engine")).placement(options.value("--handlers")).workers(workers);
    let hub = options.given("--broadcast").map(|_| Hub::default());
    let upgrade = match options.value::<usize>("--future-bytes") {
        0 => upgrade::<0>(&options, hub.clone()),
        1024 => upgrade::<1024>(&options, hub.clone()),
        4096 => upgrade::<4096>(&options, hub.clone()),
        16384 => upgrade::<16384>(&options, hub.clone()),
        other => return Err(format!("--future-bytes {other} must be 0, 1024, 4096 or 16384").into()),
    };
    let app = Router::new().get("/ws", upgrade);
    let running = Server::builder(app).bind("127.0.0.1:0")?.config(config).start()?;
    println!("serving on {}", running.summary());
    measure(&running, connections, options.value("--active"), hub.as_ref())?;
    let ended = running.shutdown(Shutdown::default());
    println!("shut down: {} drained, {} reset", ended.drained, ended.forced);
    Ok(())
}

/// Opens the connections and measures them.
fn measure(running: &tidegate::engine::Running, connections: usize, active: usize, hub: Option<&Hub>) -> Outcome<()> {
    let address = running.local_addr().ok_or("no address")?;
    let (before, slabs_before) = (memory(), slabs());
    let started = Instant::now();
    let mut clients = Vec::new();
    for first in (0..connections).step_by(CLIENTS_PER_PROCESS) {
        let count = CLIENTS_PER_PROCESS.min(connections - first);
        clients.push(Clients::start(address, clients.len(), count)?);
        clients.last_mut().ok_or("no client")?.expect("connected")?;
        if (first + count) / 100_000 > first / 100_000 {
            eprintln!("{} open after {:.1} s", first + count, started.elapsed().as_secs_f64());
        }
    }
    println!("opened in {:.2} s", started.elapsed().as_secs_f64());
    let open: u64 = running.stats().iter().map(|stats| stats.connections).sum();
    report("open", open, before);
    for process in &mut clients {
        process.ask("ping")?;
        process.expect("answered")?;
    }
    report("after each answered a ping", open, before);
    report_slabs(open, &slabs_before);
    if active > 0 {
        let trips = clients[0].active(active.min(CLIENTS_PER_PROCESS))?;
        println!("round trips of {} active WebSockets beside the idle ones: {trips}", active.min(CLIENTS_PER_PROCESS));
    }
    if let Some(hub) = hub {
        let started = Instant::now();
        for process in &mut clients {
            process.ask("news")?;
        }
        hub.broadcast(NEWS).try_queue()?;
        for process in &mut clients {
            process.expect("received")?;
        }
        println!("broadcast to {} WebSockets received in {:.3} s", hub.len(), started.elapsed().as_secs_f64());
    }
    clients.into_iter().try_for_each(Clients::end)
}

fn report(when: &str, connections: u64, before: Memory) {
    let now = memory();
    let user = now.user.saturating_sub(before.user) / connections.max(1);
    let kernel = now.kernel.saturating_sub(before.kernel) / connections.max(1);
    println!("{connections} WebSockets {when}: {user} user bytes each, {kernel} kernel bytes each (both ends)");
}

/// Prints the kernel objects that take most of the memory, where their counts can be read.
fn report_slabs(connections: u64, before: &[(String, u64)]) {
    let mut grown: Vec<_> = slabs()
        .into_iter()
        .map(|(name, bytes)| {
            let earlier = before.iter().find(|(known, _)| *known == name).map_or(0, |(_, bytes)| *bytes);
            (bytes.saturating_sub(earlier) / connections.max(1), name)
        })
        .filter(|(bytes, _)| *bytes > 0)
        .collect();
    grown.sort_unstable_by(|one, other| other.cmp(one));
    let parts: Vec<_> = grown.iter().take(8).map(|(bytes, name)| format!("{name} {bytes}")).collect();
    if !parts.is_empty() {
        println!("kernel bytes each by slab: {}", parts.join(", "));
    }
}

/// Returns an echo whose handler needs `BYTES` of memory for a message.
fn upgrade<const BYTES: usize>(options: &Options, hub: Option<Hub>) -> Upgrade {
    match options.value::<String>("--style").as_str() {
        "events" => websocket::upgrade_events(Echo::<BYTES>(hub)),
        "boxed" => websocket::upgrade(async move |mut ws| {
            let _member = register(hub.as_ref(), &ws)?;
            // Waiting costs what waiting needs: the memory for a message is in a box that lives as long as its answer.
            while let Some(message) = ws.recv().await? {
                Box::pin(answer::<BYTES>(&mut ws, message)).await?;
            }
            Ok(())
        }),
        _ => websocket::upgrade(async move |mut ws| {
            let _member = register(hub.as_ref(), &ws)?;
            let mut scratch = [0_u8; BYTES];
            while let Some(message) = ws.recv().await? {
                work(&mut scratch, message.as_bytes());
                ws.send(message).await?;
            }
            Ok(())
        }),
    }
}

/// Boxed, so that the handler's future has only a pointer where there is no broadcast.
fn register(hub: Option<&Hub>, ws: &WebSocket) -> websocket::Result<Option<Box<Registration>>> {
    Ok(hub.map(|hub| hub.register(ws).map(Box::new)).transpose()?)
}

async fn answer<const BYTES: usize>(ws: &mut WebSocket, message: Message) -> websocket::Result {
    let mut scratch = [0_u8; BYTES];
    work(&mut scratch, message.as_bytes());
    ws.send(message).await?;
    work(&mut scratch, &[]);
    Ok(())
}

/// Uses the scratch memory, so that the compiler cannot do without it.
fn work(scratch: &mut [u8], message: &[u8]) {
    for (byte, from) in scratch.iter_mut().zip(message) {
        *byte ^= from;
    }
    black_box(scratch);
}

struct Echo<const BYTES: usize>(Option<Hub>);

impl<const BYTES: usize> EventHandler for Echo<BYTES> {
    type State = Option<Box<Registration>>;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<Option<Box<Registration>>> {
        Ok(self.0.as_ref().map(|hub| hub.register(ws).map(Box::new)).transpose()?)
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        _member: &mut Option<Box<Registration>>,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        let mut scratch = [0_u8; BYTES];
        work(&mut scratch, message.as_bytes());
        Ok(ws.send(message)?)
    }
}
