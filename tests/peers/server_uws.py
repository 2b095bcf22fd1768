#!/usr/bin/env python3
"""An echo server for WebSocket clients, with uWebSockets through its binding `socketify`.

usage: server_uws.py [compressed | no-takeover] [--tls CERTIFICATE KEY]

Prints its port. The text "ping me" is answered with "pong" after a ping and its pong, and "close me" with close 4321.
Ends at the end of standard input. server.py is the same with another library; keep the two alike.
"""

import os
import sys
import threading

from socketify import App, AppListenOptions, AppOptions, CompressOptions, OpCode

arguments = sys.argv[1:]
options = None
if "--tls" in arguments:
    at = arguments.index("--tls")
    certificate, key = arguments[at + 1 :]
    options = AppOptions(cert_file_name=certificate, key_file_name=key)
    arguments = arguments[:at]
kind = arguments[0] if arguments else ""

COMPRESSION = {
    "": CompressOptions.DISABLED,
    "compressed": CompressOptions.DEDICATED_COMPRESSOR_256KB | CompressOptions.DEDICATED_DECOMPRESSOR_32KB,
    "no-takeover": CompressOptions.SHARED_COMPRESSOR | CompressOptions.SHARED_DECOMPRESSOR,
}


def on_message(ws, message, opcode):
    if message == "ping me":
        # The pong is answered below.
        ws.send(b"tide", OpCode.PING)
    elif message == "close me":
        ws.end(4321, "as you wish")
    else:
        ws.send(message, opcode, bool(kind))


def on_pong(ws, payload):
    if payload in ("tide", b"tide"):
        ws.send("pong", OpCode.TEXT)


app = App(options)
app.ws(
    "/*",
    {
        "compression": COMPRESSION[kind],
        "max_payload_length": 1 << 28,
        "max_backpressure": 1 << 28,
        "idle_timeout": 0,
        "message": on_message,
        "pong": on_pong,
    },
)
app.listen(AppListenOptions(port=0, host="127.0.0.1"), lambda config: print(config.port, flush=True))
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
app.run()
