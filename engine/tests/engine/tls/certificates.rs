//! Certificates: several names, reload, and those of clients.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tidegate_engine::{Connection, Error, Shutdown, Tls};

use super::peer::*;
use crate::support::*;

/// Returns the certificate that the server shows for a name, in DER. The client accepts any.
fn shown(address: SocketAddr, config: &Arc<ClientConfig>, name: &'static str) -> Vec<u8> {
    let mut client = client_of(address, config, name);
    shake_hands(&mut client).unwrap();
    let certificate = client.conn.peer_certificates().unwrap()[0].to_vec();
    close(&mut client).unwrap();
    certificate
}

/// Returns the only certificate of PEM text in DER.
fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[test]
fn each_name_has_its_certificate() {
    let authority = Authority::new();
    let pems = [&["localhost"][..], &["a.example", "b.example"], &["*.c.example"]].map(|names| authority.issue(names));
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        let [first, second, third] = &pems;
        let tls = Tls::from_pem(&first.certificate, &first.key).unwrap();
        let tls = tls.certificate_pem(&second.certificate, &second.key).unwrap();
        let tls = tls.certificate_pem(&third.certificate, &third.key).unwrap();
        let (running, address) = start_tls(setup.config, tls, echo);
        for (name, pem) in [("localhost", first), ("a.example", second), ("B.example", second), ("x.c.example", third)]
        {
            assert!(shown(address, &config, name) == der(&pem.certificate), "{name}");
        }
        // The first one is for all other names, and this client does not accept it.
        for name in ["d.example", "x.y.c.example", "c.example"] {
            let error = shake_hands(&mut client_of(address, &config, name)).unwrap_err();
            assert!(error.to_string().contains("not valid for name"), "{error}");
        }
        running.shutdown(Shutdown::default());
    });
}

/// Files in a folder that is removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tidegate-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, pem: &Pem) {
        for (name, text) in [("key.pem", &pem.key), ("certificate.pem", &pem.certificate)] {
            let new = self.0.join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, self.0.join(name)).unwrap();
        }
    }

    fn tls(&self) -> Result<Tls, Error> {
        Tls::from_pem_files(self.0.join("certificate.pem"), self.0.join("key.pem"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn certificates_are_reloaded_by_call_and_connections_go_on() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        let files = Files::new("call");
        let [old, new] = [(); 2].map(|()| authority.issue(&["localhost"]));
        files.write(&old);
        let tls = files.tls().unwrap();
        let (running, address) = start_tls(setup.config, tls.clone(), echo);
        let mut before = client(address, &config);
        check_tls_echo(&mut before, b"before");
        assert!(shown(address, &config, "localhost") == der(&old.certificate));
        files.write(&new);
        tls.reload().unwrap();
        let fresh = Arc::new(authority.client(VERSIONS[0]));
        assert!(shown(address, &fresh, "localhost") == der(&new.certificate));
        check_tls_echo(&mut before, b"and after");
        close(&mut before).unwrap();
        // What cannot be used changes nothing.
        std::fs::write(files.0.join("certificate.pem"), "no certificate").unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains("certificate.pem"), "{error}");
        let fresh = Arc::new(authority.client(VERSIONS[0]));
        assert!(shown(address, &fresh, "localhost") == der(&new.certificate));
        finish(running);
    });
}

#[test]
fn changed_files_are_noticed() {
    let authority = Authority::new();
    let files = Files::new("watch");
    let [old, new] = [(); 2].map(|()| authority.issue(&["localhost"]));
    files.write(&old);
    let tls = files.tls().unwrap().reload_every(Duration::from_millis(10));
    let (running, address) = start_tls(Default::default(), tls, echo);
    files.write(&new);
    wait_until("the new certificate", || {
        let fresh = Arc::new(authority.client(VERSIONS[0]));
        shown(address, &fresh, "localhost") == der(&new.certificate)
    });
    finish(running);
}

