//! What a worker shows to other threads.

use std::sync::Arc;
use std::time::Instant;

use crate::clock::Clock;
use crate::config::{InboundMarks, OutboundMarks};
use crate::shared::command::Command;
use crate::shared::mailbox::Mailbox;
use crate::shared::signal::Signal;
use crate::stats::Counters;
use crate::util::sync::{AtomicBool, Ordering};

/// What a worker shows to other threads.
pub(crate) struct WorkerShared {
    pub(crate) index: usize,
    pub(crate) mailbox: Mailbox<Command>,
    pub(crate) clock: Clock,
    pub(crate) inbound: InboundMarks,
    pub(crate) outbound: OutboundMarks,
    pub(crate) counters: Counters,
    /// The worker has ended: who posts a command answers it.
    ended: AtomicBool,
}

impl WorkerShared {
    /// `signal` ends the worker's sleep; `epoch` is the start of its clock.
    pub(crate) fn new(
        index: usize,
        signal: Arc<Signal>,
        epoch: Instant,
        inbound: InboundMarks,
        outbound: OutboundMarks,
    ) -> Arc<Self> {
        Arc::new(Self {
            index,
            mailbox: Mailbox::new(signal),
            clock: Clock::new(epoch),
            inbound,
            outbound,
            counters: Counters::default(),
            ended: AtomicBool::new(false),
        })
    }

    /// Asks the worker for something; once it has ended, answers what can be answered without it.
    pub(crate) fn post_now(&self, command: Command) {
        self.mailbox.post(command);
        self.answer_if_ended();
    }

    /// [`post_now`](Self::post_now) for each of `commands`, which are moved out.
    pub(crate) fn post_all(&self, commands: &mut Vec<Command>) {
        self.mailbox.post_all(commands);
        self.answer_if_ended();
    }

    fn answer_if_ended(&self) {
        // The mailbox's lock orders this after the worker's last look, or that look after the command.
        if self.ended.load(Ordering::Relaxed) {
            self.answer_all();
        }
    }

    /// The worker has taken its last look.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.answer_all();
    }

    /// Answers commands that no worker will take: nobody may wait for ever.
    fn answer_all(&self) {
        let mut commands = Vec::new();
        self.mailbox.take(&mut commands);
        for command in commands {
            match command {
                Command::Sleep(entry) => entry.fire(),
                Command::FanOut(lane) => lane.abandon(),
                Command::Socket(_, task) => task(Err(std::io::ErrorKind::NotConnected.into())),
                _ => {}
            }
        }
    }
}
