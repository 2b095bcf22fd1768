//! Tests of the task that holds a handler next to the future that borrows from it. `ci/miri.sh` runs them.

use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use super::*;
use crate::error::Error;
use crate::hub::Hub;

/// State of a handler that counts its drops and is unreadable afterwards.
struct State {
    text: String,
    drops: Arc<AtomicUsize>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        self.text.clear();
    }
}

/// A local of a handler's future that reads the handler's state when the future is dropped.
struct Reads<'a>(&'a State);

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        assert_eq!(self.0.text, "state");
    }
}

async fn yield_once() {
    let mut first = true;
    poll_fn(move |_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[test]
fn a_handler_lives_as_long_as_the_futures_that_borrow_from_it() {
    for is_finished in [true, false] {
        let drops = Arc::new(AtomicUsize::new(0));
        let state = State { text: "state".to_owned(), drops: Arc::clone(&drops) };
        let steps = Mutex::new(Vec::new());
        let handler = Arc::new(async move |number: u32| {
            let reads = Reads(&state);
            steps.lock().unwrap().push(format!("{} {number}", reads.0.text));
            yield_once().await;
            steps.lock().unwrap().push(format!("{} {number}", reads.0.text));
            Ok(())
        });
        let mut one = Box::pin(start(Arc::clone(&handler), 1));
        let mut two = Box::pin(start(handler, 2));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(one.as_mut().poll(&mut cx).is_pending());
        assert!(two.as_mut().poll(&mut cx).is_pending());
        if is_finished {
            assert!(one.as_mut().poll(&mut cx).is_ready());
        }
        drop(one);
        assert_eq!(drops.load(Ordering::SeqCst), 0, "the other task still borrows from the handler");
        drop(two);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }
}

/// Keeps the log lines of level `warn` and above.
struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

#[test]
fn errors_that_close_with_1011_are_logged_and_others_are_not() {
    log::set_logger(&LOG).expect("no other test of this crate sets a logger");
    log::set_max_level(log::LevelFilter::Warn);
    let parsed = "seven".parse::<u64>().unwrap_err();
    for (error, code) in [
        (HandlerError::from(parsed), 1011),
        (HandlerError::close(CloseCode::new(4001), "enough"), 4001),
        (HandlerError::from(Error::Lost), 1000),
    ] {
        let peer = Address::Ip(([127, 0, 0, 1], 9001).into());
        assert_eq!(closing_frame(&Err(error), Some(peer)).expect("a frame").code().value(), code);
    }
    let logged: Vec<_> = LOG.0.lock().unwrap().drain(..).filter(|line| line.contains("failed on")).collect();
    assert_eq!(logged, ["WARN a handler failed on the WebSocket of 127.0.0.1:9001: invalid digit found in string"]);
}

/// The bytes of a handler's task.
fn task_bytes<F: AsyncFn(WebSocket) -> Result<(), HandlerError> + 'static>(_: F) -> usize {
    fn of<A, B, Task>(_: impl Fn(A, B) -> Task) -> usize {
        size_of::<Task>()
    }
    of(start::<WebSocket, F>)
}

/// Each idle connection holds one of these. Holding the handler costs nothing more.
#[test]
fn the_task_of_an_echo_is_small() {
    let plain = task_bytes(|mut ws: WebSocket| async move {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    });
    let closure = task_bytes(async |mut ws: WebSocket| {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok(())
    });
    let borrows = task_bytes(|mut ws: WebSocket| async move {
        let sender = ws.sender();
        while let Some(message) = ws.recv_ref().await? {
            sender.send_ref(&message).await?;
        }
        Ok(())
    });
    let hub = Hub::<()>::default();
    let captures = task_bytes(async move |mut ws: WebSocket| {
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
            drop(hub.clone());
        }
        Ok(())
    });
    assert!(plain <= 152, "{plain} bytes");
    assert!(closure <= 160, "{closure} bytes");
    assert!(borrows <= 112, "{borrows} bytes");
    assert!(captures <= 168, "{captures} bytes");
}
