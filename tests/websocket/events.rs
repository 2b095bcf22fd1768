//! Event handlers: the order of their calls, their errors, and what is theirs alone. The other tests run with echoes of
//! both kinds where the peer sees no difference.

use std::any::type_name;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use tidegate::prelude::*;
use tidegate::spawn_local;
use tidegate::websocket::{
    CloseEvent, Disconnected, Error, EventHandle, EventHandler, EventSocket, HandlerError, KeepaliveConfig, UsageError,
    upgrade_events,
};

use crate::handler::{Gate, Reports, reports, wait_until};
use crate::keepalive;
use crate::support::client::{BINARY, Client, HANDSHAKE, PATIENCE, PING, PONG, TEXT, close_frame, frame, pattern};
use crate::support::servers::{Echo, Setup, TestServer, on_every_engine, setups};

const SHORT: Duration = Duration::from_millis(100);

/// Runs `test` on every setup, with async echoes and with those that are event handlers.
pub fn on_every_engine_and_style(test: impl Fn(&Setup)) {
    for setup in setups() {
        for events in [false, true] {
            println!("on {}, events: {events}", setup.name);
            test(&Setup { events, ..setup.clone() });
        }
    }
}

/// Reports each of its calls as a line, and does what messages say.
struct Scripted(Sender<String>);

/// Reports its drop.
struct State {
    messages: usize,
    report: Sender<String>,
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = self.report.send("dropped".into());
    }
}

impl Scripted {
    fn start(setup: &Setup, config: WebSocketConfig) -> (TestServer, Reports<String>) {
        let (report, reports) = reports();
        (TestServer::serve_events(setup, config, Self(report)), reports)
    }

    fn report(&self, line: impl Into<String>) {
        let _ = self.0.send(line.into());
    }
}

impl EventHandler for Scripted {
    type State = State;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<State> {
        self.report("open");
        ws.send("welcome")?;
        Ok(State { messages: 0, report: self.0.clone() })
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        state: &mut State,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        state.messages += 1;
        self.report(format!("message {}", state.messages));
        match message.as_text() {
            Some("fail") => return Err(HandlerError::new("as the test asked for")),
            Some("parse") => drop("secret".parse::<u64>()?),
            Some("refuse") => return Err(HandlerError::close(CloseCode::new(4123), "not today")),
            Some("misuse") => ws.ping(&[0; 126])?,
            Some("join") => drop(ws.subscribe("lobby")?),
            Some("publish") => ws.publish("lobby", "to nobody")?,
            Some("overload") => return Err(Error::Full.into()),
            Some("close") => {
                ws.close(CloseCode::new(4000), "bye")?;
                let refused = ws.send("too late").expect_err("the close frame is the last");
                assert!(refused.is_close_sent(), "{refused}");
                let refused = ws.close(CloseCode::ABNORMAL, "").expect_err("1006 is never sent");
                assert!(matches!(refused, Error::Usage(UsageError::CloseCodeNotSendable { .. })), "{refused:?}");
            }
            Some("abort") => ws.abort(),
            Some("wait") => ws.set_read_deadline(Some(Instant::now())),
            Some("panic") => panic!("as the test asked for"),
            _ => ws.send(message)?,
        }
        Ok(())
    }

    fn on_ping(&self, _ws: &mut EventSocket<'_, Self>, _state: &mut State, payload: &[u8]) -> websocket::Result {
        self.report(format!("ping {}", payload.escape_ascii()));
        Ok(())
    }

    fn on_pong(&self, _ws: &mut EventSocket<'_, Self>, _state: &mut State, payload: &[u8]) -> websocket::Result {
        self.report(format!("pong {}", payload.escape_ascii()));
        Ok(())
    }

    fn on_close(&self, state: State, event: &CloseEvent<'_>) {
        let (code, reason) = (event.code().value(), event.reason());
        let error = event.error().map_or_else(String::new, |error| format!(", {error}"));
        self.report(format!("close {code} {reason:?} after {}{error}", state.messages));
    }
}

/// Checks the calls, in their order.
#[track_caller]
fn expect(reports: &Reports<String>, lines: &[&str]) {
    for line in lines {
        assert_eq!(reports.next(), *line);
    }
}

