//! Listening: several addresses, both families, Unix sockets, inherited sockets, shared ports.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown as Half, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_engine::{Address, Config, Connection, Engine, EngineKind, Error, Shutdown};

use crate::support::child::Child;
use crate::support::*;

/// Answers with the peer's and the local address at the peer's end of stream.
async fn say_addresses(mut connection: Connection) {
    while let Ok(Some(_)) = connection.receive().await {}
    let line = format!("{} {}", connection.peer_addr(), connection.local_addr());
    connection.sender().send(line).await.unwrap();
}

/// Returns the answer of [`say_addresses`].
fn ask_addresses(mut client: TcpStream) -> String {
    client.shutdown(Half::Write).unwrap();
    String::from_utf8(read_all(&mut client)).unwrap()
}

/// A path for a socket in a separate folder, which is removed on drop.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        let name = format!("tidegate-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name.replace('/', "-"));
        std::fs::create_dir(&folder).unwrap();
        Self(folder.join("socket"))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        std::fs::remove_dir_all(self.0.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_unix_socket_serves() {
    on_every_engine(|setup| {
        let path = SocketPath::new(&format!("serves-{}", setup.name));
        let running = Engine::new(setup.config)
            .bind_unix(path.path())
            .start(|mut connection: Connection| async move {
                assert_eq!((connection.peer_addr(), connection.local_addr()), (Address::Unix, Address::Unix));
                let mut bytes = Vec::new();
                while let Ok(Some(chunk)) = connection.receive().await {
                    bytes.extend_from_slice(&chunk);
                }
                connection.sender().send(bytes).await.unwrap();
            })
            .unwrap();
        assert_eq!((running.local_addrs(), running.local_addr()), (&[Address::Unix][..], None));
        let sent = pattern(300_000);
        let mut clients: Vec<_> = (0..4).map(|_| UnixStream::connect(path.path()).unwrap()).collect();
        for client in &mut clients {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(&sent).unwrap();
            client.shutdown(Half::Write).unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(client, &mut bytes).unwrap();
            assert!(bytes == sent);
        }
        drop(clients);
        finish(running);
    });
}

#[test]
fn a_unix_socket_that_exists_is_an_error_that_names_it() {
    let path = SocketPath::new("exists");
    let _first = UnixListener::bind(path.path()).unwrap();
    let error = Engine::new(Default::default()).bind_unix(path.path()).start(echo).unwrap_err();
    assert!(matches!(error, Error::Bind { .. }));
    assert!(error.to_string().contains(path.path().to_str().unwrap()), "{error}");
}

#[test]
fn an_inherited_listener_serves() {
    on_every_engine(|mut setup| {
        setup.config.workers = 2;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // As socket activation can hand it over.
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        // Clients that connect before the engine starts.
        let mut early: Vec<_> = (0..4).map(|_| connect(address)).collect();
        let running = Engine::new(setup.config).bind_inherited(listener).start(echo).unwrap();
        assert_eq!(running.local_addr(), Some(address));
        early.iter_mut().for_each(|client| check_echo(client, &pattern(5000)));
        check_echo(&mut connect(address), b"late");
        drop(early);
        finish(running);
    });
}

#[test]
fn the_unspecified_ipv6_address_serves_ipv4_too() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("not tested: this machine has no IPv6");
        return;
    }
    on_every_engine(|setup| {
        let running = Engine::new(setup.config).bind("[::]:0").unwrap().start(say_addresses).unwrap();
        let port = running.local_addr().unwrap().port();
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let client = connect(SocketAddr::new(ip, port));
            let expected = format!("{} {}", client.local_addr().unwrap(), SocketAddr::new(ip, port));
            assert_eq!(ask_addresses(client), expected, "IPv4 is shown as IPv4");
        }
        finish(running);
    });
}

#[test]
fn a_specific_ipv6_address_serves() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("not tested: this machine has no IPv6");
        return;
    }
    on_every_engine(|setup| {
        let running = Engine::new(setup.config).bind("[::1]:0").unwrap().start(say_addresses).unwrap();
        let address = running.local_addr().unwrap();
        let client = connect(address);
        let expected = format!("{} {address}", client.local_addr().unwrap());
        assert_eq!(ask_addresses(client), expected);
        finish(running);
    });
}

