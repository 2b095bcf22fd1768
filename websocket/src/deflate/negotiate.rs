//! The negotiation of compression (RFC 7692 sections 5 and 7.1).
//!
//! A client makes one or more offers with different parameters. The server accepts the first one that it can fulfil and
//! answers with the agreed parameters. The client checks the answer against its offer.

use http::HeaderValue;

use super::deflater::deflater_bytes_max;
use super::extension_list::{self, Extension};
use super::inflater::inflater_bytes_max;
use super::{DeflateConfig, WindowBits};
use crate::handshake::{UpgradeRequestError, UpgradeResponseError};
use crate::role::Role;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The agreed parameters of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
pub struct DeflateParams {
    /// Whether the server's messages are compressed without context.
    pub server_no_context_takeover: bool,
    /// Whether the client's messages are compressed without context.
    pub client_no_context_takeover: bool,
    /// The window of the server's compressor.
    pub server_max_window_bits: WindowBits,
    /// The window of the client's compressor.
    pub client_max_window_bits: WindowBits,
}

impl DeflateParams {
    /// Returns the maximum heap bytes that our end of the connection holds between messages: for the context of sent
    /// messages 164 KB with the largest window and 35 KB with the smallest (83 KB and 34 KB at level 1), for that of
    /// received messages 33 KB and 1 KB, and 12 KB more in case the last of them ended inside a block. A context that
    /// is not kept (`no_context_takeover`) costs nothing.
    ///
    /// ```
    /// use tidegate_websocket::{DeflateConfig, protocol::Role};
    /// let config = DeflateConfig::default();
    /// let agreement = config.accept([&b"permessage-deflate"[..]].into_iter())?.expect("an agreement");
    /// assert_eq!(agreement.params.context_bytes_max(Role::Server), 0);
    /// # Ok::<(), tidegate_websocket::handshake::UpgradeRequestError>(())
    /// ```
    #[must_use]
    pub fn context_bytes_max(&self, role: Role) -> usize {
        let own = self.own_window(role).filter(|_| self.own_takeover(role)).map_or(0, deflater_bytes_max);
        own + if self.peer_takeover(role) { inflater_bytes_max(self.peer_window(role)) } else { 0 }
    }

    /// Returns the window of our compressor, or `None` if it does not support one so small.
    pub(crate) fn own_window(&self, role: Role) -> Option<WindowBits> {
        let bits = match role {
            Role::Server => self.server_max_window_bits,
            Role::Client => self.client_max_window_bits,
        };
        (bits >= WindowBits::MIN).then_some(bits)
    }

    pub(crate) const fn own_takeover(&self, role: Role) -> bool {
        match role {
            Role::Server => !self.server_no_context_takeover,
            Role::Client => !self.client_no_context_takeover,
        }
    }

    /// Returns the window that our inflater needs.
    pub(crate) fn peer_window(&self, role: Role) -> WindowBits {
        let bits = match role {
            Role::Server => self.client_max_window_bits,
            Role::Client => self.server_max_window_bits,
        };
        bits.max(WindowBits::MIN)
    }

    pub(crate) const fn peer_takeover(&self, role: Role) -> bool {
        match role {
            Role::Server => !self.client_no_context_takeover,
            Role::Client => !self.server_no_context_takeover,
        }
    }
}

/// A server's answer to a client's offers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
pub struct DeflateAgreement {
    /// The agreed parameters.
    pub params: DeflateParams,
    /// The value of `Sec-WebSocket-Extensions` in the response.
    pub response: HeaderValue,
}

