//! Tests of the HTTP mode.

use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use tidegate_benches::error::LoadError;
use tidegate_benches::exchange::Pacing;
use tidegate_benches::http::{self, Http};
use tidegate_benches::replies::Mismatch;

use crate::servers::{read_head, run, server};

const RIGHT: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: test\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Length: 13\r\n\r\nHello, World!";

fn config(address: SocketAddr, pacing: Pacing) -> Http {
    Http { run: run(address, 8), path: "/plaintext".into(), pacing }
}

/// Answers each request with the result of `answer` for its number.
fn serve(stream: TcpStream, answer: impl Fn(usize) -> String) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    for number in 0.. {
        let head = read_head(&mut reader)?;
        let Some(request) = head.first() else { break };
        assert_eq!(request, "GET /plaintext HTTP/1.1");
        writer.write_all(answer(number).as_bytes())?;
    }
    Ok(())
}

#[test]
fn requests_are_answered_in_every_pacing() {
    let other_second =
        |number: usize| RIGHT.replace("08:49", if (number / 10).is_multiple_of(2) { "08:49" } else { "08:50" });
    let address = server(move |stream| serve(stream, other_second));
    let pacings = [
        Pacing::Windows { depth: 1 },
        Pacing::Windows { depth: 16 },
        Pacing::Sliding { depth: 5 },
        Pacing::Rate { messages_per_s: 2_000.0 },
    ];
    for pacing in pacings {
        let report = http::run(&config(address, pacing)).unwrap_or_else(|error| panic!("{error} with {pacing:?}"));
        assert!(report.measured.units > 0, "{pacing:?}");
        assert_eq!(report.measured.latency.count(), report.measured.units);
        assert!(report.json().contains("\"mode\":\"http\""));
    }
}

#[test]
fn a_response_without_its_fields_fails_the_run() {
    let wrong = [("Date", "Data"), ("Server: test\r\n", ""), ("World", "world"), ("200", "503"), ("13", "12")];
    for (from, to) in wrong {
        let lie = move |number| if number == 7 { RIGHT.replace(from, to) } else { RIGHT.to_owned() };
        let address = server(move |stream| serve(stream, lie));
        let failed = http::run(&config(address, Pacing::Windows { depth: 4 }));
        let Err(LoadError::Wrong { error: Mismatch::Violation { reply: 7, .. }, .. }) = failed else {
            panic!("wrong {from:?} went unnoticed: {failed:?}")
        };
    }
}

#[test]
fn an_early_close_fails_the_run() {
    let address = server(|stream| {
        read_head(&mut BufReader::new(stream.try_clone()?))?;
        let mut stream = stream;
        stream.write_all(&RIGHT.as_bytes()[..40])
    });
    let failed = http::run(&config(address, Pacing::Windows { depth: 1 }));
    assert!(matches!(failed, Err(LoadError::Closed { outstanding: 1, .. })), "{failed:?}");
}

#[test]
fn a_second_answer_to_one_request_fails_the_run() {
    let address = server(|stream| serve(stream, |_| RIGHT.repeat(2)));
    let failed = http::run(&config(address, Pacing::Windows { depth: 1 }));
    assert!(matches!(failed, Err(LoadError::Wrong { error: Mismatch::Unsolicited { .. }, .. })), "{failed:?}");
}
