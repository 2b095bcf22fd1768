//! Instruction counts of single parts of Tidegate with their limits, the guard against regressions. Run by
//! `ci/instructions.sh`, which installs the runner that this needs in addition to valgrind.
//!
//! Each benchmark is one step of a subject after three warm-up steps that fill the caches of its thread. The counts are
//! the same in every run of one binary. Another compiler, standard library or processor (with other vector
//! instructions) changes them by a few percent. README.md describes how to raise a limit.

#![expect(missing_docs, reason = "the macros of the benchmarks generate undocumented items")]

mod subjects;

use std::hint::black_box;

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use tidegate_http::Request;
use tidegate_websocket::MessageKind;

use subjects::deflate::{CompressMessage, inflate_message};
use subjects::engine::{Echo, ExpireTimers, FanOut, HandOver, PassInbound, PassOutbound, PauseInbound, RenewTimer};
use subjects::http::{BROWSER, Exchange, PLAIN, ParseHead, Routes, UPGRADE};
use subjects::websocket::{CheckText, DecodeFrames, EncodeFrame, ReceiveMessages, Unmask};
use subjects::{Subject, warmed};

/// Sets the most instructions of a step: the measured count plus a tenth.
fn limit(instructions: u64) -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions)]));
    config
}

/// Runs one step. Returns the subject, so freeing it is not counted.
#[inline(always)]
fn step<S: Subject>(mut subject: S) -> S {
    black_box(subject.run());
    subject
}

/// Returns a router that has answered one request, and the next request.
fn asked(path: &str) -> (Routes, Request) {
    let routes = Routes::new();
    assert_ne!(routes.route(Routes::request(path)), 0, "{path}");
    (routes, Routes::request(path))
}

#[library_benchmark]
#[bench::plain(args = (warmed(ParseHead::new(PLAIN))), config = limit(2100))]
#[bench::browser(args = (warmed(ParseHead::new(BROWSER))), config = limit(6090))]
#[bench::upgrade(args = (warmed(ParseHead::new(UPGRADE))), config = limit(3660))]
fn parse_head(subject: ParseHead) -> ParseHead {
    step(subject)
}

#[library_benchmark]
#[bench::plain(args = (warmed(Exchange::pipelined(PLAIN, 1))), config = limit(761))]
#[bench::plain_pipelined_16(args = (warmed(Exchange::pipelined(PLAIN, 16))), config = limit(9710))]
#[bench::plain_and_browser(args = (warmed(Exchange::alternating(PLAIN, BROWSER))), config = limit(8640))]
#[bench::browser(args = (warmed(Exchange::pipelined(BROWSER, 1))), config = limit(859))]
#[bench::browser_in_pieces_of_100(args = (warmed(Exchange::in_pieces(BROWSER, 100))), config = limit(12_400))]
fn exchange(subject: Exchange) -> Exchange {
    step(subject)
}

library_benchmark_group!(name = heads, benchmarks = [parse_head, exchange]);

#[library_benchmark]
#[bench::one(args = (warmed(Unmask::new(1, 0))), config = limit(69))]
#[bench::small(args = (warmed(Unmask::new(64, 3))), config = limit(102))]
#[bench::middle(args = (warmed(Unmask::new(1024, 5))), config = limit(236))]
#[bench::large(args = (warmed(Unmask::new(1_048_576, 7))), config = limit(99_300))]
fn unmask(subject: Unmask) -> Unmask {
    step(subject)
}

#[library_benchmark]
#[bench::small(args = (warmed(DecodeFrames::new(64, 1))), config = limit(294))]
#[bench::small_window_of_16(args = (warmed(DecodeFrames::new(64, 16))), config = limit(3910))]
#[bench::large(args = (warmed(DecodeFrames::new(65_536, 1))), config = limit(6530))]
fn decode_frame(subject: DecodeFrames) -> DecodeFrames {
    step(subject)
}

#[library_benchmark]
#[bench::small(args = (warmed(EncodeFrame::unmasked(64))), config = limit(112))]
#[bench::middle(args = (warmed(EncodeFrame::unmasked(1024))), config = limit(296))]
#[bench::masked(args = (warmed(EncodeFrame::masked(64))), config = limit(251))]
fn encode_frame(subject: EncodeFrame) -> EncodeFrame {
    step(subject)
}

library_benchmark_group!(name = frames, benchmarks = [unmask, decode_frame, encode_frame]);

#[library_benchmark]
#[bench::ascii(args = (warmed(CheckText::ascii(65_536))), config = limit(10_300))]
#[bench::ascii_in_pieces(args = (warmed(CheckText::ascii(65_536).in_pieces(1021))), config = limit(21_400))]
#[bench::multilingual(args = (warmed(CheckText::multilingual(65_536))), config = limit(59_800))]
#[bench::multilingual_in_pieces(args = (warmed(CheckText::multilingual(65_536).in_pieces(1021))), config = limit(72_900))]
#[bench::multilingual_in_bytes(args = (warmed(CheckText::multilingual(1024).in_pieces(1))), config = limit(98_900))]
#[bench::invalid_late(args = (warmed(CheckText::invalid_late(65_536))), config = limit(59_900))]
fn check_text(subject: CheckText) -> CheckText {
    step(subject)
}

library_benchmark_group!(name = texts, benchmarks = [check_text]);

