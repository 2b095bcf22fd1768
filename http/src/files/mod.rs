//! Files of a folder, or one file, as responses.
//!
//! `path` finds what a request asks for, `root` opens it and nothing outside of the folder, `entry` is what is known of
//! a file, `cache` keeps what was served last, `conditions` and `ranges` read the request, `answer` makes the response,
//! and `content` sends large files in pieces.

mod answer;
mod cache;
mod conditions;
mod content;
mod entry;
mod media_type;
mod mount;
mod path;
mod ranges;
mod root;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use http::{Method, StatusCode};
use tidegate_engine::file::on_pool;

use crate::message::request::Request;
use crate::message::response::Response;
use crate::server::handler::{Handler, Reply};
use answer::{Settings, answer, redirect_to_folder, refuse_method};
use cache::{Cache, Cached};
use content::ZeroCopy;
use entry::{Entry, Found, Opened, Search};
use path::asked_path;
use root::{OpenError, Root, Waiting};

/// Default of [`Files::cache_bytes_max`]: the small files of most sites.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Default of [`Files::check_interval`].
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Tries to read a file that changes while it is read.
const TRIES: usize = 4;

/// A handler that serves the files of a folder, or one file.
///
/// ```no_run
/// use tidegate_http::{Files, Router};
///
/// # fn main() -> std::io::Result<()> {
/// let app = Router::new()
///     .files("/static", Files::new("public")?) // public/app.js is /static/app.js
///     .get("/favicon.ico", Files::file("public/images/favicon.ico")?);
/// # Ok(())
/// # }
/// ```
///
/// [`Router::files`](crate::Router::files) adds the routes. As the handler of a route it serves the file that the path
/// parameter `path` names, and the whole path of the request if there is none, such as in
/// [`Router::fallback`](crate::Router::fallback).
///
/// # What is served
/// Regular files below the folder, by exactly one path each: a path with an empty segment, `.`, `..` or a backslash has
/// no file. A symbolic link can lead anywhere below the folder, and not out of it. Names that begin with a dot are
/// hidden unless [`hidden_files`](Files::hidden_files) is set. A folder is answered with its `index.html`
/// ([`index`](Files::index)), and never with a list of its files; without a slash at the end of its path, with a
/// redirect that adds one. Anything else is 404. A file that the system refuses to open is 403, and any other failure
/// 500; both are in the log.
///
/// # Fields
/// - Content-Type by the extension; text is declared as UTF-8.
/// - A strong ETag of the time of the last change in nanoseconds and the length, and Last-Modified.
/// - If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since and If-Range as in RFC 9110 section 13.
/// - Range: one range, or up to 16 that together are no longer than the file, as `multipart/byteranges`.
/// - A file `a.js.br`, `a.js.zst` or `a.js.gz` is sent in place of `a.js` to clients that accept its coding, if the
///   type of `a.js` is one that becomes smaller by compression ([`precompressed`](Files::precompressed)). It must have
///   the same content.
///
/// # Memory and change
/// Files of up to 128 KiB are kept in memory, [16 MiB](Files::cache_bytes_max) in all. An entry is compared with the
/// disk by the first request after [100 ms](Files::check_interval). Larger files, of which 256 are kept open, are sent
/// from the page cache of the kernel if they have not changed for ten seconds, and read in pieces of up to 128 KiB
/// otherwise; all pieces together take 32 MiB. A file that becomes shorter while it is sent ends its connection: the
/// client sees that content is missing, within the bounds of [`zero_copy`](Files::zero_copy). Replace files by renaming
/// new ones onto them: whoever is receiving the old one then receives all of it.
///
/// No call waits for a disk on the thread of a worker, except where a part of a large file is missing in the page cache
/// although its beginning and its end are there.
#[derive(Debug)]
pub struct Files {
    root: Arc<Root>,
    /// The only file that is served.
    only: Option<String>,
    search: Search,
    hidden_files: bool,
    settings: Settings,
    cache_bytes_max: usize,
    check_interval: Duration,
    cache: Cache,
}

/// What was found for a request.
enum Hit {
    File(Arc<Entry>),
    Folder,
}

