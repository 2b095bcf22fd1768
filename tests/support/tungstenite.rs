//! The echo matrix of `tests/peers/` with `tokio-tungstenite` as the client, in this process.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The bound on a case. The largest takes about a second in an unoptimized build.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

const PIPELINED_MESSAGES: usize = 1000;
const TEXT: &str = "Gezeiten, marée, прилив, 潮汐, \u{1f30a}, e\u{301}, \u{0}, \u{10ffff}";

/// Bytes of a broken client, with a masking key of zeros, and the close code that must answer them (RFC 6455 section
/// 7.4.1).
const VIOLATIONS: &[(&str, &[u8], u16)] = &[
    ("reserved opcode", b"\x83\x80\0\0\0\0", 1002),
    ("reserved control opcode", b"\x8b\x80\0\0\0\0", 1002),
    ("RSV1 without an extension", b"\xc2\x80\0\0\0\0", 1002),
    ("unmasked frame", b"\x82\x01x", 1002),
    ("fragmented ping", b"\x09\x80\0\0\0\0", 1002),
    ("continuation of nothing", b"\x80\x80\0\0\0\0", 1002),
    ("length that is not minimal", b"\x82\xfe\0\x01\0\0\0\0x", 1002),
    ("close payload of one byte", b"\x88\x81\0\0\0\0\x03", 1002),
    ("close code 1005", b"\x88\x82\0\0\0\0\x03\xed", 1002),
    ("text that is not UTF-8", b"\x81\x82\0\0\0\0\xc3\x28", 1007),
];

/// Runs the whole matrix against the echo server at `url`.
///
/// # Panics
///
/// At the first case that fails or takes too long. Each case first prints its name, which a failed test shows.
pub fn run(url: &str) {
    run_with(url, Connector::Plain);
}

/// As [`run`], with this TLS.
///
/// # Panics
///
/// As [`run`].
pub fn run_with(url: &str, connector: Connector) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime for the client")
        .block_on(matrix(&To { url, connector }));
}

/// Connects `members` clients to a hub, and checks that the message of each reaches all of them.
///
/// # Panics
///
/// If it does not.
pub fn run_hub(url: &str, connector: Connector, members: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime for the clients").block_on(async {
        let to = To { url, connector };
        let mut clients = Vec::new();
        for _ in 0..members {
            clients.push(connect(&to, "hub").await);
            // It is a member once its own message is back.
            let number = clients.len();
            let last = clients.last_mut().expect("one");
            send(last, Message::text(format!("member {number}"))).await;
            for client in &mut clients {
                expect(client, Message::text(format!("member {number}"))).await;
            }
        }
        let large = Message::binary(pattern(100_000));
        send(&mut clients[0], large.clone()).await;
        for client in &mut clients {
            expect(client, large.clone()).await;
            close_with(client, CloseCode::Normal, "").await;
        }
    });
}

async fn connect(to: &To<'_>, name: &str) -> Client {
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let connected = connect_async_tls_with_config(to.url, Some(config), true, Some(to.connector.clone())).await;
    connected.unwrap_or_else(|error| panic!("{name}: no connection: {error}")).0
}

/// The server to connect to.
struct To<'a> {
    url: &'a str,
    connector: Connector,
}

async fn matrix(to: &To<'_>) {
    case(to, "whole messages", whole_messages).await;
    case(to, "16 MiB", sixteen_mebibytes).await;
    case(to, "many small fragments", many_small_fragments).await;
    case(to, "fragments with pings between", fragments_with_pings).await;
    case(to, "pipelined messages", pipelined_messages).await;
    case(to, "ping and pong", ping_and_pong).await;
    case(to, "close 1000", async |client| {
        close_with(client, CloseCode::Normal, "").await;
    })
    .await;
    case(to, "close 4321", async |client| {
        close_with(client, CloseCode::Library(4321), &"r".repeat(123)).await;
    })
    .await;
    for &(name, octets, code) in VIOLATIONS {
        case(to, name, async |client| violation(client, octets, code).await).await;
    }
}

/// Runs one case on a new connection.
async fn case(to: &To<'_>, name: &str, body: impl AsyncFnOnce(&mut Client)) {
    println!("{name}");
    let run = async {
        let mut client = connect(to, name).await;
        body(&mut client).await;
    };
    if tokio::time::timeout(CASE_TIMEOUT, run).await.is_err() {
        panic!("{name}: not done after {CASE_TIMEOUT:?}");
    }
}

