//! The plots of a report, as SVG: bars for each case, lines over connections and over quantiles.
//!
//! `draw` knows axes, bars and labels but no servers. This module chooses data and colours.

mod draw;

use std::error::Error;
use std::path::Path;

use plotters::style::RGBColor;

use crate::matrix::bars::row_title;
use crate::matrix::case::{CASES, Case, GROWTH, Kind};
use crate::matrix::page::Picture;
use crate::matrix::results::{Cell, Entrant, Figures, Group, QUANTILES, Results, UWEBSOCKETS};
use crate::matrix::table::{grouped, label, significant};

use draw::{Bars, Lines, Panel, Series};

/// Cases with a plot of latency quantiles.
const LATENCIES: [&str; 3] = ["echo-512", "echo-1", "broadcast-64-1k"];

const OURS: [(&str, RGBColor); 6] = [
    ("inline", RGBColor(200, 30, 30)),
    ("same-core", RGBColor(240, 120, 40)),
    ("events", RGBColor(140, 0, 50)),
    ("portable", RGBColor(160, 60, 110)),
    ("portable-same-core", RGBColor(200, 140, 110)),
    ("portable-events", RGBColor(190, 110, 160)),
];
const LIMITS: [(&str, RGBColor); 2] = [("raw-uring", RGBColor(20, 20, 20)), ("raw-epoll", RGBColor(120, 120, 120))];
const UWEBSOCKETS_COLOUR: RGBColor = RGBColor(25, 80, 200);
const BAR_OF_PEERS: RGBColor = RGBColor(150, 175, 195);

/// Line colours of peers, which the labels at the line ends also tell apart.
const PEERS: [RGBColor; 10] = [
    RGBColor(31, 140, 110),
    RGBColor(140, 90, 180),
    RGBColor(170, 120, 20),
    RGBColor(0, 150, 190),
    RGBColor(210, 80, 160),
    RGBColor(100, 140, 30),
    RGBColor(110, 70, 50),
    RGBColor(80, 110, 150),
    RGBColor(60, 170, 60),
    RGBColor(150, 130, 150),
];

/// Draws every plot that the results have figures for into `folder`.
///
/// # Errors
/// If a file cannot be written.
pub fn write_all(results: &Results, folder: &Path) -> Result<Vec<Picture>, Box<dyn Error>> {
    let mut pictures = Vec::new();
    // The memory of downloads is one number for each server.
    let drawn = |case: &&Case| has_figures(results, case) && (case.kind.is_idle() || !case.measures_memory());
    for case in CASES.iter().filter(drawn) {
        let file = format!("{}.svg", case.id);
        bars(results, case).write(&folder.join(&file))?;
        pictures.push(Picture { row: case.row, file, caption: case.title.into() });
        if LATENCIES.contains(&case.id) {
            let file = format!("latency-{}.svg", case.id);
            latency(results, case).write(&folder.join(&file))?;
            pictures.push(Picture { row: case.row, file, caption: format!("Latency: {}", case.title) });
        }
    }
    let growing = growth(results);
    if !growing.series.is_empty() {
        growing.write(&folder.join("growth.svg"))?;
        pictures.push(Picture { row: 9, file: "growth.svg".into(), caption: row_title(9).into() });
    }
    Ok(pictures)
}

fn has_figures(results: &Results, case: &Case) -> bool {
    results.line_up(case).iter().any(|(_, cell)| cell.figures().is_some())
}

/// Returns the bars of a case, one per server: rate, server time and latency, or memory.
fn bars(results: &Results, case: &Case) -> Bars {
    let mut line_up = results.line_up(case);
    line_up.retain(|(_, cell)| !matches!(cell, Cell::Cannot(_)));
    let panel = |title: &str, value: fn(&Figures) -> Option<f64>, format: fn(f64) -> String| Panel {
        title: title.to_owned(),
        bars: line_up.iter().map(|(_, cell)| bar(cell, value, format)).collect(),
    };
    let panels = match case.kind {
        kind if kind.is_idle() => vec![
            panel("user bytes each", |figures| figures.user_bytes, grouped),
            panel("kernel bytes each, both ends", |figures| figures.kernel_bytes, grouped),
        ],
        kind => {
            let [measured, other] = if kind == Kind::Client { ["client", "server"] } else { ["server", "client"] };
            let mut rate = panel(&format!("{} per second (* {other}-bound)", kind.unit()), |it| Some(it.rate), grouped);
            for ((_, cell), (_, text)) in line_up.iter().zip(&mut rate.bars) {
                if cell.figures().is_some_and(|figures| figures.client_bound) {
                    text.push_str(" *");
                }
                if cell.figures().is_some_and(|figures| figures.is_far) {
                    text.push_str(" far");
                }
            }
            let latency_title =
                if kind == Kind::Broadcast { "p99 to the last subscriber, µs" } else { "p99 latency, µs" };
            let cost = panel(&format!("{measured} CPU each, µs"), |figures| figures.server_cpu_us, significant);
            match kind {
                // The clients do not measure it.
                Kind::Client => vec![rate, cost],
                _ => vec![rate, cost, panel(latency_title, |figures| figures.latency_us[2], significant)],
            }
        }
    };
    let names = line_up.iter().map(|(server, _)| (label(server), colour_of_bar(server))).collect();
    Bars { title: case.title.to_owned(), names, panels }
}

