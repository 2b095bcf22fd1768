//! The report as a page: conditions, aims and verdicts, a table for each case, who took part.
//!
//! Everything on it but fixed prose is computed from the results, so it can be written again from a saved file. What a
//! person has to say about misses stands beside it in `notes.md`, which this links and never writes.

use std::fmt::Write as _;

use crate::matrix::bars::{Judgement, Verdict, judge, row_title, table as bars_table};
use crate::matrix::case::CASES;
use crate::matrix::results::Results;
use crate::matrix::table::{Table, growth, label, of_case};

/// A plot that goes into the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The row of the aims it belongs to.
    pub row: u8,
    /// Its file, beside the page.
    pub file: String,
    /// What it shows.
    pub caption: String,
}

/// Explains the columns of the tables.
const LEGEND: &str = "\
Each server was started, loaded and ended in turn, and the whole round repeated; of each server the best run is shown, because other work
on the machine only takes away. Every byte that came back was checked. Ratios are to raw io_uring (`raw-uring`: no protocol, no handler)
and to uWebSockets (uWS) within this measurement. *Server µs* is processor time of all the server's threads for each unit of the rate.
Latency is from the send to the reply; of a broadcast (*last*), from the publishing to the last subscriber's receipt.
*Client busy* marked with `*` means that the load generator may be what limits the rate: then rates tie and server time says who is
cheaper. *Disturbed* marked with `*` means that other work had a core that was wanted: do not quote such a rate. It can't be told (-) for a server with
several threads on its core, which wait for each other.
";

/// The page, in Markdown.
#[must_use]
pub fn page(results: &Results, pictures: &[Picture], has_notes: bool) -> String {
    let mut out = String::from("# Benchmarks\n\n");
    out += "Written by `ci/bench-report.sh` from [results.json](results.json), which holds every run; ";
    out += "[benches/README.md](../../benches/README.md) says how it is measured.\n\n";
    out += &conditions(results);
    out += &aims(results, has_notes);
    out += "\n## Results\n\n";
    out += LEGEND;
    for row in 1..=9 {
        out += &row_section(results, row, pictures);
    }
    out += "\n## Who took part\n\n";
    out += &entrants(results).markdown();
    out
}

/// The aims and how they turned out, in a few words: how many were reached, and which were not.
#[must_use]
pub fn summary(judgements: &[Judgement]) -> String {
    let count = |is: fn(&Verdict) -> bool| judgements.iter().filter(|judgement| is(&judgement.verdict)).count();
    let reached = count(|verdict| matches!(verdict, Verdict::Reached(_)));
    let missed = count(|verdict| matches!(verdict, Verdict::Missed(_)));
    let open = count(|verdict| matches!(verdict, Verdict::Open(_)));
    format!("{reached} aims reached, {missed} missed, {open} open (each placement counted)")
}

fn conditions(results: &Results) -> String {
    let mut table = Table::of_words(&["Condition", "Here"]);
    for (name, value) in results.conditions.lines() {
        table.push(vec![name.to_owned(), value.to_owned()]);
    }
    format!(
        "## Conditions\n\nServers and load on one machine over loopback, one core for each.\n\n{}\n",
        table.markdown()
    )
}

fn aims(results: &Results, has_notes: bool) -> String {
    let judgements = judge(results);
    let mut out = format!("## Aims\n\n{}.\n\n{}", summary(&judgements), bars_table(&judgements).markdown());
    if has_notes {
        out += "\n[Notes](notes.md) say why what is missed is missed, with the profiles.\n";
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
    if row == 9 {
        out += "\nThe costs with fewer connections are those of row 1.\n";
        let _ = write!(out, "\n**Server time a message by connections, 64 B**\n\n{}", growth(results).markdown());
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
            "| 1: 64 B, 64 connections | 1.15 × uWebSockets | **reached**: rate × 1.20, CPU × 0.90 | **missed**: rate × 1.10",
            "| Tidegate inline | 120,000 |",
            "cannot: it resets",
            "![64 B](echo-64.svg)",
            "| yawc | 1.2.3 | as it comes |",
        ] {
            assert!(page.contains(text), "{text} in:\n{page}");
        }
        assert!(!page.contains("notes.md") && !page.contains("### 2."));
        assert!(super::page(&results, &[], true).contains("(notes.md)"));
    }

    #[test]
    fn the_summary_counts() {
        let results = results(&[
            ("echo-64", UWEBSOCKETS, Group::Peer, 100.0, 10.0, false),
            ("echo-64", "inline", Group::Ours, 120.0, 9.0, false),
        ]);
        assert_eq!(summary(&judge(&results)), "1 aims reached, 0 missed, 1 open (each placement counted)");
    }
}
