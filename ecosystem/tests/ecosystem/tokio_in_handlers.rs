//! tokio, and the clients on it, in handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tidegate::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message as Tungstenite;

use crate::support::*;

/// A handler that asks another server, by reqwest.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_asks_another_server() {
    let backend = axum::Router::new().route("/price", axum::routing::get(|| async { "17" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend_url = format!("http://{}/price", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, backend).into_future());
    on_every_engine(async |setup| {
        let url = backend_url.clone();
        let app = Router::new().get("/shop", async move |_request: Request| -> web::Result<String> {
            Ok(format!("price: {}", client().get(&url).send().await?.text().await?))
        });
        let server = TestServer::start(&setup, app);
        assert_eq!(get(server.url("/shop")).await, (200, "price: 17".to_owned()));
    })
    .await;
}

/// Timers, tasks, blocking tasks, files and sockets of tokio.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_uses_everything_of_tokio() {
    on_every_engine(async |setup| {
        let app = Router::new().get("/", async |_request: Request| -> web::Result<String> {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            for _ in 0..3 {
                ticks.tick().await;
            }
            let timeout = tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
            let spawned = tokio::spawn(async { 20 }).await?;
            let blocking = tokio::task::spawn_blocking(|| 22).await?;
            let manifest = tokio::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).await?;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            let (connected, accepted) =
                tokio::join!(tokio::net::TcpStream::connect(listener.local_addr()?), listener.accept());
            connected?.write_all(b"socket").await?;
            let mut text = String::new();
            accepted?.0.read_to_string(&mut text).await?;
            assert!(manifest.starts_with("[package]"));
            Ok(format!("{} {} {text}", timeout.is_err(), spawned + blocking))
        });
        let server = TestServer::start(&setup, app);
        assert_eq!(get(server.url("/")).await, (200, "true 42 socket".to_owned()));
    })
    .await;
}

/// A program without a runtime of its own: the server makes one.
#[test]
fn the_default_runtime_ends_with_the_server() {
    for setup in setups() {
        println!("on {}", setup.name);
        struct Ended(std::sync::mpsc::Sender<()>);
        impl Drop for Ended {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (end, ended) = std::sync::mpsc::channel();
        let app = Router::new().get("/", async move |_request: Request| {
            let end = Ended(end.clone());
            tokio::spawn(async move {
                let _end = end;
                std::future::pending::<()>().await;
            });
            woken_by_a_timer_of_tokio().await;
            "woken"
        });
        let server = TestServer::of(&setup, Server::builder(app).tokio_default().unwrap());
        let client = tokio::runtime::Runtime::new().unwrap();
        assert_eq!(client.block_on(get(server.url("/"))), (200, "woken".to_owned()));
        assert!(ended.try_recv().is_err(), "a task of the runtime ended early");
        // Inside another runtime, where a runtime must not be dropped by waiting for it.
        client.block_on(async { drop(server) });
        ended.recv_timeout(PATIENCE).unwrap();
    }
}

/// A WebSocket handler waits for a message, a timer and a channel at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_selects_among_messages_timers_and_channels() {
    on_every_engine(async |setup| {
        let (news, _) = broadcast::channel::<String>(16);
        let source = news.clone();
        let app = Router::new().get(
            "/ws",
            websocket::upgrade(async move |mut ws| {
                let mut news = source.subscribe();
                let mut ticks = tokio::time::interval(Duration::from_millis(5));
                let mut ticked = 0;
                loop {
                    tokio::select! {
                        message = ws.recv() => match message? {
                            Some(message) => ws.send(format!("echo {}", message.as_text().unwrap_or_default())).await?,
                            None => return Ok(()),
                        },
                        item = news.recv() => ws.send(item?).await?,
                        _ = ticks.tick(), if ticked < 3 => {
                            ticked += 1;
                            ws.send(format!("tick {ticked}")).await?;
                        }
                    }
                }
            }),
        );
        let server = TestServer::start(&setup, app);
        let (mut ws, _) = connect_async(format!("ws://{}/ws", server.address)).await.unwrap();
        let mut seen = Vec::new();
        ws.send(Tungstenite::text("one")).await.unwrap();
        while seen.len() < 4 {
            seen.push(ws.next().await.unwrap().unwrap().into_text().unwrap().to_string());
        }
        news.send("news".to_owned()).unwrap();
        seen.push(ws.next().await.unwrap().unwrap().into_text().unwrap().to_string());
        seen.sort();
        assert_eq!(seen, ["echo one", "news", "tick 1", "tick 2", "tick 3"]);
        ws.close(None).await.unwrap();
    })
    .await;
}