#[test]
fn another_certificate_can_take_the_place_of_one_in_memory() {
    let authority = Authority::new();
    let [old, new] = [(); 2].map(|()| authority.issue(&["localhost"]));
    let [tls, other] = [&old, &new].map(|pem| Tls::from_pem(&pem.certificate, &pem.key).unwrap());
    let (running, address) = start_tls(Default::default(), tls.clone(), echo);
    let fresh = || Arc::new(authority.client(VERSIONS[0]));
    assert!(shown(address, &fresh(), "localhost") == der(&old.certificate));
    tls.replace_with(&other).unwrap();
    assert!(shown(address, &fresh(), "localhost") == der(&new.certificate));
    finish(running);
}

/// Answers with the names in the client's certificate.
async fn who(connection: Connection) {
    let names = connection.tls().map(|tls| tls.peer_names()).unwrap_or_default();
    let _ = connection.sender().send(format!("{names:?}")).await;
}

fn says(client: &mut Client) -> std::io::Result<String> {
    let mut text = String::new();
    client.read_to_string(&mut text)?;
    client.conn.send_close_notify();
    client.flush()?;
    Ok(text)
}

#[test]
fn clients_show_certificates() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let (known, unknown) = (clients.issue(&["bob.example"]), strangers.issue(&["eve.example"]));
    on_every_engine(|setup| {
        let required = authority.server().client_ca_pem(&clients.pem).unwrap();
        let optional = required.clone().client_certificate_optional(true).unwrap();
        for (tls, without) in [(required, None), (optional, Some("[]"))] {
            let (running, address) = start_tls(setup.config.clone(), tls, who);
            for version in VERSIONS {
                let own = |pem| Arc::new(authority.client_with(version, pem));
                let with = own(Some(&known));
                assert_eq!(says(&mut client(address, &with)).unwrap(), r#"["bob.example"]"#);
                // A resumed session has the certificate of its first handshake.
                assert_eq!(says(&mut client(address, &with)).unwrap(), r#"["bob.example"]"#);
                let anonymous = says(&mut client(address, &own(None)));
                assert_eq!(anonymous.ok().as_deref(), without);
                assert!(says(&mut client(address, &own(Some(&unknown)))).is_err());
            }
            running.shutdown(Shutdown::default());
        }
    });
}

/// A ticket holds the certificate of a client, which the authorities after a reload have not issued.
#[test]
fn sessions_do_not_resume_after_the_authorities_of_clients_have_changed() {
    let (authority, former, latter) = (Authority::new(), Authority::new(), Authority::new());
    let client_pem = former.issue(&["bob.example"]);
    for version in VERSIONS {
        let tls = authority.server().client_ca_pem(&former.pem).unwrap();
        let other = authority.server().client_ca_pem(&latter.pem).unwrap();
        let (running, address) = start_tls(Default::default(), tls.clone(), who);
        let config = Arc::new(authority.client_with(version, Some(&client_pem)));
        assert_eq!(says(&mut client(address, &config)).unwrap(), r#"["bob.example"]"#);
        tls.replace_with(&other).unwrap();
        assert!(says(&mut client(address, &config)).is_err(), "it still gets in");
        running.shutdown(Shutdown::default());
    }
}

#[test]
fn errors_name_what_cannot_be_used() {
    let authority = Authority::new();
    let [one, two] = [(); 2].map(|()| authority.issue(&["localhost"]));
    let files = Files::new("errors");
    files.write(&one);
    let missing = files.0.join("missing.pem");
    let certificate = files.0.join("certificate.pem");
    let error = |tls: Result<Tls, Error>| tls.map(drop).unwrap_err().to_string();
    assert!(error(Tls::from_pem_files(&missing, &missing)).contains("missing.pem: No such file"));
    assert!(error(Tls::from_pem_files(&certificate, &certificate)).contains("no private key found"));
    assert!(error(Tls::from_pem(&one.key, &one.key)).contains("no certificate found"));
    assert!(error(Tls::from_pem(&one.certificate, &two.key)).contains("cannot use the certificate"));
    assert!(error(authority.server().client_ca_pem("")).contains("no certificate found"));
}
