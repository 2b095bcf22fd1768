//! Our client: one worker, one task for each connection.

use std::cell::Cell;
use std::rc::Rc;

use tidegate::bytes::Bytes;
use tidegate::engine::time::sleep;
use tidegate::engine::{Engine, block_on, spawn_local};
use tidegate::prelude::*;
use tidegate::websocket::{Error, connect};
use tidegate_benches::measure::Measured;

use crate::{Load, Outcome, Span};

pub fn inline(load: &Load) -> Outcome<Measured> {
    run(load, EngineKind::Uring, HandlerPlacement::Inline)
}

pub fn same_core(load: &Load) -> Outcome<Measured> {
    run(load, EngineKind::Uring, HandlerPlacement::SameCore)
}

pub fn portable(load: &Load) -> Outcome<Measured> {
    run(load, EngineKind::Portable, HandlerPlacement::Inline)
}

pub fn portable_same_core(load: &Load) -> Outcome<Measured> {
    run(load, EngineKind::Portable, HandlerPlacement::SameCore)
}

fn run(load: &Load, engine: EngineKind, placement: HandlerPlacement) -> Outcome<Measured> {
    let config = Config::default().engine(engine).workers(1).pin(false).placement(placement);
    let running = Engine::client(config)?;
    let load = load.clone();
    let measured =
        block_on(running.spawn(move || async move { measure(load).await.map_err(|error| error.to_string()) }));
    running.shutdown(Shutdown::immediate());
    Ok(measured.ok_or("the client panicked")??)
}

async fn measure(load: Load) -> Outcome<Measured> {
    let messages = Rc::new(Cell::new(0));
    let payload = Bytes::from(vec![b'x'; load.size]);
    for _ in 0..load.connections {
        let (ws, _response) = connect(format!("ws://{}/ws", load.address)).keepalive(None).await?;
        let (messages, payload, depth) = (Rc::clone(&messages), payload.clone(), load.depth);
        spawn_local(async move {
            let _ = echo(ws, &payload, depth, &messages).await;
        });
    }
    sleep(load.warmup).await;
    let span = Span::begin(&load, std::process::id(), messages.get())?;
    sleep(load.time).await;
    span.end(messages.get())
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
