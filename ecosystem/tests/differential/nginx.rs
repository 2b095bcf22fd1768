//! nginx in front of a recorder: its requests are answered with what they contain.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::seen::{AUTHORITY, FIELD, Seen};
use crate::servers::Address;

/// Starting takes milliseconds. This only ends a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Debian keeps nginx out of the path of ordinary users.
const PROGRAMS: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

/// A running nginx and its recorder, on Unix sockets. nginx ends when this is dropped.
pub struct Nginx {
    pub address: Address,
    child: Child,
    folder: PathBuf,
}

impl Nginx {
    pub fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("tidegate-differential-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for sockets");
        let recorder = UnixListener::bind(folder.join("recorder")).expect("a socket");
        thread::spawn(move || {
            for stream in recorder.incoming() {
                // nginx opens a connection for each request, one after the other.
                record(stream.expect("a connection"));
            }
        });
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration(&folder)).expect("a file");
        let mut child = spawn(&folder, &file);
        let path = folder.join("nginx");
        let start = Instant::now();
        while UnixStream::connect(&path).is_err() {
            let status = child.try_wait().expect("a child");
            assert!(status.is_none() && start.elapsed() < PATIENCE, "nginx does not listen: {status:?}");
            thread::yield_now();
        }
        Self { address: Address::Unix(path), child, folder }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // These fail if it has ended, or if somebody has removed the folder.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &Path, file: &Path) -> Child {
    for program in PROGRAMS {
        let mut command = Command::new(program);
        command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr"]).stdin(Stdio::null());
        if let Ok(child) = command.spawn() {
            return child;
        }
    }
    panic!("this test needs nginx: ci/differential.sh installs it");
}

/// nginx with its defaults, except for limits that are like Tidegate's, and for the end of the client's stream: with
/// its default, nginx then gives up the request.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
        master_process off;
        pid {folder}/pid;
        error_log stderr crit;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {folder}/bodies;
            proxy_temp_path {folder}/proxied;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            client_max_body_size 100m;
            large_client_header_buffers 8 64k;
            keepalive_requests 1000;
            server {{
                listen unix:{folder}/nginx;
                location / {{
                    proxy_pass http://unix:{folder}/recorder;
                    proxy_ignore_client_abort on;
                    proxy_set_header Host $http_host;
                    proxy_set_header {AUTHORITY} $host;
                    proxy_buffer_size 64k;
                    proxy_buffers 8 64k;
                    proxy_busy_buffers_size 128k;
                }}
            }}
        }}
        "
    )
}

/// Answers one request of nginx with its content. It is as lenient as possible, because nginx has judged the request.
fn record(stream: UnixStream) {
    let mut reader = BufReader::new(&stream);
    let mut lines = Vec::new();
    // nginx can give up a request.
    let Some(request_line) = read_line(&mut reader) else { return };
    while let Some(line) = read_line(&mut reader).filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        lines.push((String::from_utf8_lossy(&line[..colon]).into_owned(), value));
    }
    let field = |name: &str| lines.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    let length = field("content-length").and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
    let mut content = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut content).is_err() {
        return;
    }
    let request_line = String::from_utf8_lossy(&request_line);
    let (method, rest) = request_line.split_once(' ').unwrap_or((&request_line, ""));
    let path = rest.rsplit_once(' ').map_or(rest, |(path, _version)| path);
    let host = field(AUTHORITY).map_or(&b""[..], |(_, value)| value);
    let seen = Seen::new(method, path, host, &content, lines.iter().cloned());
    let body = if method == "HEAD" { "" } else { "seen\n" };
    let answer = format!("HTTP/1.0 200 OK\r\n{FIELD}: {}\r\nContent-Length: 5\r\n\r\n{body}", seen.encode());
    // This fails if nginx has given up the request.
    let _ = (&stream).write_all(answer.as_bytes());
}

/// Reads a line, without its end; `None` at the end of the stream.
fn read_line(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok().filter(|read| *read > 0)?;
    let end = line.strip_suffix(b"\n").map_or(line.len(), |rest| rest.strip_suffix(b"\r").unwrap_or(rest).len());
    line.truncate(end);
    Some(line)
}
