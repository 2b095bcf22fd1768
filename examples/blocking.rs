//! A handler in blocking style. Each WebSocket has one thread that reads and one that computes and writes, so a long
//! computation delays no other client. The answer to a number is how many primes are below it.
//!
//! The reader ends the writer by dropping its end of the queue between them. The writer stops computing when the client
//! disconnects. Threads cost far more than tasks: use this for tens or hundreds of connections.
//!
//! ```text
//! cargo run --release --example blocking -- --addr 127.0.0.1:9001
//! python -m websockets ws://127.0.0.1:9001/primes    # then send: 1000000
//! ```

mod support {
    pub mod options;
    pub mod server;
}

use std::sync::mpsc;
use std::thread;

use support::server;
use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::websocket::{Closed, Error};

/// Numbers queued for the writer. While the queue is full, nothing is read from the client.
const WAITING_MAX: usize = 4;

fn main() -> tidegate::Result<()> {
    let options = server::options("Counts primes in blocking handlers, with two threads for each WebSocket.", &[]);
    let primes = websocket::upgrade(async |ws| {
        thread::spawn(move || {
            if let Err(error) = serve(ws) {
                eprintln!("a connection failed: {error}");
            }
        });
        Ok(())
    });
    let app = Router::new().get("/primes", primes);

    let server = Server::builder(app).bind(options.value::<String>("--addr"))?.engine(options.value("--engine"));
    let running = server.start()?;
    println!("listening on {}", running.summary());
    running.run_until_signal(Shutdown::default())?;
    Ok(())
}

fn serve(mut ws: WebSocket) -> Result<(), Error> {
    let (sender, closed) = (ws.sender(), ws.closed());
    let (queue, numbers) = mpsc::sync_channel::<Option<u32>>(WAITING_MAX);
    let writer = thread::spawn(move || {
        for number in numbers {
            let answer = match number.map(|number| (number, primes_below(number, &closed))) {
                Some((number, Some(count))) => format!("{count} primes below {number}"),
                Some((_, None)) => return Ok(()),
                None => "error: send a number".to_owned(),
            };
            block_on(sender.send(answer))?;
        }
        Ok(())
    });
    let read = read(&mut ws, &queue);
    drop(queue);
    let written = writer.join().unwrap_or_else(|_| Err(Error::application("the writer panicked")));
    // After the closing handshake the writer cannot send any more. That is not a failure.
    read.and(written.or_else(|error| if error.is_close_sent() { Ok(()) } else { Err(error) }))
}

fn read(ws: &mut WebSocket, queue: &mpsc::SyncSender<Option<u32>>) -> Result<(), Error> {
    while let Some(message) = block_on(ws.recv())? {
        let number = message.as_text().and_then(|text| text.parse().ok());
        if queue.send(number).is_err() {
            break;
        }
    }
    Ok(())
}

/// Counts the primes below `number`. `None` if the client disconnects first.
fn primes_below(number: u32, closed: &Closed) -> Option<usize> {
    let mut primes: Vec<u32> = Vec::new();
    for candidate in 2..number {
        if candidate % 1024 == 0 && closed.is_closed() {
            return None;
        }
        let mut divisors = primes.iter().take_while(|prime| prime.saturating_mul(**prime) <= candidate);
        if divisors.all(|prime| candidate % prime != 0) {
            primes.push(candidate);
        }
    }
    Some(primes.len())
}
