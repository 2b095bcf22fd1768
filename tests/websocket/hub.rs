//! Hubs: which members get which messages, in which order, and the treatment of slow members.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;

use tidegate::engine::{Address, block_on};
use tidegate::prelude::*;
use tidegate::websocket::{
    Delivered, Error, HubConfig, HubError, MemberConfig, PreparedMessage, Registration, Sender, SlowPolicy,
};

use crate::handler::{reports, wait_until};
use crate::support::client::{BINARY, CLOSE, Client, PATIENCE, TEXT, close_frame, pattern};
use crate::support::servers::{Setup, TestServer, on_every_engine, setups};

/// A hub whose members carry the numbers of their connections, in the order of registration.
type Numbered = Hub<usize>;

/// A server whose WebSockets are members of a hub and send to all members. The text "panic" makes the handler panic.
struct HubServer {
    server: TestServer,
    hub: Numbered,
    registered: Receiver<Sender>,
    ended: Receiver<Result<(), Error>>,
}

impl HubServer {
    fn start(setup: &Setup, config: HubConfig, websocket: WebSocketConfig) -> Self {
        let hub = Numbered::new(config);
        let (registered_out, registered) = channel();
        let (ended_out, ended) = channel();
        let members = hub.clone();
        let next = AtomicUsize::new(0);
        let server = TestServer::serve(setup, websocket, async move |mut ws: WebSocket| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let member = members.register_with(&ws, number, MemberConfig::default())?;
            let _ = registered_out.send(ws.sender());
            let result = relay(&mut ws, member.hub()).await;
            drop(member);
            let failed = result.is_err();
            let _ = ended_out.send(result);
            if failed { Err(Error::Full.into()) } else { Ok(()) }
        });
        Self { server, hub, registered, ended }
    }

    /// Opens a client, and waits until its WebSocket is registered.
    fn join(&self) -> Client {
        self.join_with_sender().0
    }

    fn join_with_sender(&self) -> (Client, Sender) {
        let client = Client::open(self.server.address);
        let sender = self.registered.recv_timeout(PATIENCE).expect("the handler registers");
        (client, sender)
    }

    fn broadcast(&self, message: impl Into<PreparedMessage>) -> Delivered {
        block_on(self.hub.broadcast(message)).unwrap()
    }

    fn finish(self) {
        self.server.finish();
    }
}

async fn relay(ws: &mut WebSocket, hub: &Numbered) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        assert_ne!(message.as_text(), Some("panic"), "as the test asked for");
        hub.broadcast(message).queue().await?;
    }
    Ok(())
}

fn start(setup: &Setup) -> HubServer {
    HubServer::start(setup, HubConfig::default(), WebSocketConfig::default())
}

/// Every member gets every message, all in the same order, which keeps the order of each sender.
#[test]
fn every_member_gets_every_message_in_one_order() {
    const CLIENTS: usize = 8;
    const MESSAGES: usize = 200;
    on_every_engine(|setup| {
        let mut setup = setup.clone();
        setup.config.workers = 2;
        let server = start(&setup);
        let clients: Vec<_> = (0..CLIENTS).map(|_| server.join()).collect();
        let orders: Vec<Vec<Vec<u8>>> = thread::scope(|scope| {
            let readers: Vec<_> = (0..)
                .zip(clients)
                .map(|(number, mut client)| {
                    let mut writer = Client::of(client.stream.try_clone().unwrap());
                    scope.spawn(move || {
                        for message in 0..MESSAGES as u32 {
                            let payload = [&[number][..], &message.to_be_bytes(), &pattern(message as usize)].concat();
                            writer.send(BINARY, &payload);
                        }
                    });
                    scope.spawn(move || {
                        let next = |client: &mut Client| client.next().expect("a message").payload;
                        let order = (0..CLIENTS * MESSAGES).map(|_| next(&mut client)).collect();
                        client.close();
                        order
                    })
                })
                .collect();
            readers.into_iter().map(|reader| reader.join().unwrap()).collect()
        });
        assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "members saw different orders");
        for sender in 0..CLIENTS as u8 {
            let own: Vec<_> = orders[0].iter().filter(|message| message[0] == sender).collect();
            assert_eq!(own.len(), MESSAGES);
            for (number, message) in (0_u32..).zip(own) {
                assert_eq!(message[1..5], number.to_be_bytes());
                assert_eq!(message[5..], pattern(number as usize));
            }
        }
        server.finish();
    });
}

