//! Runs a reverse proxy with a recipe of `docs/proxies.md`.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Starting takes less than a second. This only ends a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Debian keeps proxies out of the path of ordinary users.
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

/// A configuration from the document.
pub struct Recipe(pub String);

/// Returns the first configuration under the heading of this name.
pub fn recipe(heading: &str) -> Recipe {
    let document = include_str!("../../docs/proxies.md");
    let (_, chapter) = document.split_once(&format!("\n## {heading}\n")).expect("a heading");
    let (_, block) = chapter.split_once("```").expect("a block");
    let (_, block) = block.split_once('\n').expect("the language of the block");
    let (block, _) = block.split_once("```").expect("the end of the block");
    Recipe(block.to_owned())
}

impl Recipe {
    /// Replaces a text, which must be there once.
    pub fn with(&self, text: &str, other: &str) -> Self {
        assert_eq!(self.0.matches(text).count(), 1, "{text} in {}", self.0);
        Self(self.0.replace(text, other))
    }
}

/// A port of loopback that nobody uses now. The proxies cannot be asked for one.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback").port()
}

/// A proxy that runs until it is stopped or dropped.
pub struct Proxy(Child);

impl Proxy {
    pub fn nginx(port: u16, recipe: &Recipe) -> Self {
        let folder = folder("nginx", port);
        let shown = folder.display();
        let configuration = format!(
            "daemon off;
            master_process off;
            pid {shown}/pid;
            error_log stderr error;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {shown}/bodies;
                proxy_temp_path {shown}/proxied;
                fastcgi_temp_path {shown}/fastcgi;
                uwsgi_temp_path {shown}/uwsgi;
                scgi_temp_path {shown}/scgi;
                {}
            }}
            ",
            recipe.0
        );
        let file = write(&folder, &configuration);
        let mut command = command("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(file).args(["-e", "stderr"]);
        Self::start(command, port)
    }

    pub fn haproxy(port: u16, recipe: &Recipe) -> Self {
        let file = write(&folder("haproxy", port), &recipe.0);
        let mut command = command("haproxy");
        command.arg("-db").arg("-f").arg(file);
        Self::start(command, port)
    }

    pub fn caddy(port: u16, recipe: &Recipe) -> Self {
        let folder = folder("caddy", port);
        let options = "{\n\tadmin off\n\tauto_https off\n}\n";
        let file = write(&folder, &[options, &recipe.0].concat());
        let mut command = command("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        command.env("XDG_DATA_HOME", &folder).env("XDG_CONFIG_HOME", &folder);
        Self::start(command, port)
    }

    /// Starts the program and waits until it listens.
    fn start(mut command: Command, port: u16) -> Self {
        command.stdin(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut proxy = Self(child);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let status = proxy.0.try_wait().expect("a child");
            assert!(status.is_none() && start.elapsed() < PATIENCE, "{command:?} does not listen: {status:?}");
            thread::yield_now();
        }
        proxy
    }

    /// Ends the proxy, which must still run.
    pub fn stop(mut self) {
        let status = self.0.try_wait().expect("a child");
        assert!(status.is_none(), "the proxy has ended: {status:?}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(name: &str) -> Command {
    let paths = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    Command::new(paths.into_iter().find(|path| path.exists()).unwrap_or_else(|| name.into()))
}

fn folder(name: &str, port: u16) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{port}"));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn write(folder: &Path, configuration: &str) -> PathBuf {
    let file = folder.join("configuration");
    fs::write(&file, configuration).expect("a file");
    file
}
