//! SIGINT and SIGTERM (signal(7)) while a program waits for them, and their former dispositions before and after.
//!
//! The signal handler writes the signal's number to a socket pair; a thread reads it and forwards it to the
//! subscribers. Pair and thread stay for the rest of the process, so that a signal handler that runs late writes to no
//! other descriptor.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{SIGINT, SIGTERM, c_int, sigaction};

const SIGNALS: [c_int; 2] = [SIGINT, SIGTERM];

/// The descriptor that the signal handler writes to, once there is one.
static PIPE: AtomicI32 = AtomicI32::new(-1);

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { subscribers: Vec::new(), next: 0, former: None });

struct Registry {
    subscribers: Vec<(u64, Sender<c_int>)>,
    next: u64,
    /// The dispositions before the first subscriber.
    former: Option<[sigaction; 2]>,
}

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While one lives, signals are caught. The last one restores the former dispositions.
pub(super) struct Subscription(u64);

/// Catches the signals from now on. Each is received once by each subscriber.
pub(super) fn subscribe() -> io::Result<(Subscription, Receiver<c_int>)> {
    let mut registry = registry();
    if PIPE.load(Ordering::Relaxed) < 0 {
        start_reader()?;
    }
    if registry.former.is_none() {
        let interrupt = set_disposition(SIGINT, &caught())?;
        let terminate = set_disposition(SIGTERM, &caught()).inspect_err(|_| {
            let _ = set_disposition(SIGINT, &interrupt);
        })?;
        registry.former = Some([interrupt, terminate]);
    }
    let (out, signals) = channel();
    let id = registry.next;
    registry.next += 1;
    registry.subscribers.push((id, out));
    Ok((Subscription(id), signals))
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut registry = registry();
        registry.subscribers.retain(|(id, _)| *id != self.0);
        if !registry.subscribers.is_empty() {
            return;
        }
        for (signal, former) in SIGNALS.iter().zip(registry.former.take().iter().flatten()) {
            // A handler that the program installed meanwhile stays.
            if disposition(*signal).is_ok_and(|current| current.sa_sigaction == caught().sa_sigaction) {
                let _ = set_disposition(*signal, former);
            }
        }
    }
}

/// Ends the process by `signal`, as if nothing had caught it.
pub(super) fn end_process(signal: c_int) -> ! {
    let mut default = caught();
    default.sa_sigaction = libc::SIG_DFL;
    let _ = set_disposition(signal, &default);
    // SAFETY: takes no pointers.
    unsafe { libc::raise(signal) };
    // The signal is blocked on this thread.
    std::process::abort()
}

fn start_reader() -> io::Result<()> {
    let (mut signals, pipe) = UnixStream::pair()?;
    pipe.set_nonblocking(true)?;
    std::thread::Builder::new().name("tidegate-signals".to_owned()).spawn(move || {
        let mut signal = [0];
        while signals.read_exact(&mut signal).is_ok() {
            for (_, subscriber) in &registry().subscribers {
                let _ = subscriber.send(c_int::from(signal[0]));
            }
        }
    })?;
    PIPE.store(pipe.into_raw_fd(), Ordering::Release);
    Ok(())
}

extern "C" fn on_signal(signal: c_int) {
    let byte = signal as u8;
    let errno = io::Error::last_os_error().raw_os_error();
    // SAFETY: write(2) may be called in a signal handler. It reads one byte of this frame; the descriptor is never
    // closed. A full pipe holds more signals than anyone reads.
    let sent = unsafe { libc::write(PIPE.load(Ordering::Acquire), std::ptr::from_ref(&byte).cast(), 1) };
    if sent < 0 {
        restore_errno(errno.unwrap_or(0));
    }
}

/// Restores what the interrupted code may be about to read.
fn restore_errno(errno: c_int) {
    #[cfg(any(target_os = "linux", target_os = "emscripten"))]
    // SAFETY: the place belongs to the current thread.
    unsafe {
        *libc::__errno_location() = errno;
    }
    #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
    // SAFETY: as above.
    unsafe {
        *libc::__error() = errno;
    }
    #[cfg(not(any(
        target_os = "linux",
        target_os = "emscripten",
        target_os = "macos",
        target_os = "ios",
        target_os = "freebsd"
    )))]
    let _ = errno;
}

/// Returns our disposition: the handler, with interrupted system calls restarted.
fn caught() -> sigaction {
    // SAFETY: a zeroed `sigaction` has an empty mask and no flags.
    let mut action: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    action
}

/// Sets a disposition and returns the former one.
fn set_disposition(signal: c_int, action: &sigaction) -> io::Result<sigaction> {
    let mut former = caught();
    // SAFETY: reads and writes one `sigaction` each.
    match unsafe { sigaction(signal, action, &mut former) } {
        0 => Ok(former),
        _ => Err(io::Error::last_os_error()),
    }
}

fn disposition(signal: c_int) -> io::Result<sigaction> {
    let mut current = caught();
    // SAFETY: writes one `sigaction`; a null action changes nothing.
    match unsafe { sigaction(signal, std::ptr::null(), &mut current) } {
        0 => Ok(current),
        _ => Err(io::Error::last_os_error()),
    }
}
