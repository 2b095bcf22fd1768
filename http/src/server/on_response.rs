//! A function of the application that sees every response before it is sent.
//!
//! Owns the wrapper that calls it for the responses of handlers, and the request that such a response is for. The
//! answers of the server itself, such as those to requests that it refuses, are shown to it where they are made. A
//! server without such a function has no wrapper.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use tidegate_engine::{Address, Connection, panic_message};

use crate::error::RequestError;
use crate::message::head::RequestHead;
use crate::message::request::Request;
use crate::message::response::Response;
use crate::server::handler::{Handler, Reply};

/// The request that a response is for, for the function of
/// [`ServerBuilder::on_response`](crate::ServerBuilder::on_response).
#[derive(Debug)]
pub struct RequestInfo {
    head: Option<RequestHead>,
    refusal: Option<RequestError>,
    ends: Option<(Address, Address)>,
}

impl RequestInfo {
    fn new(head: &RequestHead) -> RequestInfo {
        let ends = head.peer_addr().zip(head.local_addr());
        RequestInfo { head: Some(head.copy()), refusal: None, ends }
    }

    /// Returns the head, without what handlers and middleware have attached to it; `None` if the request was refused
    /// before it had a head.
    pub fn head(&self) -> Option<&RequestHead> {
        self.head.as_ref()
    }

    /// Returns the reason why the server has refused the request; `None` if a handler was called.
    pub fn refusal(&self) -> Option<RequestError> {
        self.refusal
    }

    /// Returns the peer's address; `None` if the request was not received over a connection.
    pub fn peer_addr(&self) -> Option<Address> {
        self.ends.map(|(peer, _)| peer)
    }

    /// Returns the address the peer connected to; `None` if the request was not received over a connection.
    pub fn local_addr(&self) -> Option<Address> {
        self.ends.map(|(_, local)| local)
    }
}

thread_local! {
    /// The request whose observed handler was called or polled last on this thread.
    static CURRENT: RefCell<Option<Rc<RequestInfo>>> = const { RefCell::new(None) };
}

/// The function that sees responses.
#[derive(Clone)]
pub(crate) struct OnResponse(Arc<Callback>);

type Callback = dyn Fn(&RequestInfo, &mut Response) + Send + Sync;

impl OnResponse {
    pub(crate) fn new(observe: impl Fn(&RequestInfo, &mut Response) + Send + Sync + 'static) -> OnResponse {
        OnResponse(Arc::new(observe))
    }

    /// Shows it an answer of the server to the request whose handler ran last on this thread.
    pub(crate) fn observe_current(&self, response: &mut Response) {
        let current = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        if let Some(request) = current {
            self.observe(&request, response);
        }
    }

    /// Shows it the answer to a request that the server has refused.
    pub(crate) fn observe_refusal(&self, error: RequestError, connection: &Connection, response: &mut Response) {
        let ends = Some((connection.peer_addr(), connection.local_addr()));
        self.observe(&RequestInfo { head: None, refusal: Some(error), ends }, response);
    }

    pub(super) fn observe(&self, request: &RequestInfo, response: &mut Response) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.0)(request, response))) {
            log::error!("the function of `on_response` panicked: {}", panic_message(&*panic));
        }
    }
}

impl fmt::Debug for OnResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnResponse")
    }
}

/// A handler whose responses are shown to the function.
pub(crate) struct Observed<H> {
    handler: H,
    on_response: OnResponse,
}

impl<H> Observed<H> {
    pub(crate) fn new(handler: H, on_response: OnResponse) -> Observed<H> {
        Observed { handler, on_response }
    }
}

impl<H: Handler> Handler for Observed<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        let info = Rc::new(RequestInfo::new(request.head()));
        enter(&info);
        match self.handler.handle(request) {
            Reply::Ready(mut response) => {
                self.on_response.observe(&info, &mut response);
                Reply::Ready(response)
            }
            Reply::Pending(mut future) => Reply::Pending(Box::pin(async move {
                let mut response = std::future::poll_fn(|cx| {
                    enter(&info);
                    future.as_mut().poll(cx)
                })
                .await;
                self.on_response.observe(&info, &mut response);
                response
            })),
        }
    }
}

/// Makes a request the one that an answer of the server is for.
fn enter(request: &Rc<RequestInfo>) {
    let last = CURRENT.with(|current| current.replace(Some(Rc::clone(request))));
    drop(last);
}
