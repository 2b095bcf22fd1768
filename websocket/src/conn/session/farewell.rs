//! The last frame of a WebSocket when a graceful shutdown begins: close 1001, which the engine sends by itself.

use std::sync::OnceLock;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::encoding::masking_key_of;
use crate::frame::encode_close;
use crate::role::Role;

/// Close 1001, unmasked.
const GOING_AWAY: &[u8] = &[0x88, 0x02, 0x03, 0xE9];

/// Returns the frame. All clients of a process send the same one, with the same key: masking protects from payload that
/// an attacker chooses, and this payload is fixed.
pub(super) fn going_away(role: Role) -> &'static [u8] {
    static MASKED: OnceLock<Vec<u8>> = OnceLock::new();
    match role {
        Role::Server => GOING_AWAY,
        Role::Client => MASKED.get_or_init(|| {
            let mut bytes = Vec::new();
            encode_close(CloseFrame::new(CloseCode::GOING_AWAY, "").ok().as_ref(), masking_key_of(role), &mut bytes);
            bytes
        }),
    }
}
