//! Routes of files.

use std::sync::Arc;

use super::Files;
use crate::message::request::Request;
use crate::server::handler::{Handler, Reply};
use crate::server::router::Router;

/// # Files
impl Router {
    /// Serves files below a prefix, such as `/static`, or at all paths without a route of their own with the prefix
    /// `/`. The prefix without a slash at its end is redirected to the one with it.
    ///
    /// ```no_run
    /// use tidegate_http::{Files, Request, Router};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let app = Router::new()
    ///     .get("/api/time", |_req: Request| async { "noon" })
    ///     .files("/", Files::new("public")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`route`](Router::route), and if the prefix has a wildcard.
    pub fn files(self, prefix: &str, files: Files) -> Router {
        assert!(
            prefix.starts_with('/') && !prefix.contains('*'),
            "invalid prefix {prefix:?}: must begin with a slash and have no wildcard, as in \"/static\""
        );
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let files = Arc::new(files);
        let at = |path| Mounted { files: Arc::clone(&files), path };
        let router = self.get(&format!("{prefix}/"), at(Some(""))).get(&format!("{prefix}/*path"), at(None));
        if prefix.is_empty() { router } else { router.get(prefix, Redirected) }
    }
}

/// Files at one of their routes.
struct Mounted {
    files: Arc<Files>,
    /// The path of the route, unless its parameter has it.
    path: Option<&'static str>,
}

#[diagnostic::do_not_recommend]
impl Handler for Mounted {
    fn handle(&self, request: Request) -> Reply<'_> {
        self.files.reply(request, self.path)
    }
}

/// The prefix without its slash.
struct Redirected;

#[diagnostic::do_not_recommend]
impl Handler for Redirected {
    fn handle(&self, request: Request) -> Reply<'_> {
        Reply::Ready(super::redirect_to_folder(&request))
    }
}
