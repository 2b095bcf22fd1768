//! Connecting: a socket in a slot of its own, its options, its local address, the connection, in this order.
//!
//! ```text
//!   Socket ──▶ (Prepare) ──▶ (Bind) ──▶ Connect ──▶ (Name) ──▶ connected
//!      └───────────┴────────────┴──── failed, cancelled ──▶ close of the slot ──▶ failed
//! ```
//! With direct descriptors each step is an operation of the ring. For options beyond TCP_NODELAY, and to read the local
//! address, the descriptor is installed in the process for a moment; the ring itself has no operation for that. An
//! attempt is over when its event is reported, and then has nothing in flight, so its number can be used again.

use std::io;
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use io_uring::{opcode, types};
use socket2::{SockAddr, SockRef};

use super::op::{Op, Token};
use super::slot::{CONNECTING, SlotState};
use super::{UringDriver, raw};
use crate::address::Address;
use crate::driver::{Connected, Event, outbound_socket};
use crate::shared::attempt::{ConnectFailure, ConnectRequest};
use crate::shared::key::ConnKey;
use crate::util::sync::Mutex;

/// The attempts in progress, by number.
#[derive(Default)]
pub(super) struct Connects {
    attempts: Vec<Option<Connecting>>,
    /// Number of attempts whose socket is being opened.
    without_slot: usize,
}

/// An attempt in progress.
struct Connecting {
    /// The kernel reads the addresses in it.
    request: Arc<ConnectRequest>,
    step: Step,
    key: Option<ConnKey>,
    cancelled: bool,
    /// The reason why it fails, once its slot is being closed.
    failure: ConnectFailure,
    /// Filled by a task on its installed socket: the local address, if it was read.
    answer: Answer,
}

type Answer = Arc<Mutex<Option<io::Result<Option<Address>>>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Socket,
    Prepare,
    Bind,
    Connect,
    Name,
}

/// The value of an option that is switched on.
static ON: libc::c_int = 1;

impl Connects {
    /// Returns the number of attempts that will take a slot.
    pub(super) fn without_slot(&self) -> usize {
        self.without_slot
    }

    fn insert(&mut self, number: u32, request: Box<ConnectRequest>) {
        while self.attempts.len() <= number as usize {
            self.attempts.push(None);
        }
        debug_assert!(self.attempts[number as usize].is_none(), "an attempt of this number is in progress");
        self.attempts[number as usize] = Some(Connecting {
            request: Arc::from(request),
            step: Step::Socket,
            key: None,
            cancelled: false,
            failure: ConnectFailure::Errno(libc::ECANCELED),
            answer: Answer::default(),
        });
    }

    fn of(&mut self, number: u32) -> Option<&mut Connecting> {
        self.attempts.get_mut(number as usize)?.as_mut()
    }

    /// Ends an attempt that failed and holds nothing any more.
    pub(super) fn fail(&mut self, number: u32) -> Event {
        let attempt = self.attempts.get_mut(number as usize).and_then(Option::take);
        let failure = attempt.map_or(ConnectFailure::Errno(libc::ECANCELED), |attempt| attempt.failure);
        Event::Connected { attempt: number, result: Err(failure) }
    }

    /// Keeps the addresses of all attempts allocated for the rest of the process.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.attempts));
    }
}

impl UringDriver {
    pub(super) fn connect(&mut self, number: u32, request: Box<ConnectRequest>) -> Result<(), ConnectFailure> {
        if self.free_slots() == 0 {
            return Err(ConnectFailure::Full);
        }
        if self.features.direct_descriptors {
            self.submit_socket(number, request);
        } else {
            let socket = outbound_socket::open(&request, false).map_err(|error| outbound_socket::failure(&error))?;
            self.connects.insert(number, request);
            // A regular descriptor takes a slot that is free, so no former connection ends here.
            self.take_connecting_slot(number, socket.into_raw_fd(), &mut Vec::new());
            self.submit_connect(number);
        }
        self.end_multishots_near_full();
        Ok(())
    }

    pub(super) fn cancel_connect(&mut self, number: u32) {
        let Some(attempt) = self.connects.of(number) else { return };
        attempt.cancelled = true;
        // The other steps are short and end by themselves.
        if attempt.step == Step::Connect {
            self.cancel(Token::plain(Op::Connect, number));
        }
    }