#[library_benchmark]
#[bench::small(args = (warmed(ReceiveMessages::whole(64, 1))), config = limit(411))]
#[bench::small_window_of_16(args = (warmed(ReceiveMessages::whole(64, 16))), config = limit(5120))]
#[bench::text(args = (warmed(ReceiveMessages::text(1024))), config = limit(724))]
#[bench::in_chunks(args = (warmed(ReceiveMessages::in_chunks(65_536, 4096))), config = limit(22_600))]
#[bench::fragmented(args = (warmed(ReceiveMessages::fragmented(MessageKind::Binary, 1024, 16))), config = limit(12_700))]
#[bench::text_fragmented(args = (warmed(ReceiveMessages::fragmented(MessageKind::Text, 1024, 16))), config = limit(17_500))]
#[bench::tiny_fragments(args = (warmed(ReceiveMessages::fragmented(MessageKind::Binary, 1, 1024))), config = limit(433_000))]
fn receive_message(subject: ReceiveMessages) -> ReceiveMessages {
    step(subject)
}

#[library_benchmark]
#[bench::small(args = (warmed(Echo::new(64, 1))), config = limit(1180))]
#[bench::small_window_of_16(args = (warmed(Echo::new(64, 16))), config = limit(7500))]
fn echo_without_system(subject: Echo) -> Echo {
    step(subject)
}

library_benchmark_group!(name = messages, benchmarks = [receive_message, echo_without_system]);

#[library_benchmark]
#[bench::small(args = (warmed(CompressMessage::text(1024, 1, false))), config = limit(27_000))]
#[bench::small_takeover(args = (warmed(CompressMessage::text(1024, 1, true))), config = limit(3600))]
#[bench::small_level_6(args = (warmed(CompressMessage::varied(1024, 6, false))), config = limit(81_000))]
#[bench::varied_takeover(args = (warmed(CompressMessage::varied(1024, 1, true))), config = limit(14_000))]
#[bench::varied_takeover_level_6(args = (warmed(CompressMessage::varied(1024, 6, true))), config = limit(78_000))]
#[bench::large(args = (warmed(CompressMessage::text(65_536, 1, false))), config = limit(912_000))]
#[bench::noise(args = (warmed(CompressMessage::noise(65_536))), config = limit(3_350_000))]
fn deflate(subject: CompressMessage) -> CompressMessage {
    step(subject)
}

#[library_benchmark]
#[bench::small(args = (warmed(inflate_message(1024, false))), config = limit(10_900))]
#[bench::small_takeover(args = (warmed(inflate_message(1024, true))), config = limit(11_000))]
#[bench::large(args = (warmed(inflate_message(65_536, false))), config = limit(588_000))]
fn inflate(subject: ReceiveMessages) -> ReceiveMessages {
    step(subject)
}

library_benchmark_group!(name = compression, benchmarks = [deflate, inflate]);

#[library_benchmark]
#[bench::among_10000(args = (warmed(RenewTimer::among(10_000))), config = limit(245))]
fn renew_timer(subject: RenewTimer) -> RenewTimer {
    step(subject)
}

#[library_benchmark]
#[bench::thousand(args = (warmed(ExpireTimers::new(1000))), config = limit(451_000))]
fn expire_timers(subject: ExpireTimers) -> ExpireTimers {
    step(subject)
}

#[library_benchmark]
#[bench::to_running(args = (warmed(HandOver::to_running(64))), config = limit(4900))]
#[bench::to_sleeping(args = (warmed(HandOver::to_sleeping(64))), config = limit(4910))]
fn hand_over(subject: HandOver) -> HandOver {
    step(subject)
}

#[library_benchmark]
#[bench::small(args = (warmed(PassInbound::new(64, 1))), config = limit(417))]
#[bench::small_coalesced_16(args = (warmed(PassInbound::new(64, 16))), config = limit(2280))]
#[bench::buffers(args = (warmed(PassInbound::new(4096, 4))), config = limit(3870))]
fn pass_inbound(subject: PassInbound) -> PassInbound {
    step(subject)
}

#[library_benchmark]
#[bench::to_the_high_mark(args = (warmed(PauseInbound::new(4096))), config = limit(27_300))]
fn pause_inbound(subject: PauseInbound) -> PauseInbound {
    step(subject)
}

#[library_benchmark]
#[bench::small(args = (warmed(PassOutbound::copied(66, 1))), config = limit(540))]
#[bench::small_16(args = (warmed(PassOutbound::copied(66, 16))), config = limit(1690))]
#[bench::shared(args = (warmed(PassOutbound::shared(65_536, 1))), config = limit(1270))]
#[bench::shared_8(args = (warmed(PassOutbound::shared(16_384, 8))), config = limit(5260))]
fn pass_outbound(subject: PassOutbound) -> PassOutbound {
    step(subject)
}

#[library_benchmark]
#[bench::to_1000(args = (warmed(FanOut::to(1000, 66))), config = limit(328_000))]
fn fan_out(subject: FanOut) -> FanOut {
    step(subject)
}

library_benchmark_group!(
    name = engine,
    benchmarks = [renew_timer, expire_timers, hand_over, pass_inbound, pause_inbound, pass_outbound, fan_out]
);

#[library_benchmark]
#[bench::fixed(args = (asked(Routes::FOUND[0].1)), config = limit(467))]
#[bench::parameter(args = (asked(Routes::FOUND[1].1)), config = limit(1320))]
#[bench::two_parameters(args = (asked(Routes::FOUND[2].1)), config = limit(1870))]
#[bench::wildcard(args = (asked(Routes::FOUND[3].1)), config = limit(1300))]
#[bench::missing(args = (asked(Routes::MISSING)), config = limit(629))]
fn route((routes, request): (Routes, Request)) -> (Routes, u16) {
    let status = routes.route(request);
    (routes, status)
}

library_benchmark_group!(name = router, benchmarks = [route]);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [heads, router, frames, texts, messages, compression, engine]
);
