//! The report of a run: one line of JSON and one line for people.

use std::fmt::Display;
use std::time::Duration;

use crate::measure::Measured;

/// Client utilisation from which the client may be what limits the rate.
const SATURATED: f64 = 0.97;

/// Share of disturbed time from which the rate should not be quoted.
const DISTURBED: f64 = 0.03;

/// The numbers of a run and the details of its mode.
#[derive(Debug)]
pub struct Report {
    /// Mode of the load generator.
    pub mode: &'static str,
    /// Name of the unit that is counted, in the singular.
    pub unit: &'static str,
    /// Description of the run for people.
    title: String,
    /// Number of connections.
    pub connections: usize,
    /// The numbers common to all modes.
    pub measured: Measured,
    /// Further members of the JSON object: names and JSON values.
    details: Vec<(&'static str, String)>,
    /// Further remarks for people.
    notes: Vec<String>,
}

impl Report {
    /// Returns a report without details.
    #[must_use]
    pub fn new(mode: &'static str, unit: &'static str, title: String, connections: usize, measured: Measured) -> Self {
        Self { mode, unit, title, connections, measured, details: Vec::new(), notes: Vec::new() }
    }

    /// Adds a member to the JSON object. `value` must print as JSON.
    pub fn detail(&mut self, name: &'static str, value: impl Display) {
        self.details.push((name, value.to_string()));
    }

    /// Adds a remark for people.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Returns the messages, deliveries, requests or cycles per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.measured.units as f64 / self.measured.wall.as_secs_f64()
    }

    /// Returns the share of its core that the client used.
    #[must_use]
    pub fn client_utilisation(&self) -> f64 {
        self.measured.client.busy.as_secs_f64() / self.measured.wall.as_secs_f64()
    }

    /// Returns whether the client may be what limits the rate.
    #[must_use]
    pub fn is_client_bound(&self) -> bool {
        self.client_utilisation() >= SATURATED
    }

    /// Returns the number of cores that the server used.
    #[must_use]
    pub fn server_utilisation(&self) -> Option<f64> {
        self.measured.server.map(|server| server.busy.as_secs_f64() / self.measured.wall.as_secs_f64())
    }

    /// Returns the share of the time in which the client or the server was ready to run while other work occupied its
    /// core, whichever is larger. It is nearly 0 on a quiet machine.
    #[must_use]
    pub fn disturbance(&self) -> f64 {
        let server = self.measured.server.map_or(Duration::ZERO, |server| server.waited);
        server.max(self.measured.client.waited).as_secs_f64() / self.measured.wall.as_secs_f64()
    }

    /// Returns one JSON object without line breaks.
    #[must_use]
    pub fn json(&self) -> String {
        let optional = |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.4}"));
        let mut members = vec![
            ("mode", format!("\"{}\"", self.mode)),
            ("connections", self.connections.to_string()),
            ("seconds", format!("{:.3}", self.measured.wall.as_secs_f64())),
            ("rate_per_s", format!("{:.1}", self.rate())),
        ];
        for (name, share) in QUANTILES {
            members.push((name, format!("{:.1}", micros(self.measured.latency.quantile(share)))));
        }
        members.extend([
            ("max_us", format!("{:.1}", micros(self.measured.latency.max()))),
            ("client_cpu_us", format!("{:.4}", self.per_unit(self.measured.client.busy))),
            ("client_utilisation", format!("{:.3}", self.client_utilisation())),
            ("client_bound", self.is_client_bound().to_string()),
            ("server_cpu_us", optional(self.measured.server.map(|server| self.per_unit(server.busy)))),
            ("server_utilisation", optional(self.server_utilisation())),
            ("disturbance", format!("{:.3}", self.disturbance())),
        ]);
        let details = self.details.iter().map(|(name, value)| (*name, value.clone()));
        let members: Vec<String> =
            members.into_iter().chain(details).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    }

    /// Returns one line for people.
    #[must_use]
    pub fn human(&self) -> String {
        let mut line = format!("{}: {:.0} {}/s", self.title, self.rate(), plural(self.unit));
        for (name, share) in QUANTILES.iter().filter(|(name, _)| !OLD_NAMES.contains(name)) {
            let name = name.trim_end_matches("_us");
            line += &format!(", {name} {:.0}", micros(self.measured.latency.quantile(*share)));
        }
        line += &format!(", max {:.0} us", micros(self.measured.latency.max()));
        line += &format!("; client {:.3} us/{}", self.per_unit(self.measured.client.busy), self.unit);
        if let Some(server) = self.measured.server {
            line += &format!(", server {:.3} us/{}", self.per_unit(server.busy), self.unit);
        }
        for note in &self.notes {
            line += "; ";
            line += note;
        }
        line += &format!("; client busy {:.0} %", self.client_utilisation() * 100.0);
        if self.is_client_bound() {
            line += " (THE CLIENT MAY BE THE BOTTLENECK)";
        }
        if self.disturbance() >= DISTURBED {
            line += &format!("; DISTURBED: other work had a core {:.0} % of the time", self.disturbance() * 100.0);
        }
        line
    }

    /// Returns the microseconds of processor time per unit, or the total if there are no units.
    fn per_unit(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.measured.units.max(1) as f64
    }
}

