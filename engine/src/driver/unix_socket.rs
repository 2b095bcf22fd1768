//! The files of Unix-domain sockets: made, replaced when nobody listens on them any more, and removed.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::driver::listener::FileOptions;

/// The file of a bound socket. Dropping it removes the file, unless another socket has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Returns the address of the socket at `path`, or of the abstract name after an `@` (unix(7)).
pub(crate) fn address(path: &Path) -> io::Result<SockAddr> {
    match path.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => SockAddr::unix(std::ffi::OsStr::from_bytes(&[b"\0", name].concat())),
        None => SockAddr::unix(path),
    }
}

/// Binds a socket at `path`, or at the abstract name after an `@` (unix(7)), which has no file. A file that a dead
/// server left there is replaced. The options are applied before anyone can connect.
pub(crate) fn bind(path: &Path, options: FileOptions) -> io::Result<(Socket, Option<SocketFile>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = address(path)?;
    if address.as_abstract_namespace().is_some() {
        socket.bind(&address)?;
        return Ok((socket, None));
    }
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &address) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        answer => answer?,
    }
    let made = std::fs::symlink_metadata(path)?;
    // The working directory can change before the end.
    let file = SocketFile { path: std::path::absolute(path)?, device: made.dev(), inode: made.ino() };
    let FileOptions { mode, uid, gid } = options;
    if (uid, gid) != (None, None) {
        lchown(path, uid, gid)?;
    }
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok((socket, Some(file)))
}

/// Returns whether `path` is a socket that nobody listens on: a connection is refused.
fn is_stale(path: &Path, address: &SockAddr) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let connected = || Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|client| client.connect(address));
    is_socket && connected().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |file: std::fs::Metadata| (file.dev(), file.ino()) == (self.device, self.inode);
        if std::fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
