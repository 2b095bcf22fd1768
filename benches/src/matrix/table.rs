//! Tables of results: one per case, as text for a terminal and as Markdown.
//!
//! Every figure is computed from the results. A missing one is a dash, and a server without figures shows the reason
//! instead.

use std::fmt::Write as _;

use crate::matrix::case::{Case, GROWTH, Kind};
use crate::matrix::distance::Distance;
use crate::matrix::results::{Cell, Entrant, Figures, Group, RAW, Results, UWEBSOCKETS};

/// Headings and rows. The last cell of a row that is shorter than the headings is a remark that spans the remaining
/// columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Whether the columns after the first hold left-aligned words instead of right-aligned numbers.
    words: bool,
}

impl Table {
    /// Returns a table of numbers without rows.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
        Self { headings, rows: Vec::new(), words: false }
    }

    /// Returns a table of words without rows.
    #[must_use]
    pub fn of_words(headings: &[&str]) -> Self {
        Self { words: true, ..Self::new(headings) }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Formats the table for a terminal: columns separated by spaces, the first left-aligned.
    #[must_use]
    pub fn text(&self) -> String {
        let full = self.rows.iter().filter(|row| row.len() == self.headings.len());
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|at| full.clone().chain([&self.headings]).map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        let first = widths[0];
        let mut out = String::new();
        for row in [&self.headings].into_iter().chain(&self.rows) {
            let _ = write!(out, "  {:<first$}", row[0]);
            for (cell, width) in row[1..].iter().zip(&widths[1..]) {
                let remark = row.len() < self.headings.len();
                let _ = if remark {
                    write!(out, "  {cell}")
                } else if self.words {
                    write!(out, "  {cell:<width$}")
                } else {
                    write!(out, "  {cell:>width$}")
                };
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out
    }

    /// Formats the table as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("| {} |\n|---|", self.headings.join(" | "));
        out += &if self.words { "---|" } else { "---:|" }.repeat(self.headings.len() - 1);
        out.push('\n');
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(out, "| {} |{}", cells.join(" | "), " |".repeat(self.headings.len() - row.len()));
        }
        out
    }
}

/// Returns the table of a case: rates, ratios, costs and latencies, or memory for idle connections.
#[must_use]
pub fn of_case(results: &Results, case: &Case) -> Table {
    if case.measures_memory() {
        return if case.kind.is_idle() { idle(results, case) } else { memory_of_downloads(results, case) };
    }
    if case.kind == Kind::Client {
        return clients(results, case);
    }
    let with_limit = case.has_limit();
    let unit = format!("{}/s", case.kind.unit());
    let mut headings = vec!["", &unit];
    headings.extend(case.deflate.map(|_| "ratio"));
    headings.extend(with_limit.then_some("× raw"));
    headings.extend(["× uWS", "server µs", "CPU × uWS"]);
    headings.extend(match case.kind {
        Kind::Broadcast => ["last p50 µs", "last p99 µs", "last p99.9 µs"],
        _ => ["p50 µs", "p99 µs", "p99.9 µs"],
    });
    headings.extend(["client busy", "disturbed"]);
    let line_up = results.line_up(case);
    let with_cores = has_distances(&line_up);
    headings.extend(with_cores.then_some(CORES));
    let mut table = Table::new(&headings);
    let raw = results.figures(case, RAW);
    let uws = results.figures(case, UWEBSOCKETS);
    for (server, cell) in line_up {
        let figures = match cell {
            Cell::Best(figures, _) => figures,
            Cell::Failed(_) | Cell::Cannot(_) => continue,
        };
        let mut row = vec![label(server), grouped(figures.rate)];
        row.extend(case.deflate.map(|_| number(figures.ratio, significant)));
        if with_limit {
            row.push(compared(&figures, raw.as_ref(), |figures| Some(figures.rate)));
        }
        row.push(compared(&figures, uws.as_ref(), |figures| Some(figures.rate)));
        row.push(number(figures.server_cpu_us, significant));
        row.push(compared(&figures, uws.as_ref(), |figures| figures.server_cpu_us));
        let [p50, _, p99, p999, ..] = figures.latency_us;
        row.extend([p50, p99, p999].map(|time| number(time, significant)));
        row.extend(busy(&figures));
        row.extend(with_cores.then(|| cores(&figures)));
        table.push(row);
    }
    far_cores(results, case, &mut table);
    without_figures(results, case, &mut table);
    table
}

