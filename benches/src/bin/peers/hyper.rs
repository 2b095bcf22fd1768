//! hyper with HTTP/1.1 only, pipelined responses flushed together.

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::{HELLO, Outcome, tokio_server};

pub fn serve(address: SocketAddr) -> Outcome {
    tokio_server::serve(address, |stream| async {
        let connection =
            http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service_fn(respond));
        // A connection error ends only this connection.
        let _ = connection.await;
    })
}

async fn respond(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(HELLO.as_bytes())));
    if request.uri().path() != "/plaintext" {
        *response.body_mut() = Full::default();
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    let fields = response.headers_mut();
    fields.insert(SERVER, HeaderValue::from_static("hyper"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
