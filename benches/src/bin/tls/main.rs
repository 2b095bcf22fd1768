//! Measures wss: echoes and handshakes of Tidegate and of tokio-rustls with tungstenite. README.md of this package
//! describes it.

mod client;
mod peer;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client::{Load, Outcome, Security};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tidegate_benches::args::{Args, Opt};
use tidegate_benches::cpu;

type Failure = Box<dyn std::error::Error>;

const OPTIONS: &[Opt] = &[
    Opt::value("echo", "PROGRAM", "the example echo (default examples/echo next to this program)"),
    Opt::value("seconds", "S", "time to measure (default 3)"),
    Opt::value("rounds", "N", "runs of each row, of which the best counts (default 3)"),
    Opt::value("only", "TEXT", "rows whose name contains this"),
    Opt::value("hold", "N", "measure the server's memory for each of N connections, plain and with TLS, instead"),
];

/// A server under test: its name, its command, and whether it speaks TLS.
struct Server {
    name: &'static str,
    command: Vec<String>,
    encrypted: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &words[..] {
        [first, address, certificate, key] if first == "peer" => peer::serve(address, certificate, key),
        _ => run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1), OPTIONS)?;
    let own = std::env::current_exe()?;
    let beside = own.parent().unwrap_or(Path::new(".")).join("examples/echo");
    let echo = args.optional::<PathBuf>("echo")?.unwrap_or(beside);
    let time = args.seconds("seconds", 3.0)?;
    let rounds = args.within("rounds", 3, [1, 100])?;
    let only: String = args.optional("only")?.unwrap_or_default();
    let held = args.within("hold", 0, [0, 1_000_000])?;
    let folder = Folder::create()?;
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.0.join(name).display().to_string());
    let pair = KeyPair::generate()?;
    std::fs::write(&certificate, CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&pair)?.pem())?;
    std::fs::write(&key, pair.serialize_pem())?;
    cpu::pin(1)?;
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let echo = |rest: &str| words(&format!("{} --addr {{addr}} --workers 1 {rest}", echo.display()));
    let with = format!("--tls-cert {certificate} --tls-key {key}");
    let servers = [
        Server { name: "inline, plain", command: echo("--handlers inline"), encrypted: false },
        Server { name: "inline", command: echo(&format!("--handlers inline {with}")), encrypted: true },
        Server { name: "same-core, plain", command: echo("--handlers same-core"), encrypted: false },
        Server { name: "same-core", command: echo(&format!("--handlers same-core {with}")), encrypted: true },
        Server {
            name: "portable",
            command: echo(&format!("--engine portable --handlers inline {with}")),
            encrypted: true,
        },
        Server {
            name: "tokio-rustls + tungstenite",
            command: words(&format!("{} peer {{addr}} {certificate} {key}", own.display())),
            encrypted: true,
        },
    ];
    let config = |resumes: bool| -> Result<Security, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&certificate)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = if resumes { Resumption::in_memory_sessions(1024) } else { Resumption::disabled() };
        Ok(Some(Arc::new(config)))
    };
    if held > 0 {
        for server in servers.iter().take(2) {
            hold(server, held, if server.encrypted { config(false)? } else { None })?;
        }
        return Ok(());
    }
    let rows = [
        ("echo, 64 B, 64 connections", Load::Echo { connections: 64, size: 64 }, false),
        ("echo, 64 B, 512 connections", Load::Echo { connections: 512, size: 64 }, false),
        ("echo, 16 KiB, 64 connections", Load::Echo { connections: 64, size: 16 * 1024 }, false),
        ("handshakes, full", Load::Handshakes { connections: 32 }, false),
        ("handshakes, resumed", Load::Handshakes { connections: 32 }, true),
    ];
    for (row, load, resumes) in rows.into_iter().filter(|(row, ..)| row.contains(&only)) {
        println!("\n{row}");
        for server in &servers {
            if !server.encrypted && matches!(load, Load::Handshakes { .. }) {
                continue;
            }
            let mut best: Option<Outcome> = None;
            for _ in 0..rounds {
                let security = if server.encrypted { config(resumes)? } else { None };
                let outcome = measure(server, load, &security, time)?;
                if best.as_ref().is_none_or(|best| outcome.rate() > best.rate()) {
                    best = Some(outcome);
                }
            }
            if let Some(best) = best {
                let (rate, cost) = (best.rate(), best.server_time_each());
                println!("  {:28} {rate:>9.0} /s   server {cost:>7.2} us each", server.name);
            }
        }
    }
    Ok(())
}

/// A temporary folder, which is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("tidegate-bench-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server, which is killed when it is dropped.
struct Running(Child, SocketAddr);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(server: &Server) -> Result<Running, Failure> {
    // Free at this moment; nothing else on the machine is expected to take it.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let words: Vec<_> = server.command.iter().map(|word| word.replace("{addr}", &address.to_string())).collect();
    let mut child = Command::new("taskset").args(["-c", "0"]).args(&words).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    let running = Running(child, address);
    if line.is_empty() { Err(format!("{words:?} does not start").into()) } else { Ok(running) }
}

fn measure(server: &Server, load: Load, security: &Security, time: Duration) -> Result<Outcome, Failure> {
    let running = start(server)?;
    client::run(running.1, load, security, time, || Ok(cpu::process_times(running.0.id())?.busy))
}

/// Opens connections, and prints what they cost the server when all of them are silent.
fn hold(server: &Server, connections: usize, security: Security) -> Result<(), Failure> {
    let running = start(server)?;
    let memory = || -> Result<i64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", running.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).ok_or("no Private_Dirty")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<i64>()? * 1024)
    };
    let first = client::open(running.1, 100, &security)?;
    let before = memory()?;
    let held = client::open(running.1, connections, &security)?;
    let after = memory()?;
    println!(
        "{:28} {} bytes of user space for each of {connections}",
        server.name,
        (after - before) / connections as i64
    );
    drop((first, held));
    Ok(())
}
