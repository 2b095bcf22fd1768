//! Violations of the protocol: each is answered with its close frame, and the server survives.

use std::io::Write;
use std::thread;

use tidegate::prelude::*;

use crate::events::on_every_engine_and_style;
use crate::support::client::{BINARY, CLOSE, CONTINUATION, Client, FIN, PING, TEXT, close_frame, frame, header};
use crate::support::servers::{TestServer, on_every_engine};

/// Sends `bytes` on a new connection, then megabytes that the server does not read, and expects the close frame and
/// FIN.
fn check_fails(server: &TestServer, name: &str, bytes: &[u8], code: u16) {
    println!("{name}");
    let mut client = Client::open(server.address);
    client.check_echo(TEXT, b"well so far");
    let mut writer = client.stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(bytes).unwrap();
            writer.write_all(&frame(BINARY, &vec![0; 2 << 20])).expect("no reset, although nothing is read");
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        client.expect_close(code);
        client.expect_end();
    });
}

/// A violation must not be accepted, nor end the server. Its close frame must be sent, and a reset must not destroy it.
#[test]
fn violations_are_answered_with_a_close_frame_that_arrives() {
    let table: [(&str, Vec<u8>, u16); 21] = [
        ("unmasked frame", b"\x82\x01x".to_vec(), 1002),
        ("16-bit length for 125 bytes", [&b"\x82\xfe\0\x7d\0\0\0\0"[..], &[0; 125]].concat(), 1002),
        ("64-bit length for 65,535 bytes", b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0".to_vec(), 1002),
        ("length of 2^63", b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec(), 1002),
        ("RSV1", frame(BINARY | 0x40, b""), 1002),
        ("RSV1 on a continuation", [frame(BINARY - FIN, b""), frame(CONTINUATION | 0x40, b"")].concat(), 1002),
        ("RSV2", frame(BINARY | 0x20, b""), 1002),
        ("RSV3", frame(PING | 0x10, b""), 1002),
        ("reserved opcode", frame(0x83, b""), 1002),
        ("reserved control opcode", frame(0x8B, b""), 1002),
        ("ping of 126 bytes", frame(PING, &[0; 126]), 1002),
        ("fragmented ping", frame(PING - FIN, b""), 1002),
        ("continuation of nothing", frame(CONTINUATION, b"x"), 1002),
        ("message inside a message", [frame(TEXT - FIN, b"a"), frame(TEXT, b"b")].concat(), 1002),
        ("text that is not UTF-8", frame(TEXT, b"\xc3\x28"), 1007),
        ("surrogate in a text", frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("text that ends inside a character", frame(TEXT, b"\xe2\x82"), 1007),
        // Detected before the frame is whole.
        ("long text that begins badly", [header(TEXT, 3 << 20), b"\x37\xfa\x21\x3d\xff".to_vec()].concat(), 1007),
        ("long text that ends badly", frame(TEXT, &[&[b'a'; 12_000][..], b"\xc3"].concat()), 1007),
        ("close reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
        ("close payload of one byte", frame(CLOSE, b"\x03"), 1002),
    ];
    on_every_engine_and_style(|setup| {
        let server = TestServer::echo(setup);
        for (name, bytes, code) in &table {
            check_fails(&server, name, bytes, *code);
        }
        let mut client = Client::open(server.address);
        client.check_echo(TEXT, b"the server lives");
        client.close();
        server.finish();
    });
}

/// Close codes that must not be sent are answered with 1002.
#[test]
fn sendable_close_codes_are_echoed_and_others_are_refused() {
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    let invalid = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    on_every_engine_and_style(|setup| {
        let server = TestServer::echo(setup);
        for code in valid {
            let mut client = Client::open(server.address);
            client.write(&close_frame(code, "ebb"));
            assert_eq!(client.expect_close(code), "ebb");
            client.expect_end();
        }
        for code in invalid {
            let mut client = Client::open(server.address);
            client.write(&close_frame(code, ""));
            client.expect_close(1002);
            client.expect_end();
        }
        let mut client = Client::open(server.address);
        client.send(CLOSE, b"");
        client.expect(CLOSE, b"");
        client.expect_end();
        server.finish();
    });
}

/// The message limit applies across fragments.
#[test]
fn messages_above_the_limit_are_refused_as_soon_as_their_headers_claim_it() {
    let config = WebSocketConfig::default().message_bytes_max(1000);
    let half = frame(BINARY - FIN, &[0; 600]);
    on_every_engine_and_style(|setup| {
        let server = TestServer::echo_with(setup, config.clone());
        let mut client = Client::open(server.address);
        client.check_echo(BINARY, &[1; 1000]);
        client.write(&[frame(TEXT - FIN, &[b'a'; 600]), frame(CONTINUATION, &[b'b'; 400])].concat());
        client.expect(TEXT, &[[b'a'; 600].as_slice(), &[b'b'; 400]].concat());
        client.close();
        let fragments = [half.clone(), frame(CONTINUATION - FIN, &[0; 400]), header(CONTINUATION, 1)].concat();
        check_fails(&server, "1001 bytes", &header(BINARY, 1001), 1009);
        check_fails(&server, "2^62 bytes", &header(BINARY, 1 << 62), 1009);
        check_fails(&server, "1001 bytes in fragments", &fragments, 1009);
        check_fails(
            &server,
            "2^63 - 1 after a fragment",
            &[half.clone(), header(CONTINUATION, i64::MAX as u64)].concat(),
            1009,
        );
        server.finish();
    });
}

/// The limit in force is that of the connection.
#[test]
fn the_limit_can_change_while_a_connection_is_open() {
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), |mut ws: WebSocket| async move {
            while let Some(message) = ws.recv().await? {
                if let Some(limit) = message.as_text() {
                    ws.set_message_bytes_max(limit.parse().expect("a number"));
                }
                ws.send(message).await?;
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.check_echo(BINARY, &[1; 1000]);
        client.check_echo(TEXT, b"500");
        client.check_echo(BINARY, &[2; 500]);
        client.check_echo(TEXT, b"100000");
        client.check_echo(BINARY, &[3; 100_000]);
        client.check_echo(TEXT, b"500");
        client.write(&header(BINARY, 501));
        client.expect_close(1009);
        client.expect_end();
        server.finish();
    });
}
