#!/usr/bin/env python3
"""Uses the example `http` through a proxy, with aiohttp as the client.

usage: proxied.py URL all|server-gone|server-back FILE http|tcp

FILE is the large file that the server has at /files/large.bin. `http` is a proxy that sets X-Forwarded-*, `tcp` one that sends
the PROXY protocol. The client connects from 127.0.0.2, and the server trusts the proxy at 127.0.0.1 alone.

Prints one line for each case that passed. At the first that does not, says why and exits with status 1.
"""

import asyncio
import hashlib
import random
import sys

import aiohttp

TIMEOUT = 60  # all cases take a few seconds; this only ends a hang
CLIENT = "127.0.0.2"


def check(got, expected, case):
    if got != expected:
        raise AssertionError(f"{case}: got {got!r:.500}, expected {expected!r:.500}")
    print("ok", case)


def new_session(url):
    connector = aiohttp.TCPConnector(local_addr=(CLIENT, 0), limit=16)
    return aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=TIMEOUT), connector=connector)


async def text(session, path, **options):
    async with session.get(path, **options) as response:
        return response.status, await response.text()


async def the_client_is_known(session, mode):
    invented = {"X-Forwarded-For": "192.0.2.6", "X-Forwarded-Proto": "ftp", "X-Forwarded-Host": "evil.example",
                "Forwarded": "for=192.0.2.7;proto=https;host=evil.example"}
    for name, fields in [("the client's address", {}), ("invented fields are not believed", invented)]:
        async with session.get("/client", headers={"Host": "app.example:8080", **fields}) as response:
            client = await response.json()
        expected = (CLIENT, "http", "app.example:8080", CLIENT if mode == "tcp" else None)
        got = (client["address"], client["scheme"], client["host"], client["proxy_protocol"])
        check(got, expected, name)


async def websockets(session, url):
    async with session.ws_connect("/ws", origin=url, max_msg_size=0) as ws:
        for message in ("", "hello", "\u6f6e\u6c50" * 30_000):
            await ws.send_str(message)
            if await ws.receive_str() != message:
                raise AssertionError(f"WebSocket: text of {len(message)}")
        for size in (0, 125, 126, 65_535, 65_536, 5_000_000):
            message = random.randbytes(size)
            await ws.send_bytes(message)
            if await ws.receive_bytes() != message:
                raise AssertionError(f"WebSocket: {size} bytes")
        messages = [f"{number} {'x' * (number % 300)}" for number in range(2_000)]

        async def send():
            for message in messages:
                await ws.send_str(message)

        sending = asyncio.create_task(send())
        check([await ws.receive_str() for _ in messages], messages, "WebSocket: messages in order")
        await sending
        await ws.close(code=4321, message=b"bye")
        check(ws.close_code, 4321, "WebSocket: close code")
    try:
        async with session.ws_connect("/ws", origin="http://evil.example"):
            raise AssertionError("WebSocket: another origin was accepted")
    except aiohttp.WSServerHandshakeError as refusal:
        check(refusal.status, 403, "WebSocket: another origin is refused")


async def transfers(session, path):
    with open(path, "rb") as file:
        content = file.read()
    expected = hashlib.sha256(content).hexdigest()

    async def download():
        digest = hashlib.sha256()
        async with session.get("/files/large.bin") as response:
            async for piece in response.content.iter_any():
                digest.update(piece)
        return digest.hexdigest()

    async def upload(size, chunked, expect):
        sent = random.randbytes(size)

        async def pieces():
            for start in range(0, size, 100_000):
                yield sent[start:start + 100_000]

        async with session.post("/echo", data=pieces() if chunked else sent, expect100=expect) as response:
            return response.status == 200 and await response.read() == sent

    check(await asyncio.gather(*(download() for _ in range(4))), [expected] * 4, "four downloads at once")
    uploads = [upload(8_000_000, chunked, expect) for chunked in (False, True) for expect in (False, True)]
    check(await asyncio.gather(*uploads), [True] * 4, "four uploads at once")
    async with session.get("/files/large.bin", headers={"Range": "bytes=1000000-1999999"}) as response:
        check((response.status, await response.read() == content[1_000_000:2_000_000]), (206, True), "a range")
        tag = response.headers["ETag"]
    async with session.get("/files/large.bin", headers={"If-None-Match": tag}) as response:
        check((response.status, await response.read()), (304, b""), "a file that is not modified")
    async with session.head("/files/large.bin") as response:
        check((response.status, response.headers["Content-Length"]), (200, str(len(content))), "HEAD")


async def events(session):
    async with session.get("/events?n=2&every=3600") as response:
        # The second event is due in an hour.
        lines = [(await response.content.readline()).decode().rstrip() for _ in range(3)]
        check(sorted(lines), ["", "data: event 0", "id: 0"], "an event arrives although the stream goes on")
    lines = (await text(session, "/events?n=4", headers={"Last-Event-ID": "1"}))[1].splitlines()
    check([line for line in lines if line.startswith("data")], ["data: event 2", "data: event 3"], "events after the last one")


async def connections_are_kept(session):
    async def accepted():
        lines = (await text(session, "/metrics"))[1].splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("tidegate_accepted_total "))

    before = await accepted()
    for _ in range(50):
        await text(session, "/plaintext")
    opened = await accepted() - before
    check(opened <= 3, True, f"50 requests take {opened} connections to the server")


async def simple(session):
    check(await text(session, "/plaintext"), (200, "Hello, World!"), "plaintext")
    check(await text(session, "/json?name=a%20b"), (200, '{"hello":"a b"}'), "query")
    async with session.post("/json", json={"a": [1]}) as response:
        check(await response.json(), {"a": [1]}, "JSON")
    async with session.post("/json", data=b"{}", headers={"Content-Type": "text/plain"}) as response:
        check(response.status, 415, "JSON of another type")
    async with session.get("/redirect", allow_redirects=False) as response:
        check((response.status // 100, response.headers["Location"]), (3, "/"), "redirect")
    check((await text(session, "/nothing"))[0], 404, "not found")


async def main(url, case, path, mode):
    async with new_session(url) as session:
        if case == "server-gone":
            try:
                status, _ = await text(session, "/plaintext")
            except aiohttp.ClientError:
                status = None
            check(status in ((None,) if mode == "tcp" else (502, 503)), True, f"answered with {status} without the server")
            return
        await simple(session)
        await the_client_is_known(session, mode)
        if case == "server-back":
            return
        await websockets(session, url)
        await transfers(session, path)
        await events(session)
        if mode == "http":
            await connections_are_kept(session)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except AssertionError as error:
        print(f"{error}", file=sys.stderr)
        sys.exit(1)
