//! Runs the matrix, every server under every case in alternation, prints the tables and writes the report.
//!
//! For each case every server is started, loaded and ended in turn, and the whole round is repeated (A B A B), so a
//! change in the machine's speed affects all servers alike. README.md of this package describes it.

mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs};

use tidegate_benches::args::{Args, Opt};
use tidegate_benches::matrix::bars::{judge, table as bars_table};
use tidegate_benches::matrix::case::{CASES, Case, Kind};
use tidegate_benches::matrix::conditions::Conditions;
use tidegate_benches::matrix::effort::Effort;
use tidegate_benches::matrix::measure::Bench;
use tidegate_benches::matrix::page::{condition_lines, measurements, summary};
use tidegate_benches::matrix::results::{Results, UWEBSOCKETS};
use tidegate_benches::matrix::server::{Part, Server};
use tidegate_benches::matrix::site;
use tidegate_benches::matrix::table::{growth, of_case};
use tidegate_benches::{errln, outln};

const OPTIONS: &[Opt] = &[
    Opt::value(
        "only",
        "WORD,...",
        "cases: an id or its beginning, a kind such as http, or a row such as row1 (default all)",
    ),
    Opt::value("server", "NAME,...", "servers, by name (default all)"),
    Opt::list("add", "NAME=COMMAND", "add a server; {addr} in the command becomes HOST:PORT"),
    Opt::value("uwebsockets", "COMMAND", "command that starts uWebSockets; {addr} becomes HOST:PORT"),
    Opt::value("rounds", "K", "runs of each server in each case (default 3)"),
    Opt::value("seconds", "S", "time to measure in each run (default 3)"),
    Opt::value("warmup", "S", "time to run before measuring (default 1)"),
    Opt::value("stall", "S", "fail a run when no reply arrives for this long (default 10)"),
    Opt::switch("short", "change the defaults to 1 round, 0.4 s, 0.2 s warm-up, 5 s stall, 1 repeat and 0.1 s wait"),
    Opt::value("budget", "S", "start no run after this long; the rest is shown as not run"),
    Opt::value("repeats", "K", "repeats of a server's runs with far cores in each case (default 3)"),
    Opt::value("wait-near", "S", "wait for near cores before a run for up to this long (default 0.3)"),
    Opt::value("near", "NS", "distance of near cores (default the shortest measured); 1.5 times as much is far"),
    Opt::value("server-core", "C", "core of the servers (default 0)"),
    Opt::value("load-core", "C", "core of the load generator (default 1)"),
    Opt::value("report", "FOLDER", "write results.json, README.md and plots into this folder"),
    Opt::value("from", "FILE", "measure nothing; read the results of an earlier run"),
    Opt::list("join", "FILE", "with --from: a later run whose cases replace those of the first"),
    Opt::switch("list", "print the servers, the cases and how long they take, and exit"),
    Opt::switch("verbose", "print each run"),
];

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            errln!("bench: {error}");
            ExitCode::from(64)
        }
    }
}

/// Runs the program. Returns whether every run of Tidegate and of the limits succeeded; a peer's failure is a finding.
fn run() -> Result<bool, Failure> {
    let args = Args::parse(env::args().skip(1), OPTIONS)?;
    let results = match args.optional::<PathBuf>("from")? {
        Some(file) => {
            let mut results: Results = serde_json::from_str(&fs::read_to_string(&file)?)?;
            for later in args.all("join") {
                results.join(serde_json::from_str(&fs::read_to_string(later)?)?)?;
            }
            results.conditions.near_ns = near_ns(&args)?.or(results.conditions.near_ns);
            for case in CASES.iter().filter(|case| results.has(case)) {
                print_case(&results, case);
            }
            results
        }
        None => {
            let servers = servers(&args)?;
            let cases = cases(&args)?;
            if args.has("list") {
                servers.iter().for_each(|server| outln!("server {}", server.entrant.name));
                cases.iter().for_each(|case| outln!("case {} (row {}): {}", case.id, case.row, case.title));
                outln!("{}", plan(&args, &servers, &cases)?);
                return Ok(true);
            }
            outln!("{}", plan(&args, &servers, &cases)?);
            measure(&args, &servers, &cases)?
        }
    };
    print_end(&results);
    if let Some(folder) = args.optional::<PathBuf>("report")? {
        report::write(&results, &folder)?;
    }
    Ok(results.own_failures().is_empty())
}

