//! Handlers of a server with an access log.

use crate::message::access_record::AccessRecord;
use crate::message::request::Request;
use crate::server::handler::{Handler, Reply};

/// Begins the record of each request; the connection completes and writes it.
pub(crate) struct LoggedHandler(pub(crate) Box<dyn Handler>);

impl Handler for LoggedHandler {
    fn handle(&self, request: Request) -> Reply<'_> {
        let mut record = AccessRecord::of(request.head());
        record.client = request.client_addr();
        request.body().observe(record);
        match self.0.handle(request) {
            // Responses that are ready are coalesced with others, which keeps no account of each.
            Reply::Ready(response) => Reply::from_future(std::future::ready(response)),
            pending => pending,
        }
    }
}
