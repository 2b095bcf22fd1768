//! The conditions to state with any number: the machine, the versions, the options.
//!
//! Reads the system and never changes it. A value that cannot be read is "unknown"; nothing here fails.

use std::process::Command;
use std::time::SystemTime;
use std::{env, fs, thread};

use serde::{Deserialize, Serialize};

/// The workspace's manifest, for the release profile.
const MANIFEST: &str = include_str!("../../../Cargo.toml");

/// The conditions of results, as texts for people.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub struct Conditions {
    /// The measurements that the results come from, in the order in which they were joined.
    pub measurements: Vec<Measurement>,
    /// Name of the processor, number of cores, and whether they are virtual.
    pub processor: String,
    /// Memory of the machine.
    pub memory: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Version of the compiler.
    pub rustc: String,
    /// Profile and flags of the build.
    pub flags: String,
    /// `net.ipv4.tcp_congestion_control`. The load generator itself uses reno.
    pub congestion_control: String,
    /// Limit of open files of a process.
    pub open_files: String,
    /// Distance of near cores in ns, if it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near_ns: Option<f64>,
}

/// The conditions of one measurement that can differ from those of others it is joined with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// Start of the measurement.
    pub date: String,
    /// Version and commit of Tidegate.
    pub tidegate: String,
    /// Load averages before the first run, which show other work.
    pub load_average: String,
    /// Distances of the cores around the runs; empty if none was measured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cores: String,
    /// The command line.
    pub command: String,
}

/// The conditions as they are saved. In older files each text of joined measurements has all of theirs.
#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    measurements: Vec<Measurement>,
    #[serde(flatten)]
    joined: Option<Measurement>,
    processor: String,
    memory: String,
    kernel: String,
    rustc: String,
    flags: String,
    congestion_control: String,
    open_files: String,
    near_ns: Option<f64>,
}

/// What stands between the texts of joined measurements in older files, and between limits of open files that differ.
const SEPARATOR: &str = "; ";

impl From<Saved> for Conditions {
    fn from(saved: Saved) -> Self {
        let mut measurements = saved.measurements;
        measurements.extend(saved.joined.map(Measurement::separated).into_iter().flatten());
        let Saved { processor, memory, kernel, rustc, flags, congestion_control, open_files, near_ns, .. } = saved;
        Self { measurements, processor, memory, kernel, rustc, flags, congestion_control, open_files, near_ns }
    }
}

impl Measurement {
    /// Returns the measurements whose texts were joined. A text that was the same in all of them stands there once. If
    /// the texts do not fit together otherwise, they stay joined.
    fn separated(self) -> Vec<Self> {
        let split = |text: &str| text.split(SEPARATOR).map(str::to_owned).collect::<Vec<_>>();
        let texts = [&self.date, &self.tidegate, &self.load_average, &self.command].map(|text| split(text));
        let count = texts[0].len();
        if texts.iter().any(|text| ![1, count].contains(&text.len())) {
            return vec![self];
        }
        let one = |at: usize| {
            let [date, tidegate, load_average, command] =
                texts.each_ref().map(|text| text[if text.len() == 1 { 0 } else { at }].clone());
            Self { date, tidegate, load_average, cores: String::new(), command }
        };
        (0..count).map(one).collect()
    }
}

impl Conditions {
    /// Adds the conditions of a later measurement whose results are merged into this one.
    ///
    /// # Errors
    /// If the machine, the compiler or the flags differ; the error names the difference.
    pub(super) fn join(&mut self, later: Self) -> Result<(), String> {
        let same = [
            ("processor", &self.processor, &later.processor),
            ("memory", &self.memory, &later.memory),
            ("kernel", &self.kernel, &later.kernel),
            ("compiler", &self.rustc, &later.rustc),
            ("flags", &self.flags, &later.flags),
            ("congestion control", &self.congestion_control, &later.congestion_control),
        ];
        if let Some((what, before, now)) = same.into_iter().find(|(_, before, now)| before != now) {
            return Err(format!(
                "cannot join measurements: the {what} was {before:?} and is {now:?}, but must be the same"
            ));
        }
        let known = |limit: &str| self.open_files.split(SEPARATOR).any(|known| known == limit);
        let limits: Vec<&str> = later.open_files.split(SEPARATOR).filter(|limit| !known(limit)).collect();
        for limit in limits {
            self.open_files = format!("{}{SEPARATOR}{limit}", self.open_files);
        }
        self.measurements.extend(later.measurements);
        let given = [self.near_ns, later.near_ns].into_iter().flatten();
        self.near_ns = given.reduce(f64::min);
        Ok(())
    }

    /// Returns the conditions of this machine now.
    #[must_use]
    pub fn here() -> Self {
        let measurement = Measurement {
            date: httpdate::fmt_http_date(SystemTime::now()),
            tidegate: tidegate(),
            load_average: file("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            cores: String::new(),
            command: command(env::args()),
        };
        Self {
            measurements: vec![measurement],
            processor: processor(),
            memory: memory(),
            kernel: file("/proc/sys/kernel/osrelease"),
            rustc: output("rustc", &["--version"]),
            flags: flags(),
            congestion_control: file("/proc/sys/net/ipv4/tcp_congestion_control"),
            open_files: open_files(),
            near_ns: None,
        }
    }

    /// Returns what all measurements have in common: names and values in the order to print them.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let lines = [
            ("Processor", &self.processor),
            ("Memory", &self.memory),
            ("Kernel", &self.kernel),
            ("Compiler", &self.rustc),
            ("Flags, for every server", &self.flags),
            ("Congestion control", &self.congestion_control),
            ("Open files per process", &self.open_files),
        ];
        let near = self.near_ns.map(|near_ns| ("Near cores, as given", format!("{near_ns:.0} ns")));
        lines.into_iter().map(|(name, value)| (name, value.clone())).chain(near).collect()
    }
}

