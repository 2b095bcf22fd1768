//! Large messages that are received into their reader's memory.

use std::future::poll_fn;
use std::io::Write;
use std::net::{Shutdown as Half, TcpStream};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tidegate_engine::{CloseCause, Connection, Filling, ReceiveError, Running, Shutdown};

use crate::flow::write_until;
use crate::support::*;

/// The bytes in a reader's memory before the message.
const OWN: &[u8] = b"own";

/// Lengths around the sizes of buffers, marks and fills.
const LENGTHS: [usize; 12] =
    [0, 1, 4_087, 4_088, 4_089, 16_384, 65_535, 65_537, 262_143, 262_144, 300_001, (1 << 20) + 3];

/// Returns a message behind its length.
fn framed(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u64).to_le_bytes()[..], payload].concat()
}

/// A message that its reader is gathering.
struct Message {
    memory: Vec<u8>,
    filling: Filling,
    fills: usize,
}

impl Message {
    fn new(len: usize) -> Self {
        let mut memory = Vec::with_capacity(OWN.len() + len);
        memory.extend_from_slice(OWN);
        Self { memory, filling: Filling::new(), fills: 0 }
    }

    /// Waits for a part of the `missing` bytes. Returns false at the end of the stream.
    async fn receive(&mut self, connection: &mut Connection, missing: usize) -> Result<bool, ReceiveError> {
        let Self { memory, filling, .. } = self;
        if !poll_fn(|cx| connection.poll_fill_into(cx, memory, filling, missing)).await? {
            return Ok(false);
        }
        match connection.take_filled(filling) {
            Some((filled, kept)) => {
                assert!(filled.starts_with(OWN) && (1..=missing).contains(&(filled.len() - kept)));
                self.memory = filled;
                self.fills += 1;
            }
            None => {
                let len = connection.buffer().len().min(missing);
                self.memory.extend_from_slice(&connection.buffer()[..len]);
                connection.consume(len);
            }
        }
        Ok(true)
    }

    fn len(&self) -> usize {
        self.memory.len() - OWN.len()
    }

    fn payload(&self) -> &[u8] {
        &self.memory[OWN.len()..]
    }
}

/// Reads the length of a message. `None` at the end of the stream.
async fn length(connection: &mut Connection) -> Option<usize> {
    let mut bytes = Vec::new();
    while bytes.len() < 8 {
        if !poll_fn(|cx| connection.poll_fill(cx)).await.ok()? {
            return None;
        }
        let len = connection.buffer().len().min(8 - bytes.len());
        bytes.extend_from_slice(&connection.buffer()[..len]);
        connection.consume(len);
    }
    Some(u64::from_le_bytes(bytes.try_into().ok()?) as usize)
}

/// Echoes messages with their lengths. Reports how many parts of each were received into its memory.
async fn echo_messages(mut connection: Connection, fills: Progress<Vec<usize>>) {
    while let Some(len) = length(&mut connection).await {
        let mut message = Message::new(len);
        let address = message.memory.as_ptr();
        while message.len() < len {
            let missing = len - message.len();
            if !message.receive(&mut connection, missing).await.unwrap() {
                return;
            }
        }
        assert_eq!(message.memory.as_ptr(), address, "the message stays where it was received");
        fills.update(|fills| fills.push(message.fills));
        if connection.sender().send(framed(message.payload())).await.is_err() {
            return;
        }
    }
}

/// Each message is sent twice in a row, so that other bytes follow it.
#[test]
fn messages_of_every_length_arrive_in_whatever_pieces_they_are_sent() {
    on_every_engine(|setup| {
        let fills = Progress::<Vec<usize>>::default();
        let seen = fills.clone();
        let (running, address) =
            start(setup.config, move |connection: Connection| echo_messages(connection, seen.clone()));
        for piece in [usize::MAX, 70_001, 4_096, 1_447] {
            let mut client = connect(address);
            for len in LENGTHS {
                let sent = framed(&numbered(len)).repeat(2);
                let mut writer = client.try_clone().unwrap();
                thread::scope(|scope| {
                    scope.spawn(|| sent.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap()));
                    assert!(read_exact(&mut client, sent.len()) == sent, "{len} bytes in pieces of {piece} differ");
                });
            }
        }
        let filled = fills.wait("the reports", |fills| Some(fills.iter().filter(|count| **count > 0).count()));
        assert!(filled > 0, "no message was received into its memory");
        finish(running);
    });
}

/// Starts a handler that gathers one message and reports its progress and its end.
fn start_gathering(setup: Setup, leave: Inbox<()>) -> (Running, TcpStream, Progress<Gathered>) {
    let gathered = Progress::<Gathered>::default();
    let report = gathered.clone();
    let (running, address) = start(setup.config, move |mut connection: Connection| {
        let (report, leave) = (report.clone(), leave.clone());
        async move {
            let Some(len) = length(&mut connection).await else { return };
            let mut message = Message::new(len);
            while message.len() < len {
                let missing = len - message.len();
                let mut left = pin!(leave.next());
                let received = {
                    let mut receive = pin!(message.receive(&mut connection, missing));
                    poll_fn(|cx| match receive.as_mut().poll(cx) {
                        Poll::Pending => left.as_mut().poll(cx).map(|_| None),
                        ready => ready.map(Some),
                    })
                    .await
                };
                match received {
                    Some(Ok(true)) => report.update(|gathered| gathered.bytes = message.len()),
                    Some(end) => return report.update(|gathered| gathered.end = Some(end)),
                    None => return report.update(|gathered| gathered.left = true),
                }
            }
            report.update(|gathered| gathered.payload = message.payload().to_vec());
        }
    });
    (running, connect(address), gathered)
}