/// Returns the limits, Tidegate, uWebSockets, the peers and the added servers, filtered by `--server`.
fn servers(args: &Args) -> Result<Vec<Server>, Failure> {
    let programs = programs()?;
    let mut servers = Server::own(&programs);
    let command: Option<String> = args.optional("uwebsockets")?;
    servers.extend(
        command.map(|command| Server::by_command(UWEBSOCKETS, &command, "started by --uwebsockets")).transpose()?,
    );
    match Server::peers(&programs) {
        Ok(peers) => servers.extend(peers.into_iter().filter(|peer| {
            // A command on the command line takes precedence over the built-in one.
            !(peer.entrant.name == UWEBSOCKETS && args.has("uwebsockets"))
        })),
        Err(why) => errln!("bench: continuing without peers: {why}"),
    }
    if servers.iter().all(|server| server.entrant.name != UWEBSOCKETS) {
        servers.push(Server::absent(
            UWEBSOCKETS,
            "not built (feature peers-uwebsockets, see benches/peers.md), and no --uwebsockets COMMAND",
        ));
    }
    servers.push(Server::load_tester(&programs));
    for text in args.all("add") {
        let (name, command) =
            text.split_once('=').ok_or_else(|| format!("invalid --add {text:?}: must be NAME=COMMAND"))?;
        servers.push(Server::by_command(name, command, "added by --add")?);
    }
    let Some(names) = args.optional::<String>("server")? else { return Ok(servers) };
    let names: Vec<&str> = names.split(',').collect();
    let known = |name: &&&str| servers.iter().any(|server| server.entrant.name == **name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(format!("unknown --server {unknown}: --list prints the servers").into());
    }
    servers.retain(|server| names.contains(&server.entrant.name.as_str()));
    Ok(servers)
}

/// Returns the folder of this program, where cargo puts the others too.
fn programs() -> Result<PathBuf, Failure> {
    Ok(env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default())
}

/// Returns the cases selected by `--only`.
fn cases(args: &Args) -> Result<Vec<&'static Case>, Failure> {
    let words: String = args.optional("only")?.unwrap_or_default();
    let words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    if let Some(unknown) = words.iter().find(|word| Case::meant_by(word).is_empty()) {
        return Err(format!("unknown --only {unknown}: --list prints the cases").into());
    }
    let meant: Vec<&Case> = words.iter().flat_map(|word| Case::meant_by(word)).collect();
    let asked = |case: &&Case| words.is_empty() || meant.iter().any(|meant| meant.id == case.id);
    Ok(CASES.iter().filter(asked).collect())
}

