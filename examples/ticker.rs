//! A broadcast ticker. One thread makes prices and a hub sends them to every WebSocket; each message is encoded once
//! for all.
//!
//! `/latest` delivers the newest price: a slow client misses old prices of a symbol, never the newest. `/all` delivers
//! every price: a client that is too slow for them is closed.
//!
//! ```text
//! cargo run --release --example ticker -- --addr 127.0.0.1:9001 --period-ms 100
//! python -m websockets ws://127.0.0.1:9001/latest
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::thread;
use std::time::Duration;

use support::server;
use tidegate::prelude::*;
use tidegate::websocket::{HubConfig, HubError, PreparedMessage, SlowPolicy, Upgrade};

fn main() -> tidegate::Result<()> {
    let own = [("--period-ms MILLISECONDS", "100", "time between two rounds of prices")];
    let options = server::options("Broadcasts prices, with two policies for slow clients.", &own);
    let period = Duration::from_millis(options.value("--period-ms"));
    let config = HubConfig::default().slow(SlowPolicy::Conflate { backlog_max: 100 }).queue_bytes_max(16 << 10);
    let (latest, all) = (Hub::new(config), Hub::default());
    let app = Router::new().get("/latest", subscribe(&latest)).get("/all", subscribe(&all));

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    // A plain thread: a hub works from any thread.
    thread::spawn(move || make_prices(&latest, &all, period));
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

fn subscribe(hub: &Hub) -> Upgrade {
    let hub = hub.clone();
    websocket::upgrade(async move |mut ws| {
        let _member = hub.register(&ws)?;
        // Clients send no messages, but reading answers their pings and notices when they disconnect.
        while ws.recv().await?.is_some() {}
        Ok(())
    })
}

fn make_prices(latest: &Hub, all: &Hub, period: Duration) {
    let mut prices = [("EURUSD", 108_310_u32), ("GBPUSD", 127_050), ("USDJPY", 149_220)];
    for step in 1_u32.. {
        for (symbol, price) in &mut prices {
            // Random enough for an example.
            *price = price.wrapping_add(step.wrapping_mul(0x9E37_79B9) >> 29).saturating_sub(3);
            let message = PreparedMessage::new(format!("{symbol} {price} {step}"));
            // A full hub refuses the price. The next one follows soon.
            for sent in [
                latest.broadcast_prepared(&message).key(*symbol).try_queue(),
                all.broadcast_prepared(&message).try_queue(),
            ] {
                if sent == Err(HubError::Closed) {
                    return;
                }
            }
        }
        thread::sleep(period);
    }
}
