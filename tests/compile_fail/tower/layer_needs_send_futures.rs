use std::task::{Context, Poll};

use tidegate::http;
use tidegate::prelude::*;
use tidegate::web::tower::Content;
use tower_layer::Layer;
use tower_service::Service;

/// A layer that boxes futures as `Send`, as several of tower do.
#[derive(Clone)]
struct Boxed;

#[derive(Clone)]
struct BoxedService<S>(S);

impl<S> Layer<S> for Boxed {
    type Service = BoxedService<S>;

    fn layer(&self, inner: S) -> BoxedService<S> {
        BoxedService(inner)
    }
}

impl<S> Service<http::Request<Content>> for BoxedService<S>
where
    S: Service<http::Request<Content>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Content>) -> Self::Future {
        Box::pin(self.0.call(request))
    }
}

fn main() {
    let _app = Router::new().get("/", async |_request: Request| "Hello").layer(Boxed);
}
