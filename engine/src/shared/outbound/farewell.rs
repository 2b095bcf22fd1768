//! The last bytes of a connection that an engine ends, as a number: very many connections have one of a few.

use std::sync::OnceLock;

/// The farewells of the process that have a number, which is one more than their place.
static KNOWN: [OnceLock<&'static [u8]>; 64] = [const { OnceLock::new() }; 64];

/// A farewell in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Farewell(u8);

impl Farewell {
    /// No farewell.
    pub(super) const NONE: Self = Self(0);
    /// One without a number, which is kept elsewhere.
    pub(super) const OTHER: Self = Self(u8::MAX);

    /// Returns the number of these bytes, or [`OTHER`](Self::OTHER) if all numbers stand for others.
    pub(super) fn of(bytes: &'static [u8]) -> Self {
        if bytes.is_empty() {
            return Self::NONE;
        }
        let place = KNOWN.iter().position(|known| *known.get_or_init(|| bytes) == bytes);
        place.map_or(Self::OTHER, |place| Self(place as u8 + 1))
    }

    /// Returns the bytes; none of [`OTHER`](Self::OTHER).
    pub(super) fn bytes(self) -> &'static [u8] {
        let known = usize::from(self.0).checked_sub(1).and_then(|place| KNOWN.get(place)?.get());
        known.copied().unwrap_or_default()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn equal_farewells_have_one_number_and_the_numbers_end() {
        assert_eq!((Farewell::of(b""), Farewell::NONE.bytes()), (Farewell::NONE, &b""[..]));
        let first = Farewell::of(b"going away");
        assert_eq!((first, first.bytes()), (Farewell::of(b"going away"), &b"going away"[..]));
        let mut farewells: Vec<&'static [u8]> = Vec::new();
        for number in 0..KNOWN.len() {
            farewells.push(Box::leak(format!("farewell {number}").into_boxed_str()).as_bytes());
        }
        let numbers: Vec<_> = farewells.iter().map(|bytes| Farewell::of(bytes)).collect();
        assert_eq!(numbers.last(), Some(&Farewell::OTHER));
        assert_eq!(Farewell::OTHER.bytes(), b"");
        for (number, bytes) in numbers.into_iter().zip(farewells).filter(|(number, _)| *number != Farewell::OTHER) {
            assert_eq!(number.bytes(), bytes);
        }
        assert_eq!(Farewell::of(b"going away"), first);
    }
}
