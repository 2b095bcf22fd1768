//! Opens files below a folder, and never one outside of it.
//!
//! On Linux the kernel guarantees that (`RESOLVE_BENEATH`, openat2(2), Linux 5.6): a symbolic link can lead anywhere
//! below the folder, and not out of it. Elsewhere the path is resolved first, compared with the folder, and then opened
//! name by name without following links, so that a link that appears in between leads nowhere.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// A folder that is open for as long as it is served.
#[derive(Debug)]
pub(super) struct Root {
    folder: File,
    /// Its path without symbolic links.
    path: PathBuf,
    beneath: Beneath,
}

/// How the kernel helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beneath {
    /// It opens files below a folder only, if asked to without waiting for a disk (Linux 5.12).
    #[cfg(target_os = "linux")]
    KernelCached,
    /// It opens files below a folder only.
    #[cfg(target_os = "linux")]
    Kernel,
    /// Not at all.
    Checked,
}

/// Whether a call may wait for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Allowed,
    Forbidden,
}

/// Why a file was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// There is no such file below the folder.
    NotFound,
    /// It would have to wait for a disk.
    WouldWait,
    /// The system refuses.
    Forbidden(io::Error),
    /// Anything else.
    Failed(io::Error),
}

// A file that is not a regular one must neither block nor become the terminal.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);

impl Root {
    /// Opens a folder.
    ///
    /// # Errors
    /// It does not exist, is no folder, or cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        let path = std::fs::canonicalize(path)?;
        let folder = File::from(rustix::fs::open(&path, FOLDER_FLAGS, Mode::empty())?);
        let beneath = Beneath::probe(&folder);
        Ok(Root { folder, path, beneath })
    }

    /// Opens a file or a folder below, by a path that has no `..` and is not absolute; the folder itself by an empty
    /// one.
    pub(super) fn file(&self, path: &str, waiting: Waiting) -> Result<File, OpenError> {
        let path = if path.is_empty() { "." } else { path };
        match self.beneath {
            #[cfg(target_os = "linux")]
            Beneath::KernelCached => open_beneath(&self.folder, path, waiting),
            _ if waiting == Waiting::Forbidden => Err(OpenError::WouldWait),
            #[cfg(target_os = "linux")]
            Beneath::Kernel => open_beneath(&self.folder, path, waiting),
            Beneath::Checked => self.open_checked(path),
        }
    }

    fn open_checked(&self, path: &str) -> Result<File, OpenError> {
        let resolved = std::fs::canonicalize(self.path.join(path)).map_err(OpenError::of)?;
        let below = resolved.strip_prefix(&self.path).map_err(|_| OpenError::NotFound)?;
        let mut names = below.components().peekable();
        let mut folder: Option<File> = None;
        while let Some(name) = names.next() {
            let Component::Normal(name) = name else { return Err(OpenError::NotFound) };
            let flags = if names.peek().is_none() { FLAGS } else { FOLDER_FLAGS };
            let parent = folder.as_ref().unwrap_or(&self.folder);
            let opened = openat(parent, Path::new(name), flags.union(OFlags::NOFOLLOW), Mode::empty());
            folder = Some(File::from(opened.map_err(|error| OpenError::of(error.into()))?));
        }
        match folder {
            Some(file) => Ok(file),
            None => self.folder.try_clone().map_err(OpenError::of),
        }
    }
}

#[cfg(target_os = "linux")]
impl Beneath {
    fn probe(folder: &File) -> Beneath {
        match open_beneath(folder, ".", Waiting::Forbidden) {
            Ok(_) | Err(OpenError::WouldWait) => return Beneath::KernelCached,
            Err(_) => {}
        }
        match open_beneath(folder, ".", Waiting::Allowed) {
            Ok(_) => Beneath::Kernel,
            Err(_) => Beneath::Checked,
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Beneath {
    fn probe(_folder: &File) -> Beneath {
        Beneath::Checked
    }
}

#[cfg(target_os = "linux")]
fn open_beneath(folder: &File, path: &str, waiting: Waiting) -> Result<File, OpenError> {
    use rustix::fs::{ResolveFlags, openat2};

    /// Tries of a call that was disturbed by a renamed folder.
    const TRIES: usize = 8;

    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let resolve = if waiting == Waiting::Forbidden { beneath | ResolveFlags::CACHED } else { beneath };
    for _ in 0..TRIES {
        match openat2(folder, path, FLAGS, Mode::empty(), resolve) {
            Ok(file) => return Ok(File::from(file)),
            Err(Errno::AGAIN) if waiting == Waiting::Forbidden => return Err(OpenError::WouldWait),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(OpenError::of(error.into())),
        }
    }
    Err(OpenError::Failed(Errno::AGAIN.into()))
}

impl OpenError {
    pub(super) fn of(error: io::Error) -> OpenError {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        match errno {
            // A link out of the folder, a circle of links, a special file without a reader.
            Some(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::XDEV
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::NXIO
                | Errno::NODEV
                | Errno::INVAL,
            ) => OpenError::NotFound,
            Some(Errno::ACCESS | Errno::PERM) => OpenError::Forbidden(error),
            _ => OpenError::Failed(error),
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(root: &Root, path: &str) -> Result<String, String> {
        let file = root.file(path, Waiting::Allowed).map_err(|error| format!("{error:?}"));
        file.and_then(|mut file| {
            let mut content = String::new();
            file.read_to_string(&mut content).map(|_| content).map_err(|error| error.to_string())
        })
    }

    /// Each way of opening files opens the same ones.
    #[test]
    fn links_lead_anywhere_below_the_folder_and_not_out() {
        let base = std::env::temp_dir().join(format!("tidegate-root-{}", std::process::id()));
        let folder = base.join("served");
        std::fs::create_dir_all(folder.join("sub")).expect("created");
        std::fs::write(base.join("secret"), "secret").expect("written");
        std::fs::write(folder.join("sub/a"), "a").expect("written");
        symlink("sub/a", folder.join("inside")).expect("linked");
        symlink("../secret", folder.join("outside")).expect("linked");
        symlink(base.join("secret"), folder.join("absolute")).expect("linked");
        symlink("..", folder.join("up")).expect("linked");
        symlink("circle", folder.join("circle")).expect("linked");

        let mut root = Root::open(&folder).expect("opens");
        let probed = root.beneath;
        for beneath in [probed, Beneath::Checked] {
            root.beneath = beneath;
            assert_eq!(read(&root, "sub/a").as_deref(), Ok("a"));
            assert_eq!(read(&root, "inside").as_deref(), Ok("a"));
            for path in ["outside", "absolute", "up/secret", "circle", "missing", "sub/a/b", "../secret"] {
                assert_eq!(read(&root, path), Err("NotFound".to_owned()), "{path} by {beneath:?}");
            }
            assert!(root.file("", Waiting::Allowed).expect("opens").metadata().expect("read").is_dir());
        }
        std::fs::remove_dir_all(base).expect("removed");
    }
}
