//! The report as a page: conditions, aims and verdicts, a table per case, the servers.
//!
//! Everything on it except fixed prose is computed from the results, so it can be rewritten from a saved file.
//! Explanations of missed aims belong in `notes.md` next to it. The page links that file, and this module never writes
//! it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::matrix::bars::{Judgement, Verdict, judge, row_title, table as bars_table};
use crate::matrix::case::CASES;
use crate::matrix::conditions::{Conditions, Measurement};
use crate::matrix::results::Results;
use crate::matrix::table::{Table, growth, label, of_case};

/// A plot on the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Row of the aims it belongs to.
    pub row: u8,
    /// File name, in the folder of the page.
    pub file: String,
    /// Caption.
    pub caption: String,
}

/// Explanation of the columns of the tables.
const LEGEND: &str = "\
Each server was started, loaded and ended in turn, and the whole round was repeated. The best run of each server is shown, because other work
on the machine only makes a run slower. Every reply byte was checked. Ratios are to raw io_uring (`raw-uring`: no protocol, no handler)
and to uWebSockets (uWS) within this measurement. *Server µs* is processor time of all the server's threads per unit of the rate.
Latency is from the send to the reply; for broadcasts (*last*), from the publication to the last subscriber's receipt.
*Client busy* marked with `*` means that the load generator may limit the rate: rates then tie, and server time shows which server is
cheaper. *Disturbed* marked with `*` means that other work occupied a core of the run: do not quote such a rate. It is unknown (-) for a server with
several threads on its core, because they wait for each other. *Ratio* is payload bytes for each byte of the compressed replies.
In the row of clients the roles are exchanged: *client µs* is the time of the client that is measured, and *server busy* that of the echo
server.
";

/// Explanation of the distance of the cores, where it was measured.
const CORES: &str = "\
*Cores ns* is the time in which a cache line goes from the server's core to that of the load and back, before or after the run, whichever is
longer. *Far* means more than 1.5 times the shortest of the measurement, which slows down everything that is copied. A run with far cores
counts only for a server without a run with near ones, and a ratio between the two is marked.
";

/// Explanation of the cases with JSON.
const JSON: &str = "
The messages are text with characters of one to four bytes, which every server checks for UTF-8. Compression is permessage-deflate in both
directions with windows of 32 KiB. *By itself*: no context in either direction. *Kept*: both ends keep their contexts. The client
compresses each of its messages by itself, so all servers inflate the same bytes. uWebSockets has one level, zlib's default of 6, with its
shared compressor for messages by themselves and its dedicated compressor otherwise; it stands in the tables of both levels.
";

/// Returns the page in Markdown.
#[must_use]
pub fn page(results: &Results, pictures: &[Picture], has_notes: bool) -> String {
    let mut out = String::from("# Benchmarks\n\n");
    out += "Written by `ci/bench-report.sh` from [results.json](results.json), which holds every run. ";
    out += "[benches/README.md](../../benches/README.md) describes the method.\n\n";
    out += &conditions(results);
    out += &aims(results, has_notes);
    out += "\n## Results\n\n";
    out += LEGEND;
    if results.runs.iter().any(|run| run.cores_ns.is_some()) {
        out += CORES;
    }
    let rows: BTreeSet<u8> = CASES.iter().map(|case| case.row).collect();
    for row in rows {
        out += &row_section(results, row, pictures);
    }
    out += "\n## Servers\n\n";
    out += &entrants(results).markdown();
    out
}

/// Returns the number of aims reached, missed and open.
#[must_use]
pub fn summary(judgements: &[Judgement]) -> String {
    let count = |is: fn(&Verdict) -> bool| judgements.iter().filter(|judgement| is(&judgement.verdict)).count();
    let reached = count(|verdict| matches!(verdict, Verdict::Reached(_)));
    let missed = count(|verdict| matches!(verdict, Verdict::Missed(_)));
    let open = count(|verdict| matches!(verdict, Verdict::Open(_)));
    format!("{reached} aims reached, {missed} missed, {open} open (each placement counted separately)")
}

fn conditions(results: &Results) -> String {
    let mut table = Table::of_words(&["Condition", "Here"]);
    for (name, value) in condition_lines(&results.conditions) {
        table.push(vec![name.to_owned(), value]);
    }
    let mut out = String::from("## Conditions\n\nServers and load on one machine over loopback, one core each.\n\n");
    out += &table.markdown();
    if let Some(measurements) = measurements(&results.conditions) {
        let _ = write!(out, "\nThe results are joined from these measurements:\n\n{}", measurements.markdown());
    }
    out + "\n"
}

/// Returns the conditions as names and values: all of them if there is one measurement, or else those that all
/// measurements have in common.
#[must_use]
pub fn condition_lines(conditions: &Conditions) -> Vec<(&'static str, String)> {
    let mut lines = conditions.lines();
    if let [measurement] = &conditions.measurements[..] {
        let Measurement { date, tidegate, load_average, cores, command } = measurement.clone();
        lines.splice(0..0, [("Date", date), ("Tidegate", tidegate)]);
        lines.push((LOAD_AVERAGES, load_average));
        lines.extend((!cores.is_empty()).then_some(("Distance of the cores", cores)));
        lines.push(("Command", command));
    }
    lines
}

const LOAD_AVERAGES: &str = "Load averages before";

