//! The addresses of a server: Unix sockets, inherited listeners, and sockets passed by systemd.
#![cfg(all(unix, not(miri)))]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_engine::{Config, EngineKind, Error, Shutdown};
use tidegate_http::{Router, Server, ServerBuilder, sync_handler};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

const KINDS: [EngineKind; 2] = [EngineKind::Auto, EngineKind::Portable];

fn server(kind: EngineKind) -> ServerBuilder<Router> {
    Server::builder(Router::new().get("/ready", sync_handler(|_| "ready"))).engine(kind).workers(2)
}

/// Asks for `/ready`, and checks the response.
fn check_answer(mut stream: impl Read + Write) {
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut output = String::new();
    stream.read_to_string(&mut output).expect("received");
    assert!(output.starts_with("HTTP/1.1 200 ") && output.ends_with("ready"), "{output}");
}

fn connect_unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("connects");
    stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
    stream
}

/// A path for a socket in a separate folder, which is removed on drop.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> SocketPath {
        let folder = std::env::temp_dir().join(format!("tidegate-http-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("new");
        SocketPath(folder.join("socket"))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().expect("the folder"));
    }
}

#[test]
fn a_unix_socket_has_its_mode_and_is_removed_at_the_end() {
    for kind in KINDS {
        let path = SocketPath::new(&format!("mode-{kind}"));
        let running = server(kind).bind_unix(&path.0).config(Config::default().unix_mode(0o600)).start();
        let running = running.expect("starts");
        let mode = std::fs::metadata(&path.0).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(running.summary().contains(&format!("unix:{}", path.0.display())), "{}", running.summary());
        check_answer(connect_unix(&path.0));
        running.shutdown(Shutdown::immediate());
        assert!(!path.0.exists());
    }
}

#[test]
fn an_address_in_use_is_named_as_it_was_bound() {
    let path = SocketPath::new("in-use");
    let running = server(EngineKind::Portable).bind_unix(&path.0).start().expect("starts");
    let error = server(EngineKind::Portable).bind_unix(&path.0).start().expect_err("in use");
    assert!(matches!(error, Error::Bind { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("cannot bind {}: ", path.0.display())), "{error}");
    running.shutdown(Shutdown::immediate());
    let error = server(EngineKind::Portable).start().expect_err("no address").to_string();
    assert_eq!(error, "nothing to serve: call `bind` before `start`");
}

#[test]
fn inherited_listeners_of_every_type_serve() {
    for kind in KINDS {
        let (first, second) = (SocketPath::new(&format!("one-{kind}")), SocketPath::new(&format!("two-{kind}")));
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("bound");
        let owned: OwnedFd = UnixListener::bind(&second.0).expect("new").into();
        let running = server(kind)
            .bind_inherited(tcp)
            .bind_inherited(UnixListener::bind(&first.0).expect("new"))
            .bind_inherited(owned)
            .start()
            .expect("starts");
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
        check_answer(stream);
        check_answer(connect_unix(&first.0));
        check_answer(connect_unix(&second.0));
        running.shutdown(Shutdown::immediate());
        assert!(first.0.exists() && second.0.exists(), "the files of inherited sockets stay");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn sockets_passed_by_systemd_serve() {
    use std::process::{Command, Stdio};

    const NAME: &str = "sockets_passed_by_systemd_serve";
    const ROLE: &str = "TIDEGATE_HTTP_TEST_CHILD";
    if std::env::var_os(ROLE).is_some() {
        let running = server(EngineKind::Auto).bind_systemd().expect("passed").start().expect("starts");
        let closed = || running.stats().iter().map(|worker| worker.closed_total).sum::<u64>();
        while closed() < 2 {
            std::thread::yield_now();
        }
        running.shutdown(Shutdown::default());
        return;
    }
    let error = server(EngineKind::Auto).bind_systemd().expect_err("none were passed to this process");
    assert!(error.to_string().starts_with("cannot bind the sockets of LISTEN_FDS: "), "{error}");
    let path = SocketPath::new("systemd");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let unix = UnixListener::bind(&path.0).expect("new");
    let address = tcp.local_addr().expect("bound");
    let script = "exec 3<&0 4<&2 0</dev/null 2>&1; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" \"$@\"";
    let mut child = Command::new("sh");
    child.args(["-c", script]).arg(std::env::current_exe().expect("this program"));
    child.args([NAME, "--exact", "--nocapture"]).env(ROLE, NAME);
    child.stdin(OwnedFd::from(tcp)).stderr(OwnedFd::from(unix)).stdout(Stdio::piped());
    let child = child.spawn().expect("starts");
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
    check_answer(stream);
    check_answer(connect_unix(&path.0));
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
