//! The connection of a request, for axum's make-services and `ConnectInfo`.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use ::axum::Router;
use ::axum::extract::connect_info::Connected;
use ::axum::handler::{Handler, HandlerService};
use ::axum::routing::MethodRouter;
use tower_service::Service;

use crate::engine::Address;

/// The connection that a request came over. It takes the place of axum's type of this name, as what a make-service is
/// called with and what [`Connected`] is implemented for:
///
/// ```
/// use axum::extract::connect_info::Connected;
/// use tidegate::axum::IncomingStream;
/// use tidegate::engine::Address;
///
/// #[derive(Clone)]
/// struct Ends {
///     peer: Address,
///     local: Address,
/// }
///
/// impl Connected<IncomingStream<'_>> for Ends {
///     fn connect_info(stream: IncomingStream<'_>) -> Self {
///         Ends { peer: stream.remote_addr(), local: stream.local_addr() }
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct IncomingStream<'a> {
    peer: Address,
    local: Address,
    connection: PhantomData<&'a ()>,
}

impl IncomingStream<'_> {
    pub(super) fn new(peer: Address, local: Address) -> Self {
        Self { peer, local, connection: PhantomData }
    }

    /// Returns the peer's address.
    pub fn remote_addr(&self) -> Address {
        self.peer
    }

    /// Returns the address that the peer connected to.
    pub fn local_addr(&self) -> Address {
        self.local
    }
}

/// The peer's address; `0.0.0.0:0` for the peer of a Unix-domain socket.
impl Connected<IncomingStream<'_>> for SocketAddr {
    fn connect_info(stream: IncomingStream<'_>) -> Self {
        stream.peer.ip().unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }
}

impl Connected<IncomingStream<'_>> for Address {
    fn connect_info(stream: IncomingStream<'_>) -> Self {
        stream.peer
    }
}

/// Makes a service its own make-service, which gives each connection a clone.
macro_rules! impl_make_service {
    ([$($generics:tt)*] $service:ty) => {
        impl<$($generics)*> Service<IncomingStream<'_>> for $service {
            type Response = Self;
            type Error = Infallible;
            type Future = Ready<Result<Self, Infallible>>;

            fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, _stream: IncomingStream<'_>) -> Self::Future {
                ready(Ok(self.clone()))
            }
        }
    };
}

impl_make_service!([] Router);
impl_make_service!([] MethodRouter);
impl_make_service!([H: Handler<T, ()>, T: 'static] HandlerService<H, T, ()>);