/// Port 0 selects a free port, the same for all workers, and all of several addresses are served.
#[test]
fn several_addresses_are_served_on_the_ports_they_got() {
    on_every_engine(|mut setup| {
        setup.config.workers = 2;
        let path = SocketPath::new(&format!("several-{}", setup.name));
        let engine = Engine::new(setup.config).bind("127.0.0.1:0").unwrap().bind("127.0.0.2:0").unwrap();
        let running = engine.bind_unix(path.path()).start(say_addresses).unwrap();
        let addresses = running.local_addrs().to_vec();
        assert_eq!(addresses.len(), 3, "in the requested order");
        assert_eq!((running.local_addr(), addresses[2]), (addresses[0].ip(), Address::Unix));
        for (address, ip) in addresses.iter().zip([[127, 0, 0, 1], [127, 0, 0, 2]]) {
            let address = address.ip().unwrap();
            assert!(address.ip() == IpAddr::from(ip) && address.port() != 0, "{address}");
            assert!(running.summary().contains(&address.to_string()), "{}", running.summary());
            for _ in 0..8 {
                let client = connect(address);
                let expected = format!("{} {address}", client.local_addr().unwrap());
                assert_eq!(ask_addresses(client), expected);
            }
        }
        let mut client = UnixStream::connect(path.path()).unwrap();
        client.shutdown(Half::Write).unwrap();
        assert_eq!(std::io::read_to_string(&mut client).unwrap(), "unix unix");
        drop(client);
        finish(running);
    });
}

/// Workers share their port with each other, never with another engine.
#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    on_every_engine(|mut setup| {
        for (workers, others) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
            setup.config.workers = workers;
            let (running, address) = start(setup.config.clone(), echo);
            setup.config.workers = others;
            let error = Engine::new(setup.config.clone()).bind(address).unwrap().start(echo).unwrap_err();
            assert!(matches!(error, Error::Bind { .. }), "{error}");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
            // The first engine continues to serve.
            check_echo(&mut connect(address), b"mine");
            finish(running);
        }
    });
}

#[test]
fn every_worker_gets_connections() {
    on_every_engine(|mut setup| {
        setup.config.workers = 3;
        let (running, address) = start(setup.config, echo);
        assert_eq!(running.stats().len(), 3);
        let mut clients = Vec::new();
        wait_until("each worker to have some", || {
            assert!(clients.len() < 1000, "{:?}", running.stats());
            clients.push(connect(address));
            let client = clients.last_mut().unwrap();
            check_echo(client, b"whose am I?");
            running.stats().iter().all(|worker| worker.accepted_total > 0)
        });
        assert_eq!(total(&running).accepted_total, clients.len() as u64);
        drop(clients);
        finish(running);
    });
}

#[test]
fn an_engine_without_a_listener_does_not_start() {
    assert!(matches!(Engine::new(Default::default()).start(echo), Err(Error::NoListener)));
    let error = Engine::new(Default::default()).bind("no port").unwrap_err();
    assert!(error.to_string().contains("no port"), "{error}");
}

/// A server that starts where another one has just ended gets the same port, while clients keep coming.
#[test]
fn the_port_is_free_when_the_engine_has_ended() {
    on_every_engine(|mut setup| {
        // Below the ports of clients: one that connects to its own port would take it.
        let ports = 10_000 + (std::process::id() % 10_000) as u16..;
        let free = ports.filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).next().unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        if let Ok(mut client) = TcpStream::connect(address) {
                            let _ = client.write_all(b"hello");
                        }
                    }
                });
            }
            for round in 0..30 {
                setup.config.workers = 1 + round % 2;
                let running = Engine::new(setup.config.clone()).bind(address).unwrap().start(echo);
                if running.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                let running = running.unwrap_or_else(|error| panic!("round {round}: {error}"));
                wait_until("a client", || total(&running).accepted_total > 0);
                running.shutdown(Shutdown::immediate());
            }
            stop.store(true, Ordering::Relaxed);
        });
    });
}

/// Of several servers that start on one port in the same moment, one serves.
#[test]
fn a_port_has_one_server() {
    for round in 0..40 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = Config::default().engine(EngineKind::Portable).workers(3).pin(false);
        let barrier = Barrier::new(4);
        let started: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                Engine::new(config.clone()).bind(address).unwrap().start(echo)
            };
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let running: Vec<_> = started.into_iter().filter_map(Result::ok).collect();
        assert!(running.len() <= 1, "round {round}: {} servers on one port", running.len());
        running.into_iter().for_each(finish);
    }
}

