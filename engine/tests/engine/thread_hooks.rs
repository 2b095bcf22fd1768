//! Code on the threads of handlers that belongs to no connection: hooks at their start and end, and lasting tasks.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tidegate_engine::{
    Connection, Engine, Error, HandlerPlacement, Shutdown, ThreadHooks, block_on, spawn_local, time,
};

use crate::support::*;

/// Notes its end.
struct Ended(Progress<Vec<String>>, &'static str);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.update(|notes| notes.push(self.1.to_owned()));
    }
}

#[test]
fn a_hook_runs_on_each_thread_of_handlers_until_the_thread_ends() {
    on_every_engine(|setup| {
        let threads = setup.config.clone().workers(2);
        let expected = match threads.placement {
            HandlerPlacement::Threads(threads) => threads,
            _ => 2,
        };
        let (started, ended) = (Progress::<Vec<_>>::default(), Progress::<Vec<String>>::default());
        let (note, end) = (started.clone(), ended.clone());
        let hooks = ThreadHooks::default().on_start(move || {
            note.update(|threads| threads.push(thread::current().id()));
            Ended(end.clone(), "thread")
        });
        let seen = started.clone();
        let (running, address) = start(threads.thread_hooks(hooks), move |connection: Connection| {
            seen.update(|threads| assert!(threads.contains(&thread::current().id()), "a thread without its hook"));
            echo(connection)
        });
        started.wait("the hooks", |threads| (threads.len() == expected).then_some(()));
        (0..4).for_each(|_| check_echo(&mut connect(address), b"hooked"));
        ended.update(|notes| assert!(notes.is_empty(), "a hook ended early"));
        finish(running);
        ended.update(|notes| assert_eq!(notes.len(), expected));
    });
}

#[test]
fn a_hook_that_panics_makes_the_start_fail() {
    on_every_engine(|setup| {
        let hooks = ThreadHooks::default().on_start(|| panic!("as the test asked for"));
        let started = Engine::new(setup.config.thread_hooks(hooks)).bind("127.0.0.1:0").unwrap().start(echo);
        assert!(matches!(started, Err(Error::Worker(_))), "{started:?}");
    });
}

/// A task of a handler outlives it, stays on its thread, and can use the engine's timers.
#[test]
fn a_local_task_outlives_the_handler_that_starts_it() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, async |connection: Connection| {
            let (thread, mark) = (thread::current().id(), Rc::new(()));
            let sender = connection.sender().clone();
            spawn_local(async move {
                time::sleep(Duration::from_millis(1)).await;
                assert_eq!(thread::current().id(), thread);
                assert_eq!(Rc::strong_count(&mark), 1);
                sender.send("from the task").await.unwrap();
                drop(connection);
            });
        });
        assert_eq!(read_all(&mut connect(address)), b"from the task");
        finish(running);
    });
}

#[test]
fn a_local_task_gives_its_result_and_can_be_cancelled() {
    on_every_engine(|setup| {
        let ended = Progress::<Vec<String>>::default();
        let note = ended.clone();
        let (running, address) = start(setup.config, move |connection: Connection| {
            let cancelled = Ended(note.clone(), "cancelled");
            async move {
                let sum = spawn_local(async { 1 + 1 }).await;
                let failed: Option<()> = spawn_local(async { panic!("as the test asked for") }).await;
                let waiting = spawn_local(async move {
                    std::future::pending::<()>().await;
                    drop(cancelled);
                });
                assert!(!waiting.is_finished());
                waiting.cancel();
                connection.sender().send(format!("{sum:?} {failed:?}")).await.unwrap();
            }
        });
        assert_eq!(read_all(&mut connect(address)), b"Some(2) None");
        ended.wait("the end of the task", |notes| notes.contains(&"cancelled".to_owned()).then_some(()));
        finish(running);
    });
}

/// Started by a hook, before the first connection, and dropped with its thread.
#[test]
fn a_periodic_task_of_a_hook_runs_until_the_shutdown() {
    on_every_engine(|setup| {
        let (periods, ended) = (Progress::<u32>::default(), Progress::<Vec<String>>::default());
        let (count, end) = (periods.clone(), ended.clone());
        let hooks = ThreadHooks::default().on_start(move || {
            let (count, end) = (count.clone(), Ended(end.clone(), "task"));
            spawn_local(async move {
                let _end = end;
                loop {
                    time::sleep(Duration::from_millis(1)).await;
                    count.update(|periods| *periods += 1);
                }
            });
        });
        let (running, _) = start(setup.config.thread_hooks(hooks), echo);
        periods.wait("three periods", |periods| (*periods >= 3).then_some(()));
        finish(running);
        ended.update(|notes| assert!(!notes.is_empty(), "the task was not dropped"));
    });
}

#[test]
#[should_panic(expected = "spawn_local: called on a thread that runs no handlers")]
fn local_tasks_need_a_thread_of_handlers() {
    spawn_local(async {});
}

#[test]
fn the_end_of_an_engine_can_be_awaited() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, echo);
        let mut client = connect(address);
        check_echo(&mut client, b"open");
        let handle = running.handle();
        let mut stopped = pin!(running.stopped());
        assert!(matches!(stopped.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        let awaiting = Arc::new(Progress::<bool>::default());
        thread::scope(|scope| {
            let begin = Arc::clone(&awaiting);
            scope.spawn(move || {
                begin.wait("the wait", |awaiting| awaiting.then_some(()));
                handle.begin_shutdown(Shutdown::immediate());
            });
            awaiting.update(|awaiting| *awaiting = true);
            assert_eq!(block_on(stopped).forced, 1);
        });
    });
}
