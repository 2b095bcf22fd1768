//! Files: parts that are sent without a copy, and reads.
//!
//! A part is sent by sendfile(2), which needs a regular descriptor of the socket. It is installed for each call, so
//! that clients who take their time hold none. The ring's own splice always runs on kernel threads, one for each
//! connection that waits for its peer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use io_uring::{opcode, squeue, types};
use socket2::SockRef;

use super::UringDriver;
use super::op::{Op, Token};
use super::slot::{NO_SEND, SlotState};
use crate::driver::Event;
use crate::driver::send_file::{self, Progress};
use crate::shared::file_part::FileRead;
use crate::shared::key::ConnKey;

/// Reads in flight, by number.
#[derive(Default)]
pub(super) struct Reads {
    entries: Vec<Option<FileRead>>,
    free: Vec<u32>,
}

impl Reads {
    /// Keeps the memory of every read in flight allocated for the rest of the process.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.entries));
    }
}

/// # Sending
impl UringDriver {
    /// Begins the send of a part of a file, or goes on with it.
    pub(super) fn begin_file(&mut self, key: ConnKey) {
        let entry = match self.features.direct_descriptors {
            true => opcode::FixedFdInstall::new(types::Fixed(key.index), 0).build(),
            false => opcode::Nop::new().build(),
        };
        // SAFETY: names no memory; the slot is not closed while it has a send.
        unsafe { self.push_plain(Token::new(Op::SendFile, key), entry) };
    }

    /// Queues an operation without marking its descriptor.
    ///
    /// # Safety
    /// As [`push`](Self::push).
    unsafe fn push_plain(&mut self, token: Token, entry: squeue::Entry) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.ring.push(&entry.user_data(token.pack())) };
        self.in_flight += 1;
    }

    pub(super) fn on_send_file(&mut self, token: Token, result: i32, events: &mut Vec<Event>) {
        let key = token.key;
        if token != writable_token(key) {
            self.on_install_to_send(key, result);
        } else if self.features.direct_descriptors && self.slot(key).is_some_and(|slot| slot.state == SlotState::Open) {
            return self.begin_file(key);
        }
        self.continue_file(key, events);
    }

    fn on_install_to_send(&mut self, key: ConnKey, result: i32) {
        let direct = self.features.direct_descriptors;
        let Some(slot) = self.slot(key).filter(|slot| slot.send != NO_SEND) else { return };
        let number = slot.send;
        let Some(entry) = self.sends.get(number) else { return };
        if direct && result >= 0 {
            // SAFETY: the kernel just created this descriptor, so nothing else owns it.
            let installed = unsafe { OwnedFd::from_raw_fd(result) };
            set_nonblocking(installed.as_fd());
            entry.installed = Some(installed);
        } else if let Some(socket) = self.sockets.get(key.index) {
            set_nonblocking(socket.as_fd());
        }
    }

    /// Sends what the socket takes, and waits for space or ends the send.
    fn continue_file(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let fd = types::Fd(self.fd(key));
        let Some(slot) = self.slot(key).filter(|slot| slot.send != NO_SEND) else { return };
        let (number, ending) = (slot.send, slot.state != SlotState::Open);
        let Some(entry) = self.sends.get(number) else { return };
        let Some(batch) = entry.batch.as_mut().filter(|_| !ending) else {
            return self.end_file(key, number, None, events);
        };
        let progress = match entry.installed.as_ref().or(self.sockets.get(key.index)) {
            Some(socket) => send_file::send(socket, batch),
            // The process has no free descriptor.
            None => send_file::load(batch),
        };
        let event = match progress {
            Progress::Full | Progress::Short => {
                entry.installed = None;
                let entry = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
                // SAFETY: names no memory; the slot is not closed while it has a send.
                return unsafe { self.push(writable_token(key), entry) };
            }
            Progress::Loaded => {
                entry.installed = None;
                return self.submit_send(key, number);
            }
            Progress::Done => Event::Sent { key, result: Ok(()) },
            Progress::Failed(errno) => Event::Sent { key, result: Err(errno) },
            Progress::FileFailed(error) => Event::FileFailed { key, error },
        };
        self.end_file(key, number, Some(event), events);
    }

    fn end_file(&mut self, key: ConnKey, number: u32, event: Option<Event>, events: &mut Vec<Event>) {
        if let Some(entry) = self.sends.get(number) {
            entry.installed = None;
        }
        self.sends.remove(number);
        if let Some(slot) = self.slot(key) {
            slot.send = NO_SEND;
        }
        events.extend(event);
        self.advance_close(key);
    }
}

/// # Reading
impl UringDriver {
    pub(super) fn read_file(&mut self, mut read: FileRead) {
        let number = self.reads.free.pop().unwrap_or_else(|| {
            self.reads.entries.push(None);
            (self.reads.entries.len() - 1) as u32
        });
        let len = read.len.min(read.buffer.len()) as u32;
        let fd = types::Fd(read.file.as_raw_fd());
        let entry = opcode::Read::new(fd, read.buffer.as_mut_ptr(), len).offset(read.offset).build();
        self.reads.entries[number as usize] = Some(read);
        // SAFETY: the file and the boxed memory stay in `self.reads` until the completion is reaped; moving the table's
        // entries does not move the memory.
        unsafe { self.push_plain(Token::plain(Op::ReadFile, number), entry) };
    }

    pub(super) fn on_read_file(&mut self, key: ConnKey, result: i32) {
        let Some(read) = self.reads.entries.get_mut(key.index as usize).and_then(Option::take) else { return };
        self.reads.free.push(key.index);
        match result {
            _ if result == -libc::EINTR || result == -libc::EAGAIN => self.read_file(read),
            0.. => read.finish(Ok(result as usize)),
            _ => read.finish(Err(io::Error::from_raw_os_error(-result))),
        }
    }
}

/// Returns the token of the wait until a part of a file can be sent further.
pub(super) fn writable_token(key: ConnKey) -> Token {
    Token::new(Op::SendFile, key).with_sequence(1)
}

/// Lets calls on the socket return in place of waiting. The ring's operations wait all the same.
fn set_nonblocking(socket: BorrowedFd<'_>) {
    // Fails for no open socket.
    let _ = SockRef::from(&socket).set_nonblocking(true);
}
