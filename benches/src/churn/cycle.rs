//! The protocol of one cycle, without I/O: checks what arrives and decides what to send next.
//!
//! ```text
//! Upgrading ── 101 ──▶ Echoing ── echo ──▶ Closing ── close frame ──▶ Ending ── end of stream ──▶ done
//! ```
//! The client sends the request, the message and its close frame, each after the previous answer is complete. The
//! server closes the TCP connection first (RFC 6455 section 7.1.1), so TIME_WAIT is on the server's side.

use crate::handshake::Upgrade;
use crate::replies::{Heard, Mismatch, hexadecimal};
use crate::script::{CLOSE, Script};

/// Close code 1000, normal closure (RFC 6455 section 7.4.1).
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// State of a cycle, named after the event that the client waits for.
#[derive(Debug)]
enum State {
    Upgrading,
    Echoing(Heard),
    Closing,
    Ending,
}

/// What to send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// Nothing.
    Nothing,
    /// The message of the script with this number.
    Message(usize),
    /// The close frame.
    Close,
}

/// Upgrade requests, each with the head of its last correct response. An identical head is correct too.
#[derive(Debug)]
pub struct Upgrades {
    each: Vec<(Upgrade, Vec<u8>)>,
}

impl Upgrades {
    /// Prepares `count` different requests.
    #[must_use]
    pub fn new(host: &str, path: &str, count: u64) -> Self {
        Self { each: (0..count).map(|number| (Upgrade::new(host, path, number), Vec::new())).collect() }
    }

    /// Returns the number of requests.
    #[must_use]
    pub fn count(&self) -> usize {
        self.each.len()
    }

    /// Returns request `number`.
    #[must_use]
    pub fn request(&self, number: usize) -> &[u8] {
        self.each[number].0.request()
    }

    /// Like [`Upgrade::read`] for request `number`.
    fn read(&mut self, number: usize, bytes: &[u8]) -> Result<Option<usize>, String> {
        let (upgrade, last) = &mut self.each[number];
        if !last.is_empty() && bytes.starts_with(last) {
            return Ok(Some(last.len()));
        }
        let read = upgrade.read(bytes).map_err(|error| error.to_string())?;
        if let Some(length) = read {
            last.clear();
            last.extend_from_slice(&bytes[..length]);
        }
        Ok(read)
    }
}

/// One connection from its upgrade to its end.
#[derive(Debug)]
pub struct Cycle {
    state: State,
    /// Number of the upgrade request.
    upgrade: usize,
    /// Number of the message.
    message: usize,
    /// Received bytes of an incomplete response head or close frame.
    partial: Vec<u8>,
}

impl Cycle {
    /// Returns a connection that sends request `upgrade`, then message `message`.
    #[must_use]
    pub fn new(upgrade: usize, message: usize) -> Self {
        Self { state: State::Upgrading, upgrade, message, partial: Vec::new() }
    }

    /// Describes the state for people.
    #[must_use]
    pub fn awaits(&self) -> &'static str {
        match self.state {
            State::Upgrading => "before the upgrade",
            State::Echoing(_) => "before the echo",
            State::Closing => "before the answer to the close frame",
            State::Ending => "after the closing handshake, before the server closed TCP",
        }
    }

    /// Returns whether the stream may end now.
    #[must_use]
    pub fn may_end(&self) -> bool {
        matches!(self.state, State::Ending)
    }

    /// Checks received bytes and returns what to send.
    ///
    /// # Errors
    /// The first mismatch. The connection is unusable afterwards.
    pub fn receive(&mut self, upgrades: &mut Upgrades, script: &Script, bytes: &[u8]) -> Result<Say, Mismatch> {
        let violation = |why| Mismatch::Violation { reply: 0, why };
        match &mut self.state {
            State::Upgrading => {
                let read = if self.partial.is_empty() {
                    upgrades.read(self.upgrade, bytes)
                } else {
                    self.partial.extend_from_slice(bytes);
                    upgrades.read(self.upgrade, &self.partial)
                };
                let known = if self.partial.is_empty() { bytes.len() } else { self.partial.len() };
                match read.map_err(violation)? {
                    Some(length) if length < known => Err(Mismatch::Unsolicited { bytes: known - length }),
                    Some(_) => {
                        self.partial.clear();
                        self.state = State::Echoing(Heard::new(script, self.message));
                        Ok(Say::Message(self.message))
                    }
                    None => {
                        if self.partial.is_empty() {
                            self.partial.extend_from_slice(bytes);
                        }
                        Ok(Say::Nothing)
                    }
                }
            }
            State::Echoing(heard) => {
                if heard.receive(script, 1, bytes)? == 0 {
                    return Ok(Say::Nothing);
                }
                self.state = State::Closing;
                Ok(Say::Close)
            }
            State::Closing => {
                self.partial.extend_from_slice(bytes);
                if is_close_frame(&self.partial).map_err(violation)? {
                    self.state = State::Ending;
                }
                Ok(Say::Nothing)
            }
            State::Ending => Err(Mismatch::Unsolicited { bytes: bytes.len() }),
        }
    }
}

