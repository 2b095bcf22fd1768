//! The churn mode: connections that are opened, upgraded, used once and closed, over and over.
//!
//! One thread, one ring. A cycle begins with three linked submissions (connect, send the request, receive) and adds two
//! more sends. A slot's next cycle begins when the server has closed the TCP connection of the last one.

mod cycle;

use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use io_uring::squeue::Flags;
use io_uring::{opcode, types};
use socket2::{SockAddr, Socket};

use crate::buffers::BufferRing;
use crate::config::Run;
use crate::error::LoadError;
use crate::measure::{ENTER_TIMEOUT_MAX, Measured, Meter};
use crate::payload::Content;
use crate::report::Report;
use crate::ring::{Completion, Ring, user_data};
use crate::script::{self, Messages, Protocol, Script};
use crate::{setup, socket};

use cycle::{Cycle, Say, Upgrades};

/// Number of different handshake keys. Each response is compared with the last one to the same key.
const KEYS: u64 = 64;

/// The most bytes a connection receives at a time: the response head and little else.
const RECEIVED_BYTES: usize = 4096;

const GROUP: u16 = 1;
const CONNECT: u8 = 1;
const SEND: u8 = 2;
const RECEIVE: u8 = 3;

/// Settings of a churn run.
#[derive(Debug, Clone)]
pub struct Churn {
    /// Address, number of concurrent connections, durations.
    pub run: Run,
    /// Request-target of the opening handshake.
    pub path: String,
    /// Payload bytes of the message of a cycle.
    pub payload_bytes: usize,
    /// What the payloads consist of.
    pub content: Content,
}

/// Runs the load and returns its report.
///
/// # Errors
/// The first failure. The numbers of a failed run are meaningless and are dropped.
pub fn run(churn: &Churn) -> Result<Report, LoadError> {
    setup::require_files(churn.run.connections)?;
    let mut generator = Generator::new(churn)?;
    let (measured, upgrades) = generator.run(&churn.run)?;
    let upgrades_per_s = upgrades as f64 / measured.wall.as_secs_f64();
    let title = format!("churn {} x {} B", churn.run.connections, churn.payload_bytes);
    let mut report = Report::new("churn", "cycle", title, churn.run.connections, measured);
    report.detail("size", churn.payload_bytes);
    report.detail("text", churn.content.is_text());
    report.detail("cycles", report.measured.units);
    report.detail("upgrades_per_s", format!("{upgrades_per_s:.1}"));
    Ok(report)
}

/// The memory that the kernel reads while a send or connect is in flight. It is leaked: an operation still in flight
/// when a run fails must not read memory given to something else.
struct Prepared {
    address: SockAddr,
    requests: Vec<Vec<u8>>,
    script: Script,
    close: Vec<u8>,
}

/// A slot for one connection at a time.
struct Slot {
    socket: Option<Socket>,
    cycle: Cycle,
    begun_at: u64,
}

struct Generator {
    address: SocketAddr,
    prepared: &'static Prepared,
    upgrades: Upgrades,
    ring: Ring,
    buffers: BufferRing,
    slots: Vec<Slot>,
    /// Slots whose next cycle can begin.
    free: Vec<u32>,
    begun: u64,
    upgraded: u64,
}

impl Generator {
    fn new(churn: &Churn) -> Result<Self, LoadError> {
        let script = Script::new(&Messages {
            protocol: Protocol::WebSocket,
            payload_bytes: churn.payload_bytes,
            content: churn.content,
            window_messages_max: 1,
        })
        .ok_or(LoadError::TooLarge)?;
        let address = churn.run.address;
        let upgrades = Upgrades::new(&address.to_string(), &churn.path, KEYS);
        let requests = (0..upgrades.count()).map(|number| upgrades.request(number).to_vec()).collect();
        let prepared = Prepared { address: address.into(), requests, script, close: script::close_frame() };
        let ring = Ring::new()?;
        let connections = churn.run.connections;
        let (count, buffer_bytes) = setup::buffer_plan(connections, RECEIVED_BYTES.max(churn.payload_bytes));
        let buffers = BufferRing::register(&ring, GROUP, count, buffer_bytes)?;
        let slot = |_| Slot { socket: None, cycle: Cycle::new(0, 0), begun_at: 0 };
        Ok(Self {
            address,
            prepared: Box::leak(Box::new(prepared)),
            upgrades,
            ring,
            buffers,
            slots: (0..connections).map(slot).collect(),
            free: (0..connections as u32).collect(),
            begun: 0,
            upgraded: 0,
        })
    }

    /// Runs until the last cycle ends. Also returns the number of upgrades while measuring.
    fn run(&mut self, run: &Run) -> Result<(Measured, u64), LoadError> {
        let mut completions = Vec::new();
        let mut meter = Meter::start(run);
        while !meter.is_draining() || self.free.len() < self.slots.len() {
            let now = meter.now();
            meter.advance(now)?;
            if !meter.is_draining() {
                let mut free = mem::take(&mut self.free);
                for index in free.drain(..) {
                    self.begin(index as usize, now)?;
                }
                self.free = free;
            }
            self.ring.enter(Some(ENTER_TIMEOUT_MAX))?;
            self.ring.reap(&mut completions);
            let now = meter.now();
            for completion in &completions {
                self.complete(completion, &mut meter, now)?;
            }
            self.buffers.publish();
            let busy = self.slots.len() - self.free.len();
            if meter.is_stalled(now, busy > 0) {
                let first = self.slots.iter().find(|slot| slot.socket.is_some());
                let first = first.map_or("", |slot| slot.cycle.awaits());
                return Err(LoadError::StalledCycles { connections: busy, first });
            }
        }
        Ok((meter.finish()?, self.upgraded))
    }