/// A task on the runtime's threads sends after the handler that spawned it has returned from its branch.
#[tokio::test(flavor = "multi_thread")]
async fn a_spawned_task_keeps_a_sender() {
    on_every_engine(async |setup| {
        let (requests, mut queue) = mpsc::unbounded_channel::<websocket::Sender>();
        let worker = tokio::spawn(async move {
            let mut served = 0;
            while let Some(sender) = queue.recv().await {
                served += 1;
                sender.send(format!("job {served}")).await.unwrap();
                // The handler has returned, so this closes the connection.
                sender.close(CloseCode::NORMAL, "done").unwrap();
            }
            served
        });
        let app = Router::new().get(
            "/ws",
            websocket::upgrade(async move |ws: WebSocket| {
                spawn_local_owner(ws, requests.clone());
                Ok(())
            }),
        );
        let server = TestServer::start(&setup, app);
        let (mut ws, _) = connect_async(format!("ws://{}/ws", server.address)).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap().into_text().unwrap(), "job 1");
        let close = ws.next().await.unwrap().unwrap();
        assert!(close.is_close(), "{close:?}");
        drop(ws);
        drop(server);
        assert_eq!(worker.await.unwrap(), 1);
    })
    .await;
}

/// Keeps the WebSocket open without its handler, and asks for a job once the handler has returned: the task runs on the
/// thread of the handler, which does not wait for anything.
fn spawn_local_owner(mut ws: WebSocket, requests: mpsc::UnboundedSender<websocket::Sender>) {
    tidegate::spawn_local(async move {
        requests.send(ws.sender()).unwrap();
        drop(requests);
        while let Ok(Some(_)) = ws.recv().await {}
    });
}

/// The wakes of another runtime's threads are not lost.
#[tokio::test(flavor = "multi_thread")]
async fn many_handlers_are_woken_by_the_runtime() {
    on_every_engine(async |setup| {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let app = Router::new().get("/", async move |_request: Request| {
            for turn in 0..20 {
                if turn % 2 == 0 {
                    tokio::spawn(tokio::task::yield_now()).await.unwrap();
                } else {
                    woken_by_a_timer_of_tokio().await;
                }
            }
            counted.fetch_add(1, Ordering::Relaxed);
            "done"
        });
        let server = TestServer::start(&setup, app);
        let clients: Vec<_> = (0..50).map(|_| tokio::spawn(get(server.url("/")))).collect();
        for client in clients {
            assert_eq!(client.await.unwrap().1, "done");
        }
        assert_eq!(count.load(Ordering::Relaxed), 50);
    })
    .await;
}

/// A server starts and stops inside an async program, and its end is awaited.
#[tokio::test]
async fn a_server_lives_inside_a_runtime() {
    let app = Router::new().get("/", async |_request: Request| {
        woken_by_a_timer_of_tokio().await;
        Handle::current().metrics().num_workers().to_string()
    });
    let builder = Server::builder(app).bind("127.0.0.1:0").unwrap().workers(1).tokio(Handle::current());
    let running = builder.start().unwrap();
    let (url, handle) = (format!("http://{}/", running.local_addr().unwrap()), running.handle());
    assert_eq!(get(url).await, (200, "1".to_owned()));
    handle.begin_shutdown(Shutdown::default());
    assert_eq!(running.stopped().await.failed_workers, 0);
}

/// Connections as tokio's streams.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_streams_of_tokio() {
    let engine = tidegate::engine::Engine::new(Config::default().workers(1).pin(false)).bind("127.0.0.1:0").unwrap();
    let running = engine
        .start(async |connection| {
            let (mut read, mut write) = tokio::io::split(connection);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
        })
        .unwrap();
    let mut client = tokio::net::TcpStream::connect(running.local_addr().unwrap()).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|byte| ((byte * 31) >> 3) as u8).collect();
    let (mut read, mut write) = client.split();
    let mut received = Vec::new();
    let (_, _) = tokio::join!(
        async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        },
        read.read_to_end(&mut received)
    );
    assert!(received == sent, "the echo differs");
    drop(client);
    running.shutdown(Shutdown::immediate());
}

/// Connections as streams of the futures crates.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_streams_of_futures() {
    let engine = tidegate::engine::Engine::new(Config::default().workers(1).pin(false)).bind("127.0.0.1:0").unwrap();
    let running = engine
        .start(async |connection| {
            let (read, mut write) = futures_util::AsyncReadExt::split(connection);
            futures_util::io::copy(read, &mut write).await.unwrap();
            futures_util::AsyncWriteExt::close(&mut write).await.unwrap();
        })
        .unwrap();
    let mut client = tokio::net::TcpStream::connect(running.local_addr().unwrap()).await.unwrap();
    client.write_all(b"to futures and back").await.unwrap();
    client.shutdown().await.unwrap();
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert_eq!(received, "to futures and back");
    running.shutdown(Shutdown::immediate());
}
