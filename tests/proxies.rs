//! The example `http` behind nginx, HAProxy and Caddy, which run the recipes of `docs/proxies.md`.
//!
//! `tests/peers/install.sh --proxies` installs the proxies as root on Debian. Without them these tests fail and say
//! what to do.

mod support {
    pub mod example;
    pub mod peers;
    pub mod proxy;
    pub mod site;
}

use std::net::SocketAddr;

use support::example::Example;
use support::peers;
use support::proxy::{Proxy, free_port, recipe};
use support::site;

const ENGINES: [&str; 2] = ["uring", "portable"];

/// The proxy itself connects from 127.0.0.1, its clients from 127.0.0.2.
const TRUSTED: [&str; 2] = ["--trusted-proxy", "127.0.0.1"];

#[test]
fn nginx() {
    on_both_engines(&TRUSTED, "http", |server, port| {
        let recipe = recipe("nginx").with("listen 80;", &format!("listen 127.0.0.1:{port};"));
        Proxy::nginx(port, &recipe.with("server 127.0.0.1:9001;", &format!("server {server};")))
    });
}

#[test]
fn haproxy() {
    on_both_engines(&TRUSTED, "http", |server, port| {
        let recipe = recipe("HAProxy").with("bind :80", &format!("bind 127.0.0.1:{port}"));
        Proxy::haproxy(port, &recipe.with("app 127.0.0.1:9001", &format!("app {server}")))
    });
}

#[test]
fn haproxy_with_the_proxy_protocol() {
    for version in ["send-proxy-v2", "send-proxy"] {
        let arguments = [&TRUSTED[..], &["--proxy-protocol"]].concat();
        on_both_engines(&arguments, "tcp", |server, port| {
            let recipe = recipe("HAProxy with the PROXY protocol").with("send-proxy-v2", version);
            let recipe = recipe.with("bind :80", &format!("bind 127.0.0.1:{port}"));
            Proxy::haproxy(port, &recipe.with("app 127.0.0.1:9002", &format!("app {server}")))
        });
    }
}

#[test]
fn caddy() {
    on_both_engines(&TRUSTED, "http", |server, port| {
        let recipe = recipe("Caddy").with("example.com {", &format!("http://:{port} {{\n\tbind 127.0.0.1"));
        Proxy::caddy(port, &recipe.with("reverse_proxy 127.0.0.1:9001", &format!("reverse_proxy {server}")))
    });
}

/// Uses a server through a proxy, without it, and again once it is back, on each engine. `mode` is that of
/// `proxied.py`; `start` starts a proxy on a port, in front of a server.
fn on_both_engines(arguments: &[&str], mode: &str, start: impl Fn(SocketAddr, u16) -> Proxy) {
    peers::install(&["--proxies"]);
    for engine in ENGINES {
        println!("on {engine}");
        let server = start_server(engine, arguments, 0);
        let port = free_port();
        let proxy = start(server.address, port);
        let url = format!("http://127.0.0.1:{port}");
        let client = |case: &str| {
            let file = site::folder().join("large.bin");
            peers::run("proxied.py", &[&url, case, file.to_str().expect("UTF-8"), mode]);
        };
        client("all");
        let address = server.address;
        server.finish();
        client("server-gone");
        let server = start_server(engine, arguments, address.port());
        client("server-back");
        proxy.stop();
        server.finish();
    }
}

fn start_server(engine: &str, arguments: &[&str], port: u16) -> Example {
    let (address, folder) = (format!("127.0.0.1:{port}"), site::folder().to_str().expect("UTF-8"));
    let own = ["--addr", &address, "--engine", engine, "--workers", "1", "--dir", folder];
    Example::start("http", &[&own[..], arguments].concat())
}
