//! WebSocket: masking, frames, UTF-8, messages.

use tidegate_websocket::{
    MessageKind,
    protocol::{
        Event, Frame, FrameDecoder, FrameRules, MaskingKey, MessageEncoder, Protocol, ProtocolConfig, Role,
        Utf8Validator, apply_mask, check_utf8,
    },
};

use super::Subject;

const KEY: MaskingKey = MaskingKey::new([0x37, 0xFA, 0x21, 0x3D]);

/// Leaves the payload unchanged at the cost of any other key, so the same input can be received repeatedly.
const KEY_OF_ZEROS: MaskingKey = MaskingKey::new([0; 4]);

/// Unmasks a payload that begins `alignment` bytes after a multiple of 64.
pub struct Unmask {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Unmask {
    pub fn new(len: usize, alignment: usize) -> Self {
        let memory = vec![0x5A; len + 128];
        let start = memory.as_ptr().align_offset(64) + alignment;
        Self { memory, start, len }
    }
}

impl Subject for Unmask {
    fn run(&mut self) -> usize {
        let payload = &mut self.memory[self.start..self.start + self.len];
        apply_mask(KEY, payload);
        payload.len()
    }

    fn expected(&self) -> usize {
        self.len
    }
}

/// Finds and unmasks a client's frames in one piece of input.
pub struct DecodeFrames {
    decoder: FrameDecoder,
    input: Vec<u8>,
    frames: usize,
}

impl DecodeFrames {
    pub fn new(payload_bytes: usize, frames: usize) -> Self {
        let mut input = Vec::new();
        for _ in 0..frames {
            Frame::binary(&vec![0x5A; payload_bytes]).encode(Some(KEY), &mut input);
        }
        Self { decoder: FrameDecoder::new(FrameRules::new(Role::Server)), input, frames }
    }
}

impl Subject for DecodeFrames {
    fn run(&mut self) -> usize {
        let (mut rest, mut frames) = (&mut self.input[..], 0);
        while !rest.is_empty() {
            let Ok(decoded) = self.decoder.decode(rest) else { return 0 };
            frames += usize::from(decoded.piece.is_some_and(|piece| piece.remaining_bytes == 0));
            rest = &mut rest[decoded.consumed..];
        }
        frames
    }

    fn expected(&self) -> usize {
        self.frames
    }
}

/// Encodes a frame into a buffer that has the memory already.
pub struct EncodeFrame {
    payload: Vec<u8>,
    key: Option<MaskingKey>,
    out: Vec<u8>,
}

impl EncodeFrame {
    /// Returns the subject for a server's frame.
    pub fn unmasked(payload_bytes: usize) -> Self {
        Self { payload: vec![0x5A; payload_bytes], key: None, out: Vec::new() }
    }

    /// Returns the subject for a client's frame.
    pub fn masked(payload_bytes: usize) -> Self {
        Self { key: Some(KEY), ..Self::unmasked(payload_bytes) }
    }
}

impl Subject for EncodeFrame {
    fn run(&mut self) -> usize {
        self.out.clear();
        Frame::binary(&self.payload).encode(self.key, &mut self.out);
        self.out.len()
    }

    fn expected(&self) -> usize {
        let length_bytes = match self.payload.len() {
            ..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        };
        2 + length_bytes + self.key.map_or(0, |key| key.bytes().len()) + self.payload.len()
    }
}

/// Checks a text as a whole, or in pieces that end anywhere.
pub struct CheckText {
    text: Vec<u8>,
    piece_bytes: Option<usize>,
    valid: bool,
}

impl CheckText {
    pub fn ascii(bytes: usize) -> Self {
        Self {
            text: b"The quick brown fox. ".iter().copied().cycle().take(bytes).collect(),
            piece_bytes: None,
            valid: true,
        }
    }

    /// Returns text with characters of one to four bytes, about `bytes` in all.
    pub fn multilingual(bytes: usize) -> Self {
        let sentence = "Ĝis la revido! Здравствуй, мир. 你好，世界。 नमस्ते दुनिया 🦀🌊 Hello. ";
        let text = sentence.repeat(bytes / sentence.len()).into_bytes();
        Self { text, piece_bytes: None, valid: true }
    }

