//! A handler in blocking style: each WebSocket has a thread that reads and a thread that computes and writes, and whatever they
//! do holds up nobody else. A number is answered with how many primes are below it.
//!
//! The reader ends the writer by dropping its end of the queue between them; the writer gives up what it computes when
//! the client has gone. Threads cost far more than tasks: this is for tens or hundreds of connections.
//!
//! ```text
//! cargo run --release --example blocking -- --addr 127.0.0.1:9001
//! python -m websockets ws://127.0.0.1:9001/primes    # then send: 1000000
//! ```

use std::future::ready;
use std::sync::mpsc;
use std::thread;

use tidegate::engine::block_on;
use tidegate::prelude::*;
use tidegate::websocket::{Closed, Error};

/// Numbers that wait for the writer; a client that sends more is not read meanwhile.
const WAITING_MAX: usize = 4;

fn main() -> tidegate::Result<()> {
    let primes = websocket::upgrade(|ws: WebSocket| {
        thread::spawn(move || {
            if let Err(error) = serve(ws) {
                eprintln!("a client was lost: {error}");
            }
        });
        ready(Ok(()))
    });
    let app = Router::new().get("/primes", primes);

    let server = Server::builder(app).bind(option("--addr", "127.0.0.1:9001"))?;
    let running = server.engine(option("--engine", "auto").parse()?).start()?;
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
    // Once the closing handshake is over the writer finds nobody to write to, which is no failure.
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

/// How many primes are below `number`; `None` if the client went before that was known.
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

/// The value of an option such as `--addr`.
fn option(name: &str, default: &str) -> String {
    std::env::args().skip_while(|argument| argument != name).nth(1).unwrap_or_else(|| default.to_owned())
}
