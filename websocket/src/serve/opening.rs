//! The opening handshake as HTTP sees it: checks the request, answers 101, and starts the WebSocket's task.

use std::sync::Arc;

use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, StatusCode};
use tidegate_engine::Connection;
use tidegate_http::{
    Handler, HandlerName, LocalBoxFuture, OnUpgrade, Reply, Request, RequestHead, Response, ResponseBody,
};

use super::hooks::{Hooks, authorize_in_time};
use super::task::Serve;
use super::upgrade::Upgrade;
use crate::conn::attachments::Attachments;
use crate::conn::compression::Compression;
use crate::conn::context::ConnContext;
use crate::handshake::{AcceptKey, Offer, UpgradeRequestError, is_websocket_request};
use crate::role::Role;

#[diagnostic::do_not_recommend]
impl Handler for Upgrade {
    fn handle(&self, request: Request) -> Reply<'_> {
        let head = request.head();
        if self.skips(head) || (self.next.is_some() && !is_websocket_request(head)) {
            return self.pass_on(request);
        }
        let offer = Offer::parse(head.method(), head.version(), head)
            .and_then(|offer| self.check_origin_of(head).map(|()| offer).map_err(UpgradeRequestError::from));
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => return Reply::Ready(refuse(head, error)),
        };
        let agreement = match self.deflate.as_ref().map(|deflate| deflate.accept(offer.extensions())).transpose() {
            Ok(agreement) => agreement.flatten(),
            Err(error) => return Reply::Ready(refuse(head, error)),
        };
        let acceptance = offer.accept(&self.subprotocols);
        let mut opening = Opening {
            accept_key: acceptance.accept_key(),
            extension: None,
            handler: Arc::clone(&self.handler),
            context: Arc::clone(self.context_of(acceptance.subprotocol())),
        };
        if let (Some(agreement), Some(deflate)) = (agreement, &self.deflate) {
            opening.context =
                opening.context.with_compression(Compression::new(deflate, agreement.params, Role::Server));
            opening.extension = Some(agreement.response);
        }
        if self.hooks.is_empty() {
            return Reply::Ready(opening.without_hooks());
        }
        let (head, hooks) = (request.into_parts().0, Arc::clone(&self.hooks));
        let Some(authorize) = hooks.authorize.clone() else {
            return Reply::Ready(opening.with_hooks(hooks, head, Attachments::default()));
        };
        Reply::Pending(Box::pin(async move {
            let attachments = Attachments::default();
            match authorize_in_time(&*authorize, &head, &attachments.extensions, hooks.handshake_timeout).await {
                Ok(()) => opening.with_hooks(hooks, head, attachments),
                Err(response) => response,
            }
        }))
    }
}

/// A handshake that has passed the checks.
struct Opening {
    accept_key: AcceptKey,
    extension: Option<HeaderValue>,
    handler: Arc<dyn Serve>,
    context: Arc<ConnContext>,
}

impl Opening {
    /// Returns the 101 of a connection without hooks.
    fn without_hooks(self) -> Response {
        let Self { accept_key, extension, handler, context } = self;
        let subprotocol = context.subprotocol.clone();
        let response = switching_protocols(move |connection| handler.serve(connection, context));
        with_acceptance(response, accept_key, subprotocol.as_deref(), extension)
    }

    /// Returns the 101 of a connection with hooks.
    fn with_hooks(self, hooks: Arc<Hooks>, head: RequestHead, mut attachments: Attachments) -> Response {
        let Self { accept_key, extension, handler, context } = self;
        let subprotocol = context.subprotocol.clone();
        attachments.request = hooks.keep_request.then_some(head);
        let attachments = Arc::new(attachments);
        let context = context.with_attachments(Arc::clone(&attachments));
        let response = if hooks.is_lasting() {
            switching_protocols(move |connection| handler.serve_with_hooks(connection, context, attachments, hooks))
        } else {
            switching_protocols(move |connection| handler.serve(connection, context))
        };
        with_acceptance(response, accept_key, subprotocol.as_deref(), extension)
    }
}

/// Returns the 101. `Response::upgrade` would box the boxed future again.
fn switching_protocols(run: impl FnOnce(Connection) -> LocalBoxFuture<'static, ()> + 'static) -> Response {
    Response::new(StatusCode::SWITCHING_PROTOCOLS)
        .with_header(UPGRADE, HeaderValue::from_static("websocket"))
        .with_body(ResponseBody::Upgrade(OnUpgrade::from_boxed(run)))
}

fn with_acceptance(
    mut response: Response,
    accept_key: AcceptKey,
    subprotocol: Option<&str>,
    extension: Option<HeaderValue>,
) -> Response {
    response.set_header(SEC_WEBSOCKET_ACCEPT, accept_key.into());
    // The client sent the name in a header, so it is a valid header value.
    if let Some(value) = subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
        response.set_header(SEC_WEBSOCKET_PROTOCOL, value);
    }
    if let Some(value) = extension {
        response.set_header(SEC_WEBSOCKET_EXTENSIONS, value);
    }
    response
}

/// Returns the response to a request with this error, and logs the reason.
fn refuse(head: &RequestHead, error: UpgradeRequestError) -> Response {
    if log::log_enabled!(log::Level::Debug) {
        let mend = match error {
            UpgradeRequestError::Origin(_) => {
                "; allow its origin with `allow_origins`, or set `scheme` behind a proxy that terminates TLS"
            }
            _ => "",
        };
        let peer = head.peer_addr().map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
        log::debug!("{} refused the WebSocket of {peer}: {error}{mend}", HandlerName::current());
    }
    let (parts, body) = error.response().into_parts();
    let mut response = Response::text(body).with_status(parts.status);
    for (name, value) in &parts.headers {
        // The HTTP server writes Connection itself.
        if name == UPGRADE || name.as_str().starts_with("sec-websocket") {
            response.set_header(name.clone(), value.clone());
        }
    }
    response
}
