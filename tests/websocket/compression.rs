//! permessage-deflate (RFC 7692) through the public API, against a client that uses the codec directly.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::thread;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::web::SharedAcrossThreads;
use tidegate::websocket::{
    CompressionLevel, CompressionStatus, DeflateConfig, EventHandler, EventSocket, Sender, WindowBits,
};

use crate::handler::reports;
use crate::support::client::{BINARY, CONTINUATION, Client, FIN, HANDSHAKE, PING, PONG, TEXT, frame, pattern};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};

const RSV1: u8 = 0x40;
const TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// Settings that keep contexts in both directions.
fn takeover() -> DeflateConfig {
    DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true)
}

fn serve<F>(setup: &Setup, deflate: DeflateConfig, handler: F) -> TestServer
where
    F: AsyncFn(WebSocket) -> websocket::Result + SharedAcrossThreads,
{
    TestServer::start(setup, Router::new().get("/ws", websocket::upgrade(handler).compression(deflate)))
}

/// A client that has agreed on compression.
struct Deflating {
    client: Client,
    compress: Compress,
    decompress: Decompress,
    /// The client's context, and the server's.
    keeps: (bool, bool),
}

impl Deflating {
    fn open(server: &TestServer, offer: &str) -> Self {
        let mut client = Client::connect(server.address);
        let answer = handshake(&mut client, Some(offer)).expect("an agreement");
        let keeps = (!answer.contains("client_no_context"), !answer.contains("server_no_context"));
        let bits = |name: &str| {
            let value = answer.split("; ").find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='));
            value.map_or(15, |value| value.parse().expect("a number"))
        };
        Self {
            client,
            compress: Compress::new_with_window_bits(Compression::new(6), false, bits("client_max_window_bits")),
            decompress: Decompress::new_with_window_bits(false, bits("server_max_window_bits")),
            keeps,
        }
    }

    fn deflate(&mut self, payload: &[u8]) -> Vec<u8> {
        if payload.is_empty() {
            return vec![0];
        }
        let mut out = Vec::new();
        let start = self.compress.total_in();
        while self.compress.total_in() - start < payload.len() as u64 || !out.ends_with(TAIL) {
            out.reserve(payload.len() + 64);
            let taken = (self.compress.total_in() - start) as usize;
            self.compress.compress_vec(&payload[taken..], &mut out, FlushCompress::Sync).unwrap();
        }
        out.truncate(out.len() - TAIL.len());
        if !self.keeps.0 {
            self.compress.reset();
        }
        out
    }

    fn inflate(&mut self, deflated: &[u8]) -> Vec<u8> {
        let input = [deflated, TAIL].concat();
        let mut out = Vec::new();
        let start = self.decompress.total_in();
        loop {
            out.reserve(64 << 10);
            let taken = (self.decompress.total_in() - start) as usize;
            self.decompress.decompress_vec(&input[taken..], &mut out, FlushDecompress::Sync).expect("deflate format");
            if self.decompress.total_in() - start == input.len() as u64 && out.len() < out.capacity() {
                break;
            }
        }
        if !self.keeps.1 {
            self.decompress.reset(false);
        }
        out
    }

    /// Returns the next message: its first byte, with RSV1, and its payload.
    fn next(&mut self) -> (u8, Vec<u8>) {
        let frame = self.client.next().expect("a message");
        match frame.first & RSV1 {
            0 => (frame.first, frame.payload),
            _ => (frame.first, self.inflate(&frame.payload)),
        }
    }

    /// Sends a compressed message, and expects it back, compressed or not.
    fn check_echo(&mut self, first: u8, payload: &[u8], is_compressed: bool) {
        let bytes = frame(first | RSV1, &self.deflate(payload));
        let mut writer = self.client.stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || std::io::Write::write_all(&mut writer, &bytes).unwrap());
            let (got, echoed) = self.next();
            assert_eq!(got, if is_compressed { first | RSV1 } else { first }, "{} bytes", payload.len());
            assert!(echoed == payload, "{} bytes came back as others", payload.len());
        });
    }
}

