//! A proxy to a TCP server and to a WebSocket server. The messages of a client on `/tcp` go to the TCP server straight
//! from the receive buffer; bytes from the server come back as binary messages. A client on `/ws` talks to the
//! WebSocket server: messages and close codes pass in both directions. Backpressure works in both directions, too.
//!
//! The handler of `/tcp` is in blocking style, with two threads for each client, because the TCP side uses std. That of
//! `/ws` opens the second WebSocket on its own worker, and no message leaves its thread.
//!
//! ```text
//! nc -lk 127.0.0.1 7000 &
//! cargo run --release --example echo -- --addr 127.0.0.1:9002 &
//! cargo run --release --example proxy -- --addr 127.0.0.1:9001 --upstream 127.0.0.1:7000 \
//!     --websocket-upstream ws://127.0.0.1:9002/ws
//! cargo run --release --example wscat -- ws://127.0.0.1:9001/ws
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::io::{Read, Write};
use std::net::{Shutdown as Ends, TcpStream};
use std::pin::pin;
use std::thread;

use futures_util::future::select;
use support::server;
use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::websocket::{Error, HandlerError, Sender, connect};

fn main() -> tidegate::Result<()> {
    let own = [
        ("--upstream ADDRESS", "127.0.0.1:7000", "TCP server to forward /tcp to"),
        ("--websocket-upstream URL", "ws://127.0.0.1:9002/ws", "WebSocket server to forward /ws to"),
    ];
    let options = server::options("Forwards WebSockets to a TCP server and to a WebSocket server.", &own);
    let upstream: String = options.value("--upstream");
    let tcp = websocket::upgrade(async move |ws| {
        let upstream = upstream.clone();
        thread::spawn(move || {
            if let Err(error) = forward(ws, &upstream) {
                eprintln!("a connection failed: {error}");
            }
        });
        Ok(())
    });
    let url: String = options.value("--websocket-upstream");
    let websockets = websocket::upgrade(async move |ws| relay(ws, &url).await);
    let app = Router::new().get("/tcp", tcp).get("/ws", websockets);

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

/// Connects a client with the WebSocket server, until one of them closes. The other gets its close code.
async fn relay(mut ws: WebSocket, url: &str) -> websocket::Result {
    let Ok((mut upstream, _response)) = connect(url).await else {
        return Err(HandlerError::close(CloseCode::TRY_AGAIN_LATER, "the upstream is unreachable"));
    };
    let (to_client, to_upstream) = (ws.sender(), upstream.sender());
    {
        let there = pin!(pump(&mut ws, &to_upstream));
        let back = pin!(pump(&mut upstream, &to_client));
        select(there, back).await;
    }
    let (there, back) = (closing_code(&ws), closing_code(&upstream));
    if let Some(code) = there {
        let _ = upstream.close(code, "").await;
    }
    if let Some(code) = back {
        let _ = ws.close(code, "").await;
    }
    Ok(())
}

/// Passes messages on, without owning them, until their sender closes or is lost.
async fn pump(from: &mut WebSocket, to: &Sender) -> Result<(), Error> {
    while let Some(message) = from.recv_ref().await? {
        to.send_ref(&message).await?;
    }
    Ok(())
}

/// Returns the code with which a side has closed, if it can be passed on.
fn closing_code(ws: &WebSocket) -> Option<CloseCode> {
    let code = ws.close_frame()?.code();
    code.is_sendable().then_some(code)
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
