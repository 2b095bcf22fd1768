//! The payloads of messages: pseudo-random bytes or text, or JSON as applications send it.

/// Words of the JSON texts. Half of them have characters of two, three and four bytes.
const WORDS: [&str; 16] = [
    "pending",
    "café",
    "shipped",
    "Zürich",
    "returned",
    "crème brûlée",
    "express",
    "東京",
    "standard",
    "naïve",
    "priority",
    "Łódź",
    "refunded",
    "smörgåsbord",
    "paid",
    "🚲",
];

/// Names of the members of a JSON object. An object that begins again with the first has the same structure.
const MEMBERS: [&str; 6] = ["id", "customer", "city", "status", "price", "quantity"];

/// What a payload consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Pseudo-random bytes, sent as binary messages.
    Binary,
    /// Pseudo-random printable ASCII characters, sent as text.
    Text,
    /// JSON with characters of one to four bytes, sent as text: compressible as such messages are.
    Json,
}

impl Content {
    /// Returns whether the messages are text.
    #[must_use]
    pub fn is_text(self) -> bool {
        self != Self::Binary
    }
}

/// Returns the payload of a message of `bytes` bytes. `number` varies it.
#[must_use]
pub fn payload(number: u64, bytes: usize, content: Content) -> Vec<u8> {
    let mut random = Random(number.wrapping_mul(0xd134_2543_de82_ef95));
    match content {
        Content::Binary => random.bytes(bytes),
        Content::Text => random.bytes(bytes).into_iter().map(|byte| b'0' + (byte & 63)).collect(),
        Content::Json => random.json(bytes).into_bytes(),
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, bytes: usize) -> Vec<u8> {
        let mut payload = Vec::with_capacity(bytes + 8);
        while payload.len() < bytes {
            payload.extend_from_slice(&self.next().to_le_bytes());
        }
        payload.truncate(bytes);
        payload
    }

    /// Returns a list of objects, padded with spaces. Fewer than 2 bytes are not enough for a list.
    fn json(&mut self, bytes: usize) -> String {
        let mut text = String::from("[");
        let mut separator = "";
        loop {
            let object = self.object();
            if text.len() + separator.len() + object.len() + 1 > bytes {
                break;
            }
            text = text + separator + &object;
            separator = ",";
        }
        text.extend(std::iter::repeat_n(' ', bytes.saturating_sub(text.len() + 1)));
        text.push(']');
        text.truncate(bytes);
        text
    }

    fn object(&mut self) -> String {
        let members = MEMBERS.map(|name| {
            let value = match name {
                "id" => (100_000 + self.below(900_000)).to_string(),
                "price" => format!("{}.{:02}", self.below(500), self.below(100)),
                "quantity" => self.below(10).to_string(),
                _ => format!("\"{}\"", WORDS[self.below(WORDS.len())]),
            };
            format!("\"{name}\":{value}")
        });
        format!("{{{}}}", members.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::Deflate;

    #[test]
    fn payloads_have_their_size_and_differ() {
        for content in [Content::Binary, Content::Text, Content::Json] {
            for bytes in [0, 1, 2, 100, 1024] {
                assert_eq!(payload(3, bytes, content).len(), bytes, "{content:?}");
            }
            assert_ne!(payload(3, 1024, content), payload(4, 1024, content));
            assert_eq!(payload(3, 1024, content), payload(3, 1024, content));
        }
        assert!(payload(9, 500, Content::Text).iter().all(u8::is_ascii_graphic));
    }

    #[test]
    fn json_is_valid_has_long_characters_and_compresses_as_such_texts_do() {
        for number in 0..50 {
            let text = String::from_utf8(payload(number, 1024, Content::Json)).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
            assert!((20..300).contains(&text.bytes().filter(|byte| !byte.is_ascii()).count()), "{text}");
            let ratio = 1024.0 / Deflate::new(6, true).message(text.as_bytes()).unwrap().len() as f64;
            assert!((2.0..4.0).contains(&ratio), "{ratio}");
        }
    }
}