/// Makes the handshake. Returns the `Sec-WebSocket-Extensions` of the answer.
fn handshake(client: &mut Client, offer: Option<&str>) -> Option<String> {
    let field = offer.map_or_else(String::new, |offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
    client.write(HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{field}\r\n")).as_bytes());
    let response = client.http_response();
    assert_eq!(response.status, 101, "{response:?}");
    let mut lines = response.head.lines();
    lines.find_map(|line| line.strip_prefix("sec-websocket-extensions: ").map(str::to_owned))
}

fn prose(len: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|number| format!("{number} tides in the gate, {}; ", number * 37 % 101).into_bytes())
        .take(len)
        .collect()
}

/// The agreement is within both the offer and the settings, or compression is declined.
#[test]
fn offers_are_accepted_or_declined_as_the_settings_say() {
    let mut narrow = takeover();
    narrow.own_window_bits_max = WindowBits::new(10).unwrap();
    narrow.peer_window_bits_max = WindowBits::new(11).unwrap();
    let table = [
        (Some(DeflateConfig::default()), OFFER, Some("; server_no_context_takeover; client_no_context_takeover")),
        (Some(takeover()), OFFER, Some("")),
        (Some(takeover()), "permessage-deflate; server_max_window_bits=9", Some("; server_max_window_bits=9")),
        (Some(takeover()), "permessage-deflate; server_max_window_bits=8", None),
        (Some(takeover()), "permessage-deflate; unknown, permessage-deflate", Some("")),
        (Some(takeover()), "permessage-bzip2", None),
        (Some(narrow), OFFER, Some("; server_max_window_bits=10; client_max_window_bits=11")),
        (None, OFFER, None),
    ];
    on_every_engine(|setup| {
        for (deflate, offer, expected) in &table {
            let server = match deflate {
                Some(deflate) => serve(setup, *deflate, echo),
                None => TestServer::echo(setup),
            };
            let mut client = Client::connect(server.address);
            let answer = handshake(&mut client, Some(offer));
            let expected = expected.map(|parameters| format!("permessage-deflate{parameters}"));
            assert_eq!(answer, expected, "{offer}");
            client.check_echo(TEXT, &prose(100));
            client.close();
            server.finish();
        }
        let server = serve(setup, takeover(), echo);
        let mut client = Client::connect(server.address);
        assert_eq!(handshake(&mut client, None), None, "nothing was offered");
        client.check_echo(TEXT, &prose(1000));
        client.close();
        let mut client = Client::connect(server.address);
        client.write(HANDSHAKE.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: a b\r\n\r\n").as_bytes());
        assert_eq!(client.http_response().status, 400);
        drop(client);
        server.finish();
    });
}

/// Both directions, every size class, both kinds, several windows, with and without contexts.
#[test]
fn messages_are_compressed_where_that_makes_them_smaller() {
    let offers = [
        OFFER,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    ];
    on_every_engine(|setup| {
        let server = serve(setup, takeover(), echo);
        for offer in offers {
            let mut client = Deflating::open(&server, offer);
            for len in [0, 1, 127, 128, 5000, 65_537, 300_000, 2 << 20] {
                client.check_echo(TEXT, &prose(len), len >= 128);
                client.check_echo(BINARY, &pattern(len.min(300_000)), false);
                // The client can choose for each message whether to compress it.
                client.client.send(TEXT, &prose(200));
                assert_eq!(client.next(), (TEXT | RSV1, prose(200)));
            }
            client.client.close();
        }
        server.finish();
    });
}

async fn echo_borrowed(mut ws: WebSocket) -> websocket::Result {
    let sender = ws.sender();
    while let Some(message) = ws.recv_ref().await? {
        match message.payload() {
            PayloadRef::Text(text) => sender.send_text(text).await?,
            PayloadRef::Binary(_) => sender.send_ref(&message).await?,
        }
    }
    Ok(())
}

async fn echo_in_pieces(mut ws: WebSocket) -> websocket::Result {
    while let Some(mut stream) = ws.recv_stream().await? {
        let (kind, mut payload) = (stream.kind(), Vec::new());
        while let Some(piece) = stream.next().await? {
            match piece {
                PayloadRef::Text(piece) => payload.extend_from_slice(piece.as_bytes()),
                PayloadRef::Binary(piece) => payload.extend_from_slice(piece),
            }
        }
        match kind {
            websocket::MessageKind::Text => ws.send_text(std::str::from_utf8(&payload).unwrap()).await?,
            websocket::MessageKind::Binary => ws.send_binary(&payload).await?,
        }
    }
    Ok(())
}

#[test]
fn every_way_to_read_and_send_supports_compression() {
    on_every_engine(|setup| {
        for server in [serve(setup, takeover(), echo_borrowed), serve(setup, takeover(), echo_in_pieces)] {
            let mut client = Deflating::open(&server, OFFER);
            let text = "Gezeiten, marée, прилив, 潮汐, \u{1f30a} ".repeat(2000);
            for len in [0, 20, 600, 200_000, 1 << 20] {
                client.check_echo(BINARY, &prose(len), len >= 128);
            }
            client.check_echo(TEXT, text.as_bytes(), true);
            // In fragments, with a ping between them.
            let deflated = client.deflate(text.as_bytes());
            let (begin, rest) = deflated.split_at(100);
            client.client.send((TEXT & !FIN) | RSV1, begin);
            client.client.send(PING, b"between");
            client.client.send(CONTINUATION, rest);
            client.client.expect(PONG, b"between");
            assert!(client.next() == (TEXT | RSV1, text.clone().into_bytes()));
            client.client.close();
            server.finish();
        }
    });
}

/// A prepared message is compressed once, for all connections without context.
#[test]
fn prepared_messages_are_compressed_for_those_without_context() {
    let prepared = websocket::PreparedMessage::new(String::from_utf8(prose(3000)).unwrap());
    on_every_engine(|setup| {
        let message = prepared.clone();
        let server = serve(setup, takeover(), async move |mut ws: WebSocket| {
            ws.send_prepared(&message).await?;
            ws.send("a ".repeat(100)).await?;
            ws.sender().try_send_prepared(&message)?;
            while ws.recv().await?.is_some() {}
            Ok(())
        });
        for (offer, is_compressed) in [("permessage-deflate; server_no_context_takeover", true), (OFFER, false)] {
            let mut client = Deflating::open(&server, offer);
            for (first, payload) in [
                (if is_compressed { TEXT | RSV1 } else { TEXT }, prose(3000)),
                (TEXT | RSV1, "a ".repeat(100).into_bytes()),
                (if is_compressed { TEXT | RSV1 } else { TEXT }, prose(3000)),
            ] {
                assert!(client.next() == (first, payload), "{offer}");
            }
            client.client.close();
        }
        server.finish();
    });
}

fn numbered(thread: usize, number: usize) -> Vec<u8> {
    // Some large enough to be compressed in slices.
    let len = if number % 20 == 7 { 100_000 } else { 200 + number };
    [format!("{thread} {number} ").into_bytes(), prose(len)].concat()
}

/// Messages of all threads leave in the order in which the context compressed them.
#[test]
fn senders_on_many_threads_share_one_context() {
    const THREADS: usize = 4;
    const MESSAGES: usize = 60;
    on_every_engine(|setup| {
        let server = serve(setup, takeover(), move |mut ws: WebSocket| async move {
            let send_all = |sender: Sender, thread: usize| async move {
                for number in 0..MESSAGES {
                    sender.send(numbered(thread, number)).await.unwrap();
                }
            };
            let threads: Vec<_> = (1..THREADS)
                .map(|thread| {
                    let sender = ws.sender();
                    thread::spawn(move || block_on(send_all(sender, thread)))
                })
                .collect();
            send_all(ws.sender(), 0).await;
            while ws.recv().await?.is_some() {}
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            Ok(())
        });
        let mut client = Deflating::open(&server, OFFER);
        let mut next = [0; THREADS];
        let mut compressed = 0;
        for _ in 0..THREADS * MESSAGES {
            let (first, payload) = client.next();
            compressed += usize::from(first & RSV1 != 0);
            let thread = usize::from(payload[0] - b'0');
            assert!(payload == numbered(thread, next[thread]), "message {} of thread {thread}", next[thread]);
            next[thread] += 1;
        }
        // While a large message is being compressed, others are sent uncompressed.
        assert!(compressed > 0);
        client.client.close();
        server.finish();
    });
}

/// Compression must not stall a worker, and dropping a half-compressed send must not spoil the context.
#[test]
fn large_messages_are_compressed_in_slices_and_can_be_dropped() {
    on_every_engine(|setup| {
        let server = serve(setup, takeover(), |mut ws: WebSocket| async move {
            ws.send(prose(1000)).await?;
            let mut polls = 0;
            {
                let mut send = pin!(ws.send(prose(1 << 20)));
                while polls < 5 {
                    poll_fn(|cx| {
                        polls += 1;
                        assert!(send.as_mut().poll(cx).is_pending(), "not done after {polls} slices");
                        Poll::Ready(())
                    })
                    .await;
                }
            }
            ws.send(prose(1000)).await?;
            let sender = ws.sender();
            let mut send = pin!(sender.send(prose(500_000)));
            // Not done yet: what others send meanwhile is sent uncompressed, without waiting.
            let pending = poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx).is_pending())).await;
            assert!(pending);
            sender.send(prose(900)).await?;
            send.await?;
            ws.send(prose(1000)).await?;
            while ws.recv().await?.is_some() {}
            Ok(())
        });
        let mut client = Deflating::open(&server, OFFER);
        for (is_compressed, len) in [(true, 1000), (true, 1000), (false, 900), (true, 500_000), (true, 1000)] {
            let first = if is_compressed { BINARY | RSV1 } else { BINARY };
            let (got, payload) = client.next();
            assert!((got, &payload) == (first, &prose(len)), "{len} bytes: {got:#x} with {}", payload.len());
        }
        client.client.close();
        server.finish();
    });
}

