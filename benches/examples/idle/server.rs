//! The server: an echo in each style of handler, which can be a member of a hub.

use std::hint::black_box;

use tidegate::engine::Running;
use tidegate::prelude::*;
use tidegate::websocket::{EventHandler, EventSocket, Registration, Upgrade};

use crate::Outcome;
use crate::options::{Options, refuse};

/// The way in which the handler is written.
#[derive(Clone, Copy)]
enum Style {
    Async,
    /// As `Async`, with the work for a message in a box.
    Boxed,
    Events,
}

fn style(text: &str) -> Result<Style, &'static str> {
    match text {
        "async" => Ok(Style::Async),
        "boxed" => Ok(Style::Boxed),
        "events" => Ok(Style::Events),
        _ => Err("must be async, boxed or events"),
    }
}

/// Starts the server, on a free port or on the Unix-domain socket `unix`. Returns it with the hub of all WebSockets, if
/// there is to be a broadcast.
pub fn start(options: &Options, workers: usize, backlog: usize, unix: Option<&str>) -> Outcome<(Running, Option<Hub>)> {
    let hub = options.given("--broadcast").map(|_| Hub::default());
    let style = options.value_with("--style", style);
    let upgrade = match options.value::<usize>("--future-bytes") {
        0 => upgrade::<0>(style, hub.clone()),
        1024 => upgrade::<1024>(style, hub.clone()),
        4096 => upgrade::<4096>(style, hub.clone()),
        16384 => upgrade::<16384>(style, hub.clone()),
        other => refuse(&format!("--future-bytes {other} must be 0, 1024, 4096 or 16384")),
    };
    let config = Config::default()
        .engine(options.value("--engine"))
        .placement(options.value("--handlers"))
        .workers(workers)
        .backlog(backlog);
    let app = Router::new().get("/ws", upgrade);
    let server = Server::builder(app);
    let server = match unix {
        Some(name) => server.bind_unix(name),
        None => server.bind("127.0.0.1:0")?,
    };
    Ok((server.config(config).start()?, hub))
}

/// Returns an echo whose handler needs `BYTES` of memory for a message.
fn upgrade<const BYTES: usize>(style: Style, hub: Option<Hub>) -> Upgrade {
    match style {
        Style::Events => websocket::upgrade_events(Echo::<BYTES>(hub)),
        Style::Boxed => websocket::upgrade(async move |mut ws| {
            let _member = register(hub.as_ref(), &ws)?;
            // Waiting costs what waiting needs: the memory for a message is in a box that lives as long as its answer.
            while let Some(message) = ws.recv().await? {
                Box::pin(answer::<BYTES>(&mut ws, message)).await?;
            }
            Ok(())
        }),
        Style::Async if BYTES == 0 && hub.is_none() => websocket::upgrade(|mut ws: WebSocket| async move {
            let sender = ws.sender();
            while let Some(message) = ws.recv_ref().await? {
                sender.send_ref(&message).await?;
            }
            Ok(())
        }),
        Style::Async => websocket::upgrade(async move |mut ws| {
            let _member = register(hub.as_ref(), &ws)?;
            let sender = ws.sender();
            let mut scratch = [0_u8; BYTES];
            while let Some(message) = ws.recv_ref().await? {
                work(&mut scratch, message.as_bytes());
                sender.send_ref(&message).await?;
            }
            Ok(())
        }),
    }
}

/// Boxed, so that the handler's future has only a pointer where there is no broadcast.
fn register(hub: Option<&Hub>, ws: &WebSocket) -> websocket::Result<Option<Box<Registration>>> {
    Ok(hub.map(|hub| hub.register(ws).map(Box::new)).transpose()?)
}

async fn answer<const BYTES: usize>(ws: &mut WebSocket, message: Message) -> websocket::Result {
    let mut scratch = [0_u8; BYTES];
    work(&mut scratch, message.as_bytes());
    ws.send(message).await?;
    work(&mut scratch, &[]);
    Ok(())
}

/// Uses the scratch memory, so that the compiler cannot do without it.
fn work(scratch: &mut [u8], message: &[u8]) {
    for (byte, from) in scratch.iter_mut().zip(message) {
        *byte ^= from;
    }
    black_box(scratch);
}

struct Echo<const BYTES: usize>(Option<Hub>);

impl<const BYTES: usize> EventHandler for Echo<BYTES> {
    type State = Option<Box<Registration>>;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<Option<Box<Registration>>> {
        Ok(self.0.as_ref().map(|hub| hub.register(ws).map(Box::new)).transpose()?)
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        _member: &mut Option<Box<Registration>>,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        let mut scratch = [0_u8; BYTES];
        work(&mut scratch, message.as_bytes());
        Ok(ws.send(message)?)
    }
}
