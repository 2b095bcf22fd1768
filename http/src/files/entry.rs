//! A file as it is served: its version, its validators, and its content or an open descriptor, with the compressed
//! forms beside it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::HeaderValue;
use tidegate_engine::file;

use super::conditions::Validators;
use super::media_type;
use super::root::{OpenError, Root, Waiting};
use crate::content_coding::{Accepted, Choice, Coding};
use crate::media_types::gains_by_compression;

/// Larger files are not kept in memory, and sent from the file.
pub(super) const MEMORY_BYTES_MAX: u64 = 128 * 1024;

/// The time after its last change from which a file is at rest: ten seconds, and one more because the time of the
/// change is compared in whole seconds.
const REST: Duration = Duration::from_secs(11);

/// The compressed forms that can lie beside a file, in the order of preference.
const BESIDE: [(Coding, &str); 3] = [(Coding::Brotli, ".br"), (Coding::Zstd, ".zst"), (Coding::Gzip, ".gz")];

/// A file that can be served.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) media_type: HeaderValue,
    plain: Form,
    encoded: Vec<(Coding, Form)>,
    /// The milliseconds of the cache's clock at which the version was looked at.
    pub(super) checked_at: AtomicU64,
    /// Whether it was used since the cache looked for something to drop.
    pub(super) used: AtomicBool,
}

/// One form of a file, plain or compressed.
#[derive(Debug)]
pub(super) struct Form {
    version: Version,
    pub(super) etag: HeaderValue,
    pub(super) last_modified: HeaderValue,
    modified_seconds: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Memory(Bytes),
    File(Arc<File>),
}

/// What shows that a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Files that were opened, and not read yet.
#[derive(Debug)]
pub(super) struct Opened {
    media_type: HeaderValue,
    plain: (Arc<File>, Metadata),
    encoded: Vec<(Coding, (Arc<File>, Metadata))>,
}

/// What a path names.
#[derive(Debug)]
pub(super) enum Found {
    File(Box<Opened>),
    /// A folder, by a path without a slash at its end.
    Folder,
}

/// How files are looked for.
#[derive(Debug, Clone)]
pub(super) struct Search {
    /// The name of the file that stands for its folder.
    pub(super) index: Option<String>,
    /// Whether compressed forms beside files are used.
    pub(super) precompressed: bool,
}

/// Opens the file that a path names, and its compressed forms.
pub(super) fn open(root: &Root, path: &str, search: &Search, waiting: Waiting) -> Result<Found, OpenError> {
    let indexed;
    let is_folder = path.is_empty() || path.ends_with('/');
    let name = match (is_folder, &search.index) {
        (false, _) => path,
        (true, Some(index)) => {
            indexed = format!("{path}{index}");
            &indexed
        }
        (true, None) => return Err(OpenError::NotFound),
    };
    let file = root.file(name, waiting)?;
    let metadata = file.metadata().map_err(OpenError::of)?;
    if metadata.is_dir() {
        return if is_folder { Err(OpenError::NotFound) } else { Ok(Found::Folder) };
    }
    if !metadata.is_file() {
        return Err(OpenError::NotFound);
    }
    let media_type = media_type::of_name(name);
    let mut encoded = Vec::new();
    if search.precompressed && gains_by_compression(media_type.as_bytes()) {
        for (coding, extension) in BESIDE {
            match root.file(&format!("{name}{extension}"), waiting) {
                Ok(file) => {
                    let metadata = file.metadata().map_err(OpenError::of)?;
                    if metadata.is_file() {
                        encoded.push((coding, (Arc::new(file), metadata)));
                    }
                }
                Err(OpenError::WouldWait) => return Err(OpenError::WouldWait),
                // The plain form is always there.
                Err(_) => {}
            }
        }
    }
    Ok(Found::File(Box::new(Opened { media_type, plain: (Arc::new(file), metadata), encoded })))
}

impl Opened {
    /// Returns whether these are the versions of an entry.
    pub(super) fn is_same_as(&self, entry: &Entry) -> bool {
        Version::of(&self.plain.1) == entry.plain.version
            && self.encoded.len() == entry.encoded.len()
            && self.encoded.iter().zip(&entry.encoded).all(|((coding, (_, metadata)), (known, form))| {
                coding == known && Version::of(metadata) == form.version
            })
    }

    /// Returns whether the files are what they were when they were opened.
    pub(super) fn is_unchanged(&self) -> bool {
        self.files().all(|(file, metadata)| file.metadata().is_ok_and(|now| Version::of(&now) == Version::of(metadata)))
    }

