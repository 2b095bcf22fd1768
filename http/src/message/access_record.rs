//! One line of an access log: a request and its answer.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Method, StatusCode, Version};
use tidegate_engine::{Address, time};

use crate::message::head::RequestHead;

/// A request and its answer, for an [`AccessLog`].
///
/// `Display` writes the common log format with the user agent, the time that it took in seconds, and `incomplete` for
/// an answer that was cut off. With the feature `json`, [`to_json`](AccessRecord::to_json) writes it as an object.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AccessRecord {
    /// When the request was received.
    pub time: SystemTime,
    /// The address of the peer.
    pub peer: Option<Address>,
    /// The address of the client, which differs from that of the peer behind
    /// [trusted proxies](crate::RequestHead::client_addr).
    pub client: Option<Address>,
    /// The method; `None` for a request that was refused as malformed.
    pub method: Option<Method>,
    /// The request-target; empty for a request that was refused as malformed.
    pub target: String,
    /// The version of the request.
    pub version: Option<Version>,
    /// The value of User-Agent.
    pub user_agent: Option<String>,
    /// The status of the answer; `None` if the client has gone before there was one.
    pub status: Option<StatusCode>,
    /// Bytes of the answer's content that were sent: taken by the kernel. Those of small answers are counted once they
    /// are queued.
    pub content_bytes: u64,
    /// The time from the complete head of the request to the end of the answer.
    pub duration: Duration,
    /// Whether the answer was sent completely.
    pub is_complete: bool,
    pub(crate) started: Instant,
}

/// The function that an access log calls with each request, once it is answered. Clones are the same log.
#[derive(Clone)]
pub struct AccessLog(Arc<dyn Fn(&AccessRecord) + Send + Sync>);

impl AccessLog {
    /// Creates a log that calls a function. It runs on the handler's thread, for each request, and should not block.
    ///
    /// ```
    /// use tidegate_http::{AccessLog, Request, Router, Server};
    ///
    /// let app = Router::new().get("/", async |_request: Request| "Hello");
    /// let log = AccessLog::new(|record| println!("{record}"));
    /// let server = Server::builder(app).access_log(log);
    /// ```
    pub fn new(write: impl Fn(&AccessRecord) + Send + Sync + 'static) -> AccessLog {
        AccessLog(Arc::new(write))
    }

    /// Creates a log that writes each record as text to the `log` crate, with the target `access` and the level info.
    pub fn text() -> AccessLog {
        AccessLog::new(|record| log::info!(target: "access", "{record}"))
    }

    /// Creates a log that writes each record as JSON to the `log` crate, with the target `access` and the level info.
    #[cfg(feature = "json")]
    pub fn json() -> AccessLog {
        AccessLog::new(|record| log::info!(target: "access", "{}", record.to_json()))
    }

    pub(crate) fn write(&self, record: &AccessRecord) {
        (self.0)(record);
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}

impl AccessRecord {
    /// The record of a request that has just been received.
    pub(crate) fn of(head: &RequestHead) -> AccessRecord {
        AccessRecord {
            peer: head.peer_addr(),
            method: Some(head.method().clone()),
            target: head.target().to_owned(),
            version: Some(head.version()),
            user_agent: head.header("user-agent").map(str::to_owned),
            ..AccessRecord::of_refused(head.peer_addr())
        }
    }

    /// The record of a request without a head.
    pub(crate) fn of_refused(peer: Option<Address>) -> AccessRecord {
        AccessRecord {
            time: SystemTime::now(),
            peer,
            client: peer,
            method: None,
            target: String::new(),
            version: None,
            user_agent: None,
            status: None,
            content_bytes: 0,
            duration: Duration::ZERO,
            is_complete: false,
            started: time::now(),
        }
    }

    /// Returns the record as a JSON object, without a line end. What is unknown is `null`; the time is in seconds since
    /// 1970, the duration in seconds.
    #[cfg(feature = "json")]
    pub fn to_json(&self) -> String {
        let time = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        serde_json::json!({
            "time": time.as_secs_f64(),
            "peer": self.peer.map(|address| address.to_string()),
            "client": self.client.map(|address| address.to_string()),
            "method": self.method.as_ref().map(Method::as_str),
            "target": self.target,
            "status": self.status.map(|status| status.as_u16()),
            "content_bytes": self.content_bytes,
            "duration": self.duration.as_secs_f64(),
            "complete": self.is_complete,
            "user_agent": self.user_agent,
        })
        .to_string()
    }
}

impl fmt::Display for AccessRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(Address::Ip(address)) => write!(f, "{}", address.ip())?,
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("-")?,
        }
        write!(f, " - - [{}] ", httpdate::fmt_http_date(self.time))?;
        match (&self.method, self.version) {
            // Escaped: the field is the client's, and a quotation mark or a line end would begin another one.
            (Some(method), Some(version)) => write!(f, "\"{method} {} {version:?}\" ", self.target.escape_debug())?,
            _ => f.write_str("\"-\" ")?,
        }
        match self.status {
            Some(status) => write!(f, "{} ", status.as_u16())?,
            None => f.write_str("- ")?,
        }
        let agent = self.user_agent.as_deref().unwrap_or("-");
        write!(f, "{} \"{}\" {:.6}", self.content_bytes, agent.escape_debug(), self.duration.as_secs_f64())?;
        if self.is_complete { Ok(()) } else { f.write_str(" incomplete") }
    }
}

// A record reads the system clock, which miri does not have.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::message::request::Request;

    #[test]
    fn a_record_is_one_line_whatever_the_client_sent() {
        let head = b"GET /a?\"b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\"\\ \xe2\x80\xa8y\r\n\r\n";
        let head = Request::parse(head, "").map(|request| AccessRecord::of(request.head()));
        let mut record = head.unwrap_or_else(|_| {
            let head = b"GET /a?b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\"\\ \xe2\x80\xa8y\r\n\r\n";
            AccessRecord::of(Request::parse(head, "").expect("valid").head())
        });
        record.time = SystemTime::UNIX_EPOCH;
        record.status = Some(StatusCode::OK);
        record.content_bytes = 7;
        record.duration = Duration::from_millis(1500);
        let text = record.to_string();
        assert!(text.starts_with("- - - [Thu, 01 Jan 1970 00:00:00 GMT] \"GET /a?"), "{text}");
        assert!(text.ends_with(" 200 7 \"x\\\"\\\\ \\u{2028}y\" 1.500000 incomplete"), "{text}");
        #[cfg(feature = "json")]
        assert!(record.to_json().contains(r#""status":200"#));
        let refused = AccessRecord::of_refused(Some(Address::Unix)).to_string();
        assert!(refused.starts_with("unix - - [") && refused.contains("] \"-\" - 0 \"-\" "), "{refused}");
    }
}
