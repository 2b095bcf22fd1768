//! The opening handshake: both roles agree, and every wrong or missing part has its error.

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use tidegate_websocket::handshake::{
    ClientHandshake, Nonce, Offer, OriginError, UpgradeRequestError, UpgradeResponseError, UriError,
    is_websocket_request,
};

fn nonce() -> Nonce {
    Nonce::new(*b"the sample nonce")
}

fn request() -> HeaderMap {
    headers(&[
        (HOST, "example.com"),
        (UPGRADE, "websocket"),
        (CONNECTION, "Upgrade"),
        (SEC_WEBSOCKET_VERSION, "13"),
        (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
    ])
}

fn response() -> HeaderMap {
    headers(&[(UPGRADE, "websocket"), (CONNECTION, "Upgrade"), (SEC_WEBSOCKET_ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")])
}

fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

fn parse(headers: &HeaderMap) -> Result<Offer<'_>, UpgradeRequestError> {
    Offer::parse(&Method::GET, Version::HTTP_11, headers)
}

#[test]
fn lists_are_read_in_any_case_over_several_lines() {
    for (name, lines) in [
        (UPGRADE, &["WebSocket"][..]),
        (UPGRADE, &["h2c, websocket"]),
        (UPGRADE, &["h2c", " ,WEBSOCKET,"]),
        (CONNECTION, &["keep-alive, Upgrade"]),
        (CONNECTION, &["keep-alive", "upgrade"]),
    ] {
        let mut headers = request();
        headers.remove(&name);
        for line in lines {
            headers.append(&name, HeaderValue::from_static(line));
        }
        assert!(is_websocket_request(&headers), "{lines:?}");
        assert!(parse(&headers).is_ok(), "{lines:?}");
    }
}

#[test]
fn every_wrong_or_missing_part_has_its_error() {
    use UpgradeRequestError as E;
    let cases = [
        (HOST, None, E::MissingHost),
        (UPGRADE, None, E::Upgrade),
        (UPGRADE, Some("websockets"), E::Upgrade),
        (CONNECTION, None, E::Connection),
        (CONNECTION, Some("keep-alive"), E::Connection),
        (SEC_WEBSOCKET_VERSION, None, E::MissingVersion),
        (SEC_WEBSOCKET_VERSION, Some("8"), E::UnsupportedVersion),
        (SEC_WEBSOCKET_VERSION, Some("13, 8"), E::UnsupportedVersion),
        (SEC_WEBSOCKET_VERSION, Some("013"), E::UnsupportedVersion),
        (SEC_WEBSOCKET_KEY, None, E::MissingKey),
        (SEC_WEBSOCKET_KEY, Some("aaaaaaaaaaaaaaaaaaaaaaaa"), E::InvalidKey),
        (SEC_WEBSOCKET_PROTOCOL, Some("chat, a b"), E::InvalidSubprotocol),
        (SEC_WEBSOCKET_PROTOCOL, Some("chat, soap, chat"), E::RepeatedSubprotocol),
    ];
    for (name, value, error) in cases {
        let mut headers = request();
        headers.remove(&name);
        if let Some(value) = value {
            headers.insert(&name, HeaderValue::from_static(value));
        }
        assert_eq!(parse(&headers).err(), Some(error), "{name}: {value:?}");
    }
    for (name, error) in
        [(HOST, E::RepeatedHost), (SEC_WEBSOCKET_KEY, E::RepeatedKey), (SEC_WEBSOCKET_VERSION, E::RepeatedVersion)]
    {
        let mut headers = request();
        headers.append(&name, headers[&name].clone());
        assert_eq!(parse(&headers).err(), Some(error), "{name} twice");
    }
    let headers = request();
    let post = Offer::parse(&Method::POST, Version::HTTP_11, &headers);
    assert_eq!(post.err(), Some(E::Method));
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let other = Offer::parse(&Method::GET, version, &headers);
        assert_eq!(other.err(), Some(E::HttpVersion));
    }
}

#[test]
fn errors_are_answered_with_their_status_and_a_clear_body() {
    let response = UpgradeRequestError::InvalidKey.response();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.body(), "websocket: Sec-WebSocket-Key must be 16 bytes in base64");

    let response = UpgradeRequestError::UnsupportedVersion.response();
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(response.headers()[SEC_WEBSOCKET_VERSION], "13");
    assert_eq!(response.headers()[UPGRADE], "websocket");
    assert_eq!(response.headers()[CONNECTION], "Upgrade");

    let response = UpgradeRequestError::Origin(OriginError::NotAllowed).response();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.body(), "websocket: origin not allowed");
}

