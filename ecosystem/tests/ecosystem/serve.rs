//! The ways to serve an axum application: listeners, make-services, shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::handler::HandlerWithoutStateExt;
use axum::routing::get as get_route;
use tidegate::axum::{IncomingStream, serve, server};
use tidegate::engine::Address;
use tidegate::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::support::*;

async fn hello() -> &'static str {
    "hello"
}

async fn loopback() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// What `axum::serve` takes.
#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_of_services_are_served() {
    async fn served<S>(serving: S) -> tokio::task::JoinHandle<std::io::Result<()>>
    where
        S: IntoFuture<Output = std::io::Result<()>, IntoFuture: Send + 'static>,
    {
        tokio::spawn(serving.into_future())
    }
    let router = axum::Router::new().route("/", get_route(hello));
    let (listener, one) = loopback().await;
    served(serve(listener, router.clone())).await;
    let (listener, two) = loopback().await;
    served(serve(listener, router.clone().into_make_service())).await;
    let (listener, three) = loopback().await;
    served(serve(listener, get_route(hello))).await;
    let (listener, four) = loopback().await;
    served(serve(listener, hello.into_service())).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let five = listener.local_addr().unwrap();
    let serving = serve(listener, router);
    assert_eq!(serving.local_addr().unwrap(), five);
    served(serving).await;
    for address in [one, two, three, four, five] {
        assert_eq!(get(format!("http://{address}/")).await, (200, "hello".into()));
    }
}

/// Requests over a Unix-domain socket, with information about the connection by a type of the application.
#[tokio::test(flavor = "multi_thread")]
async fn unix_domain_sockets_are_served() {
    #[derive(Clone)]
    struct Ends(Address, Address);

    impl Connected<IncomingStream<'_>> for Ends {
        fn connect_info(stream: IncomingStream<'_>) -> Self {
            Ends(stream.remote_addr(), stream.local_addr())
        }
    }

    let path = std::env::temp_dir().join(format!("tidegate-ecosystem-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let handler = async |ConnectInfo(Ends(peer, local)): ConnectInfo<Ends>| format!("{peer} {local}");
    let app = axum::Router::new().route("/", get_route(handler)).into_make_service_with_connect_info::<Ends>();
    tokio::spawn(serve(listener, app).into_future());
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nunix unix"), "{answer}");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_see_the_peers_address() {
    let handler = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
    on_every_server(
        || axum::Router::new().route("/", get_route(handler)),
        async |site| {
            let mut stream = TcpStream::connect(site.address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with(&stream.local_addr().unwrap().to_string()), "{answer}");
        },
    )
    .await;
}

/// The request in flight is answered, new connections are refused, and the server ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_shutdown_finishes_requests() {
    let (begun, mut beginning) = mpsc::unbounded_channel();
    let (finish, finishing) = tokio::sync::watch::channel(false);
    let handler = move || {
        let (begun, mut finishing) = (begun.clone(), finishing.clone());
        async move {
            begun.send(()).unwrap();
            finishing.wait_for(|finish| *finish).await.unwrap();
            "finished"
        }
    };
    let (listener, address) = loopback().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let app = axum::Router::new().route("/", get_route(handler));
    let serving = serve(listener, app).with_graceful_shutdown(async { _ = stopped.await });
    let serving = tokio::spawn(serving.into_future());
    let request = tokio::spawn(get(format!("http://{address}/")));
    beginning.recv().await.unwrap();
    stop.send(()).unwrap();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    finish.send(true).unwrap();
    assert_eq!(request.await.unwrap(), (200, "finished".into()));
    serving.await.unwrap().unwrap();
}

/// WebSockets of axum's extractor learn of a shutdown by the end of their stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_shutdown_ends_websockets() {
    use axum::extract::ws::WebSocketUpgrade;
    use futures_util::StreamExt;

    let (ended, mut ends) = mpsc::unbounded_channel();
    let handler = async move |ws: WebSocketUpgrade| {
        let ended = ended.clone();
        ws.on_upgrade(async move |mut socket| {
            let _ = socket.send("ready".into()).await;
            while let Some(Ok(_)) = socket.recv().await {}
            ended.send(()).unwrap();
        })
    };
    let (listener, address) = loopback().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let app = axum::Router::new().route("/", get_route(handler));
    let serving = serve(listener, app).with_graceful_shutdown(async { _ = stopped.await });
    let serving = tokio::spawn(serving.into_future());
    let (mut ws, _) = tokio_tungstenite::connect_async(format!("ws://{address}/")).await.unwrap();
    assert_eq!(ws.next().await.unwrap().unwrap().into_text().unwrap(), "ready");
    stop.send(()).unwrap();
    ends.recv().await.unwrap();
    assert!(ws.next().await.is_none_or(|end| end.is_err()));
    drop(ws);
    serving.await.unwrap().unwrap();
}

/// Dropping the future stops the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_server_stops_listening() {
    let (listener, address) = loopback().await;
    let serving = serve(listener, axum::Router::new().route("/", get_route(hello))).into_future();
    // It never ends by itself: the timeout drops it after it has been polled.
    let serving = tokio::time::timeout(Duration::from_millis(1), serving).await;
    assert!(serving.is_err());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// A make-service of the application decides per request.
#[tokio::test(flavor = "multi_thread")]
async fn make_services_are_called() {
    on_every_engine(async |setup| {
        let make = tower::service_fn(async |stream: IncomingStream<'_>| {
            let local = stream.local_addr();
            let router = axum::Router::new().route("/", get_route(async move || format!("made for {local}")));
            Ok::<_, Infallible>(router)
        });
        let server = TestServer::of(&setup, server(make));
        assert_eq!(get(server.url("/")).await.1, format!("made for {}", server.address));
    })
    .await;
}

/// A builder of this crate, outside of any runtime.
#[test]
fn the_builder_makes_its_runtime() {
    let app = axum::Router::new().route(
        "/",
        get_route(async || {
            woken_by_a_timer_of_tokio().await;
            "woken"
        }),
    );
    let builder = server(app).bind("127.0.0.1:0").unwrap().workers(1).placement(HandlerPlacement::Inline);
    let running = builder.tokio_default().unwrap().start().unwrap();
    let url = format!("http://{}/", running.local_addr().unwrap());
    let client = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(client.block_on(get(url)), (200, "woken".into()));
    running.shutdown(Shutdown::immediate());
}
