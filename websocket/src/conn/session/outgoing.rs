//! What a WebSocket needs to be a sink: a place for one message that waits for space.

use super::Session;
use crate::ext::futures::MessageWriter;
use crate::message::Message;

impl Session {
    /// Works with the way out and the message that was taken ahead of it.
    pub(crate) fn with_sink<R>(&mut self, work: impl FnOnce(MessageWriter<'_>, &mut Option<Message>) -> R) -> R {
        let mut taken = self.rare.as_mut().and_then(|rare| rare.outgoing.take());
        let result = work(MessageWriter::new(self.frame_queue(), self.compression()), &mut taken);
        if taken.is_some() {
            self.rare().outgoing = taken;
        }
        result
    }
}
