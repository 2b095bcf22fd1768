//! A forwarding proxy: what a client sends on `/tcp` goes to a TCP server as it comes, borrowed from the connection's receive
//! buffer, and what that server sends comes back as binary messages. Both directions wait for whoever is slow.
//!
//! It is in blocking style, with two threads for each client, because the TCP side is std's.
//!
//! ```text
//! nc -lk 127.0.0.1 7000 &
//! cargo run --release --example proxy -- --addr 127.0.0.1:9001 --upstream 127.0.0.1:7000
//! python -m websockets ws://127.0.0.1:9001/tcp
//! ```

use std::future::ready;
use std::io::{Read, Write};
use std::net::{Shutdown as Ends, TcpStream};
use std::thread;

use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::websocket::{Error, Sender};

fn main() -> tidegate::Result<()> {
    let upstream = option("--upstream", "127.0.0.1:7000");
    let proxy = websocket::upgrade(move |ws: WebSocket| {
        let upstream = upstream.clone();
        thread::spawn(move || {
            if let Err(error) = forward(ws, &upstream) {
                eprintln!("a client was lost: {error}");
            }
        });
        ready(Ok(()))
    });
    let app = Router::new().get("/tcp", proxy);

    let server = Server::builder(app).bind(option("--addr", "127.0.0.1:9001"))?;
    let running = server.engine(option("--engine", "auto").parse()?).start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

fn forward(mut ws: WebSocket, upstream: &str) -> Result<(), Error> {
    let connected = TcpStream::connect(upstream).and_then(|stream| Ok((stream.try_clone()?, stream)));
    let Ok((from, mut to)) = connected else {
        return block_on(ws.close(CloseCode::TRY_AGAIN_LATER, "the upstream cannot be reached"));
    };
    let sender = ws.sender();
    let back = thread::spawn(move || send_back(from, &sender));
    let forwarded = send_forth(&mut ws, &mut to);
    // Ends the other direction, if it has not ended this one.
    let _ = to.shutdown(Ends::Both);
    let _ = back.join();
    forwarded
}

/// Until the client's close frame, which may be its answer to ours.
fn send_forth(ws: &mut WebSocket, to: &mut TcpStream) -> Result<(), Error> {
    while let Some(message) = block_on(ws.recv_ref())? {
        if to.write_all(message.as_bytes()).is_err() {
            return block_on(ws.close(CloseCode::INTERNAL_ERROR, "the upstream takes no more"));
        }
    }
    Ok(())
}

fn send_back(mut from: TcpStream, sender: &Sender) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if block_on(sender.send_binary(&bytes[..count])).is_err() {
            return;
        }
    }
    // Fails if the client was the first to close.
    let _ = sender.close(CloseCode::NORMAL, "the upstream has ended");
}

/// The value of an option such as `--addr`.
fn option(name: &str, default: &str) -> String {
    std::env::args().skip_while(|argument| argument != name).nth(1).unwrap_or_else(|| default.to_owned())
}