#[test]
fn other_requests_are_recognised() {
    assert!(!is_websocket_request(&headers(&[(HOST, "example.com"), (UPGRADE, "h2c")])));
    assert!(!is_websocket_request(&HeaderMap::new()));
    let mut without_upgrade = request();
    without_upgrade.remove(UPGRADE);
    assert!(is_websocket_request(&without_upgrade), "a request with a key asks for a WebSocket, incorrectly");
}

#[test]
fn the_server_prefers_among_the_offers_of_the_client() {
    let mut headers = request();
    headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("a, b"));
    headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("c"));
    let offer = parse(&headers).unwrap();
    assert_eq!(offer.subprotocols(), ["a", "b", "c"]);
    assert_eq!(offer.accept(&["x", "c", "a"]).subprotocol(), Some("c"));
    assert_eq!(offer.accept(&["A"]).subprotocol(), None);
    let response = offer.accept(&["b"]).response();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "b");
    let without: [&str; 0] = [];
    assert!(!offer.accept(&without).response().headers().contains_key(SEC_WEBSOCKET_PROTOCOL));
}

#[test]
fn an_offer_has_the_lines_of_its_extensions() {
    let mut headers = request();
    assert_eq!(parse(&headers).unwrap().extensions().count(), 0);
    let lines = ["permessage-deflate; client_max_window_bits, x-other", "x-last"];
    for line in lines {
        headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(line));
    }
    assert!(parse(&headers).unwrap().extensions().eq(lines.map(str::as_bytes)));
}

#[test]
fn credentials_are_sent_but_do_not_show_in_debug_output() {
    let uri = "ws://example.com/".parse().unwrap();
    let client = ClientHandshake::new(&uri, nonce())
        .unwrap()
        .header(AUTHORIZATION, HeaderValue::from_static("Bearer secret"))
        .header(COOKIE, HeaderValue::from_static("flavour=vanilla"));
    let mut head = Vec::new();
    client.encode(&mut head);
    assert!(String::from_utf8(head).unwrap().contains("authorization: Bearer secret\r\n"));
    let shown = format!("{client:?}");
    assert!(!shown.contains("secret") && shown.contains("vanilla"), "{shown}");
}

#[test]
fn client_and_server_agree() {
    let uri = "ws://example.com:8080/chat?x=1".parse().unwrap();
    let client = ClientHandshake::new(&uri, nonce())
        .unwrap()
        .subprotocol("soap")
        .and_then(|client| client.subprotocol("wamp"))
        .unwrap()
        .header(HOST, HeaderValue::from_static("ignored"))
        .header(COOKIE, HeaderValue::from_static("a=b"));
    let mut head = Vec::new();
    client.encode(&mut head);
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /chat?x=1 HTTP/1.1\r\nHost: example.com:8080\r\n"));
    assert!(head.ends_with("cookie: a=b\r\n\r\n") && !head.contains("ignored"));

    let headers: HeaderMap = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
    let offer = parse(&headers).unwrap();
    let response = offer.accept(&["wamp"]).response();
    let established = client.check_response(response.status(), response.version(), response.headers());
    let established = established.expect("a response that fits the request");
    assert_eq!((established.subprotocol.as_deref(), established.extensions), (Some("wamp"), None));
}

#[test]
fn websocket_uris_give_host_and_target() {
    for (uri, host, target) in [
        ("ws://example.com", "example.com", "/"),
        ("ws://example.com?q=1", "example.com", "/?q=1"),
        ("ws://example.com:80/a", "example.com", "/a"),
        ("wss://example.com:443/a/b", "example.com", "/a/b"),
        ("wss://example.com:80/", "example.com:80", "/"),
        ("ws://[::1]:9000/", "[::1]:9000", "/"),
        ("WS://example.com/", "example.com", "/"),
    ] {
        let client = ClientHandshake::new(&uri.parse().unwrap(), nonce()).unwrap();
        let mut head = Vec::new();
        client.encode(&mut head);
        let expected = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
        assert!(head.starts_with(expected.as_bytes()), "{uri}");
    }
    for (uri, error) in [
        ("http://example.com/", UriError::Scheme),
        ("/chat", UriError::Scheme),
        ("ws://user:password@example.com/", UriError::UserInformation),
    ] {
        let client = ClientHandshake::new(&uri.parse().unwrap(), nonce());
        assert_eq!(client.err(), Some(error), "{uri}");
    }
}

