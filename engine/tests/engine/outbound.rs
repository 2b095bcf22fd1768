//! The outbound queue: bounded for a peer that does not read, whole and in order for every sender, and its end.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_engine::{
    ByteSender, CloseCause, Connection, FanOut, JoinOptions, MemberId, Publish, PublishBudget, ReceiveError, Running,
    SendError, block_on,
};

use crate::support::*;

const HIGH: usize = 64 * 1024;
const LOW: usize = 16 * 1024;

/// More than the kernel takes for a peer that does not read, with the small buffers of these tests.
const KERNEL_BYTES_MAX: usize = 4 << 20;

/// The end that a handler saw.
type Seen = Progress<Option<Result<usize, ReceiveError>>>;

/// Starts an engine whose handler gives its sender away and counts the bytes it receives.
fn start_with_sender(setup: &Setup) -> (Running, SocketAddr, Progress<Option<ByteSender>>, Seen) {
    let mut config = setup.config.clone();
    config.outbound.bytes_high = HIGH;
    config.outbound.bytes_low = LOW;
    let (senders, seen) = (Progress::<Option<ByteSender>>::default(), Seen::default());
    let (give, report) = (senders.clone(), seen.clone());
    let (running, address) = start(config, move |mut connection: Connection| {
        let (give, report) = (give.clone(), report.clone());
        async move {
            connection.with_socket(|socket| socket.set_send_buffer_size(8 * 1024)).await.unwrap();
            give.update(|sender| *sender = Some(connection.sender().clone()));
            let mut bytes = 0;
            let end = loop {
                match connection.receive().await {
                    Ok(Some(chunk)) => bytes += chunk.len(),
                    Ok(None) => break Ok(bytes),
                    Err(error) => break Err(error),
                }
            };
            report.update(|seen| *seen = Some(end));
        }
    });
    (running, address, senders, seen)
}

