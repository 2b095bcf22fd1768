//! Requests, responses and broadcasts as JSON.

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::InvalidBody;
use crate::conn::extensions::Extensions;
use crate::message::Message;

/// A request as it was received.
#[derive(Debug, Deserialize)]
pub(super) struct Received {
    pub(super) id: u64,
    pub(super) method: String,
    target: String,
    #[serde(default)]
    body: Option<Box<RawValue>>,
}

impl Received {
    /// Parses a request. The error comes with the id of the request if that can be read, otherwise 0.
    pub(super) fn parse(text: &str) -> Result<Self, (u64, serde_json::Error)> {
        #[derive(Deserialize)]
        struct Id {
            id: u64,
        }
        // Serde would also read the fields of a struct from an array.
        if !text.trim_ascii_start().starts_with('{') {
            return Err((0, serde::de::Error::custom("a request is a JSON object")));
        }
        let id = || serde_json::from_str(text).map_or(0, |Id { id }| id);
        serde_json::from_str(text).map_err(|error| (id(), error))
    }

    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }
}

/// A request of [`TextRoutes`](super::TextRoutes).
#[derive(Debug)]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
pub struct TextRequest {
    received: Received,
    params: Vec<(String, String)>,
    extensions: Extensions,
}

impl TextRequest {
    pub(super) fn new(received: Received, params: Vec<(String, String)>, extensions: &Extensions) -> Self {
        Self { received, params, extensions: extensions.clone() }
    }

    /// Returns the client's id of the request.
    pub fn id(&self) -> u64 {
        self.received.id
    }

    /// Returns the method.
    pub fn method(&self) -> &str {
        &self.received.method
    }

    /// Returns the target as it was received: path and query, percent-encoded.
    pub fn target(&self) -> &str {
        &self.received.target
    }

    /// Returns the path of the target, percent-encoded.
    pub fn path(&self) -> &str {
        self.received.path()
    }

    /// Returns the query of the target without the question mark, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.received.target.split_once('?').map(|(_, query)| query)
    }

    /// Returns the value of a path parameter, percent-decoded.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find(|param| param.0 == name).map(|param| param.1)
    }

    /// Returns all path parameters in their order, percent-decoded.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Parses the body as a value of the handler's type; a missing body is `null`.
    ///
    /// # Errors
    /// [`InvalidBody`] if the body has another shape.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, InvalidBody> {
        Ok(serde_json::from_str(self.body_json())?)
    }

    /// Returns the JSON of the body as it was received; `null` if it is missing.
    pub fn body_json(&self) -> &str {
        self.received.body.as_deref().map_or("null", RawValue::get)
    }

    /// Returns the application's values for the connection.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

/// A response or a broadcast. It converts to a [`Message`], so senders, hubs and users take it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
pub struct TextResponse {
    id: u64,
    code: u16,
    message: String,
    body: Option<Box<RawValue>>,
}

impl TextResponse {
    /// Returns a response with a code and a text for people, without a body.
    pub fn new(code: u16, message: &str) -> Self {
        Self { id: 0, code, message: message.to_owned(), body: None }
    }

    /// Returns a response with code 200.
    pub fn ok() -> Self {
        Self::new(StatusCode::OK.as_u16(), "")
    }

    /// Returns a broadcast for clients that have subscribed to something: id 0, code 0, the name of the subscription as
    /// the message.
    ///
    /// ```
    /// # use tidegate_websocket::{Hub, HubError, TextResponse};
    /// # async fn example(hub: Hub) -> Result<(), HubError> {
    /// hub.publish("prices", TextResponse::broadcast("prices", &[1.5, 2.5])).queue().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast<T: Serialize + ?Sized>(subscription: &str, body: &T) -> Self {
        Self::new(0, subscription).with_body(body)
    }

    /// Returns the response with a body. A value that cannot be JSON, such as a map whose keys are not strings, turns
    /// it into a response with code 500.
    #[must_use]
    pub fn with_body<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::value::to_raw_value(body) {
            Ok(body) => self.body = Some(body),
            Err(error) => {
                log::error!("the body of a text response cannot be JSON, answered with code 500: {error}");
                self = Self { id: self.id, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR.as_u16(), "the body failed") };
            }
        }
        self
    }

    /// Returns the code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Returns the text for people, or the name of a subscription.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn with_id(mut self, id: u64) -> Self {
        self.id = id;
        self
    }

    /// Returns the JSON to send.
    pub fn to_json(&self) -> String {
        // Numbers, text and JSON always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
impl From<TextResponse> for Message {
    fn from(response: TextResponse) -> Self {
        response.to_json().into()
    }
}

impl From<InvalidBody> for TextResponse {
    fn from(error: InvalidBody) -> Self {
        Self::new(StatusCode::BAD_REQUEST.as_u16(), &error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let received =
            Received::parse(r#"{"id":18446744073709551615,"method":"GET","target":"/a?b=c?d","body":{"x":[1]}}"#);
        let request = TextRequest::new(received.unwrap(), Vec::new(), &Extensions::default());
        assert_eq!((request.id(), request.method(), request.target()), (u64::MAX, "GET", "/a?b=c?d"));
        assert_eq!((request.path(), request.query()), ("/a", Some("b=c?d")));
        assert_eq!(request.body_json(), r#"{"x":[1]}"#);
        assert!(request.body::<Vec<u8>>().is_err());
    }

    #[test]
    fn a_missing_body_is_null() {
        for text in [r#"{"id":1,"method":"GET","target":""}"#, r#"{"id":1,"method":"GET","target":"","body":null}"#] {
            let request = TextRequest::new(Received::parse(text).unwrap(), Vec::new(), &Extensions::default());
            assert_eq!((request.body_json(), request.query()), ("null", None));
            assert_eq!(request.body::<Option<u8>>().unwrap(), None);
        }
    }

    #[test]
    fn malformed_requests_have_an_id_if_that_can_be_read() {
        let table = [
            ("", 0),
            ("[]", 0),
            (r#"[7,"GET","/",null]"#, 0),
            ("{}", 0),
            (r#"{"id":7"#, 0),
            (r#"{"id":-7,"method":"GET","target":"/"}"#, 0),
            (r#"{"id":7,"method":"GET"}"#, 7),
            (r#"{"id":7,"method":"GET","target":1}"#, 7),
        ];
        for (text, id) in table {
            assert_eq!(Received::parse(text).unwrap_err().0, id, "{text}");
        }
    }

    #[test]
    fn responses_are_written() {
        assert_eq!(TextResponse::ok().with_id(7).to_json(), r#"{"id":7,"code":200,"message":"","body":null}"#);
        let broadcast = TextResponse::broadcast("news \"of\" today", &["a"]);
        assert_eq!(broadcast.to_json(), r#"{"id":0,"code":0,"message":"news \"of\" today","body":["a"]}"#);
    }

    #[test]
    fn a_body_that_cannot_be_json_is_an_error_of_the_server() {
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert_eq!(TextResponse::ok().with_body(&map).code(), 500);
    }
}
