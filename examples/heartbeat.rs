//! Heartbeat: every client is pinged, and one from which nothing comes for too long, neither message nor pong, is told 1001 and
//! given up. That finds clients that vanished without a word, and keeps what is between from forgetting quiet connections.
//!
//! Each client is pinged at a time of its own, so that very many are not pinged all at once.
//!
//! ```text
//! cargo run --release --example heartbeat -- --addr 127.0.0.1:9001 --ping-ms 15000 --silence-ms 30000
//! python -m websockets ws://127.0.0.1:9001/ws    # then send: rtt
//! ```

use std::time::Duration;

use tidegate::prelude::*;
use tidegate::websocket::{Error, KeepaliveConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ping = Duration::from_millis(option("--ping-ms", "15000").parse()?);
    let silence = Duration::from_millis(option("--silence-ms", "30000").parse()?);
    let mut config = WebSocketConfig::default();
    config.keepalive = Some(KeepaliveConfig::new(ping, silence));
    // Renewed by whatever comes.
    config.idle_timeout = Some(silence);
    let app = Router::new().get("/ws", websocket::upgrade(answer).config(config));

    let server = Server::builder(app).bind(option("--addr", "127.0.0.1:9001"))?;
    let running = server.engine(option("--engine", "auto").parse()?).start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

/// Nothing here is about the heartbeat: the read that waits for messages sends the pings and finds the pongs.
async fn answer(mut ws: WebSocket) -> Result<(), Error> {
    loop {
        match ws.recv().await {
            Ok(Some(_)) => {
                let rtt = ws.rtt().map_or_else(|| "not known yet".to_owned(), |rtt| format!("{} us", rtt.as_micros()));
                ws.send(format!("round trip: {rtt}")).await?;
            }
            Ok(None) => return Ok(()),
            Err(error @ (Error::NoPong | Error::Idle)) => {
                println!("{} is silent: {error}", ws.peer_addr());
                return Err(error);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The value of an option such as `--addr`.
fn option(name: &str, default: &str) -> String {
    std::env::args().skip_while(|argument| argument != name).nth(1).unwrap_or_else(|| default.to_owned())
}
