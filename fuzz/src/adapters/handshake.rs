//! The opening handshake, both roles.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use tidegate_http::Request;
use tidegate_websocket::handshake::{ClientHandshake, Nonce, Offer, check_same_origin, is_websocket_request};
use tidegate_websocket::{OriginAllowList, Scheme};

/// A server's reading of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    pub is_websocket: bool,
    /// The response's head, or the kind of error and its status.
    pub answer: Result<Answer, (String, u16)>,
    pub subprotocols: Vec<String>,
    pub extensions: Vec<Vec<u8>>,
    /// The outcomes of the checks of the origin.
    pub origins: [String; 3],
}

/// A server's acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub subprotocol: Option<String>,
}

/// Reads the head of a request twice, from its fields as received and from a map of them. `None` if it is not HTTP.
pub fn read(head: &[u8], preferences: &[&str]) -> Option<(Read, Read)> {
    let request = Request::parse(head, "").ok()?;
    let map = request.headers();
    let allowed = OriginAllowList::parse(["https://example.com", "http://a:81"]).expect("origins");
    macro_rules! read {
        ($fields:expr) => {{
            let offer = Offer::parse(request.method(), request.version(), $fields);
            let origins = [
                format!("{:?}", check_same_origin($fields, Scheme::Http)),
                format!("{:?}", check_same_origin($fields, Scheme::Https)),
                format!("{:?}", allowed.check($fields)),
            ];
            Read {
                is_websocket: is_websocket_request($fields),
                subprotocols: offer.iter().flat_map(|o| o.subprotocols()).map(|&name| name.to_owned()).collect(),
                extensions: offer.iter().flat_map(|offer| offer.extensions()).map(<[u8]>::to_vec).collect(),
                answer: match offer {
                    Ok(offer) => {
                        let acceptance = offer.accept(preferences);
                        let response = acceptance.response();
                        Ok(Answer {
                            status: response.status(),
                            headers: response.headers().clone(),
                            subprotocol: acceptance.subprotocol().map(str::to_owned),
                        })
                    }
                    Err(error) => {
                        assert_eq!(error.response().status(), error.status());
                        Err((format!("{error:?}"), error.status().as_u16()))
                    }
                },
                origins,
            }
        }};
    }
    Some((read!(request.head()), read!(map)))
}

/// A client.
pub struct Client(ClientHandshake);

impl Client {
    /// Creates a client for a URI. `None` if the URI or a subprotocol is refused.
    pub fn new(uri: &Uri, nonce: [u8; 16], subprotocols: &[&str], extensions: Option<HeaderValue>) -> Option<Client> {
        let mut handshake = ClientHandshake::new(uri, Nonce::new(nonce)).ok()?;
        for name in subprotocols {
            handshake = handshake.subprotocol(name).ok()?;
        }
        if let Some(offer) = extensions {
            handshake = handshake.extensions(offer);
        }
        handshake = handshake.header(HeaderName::from_static("x-more"), HeaderValue::from_static("1"));
        Some(Client(handshake))
    }

    /// The request's head.
    pub fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        self.0.encode(&mut head);
        head
    }

    /// Checks a response: the subprotocol agreed on, or `None` if it is refused.
    pub fn check(&self, status: StatusCode, headers: &HeaderMap) -> Option<Option<String>> {
        let established = self.0.check_response(status, Version::HTTP_11, headers).ok()?;
        Some(established.subprotocol)
    }
}
