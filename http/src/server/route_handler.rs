//! Handlers with settings of their route.

use crate::error::BodyError;
use crate::message::into_response::IntoResponse;
use crate::message::request::Request;
use crate::route_config::RouteConfig;
use crate::server::handler::{Handler, Reply};

/// A handler with the settings of its route, from [`RouteConfig::wrap`].
#[derive(Debug)]
pub struct RouteHandler<H> {
    handler: H,
    config: RouteConfig,
}

impl RouteConfig {
    /// Gives a handler these settings. A router is a handler too: its routes then have them.
    ///
    /// # Panics
    /// If a timeout is zero: everything would end at once.
    pub fn wrap<H: Handler>(self, handler: H) -> RouteHandler<H> {
        for timeout in [self.handler_timeout, self.content_timeout, self.keep_alive_timeout] {
            assert!(timeout.is_none_or(|timeout| !timeout.is_zero()), "invalid timeout 0s: must be above zero");
        }
        RouteHandler { handler, config: self }
    }
}

#[diagnostic::do_not_recommend]
impl<H: Handler> Handler for RouteHandler<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        if let Some(limit) = self.config.body_bytes_max
            && request.body().remaining().is_some_and(|announced| announced > limit)
        {
            return Reply::Ready(BodyError::TooLarge(limit).into_response());
        }
        request.body().apply_route_config(&self.config);
        self.handler.handle(request)
    }
}
