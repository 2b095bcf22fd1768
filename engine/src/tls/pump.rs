//! One TLS session without I/O: received bytes in, plaintext out; plaintext in, records out; in any pieces.
//!
//! It is built on the unbuffered API of rustls, which keeps no buffers. Bytes are decrypted where they were received;
//! only what does not complete a record, or a handshake message, is kept until its rest arrives. A session at rest
//! therefore holds its keys and nothing else.
//!
//! Whatever it writes to `out` must reach the peer in that order, before anything that it writes later: records are
//! numbered.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use crate::tls::certificates;
use crate::tls::info::TlsInfo;
use crate::util::buffer_pool::Buffer;
use crate::util::contained::catch;

mod output;

pub(crate) use output::Output;

/// Bytes that a record adds to its plaintext, at most: header, explicit nonce (TLS 1.2), content type and tag.
const RECORD_OVERHEAD_MAX: usize = 5 + 8 + 1 + 16;

/// Maximum plaintext of a record (RFC 8446 section 5.1).
const RECORD_PLAINTEXT_MAX: usize = 16 * 1024;

/// Bytes that encryption adds to a record's plaintext, at least: its tag.
const TAG_BYTES: usize = 16;

/// Returns the bytes of the records for `len` bytes of plaintext, at most.
pub(crate) fn encrypted_len_max(len: usize) -> usize {
    len + len.div_ceil(RECORD_PLAINTEXT_MAX) * RECORD_OVERHEAD_MAX
}

/// Returns an upper bound of the plaintext of the complete records at the start of `input`.
fn plain_len_max(mut input: &[u8]) -> usize {
    let mut len = 0;
    while let Some((&[_, _, _, high, low], rest)) = input.split_first_chunk() {
        let record_bytes = usize::from(u16::from_be_bytes([high, low]));
        let Some((_, behind)) = rest.split_at_checked(record_bytes) else { break };
        len += record_bytes.saturating_sub(TAG_BYTES);
        input = behind;
    }
    len
}

/// The reason why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The first bytes are text, such as a request of plain HTTP.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// What the peer sent, or its certificate, is not acceptable; or it sent an alert. An alert for the peer is in the
    /// output.
    #[error("{0}")]
    Protocol(#[from] Error),
}

/// One TLS session.
pub(crate) struct Pump {
    session: Session,
    /// Received bytes that complete no record or handshake message yet.
    partial: Buffer,
    /// Nothing has been received.
    fresh: bool,
    handshaking: bool,
    peer_closed: bool,
    close_sent: bool,
    /// The name that the client asked for.
    server_name: Option<Box<str>>,
}

enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// The two roles, which rustls has as different types.
trait Role {
    type Data;

    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn state(&self) -> &CommonState;
}

impl Role for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl Role for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn step<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn state(&self) -> &CommonState {
        self
    }
}

