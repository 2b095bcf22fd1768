//! Content codings and their negotiation (RFC 9110 sections 8.4.1 and 12.5.3).
//!
//! Used for files with compressed forms, and for responses that are compressed while they are sent.

use http::HeaderValue;

use crate::field::list_elements;
use crate::message::request::Request;

/// The value of Vary for content whose coding was negotiated.
pub(crate) const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// A content coding. The order is that of preference where a client accepts several alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, in spite of its name.
    Deflate,
}

impl Coding {
    pub(crate) const ALL: [Coding; 4] = [Coding::Brotli, Coding::Zstd, Coding::Gzip, Coding::Deflate];

    /// Returns the name in Accept-Encoding and Content-Encoding.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    fn named(name: &[u8]) -> Option<Coding> {
        // RFC 9110 section 8.4.1.3: x-gzip is the same.
        let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
        Coding::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }
}

/// The codings that a client accepts, each with its weight in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    codings: [u16; Coding::ALL.len()],
    /// The weight of content without a coding; `None` if the client did not name it: it is then acceptable, and the
    /// last choice.
    identity: Option<u16>,
}

/// The form of content that suits a client best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Coding(Coding),
    Identity,
    /// The client refuses everything that there is.
    Nothing,
}

impl Accepted {
    /// Returns the codings that the client of a request accepts.
    pub(crate) fn by(request: &Request) -> Accepted {
        Accepted::of(request.values("accept-encoding"))
    }

    /// Reads all lines of Accept-Encoding. Elements that cannot be read are skipped. A client without such a field is
    /// not known to understand a coding.
    fn of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Accepted {
        let mut named = [None; Coding::ALL.len()];
        let (mut identity, mut others) = (None, None);
        for element in lines.flat_map(list_elements) {
            let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let Some(weight) = weight(parts) else { continue };
            match Coding::named(name) {
                Some(coding) => named[coding as usize] = Some(weight),
                None if name == b"*" => others = Some(weight),
                None if name.eq_ignore_ascii_case(b"identity") => identity = Some(weight),
                None => {}
            }
        }
        Accepted {
            codings: named.map(|weight| weight.or(others).unwrap_or(0)),
            identity: identity.or(others.filter(|weight| *weight == 0)),
        }
    }

    /// Returns whether content without a coding is refused.
    #[cfg(feature = "compression")]
    pub(crate) fn refuses_identity(&self) -> bool {
        self.identity == Some(0)
    }

    /// Returns the best form among some codings and content without one.
    pub(crate) fn choose(&self, available: impl Iterator<Item = Coding>) -> Choice {
        let mut best: Option<(Coding, u16)> = None;
        for coding in available {
            let weight = self.codings[coding as usize];
            if weight > best.map_or(0, |(_, best)| best) {
                best = Some((coding, weight));
            }
        }
        match (best, self.identity) {
            (Some((_, weight)), Some(identity)) if identity > weight => Choice::Identity,
            (Some((coding, _)), _) => Choice::Coding(coding),
            (None, Some(0)) => Choice::Nothing,
            (None, _) => Choice::Identity,
        }
    }
}

/// Reads the weight among the parameters of an element, in thousandths; 1000 if there is none. `None` if it is invalid.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let weight = parameters.find_map(|parameter| match parameter {
        [b'q' | b'Q', b'=', value @ ..] => Some(value),
        _ => None,
    });
    let Some(weight) = weight else { return Some(1000) };
    // RFC 9110 section 12.4.2: 0 or 1 with up to three digits.
    let (whole, digits) = match weight {
        [whole] => (whole, [].as_slice()),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, unit) in digits.iter().zip([100, 10, 1]) {
        thousandths += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(lines: &[&str]) -> Accepted {
        Accepted::of(lines.iter().map(|line| line.as_bytes()))
    }

    fn choice(line: &str) -> Choice {
        accepted(&[line]).choose(Coding::ALL.into_iter())
    }

    #[test]
    fn the_highest_weight_wins_and_then_the_order() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        for (line, expected) in [
            ("gzip, deflate, br, zstd", Choice::Coding(Brotli)),
            ("gzip, deflate", Choice::Coding(Gzip)),
            ("GZip;Q=0.5, deflate;q=0.7", Choice::Coding(Deflate)),
            ("br;q=0.001, zstd; q=0.01 , gzip ;q=0", Choice::Coding(Zstd)),
            ("x-gzip", Choice::Coding(Gzip)),
            ("*", Choice::Coding(Brotli)),
            ("br;q=0, *", Choice::Coding(Zstd)),
            ("gzip;q=0.5, identity", Choice::Identity),
            ("gzip;q=0.5, identity;q=0.5", Choice::Coding(Gzip)),
            ("gzip, identity;q=0", Choice::Coding(Gzip)),
            ("identity;q=0", Choice::Nothing),
            ("*;q=0", Choice::Nothing),
            ("*;q=0, identity", Choice::Identity),
            ("compress", Choice::Identity),
            ("", Choice::Identity),
            ("gzip;q=2, br;q=0.1234, zstd;q=, deflate;q=1.001", Choice::Identity),
            ("gzip;level=1;q=1.000", Choice::Coding(Gzip)),
        ] {
            assert_eq!(choice(line), expected, "{line:?}");
        }
    }

    #[test]
    fn several_lines_are_one_list_and_none_means_identity() {
        assert_eq!(accepted(&["gzip", "br"]), accepted(&["gzip, br"]));
        assert_eq!(accepted(&[]).choose(Coding::ALL.into_iter()), Choice::Identity);
        let only_gzip = [Coding::Gzip].into_iter();
        assert_eq!(accepted(&["br, gzip;q=0.1"]).choose(only_gzip), Choice::Coding(Coding::Gzip));
    }
}
