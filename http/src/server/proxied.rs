//! Serving connections that come through proxies.
//!
//! Owns the order: the peer is checked, the header of the PROXY protocol received where the listener expects it, and
//! then HTTP begins with a handler that adds both to each request. Servers without trusted proxies have none of this.

use std::future::Future;
use std::sync::Arc;

use tidegate_engine::Connection;

use crate::message::request::Request;
use crate::proxy::header;
use crate::proxy::trusted::{Proxied, TrustedProxies};
use crate::server::config::HttpConfig;
use crate::server::handler::{Handler, Reply};
use crate::server::task::{ConnectionTask, HttpService, Next, serve_http};

/// What all connections of a server with trusted proxies share.
pub(crate) struct ProxiedService<H> {
    handler: Arc<H>,
    service: HttpService<ProxiedHandler<H>>,
    trusted: Arc<TrustedProxies>,
    config: Arc<HttpConfig>,
    /// The listeners whose connections begin with a header of the PROXY protocol, by number.
    proxy_protocol: Vec<bool>,
}

impl<H: Handler> ProxiedService<H> {
    pub(crate) fn new(handler: H, config: HttpConfig, trusted: TrustedProxies, proxy_protocol: Vec<bool>) -> Self {
        let (handler, trusted) = (Arc::new(handler), Arc::new(trusted));
        let proxied = Proxied { trusted: Arc::clone(&trusted), header: None };
        let service = HttpService::new(ProxiedHandler { inner: Arc::clone(&handler), proxied }, config.clone());
        ProxiedService { handler, service, trusted, config: Arc::new(config), proxy_protocol }
    }
}

/// Serves a connection as [`serve`](crate::serve) does, behind its proxy.
pub(crate) fn serve_proxied<H: Handler>(
    connection: Connection,
    service: Arc<ProxiedService<H>>,
) -> impl Future<Output = ()> + use<H> {
    if service.proxy_protocol.get(connection.listener()).is_some_and(|expected| *expected) {
        return ConnectionTask::Http(Box::pin(serve_behind_header(connection, service)));
    }
    ConnectionTask::new(connection, &service.service)
}

/// Receives the header of the PROXY protocol, then serves HTTP.
async fn serve_behind_header<H: Handler>(mut connection: Connection, service: Arc<ProxiedService<H>>) -> Next {
    let peer = connection.peer_addr();
    if !service.trusted.contains(peer) {
        log::warn!("connection of {peer} refused: it is not a trusted proxy, which this listener is for");
        connection.abort();
        return Next::End;
    }
    let header = match header::receive(&mut connection, service.config.header_timeout).await {
        Ok(header) => Some(Arc::new(header)),
        Err(error) => {
            log::warn!("connection of {peer} refused: {error}");
            connection.abort();
            return Next::End;
        }
    };
    let proxied = Proxied { trusted: Arc::clone(&service.trusted), header };
    let handler = ProxiedHandler { inner: Arc::clone(&service.handler), proxied };
    let of_connection = service.service.with_handler(handler);
    drop(service);
    serve_http(connection, of_connection).await
}

/// Adds the proxy's word to each request.
struct ProxiedHandler<H> {
    inner: Arc<H>,
    proxied: Proxied,
}

impl<H: Handler> Handler for ProxiedHandler<H> {
    fn handle(&self, mut request: Request) -> Reply<'_> {
        request.extensions_mut().insert(self.proxied.clone());
        self.inner.handle(request)
    }
}
