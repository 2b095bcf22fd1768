//! Our client: one worker with inline handlers, one task for each connection.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tidegate::bytes::Bytes;
use tidegate::engine::time::sleep;
use tidegate::engine::{Engine, block_on, spawn_local};
use tidegate::prelude::*;
use tidegate::websocket::{Error, connect};
use tidegate_benches::cpu;

use crate::{Done, Load, Outcome};

pub fn run(load: &Load) -> Outcome<Done> {
    let config = Config::default().workers(1).pin(false).placement(HandlerPlacement::Inline);
    let running = Engine::client(config)?;
    let load = load.clone();
    let done = block_on(running.spawn(move || measure(load))).ok_or("the client panicked")?;
    running.shutdown(Shutdown::immediate());
    done.map_err(Into::into)
}

async fn measure(load: Load) -> Result<Done, String> {
    let messages = Rc::new(Cell::new(0));
    let payload = Bytes::from(vec![b'x'; load.size]);
    for _ in 0..load.connections {
        let opened = connect(format!("ws://{}/ws", load.address)).keepalive(None).await;
        let (ws, _response) = opened.map_err(|error| error.to_string())?;
        let (messages, payload, depth) = (Rc::clone(&messages), payload.clone(), load.depth);
        spawn_local(async move {
            let _ = echo(ws, &payload, depth, &messages).await;
        });
    }
    sleep(load.warm_up).await;
    let (count, busy) = (messages.get(), busy()?);
    sleep(load.time).await;
    Ok(Done { messages: messages.get() - count, busy: self::busy()? - busy })
}

async fn echo(mut ws: WebSocket, payload: &Bytes, depth: usize, messages: &Cell<u64>) -> Result<(), Error> {
    for _ in 0..depth {
        ws.send(payload.clone()).await?;
    }
    while ws.recv().await?.is_some() {
        messages.set(messages.get() + 1);
        ws.send(payload.clone()).await?;
    }
    Ok(())
}

/// Returns the processor time of all threads.
fn busy() -> Result<Duration, String> {
    cpu::process_times(std::process::id()).map(|times| times.busy).map_err(|error| error.to_string())
}