    fn submit_socket(&mut self, number: u32, request: Box<ConnectRequest>) {
        let domain = i32::from(request.address.domain());
        let protocol = outbound_socket::protocol(&request).map_or(0, i32::from);
        self.connects.insert(number, request);
        self.connects.without_slot += 1;
        let target = types::DestinationSlot::auto_target();
        let entry = opcode::Socket::new(domain, libc::SOCK_STREAM, protocol).file_index(Some(target)).build();
        // SAFETY: names no memory and no descriptor.
        unsafe { self.ring.push(&entry.user_data(Token::plain(Op::Connect, number).pack())) };
        self.in_flight += 1;
    }

    /// Puts the socket of an attempt into its slot.
    fn take_connecting_slot(&mut self, number: u32, fd: i32, events: &mut Vec<Event>) {
        let key = self.take_slot(fd, events);
        self.colds.of(key.index).attempt = Some(number);
        if let Some(attempt) = self.connects.of(number) {
            attempt.key = Some(key);
        }
    }

    /// Acts on the end of a step that is an operation of the ring.
    pub(super) fn on_connect(&mut self, number: u32, result: i32, events: &mut Vec<Event>) {
        let Some(attempt) = self.connects.of(number) else {
            debug_assert!(false, "a step of an attempt outlived it");
            return;
        };
        match attempt.key {
            None => {
                if result < 0 {
                    attempt.failure = ConnectFailure::Errno(-result);
                }
                self.connects.without_slot -= 1;
                if result < 0 {
                    let event = self.connects.fail(number);
                    return events.push(event);
                }
                self.take_connecting_slot(number, result, events);
            }
            Some(key) => {
                if let Some(slot) = self.slot(key) {
                    slot.flags.clear(CONNECTING);
                }
                if result < 0 {
                    return self.fail_connect(number, -result);
                }
            }
        }
        self.next_step(number, events);
    }

    /// Acts on the end of a task on the installed socket, if it was a step of an attempt.
    pub(super) fn after_socket_task(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        if self.slot(key).is_none() {
            return;
        }
        let Some(number) = self.colds.attempt(key.index) else { return };
        let Some(attempt) = self.connects.of(number) else { return };
        let answer = attempt.answer.lock().take();
        match (attempt.step, answer) {
            (Step::Prepare, Some(Err(error))) => {
                let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
                self.fail_connect(number, errno);
            }
            (Step::Name, Some(answer)) => {
                // Without a free descriptor in the process the local address stays unknown.
                let peer = Address::from_name(&attempt.request.address);
                self.finish_connect(number, answer.ok().flatten().unwrap_or(peer.unspecified()), events);
            }
            (_, Some(_)) => self.next_step(number, events),
            (_, None) => {}
        }
    }

    fn next_step(&mut self, number: u32, events: &mut Vec<Event>) {
        let bind = self.features.bind;
        let Some(attempt) = self.connects.of(number) else { return };
        if attempt.cancelled {
            return self.fail_connect(number, libc::ECANCELED);
        }
        let request = &attempt.request;
        let prepares = needs_descriptor(request) || (request.local.is_some() && !bind);
        match attempt.step {
            Step::Socket if prepares => self.submit_prepare(number, events),
            Step::Socket if request.local.is_some() => self.submit_bind(number),
            Step::Socket | Step::Prepare | Step::Bind => self.submit_connect(number),
            Step::Connect if request.is_unix() => self.finish_connect(number, Address::Unix, events),
            Step::Connect | Step::Name => self.submit_name(number, events),
        }
    }