/// The level applies to later messages; `None` sends them uncompressed.
#[test]
fn the_level_can_change_and_compression_can_pause() {
    on_every_engine(|setup| {
        let server = serve(setup, takeover(), |mut ws: WebSocket| async move {
            let level = |level| Some(CompressionLevel::new(level).unwrap());
            for level in [level(9), None, level(-2), level(0), level(1)] {
                ws.set_compression_level(level);
                assert_eq!(ws.compression().unwrap().level, level);
                ws.send(prose(2000)).await?;
            }
            while ws.recv().await?.is_some() {}
            Ok(())
        });
        let mut client = Deflating::open(&server, OFFER);
        for is_compressed in [true, false, true, false, true] {
            let first = if is_compressed { BINARY | RSV1 } else { BINARY };
            assert!(client.next() == (first, prose(2000)));
        }
        client.client.close();
        server.finish();
    });
}

/// Sends a message at each of some levels, then echoes.
struct Levels;

const LEVELS: [Option<i32>; 4] = [Some(9), None, Some(0), Some(1)];

impl EventHandler for Levels {
    type State = ();

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        for level in LEVELS {
            ws.set_compression_level(level.map(|level| CompressionLevel::new(level).unwrap()));
            ws.send(&prose(2000))?;
        }
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        Ok(ws.send(message)?)
    }
}

