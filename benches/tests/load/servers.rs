//! Servers on blocking sockets, one thread per connection, and the limit servers as processes.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use sha1::Digest as _;
use tidegate_benches::config::Run;

/// Returns the settings of a short run.
pub fn run(address: SocketAddr, connections: usize) -> Run {
    Run {
        address,
        connections,
        stall: Duration::from_secs(10),
        warmup: Duration::from_millis(20),
        measured: Duration::from_millis(100),
        server_pid: None,
    }
}

/// A limit server, ended when dropped.
pub struct Limit {
    child: Child,
    pub address: SocketAddr,
}

impl Limit {
    pub fn start(program: &str, more: &[&str]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut child = Command::new(program)
            .args(["--addr", &address.to_string()])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Self { child, address }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves each connection with `serve` on its own thread, as long as the test runs.
pub fn server(serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream?));
        }
    });
    address
}

/// Returns the lines of a request head without the empty one, or none at the end of the stream.
pub fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(Vec::new());
        }
        if line == "\r\n" {
            return Ok(lines);
        }
        lines.push(line.trim_end().to_owned());
    }
}

/// The server's end of a WebSocket.
pub struct WebSocket {
    pub reader: BufReader<TcpStream>,
    pub stream: TcpStream,
}

impl WebSocket {
    /// Answers the opening handshake.
    pub fn accept(stream: TcpStream) -> io::Result<Self> {
        Self::accept_with(stream, "", usize::MAX)
    }

    /// Answers the opening handshake, in pieces of so many bytes. `fields` are further lines of the response, each with
    /// its line break.
    pub fn accept_with(stream: TcpStream, fields: &str, piece: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let head = read_head(&mut reader)?;
        let key = head.iter().find_map(|line| line.strip_prefix("Sec-WebSocket-Key:")).unwrap_or_default();
        let digest = sha1::Sha1::digest(key.trim().to_owned() + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = base64::engine::general_purpose::STANDARD.encode(digest);
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
        );
        let mut stream = stream;
        response.as_bytes().chunks(piece).try_for_each(|piece| stream.write_all(piece))?;
        Ok(Self { reader, stream })
    }

    /// Reads one frame of up to 65,535 bytes and returns it as the server's frame, unmasked.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut frame = self.take(2)?;
        frame[1] &= 0x7f;
        let mut length = usize::from(frame[1]);
        if length == 126 {
            frame.extend(self.take(2)?);
            length = usize::from(u16::from_be_bytes([frame[2], frame[3]]));
        }
        let (key, payload) = (self.take(4)?, self.take(length)?);
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        Ok(frame)
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Answers the opening handshake and echoes.
pub fn websocket_echo(stream: TcpStream) -> io::Result<()> {
    echo(WebSocket::accept(stream)?)
}

/// Echoes messages of up to 65,535 bytes and the close frame, then closes.
pub fn echo(mut websocket: WebSocket) -> io::Result<()> {
    loop {
        let frame = websocket.read()?;
        websocket.stream.write_all(&frame)?;
        if frame[0] == 0x88 {
            return Ok(());
        }
    }
}