/// Returns a table with a line for each measurement, if there are several.
#[must_use]
pub fn measurements(conditions: &Conditions) -> Option<Table> {
    let measurements = &conditions.measurements;
    if measurements.len() < 2 {
        return None;
    }
    let with_cores = measurements.iter().any(|measurement| !measurement.cores.is_empty());
    let mut headings = vec!["Date", "Tidegate", LOAD_AVERAGES];
    headings.extend(with_cores.then_some("Distance of the cores"));
    headings.push("Command");
    let mut table = Table::of_words(&headings);
    for Measurement { date, tidegate, load_average, cores, command } in measurements.clone() {
        let mut row = vec![date, tidegate, load_average];
        row.extend(with_cores.then(|| if cores.is_empty() { "-".to_owned() } else { cores }));
        row.push(command);
        table.push(row);
    }
    Some(table)
}

fn aims(results: &Results, has_notes: bool) -> String {
    let judgements = judge(results);
    let mut out = format!("## Aims\n\n{}.\n\n{}", summary(&judgements), bars_table(&judgements).markdown());
    if has_notes {
        out += "\n[Notes](notes.md) explain the missed aims, with profiles.\n";
    }
    out
}

fn row_section(results: &Results, row: u8, pictures: &[Picture]) -> String {
    let cases: Vec<_> = CASES.iter().filter(|case| case.row == row && results.has(case)).collect();
    if cases.is_empty() {
        return String::new();
    }
    let mut out = format!("\n### {row}. {}\n", row_title(row));
    for case in cases {
        let _ = write!(out, "\n**{}** (`{}`)\n\n{}", case.title, case.id, of_case(results, case).markdown());
    }
    if row == 11 {
        out += JSON;
    }
    if row == 9 {
        out += "\nRow 1 has the costs with fewer connections.\n";
        let _ = write!(out, "\n**Server time per message by connections, 64 B**\n\n{}", growth(results).markdown());
    }
    for picture in pictures.iter().filter(|picture| picture.row == row) {
        let _ = write!(out, "\n![{}]({})\n", picture.caption, picture.file);
    }
    out
}

fn entrants(results: &Results) -> Table {
    let mut table = Table::of_words(&["Server", "Version", "Setting"]);
    for server in &results.servers {
        table.push(vec![label(server), server.version.clone(), server.setting.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::results::samples::{add, results};
    use crate::matrix::results::{Group, Outcome, UWEBSOCKETS};

    #[test]
    fn the_page_has_verdicts_tables_reasons_and_pictures() {
        let mut results = results(&[
            ("echo-64", UWEBSOCKETS, Group::Peer, 100_000.0, 10.0, false),
            ("echo-64", "inline", Group::Ours, 120_000.0, 9.0, false),
            ("echo-64", "same-core", Group::Ours, 110_000.0, 9.0, false),
        ]);
        add(&mut results, "echo-64", "yawc", Group::Peer, Outcome::Cannot("it resets".into()));
        results.conditions.kernel = "6.18".into();
        let picture = Picture { row: 1, file: "echo-64.svg".into(), caption: "64 B".into() };
        let page = page(&results, &[picture], false);
        for text in [
            "| Kernel | 6.18 |",
            "| 1: 64 B, 64 connections | 1.15 × uWebSockets | **reached**: uwebsockets rate × 1.20, CPU × 0.90 | **missed**: uwebsockets rate × 1.10",
            "| Tidegate inline | 120,000 |",
            "cannot: it resets",
            "![64 B](echo-64.svg)",
            "| yawc | 1.2.3 | as it comes |",
        ] {
            assert!(page.contains(text), "{text} in:\n{page}");
        }
        assert!(!page.contains("notes.md") && !page.contains("### 2.") && !page.contains("*Cores ns*"));
        results.runs[0].cores_ns = Some([55.0, 56.0]);
        let page = super::page(&results, &[], true);
        assert!(page.contains("(notes.md)") && page.contains("*Cores ns*"));
    }

    #[test]
    fn joined_measurements_have_a_line_each() {
        let mut results = results(&[]);
        results.conditions.kernel = "6.18".into();
        let measurement = |date: &str, cores: &str| Measurement {
            date: date.into(),
            tidegate: "1 at a".into(),
            load_average: "0 0 0".into(),
            cores: cores.into(),
            command: format!("bench --report {date}"),
        };
        results.conditions.measurements.push(measurement("one", "55 to 56 ns"));
        let alone = page(&results, &[], false);
        assert!(alone.contains("| Date | one |\n| Tidegate | 1 at a |\n| Processor |"), "{alone}");
        assert!(
            alone.contains("| Distance of the cores | 55 to 56 ns |\n| Command | bench --report one |\n"),
            "{alone}"
        );
        results.conditions.measurements.push(measurement("two", ""));
        let joined = page(&results, &[], false);
        let table = "\
            | Date | Tidegate | Load averages before | Distance of the cores | Command |\n\
            |---|---|---|---|---|\n\
            | one | 1 at a | 0 0 0 | 55 to 56 ns | bench --report one |\n\
            | two | 1 at a | 0 0 0 | - | bench --report two |\n\n## Aims";
        assert!(joined.contains(table) && joined.contains("| Kernel | 6.18 |"), "{joined}");
        assert!(!joined.contains("| Date | one |"), "{joined}");
    }

    #[test]
    fn the_summary_counts() {
        let results = results(&[
            ("echo-64", UWEBSOCKETS, Group::Peer, 100.0, 10.0, false),
            ("echo-64", "inline", Group::Ours, 120.0, 9.0, false),
        ]);
        assert_eq!(summary(&judge(&results)), "2 aims reached, 0 missed, 1 open (each placement counted separately)");
    }
}