/// Also above the size that is compressed at once.
#[test]
fn event_handlers_compress_in_order_with_the_level_that_they_set() {
    on_every_engine(|setup| {
        let upgrade = websocket::upgrade_events(Levels).compression(takeover());
        let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
        let mut client = Deflating::open(&server, OFFER);
        for level in LEVELS {
            let first = if level.is_some_and(|level| level > 0) { BINARY | RSV1 } else { BINARY };
            assert!(client.next() == (first, prose(2000)), "level {level:?}");
        }
        for (len, is_compressed) in [(0, false), (100, false), (1000, true), (70_000, true), (300_000, false)] {
            client.check_echo(BINARY, &prose(len), is_compressed);
            client.check_echo(BINARY, &prose(len), is_compressed);
        }
        client.client.close();
        server.finish();
    });
}

/// `WebSocket::compression` counts the bytes of kept contexts; without context takeover nothing is held.
#[test]
fn kept_contexts_are_counted() {
    on_every_engine(|setup| {
        let (tell, statuses) = reports::<Option<CompressionStatus>>();
        let server = serve(setup, takeover(), async move |mut ws: WebSocket| {
            tell.send(ws.compression()).unwrap();
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
                tell.send(ws.compression()).unwrap();
            }
            Ok(())
        });
        for (offer, most) in [
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", 0),
            ("permessage-deflate; server_no_context_takeover", 50_000),
            (OFFER, 450_000),
        ] {
            let mut client = Deflating::open(&server, offer);
            let before = statuses.next().expect("an agreement");
            assert_eq!((before.held_bytes, before.level), (0, Some(CompressionLevel::FASTEST)));
            client.check_echo(TEXT, &prose(500), true);
            let status = statuses.next().unwrap();
            assert_eq!(status.held_bytes > 0, most > 0, "{offer}");
            assert!(status.held_bytes <= most && status.params == before.params);
            client.client.close();
        }
        let client = Client::open(server.address);
        assert_eq!(statuses.next(), None);
        client.close();
        server.finish();
    });
}