fn tidegate() -> String {
    let commit = output("git", &["rev-parse", "--short=10", "HEAD"]);
    let changes = output("git", &["status", "--porcelain", "--untracked-files=no"]);
    let changed = if changes.is_empty() || changes == UNKNOWN { "" } else { ", with changes" };
    format!("{} at {commit}{changed}", env!("CARGO_PKG_VERSION"))
}

fn processor() -> String {
    let text = file("/proc/cpuinfo");
    let name = field(&text, "model name").unwrap_or(UNKNOWN);
    let virtual_ = field(&text, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!("{name}, {cores} {} cores", if virtual_ { "virtual" } else { "real" })
}

fn memory() -> String {
    let text = file("/proc/meminfo");
    let kibibytes = field(&text, "MemTotal").and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    kibibytes.map_or(UNKNOWN.into(), |kibibytes| format!("{:.1} GiB", kibibytes / 1_048_576.0))
}

fn open_files() -> String {
    let text = file("/proc/self/limits");
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_ascii_whitespace().nth(1)).unwrap_or(UNKNOWN).to_owned()
}

/// Returns the release profile in the manifest this was built from, and the flags from the environment.
fn flags() -> String {
    let (_, after) = MANIFEST.split_once("[profile.release]\n").unwrap_or_default();
    let settings: Vec<&str> = after.lines().take_while(|line| !line.is_empty() && !line.starts_with('[')).collect();
    let more = env::var("RUSTFLAGS").unwrap_or_default();
    let target = if more.is_empty() { "no RUSTFLAGS".to_owned() } else { format!("RUSTFLAGS {more}") };
    format!("release profile, {}; {target}; the system's allocator", settings.join(", "))
}

/// Returns the command line without the folders of this machine.
fn command(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.map(|word| without_folders(&word)).collect();
    words.join(" ")
}

/// Returns the text with every absolute path of several components cut down to its last one.
#[must_use]
pub fn without_folders(text: &str) -> String {
    let split = |c: char| c == ' ' || c == '=' || c == '"' || c == '\'';
    let short = |word: &str| match word.rsplit_once('/') {
        Some((folder, name)) if folder.starts_with('/') => name.to_owned(),
        _ => word.to_owned(),
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(split) {
        out += &short(&rest[..at]);
        out += &rest[at..=at];
        rest = &rest[at + 1..];
    }
    out + &short(rest)
}

const UNKNOWN: &str = "unknown";

fn file(path: &str) -> String {
    fs::read_to_string(path).map_or(UNKNOWN.into(), |text| text.trim().to_owned())
}

fn output(program: &str, words: &[&str]) -> String {
    match Command::new(program).args(words).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => UNKNOWN.into(),
    }
}

/// Returns the value after `name` and a colon in a file of `/proc`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_a_value_on_one_line() {
        let here = Conditions::here();
        let Measurement { date, tidegate, load_average, command, .. } = &here.measurements[0];
        let texts = [date, tidegate, load_average, command].map(|text| ("of the measurement", text.clone()));
        for (name, value) in here.lines().into_iter().chain(texts) {
            assert!(!value.is_empty() && !value.contains('\n'), "{name}: {value:?}");
        }
        assert!(flags().contains("lto"), "{}", flags());
    }

    fn saved(texts: &str) -> Conditions {
        let common = r#""processor":"p","memory":"m","kernel":"k","rustc":"r","flags":"f","congestion_control":"c""#;
        serde_json::from_str(&format!(r#"{{{texts},{common},"open_files":"9"}}"#)).unwrap()
    }

    #[test]
    fn older_files_have_the_texts_of_all_measurements_in_one() {
        let mut joined = saved(r#""date":"d; e","tidegate":"1 at a","load_average":"1 2; 3 4","command":"b --x; b""#);
        let measurement = |date: &str, load_average: &str, command: &str| Measurement {
            date: date.into(),
            tidegate: "1 at a".into(),
            load_average: load_average.into(),
            cores: String::new(),
            command: command.into(),
        };
        assert_eq!(joined.measurements, [measurement("d", "1 2", "b --x"), measurement("e", "3 4", "b")]);
        let again: Conditions = serde_json::from_str(&serde_json::to_string(&joined).unwrap()).unwrap();
        assert_eq!(again.measurements, joined.measurements);
        let later = saved(r#""date":"x; y; z","tidegate":"1; 2","load_average":"1","command":"b""#);
        assert_eq!(later.measurements.len(), 1, "it cannot be told which belong together");
        joined.join(Conditions { open_files: "10".into(), ..later }).unwrap();
        assert_eq!((joined.measurements.len(), joined.open_files.as_str()), (3, "9; 10"));
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 1\nmodel name\t: A Core\nflags : fpu hypervisor\n";
        assert_eq!(field(text, "model name"), Some("A Core"));
        assert_eq!(field(text, "model"), Some("1"));
        assert_eq!(field(text, "absent"), None);
    }

    #[test]
    fn folders_of_the_machine_are_left_out() {
        let typed =
            ["/opt/a/b/bench", "--server", "inline", "--uwebsockets=/opt/x/uws --port {addr}", "target/release/x"];
        let shown = command(typed.iter().map(|word| (*word).to_owned()));
        assert_eq!(shown, "bench --server inline --uwebsockets=uws --port {addr} target/release/x");
        let other = "GET /ws 101, 3/4, \"/plaintext\"";
        assert_eq!(without_folders(other), other);
    }
}