/// Runs everything. Saves the results after each case if a report is requested.
fn measure(args: &Args, servers: &[Server], cases: &[&'static Case]) -> Result<Results, Failure> {
    let bench = bench(args)?;
    if cases.iter().any(|case| case.kind == Kind::Files) {
        site::write(&programs()?)?;
    }
    if cases.iter().any(|case| matches!(case.kind, Kind::Wss(_))) {
        write_certificate()?;
    }
    let begun = Instant::now();
    let budget = args.within("budget", f64::from(u32::MAX), [0.0, f64::from(u32::MAX)])?;
    let mut effort = effort(args, begun + Duration::from_secs_f64(budget))?;
    let folder: Option<PathBuf> = args.optional("report")?;
    let conditions = Conditions { near_ns: near_ns(args)?, ..Conditions::here() };
    let entrants = servers.iter().map(|server| server.entrant.clone()).collect();
    let mut results = Results { conditions, servers: entrants, runs: Vec::new() };
    let rounds = effort.rounds;
    let time = |case: &Case| runs(servers, case, rounds) * bench.time(case);
    let mut left: Duration = cases.iter().map(|case| time(case)).sum();
    for case in cases {
        left = left.saturating_sub(time(case));
        effort.repeats_until = effort.deadline.checked_sub(left).unwrap_or(begun);
        effort.measure(&bench, servers, case, &mut results, |run| {
            if args.has("verbose") {
                errln!("{}", serde_json::to_string(run).unwrap_or_default());
            }
        });
        let distances = results.distances();
        if let Some(measurement) = results.conditions.measurements.last_mut() {
            measurement.cores = distances.unwrap_or_default();
        }
        print_case(&results, case);
        if let Some(folder) = &folder {
            report::save(&results, folder)?;
        }
    }
    outln!("\nmeasured {} runs in {:.1} minutes", results.runs.len(), begun.elapsed().as_secs_f64() / 60.0);
    Ok(results)
}

fn rounds(args: &Args) -> Result<u32, Failure> {
    Ok(args.within("rounds", if args.has("short") { 1 } else { 3 }, [1, 100])?)
}

/// Returns the distance of near cores, if it is given.
fn near_ns(args: &Args) -> Result<Option<f64>, Failure> {
    Ok(args.has("near").then(|| args.within("near", 1.0, [1.0, 1e6])).transpose()?)
}

/// Returns how often servers run, and until when.
fn effort(args: &Args, deadline: Instant) -> Result<Effort, Failure> {
    let (repeats, wait_s) = if args.has("short") { (1, 0.1) } else { (3, 0.3) };
    Ok(Effort {
        rounds: rounds(args)?,
        repeats: args.within("repeats", repeats, [0, 100])?,
        wait: args.seconds("wait-near", wait_s)?,
        deadline,
        repeats_until: deadline,
    })
}

/// Returns how many runs the measurement has, and how long they take at least.
fn plan(args: &Args, servers: &[Server], cases: &[&'static Case]) -> Result<String, Failure> {
    let (bench, rounds) = (bench(args)?, rounds(args)?);
    let count: u32 = cases.iter().map(|case| runs(servers, case, rounds)).sum();
    let time: Duration = cases.iter().map(|case| runs(servers, case, rounds) * bench.time(case)).sum();
    let minutes = time.as_secs_f64() / 60.0;
    Ok(format!("{count} runs, about {minutes:.0} minutes; up to twice that if the cores are far from each other"))
}

/// Returns how many runs a case has.
fn runs(servers: &[Server], case: &Case, rounds: u32) -> u32 {
    servers.iter().filter(|server| server.part(case) == Part::Takes).map(|_| rounds).sum()
}

/// Writes the certificate of the servers. Without the program that does it, the cases with TLS are not run.
fn write_certificate() -> Result<(), Failure> {
    let program = programs()?.join("tls");
    if !program.exists() {
        return Ok(());
    }
    let status = Command::new(program).arg("--write-certificate").arg(site::folder(&programs()?)).status()?;
    if status.success() { Ok(()) } else { Err(format!("no certificate for the cases with TLS: {status}").into()) }
}

/// Returns the settings of the runs.
fn bench(args: &Args) -> Result<Bench, Failure> {
    let or_short = |usual: f64, shorter: f64| if args.has("short") { shorter } else { usual };
    let core_max = libc::CPU_SETSIZE as usize - 1;
    Ok(Bench {
        load_program: programs()?.join("load"),
        server_core: args.within("server-core", 0, [0, core_max])?,
        load_core: args.within("load-core", 1, [0, core_max])?,
        seconds: args.within("seconds", or_short(3.0, 0.4), [0.1, 3_600.0])?,
        warmup: args.within("warmup", or_short(1.0, 0.2), [0.0, 3_600.0])?,
        stall: args.within("stall", or_short(10.0, 5.0), [0.1, 3_600.0])?,
    })
}

fn print_case(results: &Results, case: &Case) {
    outln!("\n{} ({}, row {})\n{}", case.title, case.id, case.row, of_case(results, case).text());
}

/// Prints the table over connections, the aims, the conditions and the failures.
fn print_end(results: &Results) {
    if CASES.iter().any(|case| case.row == 9 && results.has(case)) {
        outln!("\nServer time per message by connections, 64 B (row 9)\n{}", growth(results).text());
    }
    let judgements = judge(results);
    outln!("\nAims\n{}\n{}\n", bars_table(&judgements).text().replace("**", ""), summary(&judgements));
    for (name, value) in condition_lines(&results.conditions) {
        outln!("  {name}: {value}");
    }
    if let Some(measurements) = measurements(&results.conditions) {
        outln!("\nMeasurements\n{}", measurements.text());
    }
    for run in results.own_failures() {
        outln!("FAILED: {} in {}, round {}", run.server, run.case, run.round);
    }
}