impl DeflateConfig {
    /// Accepts the first of a client's offers that the server can fulfil; `None` if there is no such offer. `lines` are
    /// the values of the request's `Sec-WebSocket-Extensions`, from
    /// [`Offer::extensions`](crate::handshake::Offer::extensions). Other extensions are skipped, and so are offers with
    /// a parameter that is unknown, repeated or has an invalid value (RFC 7692 section 7.1).
    ///
    /// ```
    /// use tidegate_websocket::DeflateConfig;
    /// let config = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
    /// let lines = [&b"permessage-deflate; server_max_window_bits=10, permessage-deflate"[..]];
    /// let agreement = config.accept(lines.into_iter())?.expect("an agreement");
    /// assert_eq!(agreement.response, "permessage-deflate; server_max_window_bits=10");
    /// # Ok::<(), tidegate_websocket::handshake::UpgradeRequestError>(())
    /// ```
    ///
    /// # Errors
    /// [`UpgradeRequestError::InvalidExtensions`] when the lines do not follow the grammar (RFC 6455 section 9.1).
    pub fn accept<'h>(
        &self,
        lines: impl Iterator<Item = &'h [u8]>,
    ) -> Result<Option<DeflateAgreement>, UpgradeRequestError> {
        let extensions = extension_list::parse(lines).map_err(|_| UpgradeRequestError::InvalidExtensions)?;
        let mut offers = extensions.iter().filter(|extension| is_ours(extension)).filter_map(Parameters::parse);
        Ok(offers.find_map(|offer| self.answer(&offer)))
    }

    /// Returns the answer to one offer, unless it cannot be fulfilled.
    fn answer(&self, offer: &Parameters) -> Option<DeflateAgreement> {
        let server_bits = match offer.server_max_window_bits {
            // Our compressor does not support a window of 256 bytes.
            Some(Some(WindowBits::EIGHT)) | Some(None) => return None,
            Some(Some(bits)) => bits.min(self.own_window_bits_max),
            None => self.own_window_bits_max,
        };
        let client_bits = match offer.client_max_window_bits {
            Some(bits) => bits.unwrap_or(WindowBits::MAX).min(self.peer_window_bits_max),
            // The client does not accept a smaller window.
            None => WindowBits::MAX,
        };
        let params = DeflateParams {
            server_no_context_takeover: offer.server_no_context_takeover || !self.own_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover || !self.peer_context_takeover,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        };
        let said = Parameters {
            server_no_context_takeover: params.server_no_context_takeover,
            client_no_context_takeover: params.client_no_context_takeover,
            server_max_window_bits: (offer.server_max_window_bits.is_some() || server_bits < WindowBits::MAX)
                .then_some(Some(server_bits)),
            client_max_window_bits: (matches!(offer.client_max_window_bits, Some(Some(_)))
                || client_bits < WindowBits::MAX)
                .then_some(Some(client_bits)),
        };
        Some(DeflateAgreement { params, response: said.encode() })
    }

    /// Returns the client's offer, for [`ClientHandshake::extensions`](crate::handshake::ClientHandshake::extensions).
    ///
    /// ```
    /// let config = tidegate_websocket::DeflateConfig::default();
    /// let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
    ///     client_max_window_bits";
    /// assert_eq!(config.offer(), expected);
    /// ```
    #[must_use]
    pub fn offer(&self) -> HeaderValue {
        self.offered().encode()
    }

    fn offered(&self) -> Parameters {
        let own_bits = self.own_window_bits_max;
        Parameters {
            server_no_context_takeover: !self.peer_context_takeover,
            client_no_context_takeover: !self.own_context_takeover,
            server_max_window_bits: (self.peer_window_bits_max < WindowBits::MAX)
                .then_some(Some(self.peer_window_bits_max)),
            client_max_window_bits: Some((own_bits < WindowBits::MAX).then_some(own_bits)),
        }
    }

    /// Checks the server's answer. Returns the agreed parameters; `None` if the server declined. `extensions` is the
    /// answer to [`offer`](Self::offer).
    ///
    /// # Errors
    /// [`UpgradeResponseError::InvalidExtensions`] when the answer does not match the offer or violates RFC 7692: close
    /// the connection.
    pub fn check_response(
        &self,
        extensions: Option<&HeaderValue>,
    ) -> Result<Option<DeflateParams>, UpgradeResponseError> {
        let Some(value) = extensions else { return Ok(None) };
        let invalid = UpgradeResponseError::InvalidExtensions;
        let extensions = extension_list::parse([value.as_bytes()].into_iter()).map_err(|_| invalid)?;
        let agreed = match &extensions[..] {
            [] => return Ok(None),
            [extension] if is_ours(extension) => Parameters::parse(extension).ok_or(invalid)?,
            _ => return Err(invalid),
        };
        let offered = self.offered();
        if offered.server_no_context_takeover && !agreed.server_no_context_takeover {
            return Err(invalid);
        }
        let server_bits = match (offered.server_max_window_bits, agreed.server_max_window_bits) {
            (None, None) => WindowBits::MAX,
            (_, Some(Some(bits))) if bits <= self.peer_window_bits_max => bits,
            _ => return Err(invalid),
        };
        let client_bits = match agreed.client_max_window_bits {
            None => self.own_window_bits_max,
            Some(Some(bits)) => bits.min(self.own_window_bits_max),
            // Only offers can have it without a value.
            Some(None) => return Err(invalid),
        };
        Ok(Some(DeflateParams {
            server_no_context_takeover: agreed.server_no_context_takeover,
            client_no_context_takeover: agreed.client_no_context_takeover || !self.own_context_takeover,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        }))
    }
}