    /// Returns multilingual text with a wrong byte at the end: in place of the last byte of a four-byte character.
    pub fn invalid_late(bytes: usize) -> Self {
        let mut checked = Self::multilingual(bytes);
        checked.text.extend_from_slice(b"\xF0\x9F\xA6!");
        Self { valid: false, ..checked }
    }

    /// Checks the same text in pieces of `piece_bytes`.
    pub fn in_pieces(self, piece_bytes: usize) -> Self {
        Self { piece_bytes: Some(piece_bytes), ..self }
    }

    fn check(&self) -> bool {
        let Some(piece_bytes) = self.piece_bytes else {
            return check_utf8(&self.text).is_ok();
        };
        let mut validator = Utf8Validator::new();
        self.text.chunks(piece_bytes).all(|piece| validator.push(piece).is_ok()) && validator.is_complete()
    }
}

impl Subject for CheckText {
    fn run(&mut self) -> usize {
        if self.check() == self.valid { self.text.len() } else { 0 }
    }

    fn expected(&self) -> usize {
        self.text.len()
    }
}

/// Receives messages: finds and unmasks frames, checks text, assembles messages.
pub struct ReceiveMessages {
    protocol: Protocol,
    input: Vec<u8>,
    chunk_bytes: usize,
    payload_bytes: usize,
}

impl ReceiveMessages {
    /// Returns the subject with `messages` binary messages of one frame each, all in one chunk.
    pub fn whole(payload_bytes: usize, messages: usize) -> Self {
        let mut input = Vec::new();
        for _ in 0..messages {
            Frame::binary(&vec![0x5A; payload_bytes]).encode(Some(KEY_OF_ZEROS), &mut input);
        }
        Self::of(server(), input, messages * payload_bytes)
    }

    /// Returns the subject with one text message of one frame.
    pub fn text(payload_bytes: usize) -> Self {
        let mut input = Vec::new();
        Frame::text(&"a".repeat(payload_bytes)).encode(Some(KEY_OF_ZEROS), &mut input);
        Self::of(server(), input, payload_bytes)
    }

    /// Returns the subject with one binary message of one frame, in chunks of `chunk_bytes`.
    pub fn in_chunks(payload_bytes: usize, chunk_bytes: usize) -> Self {
        Self { chunk_bytes, ..Self::whole(payload_bytes, 1) }
    }

    /// Returns the subject with one message of `fragments` fragments.
    pub fn fragmented(kind: MessageKind, fragment_bytes: usize, fragments: usize) -> Self {
        let (mut input, fragment) = (Vec::new(), vec![b'a'; fragment_bytes]);
        let mut message = MessageEncoder::new(kind);
        for _ in 1..fragments {
            message.write(&fragment, Some(KEY_OF_ZEROS), &mut input);
        }
        message.finish(&fragment, Some(KEY_OF_ZEROS), &mut input);
        Self::of(server(), input, fragments * fragment_bytes)
    }

    /// Returns the subject whose `input`, a client's frames, holds messages of `payload_bytes` in all.
    pub fn of(protocol: Protocol, input: Vec<u8>, payload_bytes: usize) -> Self {
        Self { protocol, input, chunk_bytes: usize::MAX, payload_bytes }
    }
}

fn server() -> Protocol {
    Protocol::new(ProtocolConfig::new(Role::Server))
}

impl Subject for ReceiveMessages {
    fn run(&mut self) -> usize {
        let mut payload_bytes = 0;
        let chunk_bytes = self.chunk_bytes.min(self.input.len());
        for mut chunk in self.input.chunks_mut(chunk_bytes) {
            while !chunk.is_empty() {
                let Ok(progress) = self.protocol.receive(chunk) else { return 0 };
                payload_bytes += match &progress.event {
                    Some(Event::InPlace { range, .. }) => range.len(),
                    Some(Event::Assembled { message, .. }) => message.len(),
                    _ => 0,
                };
                chunk = &mut chunk[progress.consumed..];
            }
        }
        payload_bytes
    }

    fn expected(&self) -> usize {
        self.payload_bytes
    }
}