/// Heading of the distance of the cores.
const CORES: &str = "cores ns";

/// Returns whether the distance of the cores was measured in a run that counts.
fn has_distances(line_up: &[(&Entrant, Cell)]) -> bool {
    line_up.iter().any(|(_, cell)| cell.figures().is_some_and(|figures| figures.cores_ns.is_some()))
}

/// Formats the distance of the cores, marked if it is far.
fn cores(figures: &Figures) -> String {
    number(figures.cores_ns, |nanos| format!("{nanos:.0}{}", if figures.is_far { " far" } else { "" }))
}

/// Formats one figure of a server as a multiple of another's, marked if only one of them had near cores.
fn compared(ours: &Figures, theirs: Option<&Figures>, value: impl Fn(&Figures) -> Option<f64>) -> String {
    let text = ratio(value(ours), theirs.and_then(value));
    let differs = theirs.is_some_and(|theirs| theirs.is_far != ours.is_far);
    if differs && text != "-" { format!("{text} far") } else { text }
}

/// Adds a row that says which servers had far cores in all their runs.
fn far_cores(results: &Results, case: &Case, table: &mut Table) {
    let text = match results.distance(case) {
        Distance::Near => return,
        Distance::Far => "all runs had far cores: ratios compare those".to_owned(),
        Distance::Mixed(servers) => {
            let servers = results.servers.iter().filter(|server| servers.contains(&server.name)).map(label);
            let servers: Vec<String> = servers.collect();
            format!("no run with near cores: {}. Ratios between far and near ones are marked", servers.join(", "))
        }
    };
    table.rows.push(vec!["far cores".into(), text]);
}

/// Returns the table of clients: rates, and the time of a client for each message.
fn clients(results: &Results, case: &Case) -> Table {
    let mut headings = vec!["", "messages/s", "client µs", "server busy", "disturbed"];
    let line_up = results.line_up(case);
    let with_cores = has_distances(&line_up);
    headings.extend(with_cores.then_some(CORES));
    let mut table = Table::new(&headings);
    for (client, cell) in line_up {
        if let Cell::Best(figures, _) = cell {
            let mut row = vec![label(client), grouped(figures.rate), number(figures.server_cpu_us, significant)];
            row.extend(busy(&figures));
            row.extend(with_cores.then(|| cores(&figures)));
            table.push(row);
        }
    }
    far_cores(results, case, &mut table);
    without_figures(results, case, &mut table);
    table
}

/// Adds a row for each reason not to have figures, with the servers it applies to.
fn without_figures(results: &Results, case: &Case, table: &mut Table) {
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (server, cell) in results.line_up(case) {
        let reason = match cell {
            Cell::Best(..) => continue,
            Cell::Failed(how) => format!("failed: {how}"),
            Cell::Cannot(why) => format!("cannot: {why}"),
        };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, servers)) => servers.push(label(server)),
            None => reasons.push((reason, vec![label(server)])),
        }
    }
    table.rows.extend(reasons.into_iter().map(|(reason, servers)| vec![servers.join(", "), reason]));
}

/// Returns the table of row 9: server time per message by connections, and its growth from the fewest.
#[must_use]
pub fn growth(results: &Results) -> Table {
    let cases: Vec<&Case> = GROWTH.iter().filter_map(|id| Case::named(id)).collect();
    let mut headings: Vec<String> = vec![String::new()];
    headings.extend(cases.iter().map(|case| format!("µs at {}", grouped(f64::from(case.connections)))));
    headings.extend(cases[1..].iter().map(|case| format!("growth to {}", grouped(f64::from(case.connections)))));
    let mut table = Table { headings, rows: Vec::new(), words: false };
    for server in &results.servers {
        let figures: Vec<Option<Figures>> = cases.iter().map(|case| results.figures(case, &server.name)).collect();
        let cost = |figures: &Figures| figures.server_cpu_us;
        let costs = figures.iter().map(|figures| figures.as_ref().and_then(cost));
        if costs.clone().all(|cost| cost.is_none()) {
            continue;
        }
        let mut row = vec![label(server)];
        row.extend(costs.map(|cost| number(cost, significant)));
        let growth =
            |many: &Option<Figures>| many.as_ref().map_or("-".into(), |many| compared(many, figures[0].as_ref(), cost));
        row.extend(figures[1..].iter().map(growth));
        table.push(row);
    }
    table
}