#[test]
fn calls_come_in_the_order_of_the_events() {
    on_every_engine(|setup| {
        let (server, reports) = Scripted::start(setup, WebSocketConfig::default());
        let mut client = Client::connect(server.address);
        // All at once: the calls are made one by one.
        let events = [
            HANDSHAKE.as_bytes().to_vec(),
            frame(TEXT, b"hello"),
            frame(PING, b"are you there"),
            frame(BINARY, &pattern(10_000)),
            frame(PONG, b"unasked"),
            close_frame(4321, "enough"),
        ];
        client.write(&events.concat());
        client.expect_upgraded();
        client.expect(TEXT, b"welcome");
        client.expect(TEXT, b"hello");
        client.expect(PONG, b"are you there");
        client.expect(BINARY, &pattern(10_000));
        assert_eq!(client.expect_close(4321), "enough");
        client.expect_end();
        expect(&reports, &["open", "message 1", "ping are you there", "message 2", "pong unasked"]);
        expect(&reports, &["close 4321 \"enough\" after 2", "dropped"]);
        server.finish();
        assert!(reports.is_over());
    });
}

/// As that of an async handler.
#[test]
fn the_error_of_a_call_decides_on_the_close_code() {
    let table = [
        ("fail", 1011, "", ", as the test asked for"),
        ("parse", 1011, "", ", invalid digit found in string"),
        ("refuse", 4123, "not today", ", closed with 4123 \"not today\""),
        ("misuse", 1011, "", ""),
        ("join", 1011, "", ", the event handler has no hub"),
        ("publish", 1011, "", ", the event handler has no hub"),
        ("overload", 1013, "", ""),
        ("wait", 1001, "", ""),
        ("close", 4000, "bye", ""),
    ];
    on_every_engine(|setup| {
        let (server, reports) = Scripted::start(setup, WebSocketConfig::default());
        for (command, code, reason, error) in table {
            let mut client = Client::open(server.address);
            client.expect(TEXT, b"welcome");
            client.send(TEXT, command.as_bytes());
            assert_eq!(client.expect_close(code), reason, "{command}: the text of an error is not sent");
            client.send(TEXT, b"messages after our close frame are dropped");
            client.write(&close_frame(code, ""));
            client.expect_end();
            expect(&reports, &["open", "message 1"]);
            let close = reports.next();
            let expected = format!("close {code} \"\" after 1{error}");
            assert!(close.starts_with(&expected), "{command}: {close}, expected {expected}");
            expect(&reports, &["dropped"]);
        }
        server.finish();
    });
}

/// The state is dropped without another call, and the server goes on.
#[test]
fn a_panic_closes_with_1011_and_ends_only_its_connection() {
    on_every_engine(|setup| {
        let (report, calls) = reports();
        let (ended, endings) = reports();
        let upgrade = upgrade_events(Scripted(report)).on_disconnect(move |event: &Disconnected<'_>| {
            let _ = ended.send(event.panicked());
        });
        let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
        let mut other = Client::open(server.address);
        other.expect(TEXT, b"welcome");
        expect(&calls, &["open"]);
        let mut client = Client::open(server.address);
        client.expect(TEXT, b"welcome");
        client.send(TEXT, b"panic");
        client.expect_close(1011);
        client.expect_end();
        expect(&calls, &["open", "message 1", "dropped"]);
        assert!(endings.next());
        other.check_echo(TEXT, b"unaffected");
        other.close();
        expect(&calls, &["message 1", "close 1000 \"\" after 1", "dropped"]);
        assert!(!endings.next());
        server.finish();
    });
}

#[test]
fn a_connection_that_is_lost_or_aborted_is_closed_with_1006() {
    on_every_engine(|setup| {
        let (server, reports) = Scripted::start(setup, WebSocketConfig::default());
        let mut client = Client::open(server.address);
        client.expect(TEXT, b"welcome");
        client.finish_writing();
        client.expect_end();
        expect(&reports, &["open"]);
        let close = reports.next();
        assert!(close.starts_with("close 1006 \"\" after 0, the peer ended the connection"), "{close}");
        expect(&reports, &["dropped"]);
        let mut client = Client::open(server.address);
        client.expect(TEXT, b"welcome");
        // What follows in the same bytes is not delivered.
        client.write(&[frame(TEXT, b"abort"), frame(TEXT, b"too late")].concat());
        client.expect_reset();
        expect(&reports, &["open", "message 1"]);
        let close = reports.next();
        assert!(close.starts_with("close 1006 \"\" after 1, connection closed"), "{close}");
        expect(&reports, &["dropped"]);
        server.finish();
    });
}