impl Files {
    /// Creates a handler for the files of a folder, which stays open: it can be renamed while it is served.
    ///
    /// # Errors
    /// The folder does not exist, is a file, or cannot be opened.
    pub fn new(folder: impl AsRef<Path>) -> io::Result<Files> {
        Ok(Files {
            root: Arc::new(Root::open(folder.as_ref())?),
            only: None,
            search: Search { index: Some("index.html".to_owned()), precompressed: true },
            hidden_files: false,
            settings: Settings::default(),
            cache_bytes_max: CACHE_BYTES_MAX,
            check_interval: CHECK_INTERVAL,
            cache: Cache::new(CACHE_BYTES_MAX, CHECK_INTERVAL),
        })
    }

    /// Creates a handler for one file, whatever the path of the request. The file need not exist yet; its folder must.
    ///
    /// # Errors
    /// As [`new`](Files::new) for the folder of the file, and `InvalidInput` if the path has no name at its end that is
    /// UTF-8.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Files> {
        let path = path.as_ref();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("invalid path {path:?}: must end with the name of a file"),
            )
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Files { only: Some(name.to_owned()), ..Files::new(folder)? })
    }

    /// Sets the name of the file that answers for its folder; `None` for 404. Default `index.html`.
    pub fn index(mut self, name: Option<&str>) -> Files {
        self.search.index = name.map(str::to_owned);
        self
    }

    /// Sets whether compressed files beside files are sent in their place. Default true.
    pub fn precompressed(mut self, used: bool) -> Files {
        self.search.precompressed = used;
        self
    }

    /// Sets whether files and folders are served whose names begin with a dot. Default false: `.git` and `.env` are
    /// often there by mistake.
    pub fn hidden_files(mut self, served: bool) -> Files {
        self.hidden_files = served;
        self
    }

    /// Sets Cache-Control of all answers with 200, 206 and 304. Default: none, so that caches guess by the age of a
    /// file. `no-cache` lets them ask each time, which costs a 304.
    ///
    /// ```no_run
    /// use http::HeaderValue;
    /// use tidegate_http::Files;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// // Names of these files contain a hash of their content.
    /// let assets = Files::new("dist/assets")?
    ///     .cache_control(HeaderValue::from_static("public, max-age=31536000, immutable"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cache_control(mut self, value: HeaderValue) -> Files {
        self.settings.cache_control = Some(value);
        self
    }

    /// Sets whether large files are sent from the page cache of the kernel without a copy (sendfile(2), on Linux without
    /// TLS), which takes about half of the processor's time. Default: files that have not changed for ten seconds. With
    /// true, files that have just changed too; with false, none.
    ///
    /// The kernel then sends memory that other programs can still write to. A file that is cut in place while it is sent
    /// still ends its connection as long as bytes are left for the kernel to take. What the kernel has taken, up to 4 MiB
    /// for each connection by default (`tcp_wmem`), and the client has not read yet, changes with the file: bytes that
    /// are overwritten in place arrive new, and those behind the cut arrive as zeros up to the end of their page or large
    /// folio (2 MiB), in a response that looks complete if those were its last ones. Set it to false for folders whose files are cut or
    /// overwritten in place.
    pub fn zero_copy(mut self, used: bool) -> Files {
        self.settings.zero_copy = if used { ZeroCopy::Always } else { ZeroCopy::Never };
        self
    }

    /// Sets the memory for the content of small files, in bytes; 0 keeps nothing. Default 16 MiB.
    pub fn cache_bytes_max(mut self, bytes: usize) -> Files {
        self.cache_bytes_max = bytes;
        self.cache = Cache::new(bytes, self.check_interval);
        self
    }

    /// Sets the time after which a request compares what is kept of a file with the disk: its inode, length and times.
    /// A change shows after that time at most. Zero compares for each request, which costs two system calls more.
    /// Default 100 ms.
    pub fn check_interval(mut self, interval: Duration) -> Files {
        self.check_interval = interval;
        self.cache = Cache::new(self.cache_bytes_max, interval);
        self
    }

    /// Answers a request for a path, or for the one it names.
    fn reply(&self, request: Request, path: Option<&str>) -> Reply<'_> {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            return Reply::Ready(refuse_method(request.method()));
        }
        let path = match self.only.as_deref().or(path) {
            Some(path) => Cow::Borrowed(path),
            None => match asked_path(&request, self.hidden_files) {
                Some(path) => path,
                None => return Reply::Ready(error(StatusCode::NOT_FOUND)),
            },
        };
        if let Some(found) = self.find_now(&path) {
            return Reply::Ready(self.respond(&request, &path, found));
        }
        let path = path.into_owned();
        Reply::from_future(async move {
            let found = self.find(&path).await;
            self.respond(&request, &path, found)
        })
    }

    /// Finds a file without waiting for a disk. `None`: it has to.
    fn find_now(&self, path: &str) -> Option<Result<Hit, OpenError>> {
        let stale = match self.cache.get(path) {
            Some(Cached::Fresh(entry)) => return Some(Ok(Hit::File(entry))),
            Some(Cached::Stale(entry)) => Some(entry),
            None => None,
        };
        let opened = match entry::open(&self.root, path, &self.search, Waiting::Forbidden) {
            Err(OpenError::WouldWait) => return None,
            found => match self.judge(path, found, stale) {
                Ok(opened) => opened,
                Err(answer) => return Some(answer),
            },
        };
        match opened.read_now() {
            Ok(Some(contents)) if opened.is_unchanged() => Some(Ok(self.keep(path, *opened, contents))),
            // It changes: the other way tries again.
            Ok(_) => None,
            Err(error) => Some(Err(OpenError::Failed(error))),
        }
    }

    /// Finds a file on the threads for it, and reads it.
    async fn find(&self, path: &str) -> Result<Hit, OpenError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (root, search, asked) = (Arc::clone(&self.root), self.search.clone(), path.to_owned());
            let found = on_pool(move || entry::open(&root, &asked, &search, Waiting::Allowed)).await;
            let stale = match self.cache.get(path) {
                Some(Cached::Fresh(entry) | Cached::Stale(entry)) => Some(entry),
                None => None,
            };
            let opened = match self.judge(path, found.unwrap_or_else(|error| Err(OpenError::Failed(error))), stale) {
                Ok(opened) => opened,
                Err(answer) => return answer,
            };
            match opened.read().await {
                Ok(contents) if opened.is_unchanged() => return Ok(self.keep(path, *opened, contents)),
                // It is written to all the time. It is sent as it was found, and not kept.
                Ok(contents) if attempt >= TRIES => return Ok(Hit::File(Arc::new(opened.into_entry(contents)))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && attempt < TRIES => {}
                Err(error) => return Err(OpenError::Failed(error)),
            }
        }
    }

    /// Returns what was opened if it has to be read; otherwise the answer, which is what the cache has if that is the
    /// same.
    fn judge(
        &self,
        path: &str,
        found: Result<Found, OpenError>,
        cached: Option<Arc<Entry>>,
    ) -> Result<Box<Opened>, Result<Hit, OpenError>> {
        let answer = match (found, cached) {
            (Ok(Found::File(opened)), Some(entry)) if opened.is_same_as(&entry) => {
                self.cache.refresh(&entry);
                return Err(Ok(Hit::File(entry)));
            }
            (Ok(Found::File(opened)), _) => return Ok(opened),
            (Ok(Found::Folder), _) => Ok(Hit::Folder),
            (Err(error), _) => Err(error),
        };
        self.cache.remove(path);
        Err(answer)
    }

    fn keep(&self, path: &str, opened: Opened, contents: Vec<entry::Content>) -> Hit {
        let entry = Arc::new(opened.into_entry(contents));
        self.cache.insert(path, &entry);
        Hit::File(entry)
    }

    fn respond(&self, request: &Request, path: &str, found: Result<Hit, OpenError>) -> Response {
        match found {
            Ok(Hit::File(entry)) => answer(request, &entry, &self.settings),
            Ok(Hit::Folder) if self.only.is_none() => redirect_to_folder(request),
            Ok(Hit::Folder) | Err(OpenError::NotFound | OpenError::WouldWait) => error(StatusCode::NOT_FOUND),
            Err(OpenError::Forbidden(cause)) => {
                log::warn!("file {path:?} answered with 403: {cause}");
                error(StatusCode::FORBIDDEN)
            }
            Err(OpenError::Failed(cause)) => {
                log::error!("file {path:?} answered with 500: {cause}");
                error(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

#[diagnostic::do_not_recommend]
impl Handler for Files {
    fn handle(&self, request: Request) -> Reply<'_> {
        self.reply(request, None)
    }
}

/// Returns a refusal in the words of the router.
fn error(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default().to_ascii_lowercase();
    Response::text(format!("{reason}\n")).with_status(status)
}
