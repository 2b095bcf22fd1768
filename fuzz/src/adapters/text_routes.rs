//! Text routes: requests and responses as JSON.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::Method;
use tidegate_websocket::{Extensions, TextRequest, TextResponse, TextRoutes};

use crate::paths::Segment;

/// Text routes whose handlers answer with their index and their parameters.
pub struct Routes(TextRoutes);

impl Routes {
    /// Creates routes for these methods and paths, which must differ.
    pub fn new(routes: &[(&'static str, Vec<Segment>)]) -> Routes {
        let mut built = TextRoutes::new();
        for (index, (method, segments)) in routes.iter().enumerate() {
            let handler = async move |request: TextRequest| {
                let params: Vec<&str> = request.params().map(|(_, value)| value).collect();
                TextResponse::ok().with_body(&(index, params))
            };
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            built = built.route(method, &path(segments), handler);
        }
        Routes(built)
    }

    /// The response to one message, as JSON.
    pub fn answer(&self, text: &str) -> String {
        let extensions = Extensions::default();
        let answer = pin!(self.0.answer(text, &extensions));
        match answer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => response.to_json(),
            Poll::Pending => panic!("the handlers of this target do not wait"),
        }
    }
}

/// A route's path, with a name for each parameter.
fn path(segments: &[Segment]) -> String {
    let segment = |(index, segment): (usize, &Segment)| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Param | Segment::Wildcard => format!("/:p{index}"),
    };
    segments.iter().enumerate().map(segment).collect()
}