/// The peer answers the 1001 of a shutdown, or does not: `on_close` comes once, also if the thread ends first.
#[test]
fn a_shutdown_closes_every_connection_once() {
    on_every_engine(|setup| {
        for answers in [true, false] {
            let (server, reports) = Scripted::start(setup, WebSocketConfig::default());
            let mut clients: Vec<_> = (0..10).map(|_| Client::open(server.address)).collect();
            clients.iter_mut().for_each(|client| client.expect(TEXT, b"welcome"));
            expect(&reports, &["open"; 10]);
            server.running.handle().begin_shutdown(Shutdown::default().drain_timeout(if answers {
                PATIENCE
            } else {
                SHORT
            }));
            let silent: Vec<_> = clients
                .into_iter()
                .filter_map(|mut client| {
                    client.expect_close(1001);
                    if !answers {
                        return Some(client);
                    }
                    client.write(&close_frame(1001, ""));
                    client.expect_end();
                    None
                })
                .collect();
            // Handler threads report their connections side by side.
            let mut ends: Vec<_> = (0..20).map(|_| reports.next()).collect();
            ends.sort_unstable();
            let code = if answers { "close 1001" } else { "close 1006" };
            assert!(ends[..10].iter().all(|end| end.starts_with(code)), "{ends:?}");
            assert!(ends[10..].iter().all(|end| end == "dropped"), "{ends:?}");
            let report = server.running.join();
            assert_eq!((report.drained, report.forced), if answers { (10, 0) } else { (0, 10) });
            assert!(reports.is_over());
            drop(silent);
        }
    });
}

/// Sends until it is refused, and again when the queue has drained.
struct Pushy {
    report: Sender<(usize, &'static str)>,
    rounds: usize,
}

const PUSHED_BYTES: usize = 60_000;

impl Pushy {
    fn push(&self, ws: &mut EventSocket<'_, Self>, sent: &mut usize) -> websocket::Result {
        assert!(!ws.is_full());
        loop {
            let mut message = vec![0; PUSHED_BYTES];
            message[..8].copy_from_slice(&sent.to_be_bytes());
            match ws.send(&message) {
                Ok(()) => *sent += 1,
                Err(Error::Full) => break,
                Err(error) => return Err(error.into()),
            }
        }
        assert!(ws.is_full() && ws.buffered_amount() > 0);
        self.report.send((*sent, "full"))?;
        Ok(())
    }
}

impl EventHandler for Pushy {
    type State = (usize, usize);

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<(usize, usize)> {
        let mut sent = 0;
        self.push(ws, &mut sent)?;
        Ok((sent, 1))
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        (sent, _): &mut (usize, usize),
        _message: MessageRef<'_>,
    ) -> websocket::Result {
        self.report.send((*sent, "message"))?;
        Ok(ws.send("the last")?)
    }

    fn on_drained(&self, ws: &mut EventSocket<'_, Self>, (sent, round): &mut (usize, usize)) -> websocket::Result {
        self.report.send((*sent, "drained"))?;
        if *round < self.rounds {
            *round += 1;
            self.push(ws, sent)?;
        }
        Ok(())
    }
}

/// Nothing accepted is lost, nothing is delivered while the queue is full, and the call comes when it has emptied.
#[test]
fn a_full_queue_refuses_sends_until_it_has_drained() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Pushy { report, rounds: 3 });
        let mut client = Client::open(server.address);
        let (first, what) = reports.next();
        assert_eq!(what, "full");
        let high = setup.config.outbound.bytes_high;
        assert!(first * PUSHED_BYTES >= high && (first - 1) * PUSHED_BYTES < high + (8 << 20), "{first} messages");
        client.send(TEXT, b"not yet");
        let mut sent = first;
        let mut received = 0_usize;
        for round in 1..=3 {
            while received < sent {
                let frame = client.next().expect("a message");
                assert!(frame.payload.len() == PUSHED_BYTES && frame.payload[..8] == received.to_be_bytes());
                received += 1;
            }
            assert_eq!(reports.next(), (sent, "drained"));
            if round < 3 {
                let (more, what) = reports.next();
                assert!(more > sent && what == "full", "{more} {what}");
                sent = more;
            }
        }
        assert_eq!(reports.next(), (sent, "message"));
        client.expect(TEXT, b"the last");
        client.close();
        server.finish();
    });
}

