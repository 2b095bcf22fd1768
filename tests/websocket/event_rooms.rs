//! Rooms of event handlers, and how long they make a connection a member of the hub.

use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::websocket::{EventHandler, EventSocket, HubConfig, HubError, SlowPolicy};

use crate::support::client::{BINARY, Client, TEXT};
use crate::support::servers::{Setup, TestServer, on_every_engine};

/// Does what messages say, and answers each with the outcome, the rooms, and the number of members.
struct Rooms(Hub);

impl Rooms {
    fn start(setup: &Setup, config: HubConfig) -> (TestServer, Hub) {
        let hub: Hub = Hub::new(config);
        (TestServer::serve_events(setup, WebSocketConfig::default(), Self(hub.clone())), hub)
    }
}

impl EventHandler for Rooms {
    type State = ();

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        let text = message.as_text().unwrap_or_default();
        let outcome = match text.split_once(' ').unwrap_or((text, "")) {
            ("join", room) => ws.subscribe(room),
            ("leave", room) => Ok(ws.unsubscribe(room)),
            ("register", _) => ws.register(),
            ("unregister", _) => Ok(ws.unregister()),
            (command, _) => panic!("no command of this test: {command}"),
        };
        let outcome = outcome.map_or_else(|error| format!("{error:?}"), |answer| answer.to_string());
        let mut rooms = ws.subscriptions();
        rooms.sort();
        assert!(rooms.iter().all(|room| ws.is_subscribed(room)));
        Ok(ws.send(&format!("{outcome} [{}] {}", rooms.join(" "), self.0.len()))?)
    }

    fn hub(&self) -> Option<&Hub> {
        Some(&self.0)
    }
}

#[track_caller]
fn ask(client: &mut Client, command: &str, answer: &str) {
    client.send(TEXT, command.as_bytes());
    client.expect(TEXT, answer.as_bytes());
}

/// Broadcasts to all members, and checks whether the client is one.
#[track_caller]
fn check_membership(hub: &Hub, client: &mut Client, is_member: bool) {
    let delivered = block_on(hub.broadcast("to all")).unwrap();
    assert_eq!((delivered.count, hub.len()), (usize::from(is_member), usize::from(is_member)));
    if is_member {
        client.expect(TEXT, b"to all");
    }
}

#[test]
fn a_connection_is_a_member_of_the_hub_while_it_is_in_a_room() {
    on_every_engine(|setup| {
        let (server, hub) = Rooms::start(setup, HubConfig::default());
        let mut client = Client::open(server.address);
        check_membership(&hub, &mut client, false);
        for _ in 0..3 {
            ask(&mut client, "join a", "true [a] 1");
            ask(&mut client, "join a", "false [a] 1");
            ask(&mut client, "join b", "true [a b] 1");
            ask(&mut client, "leave a", "true [b] 1");
            check_membership(&hub, &mut client, true);
            ask(&mut client, "leave a", "false [b] 1");
            ask(&mut client, "leave b", "true [] 0");
            check_membership(&hub, &mut client, false);
            ask(&mut client, "leave b", "false [] 0");
            assert!(hub.rooms().is_empty());
        }
        client.close();
        server.finish();
    });
}

#[test]
fn a_registered_connection_is_a_member_without_rooms() {
    on_every_engine(|setup| {
        let (server, hub) = Rooms::start(setup, HubConfig::default());
        let mut client = Client::open(server.address);
        ask(&mut client, "register", "true [] 1");
        ask(&mut client, "register", "false [] 1");
        check_membership(&hub, &mut client, true);
        ask(&mut client, "join a", "true [a] 1");
        ask(&mut client, "leave a", "true [] 1");
        check_membership(&hub, &mut client, true);
        ask(&mut client, "join a", "true [a] 1");
        ask(&mut client, "unregister", "true [] 0");
        assert_eq!(hub.room_len("a"), 0);
        check_membership(&hub, &mut client, false);
        ask(&mut client, "unregister", "false [] 0");
        // A room first, then the hub for good.
        ask(&mut client, "join a", "true [a] 1");
        ask(&mut client, "register", "false [a] 1");
        ask(&mut client, "leave a", "true [] 1");
        client.close();
        server.finish();
        assert!(hub.is_empty());
    });
}

#[test]
fn a_refused_subscription_leaves_no_membership() {
    on_every_engine(|setup| {
        let (server, hub) = Rooms::start(setup, HubConfig::default().rooms_max(1).room_name_bytes_max(3));
        let mut client = Client::open(server.address);
        ask(&mut client, "join long", &format!("{:?} [] 0", HubError::RoomNameTooLong));
        ask(&mut client, "join a", "true [a] 1");
        ask(&mut client, "join b", &format!("{:?} [a] 1", HubError::TooManyRooms));
        ask(&mut client, "leave a", "true [] 0");
        block_on(hub.close(CloseCode::NORMAL, "")).unwrap();
        ask(&mut client, "join a", &format!("{:?} [] 0", HubError::Closed));
        ask(&mut client, "register", &format!("{:?} [] 0", HubError::Closed));
        client.close();
        server.finish();
    });
}

/// The hub removes a slow member, which stays in its rooms. With the next room it is a member again.
#[test]
fn a_connection_that_was_too_slow_for_the_hub_comes_back_with_its_next_room() {
    on_every_engine(|setup| {
        let config = HubConfig::default().slow(SlowPolicy::Remove).queue_bytes_max(1000);
        let (server, hub) = Rooms::start(setup, config);
        let mut client = Client::open(server.address);
        ask(&mut client, "join a", "true [a] 1");
        let mut taken = 0;
        while !hub.is_empty() {
            taken += block_on(hub.broadcast(vec![0; 100_000])).unwrap().count;
        }
        (0..taken).for_each(|_| client.expect(BINARY, &[0; 100_000]));
        ask(&mut client, "leave none", "false [a] 0");
        check_membership(&hub, &mut client, false);
        ask(&mut client, "join b", "true [a b] 1");
        check_membership(&hub, &mut client, true);
        assert_eq!(block_on(hub.publish("a", "to a room")).unwrap().count, 1);
        client.expect(TEXT, b"to a room");
        client.close();
        server.finish();
    });
}
