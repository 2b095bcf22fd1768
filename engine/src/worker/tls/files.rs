//! Parts of files, which have to be read to be encrypted: piece by piece, so that a large file takes little memory.

use std::sync::Arc;

use super::{Worker, batch_of};
use crate::driver::Driver;
use crate::shared::file_part::FilePart;
use crate::shared::key::ConnKey;

/// Bytes that are read and sent at a time.
const PIECE_BYTES: usize = 128 * 1024;

impl<D: Driver> Worker<D> {
    /// Begins to send a part of a file. The queue knows of one send, which is over when all pieces have left.
    pub(super) fn send_file(&mut self, key: ConnKey, part: FilePart) {
        if let Some(session) = self.tls.get(key) {
            session.file = Some(part);
            self.send_piece(key);
        }
    }

    /// Goes on with a file after a send. Returns whether more of it follows.
    pub(super) fn continue_file(&mut self, key: ConnKey) -> bool {
        let Some(session) = self.tls.get(key).filter(|session| session.file.is_some()) else { return false };
        if session.file.as_ref().is_some_and(|part| part.len == 0) {
            session.file = None;
            return false;
        }
        self.send_piece(key);
        true
    }

    /// Reads a piece, as a send of a file without TLS does too, and sends it.
    fn send_piece(&mut self, key: ConnKey) {
        let Some(session) = self.tls.get(key) else { return };
        let Some(part) = &mut session.file else { return };
        let piece = FilePart::new(Arc::clone(&part.file), part.offset, part.len.min(PIECE_BYTES));
        part.advance(piece.len);
        let bytes = match piece.read_now() {
            Ok(bytes) => bytes,
            Err(error) => return self.on_file_failed(key, &error),
        };
        match session.encrypt([&bytes[..]].into_iter(), false) {
            Ok(out) => self.start_encrypted_send(key, batch_of(out, false, false)),
            Err(failure) => self.fail_session(key, &failure, false),
        }
    }
}
