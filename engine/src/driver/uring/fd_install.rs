//! Operations that need a regular descriptor: a direct descriptor is installed as one for their time.

use std::io;
use std::net::Shutdown;
use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::{opcode, types};
use socket2::SockRef;

use super::op::{Op, Token};
use super::slot::{INSTALLING, SHUTTING_DOWN, SlotState, slot_of};
use super::{Event, UringDriver};
use crate::shared::command::SocketTask;
use crate::shared::key::ConnKey;

impl UringDriver {
    pub(super) fn with_socket(&mut self, key: ConnKey, task: SocketTask) {
        let Some(slot) = slot_of(&mut self.slots, key).filter(|slot| slot.state == SlotState::Open) else {
            return task(Err(io::ErrorKind::NotConnected.into()));
        };
        if let Some(socket) = self.sockets.get(key.index) {
            return task(Ok(SockRef::from(socket)));
        }
        slot.flags.set(INSTALLING);
        self.colds.of(key.index).fd_tasks.push(task);
        let entry = opcode::FixedFdInstall::new(types::Fixed(key.index), 0).build();
        // SAFETY: names no memory; the slot is not closed before it has no task any more.
        unsafe { self.push(Token::new(Op::Install, key), entry) };
    }

    /// Runs the oldest task on the installed descriptor and closes that descriptor.
    pub(super) fn on_install(&mut self, key: ConnKey, result: i32, events: &mut Vec<Event>) {
        let installed = match result {
            // SAFETY: the kernel just created this descriptor, so nothing else owns it.
            0.. => Ok(unsafe { OwnedFd::from_raw_fd(result) }),
            _ => Err(io::Error::from_raw_os_error(-result)),
        };
        if self.slot(key).is_none() {
            return;
        }
        let Some((task, are_left)) = self.colds.take_fd_task(key.index) else { return };
        if let Some(slot) = self.slot(key) {
            slot.flags.put(INSTALLING, are_left);
        }
        match installed {
            Ok(installed) => task(Ok(SockRef::from(&installed))),
            Err(error) => task(Err(error)),
        }
        self.finish_accept(key, events);
        self.after_socket_task(key, events);
        self.advance_close(key);
    }

    /// Sends FIN. The ring's shutdown operation always runs on a kernel worker thread; installing the descriptor does
    /// not.
    pub(super) fn shutdown_write(&mut self, key: ConnKey) {
        let direct = self.features.direct_descriptors;
        let Some(slot) = self.slot(key) else { return };
        slot.flags.set(SHUTTING_DOWN);
        if !direct {
            return self.submit_shutdown(key);
        }
        let entry = opcode::FixedFdInstall::new(types::Fixed(key.index), 0).build();
        // SAFETY: names no memory; the slot is not closed before this has completed.
        unsafe { self.push(Token::new(Op::InstallToShutDown, key), entry) };
    }

    pub(super) fn on_install_to_shut_down(&mut self, key: ConnKey, result: i32) {
        if result < 0 {
            // The process has no free descriptor.
            return self.submit_shutdown(key);
        }
        // SAFETY: the kernel just created this descriptor, so nothing else owns it.
        let installed = unsafe { OwnedFd::from_raw_fd(result) };
        // Fails only if the peer has reset the connection, which the receive reports.
        let _ = SockRef::from(&installed).shutdown(Shutdown::Write);
        drop(installed);
        self.on_shutdown(key);
    }

    fn submit_shutdown(&mut self, key: ConnKey) {
        if self.slot(key).is_none() {
            return;
        }
        let entry = opcode::Shutdown::new(types::Fd(self.fd(key)), libc::SHUT_WR).build();
        // SAFETY: names no memory; the slot is not closed before this has completed.
        unsafe { self.push(Token::new(Op::Shutdown, key), entry) };
    }

    pub(super) fn on_shutdown(&mut self, key: ConnKey) {
        if let Some(slot) = self.slot(key) {
            slot.flags.clear(SHUTTING_DOWN);
        }
        self.advance_close(key);
    }
}
