"""Loads the example `routes` of the ecosystem on hyper and on Tidegate in turn; see bench-axum.sh.

usage: bench_axum.py PROGRAM SECONDS ROUNDS
"""

import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time

SERVERS = ["hyper", "inline", "same-core"]
# Route and requests outstanding per connection. /spawn awaits a task that it spawns on the tokio runtime.
LOADS = [("/plaintext", 1), ("/plaintext", 16), ("/json", 1), ("/json", 16), ("/spawn", 1)]
# Connections of the measurement of memory: one address has ports for them, and one process files.
IDLE = 9_000
CONNECTIONS = 64
SERVER_CORE, LOAD_CORE = "0", "1"

PIPELINE = """
init = function() requests = string.rep(wrk.format(), DEPTH) end
request = function() return requests end
"""
REQUEST = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MESSAGE, ECHO = b"\x82\x84\0\0\0\0ping", b"\x82\x04ping"


class Server:
    """A running server on a free port."""

    def __init__(self, program, kind):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = ["taskset", "-c", SERVER_CORE, program, kind, f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while self.process.poll() is None:
            try:
                self.connect().close()
                return
            except ConnectionRefusedError:
                time.sleep(0.01)
        raise SystemExit(f"{kind} ended with {self.process.returncode}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port))

    def cpu_seconds(self):
        nanoseconds = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as stat:
                nanoseconds += int(stat.read().split()[0])
        return nanoseconds / 1e9

    def anonymous_bytes(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup") as rollup:
            return int(re.search(r"Pss_Anon:\s+(\d+)", rollup.read())[1]) * 1024


def load(server, path, depth, seconds):
    """Returns requests per second, and the server's microseconds for each."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(PIPELINE.replace("DEPTH", str(depth)))
        script.flush()
        url = f"http://127.0.0.1:{server.port}{path}"
        wrk = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", "-s", script.name]
        subprocess.run([*wrk, "-d1", url], check=True, stdout=subprocess.DEVNULL)
        before = server.cpu_seconds()
        output = subprocess.run([*wrk, f"-d{seconds}", url], check=True, capture_output=True, text=True).stdout
        spent = server.cpu_seconds() - before
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(output)
    requests, duration = re.search(r"(\d+) requests in ([\d.]+)s", output).groups()
    return int(requests) / float(duration), spent / int(requests) * 1e6


def begin_http(client):
    client.sendall(REQUEST)
    assert client.recv(4096).endswith(b"Hello, World!")


def begin_websocket(path):
    def begin(client):
        client.sendall(UPGRADE % path)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        client.sendall(MESSAGE)
        assert client.recv(4096) == ECHO

    return begin


def idle_bytes(server, begin):
    """Returns the server's memory for each of many connections that have had one answer."""
    idle = []

    def open_some(count):
        for _ in range(count):
            client = server.connect()
            begin(client)
            idle.append(client)

    open_some(100)
    before = server.anonymous_bytes()
    open_some(IDLE)
    grown = server.anonymous_bytes() - before
    for client in idle:
        client.close()
    return grown / IDLE


def main():
    program, seconds, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # The servers inherit it.
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    best = {}
    for _ in range(rounds):
        for kind in SERVERS:
            with Server(program, kind) as server:
                for cell in LOADS:
                    rate, micros = load(server, *cell, seconds)
                    known = best.get((kind, cell), (0, float("inf")))
                    best[kind, cell] = (max(known[0], rate), min(known[1], micros))
    print(f"{'route':<12}{'depth':>6}  {'server':<12}{'requests/s':>12}{'server µs':>12}{'hyper / this':>14}")
    for path, depth in LOADS:
        for kind in SERVERS:
            rate, micros = best[kind, (path, depth)]
            ratio = best["hyper", (path, depth)][1] / micros
            print(f"{path:<12}{depth:>6}  {kind:<12}{rate:>12,.0f}{micros:>12.2f}{ratio:>14.2f}")
    idle = {
        "keep-alive": (begin_http, SERVERS),
        "axum's WebSocket": (begin_websocket(b"/ws"), SERVERS),
        "our WebSocket": (begin_websocket(b"/own"), SERVERS[1:]),
    }
    print(f"\n{'idle connection':<20}{'server':<12}{'bytes':>8}")
    for name, (begin, kinds) in idle.items():
        for kind in kinds:
            with Server(program, kind) as server:
                print(f"{name:<20}{kind:<12}{idle_bytes(server, begin):>8,.0f}")


main()
