//! The part of a worker that other threads use.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{InboundMarks, OutboundMarks};
use crate::shared::attempt::ConnectFailure;
use crate::shared::command::Command;
use crate::shared::engine_shared::EngineShared;
use crate::shared::mailbox::Mailbox;
use crate::shared::signal::Signal;
use crate::stats::Counters;
use crate::util::sync::{AtomicBool, Ordering};

/// The part of a worker that other threads use.
pub(crate) struct WorkerShared {
    pub(crate) index: usize,
    pub(crate) mailbox: Mailbox<Command>,
    pub(crate) clock: Clock,
    pub(crate) inbound: InboundMarks,
    pub(crate) outbound: OutboundMarks,
    pub(crate) counters: Counters,
    pub(crate) engine: Arc<EngineShared>,
    /// Set when the worker has ended. From then on a thread that posts a command answers it itself.
    ended: AtomicBool,
}

impl WorkerShared {
    /// Creates the shared state. `signal` ends the worker's sleep; `clock` is its clock, or the epoch of that.
    pub(crate) fn new(
        index: usize,
        signal: Arc<Signal>,
        clock: impl Into<Clock>,
        inbound: InboundMarks,
        outbound: OutboundMarks,
        engine: Arc<EngineShared>,
    ) -> Arc<Self> {
        Arc::new(Self {
            index,
            mailbox: Mailbox::new(signal),
            clock: clock.into(),
            inbound,
            outbound,
            counters: Counters::default(),
            engine,
            ended: AtomicBool::new(false),
        })
    }

    /// Posts a command into the mailbox at once. Once the worker has ended, answers the commands that can be answered
    /// without it.
    pub(crate) fn post_now(&self, command: Command) {
        self.mailbox.post(command);
        self.answer_if_ended();
    }

    /// Answers commands that were put into the mailbox after the worker has ended. To be called after putting some.
    pub(crate) fn answer_if_ended(&self) {
        // The mailbox's lock orders either this after the worker's last look or that look after the command.
        if self.ended.load(Ordering::Relaxed) {
            self.answer_all();
        }
    }

    /// Returns whether the worker has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Marks the worker as ended, after its last look into the mailbox.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.answer_all();
    }

    /// Answers the commands that no worker will take, so that nothing waits for them.
    fn answer_all(&self) {
        let mut commands = Vec::new();
        self.mailbox.take(&mut commands);
        for command in commands {
            match command {
                Command::Sleep(entry) => entry.fire(),
                Command::FanOut(lane) => lane.abandon(),
                Command::Connect(attempt) => drop(attempt.finish(Err(ConnectFailure::Ended))),
                Command::Read(read) => read.finish(Err(std::io::ErrorKind::NotConnected.into())),
                #[cfg(feature = "tls")]
                Command::StartTls(_, handshake) => handshake.finish(Err("the engine has shut down".to_owned())),
                Command::Socket(_, task) => task(Err(std::io::ErrorKind::NotConnected.into())),
                _ => {}
            }
        }
    }
}
