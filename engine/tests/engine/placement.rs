//! Handler placement: the same handler on every placement, tasks that stay on their thread, blocking-style handlers.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::Shutdown as Half;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use tidegate_engine::{
    BlockingConnection, CloseCause, Config, Connection, HandlerPlacement, ReceiveError, SendError, Shutdown, block_on,
    blocking, time,
};

use crate::support::child::Child;
use crate::support::*;

/// Counts and echoes in a future that is not `Send`, with state shared by its helpers.
async fn count_and_echo(mut connection: Connection) {
    let (count, home) = (Rc::new(Cell::new(0_usize)), thread::current().id());
    let log = Rc::new(RefCell::new(Vec::new()));
    while let Ok(Some(chunk)) = connection.receive().await {
        count.set(count.get() + chunk.len());
        log.borrow_mut().extend_from_slice(&chunk);
        time::sleep(Duration::ZERO).await;
        assert_eq!(thread::current().id(), home, "a handler stays on its thread");
        connection.sender().send(chunk.into_vec()).await.unwrap();
    }
    assert_eq!(count.get(), log.borrow().len());
    connection.sender().send(format!(" {}", count.get())).await.unwrap();
}

#[test]
fn one_handler_runs_on_every_placement() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, count_and_echo);
        let mut clients: Vec<_> = (0..10).map(|_| connect(address)).collect();
        for client in &mut clients {
            check_echo(client, &pattern(20_000));
            client.shutdown(Half::Write).unwrap();
            assert_eq!(read_all(client), b" 20000");
        }
        drop(clients);
        finish(running);
    });
}

/// Handlers run on the threads of their placement.
#[test]
fn handlers_run_where_they_were_placed() {
    on_every_engine(|mut setup| {
        setup.config.workers = 2;
        let placement = setup.config.placement;
        let homes = Progress::<Vec<(String, ThreadId)>>::default();
        let report = homes.clone();
        let (running, address) = start(setup.config, move |connection: Connection| {
            let current = thread::current();
            report.update(|homes| homes.push((current.name().unwrap_or_default().to_owned(), current.id())));
            echo(connection)
        });
        let mut clients: Vec<_> = (0..32).map(|_| connect(address)).collect();
        let homes = homes.wait("the handlers", |homes| (homes.len() == 32).then(|| homes.clone()));
        let threads = homes.iter().map(|(_, id)| *id).collect::<HashSet<_>>().len();
        let (prefix, threads_max) = match placement {
            HandlerPlacement::Inline => ("tidegate-worker-", 2),
            HandlerPlacement::SameCore => ("tidegate-handler-", 2),
            HandlerPlacement::Threads(threads) => ("tidegate-handler-", threads),
            other => unreachable!("no setup has {other:?}"),
        };
        assert!(homes.iter().all(|(name, _)| name.starts_with(prefix)), "{homes:?}");
        assert!((1..=threads_max).contains(&threads), "{homes:?}");
        clients.iter_mut().for_each(|client| check_echo(client, b"well placed"));
        drop(clients);
        finish(running);
    });
}

/// A handler that computes for long delays the others on its thread, but never the ring: their input is still
/// received.
#[test]
fn a_busy_handler_does_not_stop_the_ring() {
    on_every_engine(|setup| {
        if setup.config.placement == HandlerPlacement::Inline {
            return;
        }
        let go_on = Progress::<bool>::default();
        let busy = go_on.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let busy = busy.clone();
            async move {
                let first = connection.receive().await.unwrap().unwrap();
                // Blocks the handler thread, as a long computation does.
                busy.wait("the others' bytes", |go_on| go_on.then_some(()));
                connection.unread(first);
                echo(connection).await;
            }
        });
        let mut clients: Vec<_> = (0..8).map(|_| connect(address)).collect();
        for client in &mut clients {
            client.write_all(&pattern(1000)).unwrap();
        }
        wait_until("all bytes to arrive", || total(&running).received_bytes_total == 8000);
        go_on.update(|go_on| *go_on = true);
        for client in &mut clients {
            assert_eq!(read_exact(client, 1000), pattern(1000));
        }
        drop(clients);
        finish(running);
    });
}

#[test]
fn blocking_handlers_echo_on_separate_threads() {
    on_every_engine(|setup| {
        let threads = Progress::<HashSet<ThreadId>>::default();
        let note = threads.clone();
        let handler = move |mut connection: BlockingConnection| {
            note.update(|threads| _ = threads.insert(thread::current().id()));
            while let Ok(Some(chunk)) = connection.receive() {
                connection.send(chunk.into_vec()).unwrap();
            }
            connection.flush().unwrap();
            assert_eq!(connection.connection().sender().queued_bytes(), 0);
        };
        let (running, address) = start(setup.config, blocking(handler));
        let mut clients: Vec<_> = (0..10).map(|_| connect(address)).collect();
        for client in &mut clients {
            check_echo(client, &pattern(200_000));
        }
        threads.wait("ten threads", |threads| (threads.len() == 10).then_some(()));
        for client in &mut clients {
            client.shutdown(Half::Write).unwrap();
            assert_eq!(read_all(client), b"");
        }
        drop(clients);
        finish(running);
    });
}

