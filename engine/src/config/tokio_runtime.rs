//! A tokio runtime on the threads of handlers (feature `tokio`).

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

use super::thread_hooks::ThreadHooks;

/// Threads of the runtime of [`ThreadHooks::tokio_default`]. One waits for events while the other runs spawned tasks.
const DEFAULT_RUNTIME_THREADS: usize = 2;

/// # A tokio runtime
/// With the feature `tokio`.
impl ThreadHooks {
    /// Enters a tokio runtime on each thread that runs handlers ([`Handle::enter`]): tokio's timers, sockets, `spawn`,
    /// `spawn_blocking` and `fs` then work in handlers, and so do the crates that need them, such as reqwest and sqlx.
    ///
    /// Handlers stay on their threads. The runtime's threads wait for its sockets and timers and wake the handlers, and
    /// run the tasks that are spawned with tokio's `spawn`. The runtime must have its I/O and time drivers enabled, and
    /// live longer than the engine. It is entered before the other hooks run. Of two runtimes the last one set counts.
    pub fn tokio(self, runtime: Handle) -> Self {
        self.with_runtime(move |run| {
            let _guard = runtime.enter();
            run();
        })
    }

    /// As [`tokio`](Self::tokio), with a new multi-thread runtime of two threads. Its tasks are dropped after the last
    /// thread of handlers has ended.
    ///
    /// # Errors
    /// If the runtime cannot be created.
    pub fn tokio_default(self) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(DEFAULT_RUNTIME_THREADS).thread_name("tidegate-tokio").enable_all().build()?;
        let runtime = Owned(Some(runtime));
        Ok(self.with_runtime(move |run| {
            let _guard = runtime.0.as_ref().map(Runtime::enter);
            run();
        }))
    }
}

/// A runtime that can be dropped anywhere, also inside a runtime: nothing waits for its threads.
struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