#[test]
fn the_count_is_of_the_members_that_get_the_message() {
    on_every_engine(|setup| {
        let server = start(setup);
        let delivered = server.broadcast("nobody is there");
        assert!(delivered.count == 0 && delivered.first_error.is_none());
        let mut clients: Vec<_> = (0..5).map(|_| server.join()).collect();
        assert_eq!(server.hub.len(), 5);
        let delivered = server.broadcast("to five");
        assert!(delivered.count == 5 && delivered.first_error.is_none());
        clients.iter_mut().for_each(|client| client.expect(TEXT, b"to five"));
        clients.pop().unwrap().close();
        wait_until("the handler to leave", || server.hub.len() == 4);
        assert_eq!(server.broadcast(vec![1; 100_000]).count, 4);
        clients.iter_mut().for_each(|client| client.expect(BINARY, &[1; 100_000]));
        clients.into_iter().for_each(Client::close);
        server.finish();
    });
}

/// A member that has sent its close frame is reported as the first error, and is removed.
#[test]
fn a_member_that_is_closing_gets_nothing_more() {
    on_every_engine(|setup| {
        let server = start(setup);
        let (mut client, sender) = server.join_with_sender();
        sender.close(CloseCode::NORMAL, "").unwrap();
        let delivered = server.broadcast("too late");
        assert_eq!(delivered.count, 0);
        assert!(delivered.first_error.is_some_and(|error| error.is_close_sent()));
        assert!(server.hub.is_empty());
        client.expect_close(1000);
        client.write(&close_frame(1000, ""));
        client.expect_end();
        server.finish();
    });
}

#[test]
fn filters_and_exceptions_choose() {
    on_every_engine(|setup| {
        let server = start(setup);
        let mut clients: Vec<_> = (0..6).map(|_| server.join()).collect();
        let even = server.hub.broadcast_filter("even", |number| number % 2 == 0);
        assert_eq!(block_on(even).unwrap().count, 3);
        let prepared = PreparedMessage::new("all");
        assert_eq!(block_on(server.hub.broadcast_prepared(&prepared)).unwrap().count, 6);
        for (number, client) in clients.iter_mut().enumerate() {
            if number % 2 == 0 {
                client.expect(TEXT, b"even");
            }
            client.expect(TEXT, b"all");
        }
        clients.into_iter().for_each(Client::close);
        server.finish();
    });
}

/// A peer that never reads must not delay a broadcast.
#[test]
fn a_peer_that_never_reads_delays_nobody() {
    const MESSAGES: u32 = 400;
    let message = |number: u32| [&number.to_be_bytes()[..], &pattern(50_000)].concat();
    for slow in [SlowPolicy::Drop, SlowPolicy::Remove, SlowPolicy::Abort, SlowPolicy::CloseTryAgainLater] {
        on_every_engine(|setup| {
            let config = HubConfig::default().slow(slow);
            let server = HubServer::start(setup, config, WebSocketConfig::default());
            let (stalled, its_sender) = server.join_with_sender();
            let mut reader = server.join();
            let mut full = 0;
            for number in 0..MESSAGES {
                let delivered = server.broadcast(message(number));
                assert!(delivered.count >= 1, "the member that reads gets every message");
                full += u32::from(matches!(delivered.first_error, Some(Error::Full)));
                reader.expect(BINARY, &message(number));
                assert!(its_sender.queued_bytes() <= setup.config.outbound.bytes_high + 60_000);
            }
            check_stalled(&server, slow, full, stalled);
            reader.close();
            server.finish();
        });
    }
}

