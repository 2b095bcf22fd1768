//! The application's own handlers of control frames, in place of what a WebSocket does by default.

use std::fmt;
use std::sync::Arc;

use crate::close::CloseFrame;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::opcode::Opcode;

type OnPayload = dyn Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync;
type OnClose = dyn Fn(&Sender, Option<&CloseFrame>) -> Result<(), Error> + Send + Sync;
type OnReserved = dyn Fn(&Sender, Opcode, &[u8]) -> Result<(), Error> + Send + Sync;

/// The handlers of control frames. Most connections have none.
#[derive(Clone, Default)]
pub(crate) struct ControlHandlers {
    pub(crate) ping: Option<Arc<OnPayload>>,
    pub(crate) pong: Option<Arc<OnPayload>>,
    pub(crate) close: Option<Arc<OnClose>>,
    pub(crate) reserved: Option<Arc<OnReserved>>,
}

impl fmt::Debug for ControlHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlHandlers")
            .field("ping", &self.ping.is_some())
            .field("pong", &self.pong.is_some())
            .field("close", &self.close.is_some())
            .field("reserved", &self.reserved.is_some())
            .finish()
    }
}
