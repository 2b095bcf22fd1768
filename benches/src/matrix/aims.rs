//! The aims: what each placement is to reach in which cases.
//!
//! `bars` judges them. This file is a table and never looks at results.

use crate::matrix::results::{LOAD_TESTER, NGINX, UWEBSOCKETS};
use crate::matrix::table::{grouped, mebibytes};

/// What the placements are to reach in some cases.
#[derive(Debug)]
pub struct Aim {
    /// Ids of the cases.
    pub cases: &'static [&'static str],
    /// What is compared with what.
    pub goal: Goal,
    /// Placements that have this aim, each with the number to reach.
    pub least: &'static [(&'static str, f64)],
}

/// What is compared with what. The number to reach belongs to the placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The rate, as a multiple of others'. Where the client limits our run, server time counts instead.
    Rate(Rival),
    /// The rate over TLS, as a share of that of the same server without it. Where the client limits our run, server
    /// time counts instead.
    RateWithoutTls,
    /// The rate or, inversely, server time, as a multiple of others'.
    RateOrCost(Rival),
    /// Rate and server time, as a multiple of every peer's.
    RateAndCost,
    /// The rate as a multiple of that of each crate whose messages are compressed as much.
    RateAtEqualRatio,
    /// The median round trip, as a multiple of raw io_uring's.
    RoundTrip,
    /// The median round trip: µs in addition to raw io_uring's.
    RoundTripAdded,
    /// Deliveries per second.
    Deliveries,
    /// Requests per second of the server's processor, as a multiple of others'.
    PerCpu(Rival),
    /// The most user memory per idle connection, in bytes.
    IdleBytes,
    /// Less memory than this at any time, in bytes.
    PeakBytes,
    /// The most by which server time per message grows from 64 connections on, as a multiple of raw io_uring's growth.
    Growth,
}

/// Those that a placement is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// One server, by its name.
    One(&'static str),
    /// Every peer but uWebSockets.
    Crates,
    /// Every peer.
    Peers,
    /// Every client but uWebSockets' load tester, which only counts the bytes of answers.
    Clients,
}

impl Rival {
    /// Returns whether a peer is one of them.
    #[must_use]
    pub fn is(self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Crates => name != UWEBSOCKETS,
            Self::Peers => true,
            Self::Clients => name != LOAD_TESTER,
        }
    }

    /// Returns why an aim that compares with them is open.
    #[must_use]
    pub fn missing(self) -> String {
        match self {
            Self::One(_) => format!("{} was not measured", self.name()),
            Self::Crates => "no crate was measured".into(),
            Self::Peers => "no peer was measured".into(),
            Self::Clients => "no other client was measured".into(),
        }
    }

    /// Returns the name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One(UWEBSOCKETS) => "uWebSockets",
            Self::One(name) => name,
            Self::Crates => "every crate",
            Self::Peers => "every peer",
            Self::Clients => "every client library",
        }
    }
}

impl Aim {
    /// Returns the aim as a text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let least = self.least_text();
        match self.goal {
            Goal::Rate(rival) => format!("{least} × {}", rival.name()),
            Goal::RateWithoutTls => format!("{least} × the rate without TLS"),
            Goal::RateOrCost(rival) => format!("{least} × {} in rate or server time", rival.name()),
            Goal::RateAndCost => format!("{least} × every peer in rate and in server time"),
            Goal::RateAtEqualRatio => format!("{least} × every crate at equal ratio"),
            Goal::RoundTrip => format!("median round trip {least} × raw io_uring at most"),
            Goal::RoundTripAdded => format!("median round trip within {least} µs of raw io_uring"),
            Goal::Deliveries => format!("{least} deliveries/s"),
            Goal::PerCpu(rival) => format!("{least} × {} in requests per CPU second", rival.name()),
            Goal::IdleBytes => format!("at most {least} bytes of server memory each"),
            Goal::PeakBytes => format!("server memory under {}", mebibytes(self.least[0].1)),
            Goal::Growth => {
                format!("CPU per message grows from 64 connections at most {least} × as much as raw io_uring's")
            }
        }
    }

    /// Returns the number to reach, or each placement with its number if they differ.
    fn least_text(&self) -> String {
        let number = |least: f64| if least >= 1_000.0 { grouped(least) } else { least.to_string() };
        let (_, first) = self.least[0];
        if self.least.iter().all(|(_, least)| *least == first) {
            return number(first);
        }
        let each: Vec<String> = self.least.iter().map(|(name, least)| format!("{name} {}", number(*least))).collect();
        each.join(", ")
    }
}

const UWS: Rival = Rival::One(UWEBSOCKETS);
const FILE_SERVER: Rival = Rival::One(NGINX);
const FASTWEBSOCKETS: Rival = Rival::One("fastwebsockets");

const fn aim(cases: &'static [&'static str], goal: Goal, least: &'static [(&'static str, f64)]) -> Aim {
    Aim { cases, goal, least }
}

const ECHO: &[&str] =
    &["echo-64", "echo-512", "echo-512-deep", "echo-16k", "echo-256k", "echo-1", "echo-4096", "echo-16000", "json"];
