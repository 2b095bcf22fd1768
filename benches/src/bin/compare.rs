//! Compares servers with the raw io_uring limit on this machine.
//!
//! For each case every server is started, loaded and ended in turn, and the whole round is repeated (A B A B), so that
//! a change of the machine's speed meets all of them. The best of a server's runs counts: other work on the machine only
//! ever takes away. Ratios are to `raw-uring` in the same comparison; rates alone do not compare between machines.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use tidegate_benches::args::{Args, Opt};
use tidegate_benches::report;

const OPTIONS: &[Opt] = &[
    Opt::list("server", "NAME=COMMAND", "a server; {addr} in the command becomes HOST:PORT"),
    Opt::value("protocol", "tcp|ws", "what the servers speak, ws"),
    Opt::value("path", "PATH", "request-target of the handshake, /ws"),
    Opt::value("rounds", "K", "runs of each server in each case, 3"),
    Opt::value("seconds", "S", "how long to measure each run, 3"),
    Opt::value("warmup", "S", "how long to run before, 1"),
    Opt::value("server-core", "C", "where the servers run, 0"),
    Opt::value("load-core", "C", "where the load runs, 1"),
    Opt::switch("epoll", "run raw-epoll too"),
    Opt::switch("text", "text messages instead of binary ones"),
    Opt::switch("verbose", "print each run"),
];

/// How long a server may take to listen, and to end after SIGTERM.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a server is asked whether it listens or has ended.
const ASK_INTERVAL: Duration = Duration::from_millis(10);

/// One load.
struct Case {
    name: &'static str,
    size: u32,
    depth: u32,
    connections: u32,
    /// Receive buffers of the raw limit, the count and size that serve the case best: a message in one buffer, and no
    /// more buffers than are in use, which spares the caches.
    raw_buffers: u32,
    raw_buffer_bytes: u32,
}

const CASES: [Case; 4] = [
    Case { name: "64 B x 64", size: 64, depth: 1, connections: 64, raw_buffers: 256, raw_buffer_bytes: 4096 },
    Case { name: "64 B x 512", size: 64, depth: 1, connections: 512, raw_buffers: 1024, raw_buffer_bytes: 4096 },
    Case {
        name: "64 B x 512, depth 16",
        size: 64,
        depth: 16,
        connections: 512,
        raw_buffers: 1024,
        raw_buffer_bytes: 4096,
    },
    Case { name: "16 KiB x 64", size: 16_384, depth: 1, connections: 64, raw_buffers: 256, raw_buffer_bytes: 32_768 },
];

/// A server to compare.
struct Server {
    name: String,
    protocol: String,
    /// Words of the command; `{addr}`, `{buffers}` and `{buffer-bytes}` stand for what each run fills in.
    words: Vec<String>,
}

/// What one run gave.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    rate: f64,
    server_cpu_us: f64,
    client_utilisation: f64,
    p50_us: f64,
    p99_us: f64,
    disturbance: f64,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(64)
        }
    }
}

/// Whether every run succeeded.
fn run() -> Result<bool, Failure> {
    let args = Args::parse(env::args().skip(1), OPTIONS)?;
    let programs = env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
    let servers = servers(&args, &programs)?;
    let rounds = args.within("rounds", 3, [1, 100])?;
    let bench = Bench {
        load: programs.join("load"),
        server_core: args.within("server-core", 0, [0, libc::CPU_SETSIZE as usize - 1])?,
        load_core: args.within("load-core", 1, [0, libc::CPU_SETSIZE as usize - 1])?,
        seconds: args.within("seconds", 3.0, [0.1, 3_600.0])?,
        warmup: args.within("warmup", 1.0, [0.0, 3_600.0])?,
        path: args.optional("path")?.unwrap_or_else(|| "/ws".into()),
        text: args.has("text"),
    };
    let mut all_succeeded = true;
    for case in &CASES {
        let mut best: Vec<Option<Run>> = vec![None; servers.len()];
        for round in 1..=rounds {
            for (server, best) in servers.iter().zip(&mut best) {
                match bench.measure(server, case) {
                    Ok(run) => {
                        if args.has("verbose") {
                            eprintln!("{} round {round}: {} {run:?}", case.name, server.name);
                        }
                        if best.is_none_or(|best| run.rate > best.rate) {
                            *best = Some(run);
                        }
                    }
                    Err(error) => {
                        all_succeeded = false;
                        eprintln!("{} round {round}: {}: {error}", case.name, server.name);
                    }
                }
            }
        }
        print_case(case, &servers, &best);
    }
    Ok(all_succeeded)
}

/// The limits first, then what was asked for.
fn servers(args: &Args, programs: &Path) -> Result<Vec<Server>, Failure> {
    let raw = |name: &str, more: &[&str]| Server {
        name: name.into(),
        protocol: "tcp".into(),
        words: [programs.join(name).to_string_lossy().into_owned()]
            .into_iter()
            .chain(["--addr", "{addr}"].iter().chain(more).map(|word| (*word).to_owned()))
            .collect(),
    };
    let mut servers = vec![raw("raw-uring", &["--buffers", "{buffers}", "--buffer-bytes", "{buffer-bytes}"])];
    if args.has("epoll") {
        servers.push(raw("raw-epoll", &[]));
    }
    let protocol: String = args.optional("protocol")?.unwrap_or_else(|| "ws".into());
    for text in args.all("server") {
        let (name, command) = text.split_once('=').ok_or_else(|| format!("--server {text:?}: NAME=COMMAND"))?;
        let words: Vec<String> = command.split_ascii_whitespace().map(str::to_owned).collect();
        if words.is_empty() || !command.contains("{addr}") {
            return Err(format!("--server {text:?}: the command must contain {{addr}}").into());
        }
        servers.push(Server { name: name.to_owned(), protocol: protocol.clone(), words });
    }
    Ok(servers)
}

