//! The opening handshake. A server reads the same from fields as received and from a map of them, and accepts nothing
//! that lacks a required field; our client and our server understand each other; a client refuses another key.
//!
//! The first byte selects the way of use. The rest is a request's head, a URI with a nonce, or a response's fields.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::adapters::handshake::{Answer, Client, read};

const PREFERENCES: [&str; 3] = ["chat", "soap", "x"];

fuzz_target!(|data: &[u8]| {
    let Some((&way, input)) = data.split_first() else { return };
    match way % 3 {
        0 => request(input),
        1 => both_roles(way / 3, input),
        _ => response(input),
    }
});

/// A whole head of a request.
fn request(head: &[u8]) {
    let Some((from_head, from_map)) = read(head, &PREFERENCES) else { return };
    assert_eq!(from_head, from_map, "the reading depends on where the fields are kept");
    let Ok(answer) = from_head.answer else { return };
    assert!(from_head.is_websocket);
    assert_eq!(answer.status, StatusCode::SWITCHING_PROTOCOLS);
    if let Some(name) = &answer.subprotocol {
        assert!(from_head.subprotocols.contains(name) && PREFERENCES.contains(&name.as_str()));
        assert_eq!(answer.headers[header::SEC_WEBSOCKET_PROTOCOL], name.as_str());
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    for required in ["\r\nsec-websocket-key:", "\r\nsec-websocket-version:", "\r\nupgrade:", "\r\nconnection:"] {
        assert_eq!(text.matches(required).count().min(1), 1, "accepted without {required:?}");
    }
    assert!(text.starts_with("get ") || text.starts_with("\r\nget "));
}

/// A client whose request is read by a server, whose response is read by the client.
fn both_roles(choice: u8, input: &[u8]) {
    let Some((nonce, uri)) = input.split_first_chunk::<16>() else { return };
    let Ok(uri) = Uri::try_from(uri) else { return };
    let subprotocols: &[&str] = match choice % 4 {
        0 => &[],
        1 => &["chat"],
        2 => &["unknown", "soap"],
        _ => &["x", "chat"],
    };
    let Some(client) = Client::new(&uri, *nonce, subprotocols, None) else { return };
    let head = client.head();
    let Some((read, _)) = read(&head, &PREFERENCES) else {
        // A client can ask for what our own server's HTTP refuses, such as a longer target.
        return;
    };
    assert_eq!(read.subprotocols, subprotocols);
    let answer: Answer = read.answer.expect("our server accepts our client");
    let agreed = client.check(answer.status, &answer.headers).expect("our client accepts our server");
    assert_eq!(agreed, answer.subprotocol);
    let mut other = *nonce;
    other[0] ^= 1;
    let other = Client::new(&uri, other, subprotocols, None).expect("the same URI");
    assert_eq!(other.check(answer.status, &answer.headers), None, "another key is accepted");
}

/// The fields of a response, one a line.
fn response(input: &[u8]) {
    let client = Client::new(&Uri::from_static("ws://a"), *b"the sample nonce", &["chat"], None).expect("a client");
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    if let Some(subprotocol) = client.check(StatusCode::SWITCHING_PROTOCOLS, &headers) {
        assert_eq!(headers[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(headers[header::UPGRADE].as_bytes().eq_ignore_ascii_case(b"websocket"));
        assert!(headers.contains_key(header::CONNECTION));
        let said = headers.get(header::SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(said.is_some(), subprotocol.is_some());
        assert!(subprotocol.is_none_or(|name| name == "chat"));
        // Nothing was offered.
        let extensions = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS);
        assert!(extensions.iter().all(|value| value.as_bytes().iter().all(|byte| b", \t".contains(byte))));
    }
    assert_eq!(client.check(StatusCode::OK, &headers), None);
}
