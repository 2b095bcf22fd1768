//! What an application runs on the threads of its handlers, around them.

use std::fmt;
use std::sync::Arc;

/// Code that runs on each thread of handlers: worker threads with [`Inline`](crate::HandlerPlacement::Inline)
/// placement, handler threads with the others.
///
/// It runs when the thread starts, before [`Engine::start`](crate::Engine::start) returns, and its result is dropped
/// when the thread ends. A panic in it makes `start` fail. Threads of [`blocking`](crate::blocking) handlers are not
/// among them.
///
/// ```
/// use tidegate_engine::{Config, ThreadHooks};
///
/// struct Ended;
///
/// impl Drop for Ended {
///     fn drop(&mut self) {
///         println!("a handler thread has ended");
///     }
/// }
///
/// let config = Config::default().thread_hooks(ThreadHooks::default().on_start(|| Ended));
/// ```
#[derive(Clone, Default)]
#[must_use = "hooks have no effect until they are passed on"]
pub struct ThreadHooks {
    /// A runtime that is entered around the hooks.
    runtime: Option<Arc<Around>>,
    /// The hooks, the outermost first.
    around: Vec<Arc<Around>>,
}

/// Runs its argument once, with something before and after it.
type Around = dyn Fn(&mut dyn FnMut()) + Send + Sync;

impl ThreadHooks {
    /// Calls `start` on each thread that runs handlers, and drops its result when the thread ends. It can call
    /// [`spawn_local`](crate::spawn_local). Several hooks start in the order of these calls and end in the opposite
    /// order.
    pub fn on_start<G>(mut self, start: impl Fn() -> G + Send + Sync + 'static) -> Self {
        self.around.push(Arc::new(move |run| {
            let _guard = start();
            run();
        }));
        self
    }

    /// Adds the hooks of `inner` inside these. A runtime of `inner` replaces that of these.
    pub fn with(mut self, inner: ThreadHooks) -> Self {
        self.around.extend(inner.around);
        self.runtime = inner.runtime.or(self.runtime);
        self
    }

    /// Sets the runtime that is entered around the hooks.
    #[cfg(feature = "tokio")]
    pub(super) fn with_runtime(mut self, enter: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> Self {
        self.runtime = Some(Arc::new(enter));
        self
    }

    /// Runs `thread` within all hooks.
    pub(crate) fn run(&self, thread: &mut dyn FnMut()) {
        let mut hooked = || run_within(&self.around, thread);
        match &self.runtime {
            Some(runtime) => runtime(&mut hooked),
            None => hooked(),
        }
    }
}

fn run_within(hooks: &[Arc<Around>], thread: &mut dyn FnMut()) {
    match hooks {
        [] => thread(),
        [outermost, inner @ ..] => outermost(&mut || run_within(inner, thread)),
    }
}

impl fmt::Debug for ThreadHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadHooks").field("hooks", &self.around.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn hooks_nest_in_the_order_in_which_they_were_added() {
        struct Noted(Arc<Mutex<String>>, char);
        impl Drop for Noted {
            fn drop(&mut self) {
                self.0.lock().unwrap().push(self.1);
            }
        }
        let noted = Arc::new(Mutex::new(String::new()));
        let hook = |start: char, end: char| {
            let noted = Arc::clone(&noted);
            move || {
                noted.lock().unwrap().push(start);
                Noted(Arc::clone(&noted), end)
            }
        };
        let inner = ThreadHooks::default().on_start(hook('(', ')'));
        let hooks = ThreadHooks::default().on_start(hook('{', '}')).on_start(hook('[', ']')).with(inner);
        hooks.run(&mut || noted.lock().unwrap().push('x'));
        assert_eq!(*noted.lock().unwrap(), "{[(x)]}");
    }
}
