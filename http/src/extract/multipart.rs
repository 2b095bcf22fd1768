//! Multipart forms (RFC 7578), read field by field and piece by piece.
//!
//! The parser is that of the `multer` crate. It buffers all that its stream has, so the stream here has one piece of
//! content at a time: the next is received when the parser has used the last. The parser does not bound the fields of a
//! part's head; [`PART_HEAD_BYTES_MAX`] does.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::HeaderMap;

use crate::error::BodyError;
use crate::extract::rejection::Rejection;
use crate::message::body::Body;
use crate::message::request::Request;

/// Bytes that can precede the content of a field: its head, and what stands before the first boundary. Several times
/// what browsers send.
const PART_HEAD_BYTES_MAX: usize = 64 * 1024;

/// # Forms
impl Request {
    /// Takes the content as a multipart form, as browsers send it for forms with files.
    ///
    /// ```
    /// use tidegate_http::{Rejection, Request};
    ///
    /// async fn upload(mut request: Request) -> Result<String, Rejection> {
    ///     let mut form = request.multipart()?;
    ///     let mut sizes = String::new();
    ///     while let Some(mut field) = form.next_field().await? {
    ///         let name = field.name().unwrap_or_default().to_owned();
    ///         let mut size = 0;
    ///         while let Some(piece) = field.chunk().await? {
    ///             size += piece.len(); // write it to a file
    ///         }
    ///         sizes += &format!("{name}: {size} bytes\n");
    ///     }
    ///     Ok(sizes)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Rejection::MediaType`] (415) unless Content-Type is `multipart/form-data` with a boundary.
    pub fn multipart(&mut self) -> Result<Multipart, Rejection> {
        let content_type = self.header("content-type").unwrap_or_default();
        let boundary = multer::parse_boundary(content_type)
            .map_err(|_| Rejection::MediaType("multipart/form-data with a boundary"))?;
        let feed = Arc::new(Mutex::new(Feed::default()));
        let parser = multer::Multipart::new(FeedStream(Arc::clone(&feed)), boundary);
        let source = Source { body: std::mem::take(self.body_mut()), feed, fed: 0 };
        Ok(Multipart { parser, field: None, source })
    }
}

/// A multipart form that is being received. [`Request::multipart`] returns it.
///
/// The whole form counts towards [`Limits::body_bytes_max`](crate::Limits::body_bytes_max); in memory is at most one
/// piece of it.
pub struct Multipart {
    parser: multer::Multipart<'static>,
    /// The field whose content comes next.
    field: Option<multer::Field<'static>>,
    source: Source,
}

/// A field of a [`Multipart`] form: its head, and its content to be read.
pub struct Field<'m> {
    field: &'m mut multer::Field<'static>,
    source: &'m mut Source,
}

impl Multipart {
    /// Reads the next field; `None` at the end. The unread rest of the last field is skipped.
    ///
    /// # Errors
    /// [`Rejection::Malformed`] (400), and [`Rejection::Body`].
    pub async fn next_field(&mut self) -> Result<Option<Field<'_>>, Rejection> {
        let Multipart { parser, field, source } = self;
        if let Some(last) = field {
            while source.next_piece(last).await?.is_some() {}
            *field = None;
        }
        source.fed = 0;
        let next = poll_fn(|cx| source.poll(cx, Some(PART_HEAD_BYTES_MAX), |cx| parser.poll_next_field(cx))).await?;
        Ok(next.map(|next| Field { field: field.insert(next), source }))
    }
}

impl Field<'_> {
    /// Returns the name of the field.
    pub fn name(&self) -> Option<&str> {
        self.field.name()
    }

    /// Returns the name of the uploaded file as the client gave it: not a path to write to.
    pub fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// Returns the media type of the field, if it has one.
    pub fn content_type(&self) -> Option<&str> {
        self.field.content_type().map(AsRef::as_ref)
    }

    /// Returns the head of the field.
    pub fn headers(&self) -> &HeaderMap {
        self.field.headers()
    }

    /// Reads the next piece of the content; `None` at the end.
    ///
    /// # Errors
    /// [`Rejection::Malformed`] (400), and [`Rejection::Body`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Rejection> {
        self.source.next_piece(self.field).await
    }

    /// Reads the rest of the content into memory, up to `limit` bytes.
    ///
    /// # Errors
    /// As [`chunk`](Field::chunk), and [`BodyError::TooLarge`] (413) beyond the limit.
    pub async fn bytes_up_to(&mut self, limit: u64) -> Result<Bytes, Rejection> {
        let mut collected = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if (collected.len() + piece.len()) as u64 > limit {
                return Err(BodyError::TooLarge(limit).into());
            }
            collected.extend_from_slice(&piece);
        }
        Ok(collected.freeze())
    }

    /// Reads the rest of the content into memory as UTF-8 text, up to `limit` bytes.
    ///
    /// # Errors
    /// As [`bytes_up_to`](Field::bytes_up_to), and [`BodyError::NotText`] (400).
    pub async fn text_up_to(&mut self, limit: u64) -> Result<String, Rejection> {
        let bytes = self.bytes_up_to(limit).await?;
        String::from_utf8(bytes.into()).map_err(|_| BodyError::NotText.into())
    }
}

/// The content of the request, on its way to the parser.
struct Source {
    body: Body,
    feed: Arc<Mutex<Feed>>,
    /// Bytes passed on since the last field began or ended.
    fed: usize,
}

/// What the parser can read now. Shared, because the parser owns its stream, which must be `Send`.
#[derive(Default)]
struct Feed {
    piece: Option<Bytes>,
    ended: bool,
}

struct FeedStream(Arc<Mutex<Feed>>);

impl Stream for FeedStream {
    type Item = Result<Bytes, multer::Error>;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut feed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match feed.piece.take() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None if feed.ended => Poll::Ready(None),
            // No waker: the source polls again when it has more.
            None => Poll::Pending,
        }
    }
}

impl Source {
    async fn next_piece(&mut self, field: &mut multer::Field<'static>) -> Result<Option<Bytes>, Rejection> {
        poll_fn(|cx| self.poll(cx, None, |cx| Pin::new(&mut *field).poll_next(cx).map(Option::transpose))).await
    }

    /// Polls the parser, and gives it the next piece of content whenever it waits for one.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: Option<usize>,
        mut parse: impl FnMut(&mut Context<'_>) -> Poll<multer::Result<T>>,
    ) -> Poll<Result<T, Rejection>> {
        loop {
            if let Poll::Ready(parsed) = parse(cx) {
                return Poll::Ready(parsed.map_err(|error| Rejection::Malformed(error.to_string())));
            }
            if bytes_max.is_some_and(|bytes_max| self.fed > bytes_max) {
                let reason = format!("the head of a field has more than {PART_HEAD_BYTES_MAX} bytes");
                return Poll::Ready(Err(Rejection::Malformed(reason)));
            }
            let piece = match self.body.poll_chunk(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(piece) => piece?,
            };
            self.fed += piece.as_ref().map_or(0, Bytes::len);
            let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
            if feed.ended {
                return Poll::Ready(Err(Rejection::Malformed("the form is not complete".to_owned())));
            }
            feed.ended = piece.is_none();
            feed.piece = piece;
        }
    }
}

impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart").field("body", &self.source.body).finish_non_exhaustive()
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field").field("name", &self.name()).finish_non_exhaustive()
    }
}
