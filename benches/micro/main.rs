//! Wall times of single parts of Tidegate: `cargo bench -p tidegate-benches --features micro --bench micro`.
//!
//! Criterion's options go after `--`, such as a part of a name (`-- unmask/1024`). Wall time is noisy, above all on
//! virtual machines. The instruction counts in `instructions.rs` guard against regressions.

mod subjects;
mod threads;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate_websocket::MessageKind;

use subjects::deflate::{CompressMessage, inflate_message};
use subjects::engine::{Echo, ExpireTimers, FanOut, HandOver, PassInbound, PassOutbound, PauseInbound, RenewTimer};
use subjects::http::{BROWSER, Exchange, PLAIN, ParseHead, Routes, UPGRADE};
use subjects::websocket::{CheckText, DecodeFrames, EncodeFrame, ReceiveMessages, Unmask};
use subjects::{Subject, warmed};

/// Measures `subject`. `each` is the bytes or elements of one step.
fn measure(c: &mut Criterion, group: &str, name: impl Into<String>, each: Throughput, subject: impl Subject) {
    let mut subject = warmed(subject);
    let mut group = c.benchmark_group(group);
    group.throughput(each);
    group.bench_function(BenchmarkId::from_parameter(name.into()), |b| b.iter(|| black_box(subject.run())));
    group.finish();
}

const ONE: Throughput = Throughput::Elements(1);

fn bytes(bytes: usize) -> Throughput {
    Throughput::Bytes(bytes as u64)
}

fn elements(elements: usize) -> Throughput {
    Throughput::Elements(elements as u64)
}

fn heads(c: &mut Criterion) {
    for (name, head) in [("plain", PLAIN), ("browser", BROWSER), ("upgrade", UPGRADE)] {
        measure(c, "parse_head", name, bytes(head.len()), ParseHead::new(head));
    }
    measure(c, "exchange", "plain", ONE, Exchange::pipelined(PLAIN, 1));
    measure(c, "exchange", "plain_pipelined_16", elements(16), Exchange::pipelined(PLAIN, 16));
    measure(c, "exchange", "plain_and_browser", elements(2), Exchange::alternating(PLAIN, BROWSER));
    measure(c, "exchange", "browser", ONE, Exchange::pipelined(BROWSER, 1));
    measure(c, "exchange", "browser_in_pieces_of_100", ONE, Exchange::in_pieces(BROWSER, 100));
}