    /// Reads the content of small files if it is in memory. `None` if that would wait.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn read_now(&self) -> io::Result<Option<Vec<Content>>> {
        let mut contents = Vec::with_capacity(1 + self.encoded.len());
        for (file, metadata) in self.files() {
            if metadata.len() > MEMORY_BYTES_MAX {
                contents.push(Content::File(Arc::clone(file)));
                continue;
            }
            match file::read_cached(file, 0, metadata.len() as usize)? {
                // Copied, because the memory of a read is larger.
                Some(bytes) if bytes.len() as u64 == metadata.len() => {
                    contents.push(Content::Memory(Bytes::copy_from_slice(&bytes)));
                }
                // In part not in memory, or too short, which shows when it is read.
                _ => return Ok(None),
            }
        }
        Ok(Some(contents))
    }

    /// Reads the content of small files.
    ///
    /// # Errors
    /// Those of reading, and `UnexpectedEof` if a file became shorter meanwhile.
    pub(super) async fn read(&self) -> io::Result<Vec<Content>> {
        let mut contents = Vec::with_capacity(1 + self.encoded.len());
        for (file, metadata) in self.files() {
            if metadata.len() > MEMORY_BYTES_MAX {
                contents.push(Content::File(Arc::clone(file)));
                continue;
            }
            let mut bytes = Vec::with_capacity(metadata.len() as usize);
            while (bytes.len() as u64) < metadata.len() {
                let left = metadata.len() as usize - bytes.len();
                let piece = file::read(file, bytes.len() as u64, left).await?;
                if piece.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                bytes.extend_from_slice(&piece);
            }
            contents.push(Content::Memory(bytes.into()));
        }
        Ok(contents)
    }

    fn files(&self) -> impl Iterator<Item = &(Arc<File>, Metadata)> {
        std::iter::once(&self.plain).chain(self.encoded.iter().map(|(_, opened)| opened))
    }

    /// Makes an entry of the files and their contents, which are in the same order.
    pub(super) fn into_entry(self, contents: Vec<Content>) -> Entry {
        let mut contents = contents.into_iter();
        let mut next = |metadata: &Metadata, coding: Option<Coding>| {
            let content = contents.next().unwrap_or(Content::Memory(Bytes::new()));
            Form::new(metadata, coding, content)
        };
        let plain = next(&self.plain.1, None);
        let encoded =
            self.encoded.iter().map(|(coding, (_, metadata))| (*coding, next(metadata, Some(*coding)))).collect();
        Entry {
            media_type: self.media_type,
            plain,
            encoded,
            checked_at: AtomicU64::new(0),
            used: AtomicBool::new(true),
        }
    }
}

impl Entry {
    /// Returns the form that suits a client, and its coding.
    pub(super) fn form_for(&self, accepted: impl FnOnce() -> Accepted) -> (&Form, Option<Coding>) {
        if self.encoded.is_empty() {
            return (&self.plain, None);
        }
        let choice = accepted().choose(self.encoded.iter().map(|(coding, _)| *coding));
        if let Choice::Coding(chosen) = choice
            && let Some((coding, form)) = self.encoded.iter().find(|(coding, _)| *coding == chosen)
        {
            return (form, Some(*coding));
        }
        (&self.plain, None)
    }

    /// Returns whether the form depends on the client.
    pub(super) fn varies(&self) -> bool {
        !self.encoded.is_empty()
    }

    /// Returns the bytes that it keeps in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.forms().map(|form| if let Content::Memory(bytes) = &form.content { bytes.len() } else { 0 }).sum()
    }

    /// Returns the number of descriptors that it keeps open.
    pub(super) fn open_files(&self) -> usize {
        self.forms().filter(|form| matches!(form.content, Content::File(_))).count()
    }

    fn forms(&self) -> impl Iterator<Item = &Form> {
        std::iter::once(&self.plain).chain(self.encoded.iter().map(|(_, form)| form))
    }
}

impl Form {
    fn new(metadata: &Metadata, coding: Option<Coding>, content: Content) -> Form {
        let version = Version::of(metadata);
        let nanoseconds = i128::from(version.modified.0) * 1_000_000_000 + i128::from(version.modified.1);
        // Strong: it changes with each write that the file system's clock can tell apart. The inode is left out, so
        // that copies on several servers have the same tag.
        let suffix = coding.map_or(String::new(), |coding| format!("-{}", coding.name()));
        let etag = format!("\"{nanoseconds:x}-{:x}{suffix}\"", version.bytes);
        // RFC 9110 section 8.8.2.1: not later than now.
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH).clamp(UNIX_EPOCH, SystemTime::now());
        let modified_seconds = modified.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let last_modified = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified_seconds.min(DATE_MAX)));
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        Form { version, etag: value(etag), last_modified: value(last_modified), modified_seconds, content }
    }

    /// Returns whether the file has not changed for a while, so that it is unlikely to be changed in place just now.
    pub(super) fn is_at_rest(&self, now: SystemTime) -> bool {
        // Unlike the time of its last modification, this one cannot be set.
        let changed = UNIX_EPOCH.checked_add(Duration::from_secs(self.version.changed.0.max(0).unsigned_abs()));
        changed.is_some_and(|changed| now.duration_since(changed).is_ok_and(|age| age > REST))
    }

    /// Returns the length of the content in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.version.bytes
    }

    pub(super) fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.etag.as_bytes(),
            last_modified: self.last_modified.as_bytes(),
            modified_seconds: self.modified_seconds,
        }
    }
}

/// The last second of the year 9999.
const DATE_MAX: u64 = 253_402_300_799;

impl Version {
    fn of(metadata: &Metadata) -> Version {
        Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_at_rest_ten_seconds_after_its_last_change() {
        let metadata = std::env::current_exe().and_then(std::fs::metadata).expect("this test");
        let form = Form::new(&metadata, None, Content::Memory(Bytes::new()));
        let changed = UNIX_EPOCH + Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32);
        let at_rest = |age: Duration| form.is_at_rest(changed + age);
        assert!(!at_rest(Duration::ZERO));
        assert!(!at_rest(Duration::from_secs(10)));
        assert!(at_rest(Duration::from_secs(12)));
        assert!(!form.is_at_rest(changed - Duration::from_secs(60)), "a clock that is ahead");
    }
}
