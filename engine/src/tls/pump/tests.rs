use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::SupportedProtocolVersion;

use super::*;
use crate::tls::client::{TlsClient, server_name};
use crate::tls::server::{CurrentConfig, Tls};

/// The two ends of a session, and the bytes between them.
struct Ends {
    ends: [Pump; 2],
    /// Bytes that each end has yet to receive.
    wires: [Vec<u8>; 2],
    /// What each end has received.
    plain: [Vec<u8>; 2],
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

impl Ends {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let tls = Tls::from_pem(certificate.pem(), key.serialize_pem()).unwrap();
        let trust = TlsClient::ca_pem(certificate.pem()).unwrap();
        let config = if version.version == rustls::ProtocolVersion::TLSv1_2 { older(&trust) } else { trust.config() };
        let client = Pump::client(config, server_name("a.example").unwrap()).unwrap();
        let server = Pump::server(CurrentConfig::new(tls).config()).unwrap();
        let mut ends = Self { ends: [client, server], wires: Default::default(), plain: Default::default() };
        let Self { ends: [client, _], wires: [_, wire], .. } = &mut ends;
        client.process(&mut Vec::new(), wire).unwrap();
        ends
    }

    fn sends(&mut self, from: usize, bytes: &[u8]) {
        self.ends[from].encrypt(bytes, &mut Output::of(&mut self.wires[1 - from])).unwrap();
    }

    /// Delivers all bytes, in pieces of at most `most`.
    fn deliver(&mut self, most: usize) -> Result<(), Failure> {
        while self.wires.iter().any(|wire| !wire.is_empty()) {
            for to in [CLIENT, SERVER] {
                let len = self.wires[to].len().min(most);
                let mut piece: Vec<_> = self.wires[to].drain(..len).collect();
                let mut out = Vec::new();
                self.ends[to].receive(&mut piece, &mut self.plain[to], &mut out)?;
                self.wires[1 - to].extend_from_slice(&out);
            }
        }
        Ok(())
    }

    fn shaken(version: &'static SupportedProtocolVersion, most: usize) -> Self {
        let mut ends = Self::new(version);
        ends.deliver(most).unwrap();
        assert!(ends.ends.iter().all(|end| !end.is_handshaking()));
        ends
    }
}

/// Returns the configuration of a client that speaks TLS 1.2 only.
fn older(trust: &TlsClient) -> Arc<ClientConfig> {
    trust.config_of_version(&rustls::version::TLS12)
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn both_ends_receive_everything_in_any_pieces() {
    for version in VERSIONS {
        for most in [1, 2, 7, 100, 5000, usize::MAX] {
            let mut ends = Ends::shaken(version, most);
            let long: Vec<u8> = (0..100_000_u32).map(|at| (at * 31 / 7) as u8).collect();
            for end in [CLIENT, SERVER] {
                for len in [1, 64, 16_384, 16_385, 50_000] {
                    ends.sends(end, &long[..len]);
                }
            }
            ends.deliver(most).unwrap();
            for end in [CLIENT, SERVER] {
                let received = &ends.plain[end];
                assert_eq!(received.len(), 1 + 64 + 16_384 + 16_385 + 50_000);
                assert!(received.ends_with(&long[..50_000]), "the bytes differ");
            }
        }
    }
}

/// Returns the lengths of the records that `bytes` are.
fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut lens = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = bytes {
        lens.push(usize::from(u16::from_be_bytes([*high, *low])));
        bytes = &rest[lens[lens.len() - 1]..];
    }
    lens
}

#[test]
fn slices_are_encrypted_in_as_few_records_as_they_need() {
    let long: Vec<u8> = (0..100_000_u32).map(|at| (at * 31 / 7) as u8).collect();
    let table: [&[usize]; 10] = [
        &[],
        &[0, 5, 0],
        &[4, 100],
        &[4, 16_384],
        &[4, 20_000],
        &[16_384, 16_384],
        &[10_000, 40_000, 1],
        &[16_000, 384],
        &[16_000, 384, 40_000],
        &[100; 500],
    ];
    for version in VERSIONS {
        let mut ends = Ends::shaken(version, usize::MAX);
        for lens in table {
            let mut rest = &long[..];
            let slices: Vec<&[u8]> = lens.iter().map(|len| rest.split_off(..*len).expect("enough bytes")).collect();
            let total = lens.iter().sum::<usize>();
            let mut out = Vec::new();
            ends.ends[SERVER].encrypt_slices(slices.into_iter(), &mut Output::of(&mut out)).unwrap();
            assert_eq!(records(&out).len(), total.div_ceil(RECORD_PLAINTEXT_MAX), "{lens:?}");
            assert!(out.len() <= encrypted_len_max(total));
            ends.wires[CLIENT] = out;
            ends.deliver(usize::MAX).unwrap();
            assert!(std::mem::take(&mut ends.plain[CLIENT]) == long[..total], "the bytes differ");
        }
    }
}

