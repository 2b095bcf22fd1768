//! The negotiation of permessage-deflate. A server accepts an offer exactly if a naive reading of RFC 7692 does, and
//! within the offer; a client understands every server; a client refuses every response outside its offer.
//!
//! The first four bytes are the settings of both sides. The rest is a request's Sec-WebSocket-Extensions, one value a
//! line, and also a response's.
#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::Source;
use tidegate_fuzz::adapters::negotiation::{Setup, accept, check_response, offer};

fuzz_target!(|data: &[u8]| {
    let mut source = Source::new(data);
    let (ours, theirs) = (setup(&mut source), setup(&mut source));
    both_roles_agree(ours, theirs);
    let lines: Vec<&[u8]> = source.rest().split(|&byte| byte == b'\n').collect();
    if lines.iter().all(|line| HeaderValue::from_bytes(line).is_ok()) {
        the_server_stays_within_the_offer(ours, &lines);
        the_client_stays_within_its_offer(ours, lines[0]);
    }
});

fn setup(source: &mut Source) -> Setup {
    let (windows, takeovers) = (source.byte(), source.byte());
    Setup {
        own_window_bits_max: 9 + windows % 7,
        peer_window_bits_max: 9 + windows / 7 % 7,
        own_takeover: takeovers & 1 != 0,
        peer_takeover: takeovers & 2 != 0,
    }
}

fn both_roles_agree(client: Setup, server: Setup) {
    let offer = offer(client);
    let answer = accept(server, &[offer.as_bytes()]).expect("our offer is well formed");
    let (params, response) = answer.expect("our servers fulfil every offer of our clients");
    let checked = check_response(client, Some(&response)).expect("our response is valid").expect("an agreement");
    // A client can do less than it was asked for.
    assert!(checked.client_max_window_bits <= params.client_max_window_bits);
    assert!(checked.client_no_context_takeover || !params.client_no_context_takeover);
    assert_eq!(checked.server_max_window_bits, params.server_max_window_bits);
    assert_eq!(checked.server_no_context_takeover, params.server_no_context_takeover);
    assert!(params.server_max_window_bits <= server.own_window_bits_max.min(client.peer_window_bits_max));
    assert!(checked.client_max_window_bits <= client.own_window_bits_max.min(server.peer_window_bits_max));
}

fn the_server_stays_within_the_offer(server: Setup, lines: &[&[u8]]) {
    let Ok(answer) = accept(server, lines) else {
        assert_eq!(extensions(lines), None, "well-formed lines are refused");
        return;
    };
    let offers = extensions(lines).expect("malformed lines are accepted");
    let mut valid = offers.iter().filter_map(|offer| parameters(offer)).filter(|offer| {
        // A window of 8 bits is more than compressors can do, and a server's window has a value.
        !matches!(offer.server_bits, Some(None | Some(8)))
    });
    let Some((params, response)) = answer else {
        assert_eq!(valid.next(), None, "a valid offer is declined");
        return;
    };
    let offer = valid.next().expect("an invalid offer is accepted");
    let said = extensions(&[response.as_bytes()]).expect("a response is well formed");
    let said = parameters(&said[0]).expect("a response is valid");
    assert!(said.server_no_takeover == params.server_no_context_takeover);
    assert!(said.client_no_takeover == params.client_no_context_takeover);
    assert!(said.server_no_takeover || (!offer.server_no_takeover && server.own_takeover));
    assert!(said.client_no_takeover || server.peer_takeover);
    assert_eq!(said.server_bits.map_or(15, |bits| bits.expect("a value")), params.server_max_window_bits);
    assert!(params.server_max_window_bits <= server.own_window_bits_max);
    if let Some(Some(bits)) = offer.server_bits {
        assert!(said.server_bits.is_some() && params.server_max_window_bits <= bits);
    }
    assert_eq!(said.client_bits.map_or(15, |bits| bits.expect("a value")), params.client_max_window_bits);
    match offer.client_bits {
        None => assert_eq!(said.client_bits, None, "a client is told what it does not understand"),
        Some(bits) => assert!(params.client_max_window_bits <= bits.unwrap_or(15).min(server.peer_window_bits_max)),
    }
}

