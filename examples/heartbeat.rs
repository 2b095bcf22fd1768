//! Pings every client, and closes a connection with 1001 when neither a message nor a pong arrives for too long. This
//! detects clients that vanished, and keeps proxies from dropping quiet connections.
//!
//! The pings of different clients are spread over time.
//!
//! ```text
//! cargo run --release --example heartbeat -- --addr 127.0.0.1:9001 --ping-ms 15000 --silence-ms 30000
//! python -m websockets ws://127.0.0.1:9001/ws    # then send: rtt
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::time::Duration;

use support::server;
use tidegate::prelude::*;
use tidegate::websocket::{Error, KeepaliveConfig};

fn main() -> tidegate::Result<()> {
    let own = [
        ("--ping-ms MILLISECONDS", "15000", "time between two pings"),
        ("--silence-ms MILLISECONDS", "30000", "time without a message or pong after which a client is closed"),
    ];
    let options = server::options("Pings every client and closes connections that stay silent.", &own);
    let ping = Duration::from_millis(options.value("--ping-ms"));
    let silence = Duration::from_millis(options.value("--silence-ms"));
    let keepalive = KeepaliveConfig::default().interval(ping).pong_timeout(silence);
    // Any frame restarts the idle timeout.
    let config = WebSocketConfig::default().keepalive(keepalive).idle_timeout(silence);
    let app = Router::new().get("/ws", websocket::upgrade(answer).config(config));

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

/// Needs no code for the heartbeat: while `recv` waits for a message it sends pings and receives pongs.
async fn answer(mut ws: WebSocket) -> websocket::Result {
    loop {
        match ws.recv().await {
            Ok(Some(_)) => {
                let rtt = ws.rtt().map_or_else(|| "unknown yet".to_owned(), |rtt| format!("{} us", rtt.as_micros()));
                ws.send(format!("round trip: {rtt}")).await?;
            }
            Ok(None) => return Ok(()),
            Err(error @ (Error::NoPong | Error::Idle)) => {
                println!("{} is silent: {error}", ws.peer_addr());
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
