//! Frames of RFC 6455 section 5.2, as a client writes and reads them.

/// First bytes of frames: FIN, the reserved bits and the opcode.
pub const CONTINUATION: u8 = 0x00;
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;
pub const FIN: u8 = 0x80;
/// RSV1: the message is compressed (RFC 7692).
pub const COMPRESSED: u8 = 0x40;

/// The longest payload accepted from the server, in bytes: more than any message in this program.
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// A frame from the server.
#[derive(Debug)]
pub struct Frame {
    /// The first byte: FIN, the reserved bits and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Returns the code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk()?;
        (self.first == CLOSE).then(|| u16::from_be_bytes(*code))
    }
}

/// Appends a masked frame.
pub fn write(out: &mut Vec<u8>, first: u8, payload: &[u8], key: [u8; 4]) {
    write_header(out, first, payload.len() as u64, key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Appends the header of a masked frame that claims `length` bytes of payload.
pub fn write_header(out: &mut Vec<u8>, first: u8, length: u64, key: [u8; 4]) {
    out.push(first);
    match length {
        0..126 => out.push(0x80 | length as u8),
        126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(key);
}

/// Reads the frame at the start of `bytes` and returns it with its length. `None` if it is incomplete.
///
/// # Errors
/// If no server can have sent these bytes: a mask, an unknown opcode, RSV2 or RSV3, or an absurd length.
pub fn read(bytes: &[u8]) -> Result<Option<(Frame, usize)>, String> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if !matches!(first & 0x3f, 0..=2 | 8..=10) || second & 0x80 != 0 {
        return Err(format!("a frame begins with {first:#04x} {second:#04x}"));
    }
    let (length, header) = match second {
        126 => match rest.first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if length > PAYLOAD_BYTES_MAX {
        return Err(format!("a frame claims {length} bytes"));
    }
    let end = header + length as usize;
    let Some(payload) = bytes.get(header..end) else { return Ok(None) };
    Ok(Some((Frame { first, payload: payload.to_vec() }, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_the_shortest_form() {
        for (length, header_bytes) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let mut header = Vec::new();
            write_header(&mut header, BINARY, length, [1, 2, 3, 4]);
            assert_eq!(header.len(), header_bytes, "{length}");
        }
    }

    #[test]
    fn a_frame_is_read_once_it_is_complete() {
        let bytes = [&[0x82, 126, 1, 0][..], &[7; 256], &[0x8a]].concat();
        for length in 0..260 {
            assert!(read(&bytes[..length]).unwrap().is_none(), "{length}");
        }
        let (frame, length) = read(&bytes).unwrap().unwrap();
        assert_eq!((frame.first, frame.payload, length), (BINARY, vec![7; 256], 260));
    }

    #[test]
    fn frames_that_no_server_sends_are_errors() {
        for bytes in [&[0x82, 0x80][..], &[0x83, 0], &[0xa2, 0], &[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn payloads_are_masked() {
        let mut out = Vec::new();
        write(&mut out, TEXT, b"abcde", [1, 0, 0, 255]);
        assert_eq!(out, [0x81, 0x85, 1, 0, 0, 255, b'a' ^ 1, b'b', b'c', b'd' ^ 255, b'e' ^ 1]);
    }
}
