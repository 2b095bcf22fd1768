//! What event handlers know of their connections, and do with them, as async handlers can.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::websocket::{
    CloseEvent, Closed, DeflateConfig, EventHandle, EventHandler, EventSocket, ReservedBits, UserRegistration, Users,
    upgrade_events,
};

use crate::handler::{reports, wait_until};
use crate::keepalive::{PATIENT, SHORT, config};
use crate::support::client::{BINARY, Client, HANDSHAKE, PING, PONG, TEXT, frame, pattern};
use crate::support::servers::{TestServer, on_every_engine};

/// Answers each message with the round-trip time.
struct Far;

impl EventHandler for Far {
    type State = ();

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), _message: MessageRef<'_>) -> websocket::Result {
        let rtt = ws.rtt();
        assert!(rtt.is_none_or(|rtt| !rtt.is_zero() && rtt < PATIENT), "{rtt:?}");
        ws.send_json(&rtt.is_some())?;
        Ok(())
    }
}

#[test]
fn the_round_trip_of_the_keepalive_is_known() {
    /// Sends a message, behind the answer to a ping. Returns the answer to the message, and the last ping before it.
    fn ask(client: &mut Client, ping: Option<Vec<u8>>) -> (Vec<u8>, Option<Vec<u8>>) {
        let pong = ping.map_or_else(Vec::new, |ping| frame(PONG, &ping));
        client.write(&[pong, frame(TEXT, b"how far?")].concat());
        let mut last = None;
        loop {
            let frame = client.next().expect("a frame");
            match frame.first {
                PING => last = Some(frame.payload),
                _ => return (frame.payload, last),
            }
        }
    }
    on_every_engine(|setup| {
        let server = TestServer::serve_events(setup, config(SHORT, PATIENT), Far);
        let mut client = Client::open(server.address);
        let (mut answer, mut ping) = ask(&mut client, None);
        assert_eq!(answer, b"false");
        // Only the pong of the last ping has a round trip, and a slow client can be one behind.
        while answer == b"false" {
            let last = ping.unwrap_or_else(|| client.next_ping());
            (answer, ping) = ask(&mut client, Some(last));
        }
        assert_eq!(answer, b"true");
        client.close_between_pings();
        server.finish();
    });
}

/// Returns messages with the reserved bits with which they came.
struct Bits;

impl EventHandler for Bits {
    type State = ();

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        if message.as_text() == Some("allow more") {
            ws.allow_reserved_bits(ReservedBits::RSV3);
        }
        Ok(ws.send_with_bits(message, ws.reserved_bits())?)
    }
}

#[test]
fn reserved_bits_go_both_ways() {
    const RSV2: u8 = 0x20;
    const RSV3: u8 = 0x10;
    on_every_engine(|setup| {
        let allowed = WebSocketConfig::default().reserved_bits(ReservedBits::RSV2);
        let server = TestServer::serve_events(setup, allowed, Bits);
        let mut client = Client::open(server.address);
        for payload in [&b"short"[..], &[b'x'; 100_000]] {
            for bits in [RSV2, 0, RSV2, RSV2, 0] {
                client.send(TEXT | bits, payload);
                client.expect(TEXT | bits, payload);
            }
        }
        client.check_echo(TEXT, b"allow more");
        for bits in [RSV3, RSV2 | RSV3, 0, RSV2] {
            client.check_echo(BINARY | bits, &pattern(10_000));
            client.check_echo(BINARY | bits, b"short");
        }
        client.close();
        let mut other = Client::open(server.address);
        other.send(TEXT | RSV3, b"not on this connection");
        other.expect_close(1002);
        other.expect_end();
        server.finish();
    });
}

/// Registers its connections for a user, and reports what tells of their ends.
struct Known {
    users: Users,
    report: Sender<(Closed, EventHandle<Self>)>,
}

struct Nickname(&'static str);

impl EventHandler for Known {
    type State = UserRegistration;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<UserRegistration> {
        assert!(ws.extension::<Nickname>().is_none() && ws.compression().is_none());
        ws.extensions().insert(Nickname("tide"));
        assert_eq!(ws.extension::<Nickname>().map(|name| name.0), Some("tide"), "at once");
        let closed = ws.closed();
        assert!(!closed.is_closed() && !ws.is_finished());
        self.report.send((closed, ws.handle()))?;
        Ok(self.users.register_with(7, ws.sender(), ws.extensions()))
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        _: &mut UserRegistration,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        match message.as_text() {
            Some("buffer") => {
                let connection = ws.connection().clone();
                let size = async move { connection.with_socket(|socket| socket.recv_buffer_size()).await };
                ws.spawn(size, |ws, _, size| Ok(ws.send_json(&(size? > 0))?));
            }
            _ => ws.send(ws.extension::<Nickname>().expect("attached").0)?,
        }
        Ok(())
    }
}

#[test]
fn a_connection_is_found_by_its_user_and_its_end_is_announced() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let users = Users::new();
        let handler = Known { users: users.clone(), report };
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), handler);
        for closes in [true, false] {
            let mut client = Client::open(server.address);
            let (closed, handle) = reports.next();
            client.send(TEXT, b"who am I?");
            client.expect(TEXT, b"tide");
            client.send(TEXT, b"buffer");
            client.expect(TEXT, b"true");
            assert_eq!(users.send(7, "to the user"), 1);
            client.expect(TEXT, b"to the user");
            let name = users.connections()[0].extensions().get::<Nickname>();
            assert_eq!(name.map(|name| name.0), Some("tide"));
            assert!(!closed.is_closed() && !handle.is_closed());
            if closes {
                client.close()
            } else {
                drop(client)
            }
            block_on(closed);
            wait_until("the end", || handle.is_closed() && users.is_empty());
            assert!(handle.post(|_, _| Ok(())).is_err());
        }
        server.finish();
    });
}

