//! Stands in for permessage-deflate where the feature `compression` is off: types without values, with the part of the
//! interface that the rest of the crate uses.

use std::convert::Infallible;

use http::HeaderValue;

use crate::handshake::{UpgradeRequestError, UpgradeResponseError};
use crate::protocol_error::ProtocolError;
use crate::role::Role;

/// The settings of compression.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeflateConfig(Infallible);

/// An agreement on compression.
pub(crate) struct DeflateAgreement {
    pub(crate) params: DeflateParams,
    pub(crate) response: HeaderValue,
}

impl DeflateConfig {
    pub(crate) fn accept<'h>(
        &self,
        _lines: impl Iterator<Item = &'h [u8]>,
    ) -> Result<Option<DeflateAgreement>, UpgradeRequestError> {
        match self.0 {}
    }

    pub(crate) fn offer(&self) -> HeaderValue {
        match self.0 {}
    }

    pub(crate) fn check_response(
        &self,
        _extensions: Option<&HeaderValue>,
    ) -> Result<Option<DeflateParams>, UpgradeResponseError> {
        match self.0 {}
    }
}

/// Agreed parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeflateParams(Infallible);

impl DeflateParams {
    pub(crate) const fn never(self) -> ! {
        match self.0 {}
    }
}

/// The inflating side of a connection.
#[derive(Debug)]
pub(crate) struct Inflation(Infallible);

impl Inflation {
    pub(crate) const fn new(params: DeflateParams, _role: Role) -> Self {
        match params.0 {}
    }

    pub(crate) fn is_open(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn open(&mut self) -> Option<&mut Inflater> {
        match self.0 {}
    }

    pub(crate) fn begin_message(&mut self) {
        match self.0 {}
    }

    pub(crate) fn end_message(&mut self) {
        match self.0 {}
    }

    pub(crate) fn held_bytes(&self) -> usize {
        match self.0 {}
    }
}

/// Inflated payload.
pub(crate) struct Inflated<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) is_end: bool,
}

/// Inflates the peer's compressed messages.
#[derive(Debug)]
pub(crate) struct Inflater(Infallible);

impl Inflater {
    pub(crate) fn begin_frame(&mut self, _payload_len: u64, _message_bytes_max: u64) -> Result<(), ProtocolError> {
        match self.0 {}
    }

    pub(crate) fn push(
        &mut self,
        _piece: &[u8],
        _last: bool,
        _message_bytes_max: u64,
        _keep: &mut impl FnMut(Inflated<'_>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        match self.0 {}
    }

    pub(crate) fn take_slice(&mut self) -> bool {
        match self.0 {}
    }
}

/// A way to compress messages that refer to no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DeflatedVariant(Infallible);

impl DeflatedVariant {
    pub(crate) fn is_worthwhile(_payload_len: usize) -> bool {
        false
    }

    pub(crate) fn deflate(&self, _payload: &[u8]) -> Option<Vec<u8>> {
        match self.0 {}
    }
}
