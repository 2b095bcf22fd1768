//! What a run measured, as one line of JSON and one line for people.

use std::time::Duration;

use crate::config::Config;
use crate::cpu::Times;
use crate::histogram::Histogram;

/// From this share of its core on, the client may be what limits the rate.
const SATURATED: f64 = 0.97;

/// From this share of the time on, other work on the cores has spoilt the run.
const DISTURBED: f64 = 0.03;

/// The measured part of a run.
#[derive(Debug)]
pub struct Report {
    /// What was run.
    pub config: Config,
    /// How long was measured.
    pub wall: Duration,
    /// Messages answered in that time.
    pub messages: u64,
    /// Messages of the schedule that were due and not even sent at the end.
    pub overdue: u64,
    /// What the client's thread got of the processor.
    pub client: Times,
    /// What the server's threads got, when its process was named.
    pub server: Option<Times>,
    /// Round trips in nanoseconds; in an open loop from the schedule.
    pub latency: Histogram,
    /// How late the open loop sent, in nanoseconds.
    pub lag: Histogram,
}

impl Report {
    /// Messages answered a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.wall.as_secs_f64()
    }

    /// The share of its core the client used.
    #[must_use]
    pub fn client_utilisation(&self) -> f64 {
        self.client.busy.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// Cores the server used.
    #[must_use]
    pub fn server_utilisation(&self) -> Option<f64> {
        self.server.map(|server| server.busy.as_secs_f64() / self.wall.as_secs_f64())
    }

    /// The share of the time in which the client or the server was ready and something else had its core, whichever is
    /// larger. A quiet machine gives nearly 0.
    #[must_use]
    pub fn disturbance(&self) -> f64 {
        let waited = self.server.map_or(Duration::ZERO, |server| server.waited).max(self.client.waited);
        waited.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// One JSON object without line breaks.
    #[must_use]
    pub fn json(&self) -> String {
        let config = &self.config;
        let rate = config.rate.map_or("null".to_owned(), |rate| format!("{rate:.1}"));
        let quantiles: Vec<String> = QUANTILES
            .iter()
            .map(|(name, share)| format!("\"{name}_us\":{:.1}", micros(self.latency.quantile(*share))))
            .collect();
        let optional = |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.4}"));
        format!(
            "{{\"protocol\":\"{}\",\"connections\":{},\"depth\":{},\"sliding\":{},\"size\":{},\"text\":{},\"rate\":{rate},\
             \"seconds\":{:.3},\"messages\":{},\"messages_per_s\":{:.0},{},\"max_us\":{:.1},\
             \"client_cpu_us\":{:.4},\"client_utilisation\":{:.3},\"server_cpu_us\":{},\"server_utilisation\":{},\
             \"disturbance\":{:.3},\"overdue\":{},\"lag_p99_us\":{:.1}}}",
            config.protocol,
            config.connections,
            config.depth,
            config.sliding,
            config.payload_bytes,
            config.text,
            self.wall.as_secs_f64(),
            self.messages,
            self.rate(),
            quantiles.join(","),
            micros(self.latency.max()),
            self.per_message(self.client.busy),
            self.client_utilisation(),
            optional(self.server.map(|server| self.per_message(server.busy))),
            optional(self.server_utilisation()),
            self.disturbance(),
            self.overdue,
            micros(self.lag.quantile(0.99)),
        )
    }

    /// One line for people.
    #[must_use]
    pub fn human(&self) -> String {
        let config = &self.config;
        let mut line = format!(
            "{} {} x {} B depth {}: {:.0} messages/s",
            config.protocol,
            config.connections,
            config.payload_bytes,
            config.depth,
            self.rate()
        );
        for (name, share) in QUANTILES {
            line += &format!(", {name} {:.0}", micros(self.latency.quantile(share)));
        }
        line += &format!(", max {:.0} us", micros(self.latency.max()));
        line += &format!("; client {:.3} us/message", self.per_message(self.client.busy));
        if let Some(server) = self.server {
            line += &format!(", server {:.3} us/message", self.per_message(server.busy));
        }
        if config.rate.is_some() {
            line += &format!("; sent late p99 {:.0} us, {} overdue", micros(self.lag.quantile(0.99)), self.overdue);
        }
        let utilisation = self.client_utilisation();
        line += &format!("; client busy {:.0} %", utilisation * 100.0);
        if utilisation >= SATURATED {
            line += " (THE CLIENT MAY BE THE BOTTLENECK)";
        }
        if self.disturbance() >= DISTURBED {
            line += &format!("; DISTURBED: other work had a core {:.0} % of the time", self.disturbance() * 100.0);
        }
        line
    }

    /// Microseconds of processor time for each message; 0 without messages.
    fn per_message(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.messages.max(1) as f64
    }
}

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

/// The number under a name in a line written by [`Report::json`]; `None` for null or an absent name.
#[must_use]
pub fn number(json: &str, name: &str) -> Option<f64> {
    let (_, after) = json.split_once(&format!("\"{name}\":"))?;
    after.split([',', '}']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Protocol;

    fn report(busy: Duration) -> Report {
        let waited = Duration::from_millis(20);
        let mut latency = Histogram::default();
        latency.record(100_000, 2_000);
        Report {
            config: Config {
                address: "127.0.0.1:80".parse().unwrap(),
                protocol: Protocol::WebSocket,
                path: "/ws".into(),
                connections: 64,
                depth: 2,
                sliding: false,
                rate: None,
                payload_bytes: 64,
                text: false,
                stall: Duration::from_secs(10),
                warmup: Duration::ZERO,
                measured: Duration::from_secs(2),
                server_pid: None,
            },
            wall: Duration::from_secs(2),
            messages: 2_000,
            overdue: 0,
            client: Times { busy, waited },
            server: Some(Times { busy: Duration::from_secs(1), waited: 4 * waited }),
            latency,
            lag: Histogram::default(),
        }
    }

    #[test]
    fn json_reads_back() {
        let json = report(Duration::from_millis(500)).json();
        assert!(!json.contains('\n'));
        let expected = [
            ("connections", 64.0),
            ("messages_per_s", 1_000.0),
            ("p99_99_us", 100.0),
            ("client_cpu_us", 250.0),
            ("client_utilisation", 0.25),
            ("server_cpu_us", 500.0),
            ("server_utilisation", 0.5),
            ("disturbance", 0.04),
        ];
        for (name, value) in expected {
            assert_eq!(number(&json, name), Some(value), "{name} in {json}");
        }
        assert_eq!(number(&json, "rate"), None);
        assert_eq!(number(&json, "nothing"), None);
    }

    #[test]
    fn a_saturated_client_and_a_disturbed_run_are_named() {
        assert!(report(Duration::from_secs(2)).human().contains("BOTTLENECK"));
        let mut quiet = report(Duration::from_secs(1));
        assert!(!quiet.human().contains("BOTTLENECK") && quiet.human().contains("DISTURBED"));
        quiet.server = None;
        assert!(!quiet.human().contains("DISTURBED"));
    }
}
