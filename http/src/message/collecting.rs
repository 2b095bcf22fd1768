//! Reading the content of a request into memory.
//!
//! Content above [`Gathering::STEP_BYTES`] draws on the engine's memory budget, and has to arrive at its least rate.

use std::future::poll_fn;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use tidegate_engine::{Gathering, GatheringError};

use crate::error::{BodyError, RequestError};
use crate::message::body::{Body, Wait};

impl Body {
    /// Reads the rest into memory, which grows with the received bytes, not with the announced length.
    pub(super) async fn collect(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        if self.remaining().is_some_and(|length| length > limit) {
            return Err(BodyError::TooLarge(limit));
        }
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        if self.remaining() == Some(0) && first.len() as u64 <= limit {
            return Ok(first);
        }
        let mut collected = BytesMut::from(first);
        let mut large = None;
        loop {
            if collected.len() as u64 > limit {
                return Err(BodyError::TooLarge(limit));
            }
            if collected.len() >= Gathering::STEP_BYTES {
                self.reserve(&mut large, collected.len()).await?;
            }
            match self.next_piece(&mut large).await? {
                Some(piece) => collected.extend_from_slice(&piece),
                None => return Ok(collected.freeze()),
            }
        }
    }

    /// Waits until more than `held_bytes` can be held.
    async fn reserve(&self, large: &mut Option<Box<Gathering>>, held_bytes: usize) -> Result<(), BodyError> {
        if large.is_none() {
            *large = self.gathering().map(Box::new);
        }
        match large {
            Some(large) => poll_fn(|cx| large.poll_reserve(cx, held_bytes)).await.map_err(|error| self.fail(error)),
            None => Ok(()),
        }
    }

    /// Reads the next piece of content, which must not arrive too slowly if it is large.
    async fn next_piece(&mut self, large: &mut Option<Box<Gathering>>) -> Result<Option<Bytes>, BodyError> {
        let Some(large) = large else { return self.chunk().await };
        let wait = Wait(self);
        poll_fn(|cx| match wait.0.poll_chunk(cx) {
            Poll::Pending => large.poll_too_slow(cx).map(|error| Err(wait.0.fail(error))),
            Poll::Ready(piece) => {
                if let Ok(Some(piece)) = &piece {
                    large.note_received(piece.len());
                }
                Poll::Ready(piece)
            }
        })
        .await
    }

    fn fail(&self, error: GatheringError) -> BodyError {
        let error = match error {
            GatheringError::TooSlow => BodyError::Request(RequestError::Timeout),
            _ => BodyError::MemorySpent,
        };
        self.give_up(error.clone());
        error
    }
}
