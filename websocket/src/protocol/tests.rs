//! What a protocol holds, as the session asks for it.

use super::control::CutPayload;
use super::*;

/// Returns a frame of a server.
fn encoded(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(None, &mut bytes);
    bytes
}

fn client() -> Protocol {
    Protocol::new(ProtocolConfig::new(Role::Client))
}

#[test]
fn gathered_bytes_are_those_of_the_open_message() {
    for kind in [Frame::binary(b"12345"), Frame::text("12345")] {
        let mut protocol = client();
        assert_eq!(protocol.gathered_bytes(), 0);
        for (frame, expected) in [
            (kind.not_final(), 5),
            (Frame::ping(b"in between").unwrap(), 5),
            (Frame::continuation(b"678").not_final(), 8),
            (Frame::continuation(b"9"), 0),
        ] {
            protocol.receive(&mut encoded(frame)).unwrap();
            assert_eq!(protocol.gathered_bytes(), expected, "after {frame:?}");
        }
    }
}

#[test]
fn a_message_that_is_delivered_in_pieces_is_not_gathered() {
    let mut protocol = client();
    protocol.set_delivery(DeliveryMode::Pieces);
    assert!(protocol.receive(&mut encoded(Frame::binary(b"piece").not_final())).unwrap().event.is_some());
    assert_eq!((protocol.gathered_bytes(), protocol.held_bytes()), (0, 0));
}

#[test]
fn what_was_given_up_is_freed_and_all_further_input_ignored() {
    let mut protocol = client();
    protocol.receive(&mut encoded(Frame::binary(b"begun").not_final())).unwrap();
    protocol.give_up();
    assert!(protocol.is_ended());
    assert_eq!((protocol.gathered_bytes(), protocol.held_bytes()), (0, 0));
    let mut late = encoded(Frame::continuation(b"end"));
    assert_eq!(protocol.receive(&mut late), Ok(Progress { consumed: late.len(), event: None }));
}

#[test]
fn a_control_frame_that_arrived_in_part_is_held_too() {
    let mut protocol = client();
    protocol.receive(&mut encoded(Frame::binary(&[7; 100]).not_final())).unwrap();
    let of_message = protocol.held_bytes();
    assert!(of_message >= 100);
    let mut ping = encoded(Frame::ping(b"ping").unwrap());
    let (first, last) = ping.split_at_mut(3);
    protocol.receive(first).unwrap();
    assert_eq!(protocol.held_bytes(), of_message + size_of::<CutPayload>());
    assert!(matches!(protocol.receive(last).unwrap().event, Some(Event::Ping(_))));
    assert_eq!(protocol.held_bytes(), of_message);
}

#[cfg(feature = "compression")]
#[test]
fn the_context_of_compressed_messages_counts_as_held() {
    use crate::deflate::DeflateConfig;

    // "Hello" (RFC 7692 section 7.2.3.1).
    let hello = Frame::binary(&[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]).reserved_bits(ReservedBits::RSV1);
    let config = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
    let offer = b"permessage-deflate; client_max_window_bits".as_slice();
    let params = config.accept([offer].into_iter()).unwrap().expect("the offer is accepted").params;
    let mut protocol = Protocol::new(ProtocolConfig::new(Role::Client).deflate(params));
    assert_eq!(protocol.inflation_bytes(), 0);
    assert!(protocol.receive(&mut encoded(hello)).unwrap().event.is_some());
    let of_context = protocol.inflation_bytes();
    assert!(of_context > 5);
    assert_eq!(protocol.held_bytes(), of_context);
    let mut ping = encoded(Frame::ping(b"ping").unwrap());
    let (first, last) = ping.split_at_mut(3);
    protocol.receive(first).unwrap();
    assert_eq!(protocol.inflation_bytes(), of_context);
    assert_eq!(protocol.held_bytes(), of_context + size_of::<CutPayload>());
    protocol.receive(last).unwrap();
    assert_eq!(protocol.held_bytes(), of_context);
}

#[test]
fn only_what_has_arrived_in_part_is_on_the_heap() {
    let mut protocol = client();
    let whole = [encoded(Frame::ping(b"ping").unwrap()), encoded(Frame::binary(&[7; 300])), encoded(Frame::text("t"))];
    for delivery in [DeliveryMode::Whole, DeliveryMode::Pieces] {
        protocol.set_delivery(delivery);
        for frame in &whole {
            assert!(protocol.receive(&mut frame.clone()).unwrap().event.is_some());
            assert!(protocol.cold.is_none(), "{delivery:?}");
            for cut in 1..frame.len() {
                let mut frame = frame.clone();
                let (first, last) = frame.split_at_mut(cut);
                protocol.receive(first).unwrap();
                assert!(protocol.cold.is_some(), "{delivery:?}, cut at {cut}");
                assert!(protocol.receive(last).unwrap().event.is_some());
                assert!(protocol.cold.is_none(), "{delivery:?}, cut at {cut}");
            }
        }
        protocol.receive(&mut encoded(Frame::text("begun").not_final())).unwrap();
        assert!(protocol.cold.is_some());
        protocol.receive(&mut encoded(Frame::continuation(b", ended"))).unwrap();
        assert!(protocol.cold.is_none());
    }
}