/// Pauses at each message; its handles resume it.
struct Paused(Sender<EventHandle<Self>>);

impl EventHandler for Paused {
    type State = usize;

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result<usize> {
        Ok(0)
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        messages: &mut usize,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        *messages += 1;
        ws.pause();
        ws.send(message)?;
        self.0.send(ws.handle())?;
        Ok(())
    }
}

#[test]
fn a_handle_calls_with_the_state_from_any_thread() {
    on_every_engine(|setup| {
        let (report, handles) = reports();
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Paused(report));
        let mut client = Client::open(server.address);
        client.write(&[frame(TEXT, b"first"), frame(TEXT, b"second")].concat());
        client.expect(TEXT, b"first");
        let handle = handles.next();
        handle
            .post(|ws, messages| {
                ws.send(&format!("{messages} so far"))?;
                Ok(())
            })
            .unwrap();
        client.expect(TEXT, b"1 so far");
        let resumed = handle.clone();
        std::thread::spawn(move || {
            resumed.post(|ws, _| {
                ws.resume();
                Ok(())
            })
        });
        client.expect(TEXT, b"second");
        handles.next();
        handle.sender().try_send("from the sender").unwrap();
        client.expect(TEXT, b"from the sender");
        handle.post(|_, _| Err(HandlerError::close(CloseCode::new(4001), "posted"))).unwrap();
        assert_eq!(client.expect_close(4001), "posted");
        client.write(&close_frame(4001, ""));
        client.expect_end();
        wait_until("the end of the connection", || handle.post(|_, _| unreachable!("it has ended")).is_err());
        server.finish();
    });
}

/// Opens a connection whose delivery is paused. `behind` arrives with the message that does it.
fn paused(setup: &Setup, config: WebSocketConfig, behind: &[u8]) -> (TestServer, Client, EventHandle<Paused>) {
    let (report, handles) = reports();
    let server = TestServer::serve_events(setup, config, Paused(report));
    let mut client = Client::open(server.address);
    client.write(&[&frame(TEXT, b"pause")[..], behind].concat());
    client.expect(TEXT, b"pause");
    let handle = handles.next();
    (server, client, handle)
}

/// The loss of the peer of a paused connection is noticed.
#[test]
fn a_paused_connection_ends_with_its_peer() {
    on_every_engine(|setup| {
        let (server, client, handle) = paused(setup, WebSocketConfig::default(), b"");
        // Unread bytes make the kernel reset.
        handle.sender().try_send("unread").unwrap();
        wait_until("the message", || handle.sender().queued_bytes() == 0);
        drop(client);
        wait_until("the end of the connection", || handle.post(|_, _| Ok(())).is_err());
        server.finish();
    });
}

/// The peer's answer to a close frame is read, whoever has sent it, and not waited for forever.
#[test]
fn a_close_frame_of_another_sender_ends_a_pause() {
    on_every_engine(|setup| {
        for answers in [true, false] {
            let close_timeout = if answers { PATIENCE } else { SHORT };
            let config = WebSocketConfig::default().close_timeout(close_timeout);
            let (server, mut client, handle) = paused(setup, config, &frame(TEXT, b"not answered"));
            handle.sender().close(CloseCode::new(4002), "from elsewhere").unwrap();
            assert_eq!(client.expect_close(4002), "from elsewhere");
            if answers {
                client.write(&close_frame(4002, ""));
            }
            client.expect_end();
            wait_until("the end of the connection", || handle.post(|_, _| Ok(())).is_err());
            server.finish();
        }
    });
}

