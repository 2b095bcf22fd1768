"""Loads the example `routes` of the ecosystem on hyper and on Tidegate in turn; see bench-axum.sh.

usage: bench_axum.py PROGRAM SECONDS ROUNDS
"""

import os
import re
import socket
import subprocess
import sys

SERVERS = ["hyper", "inline", "same-core"]
ROUTES = ["/plaintext", "/json"]
IDLE = 10_000
CONNECTIONS = 64
SERVER_CORE, LOAD_CORE = "0", "1"


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
                pass
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


def load(server, path, seconds):
    """Returns requests per second, and the server's microseconds for each."""
    url = f"http://127.0.0.1:{server.port}{path}"
    wrk = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}"]
    subprocess.run([*wrk, "-d1", url], check=True, stdout=subprocess.DEVNULL)
    before = server.cpu_seconds()
    output = subprocess.run([*wrk, f"-d{seconds}", url], check=True, capture_output=True, text=True).stdout
    spent = server.cpu_seconds() - before
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(output)
    requests, duration = re.search(r"(\d+) requests in ([\d.]+)s", output).groups()
    return int(requests) / float(duration), spent / int(requests) * 1e6


def idle_bytes(server):
    """Returns the server's memory for each of many connections that have had one response."""
    request = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n"
    idle = []

    def open_some(count):
        for _ in range(count):
            client = server.connect()
            client.sendall(request)
            assert client.recv(4096).endswith(b"Hello, World!")
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
    best = {}
    for _ in range(rounds):
        for kind in SERVERS:
            with Server(program, kind) as server:
                for path in ROUTES:
                    rate, micros = load(server, path, seconds)
                    cell = best.setdefault((kind, path), [0, float("inf")])
                    best[kind, path] = [max(cell[0], rate), min(cell[1], micros)]
    print(f"{'server':<12}{'route':<12}{'requests/s':>12}{'server µs':>12}{'hyper / it':>12}")
    for path in ROUTES:
        for kind in SERVERS:
            rate, micros = best[kind, path]
            print(f"{kind:<12}{path:<12}{rate:>12,.0f}{micros:>12.2f}{best['hyper', path][1] / micros:>12.2f}")
    print(f"\n{'server':<12}{'bytes of an idle keep-alive connection':>40}")
    for kind in SERVERS:
        with Server(program, kind) as server:
            print(f"{kind:<12}{idle_bytes(server):>40,.0f}")


main()