/// Checks the treatment of the peer that did not read, and the messages it finds when it reads.
fn check_stalled(server: &HubServer, slow: SlowPolicy, full: u32, mut stalled: Client) {
    let mut numbers = Vec::new();
    let mut read_messages = |stalled: &mut Client, until: usize| {
        while numbers.len() < until {
            let frame = stalled.next().expect("a message");
            if frame.first != BINARY {
                assert_eq!(frame.payload, 1013_u16.to_be_bytes());
                return;
            }
            numbers.push(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
        }
    };
    match slow {
        SlowPolicy::Drop => {
            assert!(full > 1 && server.hub.len() == 2);
            read_messages(&mut stalled, 400 - full as usize);
            end(stalled);
        }
        SlowPolicy::Remove => {
            assert!(full == 1 && server.hub.len() == 1);
            stalled.write(&close_frame(1000, ""));
            while let Some(frame) = stalled.next() {
                assert!(frame.first == BINARY || frame.payload == 1000_u16.to_be_bytes());
            }
        }
        SlowPolicy::Abort => {
            assert!(full == 1 && server.hub.len() == 1);
            let result = server.ended.recv_timeout(PATIENCE).unwrap();
            assert!(matches!(result, Err(Error::Closed(tidegate::engine::CloseCause::TooSlow))), "{result:?}");
            stalled.expect_reset();
        }
        _ => {
            assert!(full == 1 && server.hub.len() == 1);
            read_messages(&mut stalled, usize::MAX);
            stalled.write(&close_frame(1013, ""));
            stalled.expect_end();
        }
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
    if slow == SlowPolicy::CloseTryAgainLater {
        assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "nothing before the close is lost");
    }
}

/// The policy and the bound of a member replace those of the hub.
#[test]
fn members_can_have_their_own_settings() {
    on_every_engine(|setup| {
        let hub: Hub = Hub::default();
        let (report, registrations) = reports();
        let members = hub.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let config = MemberConfig::default().slow(SlowPolicy::Remove).queue_bytes_max(1000);
            report.send(members.register_with(&ws, (), config)?).unwrap();
            while ws.recv().await?.is_some() {}
            Ok(())
        });
        let client = Client::open(server.address);
        let registration = registrations.next();
        let start = std::time::Instant::now();
        while registration.is_member() {
            block_on(hub.broadcast(vec![0; 100_000])).unwrap();
            assert!(start.elapsed() < PATIENCE, "it is removed in the end");
        }
        let delivered = block_on(hub.broadcast("nobody")).unwrap();
        assert!(delivered.count == 0 && delivered.first_error.is_none() && hub.is_empty());
        drop(client);
        server.running.shutdown(Shutdown::default());
    });
}

/// A room removes a slow member without the hub: the member can then join another room in its place.
#[test]
fn rooms_that_removed_a_slow_member_do_not_count() {
    on_every_engine(|setup| {
        let hub = Hub::<()>::new(HubConfig::default().slow(SlowPolicy::Remove).queue_bytes_max(1000).rooms_max(1));
        let (report, registrations) = reports();
        let members = hub.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            report.send(members.register(&ws)?).unwrap();
            while ws.recv().await?.is_some() {}
            Ok(())
        });
        let client = Client::open(server.address);
        let member = registrations.next();
        assert_eq!(member.join("one"), Ok(true));
        assert_eq!(member.join("two"), Err(HubError::TooManyRooms));
        let start = std::time::Instant::now();
        while !member.rooms().is_empty() {
            block_on(hub.publish("one", vec![0; 100_000])).unwrap();
            assert!(start.elapsed() < PATIENCE, "it is removed in the end");
        }
        assert!(member.is_member());
        assert_eq!(member.join("two"), Ok(true));
        assert_eq!((member.rooms(), hub.rooms()), (vec!["two".into()], vec!["two".into()]));
        drop(client);
        server.running.shutdown(Shutdown::default());
    });
}

