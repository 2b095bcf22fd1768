//! The sending half of a connection: whole responses, streamed ones, and 101.
//!
//! Encodes straight into the connection's queue, and queues large content by reference.

use std::future::poll_fn;

use bytes::Bytes;
use http::HeaderMap;
use tidegate_engine::{ByteSender, COPY_BYTES_MAX, Connection, FilePart, SendError};

use super::{Conn, ConnectionLost, date_now};
use crate::error::ResponseError;
use crate::message::response::Response;
use crate::protocol::Protocol;
use crate::protocol::date::HttpDate;

/// Bytes around the content of a chunk: its size in up to 16 digits, and two line ends.
const CHUNK_FRAME_BYTES: usize = 20;

impl Conn {
    /// Waits for space and sends a whole response.
    pub(crate) async fn send_whole(&self, response: &Response, content: Bytes) -> Result<(), ConnectionLost> {
        poll_fn(|cx| self.poll_ready(cx, content.len())).await?;
        let content_bytes = content.len();
        let sent = self.send(|protocol, sender, date| {
            if content.len() <= COPY_BYTES_MAX {
                return append(sender, |out| protocol.respond_whole(response, &content, date, out));
            }
            let mut head = Vec::new();
            let length = content.len();
            protocol.respond(response, Some(length as u64), date, &mut head)?;
            let sent = protocol.begin_content(length, &mut head)?.is_some();
            protocol.finish(None, &mut head)?;
            let content = if sent { content } else { Bytes::new() };
            Ok(sender.append_with(&head, content)?)
        });
        if self.is_observed() && sent.is_ok() {
            self.note_head(response.status());
            self.note_content(content_bytes);
            self.note_end().await;
        }
        sent
    }

    /// Sends the head of a response. Returns whether its content is sent too.
    pub(crate) fn send_head(&self, response: &Response, length: Option<u64>) -> Result<bool, ConnectionLost> {
        if self.is_observed() {
            self.note_head(response.status());
        }
        self.send(|protocol, sender, date| {
            append(sender, |out| protocol.respond(response, length, date, out))?;
            Ok(protocol.wants_content())
        })
    }

    /// Sends a part of a file.
    pub(crate) fn send_file(&self, part: FilePart) -> Result<(), ConnectionLost> {
        if self.is_observed() {
            self.note_content(part.len());
        }
        self.send(|protocol, sender, _| {
            let mut prefix = Vec::new();
            if let Some(suffix) = protocol.begin_content(part.len(), &mut prefix)? {
                if !prefix.is_empty() {
                    sender.append(|out| out.extend_from_slice(&prefix))?;
                }
                sender.append_file(part)?;
                if !suffix.is_empty() {
                    sender.append(|out| out.extend_from_slice(suffix))?;
                }
            }
            Ok(())
        })
    }

    /// Sends a piece of content.
    pub(crate) fn send_content(&self, piece: Bytes) -> Result<(), ConnectionLost> {
        let is_shared = self.0.borrow().shares_content;
        if self.is_observed() {
            self.note_content(piece.len());
        }
        self.send(|protocol, sender, _| {
            if piece.len() <= COPY_BYTES_MAX {
                return append(sender, |out| protocol.content(&piece, out));
            }
            if is_shared {
                // In one step, so that nothing of others comes between its parts.
                let mut whole = Vec::with_capacity(piece.len() + CHUNK_FRAME_BYTES);
                protocol.content(&piece, &mut whole)?;
                return Ok(sender.append_with(&[], whole.into())?);
            }
            let mut prefix = Vec::new();
            if let Some(suffix) = protocol.begin_content(piece.len(), &mut prefix)? {
                sender.append_with(&prefix, piece)?;
                if !suffix.is_empty() {
                    sender.append(|out| out.extend_from_slice(suffix))?;
                }
            }
            Ok(())
        })
    }

    /// Ends the content.
    pub(crate) fn send_end(&self, trailers: Option<&HeaderMap>) -> Result<(), ConnectionLost> {
        if self.0.borrow().shares_content {
            return self.send_shared_end(trailers);
        }
        self.send(|protocol, sender, _| append(sender, |out| protocol.finish(trailers, out)))
    }

    /// Sends 101 and returns the connection, with the bytes that the peer sent beyond its request put back. `Ok(None)`
    /// if the request does not allow the upgrade.
    pub(crate) fn upgrade(&self, response: &Response) -> Result<Option<Connection>, ConnectionLost> {
        let upgraded =
            self.send(|protocol, sender, date| match append(sender, |out| protocol.upgrade(response, date, out)) {
                Ok(()) => Ok(true),
                Err(SendFailure::Response(_)) => Ok(false),
                Err(failure) => Err(failure),
            })?;
        if !upgraded {
            return Ok(None);
        }
        if self.is_observed() {
            self.note_upgrade();
        }
        let mut state = self.0.borrow_mut();
        let chunk = state.chunk.take();
        let mut connection = state.connection.take().ok_or(ConnectionLost)?;
        connection.set_write_timeout(None);
        if let Some(chunk) = chunk {
            connection.unread(chunk);
        }
        Ok(Some(connection))
    }

    pub(super) fn send<T>(
        &self,
        send: impl FnOnce(&mut Protocol, &ByteSender, HttpDate) -> Result<T, SendFailure>,
    ) -> Result<T, ConnectionLost> {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let connection = state.connection.as_ref().ok_or(ConnectionLost)?;
        if connection.is_draining() {
            state.protocol.close_after_response();
        }
        let date = *state.date.get_or_insert_with(date_now);
        match send(&mut state.protocol, connection.sender(), date) {
            Ok(sent) => Ok(sent),
            Err(SendFailure::Connection) => Err(ConnectionLost),
            Err(SendFailure::Response(error)) => {
                log::error!("invalid response, connection of {} closed: {error}", state.peer());
                Err(ConnectionLost)
            }
        }
    }
}

/// The reason why nothing was sent.
pub(super) enum SendFailure {
    Connection,
    Response(ResponseError),
}

impl From<ResponseError> for SendFailure {
    fn from(error: ResponseError) -> SendFailure {
        SendFailure::Response(error)
    }
}

impl From<SendError> for SendFailure {
    fn from(_: SendError) -> SendFailure {
        SendFailure::Connection
    }
}

/// Encodes into the connection's queue.
fn append(
    sender: &ByteSender,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), ResponseError>,
) -> Result<(), SendFailure> {
    let mut encoded = Ok(());
    sender.append(|out| encoded = encode(out))?;
    Ok(encoded?)
}
