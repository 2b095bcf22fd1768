//! Runs the examples as programs and checks that they do what their first lines promise, with tungstenite as the
//! client.

mod clients;

#[path = "../support"]
mod support {
    pub mod example;
    pub mod example_client;
}

use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use socket2::{Domain, Socket, Type};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};

use support::example::{Example, program};
use support::example_client::Client;

/// No correct example takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The request of RFC 6455 section 1.3.
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Runs `test` against an example on io_uring and on the portable engine.
fn on_both_engines(name: &str, arguments: &[&str], test: impl AsyncFn(&mut Example)) {
    for engine in ["uring", "portable"] {
        println!("{name} on {engine}");
        let mut example = Example::start(name, &[arguments, &["--engine", engine]].concat());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, test(&mut example)).await }).expect("done in time");
        example.finish();
    }
}

/// Returns the next line an example prints.
fn line(example: &mut Example) -> String {
    let mut line = String::new();
    example.output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Returns bytes whose period, a prime, divides no buffer's size.
fn pattern(size: usize) -> Vec<u8> {
    (0..=250).cycle().take(size).collect()
}

#[test]
fn echo_compresses_with_the_settings_given() {
    let arguments = ["--compress-level", "9", "--compress-window", "12", "--compress-no-takeover"];
    on_both_engines("echo", &arguments, async |example| {
        let mut stream = std::net::TcpStream::connect(example.address).unwrap();
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
        stream.write_all(HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{offer}\r\n\r\n")).as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                      server_max_window_bits=12; client_max_window_bits=12\r\n";
        assert!(head.contains(agreed), "{head}");
    });
}

#[test]
fn echo_closes_with_1001_on_sigterm_and_exits_with_success() {
    for (engine, handlers) in [("uring", "same-core"), ("uring", "inline"), ("portable", "same-core")] {
        println!("on {engine}/{handlers}");
        let example = Example::start("echo", &["--engine", engine, "--handlers", handlers, "--workers", "2"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..8 {
                clients.push(Client::open(&example, "/ws").await);
            }
            clients[0].ask("up", "up").await;
            example.terminate();
            for client in clients {
                client.expect_close(1001, "").await;
            }
            example
        });
        let rest = ended.finish_terminated();
        assert!(matches!(&rest[..], [line] if line.ends_with(" connections drained, 0 reset")), "{rest:?}");
    }
}

#[test]
fn echo_answers_in_both_styles_with_memory_for_a_message() {
    for style in ["async", "events"] {
        on_both_engines("echo", &["--style", style, "--future-bytes", "4096"], async |example| {
            Client::open(example, "/ws").await.ask("up", "up").await;
        });
    }
}

#[test]
fn chat_has_rooms() {
    on_both_engines("chat", &[], async |example| {
        let mut ann = Client::open(example, "/chat?name=Ann").await;
        let mut bob = Client::open(example, "/chat?name=Bob%20B.").await;
        ann.ask("join blue", "blue: Ann joined").await;
        bob.ask("join blue", "blue: Bob B. joined").await;
        ann.expect("blue: Bob B. joined").await;
        bob.ask("join green", "green: Bob B. joined").await;
        // Ann is not in the green room: her next message comes from the blue one.
        bob.ask("say green alone here", "green: Bob B.: alone here").await;
        bob.ask("say blue hello to all", "blue: Bob B.: hello to all").await;
        ann.expect("blue: Bob B.: hello to all").await;
        bob.ask("leave blue", "blue: Bob B. left").await;
        ann.expect("blue: Bob B. left").await;
        let help = "error: send join ROOM or, in a room, leave ROOM or say ROOM TEXT";
        for wrong in ["", "dance", "join", "join ", "leave blue", "say blue not there", "say green"] {
            bob.ask(wrong, help).await;
        }
        bob.ask("join blue", "blue: Bob B. joined").await;
        ann.expect("blue: Bob B. joined").await;
        bob.close().await;
        ann.expect("blue: Bob B. left").await;
        // A member whose connection breaks has left too.
        let mut eve = Client::open(example, "/chat?name=Eve").await;
        eve.ask("join blue", "blue: Eve joined").await;
        ann.expect("blue: Eve joined").await;
        drop(eve);
        ann.expect("blue: Eve left").await;
        ann.close().await;
    });
}

#[test]
fn chat_limits_the_rooms_of_a_member() {
    on_both_engines("chat", &[], async |example| {
        let mut ann = Client::open(example, "/chat").await;
        for room in 0..16 {
            ann.ask(&format!("join {room}"), &format!("{room}: somebody joined")).await;
        }
        ann.send("join 16").await;
        let answer = ann.text().await;
        assert!(answer.starts_with("error: the member is in too many rooms"), "{answer}");
        ann.close().await;
    });
}

#[test]
fn the_ticker_sends_every_price_to_all() {
    on_both_engines("ticker", &["--period-ms", "5"], async |example| {
        for target in ["/all", "/latest"] {
            let mut clients = [Client::open(example, target).await, Client::open(example, target).await];
            for client in &mut clients {
                let mut before = None;
                for _ in 0..30 {
                    let text = client.text().await;
                    let [symbol, price, step] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
                    assert!(price.parse::<u32>().is_ok(), "{text}");
                    // In the order of the symbols, without a gap.
                    let place = ["EURUSD", "GBPUSD", "USDJPY"].iter().position(|known| *known == symbol).unwrap();
                    let now = step.parse::<usize>().unwrap() * 3 + place;
                    assert!(before.is_none_or(|before| now == before + 1), "{text}");
                    before = Some(now);
                }
            }
            for mut client in clients {
                client.0.close(None).await.unwrap();
                while client.0.next().await.is_some() {}
            }
        }
    });
}

#[test]
fn json_is_answered_and_so_is_invalid_json() {
    on_both_engines("json", &[], async |example| {
        let mut client = Client::open(example, "/greet").await;
        client.ask(r#"{"name": "Ann"}"#, r#"{"greeting":"Hello, Ann"}"#).await;
        for wrong in ["", "{", "[]", r#"{"name": 1}"#] {
            client.ask(wrong, r#"{"error":"invalid json"}"#).await;
        }
        client.ask(r#"{"name": "\u00c5sa"}"#, r#"{"greeting":"Hello, Åsa"}"#).await;
        client.close().await;

        let mut client = Client::open(example, "/notes").await;
        let table = [
            (
                r#"{"id": 7, "method": "POST", "target": "/notes", "body": "ebb at six"}"#,
                r#"{"id":7,"code":200,"message":"","body":1}"#,
            ),
            (
                r#"{"id": 8, "method": "GET", "target": "/notes/1"}"#,
                r#"{"id":8,"code":200,"message":"","body":"ebb at six"}"#,
            ),
            (
                r#"{"id": 9, "method": "GET", "target": "/notes/2"}"#,
                r#"{"id":9,"code":404,"message":"no such note","body":null}"#,
            ),
        ];
        for (request, response) in table {
            client.ask(request, response).await;
        }
        for (wrong, code) in [
            (r#"{"id": 10, "method": "GET", "target": "/nowhere"}"#, r#"{"id":10,"code":404,"#),
            (r#"{"id": 11, "method": "POST", "target": "/notes", "body": 5}"#, r#"{"id":11,"code":400,"#),
            ("{", r#"{"id":0,"code":400,"#),
        ] {
            client.send(wrong).await;
            let answer = client.text().await;
            assert!(answer.starts_with(code), "{answer}");
        }
        client.close().await;
    });
}

#[test]
fn a_web_socket_needs_a_ticket() {
    on_both_engines("auth", &[], async |example| {
        for (target, status, body) in [
            ("/ws", 401, "Missing authorization"),
            ("/ws?other=tide", 401, "Missing authorization"),
            ("/ws?ticket=flood", 403, "Unknown ticket"),
        ] {
            let refused = connect_async(format!("ws://{}{target}", example.address)).await.unwrap_err();
            let tungstenite::Error::Http(response) = refused else { panic!("{refused}") };
            assert_eq!(response.status(), status);
            assert_eq!(response.body().as_deref(), Some(body.as_bytes()));
        }
        let mut ann = Client::open(example, "/ws?other=1&ticket=tide").await;
        ann.expect("Welcome, Ann").await;
        ann.ask("who", "Ann").await;
        ann.send("close").await;
        ann.expect_close(4000, "as you wish").await;
        assert_eq!(line(example), "Ann left with 4000");
        Client::open(example, "/ws?ticket=ebb").await.expect_close(4003, "banned").await;
    });
}

#[test]
fn uploads_are_summed_and_copied_in_pieces() {
    on_both_engines("upload", &[], async |example| {
        let mut client = Client::open(example, "/upload").await;
        // The published Adler-32 checksum of this text.
        client.ask("Wikipedia", "9 bytes, Adler-32 11e60398").await;
        client.ask("", "0 bytes, Adler-32 00000001").await;
        client.send(pattern(8 << 20)).await;
        client.expect(&format!("{} bytes, Adler-32 {:08x}", 8 << 20, adler32(&pattern(8 << 20)))).await;
        client.close().await;

        let client = Client::open(example, "/copy").await;
        let (mut sending, mut receiving) = client.0.split();
        let messages = [Message::binary(pattern(4 << 20)), Message::text("marée".repeat(1000)), Message::binary("")];
        let sent = messages.clone();
        let send = async move {
            for message in sent {
                sending.send(message).await.unwrap();
            }
        };
        let receive = async {
            for message in messages {
                let copy = receiving.next().await.unwrap().unwrap();
                assert!(copy == message, "a message of {} bytes came back as one of {}", message.len(), copy.len());
            }
        };
        futures_util::future::join(send, receive).await;
    });
}

/// The checksum of RFC 1950, with each modulus taken once.
fn adler32(bytes: &[u8]) -> u32 {
    let (low, high) = bytes.iter().fold((1_u64, 0_u64), |(low, high), byte| {
        let low = low + u64::from(*byte);
        (low, high + low % 65521)
    });
    (high % 65521) as u32 * 65536 + (low % 65521) as u32
}

/// The silent client is a plain socket, because tungstenite always answers pings.
#[test]
fn heartbeats_find_silent_clients() {
    on_both_engines("heartbeat", &["--ping-ms", "50", "--silence-ms", "4000"], async |example| {
        let silent = std::net::TcpStream::connect(example.address).unwrap();
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = silent.local_addr().unwrap();
        (&silent).write_all(HANDSHAKE.as_bytes()).unwrap();
        let silent = thread::spawn(move || {
            let mut received = Vec::new();
            (&silent).read_to_end(&mut received).unwrap();
            received
        });

        let mut alive = Client::open(example, "/ws").await;
        // For longer than the allowed silence.
        for _ in 0..100 {
            // The client answers it at its next read.
            let message = alive.0.next().await.unwrap().unwrap();
            assert!(message.is_ping(), "{message:?}");
        }
        alive.send("rtt?").await;
        let answer = alive.text().await;
        assert!(answer.starts_with("round trip: ") && answer.ends_with(" us"), "{answer}");
        alive.close().await;
        let line = line(example);
        assert!(line.starts_with(&format!("{address} is silent: ")), "{line}");

        // The 101, one ping, and close 1001 with a reason.
        let received = silent.join().unwrap();
        let frames = received.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
        let [0x89, length, frames @ ..] = &received[frames..] else { panic!("no ping: {}", received.escape_ascii()) };
        let close = &frames[usize::from(*length)..];
        assert!(matches!(close, [0x88, _, 0x03, 0xE9, ..]), "no close 1001: {}", received.escape_ascii());
    });
}

#[test]
fn commands_are_text_and_uploads_are_binary() {
    on_both_engines("commands", &[], async |example| {
        let mut client = Client::open(example, "/commands").await;
        client.ask("list", "").await;
        client.send(pattern(10)).await;
        client.expect("error: send put NAME first").await;
        for (name, size) in [("moon", 100_000), ("sun", 0)] {
            client.ask(&format!("put {name}"), &format!("send {name}")).await;
            client.send(pattern(size)).await;
            client.expect(&format!("stored {name}, {size} bytes")).await;
        }
        client.ask("list", "moon sun").await;
        client.send("get moon").await;
        assert_eq!(client.next().await, Message::binary(pattern(100_000)));
        client.ask("get mars", "error: nothing is stored as mars").await;
        client.ask("dance", "error: send put NAME, get NAME, list or quit").await;
        client.send("quit").await;
        client.expect_close(1000, "bye").await;

        let mut client = Client::open(example, "/binary").await;
        client.ask("text", "error: binary messages only").await;
        client.send(Bytes::from_static(b"four")).await;
        client.expect("4 bytes").await;
        client.close().await;
    });
}

#[test]
fn a_blocking_handler_delays_no_other_client() {
    on_both_engines("blocking", &[], async |example| {
        let mut busy = Client::open(example, "/primes").await;
        // The computation takes very long. The handler stops it when its client disconnects.
        busy.send("4000000000").await;
        let mut client = Client::open(example, "/primes").await;
        for (number, primes) in [(0, 0), (2, 0), (3, 1), (100, 25), (10_000, 1229)] {
            client.ask(&number.to_string(), &format!("{primes} primes below {number}")).await;
        }
        client.ask("ten", "error: send a number").await;
        client.close().await;
        busy.close().await;
    });
}

#[test]
fn the_proxy_forwards_in_both_directions() {
    const TEXT: &str = "and text, to the end";
    const FORWARDED_BYTES: usize = (1 << 20) + TEXT.len();
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        // For each engine: one connection that echoes all bytes and closes, and one that its client closes.
        for _ in 0..2 {
            let (mut stream, _) = upstream.accept().unwrap();
            let (mut bytes, mut echoed) = ([0; 4096], 0);
            while echoed < FORWARDED_BYTES {
                let count = stream.read(&mut bytes).unwrap();
                assert_ne!(count, 0, "the end after {echoed} bytes");
                stream.write_all(&bytes[..count]).unwrap();
                echoed += count;
            }
            drop(stream);
            let (mut stream, _) = upstream.accept().unwrap();
            assert_eq!(stream.read(&mut bytes).unwrap(), 0, "the upstream connection ends with the client");
        }
    });
    on_both_engines("proxy", &["--upstream", &address], async |example| {
        let client = Client::open(example, "/tcp").await;
        let (mut sending, receiving) = client.0.split();
        let data = pattern(1 << 20);
        let send = async {
            for piece in data.chunks(100_000) {
                sending.send(Message::binary(piece.to_vec())).await.unwrap();
            }
            sending.send(TEXT.into()).await.unwrap();
            sending
        };
        let expected = [&data[..], TEXT.as_bytes()].concat();
        let receive = async {
            let (mut receiving, mut received) = (receiving, Vec::new());
            while received.len() < expected.len() {
                received.extend(receiving.next().await.unwrap().unwrap().into_data());
            }
            assert!(received == expected, "the bytes came back changed");
            receiving
        };
        let (sending, receiving) = futures_util::future::join(send, receive).await;
        Client(sending.reunite(receiving).unwrap()).expect_close(1000, "the upstream closed").await;
        Client::open(example, "/tcp").await.close().await;
    });
    server.join().unwrap();
}

/// Sends a request to an example and returns its response, head and content.
fn fetch(example: &Example, request: &str, content: &str) -> String {
    let mut stream = std::net::TcpStream::connect(example.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = content.len();
    let rest = format!("Host: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{content}");
    stream.write_all(format!("{request}\r\n{rest}").as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Its other tests are in `examples/notes/tests.rs`.
#[test]
fn app_has_users_notes_events_and_a_room() {
    on_both_engines("app", &[], async |example| {
        assert!(fetch(example, "GET / HTTP/1.1", "").contains("<title>Notes</title>"));
        assert!(fetch(example, "POST /notes HTTP/1.1", "\"no\"").starts_with("HTTP/1.1 401 "));
        let form = "POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
        let login = fetch(example, form, "name=Ann&password=tide");
        let cookie = login.split("session=").nth(1).and_then(|rest| rest.split(';').next()).expect("a session");
        let user = format!("Cookie: session={cookie}");

        let mut events = std::net::TcpStream::connect(example.address).unwrap();
        events.set_read_timeout(Some(PATIENCE)).unwrap();
        events.write_all(b"GET /events HTTP/1.0\r\n\r\n").unwrap();
        let mut events = std::io::BufReader::new(events).lines();
        // The stream is a member before its first byte: its head is sent with the first poll of its content.
        assert!(events.by_ref().map(|line| line.unwrap()).any(|line| line.is_empty()));
        let json = format!("POST /notes HTTP/1.1\r\n{user}\r\nContent-Type: application/json");
        assert!(fetch(example, &json, "\"buy milk\"").starts_with("HTTP/1.1 201 "));
        let note = "{\"id\":1,\"author\":\"Ann\",\"text\":\"buy milk\"}";
        assert!(fetch(example, "GET /notes HTTP/1.1", "").ends_with(&format!("[{note}]")));
        assert!(events.by_ref().map(|line| line.unwrap()).any(|line| line == format!("data: {note}")));

        let mut request =
            tungstenite::ClientRequestBuilder::new(format!("ws://{}/room", example.address).parse().unwrap());
        request = request.with_header("Cookie", format!("session={cookie}"));
        let mut room = Client(connect_async(request).await.unwrap().0);
        room.ask("hello", "Ann: hello").await;
        room.close().await;
        assert!(fetch(example, "GET /metrics HTTP/1.1", "").contains("app_notes 1\n"));
        assert!(fetch(example, &format!("DELETE /notes/1 HTTP/1.1\r\n{user}"), "").starts_with("HTTP/1.1 204 "));
    });
}

#[test]
fn a_proxy_without_an_upstream_closes_with_1013() {
    // Bound, which reserves the port, but not listening.
    let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    reserved.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = reserved.local_addr().unwrap().as_socket().unwrap().to_string();
    on_both_engines("proxy", &["--upstream", &address], async |example| {
        Client::open(example, "/tcp").await.expect_close(1013, "the upstream is unreachable").await;
    });
}

#[test]
fn every_example_prints_its_options_with_defaults() {
    for name in examples() {
        let output = run(&name, &["--help"]);
        let help = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {help}");
        assert!(help.contains(&format!("\n\nUsage: {name} [OPTIONS]")), "{name}: {help}");
        for line in help.lines().filter(|line| line.starts_with("  --")) {
            assert!(!takes_value(line) || line.contains(" [default: "), "{name}: {line}");
        }
    }
}

#[test]
fn every_example_refuses_unknown_options_and_missing_values() {
    for name in examples() {
        let help = String::from_utf8(run(&name, &["--help"]).stdout).unwrap();
        let valued = help.lines().filter(|line| takes_value(line)).filter_map(|line| line.split_whitespace().next());
        for option in valued.chain(["--no-such-option"]) {
            for rest in [&[][..], &["--help"]] {
                let output = run(&name, &[&[option], rest].concat());
                let errors = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(2), "{name} {option}: {errors}");
                assert!(errors.contains(&format!("option '{option}'")), "{name} {option}: {errors}");
                assert!(output.stdout.is_empty(), "{name} {option}");
            }
        }
    }
}

#[test]
fn echo_refuses_half_of_the_options_of_tls() {
    for arguments in [["--tls-cert", "a.pem"], ["--tls-key", "a.pem"], ["--client-ca", "a.pem"]] {
        let output = run("echo", &[&arguments[..], &["--addr", "127.0.0.1:0"]].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains("TLS needs both --tls-cert and --tls-key"), "{arguments:?}: {errors}");
    }
}

/// Returns the names of all examples.
fn examples() -> Vec<String> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap();
    let names: Vec<String> = folder
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    assert!(names.iter().any(|name| name == "echo"), "{names:?}");
    names
}

/// Whether this line of a help text is about an option with a value: a placeholder follows the name.
fn takes_value(line: &str) -> bool {
    line.strip_prefix("  --").is_some_and(|line| line.split(' ').nth(1).is_some_and(|word| !word.is_empty()))
}

/// Runs an example that exits by itself.
fn run(name: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program(name));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("{name} {arguments:?} does not exit");
        }
        thread::yield_now();
    }
    child.wait_with_output().unwrap()
}
