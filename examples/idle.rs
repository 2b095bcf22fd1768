//! Holds very many idle WebSockets against a server of its own, checks that each answers, and says what one costs.
//!
//! ```text
//! cargo run --release --example idle -- --connections 100000 [--engine uring|std] [--handlers same-core|inline]
//! ```
//! The server runs here, on as many rings as the open-file limit asks for (each ring's file table is bounded by it); the
//! clients run in child processes, each with one 127.x.y.z address of its own.

mod support;

use support::clients::{CLIENTS_PER_PROCESS, Clients, Outcome, client};
use support::{memory, open_files_max};
use tidegate::prelude::*;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, address, number, count] = &arguments[..]
        && mode == "client"
    {
        return client(address.parse()?, number.parse()?, count.parse()?);
    }
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let connections: usize = value("--connections").map_or(Ok(10_000), |text| text.parse())?;
    let mut config = Config::default();
    config.engine = if value("--engine").is_some_and(|e| e == "std") { EngineKind::Std } else { EngineKind::Uring };
    if value("--handlers").is_some_and(|h| h == "inline") {
        config.placement = HandlerPlacement::Inline;
    }
    // The system spreads clients over the rings by hash, so each needs some room above its share.
    let room = open_files_max() as usize * 85 / 100;
    config.workers = connections.div_ceil(room).max(std::thread::available_parallelism()?.get());
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
