//! Proxies that terminate TLS in front of our echo, with the recipes of `docs/proxies.md`: our client and another
//! project's, with and without compression.

use tidegate::engine::TlsClient;
use tidegate::prelude::*;
use tidegate::websocket::DeflateConfig;
use tokio_tungstenite::Connector;

use crate::support::certificates::Certificates;
use crate::support::proxy::{Proxy, Recipe, free_port, recipe};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};
use crate::support::{peers, tungstenite};
use crate::tls::curl;
use crate::wss::{run, to};

#[test]
fn nginx() {
    let certificates = Certificates::new();
    on_every_engine(|setup| {
        let server = serve(setup, &certificates, false);
        let port = free_port();
        let proxy = Proxy::nginx(port, &nginx_recipe(&certificates, port, &server));
        use_through(setup, &certificates, server, port, proxy);
    });
}

#[test]
fn nginx_with_tls_to_the_server() {
    let certificates = Certificates::new();
    let inner = recipe("TLS from nginx to the server");
    let inner = inner.with("/etc/ssl/server-ca.pem", &certificates.path("ca.pem")).with("app.internal", "localhost");
    on_every_engine(|setup| {
        let server = serve(setup, &certificates, true);
        let port = free_port();
        let recipe = nginx_recipe(&certificates, port, &server).with("proxy_pass http://tidegate;", &inner.0);
        use_through(setup, &certificates, server, port, Proxy::nginx(port, &recipe));
    });
}

#[test]
fn haproxy() {
    let certificates = Certificates::new();
    let both = certificates.path("both.pem");
    let texts = ["server.pem", "server.key"].map(|name| std::fs::read_to_string(certificates.path(name)).unwrap());
    std::fs::write(&both, texts.concat()).unwrap();
    on_every_engine(|setup| {
        let server = serve(setup, &certificates, false);
        let port = free_port();
        let recipe = recipe("HAProxy").with("bind :80", &format!("bind 127.0.0.1:{port} ssl crt {both}"));
        let recipe = recipe.with("app 127.0.0.1:9001", &format!("app {}", server.address));
        use_through(setup, &certificates, server, port, Proxy::haproxy(port, &recipe));
    });
}

#[test]
fn caddy() {
    let certificates = Certificates::new();
    let [chain, key] = ["server.pem", "server.key"].map(|name| certificates.path(name));
    on_every_engine(|setup| {
        let server = serve(setup, &certificates, false);
        let port = free_port();
        let site =
            format!("https://localhost:{port}, https://127.0.0.1:{port} {{\n\ttls {chain} {key}\n\tbind 127.0.0.1");
        let recipe = recipe("Caddy").with("example.com {", &site);
        let recipe = recipe.with("reverse_proxy 127.0.0.1:9001", &format!("reverse_proxy {}", server.address));
        use_through(setup, &certificates, server, port, Proxy::caddy(port, &recipe));
    });
}

fn nginx_recipe(certificates: &Certificates, port: u16, server: &TestServer) -> Recipe {
    let recipe = recipe("nginx with TLS").with("listen 443 ssl;", &format!("listen 127.0.0.1:{port} ssl;"));
    let recipe = recipe.with("/etc/ssl/fullchain.pem", &certificates.path("server.pem"));
    let recipe = recipe.with("/etc/ssl/privkey.pem", &certificates.path("server.key"));
    recipe.with("server 127.0.0.1:9001;", &format!("server {};", server.address))
}

/// Starts an echo server that trusts the proxy, with TLS or without.
fn serve(setup: &Setup, certificates: &Certificates, encrypted: bool) -> TestServer {
    peers::install(&["--proxies"]);
    let app = Router::new()
        .get("/ws", websocket::upgrade(echo).compression(DeflateConfig::default()))
        .get("/any-origin", websocket::upgrade(echo).check_origin(|_head| true))
        .get("/schemes", async |request: Request| format!("{} {}", request.scheme(), request.client_scheme()));
    let builder = Server::builder(app);
    let builder = match encrypted {
        true => builder.bind_tls("127.0.0.1:0", certificates.server()),
        false => builder.bind("127.0.0.1:0"),
    };
    let builder = builder.expect("loopback resolves").trusted_proxies(["127.0.0.1"]).expect("an address");
    let running = builder.config(setup.config.clone()).start().expect("the server starts");
    let address = running.local_addr().expect("a TCP address");
    TestServer { running, address }
}

/// Uses a server through a proxy with TLS on this port.
fn use_through(setup: &Setup, certificates: &Certificates, server: TestServer, port: u16, proxy: Proxy) {
    let tls = TlsClient::ca_file(certificates.path("ca.pem")).unwrap();
    for deflate in [None, Some(DeflateConfig::default())] {
        // As a page of this origin: the server knows its scheme from the proxy alone.
        let connect = to("localhost", port).tls(&tls);
        let connect = match deflate {
            Some(deflate) => connect.compression(deflate),
            None => connect,
        };
        run(setup, connect).unwrap();
    }
    // It sends no Origin, which the check for pages of the same origin refuses behind a proxy with TLS.
    tungstenite::run_with(&format!("wss://localhost:{port}/any-origin"), Connector::Rustls(certificates.client()));
    let own = if server.running.summary().contains(" tls ") { "https" } else { "http" };
    let schemes = curl(certificates, &[&format!("https://localhost:{port}/schemes")]).unwrap();
    assert_eq!(schemes, format!("{own} https"));
    proxy.stop();
    server.running.shutdown(Shutdown::default());
}