#[test]
fn a_shutdown_ends_a_pause() {
    on_every_engine(|setup| {
        let (server, mut client, handle) = paused(setup, WebSocketConfig::default(), b"");
        server.running.handle().begin_shutdown(Shutdown::default());
        client.expect_close(1001);
        client.write(&close_frame(1001, ""));
        client.expect_end();
        let report = server.running.join();
        assert_eq!((report.drained, report.forced), (1, 0));
        assert!(handle.post(|_, _| Ok(())).is_err());
    });
}

/// Answers each message with many bytes, once the gate is open.
struct Generous {
    gate: Gate,
    report: Sender<()>,
}

const ANSWERS: usize = 60;
const ANSWER_BYTES: usize = 500_000;

impl EventHandler for Generous {
    type State = usize;

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result<usize> {
        Ok(0)
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut usize, _message: MessageRef<'_>) -> websocket::Result {
        let (gate, report) = (self.gate.clone(), self.report.clone());
        let work = async move {
            gate.pass().await;
            let _ = report.send(());
        };
        ws.spawn(work, |ws, answered, ()| {
            let mut answer = vec![0; ANSWER_BYTES];
            answer[..8].copy_from_slice(&answered.to_be_bytes());
            *answered += 1;
            Ok(ws.send(&answer)?)
        });
        Ok(())
    }
}

/// Work that ends while the queue is full waits for space: each answer is sent, and no error is met.
#[test]
fn spawned_answers_wait_for_a_peer_that_does_not_read() {
    on_every_engine(|setup| {
        let (report, done) = reports();
        let gate = Gate::default();
        let handler = Generous { gate: gate.clone(), report };
        // Of other calls: answers are not refused.
        let config = WebSocketConfig::default().posted_calls_max(1);
        let server = TestServer::serve_events(setup, config, handler);
        let mut client = Client::open(server.address);
        client.write(&[&frame(TEXT, b"an answer, please").repeat(ANSWERS)[..], &frame(PING, b"all read")].concat());
        client.expect(PONG, b"all read");
        gate.open();
        (0..ANSWERS).for_each(|_| done.next());
        for number in 0..ANSWERS {
            let frame = client.next().expect("an answer");
            assert!(frame.payload.len() == ANSWER_BYTES && frame.payload[..8] == number.to_be_bytes(), "{number}");
        }
        client.close();
        server.finish();
    });
}

/// Sends as much as it can.
struct Flood {
    handles: Sender<EventHandle<Self>>,
    goes_on: Arc<AtomicBool>,
}

impl Flood {
    fn fill(&self, ws: &mut EventSocket<'_, Self>) {
        while self.goes_on.load(Ordering::Relaxed) && ws.send(&[0; PUSHED_BYTES]).is_ok() {}
    }
}

impl EventHandler for Flood {
    type State = usize;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<usize> {
        self.handles.send(ws.handle())?;
        self.fill(ws);
        Ok(0)
    }

    fn on_message(&self, _ws: &mut EventSocket<'_, Self>, _: &mut usize, _: MessageRef<'_>) -> websocket::Result {
        Ok(())
    }

    fn on_drained(&self, ws: &mut EventSocket<'_, Self>, _: &mut usize) -> websocket::Result {
        self.fill(ws);
        Ok(())
    }
}

/// While a peer does not read, calls are refused beyond their bound. Those that were accepted run, in their order.
#[test]
fn the_calls_that_wait_are_bounded() {
    const CALLS_MAX: usize = 10;
    on_every_engine(|setup| {
        let (report, handles) = reports();
        let goes_on = Arc::new(AtomicBool::new(true));
        let handler = Flood { handles: report, goes_on: Arc::clone(&goes_on) };
        let config = WebSocketConfig::default().posted_calls_max(CALLS_MAX);
        let server = TestServer::serve_events(setup, config, handler);
        let mut client = Client::open(server.address);
        let handle = handles.next();
        let ran = Arc::new(AtomicUsize::new(0));
        let mut accepted = 0;
        let post = |number: usize| {
            let ran = Arc::clone(&ran);
            let posted = handle.post(move |_, calls| {
                assert_eq!(*calls, number, "in order");
                *calls += 1;
                ran.store(*calls, Ordering::SeqCst);
                Ok(())
            });
            match posted {
                Ok(()) => true,
                Err(Error::TooManyCalls) => false,
                Err(error) => panic!("{error}"),
            }
        };
        wait_until("the bound", || {
            let is_accepted = post(accepted);
            accepted += usize::from(is_accepted);
            !is_accepted
        });
        assert!(accepted >= CALLS_MAX && accepted - ran.load(Ordering::SeqCst) <= CALLS_MAX);
        goes_on.store(false, Ordering::Relaxed);
        let reader = std::thread::spawn(move || {
            while client.next().expect("a frame").first == BINARY {}
            client
        });
        wait_until("the calls", || ran.load(Ordering::SeqCst) == accepted);
        assert!(post(accepted));
        wait_until("one more", || ran.load(Ordering::SeqCst) == accepted + 1);
        handle.sender().try_send("the last").unwrap();
        let client = reader.join().expect("the reader");
        client.close();
        server.finish();
    });
}

