//! The negotiation of permessage-deflate, both roles.

use http::HeaderValue;
use tidegate_websocket::protocol::DeflateParams;
use tidegate_websocket::{DeflateConfig, WindowBits};

/// One side's settings.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub own_window_bits_max: u8,
    pub peer_window_bits_max: u8,
    pub own_takeover: bool,
    pub peer_takeover: bool,
}

/// The parameters of an agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    pub server_no_context_takeover: bool,
    pub client_no_context_takeover: bool,
    pub server_max_window_bits: u8,
    pub client_max_window_bits: u8,
}

/// The server's answer to the lines of a request: its parameters and the response's field.
pub type Answer = Option<(Params, HeaderValue)>;

/// A server's side; `Err` if the lines are malformed.
pub fn accept(setup: Setup, lines: &[&[u8]]) -> Result<Answer, ()> {
    let agreement = config(setup).accept(lines.iter().copied()).map_err(|error| {
        assert_eq!(error.status().as_u16(), 400);
    })?;
    Ok(agreement.map(|agreement| (flat(&agreement.params), agreement.response)))
}

/// A client's offer.
pub fn offer(setup: Setup) -> HeaderValue {
    config(setup).offer()
}

/// A client's side; `Err` if the response is to be refused.
pub fn check_response(setup: Setup, value: Option<&HeaderValue>) -> Result<Option<Params>, ()> {
    let checked = config(setup).check_response(value).map_err(|_| ())?;
    Ok(checked.map(|params| flat(&params)))
}

/// Parameters with one window and one kind of takeover for both sides.
pub fn params(window_bits: u8, takeover: bool) -> DeflateParams {
    let setup = Setup {
        own_window_bits_max: window_bits,
        peer_window_bits_max: window_bits,
        own_takeover: takeover,
        peer_takeover: takeover,
    };
    let offers = [&b"permessage-deflate; client_max_window_bits"[..]];
    let agreement = config(setup).accept(offers.into_iter()).expect("a valid offer");
    agreement.expect("an offer without conditions is accepted").params
}

fn config(setup: Setup) -> DeflateConfig {
    let bits = |bits| WindowBits::new(bits).expect("9 to 15");
    DeflateConfig::default()
        .own_window_bits_max(bits(setup.own_window_bits_max))
        .peer_window_bits_max(bits(setup.peer_window_bits_max))
        .own_context_takeover(setup.own_takeover)
        .peer_context_takeover(setup.peer_takeover)
}

fn flat(params: &DeflateParams) -> Params {
    Params {
        server_no_context_takeover: params.server_no_context_takeover,
        client_no_context_takeover: params.client_no_context_takeover,
        server_max_window_bits: params.server_max_window_bits.value(),
        client_max_window_bits: params.client_max_window_bits.value(),
    }
}