    /// Begins the next cycle of a slot.
    fn begin(&mut self, index: usize, now: u64) -> Result<(), LoadError> {
        let socket =
            socket::unconnected(self.address, self.begun).map_err(|error| LoadError::Connect { index, error })?;
        let upgrade = (self.begun % KEYS) as usize;
        let message = (self.begun % self.prepared.script.messages() as u64) as usize;
        self.begun += 1;
        let file = types::Fd(socket.as_raw_fd());
        self.slots[index] = Slot { socket: Some(socket), cycle: Cycle::new(upgrade, message), begun_at: now };
        let address = &self.prepared.address;
        let connect = opcode::Connect::new(file, address.as_ptr().cast(), address.len())
            .build()
            .flags(Flags::IO_LINK | Flags::SKIP_SUCCESS)
            .user_data(user_data(CONNECT, index));
        // SAFETY: the kernel only reads the address, which is never freed.
        unsafe { self.ring.push(&connect) }?;
        let request = send(file, index, &self.prepared.requests[upgrade]).flags(Flags::IO_LINK | Flags::SKIP_SUCCESS);
        // SAFETY: the kernel only reads the request, which is never freed.
        unsafe { self.ring.push(&request) }?;
        self.arm(index, file)
    }

    /// Sends the next bytes of a cycle. Only a failure completes; success shows in the answer.
    fn say(&mut self, index: usize, file: types::Fd, say: Say) -> Result<(), LoadError> {
        let prepared = self.prepared;
        let bytes = match say {
            Say::Nothing => return Ok(()),
            Say::Message(number) => prepared.script.requests().window(number, 1),
            Say::Close => &prepared.close,
        };
        let entry = send(file, index, bytes).flags(Flags::SKIP_SUCCESS);
        // SAFETY: the kernel only reads the bytes, which are never freed.
        unsafe { self.ring.push(&entry) }?;
        Ok(())
    }

    fn arm(&mut self, index: usize, file: types::Fd) -> Result<(), LoadError> {
        let entry = opcode::RecvMulti::new(file, GROUP).build().user_data(user_data(RECEIVE, index));
        // SAFETY: the receive writes only into the provided buffers, which live as long as the ring.
        unsafe { self.ring.push(&entry) }?;
        Ok(())
    }

    fn complete(&mut self, completion: &Completion, meter: &mut Meter, now: u64) -> Result<(), LoadError> {
        let index = completion.index();
        match completion.operation() {
            RECEIVE => self.received(completion, meter, now),
            // Submissions linked behind a failed one are cancelled. The failed one completes with its own error.
            _ if completion.result == -libc::ECANCELED => Ok(()),
            CONNECT => {
                let error = completion.error().unwrap_or_else(|| {
                    std::io::Error::other("the connect completed although it asked not to on success")
                });
                Err(LoadError::Connect { index, error })
            }
            _ => match completion.error() {
                Some(error) => Err(LoadError::Failed { index, operation: "send", error }),
                None => Ok(()),
            },
        }
    }

    fn received(&mut self, completion: &Completion, meter: &mut Meter, now: u64) -> Result<(), LoadError> {
        let index = completion.index();
        let slot = &mut self.slots[index];
        let Some(file) = slot.socket.as_ref().map(|socket| types::Fd(socket.as_raw_fd())) else { return Ok(()) };
        // SAFETY: receives are the only operations that use the group, and each completion is seen once.
        if let Some(chunk) = unsafe { self.buffers.take(completion) } {
            let bytes = self.buffers.bytes(&chunk);
            let came = slot.cycle.receive(&mut self.upgrades, &self.prepared.script, bytes);
            self.buffers.recycle(chunk);
            let say = came.map_err(|error| LoadError::Wrong { index, error })?;
            if matches!(say, Say::Message(_)) && meter.is_measuring() {
                self.upgraded += 1;
            }
            self.say(index, file, say)?;
            return if completion.more() { Ok(()) } else { self.arm(index, file) };
        }
        match completion.error() {
            Some(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.arm(index, file),
            Some(error) if error.raw_os_error() == Some(libc::ECANCELED) => Ok(()),
            Some(error) => Err(LoadError::Failed { index, operation: "receive", error }),
            None if !slot.cycle.may_end() => Err(LoadError::ClosedEarly { index, state: slot.cycle.awaits() }),
            None => {
                slot.socket = None;
                meter.time(now, slot.begun_at, 1);
                meter.count(now, 1);
                self.free.push(index as u32);
                Ok(())
            }
        }
    }
}

/// Returns a send of leaked bytes.
fn send(file: types::Fd, index: usize, bytes: &'static [u8]) -> io_uring::squeue::Entry {
    opcode::Send::new(file, bytes.as_ptr(), bytes.len() as u32)
        .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
        .build()
        .user_data(user_data(SEND, index))
}