#[test]
fn a_client_offers_only_tokens_and_each_once() {
    let uri = "ws://example.com/".parse().unwrap();
    let client = ClientHandshake::new(&uri, nonce()).unwrap().subprotocol("chat").unwrap();
    assert_eq!(client.clone().subprotocol("a b").err(), Some(UriError::Subprotocol));
    assert_eq!(client.clone().subprotocol("").err(), Some(UriError::Subprotocol));
    assert_eq!(client.subprotocol("chat").err(), Some(UriError::RepeatedSubprotocol));
}

#[test]
fn every_part_of_a_response_is_checked() {
    use UpgradeResponseError as E;
    let uri = "ws://example.com/".parse().unwrap();
    let client = ClientHandshake::new(&uri, nonce()).unwrap().subprotocol("chat").unwrap();
    let check = |headers: &HeaderMap| client.check_response(StatusCode::SWITCHING_PROTOCOLS, Version::HTTP_11, headers);
    let established = check(&response()).expect("a response that fits the request");
    assert_eq!((established.subprotocol, established.extensions), (None, None));
    for (name, value, error) in [
        (UPGRADE, None, E::Upgrade),
        (UPGRADE, Some("h2c"), E::Upgrade),
        (CONNECTION, None, E::Connection),
        (CONNECTION, Some("close"), E::Connection),
        (SEC_WEBSOCKET_ACCEPT, None, E::MissingAccept),
        (SEC_WEBSOCKET_ACCEPT, Some("AAAAMBiTxaQ9kYGzzhZRbK+xOo="), E::WrongAccept),
        (SEC_WEBSOCKET_PROTOCOL, Some("soap"), E::UnrequestedSubprotocol),
        (SEC_WEBSOCKET_PROTOCOL, Some("Chat"), E::UnrequestedSubprotocol),
        (SEC_WEBSOCKET_EXTENSIONS, Some("permessage-deflate"), E::UnrequestedExtension),
    ] {
        let mut headers = response();
        headers.remove(&name);
        if let Some(value) = value {
            headers.insert(&name, HeaderValue::from_static(value));
        }
        assert_eq!(check(&headers), Err(error), "{name}: {value:?}");
    }
    let mut repeated = response();
    repeated.append(SEC_WEBSOCKET_ACCEPT, repeated[SEC_WEBSOCKET_ACCEPT].clone());
    assert_eq!(check(&repeated), Err(E::RepeatedAccept));
    let mut repeated = response();
    for _ in 0..2 {
        repeated.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat"));
    }
    assert_eq!(check(&repeated), Err(E::RepeatedSubprotocol));
    let status = StatusCode::FORBIDDEN;
    let refused = client.check_response(status, Version::HTTP_11, &response());
    assert_eq!(refused, Err(E::Status { status }));
    let old = client.check_response(StatusCode::SWITCHING_PROTOCOLS, Version::HTTP_10, &response());
    assert_eq!(old, Err(E::HttpVersion));
}

#[test]
fn extensions_come_back_only_if_offered() {
    let uri = "ws://example.com/".parse().unwrap();
    let offer = HeaderValue::from_static("permessage-deflate; client_max_window_bits, x-other");
    let client = ClientHandshake::new(&uri, nonce()).unwrap().extensions(offer);
    let check = |lines: &[&'static str]| {
        let mut headers = response();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(line));
        }
        client
            .check_response(StatusCode::SWITCHING_PROTOCOLS, Version::HTTP_11, &headers)
            .map(|established| established.extensions)
    };
    assert_eq!(check(&[]), Ok(None));
    let chosen = "permessage-deflate; server_no_context_takeover";
    assert_eq!(check(&[chosen]), Ok(Some(HeaderValue::from_static(chosen))));
    let both = "permessage-deflate, x-other";
    assert_eq!(check(&["permessage-deflate", "x-other"]), Ok(Some(HeaderValue::from_static(both))));
    assert_eq!(check(&["x-unknown"]), Err(UpgradeResponseError::UnrequestedExtension));
    assert_eq!(check(&["permessage-deflate, x-unknown"]), Err(UpgradeResponseError::UnrequestedExtension));
}