#[test]
fn the_plaintext_of_complete_records_is_estimated() {
    for version in VERSIONS {
        let mut ends = Ends::shaken(version, usize::MAX);
        ends.sends(CLIENT, &[7; 40_000]);
        let mut wire = std::mem::take(&mut ends.wires[SERVER]);
        assert!((40_000..40_100).contains(&plain_len_max(&wire)));
        wire.pop();
        assert!((2 * RECORD_PLAINTEXT_MAX..2 * RECORD_PLAINTEXT_MAX + 100).contains(&plain_len_max(&wire)));
        assert_eq!(plain_len_max(b"\x17\x03\x03\0\x05tide"), 0);
    }
}

#[test]
fn a_session_at_rest_keeps_no_bytes() {
    for version in VERSIONS {
        let mut ends = Ends::shaken(version, 10);
        ends.sends(CLIENT, &[7; 20_000]);
        let last = ends.wires[SERVER].pop().unwrap();
        ends.deliver(1000).unwrap();
        assert!(ends.ends[SERVER].partial_bytes() > 0, "a record is incomplete");
        ends.wires[SERVER].push(last);
        ends.deliver(1).unwrap();
        assert_eq!(ends.plain[SERVER].len(), 20_000);
        assert!(ends.ends.iter().all(|end| end.partial.capacity() == 0), "memory is kept");
    }
}

#[test]
fn each_end_can_close_first() {
    for version in VERSIONS {
        for first in [CLIENT, SERVER] {
            let mut ends = Ends::shaken(version, usize::MAX);
            let Ends { ends: both, wires, .. } = &mut ends;
            both[first].close(&mut wires[1 - first]).unwrap();
            both[first].close(&mut wires[1 - first]).unwrap();
            ends.deliver(3).unwrap();
            assert!(ends.ends[1 - first].has_peer_closed() && !ends.ends[first].has_peer_closed());
            // The other side is still open.
            ends.sends(1 - first, b"an answer");
            ends.deliver(3).unwrap();
            assert_eq!(ends.plain[first], b"an answer");
            assert!(ends.ends[first].encrypt(b"too late", &mut Output::of(&mut Vec::new())).is_err());
        }
    }
}

#[test]
fn keys_change_in_both_directions() {
    let mut ends = Ends::shaken(VERSIONS[0], usize::MAX);
    for round in 0..3000_u32 {
        let end = round as usize % 2;
        let Ends { ends: both, wires, .. } = &mut ends;
        both[end].refresh_keys(&mut wires[1 - end]).unwrap();
        ends.sends(end, &round.to_le_bytes());
        ends.deliver(20).unwrap();
        ends.sends(1 - end, &round.to_le_bytes());
        ends.deliver(usize::MAX).unwrap();
        for plain in &mut ends.plain {
            assert_eq!(std::mem::take(plain), round.to_le_bytes());
        }
    }
}

#[test]
fn text_is_recognized_by_its_first_byte() {
    let config = || {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        CurrentConfig::new(Tls::from_pem(certificate.pem(), key.serialize_pem()).unwrap()).config()
    };
    for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"p"] {
        let mut pump = Pump::server(config()).unwrap();
        let mut out = Vec::new();
        let received = pump.receive(&mut text.to_vec(), &mut Vec::new(), &mut out);
        assert!(matches!(received, Err(Failure::NotTls)) && out.is_empty());
    }
    let mut pump = Pump::server(config()).unwrap();
    let mut out = Vec::new();
    let received = pump.receive(&mut b"\x80\x2e\x01\x00\x02 and so on".to_vec(), &mut Vec::new(), &mut out);
    assert!(matches!(received, Err(Failure::Protocol(_))), "{received:?}");
    assert_eq!(out[0], 21, "an alert");
}

/// A record of application data that no key has made.
const BROKEN_RECORD: [u8; 37] = {
    let mut record = [7; 37];
    record.split_at_mut(5).0.copy_from_slice(b"\x17\x03\x03\x00\x20");
    record
};

#[test]
fn what_was_received_before_a_broken_record_is_kept() {
    for version in VERSIONS {
        let mut ends = Ends::shaken(version, usize::MAX);
        ends.sends(CLIENT, b"good");
        let mut broken = std::mem::take(&mut ends.wires[SERVER]);
        broken.extend_from_slice(&BROKEN_RECORD);
        let (mut plain, mut out) = (Vec::new(), Vec::new());
        assert!(ends.ends[SERVER].receive(&mut broken, &mut plain, &mut out).is_err());
        assert_eq!(plain, b"good");
        ends.wires[CLIENT] = out;
        let error = ends.deliver(1).unwrap_err().to_string();
        assert!(error.contains("BadRecordMac"), "{error}");
    }
}

/// rustls has an assertion against the alert that it queues then.
#[test]
fn a_broken_record_after_the_own_end_is_a_failure() {
    for version in VERSIONS {
        for end in [CLIENT, SERVER] {
            let mut ends = Ends::shaken(version, usize::MAX);
            let Ends { ends: both, wires, .. } = &mut ends;
            both[end].close(&mut wires[1 - end]).unwrap();
            ends.sends(1 - end, b"good");
            let mut broken = std::mem::take(&mut ends.wires[end]);
            broken.extend_from_slice(&BROKEN_RECORD);
            let mut plain = Vec::new();
            let received = ends.ends[end].receive(&mut broken, &mut plain, &mut Vec::new());
            assert!(matches!(received, Err(Failure::Protocol(_))), "{received:?}");
            assert_eq!(plain, b"good");
        }
    }
}
