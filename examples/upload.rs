//! Uploads with streamed reads: messages can be larger than memory.
//!
//! `/upload` answers each message with its size and its Adler-32 checksum. `/copy` sends each message back while it
//! arrives.
//!
//! ```text
//! cargo run --release --example upload -- --addr 127.0.0.1:9001
//! ```
//! ```python
//! with connect("ws://127.0.0.1:9001/upload") as ws:
//!     ws.send(data)
//!     assert ws.recv() == f"{len(data)} bytes, Adler-32 {zlib.adler32(data):08x}"
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use support::server;
use tidegate::prelude::*;

fn main() -> tidegate::Result<()> {
    let options = server::options("Reads messages of any size in pieces, and sends them back.", &[]);
    let config = WebSocketConfig::default().message_bytes_max(16 << 30);
    let app = Router::new()
        .get("/upload", websocket::upgrade(upload).config(config.clone()))
        .get("/copy", websocket::upgrade(copy).config(config));

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

async fn upload(mut ws: WebSocket) -> websocket::Result {
    while let Some(mut message) = ws.recv_stream().await? {
        let (mut size, mut checksum) = (0, Adler32::default());
        while let Some(piece) = message.next().await? {
            let piece = bytes(piece);
            size += piece.len();
            checksum.add(piece);
        }
        ws.send(format!("{size} bytes, Adler-32 {:08x}", checksum.value())).await?;
    }
    Ok(())
}

async fn copy(mut ws: WebSocket) -> websocket::Result {
    let sender = ws.sender();
    while let Some(mut message) = ws.recv_stream().await? {
        let mut copy = sender.send_stream(message.kind()).await?;
        while let Some(piece) = message.next().await? {
            // Waits while the client reads slowly. Meanwhile nothing is read from it.
            copy.write(bytes(piece)).await?;
        }
        copy.finish().await?;
    }
    Ok(())
}

fn bytes(piece: PayloadRef<'_>) -> &[u8] {
    match piece {
        PayloadRef::Text(text) => text.as_bytes(),
        PayloadRef::Binary(bytes) => bytes,
    }
}

/// The checksum of RFC 1950.
struct Adler32(u32, u32);

impl Default for Adler32 {
    fn default() -> Self {
        Self(1, 0)
    }
}

impl Adler32 {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 + u32::from(*byte)) % 65521;
            self.1 = (self.1 + self.0) % 65521;
        }
    }

    fn value(&self) -> u32 {
        self.1 << 16 | self.0
    }
}