fn router(c: &mut Criterion) {
    let routes = Routes::new();
    let mut group = c.benchmark_group("router");
    for (name, path) in Routes::FOUND.into_iter().chain([("missing", Routes::MISSING)]) {
        let expected = if name == "missing" { 404 } else { 200 };
        assert_eq!(routes.route(Routes::request(path)), expected, "{path}");
        group.bench_function(name, |b| {
            b.iter_batched(|| Routes::request(path), |request| routes.route(request), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn frames(c: &mut Criterion) {
    for payload_bytes in [0, 16, 125, 1024, 65_536] {
        let throughput = bytes(payload_bytes + 8);
        measure(c, "decode_frame", payload_bytes.to_string(), throughput.clone(), DecodeFrames::new(payload_bytes, 1));
        measure(c, "encode_frame", payload_bytes.to_string(), throughput.clone(), EncodeFrame::unmasked(payload_bytes));
        measure(c, "encode_masked_frame", payload_bytes.to_string(), throughput, EncodeFrame::masked(payload_bytes));
    }
    measure(c, "decode_frames", "16_of_64", elements(16), DecodeFrames::new(64, 16));
}

/// Payloads from 1 byte to 1 MiB, some of them at every alignment within a word.
fn unmasking(c: &mut Criterion) {
    for len in [1, 16, 64, 125, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576] {
        measure(c, "unmask", len.to_string(), bytes(len), Unmask::new(len, 0));
    }
    for len in [64, 1024, 16_384, 1_048_576] {
        for alignment in 1..8 {
            measure(c, "unmask", format!("{len}_at_{alignment}"), bytes(len), Unmask::new(len, alignment));
        }
    }
}

fn utf8(c: &mut Criterion) {
    let mut check = |name: String, text: CheckText| {
        let throughput = bytes(text.expected());
        measure(c, "utf8", name, throughput, text);
    };
    for len in [64, 1024, 65_536] {
        check(format!("ascii_{len}"), CheckText::ascii(len));
        check(format!("multilingual_{len}"), CheckText::multilingual(len.max(256)));
        check(format!("invalid_late_{len}"), CheckText::invalid_late(len.max(256)));
    }
    // 1021 is prime, so the pieces cut characters at every position.
    check("ascii_65536_in_pieces".into(), CheckText::ascii(65_536).in_pieces(1021));
    check("multilingual_65536_in_pieces".into(), CheckText::multilingual(65_536).in_pieces(1021));
    check("multilingual_1024_in_bytes".into(), CheckText::multilingual(1024).in_pieces(1));
    check("invalid_late_65536_in_pieces".into(), CheckText::invalid_late(65_536).in_pieces(1021));
}

fn messages(c: &mut Criterion) {
    let mut receive = |name: &str, messages: ReceiveMessages| {
        let throughput = bytes(messages.expected());
        measure(c, "receive_message", name, throughput, messages);
    };
    receive("64", ReceiveMessages::whole(64, 1));
    receive("64_window_of_16", ReceiveMessages::whole(64, 16));
    receive("text_64", ReceiveMessages::text(64));
    receive("text_16384", ReceiveMessages::text(16_384));
    receive("65536_in_chunks_of_4096", ReceiveMessages::in_chunks(65_536, 4096));
    receive("1048576_in_chunks_of_32768", ReceiveMessages::in_chunks(1_048_576, 32_768));
    receive("16_fragments_of_1024", ReceiveMessages::fragmented(MessageKind::Binary, 1024, 16));
    receive("text_16_fragments_of_1024", ReceiveMessages::fragmented(MessageKind::Text, 1024, 16));
    receive("1024_fragments_of_1", ReceiveMessages::fragmented(MessageKind::Binary, 1, 1024));
}

fn deflate(c: &mut Criterion) {
    for len in [1024, 65_536] {
        for level in [1, 6] {
            let name = |takeover| format!("{len}_level_{level}{takeover}");
            measure(c, "deflate", name(""), bytes(len), CompressMessage::text(len, level, false));
            measure(c, "deflate", name("_takeover"), bytes(len), CompressMessage::varied(len, level, true));
        }
        measure(c, "inflate", len.to_string(), bytes(len), inflate_message(len, false));
        measure(c, "inflate", format!("{len}_takeover"), bytes(len), inflate_message(len, true));
    }
    measure(c, "deflate", "noise_65536", bytes(65_536), CompressMessage::noise(65_536));
}

fn engine(c: &mut Criterion) {
    measure(c, "timers", "renew_among_10000", ONE, RenewTimer::among(10_000));
    measure(c, "timers", "expire_1000", elements(1000), ExpireTimers::new(1000));
    measure(c, "mailbox", "64_to_running", elements(64), HandOver::to_running(64));
    measure(c, "mailbox", "1_to_sleeping", ONE, HandOver::to_sleeping(1));
    measure(c, "mailbox", "64_to_sleeping", elements(64), HandOver::to_sleeping(64));
    measure(c, "inbound", "64", ONE, PassInbound::new(64, 1));
    measure(c, "inbound", "64_coalesced_16", elements(16), PassInbound::new(64, 16));
    measure(c, "inbound", "4096_times_4", elements(4), PassInbound::new(4096, 4));
    measure(c, "inbound", "pause_and_resume", ONE, PauseInbound::new(4096));
    measure(c, "outbound", "66", ONE, PassOutbound::copied(66, 1));
    measure(c, "outbound", "66_times_16", elements(16), PassOutbound::copied(66, 16));
    measure(c, "outbound", "shared_65536", ONE, PassOutbound::shared(65_536, 1));
    measure(c, "outbound", "shared_16384_times_8", elements(8), PassOutbound::shared(16_384, 8));
    measure(c, "fan_out", "66_to_1000", elements(1000), FanOut::to(1000, 66));
    measure(c, "echo_without_system", "64", ONE, Echo::new(64, 1));
    measure(c, "echo_without_system", "64_window_of_16", elements(16), Echo::new(64, 16));
}

criterion_group!(benches, heads, router, frames, unmasking, utf8, messages, deflate, engine, threads::hand_over);
criterion_main!(benches);
