//! Users and their connections, reached from anywhere.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tidegate::prelude::*;
use tidegate::web::RequestHead;
use tidegate::websocket::{ConnectionId, UsageError, Users};

use crate::handler::{Gate, wait_until};
use crate::support::client::{Client, HANDSHAKE, PATIENCE, TEXT, close_frame};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};

/// The user of a connection, and the device.
struct Device {
    user: u64,
    name: String,
}

/// Starts a server that registers each WebSocket at `/:user/:device`, reports its id, and echoes.
fn user_server(setup: &Setup, users: &Users) -> (TestServer, Receiver<ConnectionId>) {
    let (tell, told) = channel();
    let users = users.clone();
    let handler = websocket::upgrade(async move |mut ws: WebSocket| {
        let device = ws.extension::<Device>().expect("it was attached");
        let registration = users.register(device.user, &mut ws);
        tell.send(registration.id()).unwrap();
        echo(ws).await
    });
    let handler = handler.authorize(async |head: &RequestHead| {
        let user = head.param("user").and_then(|user| user.parse().ok());
        let name = head.param("device").unwrap_or_default().to_owned();
        user.map(|user| Device { user, name }).ok_or(http::StatusCode::NOT_FOUND)
    });
    (TestServer::start(setup, Router::new().get("/:user/:device", handler)), told)
}

fn open(server: &TestServer, user: u64, device: &str) -> Client {
    let mut client = Client::connect(server.address);
    client.write(HANDSHAKE.replace("GET /ws", &format!("GET /{user}/{device}")).as_bytes());
    client.expect_upgraded();
    client
}

#[test]
fn a_user_has_several_connections() {
    on_every_engine(|setup| {
        let users = Users::new();
        let (server, told) = user_server(setup, &users);
        let ids = || told.recv_timeout(PATIENCE).expect("an id");
        let (mut phone, phone_id) = (open(&server, 7, "phone"), ids());
        let (mut desk, desk_id) = (open(&server, 7, "desk"), ids());
        let (mut other, other_id) = (open(&server, u64::MAX, "phone"), ids());
        assert_ne!(phone_id, desk_id);

        assert_eq!((users.len(), users.is_empty()), (3, false));
        assert_eq!(users.users().into_iter().collect::<Vec<_>>(), [(7, 2), (u64::MAX, 1)]);
        assert_eq!(users.connections().len(), 3);
        let devices: Vec<_> = users.connections_of(7).iter().map(|it| (it.id(), it.user())).collect();
        assert_eq!(devices, [(phone_id, 7), (desk_id, 7)]);
        let desk_there = users.connection(desk_id.value().into()).expect("found by its number");
        assert_eq!(desk_there.extensions().get::<Device>().expect("what was attached").name, "desk");
        assert!(users.is_online(7) && !users.is_online(8) && users.connections_of(8).is_empty());

        assert_eq!(users.send(7, "to all of yours"), 2);
        assert_eq!(users.send(8, "to nobody"), 0);
        let outside = users.connection(other_id).unwrap();
        thread::spawn(move || outside.sender().try_send("from a thread").unwrap()).join().unwrap();
        phone.expect(TEXT, b"to all of yours");
        desk.expect(TEXT, b"to all of yours");
        other.expect(TEXT, b"from a thread");

        phone.close();
        wait_until("the phone to be gone", || users.connections_of(7).len() == 1);
        assert!(users.is_online(7) && users.connection(phone_id).is_none());
        assert_eq!(users.send(7, "to the desk"), 1);
        desk.expect(TEXT, b"to the desk");
        desk.close();
        other.close();
        wait_until("all to be gone", || users.is_empty() && users.users().is_empty());
        server.finish();
    });
}

#[test]
fn any_connection_can_be_closed_from_anywhere() {
    on_every_engine(|setup| {
        let users = Users::new();
        let (server, told) = user_server(setup, &users);
        let ids = || told.recv_timeout(PATIENCE).expect("an id");
        let mut clients: Vec<_> = (0..4).map(|device| (open(&server, 1, &device.to_string()), ids())).collect();

        let refused = users.close(clients[0].1, CloseCode::new(1005), "");
        assert!(matches!(refused, Err(UsageError::CloseCodeNotSendable { .. })), "{refused:?}");
        assert!(users.close_user(1, CloseCode::NORMAL, &"r".repeat(124)).is_err());
        clients[0].0.check_echo(TEXT, b"still open");

        let (mut first, id) = clients.remove(0);
        assert_eq!(users.close(id, CloseCode::new(4001), "kicked"), Ok(true));
        assert_eq!(users.close(id, CloseCode::new(4001), "twice"), Ok(false));
        assert_eq!(first.expect_close(4001), "kicked");
        first.write(&close_frame(4001, ""));
        first.expect_end();
        wait_until("the first to be gone", || users.connection(id).is_none());
        assert_eq!(users.close(id, CloseCode::NORMAL, ""), Ok(false));

        let (second, id) = clients.remove(0);
        assert!(users.abort(id));
        second.expect_reset();
        wait_until("the second to be gone", || users.connection(id).is_none());
        assert!(!users.abort(id));

        assert_eq!(users.close_user(1, CloseCode::POLICY_VIOLATION, "all of you"), Ok(2));
        for (mut client, _) in clients {
            assert_eq!(client.expect_close(1008), "all of you");
            client.write(&close_frame(1008, ""));
            client.expect_end();
        }
        wait_until("all to be gone", || users.is_empty());
        server.finish();
    });
}

/// A panic unregisters, too, and a connection can belong to several users.
#[test]
fn registrations_end_with_their_owners() {
    on_every_engine(|setup| {
        let users = Users::new();
        let gate = Gate::default();
        let (here, passed) = (users.clone(), gate.clone());
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let _first = here.register(1, &mut ws);
            let second = here.register(2, &mut ws);
            ws.recv().await?;
            drop(second);
            ws.send("one less").await?;
            passed.pass().await;
            panic!("as the test asked for");
        });
        let mut client = Client::open(server.address);
        wait_until("both", || users.len() == 2);
        client.send(TEXT, b"go");
        client.expect(TEXT, b"one less");
        assert!(users.is_online(1) && !users.is_online(2));
        gate.open();
        client.expect_close(1011);
        wait_until("nobody", || users.is_empty());
        drop(client);
        server.finish();
    });
}