/// Returns the length of a bar and the text behind it.
fn bar(cell: &Cell, value: fn(&Figures) -> Option<f64>, format: fn(f64) -> String) -> (f64, String) {
    match cell {
        Cell::Best(figures, _) => value(figures).map_or((0.0, "-".into()), |value| (value, format(value))),
        Cell::Failed(_) => (0.0, "failed".into()),
        Cell::Cannot(_) => (0.0, "cannot".into()),
    }
}

/// Returns the latency quantiles of a case, a line per server.
fn latency(results: &Results, case: &Case) -> Lines {
    let of = |figures: Figures| figures.latency_us.to_vec();
    Lines {
        title: format!("Latency, {} (closed loop at full speed)", case.title),
        unit: "µs",
        places: QUANTILES.map(str::to_owned).into(),
        series: series(results, |server| results.figures(case, &server.name).map(of)),
    }
}

/// Returns server time per message by connections, a line per server.
fn growth(results: &Results) -> Lines {
    let cases: Vec<&Case> = GROWTH.iter().filter_map(|id| Case::named(id)).collect();
    let costs = |server: &Entrant| {
        let cost = |case: &&Case| results.figures(case, &server.name)?.server_cpu_us;
        let costs: Vec<Option<f64>> = cases.iter().map(cost).collect();
        (costs.iter().flatten().count() > 1).then_some(costs)
    };
    Lines {
        title: "Server CPU per message by connections, 64 B, one message outstanding".into(),
        unit: "µs",
        places: cases.iter().map(|case| format!("{} connections", grouped(f64::from(case.connections)))).collect(),
        series: series(results, costs),
    }
}

/// Returns a series for each server with values. Values of 0 are left out, because a logarithmic axis has no place for
/// them.
fn series(results: &Results, values: impl Fn(&Entrant) -> Option<Vec<Option<f64>>>) -> Vec<Series> {
    let mut peers = PEERS.iter().cycle();
    let mut out = Vec::new();
    for server in &results.servers {
        let Some(values) = values(server) else { continue };
        let values: Vec<Option<f64>> = values.into_iter().map(|value| value.filter(|value| *value > 0.0)).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let colour = own_colour(server).unwrap_or_else(|| *peers.next().unwrap_or(&BAR_OF_PEERS));
        out.push(Series { name: label(server), colour, strong: own_colour(server).is_some(), values });
    }
    out
}

fn colour_of_bar(server: &Entrant) -> RGBColor {
    own_colour(server).unwrap_or(BAR_OF_PEERS)
}

/// Returns the fixed colour of a server that has one in every plot.
fn own_colour(server: &Entrant) -> Option<RGBColor> {
    if server.name == UWEBSOCKETS {
        return Some(UWEBSOCKETS_COLOUR);
    }
    let known: &[(&str, RGBColor)] = match server.group {
        Group::Limit => &LIMITS,
        Group::Ours => &OURS,
        Group::Peer => &[],
    };
    known.iter().find(|(name, _)| *name == server.name).map(|(_, colour)| *colour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::results::samples::results;
    use std::fs;

    #[test]
    fn each_case_gets_its_bars_and_each_server_its_name_in_them() {
        let results = results(&[
            ("echo-64", UWEBSOCKETS, Group::Peer, 100_000.0, 10.0, false),
            ("echo-64", "axum", Group::Peer, 90_000.0, 11.0, false),
            ("echo-64", "inline", Group::Ours, 120_000.0, 9.0, true),
            ("echo-512", "inline", Group::Ours, 110_000.0, 9.5, false),
        ]);
        let folder = std::env::temp_dir().join(format!("tidegate-plots-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let pictures = write_all(&results, &folder).unwrap();
        let files: Vec<&str> = pictures.iter().map(|picture| picture.file.as_str()).collect();
        assert_eq!(files, ["echo-64.svg", "echo-512.svg", "latency-echo-512.svg", "growth.svg"]);
        let bars = fs::read_to_string(folder.join("echo-64.svg")).unwrap();
        for text in ["axum", "uwebsockets", "Tidegate inline", "120,000 *", "64 B, 64 connections"] {
            assert!(bars.contains(text), "{text} in {bars}");
        }
        let lines = fs::read_to_string(folder.join("growth.svg")).unwrap();
        assert!(lines.contains("Tidegate inline") && !lines.contains("axum"), "one point makes no line");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn peers_have_lines_of_different_colours() {
        let names = ["a", "b", "c", "d", "e"];
        let lines: Vec<_> = names.iter().map(|name| ("echo-512", *name, Group::Peer, 10.0, 10.0, false)).collect();
        let lines = latency(&results(&lines), Case::named("echo-512").unwrap());
        for (at, one) in lines.series.iter().enumerate() {
            assert!(lines.series[..at].iter().all(|other| other.colour != one.colour));
        }
    }
}
