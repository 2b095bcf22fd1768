//! Settings of outbound connections: local address, socket options, what the configuration says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::time::Duration;

use tidegate_engine::{Address, CloseCause, ConnectError, ReceiveError, connect};

use super::servers::*;
use super::{check_echo_of, run};
use crate::support::*;

#[test]
fn a_connection_comes_from_its_local_address() {
    let (out, seen) = channel();
    let out = std::sync::Mutex::new(out);
    let address = serve(move |stream| {
        out.lock().unwrap().send(stream.peer_addr().unwrap()).unwrap();
        echo_stream(stream);
    });
    on_every_engine(|setup| {
        // With sizes of buffers a ring binds through an installed descriptor.
        for (last, size) in [(2, None), (3, None), (200, Some(100_000))] {
            let local = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
            let known = run(setup.clone(), move || async move {
                let connect = connect(address).local_address(local);
                let connect = match size {
                    Some(bytes) => connect.receive_buffer_bytes(bytes),
                    None => connect,
                };
                let mut connection = connect.await.unwrap();
                check_echo_of(&mut connection, pattern(100)).await;
                connection.local_addr()
            });
            let seen = seen.recv_timeout(PATIENCE).unwrap();
            assert_eq!((seen.ip(), known), (local.ip(), Address::Ip(seen)));
        }
    });
}

#[test]
fn socket_options_are_set_before_connecting() {
    let address = echo_server();
    on_every_engine(|setup| {
        run(setup, move || async move {
            let connect = connect(address).receive_buffer_bytes(70_000).send_buffer_bytes(80_000);
            let mut connection = connect.socket_options(|socket| socket.set_keepalive(true)).await.unwrap();
            let options = connection.with_socket(|socket| {
                let sizes = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
                Ok((sizes, socket.keepalive()?, socket.tcp_nodelay()?))
            });
            // The kernel doubles the sizes.
            assert_eq!(options.await.unwrap(), ((140_000, 160_000), true, true));
            check_echo_of(&mut connection, pattern(100_000)).await;
        });
    });
}

#[test]
fn the_delay_of_small_segments_can_be_chosen() {
    let address = echo_server();
    on_every_engine(|mut setup| {
        for (default, chosen, expected) in [(true, None, true), (false, None, false), (true, Some(false), false)] {
            setup.config.nodelay = default;
            let nodelay = run(setup.clone(), move || async move {
                let connect = connect(address);
                let connect = match chosen {
                    Some(chosen) => connect.nodelay(chosen),
                    None => connect,
                };
                connect.await.unwrap().with_socket(|socket| socket.tcp_nodelay()).await.unwrap()
            });
            assert_eq!(nodelay, expected, "{default} {chosen:?}");
        }
    });
}

#[test]
fn an_option_that_fails_fails_the_attempt() {
    let address = echo_server();
    on_every_engine(|setup| {
        run(setup, move || async move {
            let connect = connect(address).socket_options(|_| Err(io::Error::from_raw_os_error(libc::EACCES)));
            let ConnectError::Io { error, address: tried, .. } = connect.await.map(drop).unwrap_err() else {
                panic!("another error")
            };
            assert_eq!((error.kind(), tried), (io::ErrorKind::PermissionDenied, address.to_string()));
        });
    });
}

#[test]
fn the_buffers_of_the_configuration_apply() {
    let address = echo_server();
    on_every_engine(|mut setup| {
        setup.config.socket_receive_buffer_bytes = Some(90_000);
        let size = run(setup, move || async move {
            connect(address).await.unwrap().with_socket(|socket| socket.recv_buffer_size()).await.unwrap()
        });
        assert_eq!(size, 180_000);
    });
}

#[test]
fn deadlines_apply_to_outbound_connections() {
    let address = echo_server();
    on_every_engine(|setup| {
        let mut hasty = setup.clone();
        hasty.config.idle_timeout = Some(Duration::from_millis(100));
        run(hasty, move || async move {
            let mut idle = connect(address).await.unwrap();
            let error = idle.receive().await.unwrap_err();
            assert_eq!(error, ReceiveError::Closed(CloseCause::IdleTimeout));
        });
        run(setup, move || async move {
            let mut connection = connect(address).await.unwrap();
            connection.set_read_deadline_in(Duration::from_millis(100));
            assert_eq!(connection.receive().await.unwrap_err(), ReceiveError::Deadline);
            connection.set_read_deadline(None);
            check_echo_of(&mut connection, pattern(10)).await;
        });
    });
}

#[test]
fn ipv6_works_like_ipv4() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        println!("not tested: this machine has no IPv6");
        return;
    };
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || echo_stream(stream.unwrap()));
        }
    });
    on_every_engine(|setup| {
        run(setup, move || async move {
            for local in [None, Some(SocketAddr::from((IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]), 0)))] {
                let connect = connect(address);
                let connect = match local {
                    Some(local) => connect.local_address(local),
                    None => connect,
                };
                let mut connection = connect.await.unwrap();
                assert_eq!(connection.peer_addr(), Address::Ip(address));
                assert_eq!(connection.local_addr().ip().map(|local| local.ip()), Some(address.ip()));
                check_echo_of(&mut connection, pattern(100)).await;
            }
        });
    });
}
