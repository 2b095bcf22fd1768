//! Stands in for compression where the feature `compression` is off: types of which no value exists.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use bytes::Bytes;
use tidegate_engine::SendError;

use crate::conn::frame_queue::FrameQueue;
use crate::conn::prepared::PreparedMessage;
use crate::deflate::{DeflateConfig, DeflateParams, DeflatedVariant};
use crate::error::Error;
use crate::message::MessageRef;
use crate::role::Role;

/// The compressor of one connection.
#[derive(Debug)]
pub(crate) struct Compression(Infallible);

impl Compression {
    pub(crate) fn new(_config: &DeflateConfig, params: DeflateParams, _role: Role) -> Self {
        params.never()
    }

    pub(crate) const fn role(&self) -> Role {
        match self.0 {}
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

/// The compression of a message that is being sent.
#[derive(Debug, Default)]
pub(crate) struct DeflateJob<'a>(PhantomData<&'a ()>);

impl<'a> DeflateJob<'a> {
    pub(crate) fn poll(
        &mut self,
        _cx: &mut Context<'_>,
        _queue: FrameQueue<'_>,
        compression: &'a Compression,
        _message: MessageRef<'_>,
    ) -> Poll<Result<(), Error>> {
        match compression.0 {}
    }
}
