#!/usr/bin/env python3
"""Runs the echo matrix against a WebSocket echo server, with the `websockets` library as the client.

usage: peer.py URL [compressed]

With "compressed" the server has to agree on permessage-deflate, and the messages of the matrix are compressed, with each of
several sets of parameters.

Prints one line for each case that passed. At the first that does not, says why and exits with status 1.
peer.mjs is the same matrix with another library; keep the two alike.
"""

import asyncio
import random
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

CASE_SECONDS_MAX = 60  # the largest case takes about a second; this only ends a hang
CLOSE_SECONDS_MAX = 10
PIPELINED_MESSAGES = 1000

TEXT = "Gezeiten, marée, прилив, 潮汐, 🌊, e\u0301, \u0000, \U0010ffff"
ALL_BYTES = bytes(range(256))


def pattern(size):
    """`size` bytes whose period, a prime, divides no buffer or frame size, so that a shifted copy shows."""
    period = bytes(i * 31 % 251 for i in range(251))
    return (period * (size // len(period) + 1))[:size]


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def show(data):
    return f"{type(data).__name__} of length {len(data)}, {data[:40]!r}..."


def check_same(got, sent):
    if got != sent or type(got) is not type(sent):
        raise AssertionError(f"sent {show(sent)}, got back {show(got)}")


def open_connection(url, **options):
    return connect(
        url,
        compression=options.pop("compression", None),
        max_size=None,
        max_queue=None,
        ping_interval=None,
        proxy=None,
        close_timeout=CLOSE_SECONDS_MAX,
        **options,
    )


async def echo(ws, message):
    await ws.send(message)
    check_same(await ws.recv(), message)


async def empty_text(ws):
    await echo(ws, "")


async def empty_binary(ws):
    await echo(ws, b"")


async def text_of_many_scripts(ws):
    await echo(ws, TEXT)


async def every_byte_value(ws):
    await echo(ws, ALL_BYTES)


async def sizes_around_the_length_encodings(ws):
    for size in (1, 125, 126, 127, 65535, 65536):
        await echo(ws, pattern(size))


async def hundred_kilobytes(ws):
    await echo(ws, pattern(100_000))
    await echo(ws, TEXT * (100_000 // len(TEXT)))


async def sixteen_mebibytes(ws):
    await echo(ws, pattern(16 * 1024 * 1024))


async def many_small_fragments(ws):
    data = pattern(7 * 1000)
    await ws.send(data[i : i + 7] for i in range(0, len(data), 7))
    check_same(await ws.recv(), data)
    await ws.send(iter(TEXT))
    check_same(await ws.recv(), TEXT)


async def fragments_with_pings_between(ws):
    data = pattern(5 * 40)

    async def fragments_and_pings():
        for i in range(0, len(data), 5):
            yield data[i : i + 5]
            # The pong has to come now, in the middle of the message, not after it.
            await (await ws.ping(b"between %d" % i))

    await ws.send(fragments_and_pings())
    check_same(await ws.recv(), data)


async def pipelined_messages(ws):
    messages = [f"{i} {'x' * (i % 200)}" for i in range(PIPELINED_MESSAGES)]
    for message in messages:
        await ws.send(message)
    for message in messages:
        check_same(await ws.recv(), message)


async def ping_and_pong(ws):
    # `websockets` resolves a ping only by a pong of the same payload.
    for payload in (b"", b"tide", ALL_BYTES[-125:]):
        await (await ws.ping(payload))
    await echo(ws, "still open")


async def close_with(ws, code, reason):
    await ws.close(code, reason)
    received = ws.protocol.close_rcvd
    check(received is not None, "the server ended the connection without a close frame")
    check((received.code, received.reason) == (code, reason), f"the server answered the close with {received}")


async def close_1000(ws):
    await close_with(ws, 1000, "")


async def close_1000_with_reason(ws):
    await close_with(ws, 1000, "ebb — 退潮")


async def close_4321_with_reason(ws):
    await close_with(ws, 4321, "r" * 123)


async def close_with_unread_echoes(ws):
    # All that was sent before the close frame is echoed before the close is answered.
    for _ in range(100):
        await ws.send(pattern(1000))
    await close_with(ws, 1000, "enough")
    for _ in range(100):
        check_same(await ws.recv(), pattern(1000))


# What a broken client could send, as octets with a masking key of zeros, and the code that has to answer it (RFC 6455, 7.4.1).
VIOLATIONS = {
    "reserved opcode": (b"\x83\x80\0\0\0\0", 1002),
    "reserved control opcode": (b"\x8b\x80\0\0\0\0", 1002),
    "RSV1 without an extension": (b"\xc2\x80\0\0\0\0", 1002),
    "unmasked frame": (b"\x82\x01x", 1002),
    "ping of 126 bytes": (b"\x89\xfe\0\x7e\0\0\0\0" + bytes(126), 1002),
    "fragmented ping": (b"\x09\x80\0\0\0\0", 1002),
    "continuation of nothing": (b"\x80\x80\0\0\0\0", 1002),
    "length that is not minimal": (b"\x82\xfe\0\x01\0\0\0\0x", 1002),
    "close payload of one byte": (b"\x88\x81\0\0\0\0\x03", 1002),
    "close code 1005": (b"\x88\x82\0\0\0\0\x03\xed", 1002),
    "text that is not UTF-8": (b"\x81\x82\0\0\0\0\xc3\x28", 1007),
    "surrogate in a text": (b"\x81\x83\0\0\0\0\xed\xa0\x80", 1007),
}


async def violation(ws, octets, code):
    await echo(ws, "well so far")
    ws.transport.write(octets)
    try:
        data = await ws.recv()
    except ConnectionClosed as closed:
        received = closed.rcvd
    else:
        raise AssertionError(f"the server sent {show(data)} instead of a close frame")
    check(received is not None, f"no close frame, {code} expected")
    check(received.code == code, f"close code {received.code}, {code} expected")


async def compression_offered(url):
    # The server may accept or decline; both have to work.
    async with open_connection(url, compression="deflate") as ws:
        await echo(ws, "x" * 10_000)
        await echo(ws, pattern(10_000))
        await echo(ws, "")


def on_a_connection(case, *arguments):
    async def run(url):
        async with open_connection(url) as ws:
            await case(ws, *arguments)

    return run


CASES = [
    ("empty text", on_a_connection(empty_text)),
    ("empty binary", on_a_connection(empty_binary)),
    ("text of many scripts", on_a_connection(text_of_many_scripts)),
    ("every byte value", on_a_connection(every_byte_value)),
    ("sizes around the length encodings", on_a_connection(sizes_around_the_length_encodings)),
    ("100 kB", on_a_connection(hundred_kilobytes)),
    ("16 MiB", on_a_connection(sixteen_mebibytes)),
    ("many small fragments", on_a_connection(many_small_fragments)),
    ("fragments with pings between", on_a_connection(fragments_with_pings_between)),
    (f"{PIPELINED_MESSAGES} pipelined messages", on_a_connection(pipelined_messages)),
    ("ping and pong", on_a_connection(ping_and_pong)),
    ("compression offered", compression_offered),
    ("close 1000", on_a_connection(close_1000)),
    ("close 1000 with reason", on_a_connection(close_1000_with_reason)),
    ("close 4321 with reason", on_a_connection(close_4321_with_reason)),
    ("close with unread echoes", on_a_connection(close_with_unread_echoes)),
    *[
        (f"violation: {name} -> {code}", on_a_connection(violation, octets, code))
        for name, (octets, code) in VIOLATIONS.items()
    ],
]


# What a client asks for, and what has to hold then: contexts forgotten by the server and by us, window bits at most.
PARAMETERS = {
    "all that is usual": ({"client_max_window_bits": True}, (None, None, 15, 15)),
    "no context takeover": (
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        (True, True, 15, 15),
    ),
    "small windows": ({"server_max_window_bits": 9, "client_max_window_bits": 9}, (None, None, 9, 9)),
    "one context": ({"server_no_context_takeover": True, "server_max_window_bits": 12}, (True, None, 12, 15)),
}


async def two_mebibytes(ws):
    await echo(ws, pattern(2 * 1024 * 1024))


async def noise(ws):
    # What cannot be compressed, between what can.
    for size in (100, 1000, 100_000):
        await echo(ws, random.Random(size).randbytes(size))
        await echo(ws, pattern(size))


COMPRESSED_CASES = [
    ("empty text", empty_text),
    ("text of many scripts", text_of_many_scripts),
    ("sizes around the length encodings", sizes_around_the_length_encodings),
    ("100 kB", hundred_kilobytes),
    ("noise", noise),
    ("many small fragments", many_small_fragments),
    ("fragments with pings between", fragments_with_pings_between),
    (f"{PIPELINED_MESSAGES} pipelined messages", pipelined_messages),
    ("2 MiB", two_mebibytes),
    ("close with unread echoes", close_with_unread_echoes),
]


def compressed(asked, expected):
    async def run(url):
        factory = ClientPerMessageDeflateFactory(compress_settings={"level": 6}, **asked)
        async with open_connection(url, extensions=[factory]) as ws:
            check(len(ws.protocol.extensions) == 1, "the server declined permessage-deflate")
            agreed = ws.protocol.extensions[0]
            forgets = (agreed.remote_no_context_takeover, agreed.local_no_context_takeover)
            bits = (agreed.remote_max_window_bits, agreed.local_max_window_bits)
            for got, want in zip(forgets, expected[:2]):
                check(want is None or got == want, f"{agreed} for {asked}")
            for got, most in zip(bits, expected[2:]):
                check(got <= most, f"{agreed} for {asked}")
            # One after the other on one connection: all share its contexts.
            for name, case in COMPRESSED_CASES:
                try:
                    await case(ws)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from error

    return run


async def main(url, cases):
    for name, case in cases:
        start = time.monotonic()
        try:
            await asyncio.wait_for(case(url), CASE_SECONDS_MAX)
        except asyncio.TimeoutError:
            return f"FAILED {name}: not done after {CASE_SECONDS_MAX} s"
        except Exception as error:
            return f"FAILED {name}: {type(error).__name__}: {error}"
        print(f"ok {name} ({time.monotonic() - start:.3f} s)", flush=True)
    return None


if __name__ == "__main__":
    cases = CASES
    if sys.argv[2:] == ["compressed"]:
        cases = [(f"compressed: {name}", compressed(*parameters)) for name, parameters in PARAMETERS.items()]
    elif len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], cases)))
