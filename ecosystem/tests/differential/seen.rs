//! What a server's application saw of one request, as text in a field of its answer.

use std::hash::{DefaultHasher, Hasher};

use tidegate::http::HeaderMap;

/// The field of an answer that holds it.
pub const FIELD: &str = "x-seen";

/// Longer values are given as their length and a hash.
const SHOWN_BYTES_MAX: usize = 64;

/// Fields that concern one connection only, or the length of the content, which is compared itself. nginx replaces
/// them on its way to the recorder.
const NOT_COMPARED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    AUTHORITY,
];

/// The field in which nginx gives its recorder the host of the request, which can be that of the target.
pub const AUTHORITY: &str = "x-nginx-authority";

/// One request, as an application saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    /// In lower case and without the port, as nginx gives it.
    pub host: String,
    pub content: String,
    /// In the order of their names. Those with the same name are in the order of arrival.
    pub fields: Vec<String>,
}

impl Seen {
    pub fn new(
        method: &str,
        path: &str,
        host: &[u8],
        content: &[u8],
        fields: impl Iterator<Item = (String, Vec<u8>)>,
    ) -> Self {
        let mut fields: Vec<_> = fields
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()))
            .collect();
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        let fields = fields.iter().map(|(name, value)| format!("{}: {}", name.escape_default(), shown(value)));
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        let host = match host.rfind(':') {
            Some(colon) if !host[colon..].contains(']') => &host[..colon],
            _ => &host,
        };
        Self {
            method: method.to_owned(),
            path: path.escape_default().to_string(),
            host: host.escape_default().to_string(),
            content: shown(content),
            fields: fields.collect(),
        }
    }

    pub fn from_map(method: &str, path: &str, host: &[u8], content: &[u8], fields: &HeaderMap) -> Self {
        let fields = fields.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        Self::new(method, path, host, content, fields)
    }

    /// Returns it as the value of a field.
    pub fn encode(&self) -> String {
        let head = [&self.method, &self.path, &self.host, &self.content];
        let lines: Vec<_> = head.into_iter().chain(&self.fields).map(String::as_str).collect();
        lines.join("\n").bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn decode(value: &str) -> Option<Self> {
        let digits = value.as_bytes().chunks(2);
        let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let text = String::from_utf8(bytes.collect::<Option<_>>()?).ok()?;
        let mut lines = text.split('\n').map(str::to_owned);
        let [method, path, host, content] = [lines.next()?, lines.next()?, lines.next()?, lines.next()?];
        Some(Self { method, path, host, content, fields: lines.collect() })
    }
}

fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES_MAX {
        return bytes.escape_ascii().to_string();
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{} bytes {:016x}", bytes.len(), hasher.finish())
}
