#!/usr/bin/env python3
"""Writes the seeds of the corpora: a few small inputs for each fuzz target, one for each feature of the format.

usage: make_seeds.py        (only after the format of a target's inputs has changed)
"""

import base64
import pathlib
import zlib

CORPUS = pathlib.Path(__file__).parent / "corpus"


def write(target, seeds):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds.items():
        (folder / name).write_bytes(content)


def deflated(payload, level=6, final=False):
    codec = zlib.compressobj(level, zlib.DEFLATED, -15)
    made = codec.compress(payload)
    if final:
        return made + codec.flush(zlib.Z_FINISH) + b"\x00"
    return (made + codec.flush(zlib.Z_SYNC_FLUSH))[:-4]


def masked(first_byte, payload, key=b"\x11\x22\x33\x44"):
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([first_byte]) + length + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def scripted(*frames):
    return b"".join(bytes([first_byte, len(payload)]) + payload for first_byte, payload in frames)


def long(first_byte, length, pattern):
    return bytes([first_byte, 255]) + length.to_bytes(2, "big") + pattern.ljust(16, b"-")


GET = b"GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
FIELDS = b"HTTP/1.1\r\nHost: a\r\nAccept: b\r\nAccept: c\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"

write("http", {
    "pipeline": b"\x00" + GET + b"\r\n" + GET + b"GET /" + FIELDS,
    "length": b"\x00POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello" + GET,
    "chunks": b"\x00" + CHUNKED + b"3\r\nhel\r\n00A;a=\"b\"\r\nlo, world!\r\n0\r\nX-Sum: 1\r\n\r\n" + GET,
    "continue": b"\x04POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok" + GET,
    "early": b"\x02" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + GET,
    "absolute": b"\x00GET http://b:81?q HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "old": b"\x00HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    "small": b"\x01PUT /12 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;abcd\r\nhi\r\n0\r\na: b\r\n\r\n" + GET,
    "small_drain": b"\x03POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n123456789012" + GET,
    "bare_line_feed": b"\x01GET / HTTP/1.1\r\nHost: a\n\r\n",
    "tls": b"\x00\x16\x03\x01\x02\x00\x01",
})

SERVER, DEFLATE, TAKEOVER, SMALL_WINDOW, SMALL_LIMIT, SCRIPT, COMPRESS = 1, 2, 4, 8, 16, 32, 64
TEXT = "tide \u00e9\u20ac\U0001f30a ".encode() * 3

write("websocket", {
    "messages": bytes([SERVER]) + masked(0x81, TEXT) + masked(0x02, b"a") + masked(0x89, b"p") + masked(0x80, b"b" * 200),
    "client": b"\x00\x81\x05Hello\x8a\x01x\x88\x05\x03\xe8bye",
    "compressed": bytes([DEFLATE]) + b"\xc1" + bytes([len(deflated(TEXT))]) + deflated(TEXT) + b"\x82\x00",
    "script": bytes([SCRIPT | SERVER]) + scripted((0x01, TEXT[:9]), (0x89, b""), (0x80, TEXT[9:]), (0x88, b"\x03\xe8")),
    "takeover": bytes([SCRIPT | SERVER | DEFLATE | TAKEOVER]) + scripted((0xc1, deflated(TEXT)), (0xc2, deflated(b"ab" * 99))),
    "fragments": bytes([SCRIPT | DEFLATE]) + scripted((0x41, deflated(TEXT)[:5]), (0x00, deflated(TEXT)[5:9]), (0x80, deflated(TEXT)[9:])),
    "long": bytes([SCRIPT | SERVER | DEFLATE | COMPRESS]) + long(0xc2, 60000, b"wave") + long(0x81, 3000, b"text"),
    "limit": bytes([SCRIPT | DEFLATE | COMPRESS | SMALL_LIMIT]) + long(0xc1, 150, b"fits") + long(0xc1, 900, b"fits not"),
    "window": bytes([SCRIPT | SERVER | DEFLATE | COMPRESS | SMALL_WINDOW]) + long(0xc2, 5000, bytes(range(16))),
    "final": bytes([SCRIPT | DEFLATE]) + scripted((0xc2, deflated(TEXT, final=True))),
})

