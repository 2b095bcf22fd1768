//! Conversions between messages of this crate and of the `tungstenite` crate (feature `tungstenite`).

use tungstenite::Utf8Bytes;
use tungstenite::protocol::CloseFrame as TheirCloseFrame;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::message::Message;
use crate::usage_error::UsageError;
use crate::utf8::Text;

/// Copies no payload. Text is checked once more, because their type demands it.
///
/// ```
/// use tidegate_websocket::Message;
/// let theirs = tungstenite::Message::from(Message::from("hello"));
/// assert_eq!(theirs, tungstenite::Message::text("hello"));
/// assert_eq!(Message::try_from(theirs), Ok(Message::from("hello")));
/// ```
#[cfg_attr(tidegate_docs, doc(cfg(feature = "tungstenite")))]
impl From<Message> for tungstenite::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => {
                let bytes = text.into_bytes();
                match Utf8Bytes::try_from(bytes.clone()) {
                    Ok(text) => Self::Text(text),
                    // Never reached: text is UTF-8.
                    Err(_) => Self::Text(String::from_utf8_lossy(&bytes).into_owned().into()),
                }
            }
            Message::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

/// Converts text and binary messages and returns others as the error. Copies no payload.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "tungstenite")))]
impl TryFrom<tungstenite::Message> for Message {
    type Error = tungstenite::Message;

    fn try_from(message: tungstenite::Message) -> Result<Self, Self::Error> {
        match message {
            tungstenite::Message::Binary(bytes) => Ok(Self::Binary(bytes)),
            tungstenite::Message::Text(text) => Text::from_utf8(bytes::Bytes::from(text.clone()))
                .map(Self::Text)
                .map_err(|_| tungstenite::Message::Text(text)),
            control => Err(control),
        }
    }
}

impl From<&CloseFrame> for TheirCloseFrame {
    fn from(frame: &CloseFrame) -> Self {
        Self { code: frame.code().value().into(), reason: frame.reason().into() }
    }
}

/// # Errors
/// As [`CloseFrame::new`]: their frames can hold codes and reasons that must not be sent.
impl TryFrom<&TheirCloseFrame> for CloseFrame {
    type Error = UsageError;

    fn try_from(frame: &TheirCloseFrame) -> Result<Self, Self::Error> {
        Self::new(CloseCode::new(frame.code.into()), frame.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        for message in [Message::from("潮汐"), Message::from(""), Message::from(vec![0, 255])] {
            let theirs = tungstenite::Message::from(message.clone());
            assert_eq!((theirs.is_text(), theirs.len()), (message.as_text().is_some(), message.len()));
            assert_eq!(Message::try_from(theirs), Ok(message));
        }
        let ping = tungstenite::Message::Ping(vec![1].into());
        assert_eq!(Message::try_from(ping.clone()), Err(ping));
    }

    #[test]
    fn long_payloads_stay_where_they_are() {
        let message = Message::from("long ".repeat(1000));
        let place = message.as_bytes().as_ptr();
        let theirs = tungstenite::Message::from(message);
        assert_eq!(theirs.to_text().unwrap().as_ptr(), place);
        assert_eq!(Message::try_from(theirs).unwrap().as_bytes().as_ptr(), place);
    }

    #[test]
    fn close_frames_convert_if_they_can_be_sent() {
        let frame = CloseFrame::new(CloseCode::new(4000), "why").unwrap();
        let theirs = TheirCloseFrame::from(&frame);
        assert_eq!((u16::from(theirs.code), theirs.reason.as_str()), (4000, "why"));
        assert_eq!(CloseFrame::try_from(&theirs), Ok(frame));
        let theirs = TheirCloseFrame { code: 1005.into(), reason: "".into() };
        let code = CloseCode::NO_STATUS;
        assert_eq!(CloseFrame::try_from(&theirs), Err(UsageError::CloseCodeNotSendable { code }));
    }
}
