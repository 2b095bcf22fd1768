//! An application as large as real ones: compression, rooms, a keepalive, limits, timers, answers of tasks, a peer that
//! reads slowly, others that vanish, and a shutdown in the middle of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tidegate::engine::time;
use tidegate::prelude::*;
use tidegate::websocket::{
    CloseEvent, DeflateConfig, Error, EventHandler, EventSocket, HubConfig, HubError, KeepaliveConfig, SlowPolicy,
    upgrade_events,
};

use crate::handler::{Gate, wait_until};
use crate::support::client::{CLOSE, Client, HANDSHAKE, PING, PONG, TEXT, close_frame, frame};
use crate::support::servers::{Setup, TestServer, on_every_engine};

const ROOMS: usize = 3;
const MESSAGES: usize = 40;

/// A game: what a player sends goes to the others in the room, and is answered by a task.
struct Game {
    hub: Hub,
    counts: Arc<Counts>,
    gate: Gate,
}

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    closed: AtomicU64,
    answered: AtomicU64,
}

struct Player {
    room: String,
    moves: u32,
    board: [u8; 4096],
}

impl EventHandler for Game {
    type State = Player;

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<Player> {
        let number = self.counts.opened.fetch_add(1, Ordering::SeqCst);
        let room = format!("room {}", number as usize % ROOMS);
        ws.subscribe(&room)?;
        ws.set_read_deadline(Some(time::now() + Duration::from_secs(3600)));
        ws.send(&room)?;
        Ok(Player { room, moves: 0, board: [number as u8; 4096] })
    }

    fn on_message(
        &self,
        ws: &mut EventSocket<'_, Self>,
        player: &mut Player,
        message: MessageRef<'_>,
    ) -> websocket::Result {
        player.moves += 1;
        let at = player.moves as usize % player.board.len();
        player.board[at] = message.as_bytes().len() as u8;
        match message.as_text() {
            Some("snapshot") => loop {
                match ws.send(&player.board) {
                    Ok(()) => {}
                    Err(Error::Full) => break,
                    Err(error) => return Err(error.into()),
                }
            },
            Some("wait") => {
                let gate = self.gate.clone();
                ws.spawn(async move { gate.pass().await }, |ws, player, ()| {
                    ws.handler().counts.answered.fetch_add(1, Ordering::SeqCst);
                    Ok(ws.send(&format!("waited after {}", player.moves))?)
                });
            }
            _ => {
                match ws.publish(&player.room, message) {
                    Ok(()) | Err(HubError::Full) => {}
                    Err(error) => return Err(error.into()),
                }
                ws.spawn(time::sleep(Duration::from_millis(1)), |ws, player, ()| {
                    Ok(ws.send(&format!("move {}", player.moves))?)
                });
            }
        }
        Ok(())
    }

    fn on_close(&self, player: Player, event: &CloseEvent<'_>) {
        assert_eq!(event.subscriptions(), [player.room.as_str().into()]);
        let _ = self.hub.publish(&player.room, format!("{} has left", player.moves)).try_queue();
        self.counts.closed.fetch_add(1, Ordering::SeqCst);
    }

    fn hub(&self) -> Option<&Hub> {
        Some(&self.hub)
    }
}

impl Game {
    fn start(setup: &Setup) -> (TestServer, Hub, Arc<Counts>, Gate) {
        let hub: Hub = Hub::new(HubConfig::default().slow(SlowPolicy::Drop));
        let (counts, gate) = (Arc::<Counts>::default(), Gate::default());
        let game = Self { hub: hub.clone(), counts: Arc::clone(&counts), gate: gate.clone() };
        let keepalive = KeepaliveConfig::default().interval(Duration::from_millis(50));
        let config = WebSocketConfig::default().message_bytes_max(1 << 16).keepalive(keepalive);
        let upgrade = upgrade_events(game).config(config).compression(DeflateConfig::default());
        (TestServer::start(setup, Router::new().get("/ws", upgrade)), hub, counts, gate)
    }
}

/// Opens a connection, and reads its room. Every second one agrees on compression, and sends uncompressed all the same.
fn open(address: SocketAddr, number: usize) -> Client {
    let mut client = Client::connect(address);
    let offer = if number % 2 == 0 { "" } else { "Sec-WebSocket-Extensions: permessage-deflate\r\n" };
    client.write(HANDSHAKE.replacen("\r\n\r\n", &format!("\r\n{offer}\r\n"), 1).as_bytes());
    client.expect_upgraded();
    assert_eq!(client.next_between_pings().first, TEXT);
    client
}

/// Returns the close code of the end, and answers pings until then.
fn read_to_close(client: &mut Client) -> u16 {
    loop {
        let frame = client.next().expect("a close frame before the end of the stream");
        match frame.first {
            PING => client.send(PONG, &frame.payload),
            CLOSE => return u16::from_be_bytes([frame.payload[0], frame.payload[1]]),
            _ => {}
        }
    }
}

#[test]
fn an_application_lives_through_all_of_it_at_once() {
    on_every_engine(|setup| {
        let (server, hub, counts, gate) = Game::start(setup);
        let mut slow = open(server.address, 0);
        slow.send(TEXT, b"snapshot");
        // The answers of tasks come back to nobody.
        let mut gone = open(server.address, 1);
        gone.write(&[frame(TEXT, b"wait"), frame(TEXT, b"wait"), close_frame(1000, "")].concat());
        assert_eq!(read_to_close(&mut gone), 1000);
        gone.expect_end();
        let mut too_large = open(server.address, 2);
        too_large.write(&frame(TEXT, &[b'x'; (1 << 16) + 1]));
        assert_eq!(read_to_close(&mut too_large), 1009);
        drop(too_large);
        thread::scope(|scope| {
            for number in 3..15 {
                let address = server.address;
                scope.spawn(move || {
                    let mut client = open(address, number);
                    for count in 0..MESSAGES {
                        client.send(TEXT, format!("{number} moves for the {count}th time").as_bytes());
                    }
                    if number % 3 == 0 {
                        return drop(client);
                    }
                    client.write(&close_frame(4000, ""));
                    assert_eq!(read_to_close(&mut client), 4000);
                    client.expect_end();
                });
            }
        });
        wait_until("the others to end", || counts.closed.load(Ordering::SeqCst) == 14 && hub.len() == 1);
        gate.open();
        let mut last = open(server.address, 15);
        last.send(TEXT, b"wait");
        while last.next_between_pings().payload != b"waited after 1" {}
        assert_eq!(counts.answered.load(Ordering::SeqCst), 1);
        server.running.handle().begin_shutdown(Shutdown::default());
        for client in [&mut last, &mut slow] {
            assert_eq!(read_to_close(client), 1001);
            client.write(&close_frame(1001, ""));
        }
        last.expect_end();
        slow.expect_end();
        let report = server.running.join();
        assert_eq!(report.forced, 0);
        assert_eq!((counts.opened.load(Ordering::SeqCst), counts.closed.load(Ordering::SeqCst)), (16, 16));
        assert!(hub.is_empty() && hub.rooms().is_empty());
    });
}
