//! Reload of certificates whose files have changed.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use super::server::{Tls, WeakTls};

/// Maximum time from the end of the last clone to the end of its thread.
const LOOKS_APART: Duration = Duration::from_millis(250);

/// What shows that a file has changed: one that replaces another differs in its number, even in the same second.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    #[cfg(unix)]
    inode: u64,
}

type Stamps = Vec<(PathBuf, Option<Stamp>)>;

/// Starts the thread that looks at the files of `tls`.
pub(super) fn spawn(tls: &Tls, interval: Duration) -> io::Result<()> {
    let (weak, stamps) = (tls.downgrade(), stamps_of(tls));
    thread::Builder::new().name("tidegate-tls".to_owned()).spawn(move || watch(&weak, stamps, interval))?;
    Ok(())
}

fn watch(weak: &WeakTls, mut stamps: Stamps, interval: Duration) {
    let mut waited = Duration::ZERO;
    let mut refused = None;
    loop {
        let pause = LOOKS_APART.min(interval);
        thread::sleep(pause);
        let Some(tls) = weak.upgrade() else { return };
        waited += pause;
        if waited < interval {
            continue;
        }
        waited = Duration::ZERO;
        let now = stamps_of(&tls);
        if now == stamps {
            continue;
        }
        match tls.reload() {
            Ok(()) => {
                stamps = now;
                log::info!("TLS certificates reloaded");
            }
            // One of two files can be newer than the other for a moment, so the next look tries again.
            Err(_) if refused.as_ref() == Some(&now) => {}
            Err(error) => {
                log::warn!("TLS certificates have changed and cannot be used: {error}");
                refused = Some(now);
            }
        }
    }
}

fn stamps_of(tls: &Tls) -> Stamps {
    tls.files().into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok(),
        len: metadata.len(),
        #[cfg(unix)]
        inode: std::os::unix::fs::MetadataExt::ino(&metadata),
    })
}