/// Answers each message when the gate is open.
struct Slow(Gate);

impl EventHandler for Slow {
    type State = usize;

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result<usize> {
        Ok(0)
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        _answered: &mut usize,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        let (gate, text) = (self.0.clone(), message.as_text().unwrap_or_default().to_owned());
        let work = async move {
            gate.pass().await;
            text.to_uppercase()
        };
        ws.spawn(work, |ws, answered, text| {
            *answered += 1;
            Ok(ws.send(&format!("{answered}: {text}"))?)
        });
        Ok(())
    }
}

#[test]
fn spawned_work_comes_back_with_its_output() {
    on_every_engine(|setup| {
        let gate = Gate::default();
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Slow(gate.clone()));
        let mut leaving = Client::open(server.address);
        leaving.send(TEXT, b"never answered");
        leaving.close();
        let mut client = Client::open(server.address);
        client.write(&[frame(TEXT, b"one"), frame(TEXT, b"two"), frame(PING, b"delivered meanwhile")].concat());
        client.expect(PONG, b"delivered meanwhile");
        gate.open();
        let mut answers =
            [client.next(), client.next()].map(|frame| String::from_utf8(frame.unwrap().payload).unwrap());
        answers.sort();
        assert!(answers[0].starts_with("1: ") && answers[1].starts_with("2: "), "{answers:?}");
        client.close();
        server.finish();
    });
}

/// Keeps the deadline and the timeouts that it sets at the start.
struct Timed(Sender<Instant>);

impl EventHandler for Timed {
    type State = Instant;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<Instant> {
        let deadline = Instant::now() + SHORT;
        ws.set_read_deadline(Some(deadline));
        Ok(deadline)
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        _: &mut Instant,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        match message.as_text() {
            Some("idle") => ws.set_idle_timeout(Some(SHORT)),
            Some("ping") => ws.set_keepalive(Some(KeepaliveConfig::default().interval(SHORT))),
            Some("limit") => ws.set_message_bytes_max(10),
            _ => {}
        }
        Ok(ws.send(message)?)
    }

    fn on_deadline(&self, ws: &mut EventSocket<'_, Self>, deadline: &mut Instant) -> websocket::Result {
        self.0.send(*deadline)?;
        Ok(ws.send("say something")?)
    }
}

#[test]
fn deadlines_and_timeouts_can_be_set_in_calls() {
    on_every_engine(|setup| {
        let (report, deadlines) = reports();
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Timed(report));
        let mut client = Client::open(server.address);
        client.expect(TEXT, b"say something");
        assert!(deadlines.next() <= Instant::now());
        client.check_echo(TEXT, b"the deadline applies once");
        client.send(TEXT, b"ping");
        client.expect(TEXT, b"ping");
        assert_eq!(client.next().map(|frame| frame.first), Some(PING));
        client.close_between_pings();

        let mut client = Client::open(server.address);
        client.expect(TEXT, b"say something");
        client.check_echo(TEXT, b"limit");
        client.check_echo(TEXT, b"0123456789");
        client.send(TEXT, b"0123456789a");
        client.expect_close(1009);
        client.expect_end();

        let mut client = Client::open(server.address);
        client.expect(TEXT, b"say something");
        client.check_echo(TEXT, b"idle");
        assert_eq!(client.expect_close(1001), "idle");
        client.write(&close_frame(1001, ""));
        client.expect_end();
        server.finish();
    });
}