/// Connects a client with small kernel buffers.
fn connect_narrow(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends pieces of `bytes` until the peer's kernel and the queue stay full. Returns the number of accepted bytes.
fn fill(sender: &ByteSender, bytes: &[u8]) -> usize {
    let (mut accepted, mut refusals) = (0, 0);
    wait_until("the queue to fill", || {
        let piece = &bytes[accepted..(accepted + 1000).min(bytes.len())];
        assert!(!piece.is_empty(), "a peer that does not read took it all");
        match sender.try_send(piece.to_vec()) {
            Ok(()) => (accepted, refusals) = (accepted + piece.len(), 0),
            Err(SendError::Full) => refusals += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(sender.queued_bytes() <= HIGH, "{} bytes are queued", sender.queued_bytes());
        refusals == 1000
    });
    accepted
}

/// Returns whether `future` is pending.
fn is_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn a_peer_that_does_not_read_bounds_the_queue_and_loses_nothing() {
    let bytes = numbered(KERNEL_BYTES_MAX);
    on_every_engine(|setup| {
        let (running, address, senders, seen) = start_with_sender(&setup);
        let mut client = connect_narrow(address);
        let sender = senders.wait("the sender", Option::take);
        let accepted = fill(&sender, &bytes);
        assert!(sender.queued_bytes() > 0);
        thread::scope(|scope| {
            assert!(
                is_pending(pin!(sender.send(bytes[accepted..accepted + 10_000].to_vec()))),
                "the peer does not read"
            );
            assert!(is_pending(pin!(sender.flush())), "the peer does not read");
            let waiting = scope.spawn(|| {
                for piece in bytes[accepted..].chunks(10_000) {
                    block_on(sender.send(piece.to_vec())).unwrap();
                }
                block_on(sender.flush()).unwrap();
                assert_eq!(sender.queued_bytes(), 0, "flushed");
            });
            assert!(read_exact(&mut client, bytes.len()) == bytes, "what was accepted arrived changed");
            waiting.join().unwrap();
        });
        assert_eq!(total(&running).sent_bytes_total, bytes.len() as u64);
        drop(client);
        assert_eq!(seen.wait("the end", |seen| *seen), Ok(0));
        finish(running);
    });
}

#[test]
fn a_stuck_connection_ends_at_its_write_deadline() {
    let bytes = numbered(KERNEL_BYTES_MAX);
    on_every_engine(|setup| {
        let (running, address, senders, seen) = start_with_sender(&setup);
        let mut client = connect_narrow(address);
        let sender = senders.wait("the sender", Option::take);
        let accepted = fill(&sender, &bytes);
        let deadline = Instant::now() + Duration::from_millis(50);
        sender.set_write_deadline(Some(deadline));
        let closed = SendError::Closed(CloseCause::WriteDeadline);
        assert_eq!(block_on(sender.send(&b"more"[..])), Err(closed));
        assert!(Instant::now() >= deadline, "ended before its deadline");
        assert_eq!(block_on(sender.flush()), Err(closed));
        assert_eq!(sender.try_send(&b"more"[..]), Err(closed));
        let end = seen.wait("the handler's end", |seen| *seen);
        assert_eq!(end, Err(ReceiveError::Closed(CloseCause::WriteDeadline)));
        // The peer sees a reset, never an orderly end, even if the kernel could still deliver everything.
        let mut heard = Vec::new();
        let error = client.read_to_end(&mut heard).expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(bytes[..accepted].starts_with(&heard));
        finish(running);
    });
}

/// A write deadline with nothing queued has no effect.
#[test]
fn a_write_deadline_in_time_is_harmless() {
    on_every_engine_at_once(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            // Longer than a busy machine keeps a worker from sending.
            let deadline = Instant::now() + Duration::from_secs(2);
            connection.set_write_deadline(Some(deadline));
            connection.sender().send(&b"first"[..]).await.unwrap();
            connection.sender().flush().await.unwrap();
            connection.timer().sleep_until(deadline + Duration::from_millis(30)).await;
            connection.sender().send(&b" second"[..]).await.unwrap();
            assert!(matches!(connection.receive().await, Ok(None)));
        });
        let mut client = connect(address);
        assert_eq!(read_exact(&mut client, 12), b"first second");
        drop(client);
        wait_until("the end", || total(&running).closed_total == 1);
        finish(running);
    });
}

#[test]
fn a_message_above_the_high_mark_passes_alone() {
    let large = numbered(3 << 20);
    on_every_engine(|setup| {
        let (running, address, senders, _) = start_with_sender(&setup);
        let mut client = connect_narrow(address);
        let sender = senders.wait("the sender", Option::take);
        sender.try_send(large.clone()).unwrap();
        assert_eq!(sender.try_send(&b"x"[..]), Err(SendError::Full), "only with nothing else queued");
        assert!(sender.queued_bytes() <= large.len());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| block_on(sender.send(large.clone())));
            assert!(read_exact(&mut client, large.len()) == large);
            assert!(read_exact(&mut client, large.len()) == large);
            waiting.join().unwrap().unwrap();
        });
        drop(client);
        finish(running);
    });
}

const HEAD_BYTES: usize = 7;

/// Returns a message: its sender, number and length, and bytes that follow from these.
fn message(sender: u8, number: u16) -> Vec<u8> {
    // Some are copied into the queue, some queued by reference, and one is above the high mark.
    let len = match number {
        100 => HIGH + 1,
        _ => usize::from(number) * 97 % 9000,
    };
    let mut message = vec![sender];
    message.extend(number.to_le_bytes());
    message.extend((len as u32).to_le_bytes());
    message.extend((0..len).map(|i| (i as u8) ^ sender ^ number as u8));
    message
}

