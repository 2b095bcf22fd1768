//! Client connections by the million, held by one process as direct descriptors.
//!
//! A direct descriptor lies in the file table of a ring and not in that of the process. The limit of open files bounds
//! each table but not their number, so the connections are spread over as many rings as they need, and the rings over a
//! few threads. Against a loopback server they come from many addresses of 127.0.0.0/8, so ports suffice.
//!
//! Between two jobs a connection has no memory in this process. A job goes over the connections in the order in which
//! they were opened, with a bounded number of them in progress. Opening one is a chain of linked operations (socket,
//! bind, connect, send, receive) with a single completion.

mod crew;
mod operations;
mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockAddr;

use crate::error::LoadError;
use crate::handshake::Upgrade;
use crate::histogram::Histogram;
use crate::socket;

use crew::Crew;
use source::Sources;

/// The time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// The least bytes that a connection in progress can receive at a time: room for the head of a 101 response.
const RECEIVE_BYTES_MIN: usize = 512;

/// What a fleet connects to, and its bounds.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Address of the server: TCP, or a Unix-domain socket.
    pub server: SockAddr,
    /// The opening handshake of each connection; `None` connects without one.
    pub upgrade: Option<Upgrade>,
    /// The most connections.
    pub connections: usize,
    /// Threads that the rings are spread over, at least 1. There are never more than rings.
    pub threads: usize,
    /// Handshakes in progress at a time, at least 1: more of them than the listeners' queues hold only wait.
    pub opening_max: usize,
    /// Bytes of the longest answer of an [`Exchange`]; 512 or less is the same as 512.
    pub answer_bytes_max: usize,
    /// A job fails if nothing happens for this long.
    pub stall: Duration,
}

/// The bytes that one connection sends, and those that it must receive then. Either can be empty.
pub type Lines = (&'static [u8], &'static [u8]);

/// What connections send and receive. The bytes live as long as the process, because rings do.
#[derive(Clone)]
pub struct Exchange {
    /// Returns the lines of a connection, by its number.
    pub lines: Arc<dyn Fn(usize) -> Lines + Send + Sync>,
    /// The connections that take part: the first so many.
    pub connections: usize,
    /// Times that each sends and receives its lines, at least 1.
    pub rounds: u32,
    /// No connection begins another round this long after the beginning, even if it has rounds left.
    pub time_max: Option<Duration>,
    /// Connections in progress at a time, at least 1.
    pub window: usize,
    /// Whether each answer is timed. The threads then wake for each, and otherwise for many at a time.
    pub timed: bool,
}

/// One piece of work for all threads.
#[derive(Clone)]
enum Job {
    /// Opens connections until there are so many.
    Open {
        upto: usize,
    },
    Exchange(Exchange),
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    plan: Plan,
    sources: Sources,
    /// Slots of each ring.
    per_ring: usize,
    /// Connections that the current job is done with.
    done: AtomicUsize,
    /// Set when the fleet is dropped. The threads then give up the current job.
    is_abandoned: AtomicBool,
}

/// The connections and the threads that hold them.
pub struct Fleet {
    shared: Arc<Shared>,
    crews: Vec<CrewHandle>,
    answers: Receiver<Answer>,
    open: usize,
}

/// The round trips of a job that a thread has done.
type Answer = Result<Histogram, LoadError>;

/// One thread and the way to it.
struct CrewHandle {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Starts the threads and makes their rings. Nothing is connected yet.
    ///
    /// # Errors
    /// If the limit of open files cannot be read or raised, or io_uring is forbidden, or the kernel is older than Linux
    /// 6.11 and there are more connections than ports of one address.
    pub fn new(plan: Plan) -> Result<Self, LoadError> {
        let files = socket::raise_file_limit()?;
        let rings = plan.connections.div_ceil(files).max(1);
        let per_ring = plan.connections.div_ceil(rings).max(1);
        let threads = plan.threads.clamp(1, rings);
        let (answered, answers) = channel();
        let sources = Sources::of(&plan.server);
        let shared = Arc::new(Shared {
            plan,
            sources,
            per_ring,
            done: AtomicUsize::new(0),
            is_abandoned: AtomicBool::new(false),
        });
        let mut fleet = Self { shared, crews: Vec::new(), answers, open: 0 };
        for thread in 0..threads {
            let (jobs, orders) = channel();
            let (shared, answered) = (Arc::clone(&fleet.shared), answered.clone());
            let firsts: Vec<usize> = (thread..rings).step_by(threads).map(|ring| ring * per_ring).collect();
            let body = move || serve(shared, &firsts, threads, &orders, &answered);
            let thread = thread::Builder::new().name(format!("fleet-{thread}")).spawn(body)?;
            fleet.crews.push(CrewHandle { jobs: Some(jobs), thread: Some(thread) });
        }
        fleet.gather(&mut |_| Ok(()))?;
        Ok(fleet)
    }