/// Rates, ratios to the first server, what the best run of each cost, and how much of it other work took away.
fn print_case(case: &Case, servers: &[Server], best: &[Option<Run>]) {
    println!("\n{}", case.name);
    println!(
        "  {:<20} {:>12} {:>7} {:>12} {:>9} {:>9} {:>12} {:>10}",
        "", "messages/s", "ratio", "server us", "p50 us", "p99 us", "client busy", "disturbed"
    );
    let limit = best.first().copied().flatten().map(|run| run.rate);
    for (server, run) in servers.iter().zip(best) {
        let Some(run) = run else {
            println!("  {:<20} {:>12}", server.name, "failed");
            continue;
        };
        let ratio = limit.map_or("-".to_owned(), |limit| format!("{:.3}", run.rate / limit));
        println!(
            "  {:<20} {:>12.0} {ratio:>7} {:>12.3} {:>9.0} {:>9.0} {:>10.0} % {:>8.1} %",
            server.name,
            run.rate,
            run.server_cpu_us,
            run.p50_us,
            run.p99_us,
            run.client_utilisation * 100.0,
            run.disturbance * 100.0
        );
    }
}

/// How to run one server under one load.
struct Bench {
    load: PathBuf,
    server_core: usize,
    load_core: usize,
    seconds: f64,
    warmup: f64,
    path: String,
    text: bool,
}

impl Bench {
    /// Starts the server, loads it, and ends it.
    fn measure(&self, server: &Server, case: &Case) -> Result<Run, Failure> {
        let address = free_address()?;
        let mut running = Running::start(server, case, address, self.server_core)?;
        running.wait_until_listening(address)?;
        let output = self.load_command(server, case, address, running.child.id()).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        let json = String::from_utf8(output.stdout)?;
        let number = |name: &str| report::number(&json, name).ok_or_else(|| format!("no {name} in {json:?}"));
        Ok(Run {
            rate: number("messages_per_s")?,
            server_cpu_us: number("server_cpu_us")?,
            client_utilisation: number("client_utilisation")?,
            p50_us: number("p50_us")?,
            p99_us: number("p99_us")?,
            disturbance: number("disturbance")?,
        })
    }

    fn load_command(&self, server: &Server, case: &Case, address: SocketAddr, pid: u32) -> Command {
        let mut command = Command::new(&self.load);
        let mut option = |name: &str, value: &dyn ToString| {
            command.arg(format!("--{name}={}", value.to_string()));
        };
        option("addr", &address);
        option("protocol", &server.protocol);
        option("path", &self.path);
        option("connections", &case.connections);
        option("depth", &case.depth);
        option("size", &case.size);
        option("seconds", &self.seconds);
        option("warmup", &self.warmup);
        option("core", &self.load_core);
        option("server-pid", &pid);
        if self.text {
            command.arg("--text");
        }
        command
    }
}

/// A loopback address nobody listens on. Each run gets another: the kernel ends a ring some time after its process,
/// and until then the old listener keeps its port.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// A server process, ended when dropped.
struct Running {
    child: Child,
}

impl Running {
    fn start(server: &Server, case: &Case, address: SocketAddr, core: usize) -> io::Result<Self> {
        let words = server.words.iter().map(|word| {
            word.replace("{addr}", &address.to_string())
                .replace("{buffers}", &case.raw_buffers.to_string())
                .replace("{buffer-bytes}", &case.raw_buffer_bytes.to_string())
        });
        let words: Vec<String> = words.collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: the closure only makes one system call on its own stack, which is allowed between fork and exec.
        unsafe { command.pre_exec(move || confine(core)) };
        Ok(Self { child: command.spawn()? })
    }

    /// Waits until the server accepts a connection.
    fn wait_until_listening(&mut self, address: SocketAddr) -> Result<(), Failure> {
        let deadline = Instant::now() + SERVER_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended before it listened: {status}").into());
            }
            if TcpStream::connect_timeout(&address, SERVER_TIMEOUT).is_ok() {
                return Ok(());
            }
            thread::sleep(ASK_INTERVAL);
        }
        Err(format!("does not listen on {address} after {SERVER_TIMEOUT:?}").into())
    }

    /// Waits for the end of the process; whether it came in time.
    fn ended_within(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(ASK_INTERVAL);
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SAFETY: the child has not been waited for, so its identifier still names it and nothing else.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        if !self.ended_within(SERVER_TIMEOUT) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Lets the calling process, and what it becomes, run on one core only.
fn confine(core: usize) -> io::Result<()> {
    // SAFETY: an all-zero set is a valid, empty one; the core is below CPU_SETSIZE; the kernel only reads the set.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