/// Blocking code reads and writes a connection through the traits of std.
#[test]
fn blocking_connections_read_lines_and_write() {
    on_every_engine(|setup| {
        let handler = |mut connection: BlockingConnection| {
            let mut line = String::new();
            while connection.read_line(&mut line).unwrap() > 0 {
                writeln!(connection, "{} bytes", line.len()).unwrap();
                line.clear();
                let mut rest = [0; 3];
                connection.read_exact(&mut rest).unwrap();
                connection.write_all(&rest).unwrap();
                assert_eq!(connection.read(&mut []).unwrap(), 0);
            }
            Write::flush(&mut connection).unwrap();
        };
        let (running, address) = start(setup.config, blocking(handler));
        let mut client = connect(address);
        for piece in ["one line\nabc", "anoth", "er\nd", "ef", "\n", "ghi"] {
            client.write_all(piece.as_bytes()).unwrap();
        }
        client.shutdown(Half::Write).unwrap();
        assert_eq!(read_all(&mut client), b"9 bytes\nabc8 bytes\ndef1 bytes\nghi");
        drop(client);
        finish(running);
    });
}

#[test]
fn blocking_calls_end_with_the_engines_errors() {
    on_every_engine(|setup| {
        let done = Progress::<bool>::default();
        let report = done.clone();
        let handler = move |mut connection: BlockingConnection| {
            let deadline = Instant::now() + Duration::from_millis(30);
            connection.connection().set_read_deadline(Some(deadline));
            assert_eq!(connection.receive().err(), Some(ReceiveError::Deadline));
            assert!(Instant::now() >= deadline);
            let error = connection.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(matches!(error.get_ref(), Some(error) if error.is::<ReceiveError>()));
            connection.connection().set_read_deadline(None);

            connection.connection().sender().abort();
            assert_eq!(connection.receive().err(), Some(ReceiveError::Closed(CloseCause::Aborted)));
            assert_eq!(connection.send(&b"x"[..]), Err(SendError::Closed(CloseCause::Aborted)));
            assert_eq!(connection.write(b"x").unwrap_err().kind(), ErrorKind::ConnectionAborted);
            connection.into_connection().abort();
            report.update(|done| *done = true);
        };
        let (running, address) = start(setup.config, blocking(handler));
        let mut client = connect(address);
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        done.wait("the handler's checks", |done| done.then_some(()));
        finish(running);
    });
}

/// A panic on a handler's thread closes its connection, as in a task; a shutdown ends a blocked one.
#[test]
fn blocking_handlers_can_panic_and_be_shut_down() {
    on_every_engine(|setup| {
        let handler = |mut connection: BlockingConnection| {
            while let Ok(Some(chunk)) = connection.receive() {
                assert_ne!(&chunk[..], b"panic", "as the test asked for");
                connection.send(chunk.into_vec()).unwrap();
            }
        };
        let (running, address) = start(setup.config, blocking(handler));
        let (mut good, mut bad) = (connect(address), connect(address));
        check_echo(&mut good, b"before");
        bad.write_all(b"panic").unwrap();
        assert_eq!(read_all(&mut bad), b"");
        drop(bad);
        wait_until("the close", || total(&running).connections == 1);
        check_echo(&mut good, b"after");
        assert_eq!(running.shutdown(Shutdown::immediate()).forced, 1);
        assert_eq!(good.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// A thread whose sandbox forbids membarrier(2) cannot remove the bias of an inline connection's lock. The process ends
/// before a second thread is inside the lock.
#[test]
fn a_thread_without_the_fence_aborts_the_process() {
    const NAME: &str = "placement::a_thread_without_the_fence_aborts_the_process";
    if child::is_child(NAME) {
        let config = Config::default().workers(1).pin(false).placement(HandlerPlacement::Inline);
        let (_running, address) = start(config, |connection: Connection| async move {
            let sender = connection.sender().clone();
            let sandboxed = thread::spawn(move || {
                seccomp::forbid(libc::SYS_membarrier, libc::EPERM);
                sender.try_send("inside")
            });
            let _ = sandboxed.join();
        });
        read_all(&mut connect(address));
        child::answer("alive");
        return;
    }
    let status = Child::start(NAME, None).end();
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
}

/// On each placement a handler that blocks on a future learns why it must not, instead of stopping its thread.
#[test]
fn block_on_panics_on_the_engines_threads() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |connection: Connection| async move {
            let blocked = std::panic::catch_unwind(|| block_on(std::future::pending::<()>()));
            let text = blocked.unwrap_err().downcast::<&str>().unwrap();
            connection.sender().send(*text).await.unwrap();
        });
        let text = String::from_utf8(read_all(&mut connect(address))).unwrap();
        assert!(text.contains("engine's threads") && text.contains("await"), "{text}");
        finish(running);
    });
}

/// Processes with one worker each spread over the cores that they may use, and say where they are; one that may use a
/// single core uses that one.
#[test]
fn one_worker_processes_spread_over_the_cores() {
    const NAME: &str = "placement::one_worker_processes_spread_over_the_cores";
    if child::is_child(NAME) {
        let cores = core_affinity::get_core_ids().unwrap();
        let expected = cores[std::process::id() as usize % cores.len()].id;
        let (running, _) = start(Config::default().workers(1), echo);
        assert!(running.summary().contains(&format!(" cores={expected} ")), "{}", running.summary());
        finish(running);
        let (running, _) = start(Config::default().workers(1).pin(false), echo);
        assert!(running.summary().contains(" cores=any "), "{}", running.summary());
        finish(running);
        let last = *cores.last().unwrap();
        assert!(core_affinity::set_for_current(last));
        let (running, _) = start(Config::default().workers(1), echo);
        assert!(running.summary().contains(&format!(" cores={} ", last.id)), "{}", running.summary());
        finish(running);
        return;
    }
    // Process ids of children in a row differ.
    for child in [(); 3].map(|()| Child::start(NAME, None)) {
        child.finish();
    }
}
