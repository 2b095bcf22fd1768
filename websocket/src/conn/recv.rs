//! Reading owned messages.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::conn::session::Session;
use crate::error::Error;
use crate::message::Message;

/// The future of [`WebSocket::recv`](crate::WebSocket::recv).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a> {
    pub(crate) session: &'a mut Session,
}

impl Future for Recv<'_> {
    type Output = Result<Option<Message>, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().session.poll_owned(cx)
    }
}
