//! A broadcast ticker: one thread makes prices, every WebSocket gets them, each message encoded once for all.
//!
//! `/latest` is for those who want the newest price: one that is slow misses old prices of a symbol, never the newest. `/all`
//! is for those who want every price: one that is too slow for that is closed and removed.
//!
//! ```text
//! cargo run --release --example ticker -- --addr 127.0.0.1:9001 --period-ms 100
//! python -m websockets ws://127.0.0.1:9001/latest
//! ```

use std::thread;
use std::time::Duration;

use tidegate::http::Handler;
use tidegate::prelude::*;
use tidegate::websocket::{HubConfig, HubError, PreparedMessage, SlowPolicy};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let period = Duration::from_millis(option("--period-ms", "100").parse()?);
    let mut config = HubConfig::default();
    config.slow = SlowPolicy::ConflateByKey { backlog_max: 100 };
    config.queue_bytes_max = Some(16 << 10);
    let (latest, all) = (Hub::new(config), Hub::default());
    let app = Router::new().get("/latest", subscribe(&latest)).get("/all", subscribe(&all));

    let server = Server::builder(app).bind(option("--addr", "127.0.0.1:9001"))?;
    let running = server.engine(option("--engine", "auto").parse()?).start()?;
    println!("listening on {}", running.summary());
    // A plain thread: a hub can be used from anywhere.
    thread::spawn(move || make_prices(&latest, &all, period));
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

fn subscribe(hub: &Hub) -> impl Handler + use<> {
    let hub = hub.clone();
    websocket::upgrade(move |mut ws: WebSocket| {
        let hub = hub.clone();
        async move {
            let _member = hub.register(&ws)?;
            // Nothing is expected from clients, but reading answers their pings and sees them go.
            while ws.recv().await?.is_some() {}
            Ok(())
        }
    })
}

fn make_prices(latest: &Hub, all: &Hub, period: Duration) {
    let mut prices = [("EURUSD", 108_310_u32), ("GBPUSD", 127_050), ("USDJPY", 149_220)];
    for step in 1_u32.. {
        for (symbol, price) in &mut prices {
            // As good as chance for a ticker of nothing.
            *price = price.wrapping_add(step.wrapping_mul(0x9E37_79B9) >> 29).saturating_sub(3);
            let message = PreparedMessage::new(format!("{symbol} {price} {step}"));
            // A hub that has too much on its way says so; the next price is soon there.
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

/// The value of an option such as `--addr`.
fn option(name: &str, default: &str) -> String {
    std::env::args().skip_while(|argument| argument != name).nth(1).unwrap_or_else(|| default.to_owned())
}