#[test]
fn senders_on_several_threads_keep_their_messages_whole_and_in_order() {
    const SENDERS: u8 = 4;
    const MESSAGES: u16 = 150;
    on_every_engine(|setup| {
        let (running, address, senders, _) = start_with_sender(&setup);
        let mut client = connect(address);
        let sender = senders.wait("the sender", Option::take);
        thread::scope(|scope| {
            for thread in 0..SENDERS {
                let sender = sender.clone();
                scope.spawn(move || {
                    for number in 0..MESSAGES {
                        block_on(sender.send(message(thread, number))).unwrap();
                        let queued = sender.queued_bytes();
                        assert!(queued <= HIGH + 1 + HEAD_BYTES, "{queued} bytes are queued");
                    }
                });
            }
            let mut next = [0; SENDERS as usize];
            for _ in 0..usize::from(MESSAGES) * usize::from(SENDERS) {
                let head = read_exact(&mut client, HEAD_BYTES);
                let (thread, number) = (head[0], u16::from_le_bytes([head[1], head[2]]));
                let len = u32::from_le_bytes(head[3..].try_into().unwrap());
                let rest = read_exact(&mut client, len as usize);
                assert_eq!(number, next[usize::from(thread)], "of sender {thread}");
                assert!([head, rest].concat() == message(thread, number), "{thread}/{number} arrived changed");
                next[usize::from(thread)] += 1;
            }
        });
        drop(client);
        finish(running);
    });
}

#[test]
fn nothing_follows_the_last_bytes() {
    on_every_engine(|setup| {
        let (running, address, senders, seen) = start_with_sender(&setup);
        let mut client = connect(address);
        let sender = senders.wait("the sender", Option::take);
        sender.try_send(&b"before, "[..]).unwrap();
        let outcomes: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| sender.append_last(|tail| tail.extend_from_slice(b"last")))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| outcome.is_ok() || *outcome == Err(SendError::Finished)));
        assert_eq!(sender.try_send(&b"after"[..]), Err(SendError::Finished));
        assert_eq!(block_on(sender.send(&b"after"[..])), Err(SendError::Finished));
        assert!(sender.is_finished());
        sender.shutdown_write();
        assert_eq!(read_all(&mut client), b"before, last");
        drop(client);
        assert_eq!(seen.wait("the end", |seen| *seen), Ok(0));
        finish(running);
    });
}

/// A flush waits for bytes accepted before it, not for those that others send later.
#[test]
fn a_flush_ends_while_others_go_on_sending() {
    on_every_engine(|setup| {
        let (running, address, senders, _) = start_with_sender(&setup);
        let mut client = connect(address);
        let sender = senders.wait("the sender", Option::take);
        let flushed = Progress::<bool>::default();
        thread::scope(|scope| {
            scope.spawn(|| while block_on(sender.send(vec![7; 1000])).is_ok() {});
            scope.spawn(|| {
                let mut bytes = [0; 4096];
                while !flushed.wait("a look", |flushed| Some(*flushed)) && client.read(&mut bytes).unwrap() > 0 {}
                sender.abort();
            });
            for _ in 0..20 {
                block_on(sender.flush()).unwrap();
            }
            flushed.update(|flushed| *flushed = true);
        });
        drop(client);
        finish(running);
    });
}

/// The FIN that is known to follow the last bytes waits for a socket that does not take them at once, and then comes
/// although the handler keeps the connection.
#[test]
fn the_fin_follows_the_last_bytes_however_long_they_take() {
    for len in [1, KERNEL_BYTES_MAX / 8] {
        let bytes = numbered(len);
        on_every_engine(|setup| {
            let (running, address, senders, seen) = start_with_sender(&setup);
            let mut client = connect_narrow(address);
            let sender = senders.wait("the sender", Option::take);
            sender.append_last(|tail| tail.extend_from_slice(&bytes)).unwrap();
            sender.shutdown_write();
            assert!(read_all(&mut client) == bytes);
            client.write_all(b"still read").unwrap();
            drop(client);
            assert_eq!(seen.wait("the end", |seen| *seen), Ok(10));
            finish(running);
        });
    }
}

