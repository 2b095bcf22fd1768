//! Holds many idle WebSockets, checks that each answers, and prints the memory that one costs.
//!
//! ```text
//! cargo run --release --example idle -- --connections 100000
//! ```
//! The server runs in this process. The open-file limit bounds the file table of each ring, so it starts as many rings
//! as the connections need. The clients run in child processes, each with its own 127.x.y.z address.

mod support;

use support::clients::{CLIENTS_PER_PROCESS, Clients, Outcome, client};
use support::options::Options;
use support::{memory, open_files_max};
use tidegate::prelude::*;

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
        ],
    );
    let connections: usize = options.value("--connections");
    // The system spreads clients over the rings by hash, so each ring needs some room above its share.
    let room = open_files_max() as usize * 85 / 100;
    let workers = connections.div_ceil(room).max(std::thread::available_parallelism()?.get());
    let config =
        Config::default().engine(options.value("--engine")).placement(options.value("--handlers")).workers(workers);
    measure(connections, config)
}

fn measure(connections: usize, config: Config) -> Outcome<()> {
    let app = Router::new().get(
        "/ws",
        websocket::upgrade(|mut ws: WebSocket| async move {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok(())
        }),
    );
    let running = Server::builder(app).bind("127.0.0.1:0")?.config(config).start()?;
    println!("serving on {}", running.summary());
    let address = running.local_addr().ok_or("no address")?;
    let before = memory();

    let mut clients = Vec::new();
    for first in (0..connections).step_by(CLIENTS_PER_PROCESS) {
        let count = CLIENTS_PER_PROCESS.min(connections - first);
        clients.push(Clients::start(address, clients.len(), count)?);
        clients.last_mut().ok_or("no client")?.expect("connected")?;
    }
    let open: u64 = running.stats().iter().map(|stats| stats.connections).sum();
    report("open", open, before);
    for process in &mut clients {
        process.ask("ping")?;
        process.expect("answered")?;
    }
    report("after each answered a ping", open, before);
    for process in clients {
        process.end()?;
    }
    let ended = running.shutdown(Shutdown::default());
    println!("shut down: {} drained, {} reset", ended.drained, ended.forced);
    Ok(())
}

fn report(when: &str, connections: u64, before: support::Memory) {
    let now = memory();
    let user = now.user.saturating_sub(before.user) / connections.max(1);
    let kernel = now.kernel.saturating_sub(before.kernel) / connections.max(1);
    println!("{connections} WebSockets {when}: {user} user bytes each, {kernel} kernel bytes each (both ends)");
}
