//! The client's side of the opening handshake: sends the request, reads the response, follows redirects.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http::header::{AUTHORIZATION, COOKIE};
use tidegate_engine::{Connection, instant_after};
use tidegate_http::Limits;
use tidegate_http::client::{InvalidResponse, ResponseEvent, ResponseReader};

use super::error::{ConnectError, RefusedResponse};
use super::redirect;
use super::settings::Settings;
use super::target::Target;
use super::transport::connect_to;
use crate::conn::compression::Compression;
use crate::conn::context::ConnContext;
use crate::conn::encoding::random_nonce;
use crate::conn::websocket::WebSocket;
use crate::handshake::{ClientHandshake, Established, Nonce, UpgradeResponseError};
use crate::role::Role;

/// The time in which the content of a refusal is waited for.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens a WebSocket to the server of `url`.
pub(super) async fn open(url: String, settings: Settings) -> Result<(WebSocket, Response<()>), ConnectError> {
    settings.config.check()?;
    let deadline = instant_after(Instant::now(), settings.handshake_timeout);
    let first = Target::parse(&url)?;
    let mut target = first.clone();
    let mut redirects = 0;
    loop {
        let refused = match attempt(&target, &settings, target.is_same_server(&first), deadline).await {
            Err(ConnectError::Refused(response)) if settings.redirects_max > 0 => response,
            opened => return opened,
        };
        let Some(location) = redirect::location_of(refused.status(), refused.headers()) else {
            return Err(ConnectError::Refused(refused));
        };
        let location = location.to_owned();
        if redirects == settings.redirects_max {
            return Err(ConnectError::TooManyRedirects { location });
        }
        redirects += 1;
        target = match redirect::resolve(&target, &location) {
            Ok(next) if target.is_secure && !next.is_secure => {
                return Err(ConnectError::Redirect { location, reason: "it would give up TLS" });
            }
            Ok(next) => next,
            Err(_) => {
                return Err(ConnectError::Redirect { location, reason: "it is not a ws, wss, http or https URL" });
            }
        };
    }
}

/// Performs one handshake. Credentials go to the server that the application named, and not to one that it redirects
/// to.
async fn attempt(
    target: &Target,
    settings: &Settings,
    with_credentials: bool,
    deadline: Instant,
) -> Result<(WebSocket, Response<()>), ConnectError> {
    let handshake = handshake(target, settings, with_credentials)?;
    let mut connection = connect_to(target, settings, deadline).await?;
    let mut head = Vec::new();
    handshake.encode(&mut head);
    connection.sender().send(head).await?;
    let response = read_response(&mut connection, ResponseReader::new(Limits::default()), deadline).await?;
    let checked = handshake.check_response(response.status(), response.version(), response.headers());
    let agreed = checked.and_then(|established| context_of(settings, established));
    match agreed {
        Ok(context) => {
            connection.set_read_deadline(None);
            Ok((WebSocket::with_context(connection, context), response.map(|_| ())))
        }
        Err(reason) => Err(ConnectError::Refused(Box::new(RefusedResponse::new(Some(reason), response)))),
    }
}

/// Returns the request.
fn handshake(target: &Target, settings: &Settings, with_credentials: bool) -> Result<ClientHandshake, ConnectError> {
    let mut handshake = ClientHandshake::new(&target.uri, Nonce::new(random_nonce()))?;
    for name in &settings.subprotocols {
        handshake = handshake.subprotocol(name)?;
    }
    if let Some(deflate) = &settings.deflate {
        handshake = handshake.extensions(deflate.offer());
    }
    for (name, value) in &settings.headers {
        if with_credentials || (name != AUTHORIZATION && name != COOKIE) {
            handshake = handshake.header(name.clone(), value.clone());
        }
    }
    Ok(handshake)
}

/// Returns the context of a connection with these agreements.
fn context_of(settings: &Settings, established: Established) -> Result<Arc<ConnContext>, UpgradeResponseError> {
    let params = match &settings.deflate {
        Some(deflate) => deflate.check_response(established.extensions.as_ref())?.map(|params| (deflate, params)),
        None => None,
    };
    let mut context = ConnContext::new(settings.config.clone());
    context.subprotocol = established.subprotocol.map(Into::into);
    Ok(match params {
        Some((deflate, params)) => context.with_compression(Compression::new(deflate, params, Role::Client)),
        None => context.masked(),
    })
}

/// Reads a response: its head, and the first bytes of its content if it refuses. What follows a 101 or begins a tunnel
/// stays in the connection.
pub(super) async fn read_response(
    connection: &mut Connection,
    mut reader: ResponseReader,
    deadline: Instant,
) -> Result<Response<Bytes>, ConnectError> {
    connection.set_read_deadline(Some(deadline));
    let head = loop {
        if !poll_fn(|cx| connection.poll_fill(cx)).await? {
            return Err(InvalidResponse::Incomplete.into());
        }
        let progress = reader.receive(connection.buffer())?;
        connection.consume(progress.consumed);
        if let Some(ResponseEvent::Head(head)) = progress.event {
            break head;
        }
    };
    let mut content = Vec::new();
    // The content is a courtesy: what has come of it by then is enough.
    connection.set_read_deadline(Some(deadline.min(instant_after(Instant::now(), CONTENT_TIMEOUT))));
    while !reader.is_ended() && content.len() < RefusedResponse::CONTENT_BYTES_MAX {
        let Ok(true) = poll_fn(|cx| connection.poll_fill(cx)).await else { break };
        let Ok(progress) = reader.receive(connection.buffer()) else { break };
        if let Some(ResponseEvent::Content(range)) = progress.event {
            content.extend_from_slice(&connection.buffer()[range]);
        }
        connection.consume(progress.consumed);
    }
    content.truncate(RefusedResponse::CONTENT_BYTES_MAX);
    connection.set_read_deadline(Some(deadline));
    Ok(head.map(|()| content.into()))
}
