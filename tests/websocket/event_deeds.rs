//! Panics, aborts, closes and errors in each call of an event handler, beside a connection that must go on.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Instant;

use tidegate::prelude::*;
use tidegate::websocket::{
    CloseEvent, Disconnected, EventHandle, EventHandler, EventSocket, HandlerError, upgrade_events,
};

use crate::handler::{Reports, reports, wait_until};
use crate::logging;
use crate::support::client::{CLOSE, Client, HANDSHAKE, PING, PONG, TEXT, close_frame, frame};
use crate::support::servers::{Echo, TestServer, on_every_engine};

/// The call that acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Open,
    Message,
    Ping,
    Pong,
    Drained,
    Deadline,
    Posted,
    Spawned,
}

const PLACES: [Place; 8] = [
    Place::Open,
    Place::Message,
    Place::Ping,
    Place::Pong,
    Place::Drained,
    Place::Deadline,
    Place::Posted,
    Place::Spawned,
];

/// The end that it gives its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Panic,
    Abort,
    Quit,
    Close,
    Fail,
}

const DEEDS: [Deed; 5] = [Deed::Panic, Deed::Abort, Deed::Quit, Deed::Close, Deed::Fail];

struct Doer {
    place: Place,
    deed: Deed,
    hub: Hub,
    report: Sender<Report>,
}

enum Report {
    Opened(EventHandle<Doer>),
    Closed(u16),
    Dropped,
    /// With whether a call has panicked.
    Disconnected(bool),
}

/// Reports its drop. As large as that of a real application.
struct State {
    report: Sender<Report>,
    bytes: [u8; 4096],
}

impl Drop for State {
    fn drop(&mut self) {
        assert_eq!(self.bytes, [7; 4096]);
        let _ = self.report.send(Report::Dropped);
    }
}

impl Doer {
    fn act(deed: Deed, ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        match deed {
            Deed::Panic => panic!("as the test asked for"),
            Deed::Abort => ws.abort(),
            Deed::Quit => ws.quit(),
            Deed::Close => ws.close(CloseCode::new(4000), "")?,
            Deed::Fail => return Err(HandlerError::close(CloseCode::new(4001), "")),
        }
        assert!(ws.is_finished() && ws.send("too late").is_err() && ws.ping(b"").is_err());
        Ok(())
    }

    fn at(&self, place: Place, ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        if self.place == place { Self::act(self.deed, ws) } else { Ok(()) }
    }
}

impl EventHandler for Doer {
    type State = State;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<State> {
        ws.subscribe("room")?;
        if self.place == Place::Deadline {
            ws.set_read_deadline(Some(Instant::now()));
        }
        self.at(Place::Open, ws)?;
        self.report.send(Report::Opened(ws.handle()))?;
        Ok(State { report: self.report.clone(), bytes: [7; 4096] })
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut State, message: MessageRef<'_>) -> websocket::Result {
        match message.as_text() {
            Some("fill") => while ws.send(&[0; 50_000]).is_ok() {},
            Some("spawn") => {
                let deed = self.deed;
                ws.spawn(ready(()), move |ws, _, ()| Self::act(deed, ws));
            }
            _ => self.at(Place::Message, ws)?,
        }
        Ok(())
    }

    fn on_ping(&self, ws: &mut EventSocket<'_, Self>, _: &mut State, _payload: &[u8]) -> websocket::Result {
        self.at(Place::Ping, ws)
    }

    fn on_pong(&self, ws: &mut EventSocket<'_, Self>, _: &mut State, _payload: &[u8]) -> websocket::Result {
        self.at(Place::Pong, ws)
    }

    fn on_drained(&self, ws: &mut EventSocket<'_, Self>, _: &mut State) -> websocket::Result {
        self.at(Place::Drained, ws)
    }

    fn on_deadline(&self, ws: &mut EventSocket<'_, Self>, _: &mut State) -> websocket::Result {
        self.at(Place::Deadline, ws)
    }

    fn on_close(&self, _state: State, event: &CloseEvent<'_>) {
        assert_eq!(event.subscriptions(), ["room".into()]);
        let _ = self.report.send(Report::Closed(event.code().value()));
    }

    fn hub(&self) -> Option<&Hub> {
        Some(&self.hub)
    }
}

fn open(address: SocketAddr, path: &str) -> Client {
    let mut client = Client::connect(address);
    client.write(HANDSHAKE.replacen("/ws", path, 1).as_bytes());
    client.expect_upgraded();
    client
}

/// Reads to the close frame and returns its code; `None` if the stream ends without one.
fn code_of_end(client: &mut Client) -> Option<u16> {
    loop {
        let frame = client.next()?;
        if frame.first == CLOSE {
            return Some(u16::from_be_bytes([frame.payload[0], frame.payload[1]]));
        }
    }
}

