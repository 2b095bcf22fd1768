//! What the micro benches measure, once for wall time (`main.rs`) and for instructions (`instructions.rs`): single parts of
//! Tidegate with their input, no system below them.

pub mod deflate;
pub mod engine;
pub mod http;
pub mod websocket;

/// A step that can be taken again and again, each time with the same work to do.
pub trait Subject {
    /// Takes the step. Says how much was done, so that nothing of it can be left out.
    fn run(&mut self) -> usize;

    /// What every [`run`](Subject::run) says if it does what it is to do.
    fn expected(&self) -> usize;
}

/// `subject` after its first steps: caches of threads are filled, and it does what it says.
pub fn warmed<S: Subject>(mut subject: S) -> S {
    for _ in 0..3 {
        assert_eq!(subject.run(), subject.expected(), "{} does not do its work", std::any::type_name::<S>());
    }
    subject
}