    /// Returns the number of connections that are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.open
    }

    /// Returns the number of connections that share a ring, the first of them from number 0 on.
    #[must_use]
    pub fn connections_per_ring(&self) -> usize {
        self.shared.per_ring
    }

    /// Opens connections until there are `upto` (at most those of the plan). Reports the number of open ones every two
    /// seconds; an error of the report ends the job.
    ///
    /// # Errors
    /// The first connection that was not opened or upgraded, a stall, or the report's error. The fleet is unusable
    /// then.
    pub fn open(
        &mut self,
        upto: usize,
        report: &mut dyn FnMut(usize) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let (upto, already) = (upto.min(self.shared.plan.connections), self.open);
        self.start(&Job::Open { upto })?;
        self.gather(&mut |done| report(already + done))?;
        self.open = self.open.max(upto);
        Ok(())
    }

    /// Exchanges messages on open connections. Returns the round trips in nanoseconds if they are timed.
    ///
    /// # Errors
    /// The first connection that failed, was closed or received anything else, a stall, or an answer that exceeds the
    /// plan's. The fleet is unusable then.
    pub fn exchange(&mut self, exchange: &Exchange) -> Result<Histogram, LoadError> {
        let exchange = Exchange { connections: exchange.connections.min(self.open), ..exchange.clone() };
        self.start(&Job::Exchange(exchange))?;
        self.gather(&mut |_| Ok(()))
    }

    fn start(&self, job: &Job) -> Result<(), LoadError> {
        self.shared.done.store(0, Ordering::Relaxed);
        for crew in &self.crews {
            let sent = crew.jobs.as_ref().is_some_and(|jobs| jobs.send(job.clone()).is_ok());
            if !sent {
                return Err(ended());
            }
        }
        Ok(())
    }

    /// Waits for all threads. Returns their round trips together.
    fn gather(&self, report: &mut dyn FnMut(usize) -> Result<(), LoadError>) -> Result<Histogram, LoadError> {
        let mut all = Histogram::default();
        let mut reported = Instant::now();
        for _ in &self.crews {
            let answer = loop {
                match self.answers.recv_timeout(PROGRESS_INTERVAL.saturating_sub(reported.elapsed())) {
                    Ok(answer) => break answer,
                    Err(RecvTimeoutError::Timeout) => {
                        report(self.shared.done.load(Ordering::Relaxed))?;
                        reported = Instant::now();
                    }
                    Err(RecvTimeoutError::Disconnected) => return Err(ended()),
                }
            };
            all.merge(&answer?);
        }
        Ok(all)
    }
}

impl Drop for Fleet {
    /// Closes all connections.
    fn drop(&mut self) {
        self.shared.is_abandoned.store(true, Ordering::Relaxed);
        for crew in &mut self.crews {
            drop(crew.jobs.take());
        }
        for crew in &mut self.crews {
            // A thread that panicked has been reported.
            let _ = crew.thread.take().map(JoinHandle::join);
        }
    }
}

fn ended() -> LoadError {
    std::io::Error::other("a thread of the fleet has ended").into()
}

/// The body of a thread: makes the rings, then does each job.
fn serve(shared: Arc<Shared>, firsts: &[usize], threads: usize, jobs: &Receiver<Job>, answers: &Sender<Answer>) {
    let mut crew = match Crew::new(shared, firsts, threads) {
        Ok(crew) => crew,
        Err(error) => {
            let _ = answers.send(Err(error));
            return;
        }
    };
    // Sending fails only after the fleet has been dropped.
    let _ = answers.send(Ok(Histogram::default()));
    for job in jobs {
        let _ = answers.send(crew.run(&job));
    }
    crew.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::net::TcpListener;

    #[test]
    fn a_job_in_progress_is_given_up_with_its_fleet() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plan = Plan {
            server: listener.local_addr().unwrap().into(),
            upgrade: None,
            connections: 1,
            threads: 1,
            opening_max: 1,
            answer_bytes_max: 1,
            stall: Duration::from_secs(10),
        };
        thread::spawn(move || {
            let (stream, _) = listener.accept()?;
            io::copy(&mut &stream, &mut &stream)
        });
        let (sources, is_abandoned) = (Sources::of(&plan.server), AtomicBool::new(false));
        let shared = Arc::new(Shared { plan, sources, per_ring: 1, done: AtomicUsize::new(0), is_abandoned });
        let mut crew = Crew::new(Arc::clone(&shared), &[0], 1).unwrap();
        crew.run(&Job::Open { upto: 1 }).unwrap();
        let echoes = Exchange {
            lines: Arc::new(|_| (b"!", b"!")),
            connections: 1,
            rounds: 100,
            time_max: None,
            window: 1,
            timed: false,
        };
        crew.run(&Job::Exchange(echoes.clone())).unwrap();
        shared.is_abandoned.store(true, Ordering::Relaxed);
        assert!(crew.run(&Job::Exchange(echoes)).is_err());
    }
}