fn is_ours(extension: &Extension<'_>) -> bool {
    extension.name.eq_ignore_ascii_case(NAME)
}

/// The parameters of one offer or answer, as they are written.
#[derive(Debug, Clone, Copy, Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    /// The outer option is the parameter, the inner one its value.
    server_max_window_bits: Option<Option<WindowBits>>,
    client_max_window_bits: Option<Option<WindowBits>>,
}

impl Parameters {
    /// Parses the parameters; `None` if one is unknown, repeated, or has an invalid value (RFC 7692 section 7.1).
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        let mut parameters = Self::default();
        for parameter in &extension.parameters {
            let value = parameter.value.as_deref();
            match parameter.name {
                SERVER_NO_CONTEXT_TAKEOVER => set_flag(&mut parameters.server_no_context_takeover, value)?,
                CLIENT_NO_CONTEXT_TAKEOVER => set_flag(&mut parameters.client_no_context_takeover, value)?,
                SERVER_MAX_WINDOW_BITS => set_bits(&mut parameters.server_max_window_bits, Some(value?))?,
                CLIENT_MAX_WINDOW_BITS => set_bits(&mut parameters.client_max_window_bits, value)?,
                _ => return None,
            }
        }
        Some(parameters)
    }

    fn encode(&self) -> HeaderValue {
        let mut text = NAME.to_owned();
        for (name, is_set) in [
            (SERVER_NO_CONTEXT_TAKEOVER, self.server_no_context_takeover),
            (CLIENT_NO_CONTEXT_TAKEOVER, self.client_no_context_takeover),
        ] {
            if is_set {
                text = text + "; " + name;
            }
        }
        for (name, bits) in [
            (SERVER_MAX_WINDOW_BITS, self.server_max_window_bits),
            (CLIENT_MAX_WINDOW_BITS, self.client_max_window_bits),
        ] {
            match bits {
                Some(Some(bits)) => text = text + "; " + name + "=" + &bits.value().to_string(),
                Some(None) => text = text + "; " + name,
                None => {}
            }
        }
        // Names, digits and separators are always a valid value.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(NAME))
    }
}

fn set_flag(flag: &mut bool, value: Option<&str>) -> Option<()> {
    (!*flag && value.is_none()).then(|| *flag = true)
}

fn set_bits(bits: &mut Option<Option<WindowBits>>, value: Option<&str>) -> Option<()> {
    let parsed = match value {
        Some(digits) => Some(parse_bits(digits)?),
        None => None,
    };
    bits.replace(parsed).is_none().then_some(())
}

