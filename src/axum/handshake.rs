//! Upgrades of axum applications.
//!
//! axum's WebSockets, and other code for hyper, take the connection from hyper's `OnUpgrade`, which only hyper can
//! make. So a request that asks for an upgrade is accompanied by a request of constant bytes to a hyper of its own,
//! which makes an `OnUpgrade` for it. The application answers the real request. If it answers 101, that hyper is let
//! finish its own upgrade, and its transport becomes the real connection.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use ::axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade as HyperUpgrade;

use super::upgrade_io::{Handover, UpgradeIo};
use crate::http;
use crate::http::{Extensions, StatusCode, header};
use crate::web::{Handler, OnUpgrade, Request, RequestHead, Response, ResponseBody};
use crate::websocket::Upgrade;

/// A hyper that makes an `OnUpgrade`, until the application has answered.
pub(super) struct Handshake {
    hyper: Pin<Box<dyn Future<Output = Result<(), hyper::Error>>>>,
    /// Set when the application has answered 101.
    switching: Rc<Cell<bool>>,
    handover: Handover,
}

impl Handshake {
    /// Adds hyper's `OnUpgrade` to the extensions of a request, and the mark of
    /// [`WebSocketUpgrade`](super::WebSocketUpgrade).
    pub(super) fn start(extensions: &mut Extensions) -> Option<Handshake> {
        extensions.insert(Upgradable);
        let (io, handover) = UpgradeIo::new();
        let switching = Rc::new(Cell::new(false));
        let made = Rc::new(RefCell::new(None));
        let (switch, make) = (Rc::clone(&switching), Rc::clone(&made));
        let answer = service_fn(move |mut request: http::Request<Incoming>| {
            *make.borrow_mut() = Some(hyper::upgrade::on(&mut request));
            let switch = Rc::clone(&switch);
            // Polled with its connection, which needs no wake.
            poll_fn(move |_| match switch.get() {
                true => Poll::Ready(Ok::<_, Infallible>(switching_protocols())),
                false => Poll::Pending,
            })
        });
        let hyper = http1::Builder::new().auto_date_header(false).serve_connection(io, answer).with_upgrades();
        let mut handshake = Handshake { hyper: Box::pin(hyper), switching, handover };
        // It reads the constant request, and its service makes the `OnUpgrade`.
        let polled = handshake.hyper.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let on_upgrade: Option<HyperUpgrade> = made.take();
        match (polled, on_upgrade) {
            (Poll::Pending, Some(on_upgrade)) => {
                extensions.insert(on_upgrade);
                Some(handshake)
            }
            _ => {
                log::error!("hyper did not begin an upgrade");
                None
            }
        }
    }

    /// Returns the 101 of the application. After it the connection goes to the holder of the `OnUpgrade`.
    pub(super) async fn complete(self, response: http::Response<Body>) -> Response {
        let Handshake { mut hyper, switching, handover } = self;
        switching.set(true);
        if let Err(error) = hyper.as_mut().await {
            log::error!("hyper did not complete an upgrade: {error}");
            return Response::new(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let on_upgrade = OnUpgrade::from_boxed(move |connection| {
            handover.complete(connection);
            Box::pin(ready(()))
        });
        let switching = Response::new(StatusCode::SWITCHING_PROTOCOLS).with_body(ResponseBody::Upgrade(on_upgrade));
        with_fields(switching, &response)
    }
}

/// The answer of the hyper that accompanies a request. Its bytes go nowhere.
fn switching_protocols() -> http::Response<String> {
    let mut response = http::Response::new(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
}

/// The mark of a request that can be upgraded by this server: an extension.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upgradable;

/// The WebSocket that an application answers with: an extension of its response.
#[derive(Clone)]
pub(super) struct Upgrading(Arc<Mutex<Option<Upgrade>>>);

impl Upgrading {
    pub(super) fn new(upgrade: Upgrade) -> Self {
        Self(Arc::new(Mutex::new(Some(upgrade))))
    }
}

impl fmt::Debug for Upgrading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrading")
    }
}

/// Takes the WebSocket out of a response of the application.
pub(super) fn take_upgrade(response: &mut http::Response<Body>) -> Option<Upgrade> {
    let Upgrading(upgrade) = response.extensions_mut().remove()?;
    upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Answers with a WebSocket of this crate, and with the fields that the application's layers have added.
pub(super) async fn answer_websocket(upgrade: Upgrade, head: RequestHead, response: http::Response<Body>) -> Response {
    let request = Request::from_parts(head, crate::web::Body::default());
    let answer = upgrade.handle(request).response().await;
    with_fields(answer, &response)
}

/// Adds the fields of the application's response, except those that the opening handshake has set.
fn with_fields(mut answer: Response, response: &http::Response<Body>) -> Response {
    for name in response.headers().keys() {
        if *name == header::CONNECTION || *name == header::CONTENT_LENGTH || answer.header(name).is_some() {
            continue;
        }
        for value in response.headers().get_all(name) {
            answer.append_header(name.clone(), value.clone());
        }
    }
    answer
}