/// Returns whether `bytes` are one whole close frame (unmasked, without a code or with 1000), or `false` if more must
/// follow.
fn is_close_frame(bytes: &[u8]) -> Result<bool, String> {
    let wrong = || Err(format!("expected a close frame with 1000 or no code, got {}", hexadecimal(bytes)));
    let [first, second, payload @ ..] = bytes else {
        return if bytes.iter().all(|byte| *byte == CLOSE) { Ok(false) } else { wrong() };
    };
    let length = usize::from(*second);
    let code = &payload[..payload.len().min(NORMAL.len())];
    if *first != CLOSE || length == 1 || length > CONTROL_PAYLOAD_BYTES_MAX || payload.len() > length {
        return wrong();
    }
    if !NORMAL.starts_with(code) {
        return wrong();
    }
    Ok(payload.len() == length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Content;
    use crate::script::{Messages, Protocol};
    use base64::Engine as _;
    use sha1::Digest as _;

    fn script() -> Script {
        let protocol = Protocol::WebSocket;
        Script::new(&Messages { protocol, payload_bytes: 64, content: Content::Binary, window_messages_max: 1 })
            .unwrap()
    }

    fn response(upgrades: &Upgrades, number: usize) -> Vec<u8> {
        let request = String::from_utf8(upgrades.request(number).to_vec()).unwrap();
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let digest = sha1::Sha1::digest(key.to_owned() + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = base64::engine::general_purpose::STANDARD.encode(digest);
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes()
    }

    /// Passes every piece to the cycle and returns its next sends.
    fn say(cycle: &mut Cycle, upgrades: &mut Upgrades, bytes: &[u8], piece: usize) -> Result<Vec<Say>, Mismatch> {
        let script = script();
        let said: Result<Vec<Say>, _> =
            bytes.chunks(piece).map(|bytes| cycle.receive(upgrades, &script, bytes)).collect();
        said.map(|said| said.into_iter().filter(|say| *say != Say::Nothing).collect())
    }

    #[test]
    fn a_cycle_runs_from_the_upgrade_to_the_end_however_it_is_cut() {
        let script = script();
        let mut upgrades = Upgrades::new("h", "/ws", 2);
        let response = response(&upgrades, 1);
        let echo = &script.replies()[3 * script.reply_bytes()..][..script.reply_bytes()];
        let closes: [&[u8]; 3] = [&[0x88, 0], &[0x88, 2, 3, 0xe8], &[0x88, 5, 3, 0xe8, b'b', b'y', b'e']];
        for (piece, close) in (1..=response.len()).flat_map(|piece| closes.map(|close| (piece, close))) {
            let mut cycle = Cycle::new(1, 3);
            assert_eq!(say(&mut cycle, &mut upgrades, &response, piece), Ok(vec![Say::Message(3)]));
            assert_eq!(say(&mut cycle, &mut upgrades, echo, piece), Ok(vec![Say::Close]));
            assert!(!cycle.may_end());
            assert_eq!(say(&mut cycle, &mut upgrades, close, piece), Ok(vec![]));
            assert!(cycle.may_end());
            assert!(say(&mut cycle, &mut upgrades, &[0], 1).is_err());
        }
    }

    #[test]
    fn the_answer_to_another_key_is_refused_even_if_it_was_right_once() {
        let mut upgrades = Upgrades::new("h", "/ws", 2);
        let response = response(&upgrades, 0);
        assert!(say(&mut Cycle::new(0, 0), &mut upgrades, &response, 1_000).is_ok());
        assert!(say(&mut Cycle::new(0, 0), &mut upgrades, &response, 1_000).is_ok());
        assert!(say(&mut Cycle::new(1, 0), &mut upgrades, &response, 1_000).is_err());
    }

    #[test]
    fn unsolicited_bytes_are_refused() {
        let mut upgrades = Upgrades::new("h", "/ws", 1);
        let more = [response(&upgrades, 0), vec![1]].concat();
        for piece in [1, more.len()] {
            assert!(say(&mut Cycle::new(0, 0), &mut upgrades, &more, piece).is_err());
        }
    }

    #[test]
    fn anything_but_a_normal_close_frame_is_refused() {
        let wrong: [&[u8]; 6] =
            [&[0x82, 0], &[0x88, 1, 3], &[0x88, 2, 3, 0xe9], &[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8], &[0x88, 126], &[0x08]];
        for wrong in wrong {
            assert!(is_close_frame(wrong).is_err(), "{wrong:?}");
        }
        assert!(is_close_frame(&[0x88, 0, 0x88]).is_err());
    }
}
