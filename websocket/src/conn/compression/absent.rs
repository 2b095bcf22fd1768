//! Stands in for compression where the feature `compression` is off: types of which no value exists.

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tidegate_engine::SendError;

use crate::conn::frame_queue::FrameQueue;
use crate::conn::prepared::PreparedMessage;
use crate::deflate::{DeflateConfig, DeflateParams, DeflatedVariant};
use crate::error::Error;
use crate::message::{Message, MessageRef};

/// The compressor of one connection.
#[derive(Debug)]
pub(crate) struct Compression(Infallible);

impl Compression {
    pub(crate) fn new(_config: &DeflateConfig, params: DeflateParams) -> Self {
        params.never()
    }

    pub(crate) const fn params(&self) -> DeflateParams {
        match self.0 {}
    }

    pub(crate) fn end(&self) {
        match self.0 {}
    }

    pub(crate) fn variant(&self) -> Option<DeflatedVariant> {
        match self.0 {}
    }

    pub(crate) fn frame_of(&self, _message: &PreparedMessage) -> Bytes {
        match self.0 {}
    }

    pub(crate) fn queue_in_order(&self, _queue: FrameQueue<'_>, _message: &MessageRef<'_>) -> Result<bool, SendError> {
        match self.0 {}
    }

    pub(crate) fn try_queue(&self, _queue: FrameQueue<'_>, _message: &MessageRef<'_>) -> Result<(), SendError> {
        match self.0 {}
    }
}

/// The future of a compressed message.
#[derive(Debug)]
pub(crate) struct DeflatedSend<'a> {
    never: Infallible,
    borrowed: PhantomData<&'a ()>,
}

impl<'a> DeflatedSend<'a> {
    pub(crate) fn owned(_queue: FrameQueue<'a>, compression: &'a Compression, _message: Message) -> Self {
        match compression.0 {}
    }

    pub(crate) fn borrowed(_queue: FrameQueue<'a>, compression: &'a Compression, _message: MessageRef<'a>) -> Self {
        match compression.0 {}
    }
}

impl Future for DeflatedSend<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.never {}
    }
}
