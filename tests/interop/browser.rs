//! A real browser over TLS. It trusts the authority of the test through the certificate database in its home folder.

use std::cell::RefCell;
use std::process::Command;

use crate::support::certificates::Certificates;
use crate::support::pages::app;
use crate::support::peers;
use crate::support::servers::{TestServer, on_every_engine, setups};
use crate::tls::serve;

#[test]
fn its_web_sockets_work_over_tls() {
    peers::install(&["--browser"]);
    let certificates = Certificates::new();
    let home = trusting_home(&certificates);
    let servers = RefCell::new(Vec::new());
    on_every_engine(|setup| {
        let server = serve(setup, certificates.server(), app());
        println!("{} is at {}", setup.name, page_of(&server));
        servers.borrow_mut().push(server);
    });
    // Another port of the same host is another origin.
    let other = serve(&setups()[0], certificates.server(), app());
    let foreign = format!("wss://localhost:{}/ws", other.address.port());
    let pages: Vec<_> = servers.borrow().iter().map(page_of).collect();
    let arguments: Vec<_> = ["page", &foreign].into_iter().chain(pages.iter().map(String::as_str)).collect();
    peers::run_in("browser.mjs", &arguments, &[("HOME", &home)]);
    servers.into_inner().into_iter().for_each(TestServer::finish);
    other.finish();
}

fn page_of(server: &TestServer) -> String {
    format!("https://localhost:{}/", server.address.port())
}

/// Returns a home folder whose NSS database, which chromium reads, has the authority.
fn trusting_home(certificates: &Certificates) -> String {
    let home = certificates.path("home");
    let database = format!("{home}/.pki/nssdb");
    std::fs::create_dir_all(&database).expect("a folder");
    let database = format!("sql:{database}");
    let authority = certificates.path("ca.pem");
    let steps: [&[&str]; 2] =
        [&["-N", "--empty-password"], &["-A", "-t", "C,,", "-n", "the authority of the tests", "-i", &authority]];
    for step in steps {
        let output = Command::new("certutil").args(["-d", &database]).args(step).output();
        let output = output.expect("certutil is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    home
}