const ONE_DEEP: &[&str] = &["echo-64", "echo-512"];
const LARGE: &[&str] = &["echo-16k", "echo-256k"];
const TO_1K: &[&str] = &["broadcast-64-1k", "broadcast-1k-1k"];
const TO_10K: &[&str] = &["broadcast-64-10k", "broadcast-1k-10k"];
const BURSTS: &[&str] =
    &["broadcast-64-1k-burst", "broadcast-64-10k-burst", "broadcast-1k-1k-burst", "broadcast-1k-10k-burst"];
const DEFLATE: &[&str] = &["deflate-1", "deflate-6", "deflate-1-kept", "deflate-6-kept"];
const WSS: &[&str] = &["wss-64", "wss-512", "wss-16k", "wss-handshakes", "wss-resumptions"];
const SMALL_FILES: &[&str] = &["files-1k", "files-1k-1024", "files-64k", "files-64k-1024", "files-json-gzip"];
const LARGE_FILES: &[&str] = &["files-10m", "files-10m-1024"];

/// Memory of a server that sends files to many clients, in bytes.
const MIB_64: f64 = 64.0 * 1024.0 * 1024.0;

/// Every aim.
#[rustfmt::skip]
pub const AIMS: &[Aim] = &[
    aim(ECHO, Goal::RateOrCost(UWS), &[("inline", 1.03), ("same-core", 0.98)]),
    aim(&["echo-64", "echo-512", "echo-4096"], Goal::RateOrCost(UWS), &[("events", 1.08)]),
    aim(&["echo-512-deep"], Goal::RateOrCost(UWS), &[("inline", 1.05), ("events", 1.05)]),
    aim(&["echo-256k"], Goal::RateOrCost(FASTWEBSOCKETS), &[("inline", 1.0), ("events", 1.0)]),
    aim(ONE_DEEP, Goal::Rate(UWS), &[("inline", 1.15), ("same-core", 1.15)]),
    aim(ONE_DEEP, Goal::Rate(Rival::Crates), &[("inline", 1.3), ("same-core", 1.3)]),
    aim(&["echo-512-deep"], Goal::Rate(Rival::Crates), &[("inline", 2.5), ("same-core", 2.5)]),
    aim(LARGE, Goal::Rate(Rival::Crates), &[("inline", 1.0), ("same-core", 1.0)]),
    aim(&["echo-1"], Goal::RoundTrip, &[("inline", 1.1), ("events", 1.1)]),
    aim(&["echo-1"], Goal::RoundTripAdded, &[("same-core", 5.0)]),
    aim(TO_1K, Goal::Rate(UWS), &[("inline", 1.2), ("same-core", 1.2), ("events", 1.2)]),
    aim(TO_10K, Goal::Rate(UWS), &[("inline", 1.15), ("same-core", 1.15), ("events", 1.15)]),
    aim(BURSTS, Goal::Deliveries, &[("inline", 3e6), ("same-core", 3e6), ("events", 3e6)]),
    aim(&["http", "http-deep"], Goal::PerCpu(Rival::Peers), &[("inline", 1.0), ("same-core", 1.0)]),
    aim(&["churn"], Goal::RateAndCost, &[("inline", 1.0), ("same-core", 1.0), ("events", 1.0)]),
    aim(&["idle-10k", "idle-100k"], Goal::IdleBytes, &[("inline", 640.0), ("same-core", 640.0), ("events", 320.0)]),
    aim(&["echo-512", "echo-4096", "echo-16000"], Goal::Growth, &[("inline", 1.0), ("same-core", 1.0), ("events", 1.0)]),
    aim(SMALL_FILES, Goal::PerCpu(FILE_SERVER), &[("inline", 1.0), ("same-core", 1.0)]),
    aim(LARGE_FILES, Goal::PerCpu(FILE_SERVER), &[("inline", 0.9), ("same-core", 0.9)]),
    aim(&["files-10m-4096"], Goal::PeakBytes, &[("inline", MIB_64), ("same-core", MIB_64)]),
    aim(DEFLATE, Goal::RateAtEqualRatio, &[("inline", 2.0), ("events", 2.0)]),
    aim(&["wss-64", "wss-512"], Goal::RateWithoutTls, &[("inline", 0.75), ("same-core", 0.75)]),
    aim(WSS, Goal::Rate(Rival::Peers), &[("inline", 1.0), ("same-core", 1.0), ("events", 1.0)]),
    aim(&["wss-idle-10k"], Goal::IdleBytes, &[("inline", 10_240.0), ("same-core", 10_240.0), ("events", 10_240.0)]),
    aim(&["client-64", "client-16k"], Goal::Rate(Rival::Clients), &[("inline", 1.0), ("same-core", 1.0)]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::case::Case;
    use crate::matrix::results::OURS;

    #[test]
    fn aims_name_cases_and_placements_that_exist() {
        for aim in AIMS {
            assert!(aim.cases.iter().all(|id| Case::named(id).is_some()), "{aim:?}");
            assert!(!aim.least.is_empty() && aim.least.iter().all(|(name, _)| OURS.contains(name)), "{aim:?}");
        }
    }

    #[test]
    fn numbers_that_differ_are_shown_for_each_placement() {
        assert_eq!(AIMS[0].text(), "inline 1.03, same-core 0.98 × uWebSockets in rate or server time");
        let bursts = AIMS.iter().find(|aim| aim.goal == Goal::Deliveries).unwrap();
        assert_eq!(bursts.text(), "3,000,000 deliveries/s");
    }
}