/// Parses a decimal number from 8 to 15 without leading zeros (RFC 7692 section 7.1.2).
fn parse_bits(digits: &str) -> Option<WindowBits> {
    let bits = match digits.as_bytes() {
        [digit @ b'8'..=b'9'] => digit - b'0',
        [b'1', digit @ b'0'..=b'5'] => 10 + digit - b'0',
        _ => return None,
    };
    Some(WindowBits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps both contexts, so that answers contain only what the offer asks for.
    fn keeping() -> DeflateConfig {
        DeflateConfig { own_context_takeover: true, peer_context_takeover: true, ..DeflateConfig::default() }
    }

    fn accept(config: &DeflateConfig, line: &str) -> Option<String> {
        let agreement = config.accept([line.as_bytes()].into_iter()).unwrap()?;
        Some(agreement.response.to_str().unwrap().strip_prefix(NAME).unwrap().replace("; ", ";"))
    }

    #[test]
    fn a_server_answers_with_what_it_was_asked_for() {
        for (offer, expected) in [
            ("", Some("")),
            ("; server_no_context_takeover", Some(";server_no_context_takeover")),
            ("; client_no_context_takeover", Some(";client_no_context_takeover")),
            ("; client_max_window_bits", Some("")),
            ("; client_max_window_bits=15", Some(";client_max_window_bits=15")),
            ("; client_max_window_bits=8", Some(";client_max_window_bits=8")),
            ("; client_max_window_bits=\"10\"", Some(";client_max_window_bits=10")),
            ("; server_max_window_bits=9", Some(";server_max_window_bits=9")),
            ("; server_max_window_bits=15", Some(";server_max_window_bits=15")),
            // Cannot be fulfilled, or invalid.
            ("; server_max_window_bits=8", None),
            ("; server_max_window_bits=7", None),
            ("; server_max_window_bits=16", None),
            ("; server_max_window_bits=010", None),
            ("; server_max_window_bits", None),
            ("; client_max_window_bits=0", None),
            ("; client_max_window_bits=+9", None),
            ("; client_max_window_bits; client_max_window_bits", None),
            ("; server_max_window_bits=10; server_max_window_bits=10", None),
            ("; server_no_context_takeover=1", None),
            ("; client_no_context_takeover; client_no_context_takeover", None),
            ("; unknown", None),
            ("; server_max_window_bits=8, permessage-deflate", Some("")),
            ("; unknown=1, foo, permessage-deflate; server_max_window_bits=12", Some(";server_max_window_bits=12")),
            ("; server_max_window_bits=11, permessage-deflate", Some(";server_max_window_bits=11")),
        ] {
            assert_eq!(accept(&keeping(), &format!("{NAME}{offer}")).as_deref(), expected, "{offer}");
        }
        for none in ["", "foo", "x-webkit-deflate-frame, permessage-bzip2"] {
            assert_eq!(accept(&keeping(), none), None);
        }
        let malformed = keeping().accept([&b"permessage-deflate;"[..]].into_iter());
        assert_eq!(malformed, Err(UpgradeRequestError::InvalidExtensions));
    }

    #[test]
    fn a_server_says_what_it_wants_itself() {
        let default = ";server_no_context_takeover;client_no_context_takeover";
        assert_eq!(accept(&DeflateConfig::default(), NAME).as_deref(), Some(default));
        let bits = |bits| WindowBits::new(bits).unwrap();
        let config = DeflateConfig { own_window_bits_max: bits(12), peer_window_bits_max: bits(11), ..keeping() };
        // The client's window can be named only if the client accepts that.
        assert_eq!(accept(&config, NAME).as_deref(), Some(";server_max_window_bits=12"));
        let line = "permessage-deflate; client_max_window_bits";
        assert_eq!(accept(&config, line).as_deref(), Some(";server_max_window_bits=12;client_max_window_bits=11"));
        let line = "permessage-deflate; client_max_window_bits=10; server_max_window_bits=14";
        assert_eq!(accept(&config, line).as_deref(), Some(";server_max_window_bits=12;client_max_window_bits=10"));
        let params = config.accept([NAME.as_bytes()].into_iter()).unwrap().unwrap().params;
        assert_eq!(params.peer_window(Role::Server), WindowBits::MAX);
        assert_eq!(params.own_window(Role::Server), Some(bits(12)));
    }

    #[test]
    fn the_memory_of_both_contexts_adds_up() {
        let bytes = |own_context_takeover, peer_context_takeover| {
            let config = DeflateConfig { own_context_takeover, peer_context_takeover, ..DeflateConfig::default() };
            let agreement = config.accept([NAME.as_bytes()].into_iter()).unwrap().unwrap();
            agreement.params.context_bytes_max(Role::Server)
        };
        assert_eq!(bytes(false, false), 0);
        let inflater_bytes = inflater_bytes_max(WindowBits::MAX);
        assert_eq!(bytes(false, true), inflater_bytes);
        assert!(bytes(true, false) > inflater_bytes);
        assert_eq!(bytes(true, true), bytes(true, false) + inflater_bytes);
    }

    #[test]
    fn a_client_takes_what_it_offered_and_nothing_else() {
        let bits = |bits| WindowBits::new(bits).unwrap();
        let asking = DeflateConfig { peer_window_bits_max: bits(12), own_window_bits_max: bits(13), ..keeping() };
        let check = |config: &DeflateConfig, answer: &str| {
            let value = HeaderValue::from_str(&format!("{NAME}{answer}")).unwrap();
            let params = config.check_response(Some(&value))?.expect("the server agreed");
            Ok((params.client_max_window_bits.value(), params.server_max_window_bits.value()))
        };
        let invalid = Err(UpgradeResponseError::InvalidExtensions);
        assert_eq!(asking.offer(), "permessage-deflate; server_max_window_bits=12; client_max_window_bits=13");
        for (answer, expected) in [
            ("; server_max_window_bits=12", Ok((13, 12))),
            ("; server_max_window_bits=9; client_max_window_bits=15", Ok((13, 9))),
            ("; server_max_window_bits=8; client_max_window_bits=8", Ok((8, 8))),
            ("", invalid),
            ("; server_max_window_bits=13", invalid),
            ("; server_max_window_bits=12; client_max_window_bits", invalid),
            ("; server_max_window_bits=12; foo", invalid),
            ("; server_max_window_bits=12, permessage-deflate", invalid),
            (";", invalid),
        ] {
            assert_eq!(check(&asking, answer), expected, "{answer}");
        }
        assert_eq!(asking.check_response(None), Ok(None));
        assert_eq!(asking.check_response(Some(&HeaderValue::from_static(""))), Ok(None));
        let other = asking.check_response(Some(&HeaderValue::from_static("other; server_max_window_bits=12")));
        assert_eq!(other, Err(UpgradeResponseError::InvalidExtensions));
        assert_eq!(keeping().offer(), "permessage-deflate; client_max_window_bits");
        // The server must agree to the client's demands. The client grants all of the server's.
        let default = DeflateConfig::default();
        assert_eq!(check(&default, "; client_no_context_takeover"), invalid);
        assert_eq!(check(&default, "; server_no_context_takeover; server_max_window_bits=10"), Ok((15, 10)));
        let value = HeaderValue::from_static("permessage-deflate; client_no_context_takeover");
        let params = keeping().check_response(Some(&value)).unwrap().unwrap();
        assert!(!params.own_takeover(Role::Client) && params.peer_takeover(Role::Client));
        assert_eq!(params.own_window(Role::Client), Some(WindowBits::MAX));
    }

    #[test]
    fn both_roles_agree_whatever_their_settings() {
        let all = [false, true];
        for (own, peer) in all.into_iter().flat_map(|own| all.map(|peer| (own, peer))) {
            for bits in 9..=15 {
                let bits = WindowBits(bits);
                let client = DeflateConfig {
                    own_context_takeover: own,
                    peer_context_takeover: peer,
                    peer_window_bits_max: bits,
                    ..DeflateConfig::default()
                };
                let offer = client.offer();
                let agreement = keeping().accept([offer.as_bytes()].into_iter()).unwrap().unwrap();
                let params = client.check_response(Some(&agreement.response)).unwrap().unwrap();
                assert_eq!(params, agreement.params);
                assert_eq!((params.own_takeover(Role::Client), params.peer_takeover(Role::Client)), (own, peer));
                assert_eq!(params.peer_window(Role::Client), bits);
            }
        }
    }
}
