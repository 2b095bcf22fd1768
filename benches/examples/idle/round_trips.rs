//! Round trips of active connections, in several windows of time.
//!
//! Other work on the machine makes single windows slower, and so do cores that are far from each other. The median of
//! the windows leaves them out as long as they are the fewer ones, and the spread shows that they were there.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tidegate_benches::{cores, outln};

use crate::Outcome;
use crate::client::Client;

/// How often and for how long round trips are measured.
#[derive(Clone, Copy)]
pub struct Windows {
    pub count: usize,
    pub time: Duration,
}

/// The round trips of one window.
#[derive(Clone, Copy)]
pub struct Window {
    count: u64,
    time: Duration,
    p50: Duration,
    p99: Duration,
    max: Duration,
}

/// What the windows have in common: the median of each figure.
pub struct Summary {
    pub p99: Duration,
    pub per_s: f64,
}

impl Windows {
    /// Measures the round trips of the first connections. Prints each window and a summary.
    pub fn measure(self, client: &mut Client, active: usize, place: &str) -> Outcome<Summary> {
        client.warm_up(active)?;
        let time = self.time.as_secs_f64();
        outln!("round trips of {active} active WebSockets {place}, {} windows of {time} s:", self.count);
        let mut windows = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let distance = distance();
            let window = client.active(active, self.time)?;
            outln!("  {window}{distance}");
            windows.push(window);
        }
        let of = |part: fn(&Window) -> Duration| sorted(windows.iter().map(part).collect(), Duration::cmp);
        let (p50, p99) = (of(|window| window.p50), of(|window| window.p99));
        let per_s = sorted(windows.iter().map(Window::per_s).collect(), f64::total_cmp);
        let [p50, median] = [&p50, &p99].map(|times| times[times.len() / 2]);
        let (least, most) = (p99[0], p99[p99.len() - 1]);
        let per_s = per_s[per_s.len() / 2];
        outln!("  medians: {per_s:.0} per second, p50 {p50:.1?}, p99 {median:.1?} (from {least:.1?} to {most:.1?})");
        Ok(Summary { p99: median, per_s })
    }
}

/// Returns the distance of the first two cores of this process, or nothing where it cannot be measured.
fn distance() -> String {
    let cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    let [one, other, ..] = cores[..] else { return String::new() };
    cores::distance_ns([one, other]).map_or_else(|_| String::new(), |nanos| format!(", cores {nanos:.0} ns"))
}

fn sorted<T>(mut values: Vec<T>, order: fn(&T, &T) -> std::cmp::Ordering) -> Vec<T> {
    values.sort_by(order);
    values
}

impl Window {
    fn per_s(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }
}

impl FromStr for Window {
    type Err = Box<dyn std::error::Error>;

    fn from_str(text: &str) -> Outcome<Self> {
        let numbers = text.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [count, times @ ..] = &numbers[..] else { return Err("an answer without numbers".into()) };
        let [time, p50, p99, max] = times else { return Err("an answer without times".into()) };
        let [time, p50, p99, max] = [*time, *p50, *p99, *max].map(Duration::from_nanos);
        Ok(Self { count: *count, time, p50, p99, max })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, time, p50, p99, max } = self;
        write!(f, "{count} in {:.2} s, {:.0} per second, ", time.as_secs_f64(), self.per_s())?;
        write!(f, "p50 {p50:.1?}, p99 {p99:.1?}, longest {max:.1?}")
    }
}