/// Ends its connections without a close frame.
struct Quitter(Sender<(u16, bool, bool)>);

impl EventHandler for Quitter {
    type State = ();

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        ws.send(message)?;
        ws.quit();
        assert!(ws.is_finished());
        assert!(ws.send("too late").is_err_and(|error| error.is_close_sent()));
        // Nothing comes after the end.
        ws.close(CloseCode::NORMAL, "")?;
        Ok(())
    }

    fn on_close(&self, _: (), event: &CloseEvent<'_>) {
        let _ = self.0.send((event.code().value(), event.was_clean(), event.error().is_some()));
    }
}

#[test]
fn a_connection_ends_without_a_close_frame_when_it_quits() {
    on_every_engine(|setup| {
        let (report, ends) = reports();
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Quitter(report));
        for len in [3, 3_000_000] {
            let mut client = Client::open(server.address);
            client.write(&frame(BINARY, &pattern(len)));
            client.expect(BINARY, &pattern(len));
            client.expect_end();
            assert_eq!(ends.next(), (1006, false, false));
        }
        server.finish();
    });
}

/// Joins the rooms that a message names, and says good-bye in them.
struct Polite(Hub);

impl EventHandler for Polite {
    type State = String;

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result<String> {
        Ok(String::new())
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        name: &mut String,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        let (own, rooms) = message.as_text().and_then(|text| text.split_once(' ')).unwrap_or_default();
        own.clone_into(name);
        for room in rooms.split(' ') {
            ws.subscribe(room)?;
        }
        Ok(ws.send("joined")?)
    }

    fn on_close(&self, name: String, event: &CloseEvent<'_>) {
        let mut rooms: Vec<Arc<str>> = event.subscriptions();
        rooms.sort();
        for room in rooms {
            self.0.publish(&room, format!("{name} has left {room}")).try_queue().expect("the hub is open");
        }
    }

    fn hub(&self) -> Option<&Hub> {
        Some(&self.0)
    }
}

#[test]
fn those_who_stay_can_be_told_of_an_end() {
    on_every_engine(|setup| {
        let hub: Hub = Hub::default();
        let server = TestServer::serve_events(setup, WebSocketConfig::default(), Polite(hub.clone()));
        let mut stays = Client::open(server.address);
        stays.send(TEXT, b"Ada a b d");
        stays.expect(TEXT, b"joined");
        for closes in [true, false] {
            let mut leaves = Client::open(server.address);
            leaves.send(TEXT, b"Bob a b c");
            leaves.expect(TEXT, b"joined");
            if closes {
                leaves.close()
            } else {
                drop(leaves)
            }
            for room in ["a", "b"] {
                stays.expect(TEXT, format!("Bob has left {room}").as_bytes());
            }
        }
        wait_until("the members to leave", || hub.len() == 1 && hub.rooms().len() == 3);
        stays.close();
        server.finish();
        assert!(hub.is_empty() && hub.rooms().is_empty());
    });
}

/// Says what compression was agreed on.
struct Dense;

impl EventHandler for Dense {
    type State = ();

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        let level = ws.compression().map(|compression| compression.level.is_some());
        Ok(ws.send_json(&level)?)
    }

    fn on_message(&self, _ws: &mut EventSocket<'_, Self>, _: &mut (), _message: MessageRef<'_>) -> websocket::Result {
        Ok(())
    }
}

#[test]
fn the_agreed_compression_is_known() {
    on_every_engine(|setup| {
        let upgrade = upgrade_events(Dense).compression(DeflateConfig::default());
        let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
        for (offer, answer) in [("", "null"), ("Sec-WebSocket-Extensions: permessage-deflate\r\n", "true")] {
            let mut client = Client::connect(server.address);
            client.write(HANDSHAKE.replacen("\r\n\r\n", &format!("\r\n{offer}\r\n"), 1).as_bytes());
            client.expect_upgraded();
            client.expect(TEXT, answer.as_bytes());
            client.close();
        }
        server.finish();
    });
}