/// Pongs of the keepalive are found between messages, and are not the application's.
#[test]
fn messages_go_on_beside_a_keepalive() {
    on_every_engine(|setup| {
        let (server, reports) = Scripted::start(setup, keepalive::config(keepalive::SHORT, keepalive::PATIENT));
        let mut client = Client::open(server.address);
        assert_eq!(client.next_between_pings().payload, b"welcome");
        expect(&reports, &["open"]);
        for round in 0..4 {
            let ping = client.next_ping();
            client.write(&[frame(TEXT, b"before"), frame(PONG, &ping), frame(TEXT, b"after")].concat());
            for text in [&b"before"[..], b"after"] {
                assert_eq!(client.next_between_pings().payload, text);
            }
            client.send(TEXT, b"alone");
            assert_eq!(client.next_between_pings().payload, b"alone");
            expect(
                &reports,
                &[1, 2, 3].map(|at| format!("message {}", 3 * round + at)).each_ref().map(|line| &line[..]),
            );
        }
        client.close_between_pings();
        expect(&reports, &["close 1000 \"\" after 12", "dropped"]);
        server.finish();
    });
}

/// A chat in rooms.
struct Rooms(Hub);

impl EventHandler for Rooms {
    type State = ();

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        match message.as_text().unwrap_or_default().split_once(' ') {
            Some(("join", room)) => assert!(ws.subscribe(room)? && !ws.subscribe(room)?),
            Some(("leave", room)) => assert!(ws.unsubscribe(room) && !ws.unsubscribe(room)),
            Some(("all", text)) => {
                // To itself too, and before what it sends afterwards.
                self.0.publish("lobby", text).try_queue()?;
            }
            Some((room, text)) => ws.publish(room, text)?,
            None => {}
        }
        Ok(ws.send(&ws.subscriptions().join(","))?)
    }

    fn hub(&self) -> Option<&Hub> {
        Some(&self.0)
    }
}

#[test]
fn connections_meet_in_rooms() {
    on_every_engine(|setup| {
        let hub: Hub = Hub::default();
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Rooms(hub.clone()));
        let mut clients = [Client::open(server.address), Client::open(server.address)];
        for client in &mut clients {
            client.send(TEXT, b"join lobby");
            client.expect(TEXT, b"lobby");
        }
        clients[0].send(TEXT, b"lobby from the first");
        clients[0].expect(TEXT, b"lobby");
        clients[1].expect(TEXT, b"from the first");
        for number in 0..20 {
            let text = format!("number {number}");
            clients[1].send(TEXT, format!("all {text}").as_bytes());
            clients[1].expect(TEXT, text.as_bytes());
            clients[1].expect(TEXT, b"lobby");
            clients[0].expect(TEXT, text.as_bytes());
        }
        clients[0].send(TEXT, b"leave lobby");
        clients[0].expect(TEXT, b"");
        assert_eq!((hub.len(), hub.room_len("lobby")), (1, 1));
        let [first, second] = clients;
        first.close();
        second.close();
        wait_until("the members to leave", || hub.is_empty() && hub.rooms().is_empty());
        server.finish();
    });
}

/// What an upgrade knows of a request reaches the handler.
struct Curious;

struct Name(String);

impl EventHandler for Curious {
    type State = ();

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        let path = ws.request().map_or("no request", |head| head.path());
        let name = ws.extension::<Name>().map_or_else(String::new, |name| name.0.clone());
        let (protocol, peer) = (ws.subprotocol().unwrap_or("none"), ws.peer_addr().ip().is_some());
        let text = format!("{path} {name} {protocol} {peer} {}", ws.local_addr());
        Ok(ws.send(&text)?)
    }

    fn on_message(&self, _ws: &mut EventSocket<'_, Self>, _: &mut (), _message: MessageRef<'_>) -> websocket::Result {
        Ok(())
    }
}

