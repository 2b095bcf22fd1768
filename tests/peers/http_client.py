#!/usr/bin/env python3
"""Uses every route of the example `http`, with the libraries requests, httpx and aiohttp as the clients.

usage: http_client.py URL FOLDER

FOLDER is the folder that the server has at /files.
Prints one line for each case that passed. At the first that does not, says why and exits with status 1.
http_client.mjs is the same list with Node's fetch; keep the two alike.
"""

import asyncio
import sys

import aiohttp
import httpx
import requests

TIMEOUT = 30  # the largest case takes less than a second; this only ends a hang


def check(got, expected, case):
    if got != expected:
        raise AssertionError(f"{case}: got {got!r}, expected {expected!r}")
    print("ok", case)


def cases(client, name, large):
    """The cases of a client with the interface that requests and httpx share."""
    check(client.get("/plaintext").text, "Hello, World!", f"{name}: plaintext")
    page = client.get("/")
    check(page.headers["content-type"], "text/html; charset=utf-8", f"{name}: page")
    check(client.get("/json", params={"name": "J\u00fcrgen & co"}).json(), {"hello": "J\u00fcrgen & co"}, f"{name}: query")
    check(client.post("/json", json={"a": [1, None]}).json(), {"a": [1, None]}, f"{name}: JSON")
    for content, content_type, status in [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 422),
        (b"{}", "text/plain", 415),
    ]:
        refused = client.post("/json", headers={"content-type": content_type}, **{name_of_content(client): content})
        check((refused.status_code, list(refused.json())), (status, ["error"]), f"{name}: JSON refused with {status}")
    fields = client.post("/form", data={"a": "b c", "d": ""}).json()
    check([(field["name"], field["bytes"]) for field in fields], [("a", 3), ("d", 0)], f"{name}: urlencoded form")
    files = {"file": ("\u00fc.bin", bytes(100_000), "application/octet-stream")}
    fields = client.post("/form", data={"text": "hello"}, files=files).json()
    check([(field["name"], field["bytes"]) for field in fields], [("text", 5), ("file", 100_000)], f"{name}: multipart form")
    visits = [client.get("/cookie").text for _ in range(3)]
    check(visits, ["visit 1\n", "visit 2\n", "visit 3\n"], f"{name}: cookies")
    redirect = client.get("/redirect", **{follow_of(client): True})
    check((redirect.status_code, redirect.text == page.text), (200, True), f"{name}: redirect")
    check(client.post("/echo", **{name_of_content(client): bytes(1_000_000)}).content, bytes(1_000_000), f"{name}: echo")
    forwarded = client.get("/client", headers={"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"}).json()
    check((forwarded["address"], forwarded["scheme"]), ("192.0.2.7", "https"), f"{name}: client")
    check("tidegate_connections" in client.get("/metrics").text, True, f"{name}: metrics")
    check(client.get("/slow", params={"seconds": "0.01"}).status_code, 200, f"{name}: slow")
    check(client.get("/panic").status_code, 500, f"{name}: panic")
    check(client.get("/nothing").status_code, 404, f"{name}: not found")
    long = client.get("/json", params={"name": "tide" * 1000}, headers={"accept-encoding": "gzip"})
    check((long.headers["content-encoding"], long.json()), ("gzip", {"hello": "tide" * 1000}), f"{name}: compressed JSON")
    file_cases(client, name, large)


def file_cases(client, name, large):
    whole = client.get("/files/large.bin")
    check((whole.status_code, whole.content == large), (200, True), f"{name}: a large file")
    part = client.get("/files/large.bin", headers={"range": "bytes=1000000-1999999"})
    expected = (206, f"bytes 1000000-1999999/{len(large)}", True)
    check((part.status_code, part.headers["content-range"], part.content == large[1_000_000:2_000_000]), expected, f"{name}: a range")
    unchanged = client.get("/files/large.bin", headers={"if-none-match": whole.headers["etag"]})
    check((unchanged.status_code, unchanged.content), (304, b""), f"{name}: an unchanged file")
    stale = client.get("/files/large.bin", headers={"range": "bytes=0-0", "if-range": '"stale"'})
    check((stale.status_code, stale.content == large), (200, True), f"{name}: a range of a changed file")
    head = client.head("/files/large.bin")
    check((head.headers["content-length"], head.content), (str(len(large)), b""), f"{name}: the head of a file")


def name_of_content(client):
    return "content" if isinstance(client, httpx.Client) else "data"


def follow_of(client):
    return "follow_redirects" if isinstance(client, httpx.Client) else "allow_redirects"


class Requests(requests.Session):
    """A session with a base URL and a timeout, as httpx has."""

    def __init__(self, url):
        super().__init__()
        self.url = url

    def request(self, method, url, **kwargs):
        return super().request(method, self.url + url, timeout=TIMEOUT, **kwargs)


def events(lines):
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


async def aiohttp_cases(url, large):
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    jar = aiohttp.CookieJar(unsafe=True)  # takes cookies of IP addresses too
    async with aiohttp.ClientSession(url, timeout=timeout, cookie_jar=jar) as session:
        async with session.get("/json", params={"name": "Ann"}) as response:
            check(await response.json(), {"hello": "Ann"}, "aiohttp: query")
        async with session.post("/json", json={"a": 1}) as response:
            check(await response.json(), {"a": 1}, "aiohttp: JSON")
        form = aiohttp.FormData()
        form.add_field("file", bytes(100_000), filename="a.bin")
        async with session.post("/form", data=form) as response:
            check((await response.json())[0]["bytes"], 100_000, "aiohttp: multipart form")

        async def chunked():
            for _ in range(10):
                yield bytes(10_000)

        async with session.post("/echo", data=chunked()) as response:
            check(await response.read(), bytes(100_000), "aiohttp: chunked echo")
        for visit in ("visit 1\n", "visit 2\n"):
            async with session.get("/cookie") as response:
                check(await response.text(), visit, "aiohttp: cookies")
        async with session.get("/events", params={"n": 5}, headers={"last-event-id": "2"}) as response:
            lines = [line.decode().rstrip() async for line in response.content]
            check(events(lines), ["event 3", "event 4"], "aiohttp: events after the last one")
        async with session.get("/files/large.bin", headers={"range": "bytes=-1000000"}) as response:
            check((response.status, await response.read() == large[-1_000_000:]), (206, True), "aiohttp: a range")

        async def download():
            async with session.get("/files/large.bin") as response:
                return await response.read() == large

        check(await asyncio.gather(*(download() for _ in range(8))), [True] * 8, "aiohttp: eight downloads at once")
        async with session.ws_connect("/ws") as ws:
            await ws.send_str("hello")
            check(await ws.receive_str(), "hello", "aiohttp: WebSocket")


def main(url, folder):
    with open(f"{folder}/large.bin", "rb") as file:
        large = file.read()
    with Requests(url) as session:
        cases(session, "requests", large)
        lines = session.get("/events?n=3", stream=True).iter_lines(decode_unicode=True)
        check(events(lines), ["event 0", "event 1", "event 2"], "requests: events")
    with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
        cases(client, "httpx", large)
        with client.stream("GET", "/events?n=3") as response:
            check(events(response.iter_lines()), ["event 0", "event 1", "event 2"], "httpx: events")
    asyncio.run(aiohttp_cases(url, large))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AssertionError as error:
        print(f"{error}", file=sys.stderr)
        sys.exit(1)
