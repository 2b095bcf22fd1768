//! A real browser: its WebSockets on our servers, the page of the chat example, and the example `http`.
//! `tests/interop/browser.rs` uses it over TLS.
//!
//! Needs chromium, which `tests/peers/install.sh --browser` installs with the needed rights. Without it these tests
//! fail and say what to do.

mod support {
    pub mod example;
    pub mod pages;
    pub mod peers;
    pub mod servers;
    pub mod site;
}

use std::cell::RefCell;

use support::example::Example;
use support::pages::app;
use support::peers;
use support::servers::{TestServer, on_every_engine, setups};
use support::site;

#[test]
fn its_web_sockets_work_on_every_engine() {
    // One browser for all servers, because starting it takes most of the time.
    let servers = RefCell::new(Vec::new());
    on_every_engine(|setup| {
        let server = TestServer::start(setup, app());
        println!("{} is at http://{}/", setup.name, server.address);
        servers.borrow_mut().push(server);
    });
    // Another port of the same host is another origin.
    let other = TestServer::echo(&setups()[0]);
    let foreign = format!("ws://{}/ws", other.address);
    let pages: Vec<_> = servers.borrow().iter().map(|server| format!("http://{}/", server.address)).collect();
    let arguments: Vec<_> = ["page", &foreign].into_iter().chain(pages.iter().map(String::as_str)).collect();
    peers::run("browser.mjs", &arguments);
    servers.into_inner().into_iter().for_each(TestServer::finish);
    other.finish();
}

#[test]
fn the_chat_page_works_in_two_tabs() {
    let examples = ["uring", "portable"].map(|engine| Example::start("chat", &["--engine", engine]));
    let [uring, portable] = examples.each_ref().map(|example| format!("http://{}/", example.address));
    peers::run("browser.mjs", &["chat", &uring, &portable]);
    examples.into_iter().for_each(Example::finish);
}

#[test]
fn forms_events_media_and_the_cache_work() {
    let folder = site::folder().to_str().expect("UTF-8");
    let examples = ["uring", "portable"].map(|engine| Example::start("http", &["--engine", engine, "--dir", folder]));
    let [uring, portable] = examples.each_ref().map(|example| format!("http://{}/", example.address));
    peers::run("browser.mjs", &["http", folder, &uring, &portable]);
    examples.into_iter().for_each(Example::finish);
}