impl Pump {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Failure> {
        Ok(Self::new(Session::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// Creates the session of a client. [`process`](Self::process) begins its handshake.
    pub(crate) fn client(config: Arc<ClientConfig>, server: ServerName<'static>) -> Result<Self, Failure> {
        Ok(Self::new(Session::Client(UnbufferedClientConnection::new(config, server)?)))
    }

    fn new(session: Session) -> Self {
        let fresh = matches!(session, Session::Server(_));
        Self {
            session,
            partial: Buffer::default(),
            fresh,
            handshaking: true,
            peer_closed: false,
            close_sent: false,
            server_name: None,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshaking
    }

    /// Returns whether the peer has ended its side in order (close_notify).
    pub(crate) fn has_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Returns whether the own side has ended.
    pub(crate) fn is_close_sent(&self) -> bool {
        self.close_sent
    }

    /// Returns the number of received bytes that are kept.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.partial.len()
    }

    /// Returns an upper bound of the plaintext that the next [`receive`](Self::receive) returns: memory that grows with
    /// each record would be copied each time.
    pub(crate) fn plain_len_max(&self, input: &[u8]) -> usize {
        if self.partial.is_empty() { plain_len_max(input) } else { self.partial.len() + input.len() }
    }

    /// Returns what the handshake agreed on, once.
    pub(crate) fn take_info(&mut self) -> TlsInfo {
        match &self.session {
            Session::Server(session) => TlsInfo::of(session, self.server_name.take()),
            Session::Client(session) => TlsInfo::of(session, None),
        }
    }

    /// Keeps received bytes for the next [`process`](Self::process).
    pub(crate) fn feed(&mut self, input: &[u8]) {
        self.partial.vec_mut().extend_from_slice(input);
    }

    /// Decrypts received bytes, in place, and appends their plaintext to `plain` and what must be sent to `out`.
    ///
    /// # Errors
    /// The reason why the session cannot go on. `plain` has what was received before.
    pub(crate) fn receive(&mut self, input: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Failure> {
        if !self.partial.is_empty() {
            self.feed(input);
            return self.process(plain, out);
        }
        let (used, result) = self.drive(input, plain, out);
        if result.is_ok() && used < input.len() {
            self.feed(&input[used..]);
        }
        result
    }

    /// Goes on with the bytes that are kept, as [`receive`](Self::receive) does.
    pub(crate) fn process(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Failure> {
        let mut partial = self.partial.take();
        let (used, result) = self.drive(&mut partial, plain, out);
        if result.is_err() || used == partial.len() {
            return result;
        }
        partial.vec_mut().drain(..used);
        self.partial = partial;
        result
    }

    /// Returns the number of bytes of `input` that are done with.
    fn drive(&mut self, input: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> (usize, Result<(), Failure>) {
        if self.fresh
            && let Some(first) = input.first()
        {
            // A record begins with its type, 20 to 23 (RFC 8446 section 5.1), and so with no character.
            if first.is_ascii_graphic() {
                return (0, Err(Failure::NotTls));
            }
            self.fresh = false;
        }
        let shakes_hands = self.handshaking;
        let progress = &mut Progress { plain, out: Output::of(out), handshaking: true, peer_closed: false };
        let session = &mut self.session;
        let mut step = || match session {
            Session::Server(session) => drive(session, input, progress),
            Session::Client(session) => drive(session, input, progress),
        };
        // rustls 0.23 asserts that no alert follows close_notify, and then queues the one for a broken record. The
        // session is not used again.
        let (used, result) = match cfg!(debug_assertions) && self.close_sent {
            true => catch(step).unwrap_or_else(|message| (0, Err(Error::General(message)))),
            false => step(),
        };
        if shakes_hands && let Some(name) = certificates::take_asked() {
            self.server_name = Some(name);
        }
        self.handshaking &= progress.handshaking;
        self.peer_closed |= progress.peer_closed;
        (used, result.map_err(Failure::from))
    }

    /// Appends the records of `plain` to `out`.
    ///
    /// # Errors
    /// If the handshake is not complete, the own side has ended, or the keys are used up (TLS 1.2).
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut Output<'_>) -> Result<(), Failure> {
        if self.close_sent {
            return Err(Failure::Protocol(Error::General("the own side has ended".to_owned())));
        }
        self.write(&Put::Data(plain), out)
    }

    /// Appends the records of slices to `out`, as few as their bytes need: a frame's header and its payload share one,
    /// and so do small payloads. What shares a record is copied.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    pub(crate) fn encrypt_slices<'a>(
        &mut self,
        mut slices: impl Iterator<Item = &'a [u8]> + Clone,
        out: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let (len, alone) = slices.clone().fold((0, 0), |(len, records), plain| {
            (len + plain.len(), records + plain.len().div_ceil(RECORD_PLAINTEXT_MAX))
        });
        if alone == usize::div_ceil(len, RECORD_PLAINTEXT_MAX) {
            return slices.try_for_each(|plain| self.encrypt(plain, out));
        }
        let mut record = Vec::with_capacity(len.min(RECORD_PLAINTEXT_MAX));
        for mut plain in slices {
            while !plain.is_empty() {
                let whole = plain.len() - plain.len() % RECORD_PLAINTEXT_MAX;
                if record.is_empty() && whole > 0 {
                    self.encrypt(&plain[..whole], out)?;
                    plain = &plain[whole..];
                    continue;
                }
                let (taken, rest) = plain.split_at(plain.len().min(RECORD_PLAINTEXT_MAX - record.len()));
                record.extend_from_slice(taken);
                plain = rest;
                if record.len() == RECORD_PLAINTEXT_MAX {
                    self.encrypt(&record, out)?;
                    record.clear();
                }
            }
        }
        self.encrypt(&record, out)
    }

    /// Ends the own side: appends close_notify to `out`, once.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        if std::mem::replace(&mut self.close_sent, true) {
            return Ok(());
        }
        self.write(&Put::CloseNotify, &mut Output::of(out))
    }

    /// Changes the keys of the own side and asks the peer to change its own (RFC 8446 section 4.6.3).
    #[cfg(any(test, feature = "bench_support"))]
    pub(crate) fn refresh_keys(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.write(&Put::KeyUpdate, &mut Output::of(out))
    }

    fn write(&mut self, put: &Put<'_>, out: &mut Output<'_>) -> Result<(), Failure> {
        // The kept bytes again, because rustls remembers places in them.
        let partial = &mut self.partial;
        let (used, result) = match &mut self.session {
            Session::Server(session) => write(session, partial, put, out),
            Session::Client(session) => write(session, partial, put, out),
        };
        if used > 0 {
            partial.vec_mut().drain(..used);
        }
        Ok(result?)
    }
}

/// What happened while received bytes were processed.
struct Progress<'a> {
    plain: &'a mut Vec<u8>,
    out: Output<'a>,
    handshaking: bool,
    peer_closed: bool,
}

/// What is to be written.
enum Put<'a> {
    Data(&'a [u8]),
    CloseNotify,
    #[cfg(any(test, feature = "bench_support"))]
    KeyUpdate,
}

/// Processes received bytes until rustls needs more. Returns the number of those that are done with.
fn drive<R: Role>(role: &mut R, input: &mut [u8], progress: &mut Progress<'_>) -> (usize, Result<(), Error>) {
    let mut used = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = role.step(&mut input[used..]);
        let step = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                progress.handshaking = false;
                let mut read = Ok(());
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            progress.plain.extend_from_slice(record.payload);
                        }
                        Err(error) => read = Err(error),
                    }
                }
                read.map(|()| Step::More)
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut progress.out, |space| data.encode(space)).map(|()| Step::More)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Step::More)
            }
            Ok(ConnectionState::PeerClosed) => {
                progress.peer_closed = true;
                Ok(Step::More)
            }
            Ok(ConnectionState::Closed) => {
                (progress.peer_closed, progress.handshaking) = (true, false);
                Ok(Step::Done)
            }
            Ok(ConnectionState::WriteTraffic(_)) => {
                progress.handshaking = false;
                Ok(Step::Done)
            }
            Ok(ConnectionState::BlockedHandshake) => Ok(Step::Done),
            // Data before the handshake is never enabled.
            Ok(_) => Err(Error::General("unexpected state".to_owned())),
            Err(error) => {
                used += discard;
                encode_queued(role, &mut input[used..], &mut progress.out);
                return (used, Err(error));
            }
        };
        used += discard;
        match step {
            Ok(Step::More) => {}
            Ok(Step::Done) => return (used, Ok(())),
            Err(error) => return (used, Err(error)),
        }
    }
}