#[test]
fn a_port_is_shared_by_servers_that_ask_for_it() {
    on_every_engine(|mut setup| {
        setup.config.workers = 2;
        let alone = Engine::new(setup.config.clone());
        setup.config.reuse_port = true;
        let (first, address) = start(setup.config.clone(), echo);
        let refused = alone.bind(address).unwrap().start(echo).unwrap_err();
        assert!(matches!(refused, Error::Bind { .. }), "{refused}");
        let second = Engine::new(setup.config).bind(address).unwrap().start(echo).unwrap();
        let mut clients = Vec::new();
        wait_until("clients on both", || {
            clients.push(connect(address));
            [&first, &second].iter().all(|running| total(running).connections > 0)
        });
        drop(clients);
        finish(first);
        check_echo(&mut connect(address), b"still served");
        finish(second);
    });
}

fn start_unix(config: Config, path: &Path) -> Result<tidegate_engine::Running, Error> {
    Engine::new(config).bind_unix(path).start(echo)
}

/// A file that a dead server left is replaced, one in use and one that is no socket are not, and an engine removes its
/// own file and no other.
#[test]
fn the_file_of_a_unix_socket_is_made_replaced_and_removed() {
    on_every_engine(|setup| {
        let path = SocketPath::new(&format!("file-{}", setup.name));
        let path = path.path();
        drop(UnixListener::bind(path).unwrap());
        assert!(path.exists(), "left behind");
        let ours = path.metadata().unwrap();
        // Only root can give a file away.
        let (uid, gid) = if ours.uid() == 0 { (1234, 5678) } else { (ours.uid(), ours.gid()) };
        let config = setup.config.unix_mode(0o640).unix_uid(uid).unix_gid(gid).workers(2);
        let first = start_unix(config.clone(), path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!((path.metadata().unwrap().uid(), path.metadata().unwrap().gid()), (uid, gid));
        assert!(first.summary().contains(&format!("unix:{} ", path.display())), "{}", first.summary());
        assert!(matches!(start_unix(config.clone(), path).unwrap_err(), Error::Bind { .. }), "in use");
        assert!(UnixStream::connect(path).is_ok(), "the attempt did not take the file away");
        first.shutdown(Shutdown::immediate());
        assert!(!path.exists(), "removed at the end");

        let second = start_unix(config.clone(), path).unwrap();
        std::fs::remove_file(path).unwrap();
        let other = UnixListener::bind(path).unwrap();
        second.shutdown(Shutdown::immediate());
        assert!(path.exists(), "the file of another server stays");
        drop(other);
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, "no socket").unwrap();
        assert!(start_unix(config, path).is_err());
        assert_eq!(std::fs::read(path).unwrap(), b"no socket");
    });
}

#[test]
fn an_abstract_name_and_an_inherited_unix_socket_serve() {
    use std::os::linux::net::SocketAddrExt;
    on_every_engine(|setup| {
        let name = format!("tidegate-{}-{}", setup.name, std::process::id());
        let folder = SocketPath::new(&format!("inherited-{}", setup.name));
        let inherited = UnixListener::bind(folder.path()).unwrap();
        let engine = Engine::new(setup.config).bind_unix(format!("@{name}")).bind_inherited(inherited);
        let running = engine.start(echo).unwrap();
        assert!(running.summary().contains(&format!("unix:@{name} ")), "{}", running.summary());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        for mut client in [UnixStream::connect_addr(&address).unwrap(), UnixStream::connect(folder.path()).unwrap()] {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(b"hello").unwrap();
            let mut answer = [0; 5];
            std::io::Read::read_exact(&mut client, &mut answer).unwrap();
            assert_eq!(&answer, b"hello");
        }
        finish(running);
        assert!(folder.path().exists(), "an inherited socket's file belongs to its maker");
    });
}

#[test]
fn sockets_passed_by_systemd_serve() {
    const NAME: &str = "listeners::sockets_passed_by_systemd_serve";
    if child::is_child(NAME) {
        let running = Engine::new(Config::default().workers(2)).bind_systemd().unwrap().start(echo).unwrap();
        assert!(Engine::new(Config::default()).bind_systemd().is_err(), "they are taken once");
        wait_until("both clients", || total(&running).closed_total == 2);
        return finish(running);
    }
    assert!(Engine::new(Config::default()).bind_systemd().is_err(), "none were passed to this process");
    let folder = SocketPath::new("systemd");
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(folder.path()).unwrap());
    let address = tcp.local_addr().unwrap();
    let child = Child::start_with_sockets(NAME, tcp.into(), unix.into());
    check_echo(&mut connect(address), b"hello");
    let mut client = UnixStream::connect(folder.path()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    std::io::Read::read_exact(&mut client, &mut answer).unwrap();
    drop(client);
    child.finish();
}
