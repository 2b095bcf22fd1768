//! xitca-web on io_uring with a low-level service. Vectored writes are off, as it advises for small bodies.

use std::net::SocketAddr;

use tidegate_benches::socket;
use xitca_web::body::ResponseBody;
use xitca_web::http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use xitca_web::http::{Response, WebResponse};
use xitca_web::route::get;
use xitca_web::service::fn_service;
use xitca_web::{App, WebContext};

use crate::{HELLO, Outcome};

pub fn serve(address: SocketAddr) -> Outcome {
    App::new()
        .at("/plaintext", get(fn_service(respond)))
        .serve()
        .worker_threads(1)
        .enable_io_uring()
        .disable_vectored_write()
        .listen(socket::listen(address)?)?
        .run()
        .wait()?;
    Ok(())
}

async fn respond(_: WebContext<'_>) -> Result<WebResponse, std::convert::Infallible> {
    let mut response = Response::new(ResponseBody::bytes(HELLO));
    let fields = response.headers_mut();
    fields.insert(SERVER, HeaderValue::from_static("xitca"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
