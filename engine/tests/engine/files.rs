//! Files: reads that no thread waits for, and parts that are sent without a copy; on every engine and placement.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_engine::file::{self, READ_BYTES_MAX};
use tidegate_engine::{Connection, FilePart};

use crate::support::*;

/// A file for one test, removed at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-engine-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn open(&self) -> Arc<File> {
        Arc::new(File::open(&self.0).unwrap())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn reads_give_the_bytes_of_the_file_and_nothing_at_its_end() {
    let content = pattern(3 * READ_BYTES_MAX + 5);
    let temporary = Temporary::new("read", &content);
    on_every_engine(|setup| {
        let shared = temporary.open();
        let (running, address) = start(setup.config, move |connection: Connection| {
            let shared = Arc::clone(&shared);
            async move {
                let mut offset = 0;
                loop {
                    let piece = file::read(&shared, offset, usize::MAX).await.unwrap();
                    if piece.is_empty() {
                        break;
                    }
                    offset += piece.len() as u64;
                    connection.sender().send(piece).await.unwrap();
                }
                // One that is dropped before it completes.
                drop(file::read(&shared, 0, 10));
            }
        });
        let mut clients: Vec<_> = (0..8).map(|_| connect(address)).collect();
        for client in &mut clients {
            assert!(read_all(client) == content);
        }
        drop(clients);
        finish(running);
    });
}

#[test]
fn reads_that_fail_say_so() {
    let temporary = Temporary::new("write-only", b"");
    on_every_engine(|setup| {
        let unreadable = Arc::new(File::options().write(true).open(&temporary.0).unwrap());
        let (running, address) = start(setup.config, move |connection: Connection| {
            let unreadable = Arc::clone(&unreadable);
            async move {
                let error = file::read(&unreadable, 0, 10).await.unwrap_err();
                connection.sender().send(format!("{:?}", error.raw_os_error())).await.unwrap();
            }
        });
        let mut client = connect(address);
        assert_eq!(read_all(&mut client), format!("{:?}", Some(libc::EBADF)).as_bytes());
        drop(client);
        finish(running);
    });
}

#[test]
fn parts_of_files_leave_in_order_with_other_bytes() {
    let content = pattern(5_000_000);
    let temporary = Temporary::new("parts", &content);
    on_every_engine(|setup| {
        let shared = temporary.open();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let shared = Arc::clone(&shared);
            async move {
                while let Ok(Some(_)) = connection.receive().await {
                    let sender = connection.sender();
                    sender.append(|out| out.extend_from_slice(b"begin ")).unwrap();
                    sender.append_file(FilePart::new(Arc::clone(&shared), 10, 4_000_000)).unwrap();
                    sender.append_file(FilePart::new(Arc::clone(&shared), 0, 0)).unwrap();
                    sender.append_with(b" middle ", pattern(10_000).into()).unwrap();
                    sender.append_file(FilePart::new(Arc::clone(&shared), 4_999_999, 1)).unwrap();
                    sender.append(|out| out.extend_from_slice(b" end")).unwrap();
                }
            }
        });
        let expected = [
            b"begin ".as_slice(),
            &content[10..4_000_010],
            b" middle ",
            &pattern(10_000),
            &content[4_999_999..],
            b" end",
        ]
        .concat();
        let mut clients: Vec<_> = (0..4).map(|_| connect(address)).collect();
        // Twice on each connection: what comes between is received and sent as ever.
        for _ in 0..2 {
            clients.iter_mut().for_each(|client| client.write_all(b"next").unwrap());
            for client in &mut clients {
                assert!(read_exact(client, expected.len()) == expected);
            }
        }
        drop(clients);
        finish(running);
    });
}

#[test]
fn a_part_beyond_the_end_of_its_file_resets_the_connection() {
    let content = pattern(100_000);
    let temporary = Temporary::new("short", &content);
    on_every_engine(|setup| {
        let shared = temporary.open();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let shared = Arc::clone(&shared);
            async move {
                connection.sender().append_file(FilePart::new(shared, 0, 100_001)).unwrap();
                connection.sender().append(|out| out.extend_from_slice(b"after")).unwrap();
                assert!(connection.receive().await.is_err(), "the connection has failed");
            }
        });
        let mut client = connect(address);
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            received.extend_from_slice(&buffer[..count]);
        }
        assert!(received.len() <= content.len(), "nothing was sent in place of what is missing");
        assert!(received == content[..received.len()]);
        finish(running);
    });
}

#[test]
fn a_connection_that_ends_while_a_part_is_sent_leaves_nothing_behind() {
    let temporary = Temporary::new("aborted", &vec![7; 30_000_000]);
    on_every_engine(|setup| {
        let shared = temporary.open();
        let (running, address) = start(setup.config, move |connection: Connection| {
            let shared = Arc::clone(&shared);
            async move {
                let part = FilePart::new(shared, 0, 30_000_000);
                connection.sender().append_file(part).unwrap();
                // Until the peer has gone: it takes only the beginning.
                let _ = connection.sender().flush().await;
            }
        });
        for _ in 0..3 {
            let mut client = connect(address);
            assert_eq!(read_exact(&mut client, 10), [7; 10]);
        }
        finish(running);
    });
}

/// Returns the inode of a server's socket, by the address of its client (proc_net_tcp(5)).
fn inode_of_server(client: &std::net::TcpStream) -> String {
    let hex = |port: u16| format!(":{port:04X}");
    let (server, client) = (client.peer_addr().unwrap().port(), client.local_addr().unwrap().port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = sockets.lines().find(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&hex(server)))
            && words.next().is_some_and(|remote| remote.ends_with(&hex(client)))
    });
    line.and_then(|line| line.split_whitespace().nth(9)).expect("a socket").to_owned()
}

fn has_descriptor_of(inode: &str) -> bool {
    let link = PathBuf::from(format!("socket:[{inode}]"));
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    descriptors.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == link))
}

/// Otherwise slow clients could use up the process's limit of open files.
#[test]
#[cfg(target_os = "linux")]
fn a_part_whose_client_takes_its_time_holds_no_descriptor() {
    let temporary = Temporary::new("slow", &vec![7; 30_000_000]);
    on_every_engine(|setup| {
        let shared = temporary.open();
        let (running, address) = start(setup.config.clone(), move |connection: Connection| {
            let shared = Arc::clone(&shared);
            async move {
                connection.sender().append_file(FilePart::new(shared, 0, 30_000_000)).unwrap();
                let _ = connection.sender().flush().await;
            }
        });
        if running.summary().contains("direct-descriptors") {
            let mut client = connect(address);
            let inode = inode_of_server(&client);
            let mut received = vec![0; 5_000_000];
            client.read_exact(&mut received).unwrap();
            // The descriptor is open while the kernel takes bytes. The client takes no more now.
            wait_until("the descriptor to be closed", || !has_descriptor_of(&inode));
            client.read_exact(&mut received).unwrap();
            assert!(received.iter().all(|byte| *byte == 7));
        }
        finish(running);
    });
}