#[derive(Debug, Default)]
struct Gathered {
    bytes: usize,
    payload: Vec<u8>,
    left: bool,
    end: Option<Result<bool, ReceiveError>>,
}

/// Sends half of a message in two parts, the second once the first has been received. The worker then has the memory.
fn send_half(client: &mut TcpStream, message: &[u8], gathered: &Progress<Gathered>) -> usize {
    let half = message.len() / 2;
    client.write_all(&message[..half / 2]).unwrap();
    gathered.wait("a quarter", |gathered| (gathered.bytes + 8 == half / 2).then_some(()));
    client.write_all(&message[half / 2..half]).unwrap();
    gathered.wait("half", |gathered| (gathered.bytes + 8 == half).then_some(()));
    half
}

#[test]
fn a_message_goes_on_after_a_stall() {
    on_every_engine(|setup| {
        let message = framed(&numbered(400_000));
        let (running, mut client, gathered) = start_gathering(setup, Inbox::default());
        let half = send_half(&mut client, &message, &gathered);
        client.write_all(&message[half..]).unwrap();
        let payload = gathered.wait("the message", |gathered| {
            (gathered.bytes == 400_000 && !gathered.payload.is_empty()).then(|| gathered.payload.clone())
        });
        assert!(payload == message[8..]);
        drop(client);
        finish(running);
    });
}

#[test]
fn the_end_of_the_peer_in_the_middle_of_a_message_is_reported() {
    on_every_engine(|setup| {
        for reset in [false, true] {
            let message = framed(&numbered(400_000));
            let (running, mut client, gathered) = start_gathering(setup.clone(), Inbox::default());
            send_half(&mut client, &message, &gathered);
            if reset {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
                drop(client);
            } else {
                client.shutdown(Half::Write).unwrap();
            }
            let end = gathered.wait("the end", |gathered| gathered.end);
            let expected = if reset { Err(ReceiveError::Closed(CloseCause::Reset)) } else { Ok(false) };
            assert_eq!(end, expected);
            running.shutdown(Shutdown::default());
        }
    });
}

/// Memory that is received into outlives its handler. Bytes that the peer sends afterwards are dropped.
#[test]
fn a_handler_can_end_in_the_middle_of_a_message() {
    on_every_engine(|setup| {
        let message = framed(&numbered(4_000_000));
        let leave = Inbox::default();
        let (running, mut client, gathered) = start_gathering(setup, leave.clone());
        let half = send_half(&mut client, &message, &gathered);
        leave.close();
        gathered.wait("its end", |gathered| gathered.left.then_some(()));
        assert_eq!(read_all(&mut client), b"");
        client.write_all(&message[half..]).unwrap();
        drop(client);
        finish(running);
    });
}

#[test]
fn an_engine_can_end_in_the_middle_of_a_message() {
    on_every_engine(|setup| {
        let message = framed(&numbered(400_000));
        let (running, mut client, gathered) = start_gathering(setup, Inbox::default());
        send_half(&mut client, &message, &gathered);
        assert_eq!(running.shutdown(Shutdown::immediate()).forced, 1);
        drop(client);
    });
}

/// A handler that stalls after a fill has a bounded number of bytes received for it, and loses none.
#[test]
fn a_stalled_handler_stalls_its_peer_between_two_fills() {
    let flood = framed(&numbered(24 << 20));
    on_every_engine(|setup| {
        let bound = setup.inbound_bytes_max();
        let (go_on, gathered) = (Inbox::<()>::default(), Progress::<Gathered>::default());
        let (wait, report) = (go_on.clone(), gathered.clone());
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let (wait, report) = (wait.clone(), report.clone());
            async move {
                let len = length(&mut connection).await.unwrap();
                let mut message = Message::new(len);
                while message.len() < len {
                    let missing = len - message.len();
                    assert_eq!(message.receive(&mut connection, missing).await, Ok(true));
                    if message.fills == 1 && wait.next().await.is_some() {
                        report.update(|gathered| gathered.bytes = message.len() + connection.inbound_bytes());
                        while wait.next().await.is_some() {}
                    }
                }
                report.update(|gathered| gathered.payload = message.memory.split_off(OWN.len()));
            }
        });
        let mut client = connect(address);
        let sent = write_until(&mut client, &flood, &running, |_| true);
        go_on.push(());
        let held = gathered.wait("the stalled handler", |gathered| (gathered.bytes > 0).then_some(gathered.bytes));
        let received = total(&running).received_bytes_total as usize - 8;
        assert!(received <= held + bound, "{received} bytes were received, and {held} are with the handler");
        go_on.close();
        client.set_nonblocking(false).unwrap();
        client.write_all(&flood[sent..]).unwrap();
        let payload = gathered.wait("the flood", |gathered| {
            (!gathered.payload.is_empty()).then(|| std::mem::take(&mut gathered.payload))
        });
        assert!(payload == flood[8..], "the flood arrived changed");
        drop(client);
        finish(running);
    });
}
