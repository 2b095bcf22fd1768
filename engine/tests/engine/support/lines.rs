//! The log lines of the engine.

use std::sync::{Mutex, Once};

use log::{Level, Log, Metadata, Record};

/// Collects the log lines of the engine.
pub struct Lines(Mutex<Vec<(Level, String)>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Lines {
    /// Collects lines from now on, of all tests in this process.
    pub fn collect() -> &'static Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            log::set_logger(&LINES).unwrap();
            log::set_max_level(log::LevelFilter::Info);
        });
        &LINES
    }

    /// Returns the lines so far.
    pub fn all(&self) -> Vec<(Level, String)> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the lines so far that contain `word`.
    pub fn with(&self, word: &str) -> Vec<(Level, String)> {
        self.all().into_iter().filter(|(_, line)| line.contains(word)).collect()
    }

    /// Returns the lines so far, and removes them.
    pub fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Log for Lines {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.target().starts_with("tidegate") {
            self.0.lock().unwrap().push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}