enum Step {
    More,
    Done,
}

/// Appends what rustls has queued, such as the alert after an error. Nothing else is processed.
fn encode_queued<R: Role>(role: &mut R, input: &mut [u8], out: &mut Output<'_>) {
    while role.state().wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = role.step(input).state else { return };
        if encode(out, |space| data.encode(space)).is_err() {
            return;
        }
    }
}

fn write<R: Role>(role: &mut R, input: &mut [u8], put: &Put<'_>, out: &mut Output<'_>) -> (usize, Result<(), Error>) {
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } = role.step(&mut input[used..]);
        let done = match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => match put {
                Put::Data(plain) => {
                    let space = encrypted_len_max(plain.len());
                    Some(encrypt(out, space, |space| traffic.encrypt(plain, space)))
                }
                Put::CloseNotify => {
                    Some(encrypt(out, RECORD_OVERHEAD_MAX + 2, |space| traffic.queue_close_notify(space)))
                }
                #[cfg(any(test, feature = "bench_support"))]
                Put::KeyUpdate => {
                    let refreshed = traffic.refresh_traffic_keys();
                    encode_queued(role, &mut input[used..], out);
                    Some(refreshed)
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(out, |space| data.encode(space)).err().map(Err),
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => None,
            Ok(ConnectionState::BlockedHandshake) => Some(Err(Error::HandshakeNotComplete)),
            Ok(_) => Some(Err(Error::General("the session has ended".to_owned()))),
            Err(error) => Some(Err(error)),
        };
        used += discard;
        if let Some(result) = done {
            return (used, result);
        }
    }
}

/// Appends what `put` writes, which first says how much space it needs.
fn encode(out: &mut Output<'_>, mut put: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) -> Result<(), Error> {
    let space = match put(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => required_size,
        Ok(_) => return Ok(()),
        Err(error) => return Err(Error::General(error.to_string())),
    };
    out.fill(space, |space| put(space).map_err(|error| Error::General(error.to_string())))
}

/// Appends what `put` writes, which mostly needs no more than `space` bytes.
fn encrypt(
    out: &mut Output<'_>,
    space: usize,
    mut put: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let mut required = None;
    let filled = out.fill(space, |space| {
        put(space).map_err(|error| match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                required = Some(required_size);
                Error::EncryptError
            }
            EncryptError::EncryptExhausted => Error::EncryptError,
        })
    });
    // A change of keys is queued before the data.
    match required {
        Some(required) => out.fill(space + required, |space| put(space).map_err(|_| Error::EncryptError)),
        None => filled,
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