    fn submit_prepare(&mut self, number: u32, events: &mut Vec<Event>) {
        let Some(Connecting { key: Some(key), step, request, answer, .. }) = self.connects.of(number) else { return };
        *step = Step::Prepare;
        let (key, request, answer) = (*key, Arc::clone(request), Arc::clone(answer));
        let prepare = move |socket: io::Result<SockRef<'_>>| {
            let prepared = socket.and_then(|socket| outbound_socket::prepare(&socket, &request));
            *answer.lock() = Some(prepared.map(|()| None));
        };
        self.with_socket(key, Box::new(prepare));
        self.after_socket_task(key, events);
    }

    fn submit_bind(&mut self, number: u32) {
        let Some(Connecting { key: Some(key), step, request, .. }) = self.connects.of(number) else { return };
        let Some(local) = &request.local else { return };
        *step = Step::Bind;
        let (key, any_port) = (*key, request.binds_any_port());
        let (address, len) = (local.as_ptr().cast(), local.len());
        let Some(slot) = self.slot(key) else { return };
        slot.flags.set(CONNECTING);
        let fd = self.fd(key);
        if any_port {
            // As in `outbound_socket`. If the kernel refuses, it chooses the port now.
            self.switch_on(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
        }
        let entry = opcode::Bind::new(types::Fd(fd), address, len).build();
        // SAFETY: the address is in the request, which its attempt keeps until this has completed.
        unsafe { self.push(Token::plain(Op::Connect, number), entry) };
    }

    fn submit_connect(&mut self, number: u32) {
        let direct = self.features.direct_descriptors;
        let Some(Connecting { key: Some(key), step, request, .. }) = self.connects.of(number) else { return };
        *step = Step::Connect;
        let (key, nodelay) = (*key, request.is_nodelay());
        let (address, len) = (SockAddr::as_ptr(&request.address).cast(), request.address.len());
        let Some(slot) = self.slot(key) else { return };
        slot.flags.set(CONNECTING);
        let fd = self.fd(key);
        if nodelay && direct {
            self.switch_on(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY);
        }
        let entry = opcode::Connect::new(types::Fd(fd), address, len).build();
        // SAFETY: the address is in the request, which its attempt keeps until this has completed.
        unsafe { self.push(Token::plain(Op::Connect, number), entry) };
    }

    /// Switches on an option of a direct descriptor, in the order of the queue and before what follows.
    fn switch_on(&mut self, fd: i32, level: i32, option: i32) {
        let (value, len) = (std::ptr::from_ref(&ON).cast(), size_of::<libc::c_int>() as u32);
        let entry = opcode::SetSockOpt::new(types::Fd(fd), level as u32, option as u32, value, len).build();
        let entry = raw::fixed(entry, true).user_data(Token::plain(Op::Ignore, 0).pack());
        // SAFETY: the option's value is static.
        unsafe { self.ring.push(&entry) };
    }

    fn submit_name(&mut self, number: u32, events: &mut Vec<Event>) {
        let Some(Connecting { key: Some(key), step, answer, .. }) = self.connects.of(number) else { return };
        *step = Step::Name;
        let (key, answer) = (*key, Arc::clone(answer));
        let read = move |socket: io::Result<SockRef<'_>>| {
            *answer.lock() = Some(socket.and_then(|socket| outbound_socket::local_address(&socket)).map(Some));
        };
        self.with_socket(key, Box::new(read));
        self.after_socket_task(key, events);
    }

    /// Reports an open connection, unless the attempt was cancelled.
    fn finish_connect(&mut self, number: u32, local: Address, events: &mut Vec<Event>) {
        let Some(Connecting { key: Some(key), cancelled, request, .. }) = self.connects.of(number) else { return };
        if *cancelled {
            return self.fail_connect(number, libc::ECANCELED);
        }
        let (key, peer) = (*key, Address::from_name(&request.address));
        self.connects.attempts[number as usize] = None;
        if self.slot(key).is_some() {
            self.colds.end_attempt(key.index);
        }
        let connected = Connected { key, peer, local };
        events.push(Event::Connected { attempt: number, result: Ok(Box::new(connected)) });
    }

    /// Closes the slot of an attempt that fails. Its end is reported when the slot is free.
    fn fail_connect(&mut self, number: u32, errno: i32) {
        let Some(attempt) = self.connects.of(number) else { return };
        // A cancellation can surface as the error of the step that it interrupted.
        attempt.failure = ConnectFailure::Errno(if attempt.cancelled { libc::ECANCELED } else { errno });
        let Some(key) = attempt.key else { return };
        if let Some(slot) = self.slot(key) {
            slot.state = SlotState::Ending;
        }
        self.advance_close(key);
    }
}

/// Returns whether a request has options that only a regular descriptor can be given.
fn needs_descriptor(request: &ConnectRequest) -> bool {
    let options = &request.options;
    options.prepare.is_some() || options.receive_buffer_bytes.is_some() || options.send_buffer_bytes.is_some()
}