fn idle(results: &Results, case: &Case) -> Table {
    let mut table = Table::new(&["", "user bytes each", "kernel bytes each, both ends"]);
    for (server, cell) in results.line_up(case) {
        if let Cell::Best(figures, _) = cell {
            let bytes = [figures.user_bytes, figures.kernel_bytes].map(|bytes| number(bytes, grouped));
            table.push([label(server)].into_iter().chain(bytes).collect());
        }
    }
    without_figures(results, case, &mut table);
    table
}

fn memory_of_downloads(results: &Results, case: &Case) -> Table {
    let mut table = Table::new(&["", "server memory at most"]);
    for (server, cell) in results.line_up(case) {
        if let Cell::Best(figures, _) = cell {
            table.push(vec![label(server), number(figures.peak_bytes, mebibytes)]);
        }
    }
    without_figures(results, case, &mut table);
    table
}

/// Formats the utilisation of the other end, marked if that may be the limit, and the disturbance, marked if the run
/// was disturbed.
fn busy(figures: &Figures) -> [String; 2] {
    let percent = |share: Option<f64>, marked: bool| {
        number(share, |share| format!("{:.0} %{}", share * 100.0, if marked { " *" } else { "" }))
    };
    let disturbed = figures.is_disturbed();
    [percent(figures.client_utilisation, figures.client_bound), percent(figures.disturbance, disturbed)]
}

/// Returns the name of a server in tables, with the project's name for Tidegate.
#[must_use]
pub fn label(server: &Entrant) -> String {
    if server.group == Group::Ours { format!("Tidegate {}", server.name) } else { server.name.clone() }
}

/// Formats `value`, or a dash.
#[must_use]
pub fn number(value: Option<f64>, format: impl Fn(f64) -> String) -> String {
    value.map_or("-".into(), format)
}

/// Formats `a / b` with two decimals, or a dash.
#[must_use]
pub fn ratio(a: Option<f64>, b: Option<f64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if b > 0.0 => format!("{:.2}", a / b),
        _ => "-".into(),
    }
}

/// Formats three significant digits, or all digits of larger numbers.
#[must_use]
pub fn significant(value: f64) -> String {
    match value.abs() {
        size if size < 0.995 => format!("{value:.3}"),
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// Formats bytes in MiB.
#[must_use]
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1024 * 1024))
}