#[test]
fn the_settings_and_hooks_of_an_upgrade_apply() {
    on_every_engine(|setup| {
        let upgrade = upgrade_events(Curious)
            .keep_request()
            .subprotocols(["tide.v1"])
            .authorize(async |head: &web::RequestHead| match head.header("x-name") {
                Some("nobody") => Err(http_status(403)),
                name => Ok(Name(name.unwrap_or("unnamed").to_owned())),
            })
            .on_connect(async |ws| Ok(ws.send("connected").await?));
        let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
        let handshake = |field: &str| HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"));
        let mut client = Client::connect(server.address);
        client.write(handshake("X-Name: Ada\r\nSec-WebSocket-Protocol: tide.v1").as_bytes());
        client.expect_upgraded();
        client.expect(TEXT, b"connected");
        client.expect(TEXT, format!("/ws Ada tide.v1 true {}", server.address).as_bytes());
        client.close();
        let mut client = Client::connect(server.address);
        client.write(handshake("X-Name: nobody").as_bytes());
        assert_eq!(client.http_response().status, 403);
        drop(client);
        server.finish();
    });
}

fn http_status(status: u16) -> Response {
    Response::text("").with_status(tidegate::http::StatusCode::from_u16(status).unwrap())
}

/// Counts its states.
struct Counted {
    open: Arc<AtomicUsize>,
}

struct Token(Arc<AtomicUsize>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EventHandler for Counted {
    type State = Token;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<Token> {
        self.open.fetch_add(1, Ordering::Relaxed);
        let token = Token(Arc::clone(&self.open));
        ws.send("open")?;
        Ok(token)
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut Token, message: MessageRef<'_>) -> websocket::Result {
        Ok(ws.send(message)?)
    }
}

/// Places are used again by later connections, and nothing of the earlier ones is left.
#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    on_every_engine(|setup| {
        let open = Arc::new(AtomicUsize::new(0));
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Counted { open: Arc::clone(&open) });
        let mut clients: Vec<_> = (0..40).map(|_| Client::open(server.address)).collect();
        for round in 0..4 {
            for client in &mut clients {
                client.expect(TEXT, b"open");
                client.check_echo(BINARY, &[round; 100]);
            }
            for (at, client) in clients.iter_mut().enumerate().filter(|(at, _)| at % 3 != usize::from(round) % 3) {
                let old = std::mem::replace(client, Client::open(server.address));
                if at % 2 == 0 { old.close() } else { drop(old) }
            }
            for (_, client) in clients.iter_mut().enumerate().filter(|(at, _)| at % 3 == usize::from(round) % 3) {
                client.send(TEXT, b"open");
            }
        }
        clients.iter_mut().for_each(|client| client.expect(TEXT, b"open"));
        wait_until("the earlier states to be dropped", || open.load(Ordering::Relaxed) == 40);
        clients.into_iter().for_each(Client::close);
        server.finish();
        assert_eq!(open.load(Ordering::Relaxed), 0);
    });
}

/// A thread has at most 255 tables. Connections of further handlers are served by tasks, and see no difference.
#[test]
fn any_number_of_handlers_can_be_served() {
    const HANDLERS: usize = 258;
    let setup = setups().into_iter().find(|setup| setup.name == "uring/inline").expect("a setup of this name");
    let mut app = Router::new();
    for number in 0..HANDLERS {
        app = app.get(&format!("/{number}"), upgrade_events(Echo));
    }
    let server = TestServer::start(&setup, app);
    let mut clients = Vec::new();
    for number in 0..HANDLERS {
        let mut client = Client::connect(server.address);
        client.write(HANDSHAKE.replace("GET /ws ", &format!("GET /{number} ")).as_bytes());
        client.expect_upgraded();
        clients.push(client);
    }
    for client in &mut clients {
        client.check_echo(TEXT, b"served");
    }
    clients.into_iter().for_each(Client::close);
    server.finish();
}

/// A task that a call has spawned sends on the connection.
#[test]
fn tasks_of_the_thread_run_beside_events() {
    struct Spawns;
    impl EventHandler for Spawns {
        type State = ();

        fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result {
            let sender = ws.sender();
            spawn_local(async move {
                tidegate::engine::time::sleep(Duration::from_millis(1)).await;
                sender.send("from a task").await
            });
            Ok(())
        }

        fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), _: MessageRef<'_>) -> websocket::Result {
            Ok(ws.send(type_name::<Self>())?)
        }
    }
    on_every_engine(|setup| {
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Spawns);
        let mut client = Client::open(server.address);
        client.expect(TEXT, b"from a task");
        client.close();
        server.finish();
    });
}
