//! A request in parts, which a kind changes before they are put together.

use crate::random::Random;

/// The parts of a request. Together they are its bytes, so each has its own line ends.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What stands in front of the request line.
    pub lead: Vec<u8>,
    pub method: Vec<u8>,
    /// What stands between the method and the target.
    pub first_space: Vec<u8>,
    pub target: Vec<u8>,
    /// What stands between the target and the version.
    pub second_space: Vec<u8>,
    pub version: Vec<u8>,
    pub line_end: Vec<u8>,
    pub fields: Vec<Field>,
    pub empty_line: Vec<u8>,
    pub content: Vec<u8>,
}

/// One field line.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: Vec<u8>,
    pub colon: Vec<u8>,
    pub value: Vec<u8>,
    pub line_end: Vec<u8>,
}

impl Field {
    pub fn new(name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        Self { name: name.into(), colon: b": ".into(), value, line_end: b"\r\n".into() }
    }
}

impl Draft {
    /// Returns a valid request: with some fields and, in half of the cases, with content.
    pub fn random(random: &mut Random) -> Self {
        let mut draft = Self {
            lead: Vec::new(),
            method: b"GET".into(),
            first_space: b" ".into(),
            target: random.pick(&["/", "/a", "/a/b.c", "/a?b=c", "/%41?"]).as_bytes().into(),
            second_space: b" ".into(),
            version: b"HTTP/1.1".into(),
            line_end: b"\r\n".into(),
            fields: vec![Field::new("Host", random.pick(&["a", "a.example", "127.0.0.1", "a.example:8080"]))],
            empty_line: b"\r\n".into(),
            content: Vec::new(),
        };
        for number in 0..random.below(4) {
            let value = *random.pick(&["one", "a, b", "x=\"y z\"; q=0.5", "/"]);
            draft.add(random, &format!("X-Field-{number}"), value);
        }
        match random.below(4) {
            0 => draft.set_chunks(random, b"5\r\nhello\r\n0\r\n\r\n"),
            1 => draft.set_length(random, &["5"]),
            _ => {}
        }
        draft
    }

    pub fn bytes(&self) -> Vec<u8> {
        let lines = self.fields.iter().flat_map(|field| [&field.name, &field.colon, &field.value, &field.line_end]);
        let request_line =
            [&self.lead, &self.method, &self.first_space, &self.target, &self.second_space, &self.version];
        let parts = request_line.into_iter().chain([&self.line_end]).chain(lines);
        parts.chain([&self.empty_line, &self.content]).flatten().copied().collect()
    }

    /// Adds a field at a random place.
    pub fn add(&mut self, random: &mut Random, name: &str, value: impl AsRef<[u8]>) {
        self.add_lines(random, name, &[value]);
    }

    /// Adds lines of a field at a random place, one after the other.
    fn add_lines(&mut self, random: &mut Random, name: &str, values: &[impl AsRef<[u8]>]) {
        let place = random.below(self.fields.len() + 1);
        self.fields.splice(place..place, values.iter().map(|value| Field::new(name, value)));
    }

    /// Adds a field and returns it, which is behind the first one.
    pub fn added(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Field {
        self.fields.insert(1, Field::new(name, value));
        &mut self.fields[1]
    }

    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|field| !field.name.eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Replaces the field Host by lines with these values.
    pub fn set_hosts(&mut self, random: &mut Random, values: &[&[u8]]) {
        self.remove("host");
        self.add_lines(random, "Host", values);
    }

    /// Makes it a request without content.
    pub fn without_content(&mut self) {
        self.remove("content-length");
        self.remove("transfer-encoding");
        self.content.clear();
        self.method = b"GET".into();
    }

    /// Makes it a POST of `hello` with these lines of Content-Length.
    pub fn set_length(&mut self, random: &mut Random, lengths: &[&str]) {
        self.without_content();
        self.method = b"POST".into();
        self.content = b"hello".into();
        self.add_lines(random, "Content-Length", lengths);
    }

    /// Makes it a POST in the chunked coding.
    pub fn set_chunks(&mut self, random: &mut Random, content: &[u8]) {
        self.set_codings(random, &["chunked"], content);
    }

    /// Makes it a POST with these lines of Transfer-Encoding.
    pub fn set_codings(&mut self, random: &mut Random, codings: &[&str], content: &[u8]) {
        self.without_content();
        self.method = b"POST".into();
        self.content = content.into();
        self.add_lines(random, "Transfer-Encoding", codings);
    }
}