/// Dropping a waiting send queues nothing.
#[test]
fn an_abandoned_send_was_not_sent() {
    let bytes = numbered(KERNEL_BYTES_MAX);
    on_every_engine(|setup| {
        let (running, address, senders, _) = start_with_sender(&setup);
        let mut client = connect_narrow(address);
        let sender = senders.wait("the sender", Option::take);
        let accepted = fill(&sender, &bytes);
        {
            let mut send = pin!(sender.send(&b"never"[..]));
            assert!(matches!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        }
        sender.shutdown_write();
        assert!(read_all(&mut client) == bytes[..accepted]);
        drop(client);
        finish(running);
    });
}

/// An encoder runs under the queue's lock, so it must not send. It panics instead of waiting for itself, on a thread
/// that owns the lock and on one that does not; nothing of it is sent, and the connection goes on.
#[test]
fn an_encoder_that_sends_again_panics() {
    fn check(sender: &ByteSender) {
        for again in
            [|sender: &ByteSender| sender.try_send("again"), |sender: &ByteSender| sender.append(|out| out.push(b'!'))]
        {
            let nested = catch_unwind(AssertUnwindSafe(|| {
                sender.try_append(8, |out| {
                    out.extend_from_slice(b"half");
                    let _ = again(sender);
                })
            }));
            assert!(nested.is_err());
        }
    }
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |connection: Connection| async move {
            check(connection.sender());
            thread::scope(|scope| scope.spawn(|| check(connection.sender())).join().unwrap());
            check(connection.sender());
            connection.sender().send("whole").await.unwrap();
        });
        assert_eq!(read_all(&mut connect(address)), b"whole");
        finish(running);
    });
}

/// A payload whose owner panics when it is dropped, wherever the engine drops it: after the send, from the queue of a
/// connection that was reset, or after its publication. Other connections, and the shutdown, notice nothing.
#[test]
fn a_payload_that_panics_when_dropped_ends_nothing() {
    struct Bomb(Vec<u8>);
    impl AsRef<[u8]> for Bomb {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as the test asked for");
        }
    }
    let bomb = || Bytes::from_owner(Bomb(pattern(10_000)));
    on_every_engine(|setup| {
        let room = FanOut::new(PublishBudget::new(1 << 20));
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let room = room.clone();
            async move {
                let Ok(Some(request)) = connection.receive().await else { return };
                match &request[..] {
                    b"send" => connection.sender().send(bomb()).await.unwrap(),
                    b"reset" => {
                        for _ in 0..100 {
                            let _ = connection.sender().append_with(&[], bomb());
                        }
                        connection.abort();
                    }
                    _ => {
                        let id = MemberId::next();
                        let membership = room.join(connection.sender(), id, JoinOptions::default());
                        room.publish_counted(Publish::new(bomb())).unwrap().await;
                        drop(membership);
                    }
                }
            }
        });
        for request in ["send", "reset", "publish", "send"] {
            let mut client = connect(address);
            client.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let end = client.read_to_end(&mut answer);
            assert!(request == "reset" || (end.is_ok() && answer == pattern(10_000)), "{request}: {end:?}");
        }
        finish(running);
    });
}

/// The destructor of a payload may use the connection it was sent on, whenever the engine drops it.
#[test]
fn a_payload_may_use_its_connection_when_dropped() {
    struct Nosy(Vec<u8>, ByteSender, Progress<usize>);
    impl AsRef<[u8]> for Nosy {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            let _ = self.1.try_send("from a destructor");
            self.2.update(|drops| *drops += 1);
        }
    }
    on_every_engine(|setup| {
        let drops = Progress::<usize>::default();
        let dropped = drops.clone();
        let (running, address) = start(setup.config, move |connection: Connection| {
            let dropped = dropped.clone();
            async move {
                let sender = connection.sender().clone();
                let payload = |len| Bytes::from_owner(Nosy(pattern(len), sender.clone(), dropped.clone()));
                sender.append_with(b"copied", payload(100)).unwrap();
                for _ in 0..50 {
                    sender.append_with(b"queued", payload(100_000)).unwrap();
                }
                connection.abort();
            }
        });
        let mut client = connect(address);
        let _ = client.read_to_end(&mut Vec::new());
        drops.wait("all drops", |drops| (*drops == 51).then_some(()));
        finish(running);
    });
}