def messages(*payloads):
    return b"".join(len(payload).to_bytes(2, "big") + payload for payload in payloads)

write("inflater", {
    "fixed": b"\x00" + messages(deflated(b"Hello")),
    "stored": b"\x00" + messages(deflated(TEXT, level=0), b"\x00"),
    "dynamic": b"\x00" + messages(deflated(bytes(range(97, 123)) * 4 + TEXT * 9)),
    "takeover": b"\x01" + messages(deflated(TEXT), deflated(TEXT[::-1])),
    "final": b"\x00" + messages(deflated(TEXT, final=True)),
    "final_inside": b"\x00" + messages(deflated(TEXT, final=True)[:-1] + deflated(b"more")),
    "limit": b"\x02" + messages(deflated(b"a" * 100), deflated(b"a" * 101)),
    "bomb": b"\x00" + messages(deflated(b"\0" * 200000)),
})

write("deflate_round_trip", {
    "short": bytes([0, 3, 6, 0]) + b"\x05\x05Hello\x05\x05Hello",
    "takeover": bytes([2, 3, 6, 100]) + b"\x04\x0f\xff\x07\x08pattern!" * 3,
    "client": bytes([3, 11, 0, 128]) + b"\x06\x10\x00\x01\x06abcdef\x05\xc8" + TEXT * 6,
    "huffman_only": bytes([2, 0, 6, 0]) + b"\x04\x20\x00\x03\x04tide" * 2,
    "levels": bytes([2, 8, 6, 0]) + b"\x04\x08\x00\x00\x03abc\x01\x04\x04\x08\x00\x00\x03abc\x00\x05\x02hi\x01\x0b\x04\x08\x00\x00\x03abc",
    "dropped": bytes([2, 3, 6, 0]) + b"\x04\x08\x00\x00\x03abc\x02\x30\x00\x21\x05bcdef\x04\x08\x00\x00\x03abc",
})

KEY = base64.b64encode(b"the sample nonce")
UPGRADE = (
    b"\x00GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
)
ACCEPT = b"\x02Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n"

write("handshake", {
    "request": UPGRADE + b"\r\n",
    "subprotocols": UPGRADE + b"Sec-WebSocket-Protocol: soap, chat\r\nSec-WebSocket-Protocol: x\r\n\r\n",
    "origin": UPGRADE + b"Origin: http://example.com\r\n\r\n",
    "allowed_origin": UPGRADE + b"Origin: http://a:81\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    "no_version": UPGRADE.replace(b"Sec-WebSocket-Version", b"X") + b"\r\n",
    "roles": b"\x01the sample noncews://example.com/chat?room=1",
    "roles_subprotocols": b"\x07another nonce 16wss://[::1]:8443",
    "response": ACCEPT,
    "response_subprotocol": ACCEPT + b"Sec-WebSocket-Protocol: chat\nServer: a\n",
})