/// The registration is the membership in the hub, whatever the rooms.
#[test]
fn a_member_that_has_left_its_last_room_stays_in_the_hub() {
    on_every_engine(|setup| {
        let (server, hub) = (start(setup), Hub::<()>::default());
        let (mut client, sender) = server.join_with_sender();
        let member = hub.register(&sender).unwrap();
        for room in ["one", "two"] {
            assert!(!member.is_in(room));
            assert_eq!(member.join(room), Ok(true));
            assert!(member.is_in(room));
        }
        assert!(member.leave("one") && member.leave("two") && !member.leave("two"));
        assert!(member.is_member() && !member.is_in("one") && member.rooms().is_empty() && hub.rooms().is_empty());
        assert_eq!(block_on(hub.publish("one", "nobody")).unwrap().count, 0);
        assert_eq!(block_on(hub.broadcast("to all")).unwrap().count, 1);
        client.expect(TEXT, b"to all");
        assert_eq!(member.join("one"), Ok(true));
        assert_eq!(block_on(hub.publish("one", "once more")).unwrap().count, 1);
        client.expect(TEXT, b"once more");
        drop(member);
        assert!(hub.is_empty() && hub.rooms().is_empty());
        client.close();
        server.finish();
    });
}

#[test]
fn a_panic_unregisters() {
    on_every_engine(|setup| {
        let server = start(setup);
        let mut reader = server.join();
        let mut panics = server.join();
        panics.send(TEXT, b"panic");
        panics.expect_close(1011);
        wait_until("the member to leave", || server.hub.len() == 1);
        assert_eq!(server.broadcast("after it").count, 1);
        reader.expect(TEXT, b"after it");
        panics.write(&close_frame(1011, ""));
        panics.expect_end();
        reader.close();
        server.finish();
    });
}

/// A handler that panics also leaves its rooms, and the last member of a room removes it.
#[test]
fn a_panic_leaves_the_rooms() {
    on_every_engine(|setup| {
        let hub: Hub = Hub::default();
        let (report, joined) = reports();
        let members = hub.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let member = members.register(&ws)?;
            member.join("room")?;
            report.send(()).unwrap();
            ws.recv().await?;
            panic!("as the test asked for");
        });
        let mut client = Client::open(server.address);
        joined.next();
        assert_eq!(block_on(hub.publish("room", "before")).unwrap().count, 1);
        client.expect(TEXT, b"before");
        client.send(TEXT, b"now");
        client.expect_close(1011);
        wait_until("the member to leave", || hub.is_empty() && hub.rooms().is_empty());
        client.write(&close_frame(1011, ""));
        client.expect_end();
        server.finish();
    });
}

/// One hub holds connections of a server on each engine, with handlers in each place.
#[test]
fn a_hub_holds_connections_of_several_servers() {
    let hub: Hub = Hub::default();
    let servers: Vec<_> = setups()
        .iter()
        .map(|setup| {
            let members = hub.clone();
            TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
                let _member = members.register(&ws)?;
                ws.send("registered").await?;
                while let Some(message) = ws.recv().await? {
                    assert_eq!(members.broadcast(message).await?.first_error.map(|error| error.to_string()), None);
                }
                Ok(())
            })
        })
        .collect();
    let mut clients: Vec<_> = servers.iter().map(|server| Client::open(server.address)).collect();
    clients.iter_mut().for_each(|client| client.expect(TEXT, b"registered"));
    for number in 0..clients.len() {
        let message = [number as u8];
        clients[number].send(BINARY, &message);
        clients.iter_mut().for_each(|client| client.expect(BINARY, &message));
    }
    clients.into_iter().for_each(Client::close);
    servers.into_iter().for_each(TestServer::finish);
    assert!(hub.is_empty());
}