/// The message limit applies to the inflated payload.
#[test]
fn bombs_and_invalid_deflate_data_are_refused() {
    let config = WebSocketConfig::default().message_bytes_max(1 << 20);
    on_every_engine(|setup| {
        let upgrade = websocket::upgrade(echo).config(config.clone()).compression(takeover());
        let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
        let bomb = |client: &mut Deflating| client.deflate(&vec![0; 64 << 20]);
        type Deflate = fn(&mut Deflating) -> Vec<u8>;
        let table: [(&str, u8, Deflate, u16); 5] = [
            ("a little too much", BINARY | RSV1, |client| client.deflate(&vec![0; (1 << 20) + 1]), 1009),
            ("not the format", BINARY | RSV1, |_| vec![0x06], 1007),
            ("not text", TEXT | RSV1, |client| client.deflate(b"\xC3\x28"), 1007),
            ("on a continuation", CONTINUATION | RSV1, |client| client.deflate(b"x"), 1002),
            ("on a ping", PING | RSV1, |client| client.deflate(b"x"), 1002),
        ];
        for (name, first, deflate, code) in table {
            println!("{name}");
            let mut client = Deflating::open(&server, OFFER);
            client.check_echo(BINARY, &vec![0; 1 << 20], true);
            let deflated = deflate(&mut client);
            client.client.send(first, &deflated);
            client.client.expect_close(code);
            client.client.expect_end();
        }
        let mut client = Deflating::open(&server, OFFER);
        let deflated = bomb(&mut client);
        client.client.send(BINARY | RSV1, &deflated);
        client.client.expect_close(1009);
        client.client.expect_end();
        server.finish();
    });
}

/// A hub has members with several agreements on compression, and members without one.
#[test]
fn a_hub_sends_each_member_the_variant_it_can_read() {
    let no_takeover = "permessage-deflate; server_no_context_takeover";
    on_every_engine(|setup| {
        let (tell, registered) = reports();
        let hub: Hub = Hub::default();
        let members = hub.clone();
        let server = serve(setup, takeover(), async move |mut ws: WebSocket| {
            let member = members.register(&ws)?;
            member.join("room")?;
            tell.send(()).unwrap();
            while ws.recv().await?.is_some() {}
            Ok(())
        });
        let narrow = format!("{no_takeover}; server_max_window_bits=9");
        let mut clients = Vec::new();
        for (offer, is_compressed) in [(no_takeover, true), (&narrow, true), (OFFER, false), (no_takeover, true)] {
            clients.push((Deflating::open(&server, offer), is_compressed));
            registered.next();
        }
        let mut plain = Client::open(server.address);
        registered.next();
        for number in 0..20 {
            let delivered = match number % 2 {
                0 => block_on(hub.broadcast(prose(100 * number))).unwrap(),
                _ => block_on(hub.publish("room", prose(100 * number))).unwrap(),
            };
            assert_eq!((delivered.count, delivered.first_error.is_none()), (5, true));
        }
        // As many as fit, without waiting.
        for number in 0..200 {
            hub.broadcast(prose(120 + number)).try_queue().unwrap();
        }
        let lens: Vec<_> = (0..20).map(|number| 100 * number).chain((0..200).map(|number| 120 + number)).collect();
        for len in lens {
            for (client, is_compressed) in &mut clients {
                let first = if *is_compressed && len >= 128 { BINARY | RSV1 } else { BINARY };
                assert!(client.next() == (first, prose(len)), "{len} bytes");
            }
            plain.expect(BINARY, &prose(len));
        }
        clients.into_iter().for_each(|(client, _)| client.client.close());
        plain.close();
        server.finish();
    });
}
