//! The peer's end while nothing is received: known from the readiness of the socket, also behind unread bytes.

use super::PortableDriver;
use super::slot::{PeerEnd, Watch};
use crate::driver::Event;
use crate::shared::key::ConnKey;

impl PortableDriver {
    pub(super) fn watch_end(&mut self, key: ConnKey, fin: bool) {
        let Some(slot) = self.slot(key) else { return };
        slot.watch = if fin { Watch::ErrorsAndFin } else { Watch::Errors };
        let mut pending = std::mem::take(&mut self.pending);
        self.report_end(key, &mut pending);
        self.pending = pending;
    }

    /// Reports the peer's end if it is known and watched for. A failure is left to an armed receive or fill: taking the
    /// socket's error would let it end as a stream does.
    pub(super) fn report_end(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let Some(slot) = self.slot(key) else { return };
        if slot.end == PeerEnd::Error && (slot.receiving || slot.is_filling()) {
            return;
        }
        let error = match (slot.watch, slot.end) {
            (Watch::Errors | Watch::ErrorsAndFin, PeerEnd::Error) => {
                let error = slot.socket.as_ref().and_then(|socket| socket.take_error().ok().flatten());
                Some(error.and_then(|error| error.raw_os_error()).unwrap_or(libc::ECONNRESET))
            }
            (Watch::ErrorsAndFin, PeerEnd::Fin) => None,
            _ => return,
        };
        slot.watch = Watch::Nothing;
        events.push(Event::PeerEnded { key, error });
    }
}