/// `close` refuses new messages, delivers the earlier ones of the hub and of its rooms, then closes and unregisters the
/// members.
#[test]
fn closing_a_hub_closes_its_members_after_pending_messages() {
    const MESSAGES: u32 = 500;
    on_every_engine(|setup| {
        let (server, mut members) = members(setup, 4);
        let hub = &server.hub;
        members.iter().for_each(|(_, member)| assert_eq!(member.join("room"), Ok(true)));
        for number in 0..MESSAGES {
            block_on(hub.publish("room", number.to_be_bytes().to_vec()).queue()).unwrap();
        }
        let unsendable = block_on(hub.close(CloseCode::ABNORMAL, ""));
        assert!(matches!(unsendable, Err(Error::Usage(_))) && hub.len() == 8, "{unsendable:?}");
        block_on(hub.close(CloseCode::new(4000), "over")).unwrap();
        block_on(hub.close(CloseCode::new(4001), "again")).unwrap();
        assert!(matches!(hub.broadcast("late").try_queue(), Err(HubError::Closed)));
        assert!(matches!(block_on(hub.broadcast("late")), Err(HubError::Closed)));
        assert!(hub.is_empty() && hub.rooms().is_empty() && hub.room_len("room") == 0);
        for (client, member) in &mut members {
            assert!(!member.is_member() && member.rooms().is_empty());
            assert_eq!(member.join("other"), Err(HubError::Closed));
            for number in 0..MESSAGES {
                client.expect(BINARY, &number.to_be_bytes());
            }
            assert_eq!(client.expect_close(4000), "over");
        }
        for (mut client, _) in members {
            client.write(&close_frame(4000, ""));
            client.expect_end();
            assert!(server.ended.recv_timeout(PATIENCE).unwrap().is_ok());
        }
        // A closed hub takes no members: the handler fails.
        let mut late = Client::open(server.server.address);
        late.expect_close(1011);
        assert!(server.registered.try_recv().is_err());
    });
}

/// The application hears of each message that a slow member has no space for, whatever the policy.
#[test]
fn a_callback_hears_of_slow_members() {
    for slow in [SlowPolicy::Drop, SlowPolicy::CloseTryAgainLater, SlowPolicy::DropOldest { backlog_max: 1 }] {
        on_every_engine(|setup| {
            let config = HubConfig::default().slow(slow).queue_bytes_max(300_000);
            let server = HubServer::start(setup, config, WebSocketConfig::default());
            let (report, reports) = reports();
            server.hub.on_slow(|_| panic!("replaced"));
            server.hub.on_slow(move |member| {
                report.send((*member.data(), member.peer_addr(), member.queued_bytes())).unwrap();
                panic!("as the test asked for");
            });
            let stalled = server.join();
            let mut reader = server.join();
            let number = loop {
                let delivered = server.broadcast(pattern(50_000));
                reader.expect(BINARY, &pattern(50_000));
                if delivered.count == 1 {
                    break 0;
                }
            };
            let (data, peer, queued) = reports.next();
            assert_eq!((data, peer), (number, Address::Ip(stalled.stream.local_addr().unwrap())));
            assert!(queued > 50_000, "{queued}");
            reader.close();
            drop(stalled);
        });
    }
}

