//! Operations that need a regular descriptor: a direct descriptor is installed as one for their time.

use std::io;
use std::net::Shutdown;
use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::{opcode, types};
use socket2::SockRef;

use super::op::{Op, Token};
use super::slot::{INSTALLING, NO_SEND, SHUT_DOWN, SHUTTING_DOWN, SlotState, slot_of};
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
        // The FIN has left with the last bytes, or is about to.
        if slot.flags.has(SHUT_DOWN | SHUTTING_DOWN) {
            return;
        }
        if direct {
            return self.install_to_shut_down(key);
        }
        slot.flags.set(SHUT_DOWN);
        if let Some(socket) = self.sockets.get(key.index) {
            send_fin(socket);
        }
    }

    /// Installs the descriptor behind a send that the FIN follows at once. The ring takes its entries in order, so by
    /// the completion of this one the send has left, unless it has to wait for the peer.
    pub(super) fn prepare_shutdown(&mut self, key: ConnKey) {
        let direct = self.features.direct_descriptors;
        if direct && self.slot(key).is_some_and(|slot| !slot.flags.has(SHUT_DOWN | SHUTTING_DOWN)) {
            self.install_to_shut_down(key);
        }
    }

    fn install_to_shut_down(&mut self, key: ConnKey) {
        let Some(slot) = self.slot(key) else { return };
        slot.flags.set(SHUTTING_DOWN);
        let entry = opcode::FixedFdInstall::new(types::Fixed(key.index), 0).build();
        // SAFETY: names no memory; the slot is not closed before this has completed.
        unsafe { self.push(Token::new(Op::InstallToShutDown, key), entry) };
    }

    pub(super) fn on_install_to_shut_down(&mut self, key: ConnKey, result: i32) {
        // SAFETY: the kernel just created this descriptor, so nothing else owns it.
        let installed = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let Some(slot) = self.slot(key) else { return };
        if slot.send != NO_SEND {
            // The FIN has to wait, and holds no descriptor meanwhile.
            slot.flags.clear(SHUTTING_DOWN);
            return;
        }
        // Without one, the process has no free descriptor.
        let Some(installed) = installed else { return self.submit_shutdown(key) };
        send_fin(&installed);
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
            slot.flags.set(SHUT_DOWN);
        }
        self.advance_close(key);
    }
}

/// Shuts the sending side down. That fails only if the peer has reset the connection, which the receive reports.
fn send_fin(socket: &OwnedFd) {
    let _ = SockRef::from(socket).shutdown(Shutdown::Write);
}
