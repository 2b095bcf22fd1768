//! actix-web and actix-ws with one worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_files::Files;
use actix_web::http::header::{CONTENT_TYPE, SERVER};
use actix_web::middleware::Compress;
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Closed, Session};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_benches::socket;
use tokio::sync::Mutex;

use crate::{HELLO, Hello, MESSAGE_BYTES_MAX, Outcome};

/// The most connections of a worker. The default is 25,000.
const CONNECTIONS_MAX: usize = 200_000;

/// Sessions of the hub, kept as in the chat example of actix-ws.
type Hub = Arc<Mutex<Vec<Session>>>;

pub fn serve(address: SocketAddr) -> Outcome {
    let listener = socket::listen(address)?;
    let hub = web::Data::new(Hub::default());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(hub.clone())
            .route("/plaintext", web::get().to(plaintext))
            .route("/ws", web::get().to(echo))
            .route("/hub", web::get().to(attend))
            .service(web::resource("/json").wrap(Compress::default()).route(web::get().to(json)))
            .service(Files::new("/files", crate::folder()))
    });
    // Otherwise a closed WebSocket waits up to a second for its peer's FIN.
    let server = server.client_disconnect_timeout(Duration::ZERO);
    let server = server.workers(1).max_connections(CONNECTIONS_MAX).disable_signals();
    let server = match crate::tls::rustls()? {
        Some(config) => server.listen_rustls_0_23(listener, config)?,
        None => server.listen(listener)?,
    };
    rt::System::new().block_on(server.run())?;
    Ok(())
}

async fn plaintext() -> HttpResponse {
    HttpResponse::Ok().insert_header((SERVER, "actix")).insert_header((CONTENT_TYPE, "text/plain")).body(HELLO)
}

async fn json(hello: web::Query<Hello>) -> web::Json<Hello> {
    web::Json(hello.into_inner())
}

/// Opens the WebSocket that `request` asks for.
fn open(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<(HttpResponse, Session, AggregatedMessageStream), Error> {
    let (response, session, messages) = actix_ws::handle(request, payload)?;
    let messages = messages.max_frame_size(MESSAGE_BYTES_MAX).aggregate_continuations();
    Ok((response, session, messages.max_continuation_size(MESSAGE_BYTES_MAX)))
}

async fn echo(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Error> {
    let (response, mut session, mut messages) = open(&request, payload)?;
    rt::spawn(async move {
        while let Some(Ok(message)) = messages.recv().await {
            if let AggregatedMessage::Close(reason) = message {
                let _ = session.close(reason).await;
                return;
            }
            if send(&mut session, message).await.is_err() {
                return;
            }
        }
    });
    Ok(response)
}

async fn attend(request: HttpRequest, payload: web::Payload, hub: web::Data<Hub>) -> Result<HttpResponse, Error> {
    let (response, mut session, mut messages) = open(&request, payload)?;
    hub.lock().await.push(session.clone());
    rt::spawn(async move {
        while let Some(Ok(message)) = messages.recv().await {
            match message {
                AggregatedMessage::Text(_) | AggregatedMessage::Binary(_) => publish(&hub, &message).await,
                AggregatedMessage::Close(reason) => {
                    let _ = session.close(reason).await;
                    return;
                }
                control => {
                    if send(&mut session, control).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Ok(response)
}

/// Answers `message`: echoes data, sends a pong for a ping.
async fn send(session: &mut Session, message: AggregatedMessage) -> Result<(), Closed> {
    match message {
        AggregatedMessage::Text(text) => session.text(text).await,
        AggregatedMessage::Binary(payload) => session.binary(payload).await,
        AggregatedMessage::Ping(payload) => session.pong(&payload).await,
        AggregatedMessage::Pong(_) | AggregatedMessage::Close(_) => Ok(()),
    }
}

/// Sends `message` to all connections at once and removes the closed ones.
async fn publish(hub: &Hub, message: &AggregatedMessage) {
    let mut sessions = hub.lock().await;
    let mut sending: FuturesUnordered<_> = sessions
        .drain(..)
        .map(|mut session| {
            let message = match message {
                AggregatedMessage::Text(text) => AggregatedMessage::Text(text.clone()),
                AggregatedMessage::Binary(payload) => AggregatedMessage::Binary(payload.clone()),
                _ => unreachable!("only data is published"),
            };
            async move { send(&mut session, message).await.map(|()| session) }
        })
        .collect();
    while let Some(sent) = sending.next().await {
        sessions.extend(sent);
    }
}