/// What a handler publishes to a hub or room that it is in arrives at itself before what it sends afterwards.
#[test]
fn a_handler_gets_what_it_has_published_before_what_it_sends_then() {
    const REPETITIONS: usize = 50;
    on_every_engine(|setup| {
        let hub: Hub = Hub::default();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let member = hub.register(&ws)?;
            member.join("room")?;
            let sender = ws.sender();
            while let Some(message) = ws.recv().await? {
                match message.as_text() {
                    Some("hub") => hub.broadcast("published").queue().await?,
                    Some("others") => hub.publish("room", "to others").except(&member).try_queue()?,
                    Some("bye") => {
                        hub.publish("room", "published").try_queue()?;
                        ws.close(CloseCode::new(4000), "").await?;
                        break;
                    }
                    Some("return") => {
                        hub.publish("room", "published").try_queue()?;
                        return Ok(());
                    }
                    _ => hub.publish("room", "published").try_queue()?,
                }
                ws.send("sent").await?;
                sender.try_send("at once")?;
                sender.send_prepared(&PreparedMessage::from(vec![7; 10_000])).await?;
                ws.sender().flush().await?;
                ws.send("flushed").await?;
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        let mut other = Client::open(server.address);
        // A client that has an answer is a member.
        client.send(TEXT, b"others");
        other.send(TEXT, b"others");
        let answer = |client: &mut Client, published: bool| {
            let mut texts = Vec::new();
            while texts.last().is_none_or(|text| text != "flushed") {
                let frame = client.next().expect("a message");
                if frame.first == BINARY {
                    assert_eq!(frame.payload, [7; 10_000]);
                    texts.push("binary".to_owned());
                } else {
                    texts.push(String::from_utf8(frame.payload).expect("text"));
                }
            }
            texts.retain(|text| text != "to others");
            let expected = ["published", "sent", "at once", "binary", "flushed"];
            assert_eq!(texts, expected[usize::from(!published)..]);
        };
        answer(&mut client, false);
        answer(&mut other, false);
        for repetition in 0..REPETITIONS {
            for place in ["hub", "room"] {
                client.send(TEXT, place.as_bytes());
                answer(&mut client, true);
                if repetition == 0 {
                    println!("to the {place}");
                }
            }
        }
        for end in ["bye", "return"] {
            let mut client = Client::open(server.address);
            client.send(TEXT, end.as_bytes());
            client.expect(TEXT, b"published");
            let code = if end == "bye" { 4000 } else { 1000 };
            client.expect_close(code);
            client.write(&close_frame(code, ""));
            client.expect_end();
        }
        drop((client, other));
    });
}

/// Plain threads and tokio tasks publish while members come and go: each member gets an unbroken run of every
/// publisher's messages from its registration on.
#[test]
fn any_thread_can_publish_while_members_come_and_go() {
    on_every_engine(|setup| {
        let server = start(setup);
        let hub = &server.hub;
        let enough = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            // Also set by a panic, which ends the threads.
            let enough = SetOnDrop(enough);
            let mut stays = server.join();
            // The publishers are never far ahead of the member that stays: none counts as slow.
            let ((ahead_0, read_0), (ahead_1, read_1)) = (sync_channel(64), sync_channel(64));
            let over = Arc::clone(&enough.0);
            scope.spawn(move || {
                for number in (0..).take_while(|_| ahead_0.send(()).is_ok() && !over.load(Ordering::Relaxed)) {
                    block_on(hub.broadcast(numbered(0, number)).queue()).unwrap();
                }
                block_on(hub.broadcast("over").queue()).unwrap();
            });
            let over = Arc::clone(&enough.0);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for number in (0..).take_while(|_| ahead_1.send(()).is_ok() && !over.load(Ordering::Relaxed)) {
                        hub.broadcast(numbered(1, number)).await.unwrap();
                    }
                    hub.broadcast("over").await.unwrap();
                });
            });
            let stays = scope.spawn(move || {
                let (mut last, mut over) = ([None; 2], 0);
                while over < 2 {
                    match stays.next().expect("a message") {
                        frame if frame.first == TEXT => over += 1,
                        frame => {
                            follows(&mut last, &frame.payload);
                            let _ = [&read_0, &read_1][usize::from(frame.payload[0])].recv();
                        }
                    }
                }
                stays.close();
            });
            for _ in 0..20 {
                let mut visitor = server.join();
                let mut last = [None; 2];
                for _ in 0..20 {
                    follows(&mut last, &visitor.next().expect("a message").payload);
                }
                end(visitor);
            }
            drop(enough);
            stays.join().unwrap();
        });
        server.finish();
    });
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Checks that a message is the next of its publisher.
fn follows(last: &mut [Option<u32>; 2], payload: &[u8]) {
    let number = u32::from_be_bytes(payload[1..5].try_into().unwrap());
    let last = &mut last[usize::from(payload[0])];
    assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
    *last = Some(number);
}

fn numbered(publisher: u8, number: u32) -> Vec<u8> {
    [&[publisher][..], &number.to_be_bytes()].concat()
}

/// Closes, and skips the messages before the answer.
fn end(mut client: Client) {
    client.write(&close_frame(1000, ""));
    while let Some(frame) = client.next() {
        assert!(frame.first != CLOSE || frame.payload == 1000_u16.to_be_bytes(), "{frame:?}");
    }
}

/// A hub outlives the server of its members, and does not wait for workers that have ended.
#[test]
fn a_hub_answers_after_its_server_has_ended() {
    on_every_engine(|setup| {
        let server = start(setup);
        let (mut client, sender) = server.join_with_sender();
        let registration = server.hub.register_with(&sender, 7, MemberConfig::default()).unwrap();
        let hub = server.hub.clone();
        server.server.running.shutdown(Shutdown::immediate());
        let delivered = block_on(hub.broadcast("is anybody there"));
        assert_eq!(delivered.unwrap().count, 0);
        block_on(hub.close(CloseCode::GOING_AWAY, "")).unwrap();
        drop(registration);
        let mut byte = [0];
        let kind = std::io::Read::read(&mut client.stream, &mut byte).map_err(|error| error.kind());
        assert!(!matches!(kind, Err(ErrorKind::WouldBlock)), "the connection is over");
    });
}

