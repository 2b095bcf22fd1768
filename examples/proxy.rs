//! A proxy to a TCP server. The messages of a client on `/tcp` go to the server straight from the receive buffer; bytes
//! from the server come back as binary messages. Backpressure works in both directions.
//!
//! The handler is in blocking style, with two threads for each client, because the TCP side uses std.
//!
//! ```text
//! nc -lk 127.0.0.1 7000 &
//! cargo run --release --example proxy -- --addr 127.0.0.1:9001 --upstream 127.0.0.1:7000
//! python -m websockets ws://127.0.0.1:9001/tcp
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::io::{Read, Write};
use std::net::{Shutdown as Ends, TcpStream};
use std::thread;

use support::server;
use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::websocket::{Error, Sender};

fn main() -> tidegate::Result<()> {
    let own = [("--upstream ADDRESS", "127.0.0.1:7000", "TCP server to forward to")];
    let options = server::options("Forwards WebSocket messages to a TCP server, and its bytes back.", &own);
    let upstream: String = options.value("--upstream");
    let proxy = websocket::upgrade(async move |ws| {
        let upstream = upstream.clone();
        thread::spawn(move || {
            if let Err(error) = forward(ws, &upstream) {
                eprintln!("a connection failed: {error}");
            }
        });
        Ok(())
    });
    let app = Router::new().get("/tcp", proxy);

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

fn forward(mut ws: WebSocket, upstream: &str) -> Result<(), Error> {
    let connected = TcpStream::connect(upstream).and_then(|stream| Ok((stream.try_clone()?, stream)));
    let Ok((from, mut to)) = connected else {
        return block_on(ws.close(CloseCode::TRY_AGAIN_LATER, "the upstream is unreachable"));
    };
    let sender = ws.sender();
    let back = thread::spawn(move || send_to_client(from, &sender));
    let forwarded = send_to_upstream(&mut ws, &mut to);
    // Ends the other direction too, if it is still running.
    let _ = to.shutdown(Ends::Both);
    let _ = back.join();
    forwarded
}

/// Forwards messages until the client's close frame arrives, which can be the answer to ours.
fn send_to_upstream(ws: &mut WebSocket, to: &mut TcpStream) -> Result<(), Error> {
    while let Some(message) = block_on(ws.recv_ref())? {
        if to.write_all(message.as_bytes()).is_err() {
            return block_on(ws.close(CloseCode::INTERNAL_ERROR, "the upstream stopped reading"));
        }
    }
    Ok(())
}

fn send_to_client(mut from: TcpStream, sender: &Sender) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if block_on(sender.send_binary(&bytes[..count])).is_err() {
            return;
        }
    }
    // Fails if the client closed first.
    let _ = sender.close(CloseCode::NORMAL, "the upstream closed");
}