/// Formats a whole number in groups of three digits.
#[must_use]
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value <= -0.5 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::results::Outcome;
    use crate::matrix::results::samples::{add, results};

    #[test]
    fn ratios_are_to_the_limit_and_to_uwebsockets() {
        let mut results = results(&[
            ("echo-64", RAW, Group::Limit, 200_000.0, 4.0, true),
            ("echo-64", UWEBSOCKETS, Group::Peer, 100_000.0, 8.0, false),
            ("echo-64", "inline", Group::Ours, 150_000.0, 6.0, false),
        ]);
        for name in ["none", "neither"] {
            add(&mut results, "echo-64", name, Group::Peer, Outcome::Cannot("HTTP | only".into()));
        }
        let table = of_case(&results, Case::named("echo-64").unwrap());
        assert_eq!(table.rows[0][..6], ["raw-uring", "200,000", "1.00", "2.00", "4.00", "0.50"]);
        assert_eq!(table.rows[1][..6], ["Tidegate inline", "150,000", "0.75", "1.50", "6.00", "0.75"]);
        assert_eq!(table.rows[3], ["none, neither", "cannot: HTTP | only"]);
        assert!(table.rows[0].contains(&"50 % *".to_owned()) && table.rows[1].contains(&"50 %".to_owned()));
        let markdown = table.markdown();
        assert!(markdown.contains("| none, neither | cannot: HTTP \\| only | | | | |"), "{markdown}");
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        let counts: Vec<usize> = markdown.lines().map(bars).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}\n{markdown}");
    }

    #[test]
    fn ratios_to_missing_servers_are_dashes() {
        let results = results(&[("http", "inline", Group::Ours, 150_000.0, 6.0, false)]);
        let table = of_case(&results, Case::named("http").unwrap());
        assert_eq!(table.rows[0][..5], ["Tidegate inline", "150,000", "-", "6.00", "-"]);
    }

    #[test]
    fn the_compression_ratio_stands_beside_the_rate() {
        let mut results = results(&[]);
        let report = serde_json::json!({"rate_per_s": 90_000.0, "ratio": 2.751});
        let outcome = Outcome::Measured(report.as_object().unwrap().clone());
        add(&mut results, "deflate-1", "inline", Group::Ours, outcome);
        let table = of_case(&results, Case::named("deflate-1").unwrap());
        assert_eq!(
            (&table.headings[1..4], &table.rows[0][1..4]),
            (&["messages/s", "ratio", "× uWS"].map(str::to_owned)[..], &["90,000", "2.75", "-"].map(str::to_owned)[..],)
        );
    }

    #[test]
    fn far_cores_are_shown_and_ratios_across_them_marked() {
        let mut results = results(&[
            ("echo-64", RAW, Group::Limit, 200_000.0, 4.0, true),
            ("echo-64", UWEBSOCKETS, Group::Peer, 100_000.0, 8.0, false),
            ("echo-64", "inline", Group::Ours, 150_000.0, 6.0, false),
        ]);
        let case = Case::named("echo-64").unwrap();
        assert!(!of_case(&results, case).headings.contains(&CORES.to_owned()));
        for (run, cores_ns) in results.runs.iter_mut().zip([[55.0, 54.0], [55.0, 321.0], [55.0, 56.0]]) {
            run.cores_ns = Some(cores_ns);
        }
        let table = of_case(&results, case);
        assert_eq!(table.headings.last().unwrap(), CORES);
        let last: Vec<&str> = table.rows[..3].iter().map(|row| row.last().unwrap().as_str()).collect();
        assert_eq!(last, ["55", "56", "321 far"]);
        assert_eq!(table.rows[1][2..6], ["0.75", "1.50 far", "6.00", "0.75 far"]);
        assert_eq!(table.rows[2][2..6], ["0.50 far", "1.00", "8.00", "1.00"]);
        let remark = "no run with near cores: uwebsockets. Ratios between far and near ones are marked";
        assert_eq!(table.rows[3], ["far cores", remark]);
        for run in &mut results.runs {
            run.cores_ns = Some([321.0, 321.0]);
        }
        results.conditions.near_ns = Some(55.0);
        let table = of_case(&results, case);
        assert_eq!(table.rows[1][2..4], ["0.75", "1.50"]);
        assert_eq!(table.rows[3], ["far cores", "all runs had far cores: ratios compare those"]);
    }

    #[test]
    fn growth_is_from_the_fewest_connections() {
        let results = results(&[
            ("echo-64", "inline", Group::Ours, 1.0, 4.0, false),
            ("echo-4096", "inline", Group::Ours, 1.0, 6.0, false),
        ]);
        assert_eq!(growth(&results).rows, [["Tidegate inline", "4.00", "-", "6.00", "-", "-", "1.50", "-"]]);
    }

    #[test]
    fn texts_line_up() {
        let mut table = Table::new(&["", "a", "bb"]);
        table.push(vec!["long name".into(), "1".into(), "22".into()]);
        table.push(vec!["x".into(), "a remark of any length".into()]);
        table.push(vec!["many, more, names".into(), "none".into()]);
        let lines = [
            "             a  bb",
            "  long name  1  22",
            "  x          a remark of any length",
            "  many, more, names  none",
            "",
        ];
        assert_eq!(table.text(), lines.join("\n"));
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0.0, 999.4, 1_000.0, 1_234_567.8, -1_500.0].map(grouped),
            ["0", "999", "1,000", "1,234,568", "-1,500"]
        );
        assert_eq!([0.24, 3.6, 56.04, 1_234.0, 9.999].map(significant), ["0.240", "3.60", "56.0", "1,234", "10.0"]);
    }
}