/// A hub whose registrations the test holds, each with its client.
fn members(setup: &Setup, count: usize) -> (HubServer, Vec<(Client, Registration<usize>)>) {
    let server = start(setup);
    let join = |number| {
        let (client, sender) = server.join_with_sender();
        let registration = server.hub.register_with(&sender, number, MemberConfig::default()).unwrap();
        (client, registration)
    };
    let members = (0..count).map(join).collect();
    (server, members)
}

#[test]
fn rooms_reach_their_members() {
    on_every_engine(|setup| {
        let (server, mut members) = members(setup, 4);
        for (_, member) in &members[..3] {
            assert_eq!(member.join("news"), Ok(true));
        }
        assert_eq!(members[0].1.join("news"), Ok(false), "it is in it already");
        members[3].1.join("other").unwrap();
        assert_eq!((server.hub.room_len("news"), server.hub.room_len("none")), (3, 0));

        assert_eq!(block_on(server.hub.publish("news", "to three")).unwrap().count, 3);
        assert_eq!(block_on(members[1].1.publish("news", "to the others")).unwrap().count, 2);
        assert_eq!(block_on(server.hub.publish("none", "to nobody")).unwrap().count, 0);
        assert!(members[0].1.leave("news") && !members[0].1.leave("news"));
        assert_eq!(block_on(server.hub.publish("news", "to two")).unwrap().count, 2);
        block_on(server.hub.broadcast_filter("the end", |_| true)).unwrap();
        for (number, (client, _)) in members.iter_mut().enumerate() {
            let rooms = [
                &["to three", "to the others"][..],
                &["to three", "to two"],
                &["to three", "to the others", "to two"],
                &[],
            ];
            for expected in rooms[number] {
                client.expect(TEXT, expected.as_bytes());
            }
            client.expect(TEXT, b"the end");
        }
        let (clients, registrations): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        drop(registrations);
        assert!(server.hub.rooms().is_empty(), "the last member that leaves removes the room");
        for client in clients {
            // Registered twice, by its handler and by the test.
            end(client);
        }
        server.finish();
    });
}

#[test]
fn the_rooms_of_a_member_are_bounded() {
    on_every_engine(|setup| {
        let config = HubConfig::default().rooms_max(2);
        let server = HubServer::start(setup, config, WebSocketConfig::default());
        let (client, sender) = server.join_with_sender();
        let member = server.hub.register_with(&sender, 0, MemberConfig::default()).unwrap();
        assert_eq!((member.join("a"), member.join("b")), (Ok(true), Ok(true)));
        assert_eq!(member.join("c"), Err(HubError::TooManyRooms));
        assert!(member.leave("a"));
        assert_eq!(member.join("c"), Ok(true));
        assert!(member.leave("c"));
        assert_eq!(member.join(&"n".repeat(1025)), Err(HubError::RoomNameTooLong));
        assert_eq!(member.join(&"n".repeat(1024)), Ok(true));
        assert!(member.leave(&"n".repeat(1024)));
        assert_eq!(member.join("c"), Ok(true));
        let mut rooms: Vec<_> = member.rooms().iter().map(ToString::to_string).collect();
        rooms.sort();
        assert_eq!(rooms, ["b", "c"]);
        drop(member);
        client.close();
        server.finish();
    });
}