/// Names and shares. The last two repeat p99.9 and p99.99 under older names.
const QUANTILES: [(&str, f64); 7] = [
    ("p50_us", 0.5),
    ("p90_us", 0.9),
    ("p99_us", 0.99),
    ("p999_us", 0.999),
    ("p9999_us", 0.9999),
    (OLD_NAMES[0], 0.999),
    (OLD_NAMES[1], 0.9999),
];

const OLD_NAMES: [&str; 2] = ["p99_9_us", "p99_99_us"];

/// Converts nanoseconds to microseconds.
#[must_use]
pub fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

fn plural(unit: &str) -> String {
    unit.strip_suffix('y').map_or_else(|| format!("{unit}s"), |stem| format!("{stem}ies"))
}

/// Returns the number under a name in a line written by [`Report::json`], or `None` if it is null or absent.
#[must_use]
pub fn number(json: &str, name: &str) -> Option<f64> {
    let (_, after) = json.split_once(&format!("\"{name}\":"))?;
    after.split([',', '}']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Times;
    use crate::histogram::Histogram;

    fn report(busy: Duration) -> Report {
        let waited = Duration::from_millis(20);
        let mut latency = Histogram::default();
        latency.record(100_000, 2_000);
        let measured = Measured {
            wall: Duration::from_secs(2),
            units: 2_000,
            client: Times { busy, waited },
            server: Some(Times { busy: Duration::from_secs(1), waited: 4 * waited }),
            latency,
        };
        Report::new("broadcast", "delivery", "a title".to_owned(), 64, measured)
    }

    #[test]
    fn json_reads_back() {
        let mut report = report(Duration::from_millis(500));
        report.detail("more", 7);
        let json = report.json();
        assert!(
            !json.contains('\n') && json.contains("\"mode\":\"broadcast\"") && json.contains("\"client_bound\":false")
        );
        let expected = [
            ("connections", 64.0),
            ("rate_per_s", 1_000.0),
            ("p9999_us", 100.0),
            ("p99_99_us", 100.0),
            ("client_cpu_us", 250.0),
            ("client_utilisation", 0.25),
            ("server_cpu_us", 500.0),
            ("server_utilisation", 0.5),
            ("disturbance", 0.04),
            ("more", 7.0),
        ];
        for (name, value) in expected {
            assert_eq!(number(&json, name), Some(value), "{name} in {json}");
        }
        assert_eq!(number(&json, "mode"), None);
        assert_eq!(number(&json, "nothing"), None);
    }

    #[test]
    fn a_saturated_client_and_a_disturbed_run_are_named() {
        let saturated = report(Duration::from_secs(2));
        assert!(saturated.human().contains("BOTTLENECK") && saturated.json().contains("\"client_bound\":true"));
        let mut quiet = report(Duration::from_secs(1));
        assert!(!quiet.human().contains("BOTTLENECK") && quiet.human().contains("DISTURBED"));
        quiet.measured.server = None;
        assert!(!quiet.human().contains("DISTURBED"));
    }

    #[test]
    fn people_read_plurals_and_notes() {
        let mut report = report(Duration::from_secs(1));
        report.note("a note".to_owned());
        let line = report.human();
        assert!(
            line.starts_with("a title: 1000 deliveries/s, p50 100, p90 100") && line.contains("; a note; client busy")
        );
        assert_eq!(plural("message"), "messages");
    }
}