async fn whole_messages(client: &mut Client) {
    echo(client, Message::text("")).await;
    echo(client, Message::binary(Bytes::new())).await;
    echo(client, Message::text(TEXT)).await;
    echo(client, Message::text(TEXT.repeat(1000))).await;
    echo(client, Message::binary((0..=255).collect::<Vec<u8>>())).await;
    for size in [1, 125, 126, 127, 65_535, 65_536, 100_000] {
        echo(client, Message::binary(pattern(size))).await;
    }
}

async fn sixteen_mebibytes(client: &mut Client) {
    echo(client, Message::binary(pattern(16 << 20))).await;
}

async fn many_small_fragments(client: &mut Client) {
    let data = pattern(7 * 1000);
    for fragment in fragments(&data, 7, Data::Binary) {
        send(client, fragment).await;
    }
    expect(client, Message::binary(data)).await;
    // One byte per fragment: the boundaries fall inside characters.
    for fragment in fragments(TEXT.as_bytes(), 1, Data::Text) {
        send(client, fragment).await;
    }
    expect(client, Message::text(TEXT)).await;
}

async fn fragments_with_pings(client: &mut Client) {
    let data = pattern(5 * 40);
    for (i, fragment) in fragments(&data, 5, Data::Binary).into_iter().enumerate() {
        // The pong must arrive now, in the middle of the message, not after it.
        if i > 0 {
            ping(client, format!("between {i}").into_bytes()).await;
        }
        send(client, fragment).await;
    }
    expect(client, Message::binary(data)).await;
}

async fn pipelined_messages(client: &mut Client) {
    let messages: Vec<_> =
        (0..PIPELINED_MESSAGES).map(|i| Message::text(format!("{i} {}", "x".repeat(i % 200)))).collect();
    for message in &messages {
        send(client, message.clone()).await;
    }
    for message in messages {
        expect(client, message).await;
    }
}

async fn ping_and_pong(client: &mut Client) {
    for payload in [Vec::new(), b"tide".to_vec(), pattern(125)] {
        ping(client, payload).await;
    }
    echo(client, Message::text("still open")).await;
}

async fn close_with(client: &mut Client, code: CloseCode, reason: &str) {
    let frame = CloseFrame { code, reason: reason.into() };
    send(client, Message::Close(Some(frame.clone()))).await;
    expect(client, Message::Close(Some(frame))).await;
    let after = client.next().await;
    assert!(after.is_none(), "{after:?} after the close frame");
}

async fn violation(client: &mut Client, octets: &[u8], code: u16) {
    echo(client, Message::text("well so far")).await;
    client.get_mut().write_all(octets).await.expect("the octets are sent");
    match receive(client).await {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), code, "{frame}"),
        other => panic!("expected a close frame with {code}, got {}", show(&other)),
    }
}

async fn echo(client: &mut Client, message: Message) {
    send(client, message.clone()).await;
    expect(client, message).await;
}

async fn ping(client: &mut Client, payload: Vec<u8>) {
    let payload = Bytes::from(payload);
    send(client, Message::Ping(payload.clone())).await;
    expect(client, Message::Pong(payload)).await;
}

async fn send(client: &mut Client, message: Message) {
    client.send(message).await.expect("a message is sent");
}

async fn receive(client: &mut Client) -> Message {
    client.next().await.expect("a message before the end of the connection").expect("a message")
}

/// Expects this message next. It is not printed whole, because it can be megabytes.
async fn expect(client: &mut Client, message: Message) {
    let got = receive(client).await;
    assert!(got == message, "got {}, expected {}", show(&got), show(&message));
}

fn show(message: &Message) -> String {
    let start: String = format!("{message:?}").chars().take(200).collect();
    format!("a message of {} bytes, {start}", message.len())
}

/// Returns `size` bytes whose period, a prime, divides no buffer or frame size: a shifted copy differs.
fn pattern(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

/// Returns `data` as the frames of one message, with `size` bytes in each.
fn fragments(data: &[u8], size: usize, kind: Data) -> Vec<Message> {
    let count = data.len().div_ceil(size);
    let frame = |(i, piece): (usize, &[u8])| {
        let opcode = OpCode::Data(if i == 0 { kind } else { Data::Continue });
        let piece = Bytes::copy_from_slice(piece);
        Message::Frame(Frame::message(piece, opcode, i + 1 == count))
    };
    data.chunks(size).enumerate().map(frame).collect()
}