fn the_client_stays_within_its_offer(client: Setup, line: &[u8]) {
    let value = HeaderValue::from_bytes(line).expect("checked before");
    let said = extensions(&[line]);
    match check_response(client, Some(&value)) {
        Ok(None) => assert_eq!(said, Some(Vec::new())),
        Ok(Some(params)) => {
            let said = said.expect("a malformed response is accepted");
            assert_eq!(said.len(), 1);
            let said = parameters(&said[0]).expect("an invalid response is accepted");
            assert!(client.peer_takeover || said.server_no_takeover);
            assert_eq!(params.server_no_context_takeover, said.server_no_takeover);
            assert!(params.server_max_window_bits <= client.peer_window_bits_max);
            assert!(params.client_max_window_bits <= client.own_window_bits_max);
            assert!(params.client_no_context_takeover || client.own_takeover);
        }
        Err(()) => {}
    }
}

/// An extension: its name, and its parameters with their values.
type Extension = (String, Vec<(String, Option<String>)>);

/// Reads the lines naively; `None` if they are malformed.
fn extensions(lines: &[&[u8]]) -> Option<Vec<Extension>> {
    let mut extensions = Vec::new();
    for line in lines {
        for element in split(line, b',')? {
            if element.is_empty() {
                continue;
            }
            let mut parts = split(element, b';')?.into_iter();
            let name = token(parts.next()?)?;
            let parameters = parts.map(|part| match part.iter().position(|&byte| byte == b'=') {
                None => Some((token(part)?, None)),
                Some(equals) => Some((token(&part[..equals])?, Some(value(&part[equals + 1..])?))),
            });
            extensions.push((name, parameters.collect::<Option<_>>()?));
        }
    }
    Some(extensions)
}

/// Splits at separators outside of quotes, and trims the parts. `None` if a quote is not closed.
fn split(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (position, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if byte == separator && !quoted => {
                parts.push(text[start..position].trim_ascii());
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim_ascii());
    (!quoted).then_some(parts)
}

fn token(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii();
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (!text.is_empty() && text.iter().all(valid)).then(|| String::from_utf8_lossy(text).into_owned())
}

/// A token, in quotes or not.
fn value(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii();
    let Some(quoted) = text.strip_prefix(b"\"") else { return token(text) };
    let (mut value, mut bytes) = (Vec::new(), quoted.iter());
    loop {
        match bytes.next()? {
            b'"' => break,
            b'\\' => value.push(*bytes.next()?),
            byte => value.push(*byte),
        }
    }
    let is_trimmed = value.trim_ascii().len() == value.len();
    if bytes.next().is_none() && is_trimmed { token(&value) } else { None }
}

/// The parameters of RFC 7692 section 7.1.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<Option<u8>>,
    client_bits: Option<Option<u8>>,
}

/// `None` for another extension, and for parameters that are unknown, repeated or invalid.
fn parameters(extension: &Extension) -> Option<Parameters> {
    let (name, list) = extension;
    if !name.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut parameters = Parameters::default();
    for (index, (name, value)) in list.iter().enumerate() {
        if list[..index].iter().any(|(earlier, _)| earlier == name) {
            return None;
        }
        let bits = match value {
            None => None,
            Some(text) => Some((8..=15).find(|bits: &u8| bits.to_string() == *text)?),
        };
        match (name.as_str(), bits) {
            ("server_no_context_takeover", None) => parameters.server_no_takeover = true,
            ("client_no_context_takeover", None) => parameters.client_no_takeover = true,
            ("server_max_window_bits", Some(_)) => parameters.server_bits = Some(bits),
            ("client_max_window_bits", _) => parameters.client_bits = Some(bits),
            _ => return None,
        }
    }
    Some(parameters)
}