/// A member gets exactly the messages published between its joining and its leaving, while another thread publishes
/// continuously. The member's own messages before and after mark the place in the order of the room.
#[test]
fn joining_and_leaving_keep_to_the_order_of_the_room() {
    on_every_engine(|setup| {
        let (server, mut members) = members(setup, 3);
        let (stays, _) = members.pop().unwrap();
        let (mut visitor_client, visitor) = members.pop().unwrap();
        let (idle, resident) = members.pop().unwrap();
        let hub = &server.hub;
        resident.join("room").unwrap();
        thread::scope(|scope| {
            let (start, started) = channel();
            scope.spawn(move || {
                for number in started {
                    block_on(hub.publish("room", numbered(0, number)).queue()).unwrap();
                }
            });
            for round in 0..50_u32 {
                let send = |what: &str| {
                    // The other thread publishes before, after and during this.
                    (0..10).for_each(|number| start.send(number).unwrap());
                    block_on(hub.publish("room", format!("{what} {round}")).queue()).unwrap();
                };
                send("before");
                assert_eq!(visitor.join("room"), Ok(true));
                send("first");
                send("last");
                assert!(visitor.leave("room"));
                send("after");
            }
            drop(start);
        });
        visitor.join("room").unwrap();
        block_on(hub.publish("room", "over")).unwrap();
        let mut texts = Vec::new();
        loop {
            let frame = visitor_client.next().expect("a message");
            match frame.first {
                TEXT if frame.payload == b"over" => break,
                TEXT => texts.push(String::from_utf8(frame.payload).unwrap()),
                _ => {}
            }
        }
        let expected = (0..50).flat_map(|round| [format!("first {round}"), format!("last {round}")]);
        assert_eq!(texts, expected.collect::<Vec<_>>());
        drop((resident, visitor));
        [stays, visitor_client, idle].into_iter().for_each(end);
        server.finish();
    });
}

/// A peer that does not read for a while finds the newest messages, in order, and with keys the newest of each. One
/// that reads misses nothing.
#[test]
fn slow_members_can_get_the_newest_messages() {
    const MESSAGES: u32 = 300;
    const KEYS: u32 = 4;
    let message = |number: u32| [&number.to_be_bytes()[..], &pattern(50_000)].concat();
    for slow in [SlowPolicy::DropOldest { backlog_max: 3 }, SlowPolicy::Conflate { backlog_max: 100 }] {
        on_every_engine(|setup| {
            let config = HubConfig::default().slow(slow).queue_bytes_max(400_000);
            let server = HubServer::start(setup, config, WebSocketConfig::default());
            let mut stalled = server.join();
            let mut reader = server.join();
            let (mut kept, mut errors) = (0, 0);
            for number in 0..MESSAGES {
                let broadcast = server.hub.broadcast(message(number)).key((number % KEYS).to_be_bytes().to_vec());
                let delivered = block_on(broadcast).unwrap();
                assert_eq!(delivered.count + delivered.backlogged, 2);
                kept += delivered.backlogged as u32;
                errors += usize::from(delivered.first_error.is_some());
                reader.expect(BINARY, &message(number));
            }
            assert!(kept > 100 && errors == 0, "{kept} were kept");
            block_on(server.hub.broadcast("the last")).unwrap();
            reader.expect(TEXT, b"the last");
            let mut numbers = Vec::new();
            loop {
                let frame = stalled.next().expect("a message");
                if frame.first == TEXT {
                    break assert_eq!(frame.payload, b"the last");
                }
                numbers.push(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
                assert!(frame.payload[4..] == pattern(50_000));
            }
            assert!(numbers.len() < MESSAGES as usize - 50, "{} came all the same", numbers.len());
            if matches!(slow, SlowPolicy::DropOldest { .. }) {
                assert!(numbers.is_sorted() && numbers.ends_with(&[MESSAGES - 2, MESSAGES - 1]), "{numbers:?}");
            }
            for key in 0..KEYS {
                let of_key: Vec<_> = numbers.iter().filter(|number| **number % KEYS == key).collect();
                assert!(of_key.is_sorted(), "{numbers:?}");
                let newest = MESSAGES - KEYS + key;
                let has_newest = of_key.last().is_some_and(|last| **last == newest);
                assert!(has_newest || matches!(slow, SlowPolicy::DropOldest { .. }), "{numbers:?}");
            }
            block_on(server.hub.broadcast("again")).unwrap();
            stalled.expect(TEXT, b"again");
            reader.expect(TEXT, b"again");
            stalled.close();
            reader.close();
            server.finish();
        });
    }
}