RESPONSE = (
    b"\x00HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

write("client_handshake", {
    "accepted": RESPONSE + b"\x81\x05Hello",
    "wrong_key": RESPONSE.replace(b"s3", b"S3"),
    "interim": b"\x00HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + RESPONSE[1:],
    "refused": b"\x00HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbiddenHTTP/1.1",
    "chunked": b"\x00HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\nrest",
    "until_the_end": b"\x00HTTP/1.0 200 OK\r\n\r\n<html>",
    "redirect": b"\x00HTTP/1.1 302 Found\r\nLocation: ../b?c#d\r\nContent-Length: 0\r\n\r\n",
    "tunnel": b"\x01HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntunnel",
    "no_tunnel": b"\x01HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno",
    "line_feeds": b"\x00HTTP/1.1 200 OK\nA: b\n\n",
    "other": b"\x00SSH-2.0-OpenSSH_9.2\r\n",
})

write("negotiation", {
    "plain": b"\x00\x00\x00\x00permessage-deflate",
    "browser": b"\x30\x03\x30\x00permessage-deflate; client_max_window_bits",
    "second": b"\x30\x03\x30\x03permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10",
    "all": b"\x11\x01\x22\x02foo;a=1\npermessage-deflate;server_no_context_takeover;client_no_context_takeover"
           b";server_max_window_bits=\"12\";client_max_window_bits=9, , bar",
    "unknown": b"\x30\x03\x30\x03permessage-deflate; server_max_window_bits=010, permessage-deflate; x=\"a\\b\"",
    "malformed": b"\x30\x03\x30\x03permessage-deflate; a=\"b c\"",
})

# Routes: a method and a count of segments, then the segments; 8 to 12 are parameters, 13 is a wildcard.
ROUTES = b"\x06" b"\x00\x00\x00" b"\x00\x01\x00\x08" b"\x00\x02\x00\x08\x01" b"\x01\x01\x00\x01" b"\x00\x01\x08\x02" b"\x05\x01\x01\x0d"
REQUESTS = b"\x00\x00\x00\x00" b"\x00\x01\x00\x01\x01" b"\x01\x01\x00\x07\x00" b"\x00\x02\x00\x02\x01\x01" b"\x02\x01\x01\x09\x00" b"\x03\x00\x00\x00" b"\x04\x01\x00\x06\x00"

write("router", {
    "routes": ROUTES + REQUESTS,
    "empty": b"\x00" + REQUESTS,
    "wildcards": b"\x03\x00\x00\x0d\x00\x01\x00\x0d\x00\x02\x00\x08\x0d" + b"\x00\x03\x00\x01\x04\x02\x00" + REQUESTS,
})

TEXT_ROUTES = b"\x05" b"\x00\x00\x00" b"\x00\x01\x00\x08" b"\x01\x02\x00\x08\x01" b"\x00\x01\x08\x02" b"\x02\x00\x04"

write("text_routes", {
    "found": TEXT_ROUTES + b"\x00\x00\x07\x01\x00\x07\x00" + b'{"id":7,"method":"GET","target":"/a/b?c","body":{"x":[1]}}',
    "not_found": TEXT_ROUTES + b"\x00\x01\x00\x00\x02\x00" + b'{"id":18446744073709551615,"method":"PUT","target":"/"}',
    "invalid": TEXT_ROUTES + b"\x00\x00\x01\x01\x00\x09\x01" + b'{"id":7,"method":"GET"',
    "array": TEXT_ROUTES + b"\x01\x00\x01\x02\x00\x01\x01\x01" + b'[7,"GET","/",null]',
})

HELLO = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + bytes(range(32)) + b"\x00\x00\x02\x13\x01\x01\x00\x00\x00"

write("tls", {
    "hello": b"\x00" + HELLO,
    "hello_in_two_records": b"\x00" + HELLO[:3] + b"\x00\x04" + HELLO[5:9] + HELLO[:3] + b"\x00\x2b" + HELLO[9:],
    "text": b"\x00GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "old": b"\x00\x80\x2e\x01\x00\x02",
    "alert": b"\x00\x15\x03\x01\x00\x02\x02\x00",
    # Both ends send, change their keys, send, receive in pieces, and close.
    "session": b"\x01" + b"\x00\x00\x40\x01\x40\x01\x04\x00\x01\x00\x05\x03\x00\x0a\x00\x07\x0a\x01\x00\x0b\x00\x03\x06\x07\x0a\xff\xff",
    "broken": b"\x01" + b"\x00\x00\x40\x08\x00\x09\x01\x0a\xff\xff",
})