#[test]
fn every_deed_in_every_call_ends_its_connection_alone() {
    logging::start();
    on_every_engine(|setup| {
        let hub: Hub = Hub::default();
        let mut app = Router::new().get("/ws", upgrade_events(Echo));
        let mut cases = Vec::new();
        for place in PLACES {
            for deed in DEEDS {
                let (report, reports) = reports();
                let ends = report.clone();
                let doer = upgrade_events(Doer { place, deed, hub: hub.clone(), report }).on_disconnect(
                    move |event: &Disconnected<'_>| {
                        let _ = ends.send(Report::Disconnected(event.panicked()));
                    },
                );
                let path = format!("/{place:?}/{deed:?}");
                app = app.get(&path, doer);
                cases.push((place, deed, path, reports));
            }
        }
        let server = TestServer::start(setup, app);
        let mut neighbour = Client::open(server.address);
        for (place, deed, path, reports) in cases {
            println!("{path}");
            check(place, deed, open(server.address, &path), &path, &reports);
            neighbour.check_echo(TEXT, path.as_bytes());
        }
        wait_until("the members to leave", || hub.is_empty() && hub.rooms().is_empty());
        neighbour.close();
        server.finish();
    });
}

fn check(place: Place, deed: Deed, mut client: Client, path: &str, reports: &Reports<Report>) {
    let peer = client.stream.local_addr().unwrap();
    let has_state = place != Place::Open || !matches!(deed, Deed::Panic | Deed::Fail);
    let handle = has_state.then(|| match reports.next() {
        Report::Opened(handle) => handle,
        _ => panic!("it opens first"),
    });
    match place {
        Place::Open | Place::Deadline => {}
        Place::Message => client.send(TEXT, b"go"),
        // What follows is not delivered.
        Place::Ping => client.write(&[frame(PING, b"go"), frame(PING, b"too late")].concat()),
        Place::Pong => client.write(&[frame(PONG, b"go"), frame(PONG, b"too late")].concat()),
        Place::Drained => client.send(TEXT, b"fill"),
        Place::Posted => handle.as_ref().unwrap().post(move |ws, _| Doer::act(deed, ws)).unwrap(),
        Place::Spawned => client.send(TEXT, b"spawn"),
    }
    let code = match deed {
        Deed::Abort => {
            client.expect_reset();
            1006
        }
        Deed::Quit => {
            assert_eq!(code_of_end(&mut client), None);
            client.expect_end();
            1006
        }
        Deed::Panic => {
            assert_eq!(code_of_end(&mut client), Some(1011));
            client.expect_end();
            logging::wait_for_line(&format!(
                "the handler of {path} panicked and its connection with {peer} is closed: as the test asked for"
            ));
            1006
        }
        Deed::Close | Deed::Fail => {
            let code = if deed == Deed::Close { 4000 } else { 4001 };
            assert_eq!(code_of_end(&mut client), Some(code));
            client.write(&close_frame(code, ""));
            client.expect_end();
            code
        }
    };
    if has_state {
        if deed != Deed::Panic {
            assert!(matches!(reports.next(), Report::Closed(closed) if closed == code));
        }
        assert!(matches!(reports.next(), Report::Dropped));
    }
    assert!(matches!(reports.next(), Report::Disconnected(panicked) if panicked == (deed == Deed::Panic)));
    if let Some(handle) = handle {
        assert!(handle.is_closed() && handle.post(|_, _| Ok(())).is_err());
    }
}

/// Panics when its connections end.
struct Hysteric(Sender<Report>);

impl EventHandler for Hysteric {
    type State = State;

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result<State> {
        Ok(State { report: self.0.clone(), bytes: [7; 4096] })
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut State, message: MessageRef<'_>) -> websocket::Result {
        Ok(ws.send(message)?)
    }

    fn on_close(&self, _state: State, _event: &CloseEvent<'_>) {
        panic!("at the end")
    }
}

/// However the connection ends; that of its thread is among the ways.
#[test]
fn a_panic_at_the_end_of_a_connection_is_reported_and_disturbs_nothing() {
    logging::start();
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let ends = report.clone();
        let upgrade = upgrade_events(Hysteric(report)).on_disconnect(move |event: &Disconnected<'_>| {
            let _ = ends.send(Report::Disconnected(event.panicked()));
        });
        let app = Router::new().get("/ws", upgrade_events(Echo)).get("/hysteric/:name", upgrade);
        let server = TestServer::start(setup, app);
        let mut neighbour = Client::open(server.address);
        let expect_end_of = |peer: SocketAddr| {
            assert!(matches!(reports.next(), Report::Dropped));
            assert!(matches!(reports.next(), Report::Disconnected(true)));
            logging::wait_for_line(&format!(
                "the handler of /hysteric/:name panicked and its connection with {peer} is closed: at the end"
            ));
        };
        for closes in [true, false] {
            let mut client = open(server.address, "/hysteric/a");
            client.check_echo(TEXT, b"hello");
            let peer = client.stream.local_addr().unwrap();
            if closes {
                client.close()
            } else {
                drop(client)
            }
            expect_end_of(peer);
            neighbour.check_echo(TEXT, b"unaffected");
        }
        let mut stays = open(server.address, "/hysteric/b");
        stays.check_echo(TEXT, b"hello");
        neighbour.close();
        server.running.shutdown(Shutdown::immediate());
        expect_end_of(stays.stream.local_addr().unwrap());
    });
}
