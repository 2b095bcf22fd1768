//! The handler of requests without a route.

use crate::message::request::Request;
use crate::server::handler::{Handler, Reply};

/// The handler of requests without a route: one that an application has set, or a whole router inside a layer.
pub(crate) trait Fallback: Handler {
    /// Notes that the router of this fallback was nested below `prefix`. Called before the first request.
    fn nest_below(&self, prefix: &str);
}

/// A fallback that answers the same below any prefix.
pub(crate) struct Unlayered<H>(pub(crate) H);

impl<H: Handler> Handler for Unlayered<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        self.0.handle(request)
    }
}

impl<H: Handler> Fallback for Unlayered<H> {
    fn nest_below(&self, _prefix: &str) {}
}
