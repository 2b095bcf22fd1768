//! Answers: whole files, ranges of them, and those that conditions ask for.

use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use super::conditions::{Conditions, Verdict};
use super::content::{FileContent, Section, ZeroCopy};
use super::entry::{Content, Entry, Form};
use super::ranges::{ByteRange, Ranges, ranges_of};
use crate::content_coding::{ACCEPT_ENCODING, Accepted};
use crate::message::request::Request;
use crate::message::response::{Response, ResponseBody};

const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// Settings of answers.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// The value of Cache-Control.
    pub(super) cache_control: Option<HeaderValue>,
    /// Which large files are sent from the page cache.
    pub(super) zero_copy: ZeroCopy,
}

/// Answers a request for a file.
pub(super) fn answer(request: &Request, entry: &Entry, settings: &Settings) -> Response {
    let conditions = Conditions::of(request);
    let (form, coding) = entry.form_for(|| Accepted::by(request));
    let verdict = conditions.judge(request, &form.validators());
    let mut response = Response::new(match verdict {
        Verdict::Send => StatusCode::OK,
        Verdict::NotModified => StatusCode::NOT_MODIFIED,
        Verdict::Failed => return Response::new(StatusCode::PRECONDITION_FAILED),
    });
    response.reserve_fields(FIELDS);
    response.append_header(header::ETAG, form.etag.clone());
    response.append_header(header::LAST_MODIFIED, form.last_modified.clone());
    if entry.varies() {
        response.append_header(header::VARY, ACCEPT_ENCODING);
    }
    if let Some(cache_control) = &settings.cache_control {
        response.append_header(header::CACHE_CONTROL, cache_control.clone());
    }
    if verdict == Verdict::NotModified {
        return response;
    }
    response.append_header(header::ACCEPT_RANGES, BYTES);
    if let Some(coding) = coding {
        response.append_header(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    response.append_header(header::CONTENT_TYPE, entry.media_type.clone());
    // RFC 9110 section 14.2: ranges are defined for GET only.
    let range = conditions.range(&form.validators()).filter(|_| *request.method() == Method::GET);
    match range.map_or(Ranges::Ignored, |range| ranges_of(range, form.bytes())) {
        Ranges::Ignored => whole(response, form, settings),
        Ranges::Some(ranges) if ranges.len() == 1 => single(response, form, ranges[0], settings),
        Ranges::Some(ranges) => multiple(response, entry, form, &ranges, settings),
        Ranges::Unsatisfiable => unsatisfiable(response, form),
    }
}

/// Fields of a common answer, except Content-Type.
const FIELDS: usize = 4;

fn whole(mut response: Response, form: &Form, settings: &Settings) -> Response {
    if form.bytes() == 0 {
        // The answer to HEAD has no content either way, and would not tell the length.
        response.append_header(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let body = match &form.content {
        Content::Memory(bytes) => ResponseBody::Bytes(bytes.clone()),
        Content::File(_) => body_of(form, [Section::Range(ByteRange { start: 0, len: form.bytes() })].into(), settings),
    };
    response.with_body(body)
}

fn single(response: Response, form: &Form, range: ByteRange, settings: &Settings) -> Response {
    let mut response = response.with_status(StatusCode::PARTIAL_CONTENT);
    if let Some(value) = field_value(content_range(range, form.bytes())) {
        response.append_header(header::CONTENT_RANGE, value);
    }
    response.with_body(body_of(form, [Section::Range(range)].into(), settings))
}

/// Sends several ranges as `multipart/byteranges` (RFC 9110 section 14.6).
fn multiple(response: Response, entry: &Entry, form: &Form, ranges: &[ByteRange], settings: &Settings) -> Response {
    let boundary = format!("{:016x}{:016x}", random(), random());
    let mut sections = VecDeque::with_capacity(2 * ranges.len() + 1);
    let mut line_end = "";
    for range in ranges {
        let mut head = BytesMut::new();
        let _ = write!(head, "{line_end}--{boundary}\r\ncontent-type: ");
        head.extend_from_slice(entry.media_type.as_bytes());
        let _ = write!(head, "\r\ncontent-range: {}\r\n\r\n", content_range(*range, form.bytes()));
        sections.push_back(Section::Text(head.freeze()));
        sections.push_back(Section::Range(*range));
        line_end = "\r\n";
    }
    sections.push_back(Section::Text(format!("\r\n--{boundary}--\r\n").into()));
    let mut response = response.with_status(StatusCode::PARTIAL_CONTENT);
    if let Some(value) = field_value(format!("multipart/byteranges; boundary={boundary}")) {
        response.set_header(header::CONTENT_TYPE, value);
    }
    response.with_body(body_of(form, sections, settings))
}

fn unsatisfiable(response: Response, form: &Form) -> Response {
    let mut response = response.with_status(StatusCode::RANGE_NOT_SATISFIABLE);
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        response.remove_header(&name);
    }
    if let Some(value) = field_value(format!("bytes */{}", form.bytes())) {
        response.append_header(header::CONTENT_RANGE, value);
    }
    response
}

/// Returns content of some sections: from memory in one piece, or from the file as it is sent.
fn body_of(form: &Form, sections: VecDeque<Section>, settings: &Settings) -> ResponseBody {
    let bytes = match &form.content {
        Content::File(file) => {
            let zero_copy = match settings.zero_copy {
                ZeroCopy::AtRest => form.is_at_rest(SystemTime::now()),
                ZeroCopy::Always => true,
                ZeroCopy::Never => false,
            };
            return ResponseBody::Stream(Box::new(FileContent::new(Arc::clone(file), sections, zero_copy)));
        }
        Content::Memory(bytes) => bytes,
    };
    let slice = |range: &ByteRange| {
        let end = (range.start + range.len).min(bytes.len() as u64);
        bytes.slice(range.start.min(end) as usize..end as usize)
    };
    if let ([Section::Range(range)], []) = sections.as_slices() {
        return ResponseBody::Bytes(slice(range));
    }
    let mut joined = BytesMut::new();
    for section in &sections {
        match section {
            Section::Text(text) => joined.extend_from_slice(text),
            Section::Range(range) => joined.extend_from_slice(&slice(range)),
        }
    }
    ResponseBody::Bytes(joined.freeze())
}

fn content_range(range: ByteRange, content_bytes: u64) -> String {
    format!("bytes {}-{}/{content_bytes}", range.start, range.start + range.len - 1)
}

fn field_value(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

/// Returns an unpredictable number: no file can be made to contain the boundary.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Answers a request for a folder without a slash at its end: links in its index are relative to the folder.
pub(super) fn redirect_to_folder(request: &Request) -> Response {
    let query = request.raw_query().map_or(String::new(), |query| format!("?{query}"));
    let location = field_value(format!("{}/{query}", request.path()));
    let response = Response::new(StatusCode::MOVED_PERMANENTLY);
    match location {
        Some(location) => response.with_header(header::LOCATION, location),
        None => super::error(StatusCode::NOT_FOUND),
    }
}

/// Answers a request with another method than GET and HEAD.
pub(super) fn refuse_method(method: &Method) -> Response {
    let response = match *method {
        Method::OPTIONS => Response::new(StatusCode::NO_CONTENT),
        _ => super::error(StatusCode::METHOD_NOT_ALLOWED),
    };
    response.with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"))
}
