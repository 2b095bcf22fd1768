//! The subjects of the micro benches, both for wall time (`main.rs`) and for instructions (`instructions.rs`): single
//! parts of Tidegate with their input, without a system below them.

pub mod deflate;
pub mod engine;
pub mod http;
pub mod websocket;

/// A step that can be repeated with the same work each time.
pub trait Subject {
    /// Runs the step. Returns the amount of work done, so the compiler cannot leave any of it out.
    fn run(&mut self) -> usize;

    /// Returns the correct result of every [`run`](Subject::run).
    fn expected(&self) -> usize;
}

/// Returns `subject` after three steps, which fill the caches of the thread and are checked.
pub fn warmed<S: Subject>(mut subject: S) -> S {
    for _ in 0..3 {
        assert_eq!(subject.run(), subject.expected(), "{} did not do its work", std::any::type_name::<S>());
    }
    subject
}
